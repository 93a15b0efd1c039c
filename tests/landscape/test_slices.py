"""Planes, their complements, and paths."""

import numpy as np
import pytest

import gradflow as gf
from gradflow import landscape


def test_planes_and_their_complements(trained):
    result = trained()
    problem = result.problem
    origin, directions = landscape.plane([result.theta, problem.theta0, np.ones(problem.size)])
    grid = np.array([-0.4, 0.0, 0.4])
    plain = landscape.slice_plane(problem, origin, directions, grid, grid)
    assert plain.losses[1, 1] == pytest.approx(result.loss, abs=1e-15)
    point = origin + 0.4 * directions[0] - 0.4 * directions[1]
    assert plain.losses[2, 0] == pytest.approx(problem.loss(point), abs=1e-14)
    least = landscape.slice_plane(problem, origin, directions, grid, grid, minimised=True)
    assert (least.losses <= plain.losses + 1e-14).all() and least.grad_norms.max() <= 1e-10
    assert least.losses.min() >= result.loss - 1e-12
    with pytest.raises(gf.ArgumentError, match="line"):
        landscape.plane([np.zeros(3), np.ones(3), 2 * np.ones(3)])


def test_matching_removes_the_barrier_between_images(rng, trained, transformed):
    result = trained()
    image = transformed(result.student, rng, -1.0)
    while landscape.same_point(result, image).signs.min() == 1:
        image = transformed(image, rng, -1.0)
    matched = landscape.connectivity(result.problem, result, image)
    direct = landscape.connectivity(result.problem, result, image, matched=False)
    assert matched.barrier <= 1e-14 and matched.distance <= 1e-13
    assert direct.barrier > 0.1 and direct.losses[0] == pytest.approx(result.loss, abs=1e-14)
