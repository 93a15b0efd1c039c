"""The search for critical points."""

import math

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
    with pytest.raises(gf.ArgumentError, match="methods"):
        landscape.critical_points(problem, 1, seed=0, methods=["guessing"])
