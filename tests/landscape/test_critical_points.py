"""The search for critical points."""

import math
import os
import signal
import threading

import numpy as np
import pytest

import gradflow as gf
from gradflow import landscape


def test_critical_points_of_a_small_problem():
    teacher = gf.teachers.orthonormal(3, 3)
    problem = gf.Problem(teacher, gf.MLP.random((3, 2, 1), "erf", False, seed=0))
    found = landscape.critical_points(problem, 12, seed=3)
    assert found.ended <= found.runs and found[0].index == 0
    # The best copy-average point: its loss in closed form, and the two teachers it averages exchanged.
    best = 2 / 3 - (8 / math.pi) * math.asin(0.25)
    assert found[0].loss == pytest.approx(best, abs=1e-14) and found[0].isotropy == 2
    assert [p.loss for p in found] == sorted(p.loss for p in found)
    for point in found:
        theta = point.student.flat()
        assert np.abs(problem.gradient(theta)).max() <= 1e-12
        assert (np.linalg.eigvalsh(problem.hessian(theta)) < -1e-9).sum() == point.index
    assert any(point.index for point in found)
    again = landscape.critical_points(problem, 12, seed=3)
    assert [p.loss for p in again] == [p.loss for p in found]
    single = landscape.critical_points(problem, 12, seed=3, methods=["minimum"], images=False)
    assert len(single) >= 2 and sum(sum(p.hits.values()) for p in single) == single.ended
    assert len(found.table()) == len(found)


def test_every_copy_average_point_of_two_neurons_is_found():
    """Four teachers in buckets of 3 + 1 (a minimum) and 2 + 2 (a saddle); losses add up."""
    teacher = gf.teachers.orthonormal(4, 4)
    problem = gf.Problem(teacher, gf.MLP.random((4, 2, 1), "erf", False, seed=0))
    found = landscape.critical_points(problem, 25, seed=1, methods=["gradient norm", "eigenvectors"])
    for sizes, index, order in (((3, 1), 0, 6), ((2, 2), 2, 8)):
        loss = sum(l / 3 - 2 * l * l / math.pi * math.asin(1 / (2 * l)) for l in sizes)
        (point,) = [p for p in found if abs(p.loss - loss) < 1e-12]
        assert (point.index, point.zero, point.isotropy) == (index, 0, order)
        kinds = landscape.kinds((point.student, teacher))
        assert sorted(kinds) == sorted("average" if l > 1 else "copy" for l in sizes)
    theta = [point.student.flat() for point in found]
    again = landscape.critical_points(problem, 25, seed=1, methods=["gradient norm", "eigenvectors"])
    assert all(np.array_equal(p.student.flat(), t) for p, t in zip(again, theta))
    assert [p.hits for p in again] == [p.hits for p in found]


def test_frozen_parameters_stay_and_are_left_out():
    teacher = gf.teachers.orthonormal(3, 3, "relu")
    student = gf.MLP([np.eye(3), np.ones((1, 3))], None, "relu")
    rates = np.concatenate([np.ones(9), np.zeros(3)])
    found = landscape.critical_points(gf.Problem(teacher, student), 3, seed=0, rates=rates)
    assert abs(found[0].loss) < 1e-14 and found[0].index == 0 and found[0].eigenvalues.size == 9
    assert all((point.student.weights[1] == 1.0).all() for point in found)
    assert found[0].isotropy == 6


def test_an_interrupt_ends_the_search_with_what_was_found():
    problem = gf.Problem(gf.teachers.orthonormal(4, 4), gf.MLP.random((4, 3, 1), "erf", False, seed=0))
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    found = landscape.critical_points(problem, 10**6, seed=0)
    timer.join()
    assert 0 < len(found) and found.runs < 10**6


NET = gf.MLP.random((2, 2, 1), "erf", False, seed=0)
PROBLEM = gf.Problem(NET, NET)
DEEP = gf.MLP.random((2, 2, 2, 1), "erf", False, seed=0)


@pytest.mark.parametrize(
    ("argument", "settings"),
    [
        ("starts", {"starts": 0}),
        ("methods", {"methods": "newton"}),
        ("methods", {"methods": ["guessing"]}),
        ("scale", {"scale": np.nan}),
        ("rates", {"rates": np.ones(3)}),
        ("rates", {"rates": np.zeros(6)}),
        ("max_iterations", {"max_iterations": 0}),
        ("seed", {"seed": -1}),
        ("problem", {"problem": gf.Problem(DEEP, DEEP, np.eye(2))}),
        ("problem", {"problem": gf.Problem.from_jax(lambda t: t @ t, np.ones(2))}),
    ],
)
def test_bad_arguments(argument, settings):
    given = {"problem": PROBLEM, "starts": 1, "seed": 0, **settings}
    with pytest.raises(gf.ArgumentError, match=f"^{argument}: "):
        landscape.critical_points(given.pop("problem"), given.pop("starts"), **given)


def test_newton_does_not_drift_along_the_scalings_of_relus():
    """Steps of bounded length would spend themselves on |w|/|a|: without `balanced` no start arrives."""
    teacher = gf.teachers.orthonormal(3, 3, "relu")
    problem = gf.Problem(teacher, gf.MLP.random((3, 2, 1), "relu", False, seed=0))
    found = landscape.critical_points(problem, 8, seed=0, methods=["newton"])
    assert found.ended >= 3
    for point in found:
        theta, norms = point.student.flat(), np.linalg.norm(point.student.weights[0], axis=1)
        assert np.abs(problem.gradient(theta)).max() <= 1e-12
        assert norms == pytest.approx(np.abs(point.student.weights[1][0]))
        values = np.linalg.eigvalsh(problem.hessian(theta))
        assert (values < -1e-9 * values[-1]).sum() == point.index
    assert str(found).startswith(f"{found.ended} of 8 runs")
