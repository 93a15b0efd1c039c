"""Eigenvector following without matrices, its saddles looked at with LAPACK."""

import numpy as np
import pytest

import gradflow as gf
from gradflow.refiners import EigenvectorFollowing
from gradflow.support.stopping import StopReason


def follow(k, n, seed, theta=None, **settings):
    teacher = gf.teachers.orthonormal(k, k + 1, "erf")
    student = gf.MLP.random((k + 1, n, 1), "erf", False, seed=seed)
    if theta is not None:
        student = student.with_flat(theta)
    return gf.train(teacher, student, solver=None, refiner=EigenvectorFollowing(**settings), progress=False)


def index_of(result):
    values = np.linalg.eigvalsh(result.hessian())
    return int((values < -1e-9 * values[-1]).sum())


def test_a_saddle_at_the_floor():
    result = follow(6, 4, 0, index=1, dense=0)
    assert result.refinement.counts.hessians == 0
    assert result.refinement.stop_reason is StopReason.FLOOR
    assert index_of(result) == 1 and result.grad_norm < 1e-14
    assert result.loss == pytest.approx(0.0440363, abs=1e-5)
    assert 20 <= result.refinement.iterations <= 250


def test_uphill_from_a_minimum():
    """Where the gradient is zero the first step is along the lowest mode."""
    teacher = gf.teachers.orthonormal(8, 9, "erf")
    student = gf.MLP.random((9, 6, 1), "erf", False, seed=0)
    minimum = gf.train(teacher, student, progress=False)
    result = follow(8, 6, 0, minimum.theta, index=1, dense=0)
    assert result.refinement.stop_reason is StopReason.FLOOR
    assert index_of(result) == 1 and result.loss > minimum.loss


def test_index_zero_is_a_minimum():
    result = follow(6, 4, 0, index=0, dense=0)
    assert result.refinement.stop_reason is StopReason.FLOOR and index_of(result) == 0


def test_its_limits():
    result = follow(6, 4, 0, index=1, dense=0, max_iterations=3)
    assert result.refinement.stop_reason is StopReason.MAX_STEPS and result.refinement.iterations == 3
    with pytest.raises(gf.ArgumentError, match="products"):
        EigenvectorFollowing(products=0)
