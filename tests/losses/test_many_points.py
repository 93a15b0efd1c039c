"""L and |∇L| at many points in one call, and what is kept of the last point."""

import numpy as np
import pytest

import gradflow as gf
from gradflow.losses import compiled
from gradflow.objective import Restricted


def problems():
    teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    yield gf.Problem(teacher, student)
    X = np.random.default_rng(0).standard_normal((20, 4))
    yield gf.Problem(teacher, gf.MLP.random((4, 3, 1), "tanh", seed=1), X)
    yield gf.Problem(teacher, gf.MLP.random((4, 2, 1), "relu", False, seed=0).with_flat(np.ones(10)), X)


@pytest.mark.parametrize("problem", [*problems()], ids=["population", "samples", "relu"])
@pytest.mark.parametrize("at_once", [1, 10_000])
def test_the_same_bits_as_one_by_one(problem, at_once, rng, monkeypatch):
    monkeypatch.setattr(compiled, "NUMBERS_AT_ONCE", at_once)
    objective = problem.objective
    points = problem.theta0 + rng.standard_normal((7, problem.size))
    before = objective.counts().gradients
    found = objective.losses_and_norms(points)
    assert objective.counts().gradients == before + 7
    for row, theta in zip(found, points):
        loss, gradient = objective.loss_and_gradient(theta)
        assert row.tolist() == [loss, np.abs(gradient).max()]
    strided = np.repeat(points, 2, axis=1)[:, ::2]
    assert (objective.losses_and_norms(strided) == found).all()
    assert objective.losses_and_norms(points[:0]).shape == (0, 2)


def test_points_that_are_not_finite(rng):
    problem = next(problems())
    points = np.stack([problem.theta0, np.full(problem.size, np.nan)])
    found = problem.objective.losses_and_norms(points)
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()


def test_in_other_units(rng):
    problem = next(problems())
    free = np.arange(problem.size) > 2
    objective = Restricted(problem.objective, problem.theta0, free, unit=4.0)
    points = rng.standard_normal((3, objective.size))
    for row, theta in zip(objective.losses_and_norms(points), points):
        loss, gradient = objective.loss_and_gradient(theta)
        assert row.tolist() == [loss, objective.norm(gradient)]


def test_what_is_kept_of_the_last_point_is_of_that_point(rng):
    """Sizes and errors at θ, θ', θ again, and at θ changed in place, are those of a new problem."""
    for problem, other in zip(problems(), problems()):
        objective = problem.objective
        first, second = (problem.theta0 + 0.1 * rng.standard_normal(problem.size) for _ in range(2))
        for theta in (first, second, second, first):
            fresh = gf.Problem(other.teacher, other.student, other.inputs).objective
            assert (objective.gradient_sizes(theta).size == fresh.gradient_sizes(theta).size).all()
            assert objective.loss_error(theta) == fresh.loss_error(theta)
        first[0] += 1.0
        assert (objective.gradient_sizes(first).size == fresh.gradient_sizes(first).size).all()
