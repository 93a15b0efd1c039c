"""Rows of weights from 1e-1 down to the smallest numbers: the loss is what its expansion at zero says."""

import numpy as np
import pytest

import gradflow as gf

NORMS = [1e-30, 1e-60, 1e-72, 1e-100, 1e-150, 1e-170, 1e-200, 1e-250, 1e-299]


@pytest.mark.parametrize(
    "bias", [[None, [0.1]], [None, None], [[0.2, -0.3], [0.1]]], ids=["c", "none", "b, c"]
)
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "erf", "gelu", "tanh"])
def test_small_rows_beside_an_ordinary_one(name, bias):
    """∂L/∂w tends to a limit; with it ∂²L/∂w∂a, and for kinked neurons r ∂²L/∂w²."""
    teacher = gf.MLP([[[1.0, 0.3], [-0.5, 0.8]], [[1.0, 0.7]]], [None, [0.3]], name)
    direction = np.array([0.6, -0.8])

    def student(norm):
        return gf.MLP([np.array([norm * direction, [0.4, 0.9]]), [[0.7, -0.2]]], bias, name)

    problem = gf.Problem(teacher, student(1.0))
    near = student(1e-9)
    limit, slope = problem.loss_and_gradient(near.flat())
    matrix = problem.hessian(near.flat())
    kink = name in ("relu", "leaky_relu") and bias[0] is None
    for norm in NORMS:
        loss, gradient = problem.loss_and_gradient(student(norm).flat())
        hessian = problem.hessian(student(norm).flat())
        assert loss == pytest.approx(limit, rel=1e-7)
        np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-7)
        np.testing.assert_allclose(hessian[2:, 2:], matrix[2:, 2:], rtol=0, atol=1e-7)
        np.testing.assert_allclose(hessian[:2, 2:], matrix[:2, 2:], rtol=0, atol=1e-7)
        scale = 1e-9 / norm if kink else 1.0
        block = matrix[:2, :2] * scale
        np.testing.assert_allclose(hessian[:2, :2], block, rtol=0, atol=1e-6 * max(np.abs(block).max(), 1.0))


@pytest.mark.parametrize("name", ["tanh", "silu", "gelu", "erf", "relu", "selu"])
@pytest.mark.parametrize("norm", [1e-150, 1e-155, 1e-158, 1e-161, 1e-163, 1e-300])
def test_gradients_where_squares_are_denormal(name, norm):
    """∂L/∂w does not depend on so small a norm, and ∂L/∂a is proportional to it (σ(0) = 0)."""
    teacher = gf.MLP([[[1.0, 0.5]], [[1.0]]], [np.array([0.3]), None], name)

    def gradient(norm):
        rows = np.array([[0.6, 0.8], [-0.3, 0.9]])
        student = gf.MLP([norm * rows, [[1.0, 0.7]]], None, name)
        found = gf.Problem(teacher, student).gradient(student.flat())
        return np.concatenate([found[:4], found[4:] / norm])

    np.testing.assert_allclose(gradient(norm), gradient(1e-100), rtol=1e-13)


@pytest.mark.parametrize("bias", [False, [False, True]], ids=["none", "c"])
def test_refinements_survive_relu_neurons_that_vanish(bias):
    """In one dimension Newton's method on ∇L = 0 drives weights to 1e-70 and below."""
    for seed in range(30):
        teacher = gf.MLP.random((1, 2, 1), "relu", bias, seed=1000 + seed)
        student = gf.MLP.random((1, 2, 1), "relu", bias, seed=seed)
        refiner = gf.refiners.TrustRegionNewton(target="critical point")
        result = gf.train(teacher, student, solver=None, refiner=refiner, progress=False)
        assert np.isfinite(result.loss) and np.isfinite(result.grad_norm)
