"""Regions of ReLU networks, independence of nodes, and deep students pushed off their teacher."""

from __future__ import annotations

import numpy as np

import gradflow as gf
from gradflow.theory.specialization import critical, deep, independence, regions


def test_regions_of_known_arrangements():
    """Parallel and coinciding lines, and a node that is never open."""
    rows = np.array([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    network = gf.MLP([rows, np.ones((1, 4))], [[0.0, 1.0, 0.0, 0.0], None], "relu")
    assert len(regions.regions([network])) == 6  # three strips times two
    dead = gf.MLP([np.zeros((1, 2)), [[1.0]]], [[-1.0], None], "relu")
    assert [cell.gates for cell in regions.regions([dead])] == [(False,)]


def test_as_many_regions_as_samples_find(rng):
    """Patterns of samples over a wide range: none is missing, and few are rarer than one in 50,000."""
    network = gf.teachers.random((2, 4, 3, 1), "relu", seed=3)
    known = {cell.gates for cell in regions.regions([network])}
    seen = {regions.pattern([network], x) for x in 3.0 * rng.standard_normal((3000, 2))}
    assert seen <= known and len(seen) >= 0.6 * len(known)


def test_depth_of_a_boundary():
    node, observer = np.array([1.0, 0.0, -0.5]), np.array([-1.0, 0.0, 0.2])
    assert independence.depth_of_boundary(node) == 0.5
    assert independence.depth_of_boundary(node, observer) < 0  # the observer is closed at x = 0.5
    assert independence.depth_of_boundary(1e3 * node, 1e-8 * observer) < 0


def test_a_deeper_network_of_the_same_function(rng):
    teacher = critical.unit_teacher((3, 4, 2), 0)
    X = rng.standard_normal((50, 3))
    np.testing.assert_allclose(deep.deepened(teacher, 2)(X), teacher(X), atol=1e-14)
