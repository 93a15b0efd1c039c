"""Duplicated neurons: the index along the critical line, and the check with its claim broken."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradflow as gf
from gradflow.theory import duplicates


@pytest.fixture(scope="module")
def teacher():
    return gf.teachers.orthonormal(4, 5, "erf")


@pytest.fixture(scope="module")
def optimum():
    """One erf neuron on four orthonormal teachers: a = k, |w|² = 1/(2k−1), along Σ v_j."""
    w = np.append(np.ones(4), 0.0) / math.sqrt(4 * 7)
    return gf.MLP([w[None], np.array([[4.0]])], None, "erf")


def test_line_of_critical_points_and_its_index(optimum, teacher):
    check = duplicates.critical_line(optimum, teacher, 0)
    assert check.holds
    index = dict(zip(check.computed["mu"], check.computed["index"]))
    signs = check.computed["signs_of_aB"]
    assert index[0.5] == signs.count(-1)
    assert index[1.4] == signs.count(1)


def test_it_fails_away_from_critical_points_and_with_a_wrong_matrix(optimum, teacher):
    moved = optimum.with_flat(optimum.flat() * (1 + 1e-9))
    assert not duplicates.critical_line(moved, teacher, 0).holds

    def wrong(student, teacher, neuron):
        return -duplicates.residual_curvature(student, teacher, neuron)

    assert not duplicates.critical_line(optimum, teacher, 0, curvature=wrong).holds


def test_curvature_of_square_neurons_by_hand():
    """B = E (f − f*) 2 x xᵀ = 2 (tr M I + 2 M), f − f* = xᵀ M x."""
    student = gf.MLP([np.array([[0.5, -0.2, 0.1]]), np.array([[0.7]])], None, "square")
    teacher = gf.teachers.orthonormal(2, 3, "square")
    M = 0.7 * np.outer(*2 * [student.weights[0][0]]) - np.diag([1.0, 1.0, 0.0])
    expected = 2 * (np.trace(M) * np.eye(3) + 2 * M)
    np.testing.assert_allclose(duplicates.residual_curvature(student, teacher, 0), expected, atol=1e-14)


def test_split_keeps_the_function(rng):
    network = gf.MLP.random((3, 2, 2), "erf", seed=0)
    X = rng.standard_normal((20, 3))
    np.testing.assert_allclose(duplicates.split(network, 1, -0.7)(X), network(X), atol=1e-14)
    with pytest.raises(gf.ArgumentError, match="neuron"):
        duplicates.split(network, 2, 0.5)
    with pytest.raises(gf.ArgumentError, match="hidden layers"):
        duplicates.split(gf.MLP.random((3, 2, 2, 1), seed=0), 0, 0.5)
