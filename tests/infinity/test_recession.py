"""Losses without a minimum: named, with the direction in which they fall, and never called converged."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import gradflow as gf
from gradflow import StopReason

FALLING = {
    "exp(-x)": (lambda t: jnp.exp(-t[0]), [0.0], [1.0]),
    "exp(-x) + y²": (lambda t: jnp.exp(-t[0]) + t[1] ** 2, [0.0, 1.0], [1.0, 0.0]),
    "softplus(-x) + y²/2": (lambda t: jnp.logaddexp(0.0, -t[0]) + 0.5 * t[1] ** 2, [1.0, 1.0], [1.0, 0.0]),
    "exp(-x y), which underflows to 0": (lambda t: jnp.exp(-t[0] * t[1]), [1.0, 1.0], [0.5**0.5, 0.5**0.5]),
}


@pytest.mark.parametrize("name", FALLING)
def test_losses_that_fall_for_ever(name):
    function, start, direction = FALLING[name]
    result = gf.train(gf.Problem.from_jax(function, np.array(start)), progress=False)
    assert not result.converged and result.stop_reason is StopReason.INFIMUM
    assert result.channel.loss == 0.0
    np.testing.assert_allclose(result.channel.direction, direction, atol=1e-6)
    assert "no minimum: the loss falls to 0" in str(result).splitlines()[0]


MINIMA = {
    "quadratic, exact": (lambda t: (t[0] - 1.0) ** 2 + 2.0 * t[1] ** 2, [0.0, 1.0]),
    "flat at its minimum": (lambda t: t[0] ** 4 + t[1] ** 2, [1.0, 1.0]),
    "far away": (lambda t: (t[0] - 1e6) ** 2 + t[1] ** 2, [0.0, 1.0]),
    "zero in a quadrant": (lambda t: jnp.maximum(t[0], 0.0) ** 2 + t[1] ** 2, [1.0, 1.0]),
}


@pytest.mark.parametrize("name", MINIMA)
def test_minima_are_not_called_infima(name):
    function, start = MINIMA[name]
    result = gf.train(gf.Problem.from_jax(function, np.array(start)), progress=False)
    assert result.stop_reason is not StopReason.INFIMUM and result.channel is None
    assert np.abs(result.theta[1]) < 1e-6


def separable(count, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((count, 2))
    labels = (X @ [1.0, 0.5] > 0).astype(int)
    return X + 0.3 * (2 * labels - 1)[:, None] * np.array([1.0, 0.5]), labels


def hard_margin(X, labels):
    """The support vector machine with [w, b] of the smallest norm, by a general quadratic programme."""
    signs = 2.0 * labels - 1.0
    rows = signs[:, None] * np.column_stack([X, np.ones(len(X))])
    found = scipy.optimize.minimize(
        lambda w: 0.5 * w @ w,
        np.ones(3),
        jac=lambda w: w,
        constraints={"type": "ineq", "fun": lambda w: rows @ w - 1.0, "jac": lambda w: rows},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return found.x / np.linalg.norm(found.x)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_separable_classes_have_no_minimum_but_a_largest_margin(seed):
    X, labels = separable(60, seed)
    problem = gf.Problem(labels, gf.MLP.random((2, 2), [], True, seed=seed), X, loss="cross_entropy")
    result = gf.train(problem, progress=False)
    assert not result.converged and result.stop_reason is StopReason.INFIMUM
    W, b = result.channel.direction[:4].reshape(2, 2), result.channel.direction[4:]
    np.testing.assert_allclose(W[0], -W[1], atol=1e-9)  # two classes: opposite rows
    found = np.append(W[1] - W[0], b[1] - b[0])
    np.testing.assert_allclose(found / np.linalg.norm(found), hard_margin(X, labels), atol=1e-6)
    # The flow is on its way there: its own direction has come near (as 1/log t).
    theta = result.theta
    turned = np.append(theta[2:4] - theta[:2], theta[5] - theta[4])
    assert found @ turned / np.linalg.norm(found) / np.linalg.norm(turned) > 0.95


def test_classes_that_overlap_have_a_minimum():
    X, labels = separable(60, 0)
    labels[:6] = 1 - labels[:6]
    problem = gf.Problem(labels, gf.MLP.random((2, 2), [], True, seed=0), X, loss="cross_entropy")
    result = gf.train(problem, progress=False)
    assert result.converged and result.channel is None


@pytest.mark.parametrize("activation", ["tanh", "softplus", "erf"])
@pytest.mark.parametrize("seed", range(3))
def test_a_refinement_never_returns_a_point_that_is_worse(activation, seed):
    """Noisy regression by wide students: long valleys, neurons on their way to infinity."""
    rng = np.random.default_rng(seed)
    X = np.linspace(-2.0, 2.0, 40)[:, None]
    targets = np.sin(2.0 * X) + 0.2 * rng.standard_normal(X.shape)
    student = gf.MLP.random((1, 8, 1), activation, seed=seed)
    flow = gf.train(targets, student, X, refiner=None, progress=False)
    refined = gf.train(targets, student.with_flat(flow.theta), X, solver=None, progress=False)
    assert refined.loss <= flow.loss * (1 + 1e-12)
    if refined.loss > flow.loss * (1 - 1e-9):
        assert refined.grad_norm <= flow.grad_norm + 1e-12  # rounding, in other units
