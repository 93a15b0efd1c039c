"""Gram-matrix Levenberg–Marquardt and variable projection reach zero loss, and refuse what they cannot do."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

import gradflow as gf
from gradflow.losses.empirical import EmpiricalLoss
from gradflow.refiners import GramLevenbergMarquardt, VariableProjection
from gradflow.support.progress import Monitor


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3))
    teacher = gf.teachers.random((3, 4, 5), "tanh", seed=1)
    near = teacher.with_flat(teacher.flat() + 0.05 * rng.standard_normal(teacher.size))
    return X, teacher, near


@pytest.mark.parametrize("refiner", [GramLevenbergMarquardt(), VariableProjection()])
def test_a_teacher_near_by_is_found_to_the_last_digits(task, refiner):
    X, teacher, near = task
    result = gf.train(teacher, near, inputs=X, solver=None, refiner=refiner, progress=False)
    assert result.loss < 1e-28 and result.refinement.iterations < 20
    assert np.abs(result.student.flat() - teacher.flat()).max() < 1e-12


@pytest.mark.parametrize("refiner", [GramLevenbergMarquardt(gain=1.0), VariableProjection(gain=1.0)])
def test_the_minimum_with_noise_is_that_of_scipy(task, refiner):
    X, teacher, near = task
    Y = teacher(X) + 0.1 * np.random.default_rng(2).standard_normal((400, 5))
    result = gf.train(Y, near, inputs=X, solver=None, refiner=refiner, progress=False)
    other = scipy.optimize.least_squares(
        lambda theta: (near.with_flat(theta)(X) - Y).ravel(), near.flat(), xtol=1e-15, ftol=1e-15, gtol=1e-12
    )
    assert result.loss == pytest.approx(2 * other.cost / 400, rel=1e-9)


def test_separable_form_is_the_loss(task):
    X, teacher, _ = task
    weight = np.random.default_rng(3).uniform(0.5, 2.0, 400)
    for biases in (True, [False, True], [True, False], False):
        student = gf.MLP.random((3, 4, 5), "softplus", biases, seed=2, init="normal")
        loss = EmpiricalLoss(student, X, teacher(X), weight)
        model, theta = loss.separable(), student.flat()
        V = model.split(theta)
        m = len(V)
        C = np.vstack([student.weights[1].T] + ([student.biases[1][None]] if model.constant else []))
        assert (model.join(V, C) == theta).all()
        residuals, J = model.linearise(V, C)
        assert residuals @ residuals == pytest.approx(loss.loss(theta), rel=1e-13)
        assert np.allclose(model.residuals(V, C), residuals, rtol=0, atol=1e-14)
        gradient = loss.gradient(theta)
        mine = 2 * J.T @ residuals
        there = model.join(mine[: V.size].reshape(V.shape), mine[V.size :].reshape(C.shape))
        assert np.allclose(there, gradient, rtol=0, atol=1e-13 * np.abs(gradient).max())
        best, Q = model.coefficients(model.basis(V)[0])
        assert np.allclose(best, np.linalg.lstsq(model.basis(V)[0], model.targets, rcond=None)[0], atol=1e-9)
        assert Q.shape[1] == m + model.constant


def test_what_they_refuse(task):
    X, teacher, near = task
    deep = gf.MLP.random((3, 4, 4, 5), "tanh", seed=0)
    with pytest.raises(gf.ArgumentError, match="one hidden layer"):
        gf.train(teacher, deep, inputs=X, solver=None, refiner=VariableProjection())
    with pytest.raises(gf.ArgumentError, match="one hidden layer"):
        gf.train(gf.Problem(teacher, near, X, weight_decay=0.1), solver=None, refiner=VariableProjection())
    population = gf.Problem(gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 2, 1), "erf", False, seed=0))
    for refiner in (VariableProjection(), GramLevenbergMarquardt()):
        with pytest.raises(gf.ArgumentError, match="refiner"):
            refiner.refine(population.objective, population.theta0, Monitor(False))
        with pytest.raises(gf.ArgumentError, match="gain"):
            type(refiner)(gain=0.0)
        with pytest.raises(gf.ArgumentError, match="window"):
            type(refiner)(window=0)
        with pytest.raises(gf.ArgumentError, match="damping"):
            type(refiner)(damping=0.0)
