"""Levenberg–Marquardt on residuals: their Jacobian, over-wide students, losses that do not reach zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import gradflow as gf
from gradflow import ArgumentError, StopReason
from gradflow.losses.empirical import EmpiricalLoss
from gradflow.objective import Restricted
from gradflow.refiners import LevenbergMarquardt, TrustRegionNewton, default_refiner
from gradflow.refiners.levenberg_marquardt import factorise
from gradflow.support.progress import Monitor


def softplus_problem(seed, width, count=2000):
    X = np.random.default_rng(100 + seed).standard_normal((count, 2))
    teacher = gf.teachers.random((2, 4, 1), "softplus", seed=seed + 50)
    return gf.Problem(teacher, gf.MLP.random((2, width, 1), "softplus", seed=seed), X)


def rounding_floor(result):
    """The mean of (2⁻⁵³ Σ|a_i σ_i|)²: the outputs' own rounding."""
    W, A = result.student.weights
    hidden = np.logaddexp(0.0, result.problem.inputs.X @ W.T + result.student.biases[0])
    return float(np.mean((2.0**-53 * (hidden @ np.abs(A[0]))) ** 2))


def test_residuals_and_their_jacobian_are_those_of_automatic_differentiation(rng):
    student = gf.MLP.random((3, 5, 4, 2), ("tanh", "gelu"), seed=1)
    X, Y, w = rng.standard_normal((300, 3)), rng.standard_normal((300, 2)), rng.uniform(0, 2, 300)
    loss = EmpiricalLoss(student, X, Y, w, weight_decay=0.01)
    theta = student.flat()

    def by_jax(flat):
        h, first = jnp.asarray(X), 0
        for layer, W in enumerate(student.weights):
            rows, columns = W.shape
            weights = flat[first : first + W.size].reshape(rows, columns)
            h = h @ weights.T + flat[first + W.size : first + W.size + rows]
            first += W.size + rows
            if layer == 0:
                h = jnp.tanh(h)
            elif layer == 1:
                h = jax.nn.gelu(h, approximate=False)
        f = h
        scaled = (f - Y) * jnp.sqrt(w / w.sum())[:, None]
        return jnp.concatenate([scaled.T.ravel(), jnp.sqrt(0.01) * flat])

    residuals, jacobian = loss.least_squares(theta)
    assert np.abs(residuals - by_jax(theta)).max() <= 1e-15
    assert np.abs(jacobian - jax.jacfwd(by_jax)(jnp.asarray(theta))).max() <= 1e-15
    assert np.array_equal(loss.residual_vector(theta), residuals)
    assert residuals @ residuals == pytest.approx(loss.loss(theta), rel=1e-14)
    assert np.abs(2 * jacobian.T @ residuals - loss.gradient(theta)).max() <= 1e-14
    free = np.arange(theta.size) % 3 > 0
    part = Restricted(loss, theta, free)
    assert part.sum_of_squares
    assert np.array_equal(part.least_squares(theta[free])[1], jacobian[:, free])
    batch = loss.batch([5, 3, 3])
    assert np.linalg.norm(batch.residual_vector(theta)) ** 2 == pytest.approx(batch.loss(theta), rel=1e-14)


def test_small_singular_values_keep_their_digits(rng):
    left, right = (np.linalg.qr(rng.standard_normal((n, 6)))[0] for n in (200, 6))
    values = 10.0 ** -np.arange(0, 12, 2)
    found = factorise(np.asfortranarray(left * values @ right.T))
    assert np.abs(found.values / values - 1).max() <= 1e-5  # rounding of the matrix: 1e-16 of the largest
    assert np.abs(found.left * found.values @ found.right - left * values @ right.T).max() <= 1e-15


@pytest.mark.parametrize("seed", [1, 5, 7])
def test_an_over_wide_student_reaches_the_rounding_of_its_outputs(seed):
    result = gf.train(softplus_problem(seed, 8), progress=False)
    assert isinstance(result.refinement.settings, dict)
    assert result.refinement.settings["refiner"] == "LevenbergMarquardt"
    assert result.loss <= 10 * rounding_floor(result)
    assert result.stop_reason in (StopReason.FLOOR, StopReason.LOSS_FLOOR)
    assert result.refinement.iterations <= 200


@pytest.mark.parametrize("seed", range(3))
def test_a_student_of_the_teachers_width_reaches_the_floor_or_a_local_minimum(seed):
    problem = softplus_problem(seed, 4)
    near = problem.student.with_flat(
        problem.teacher.flat() + 0.05 * np.random.default_rng(seed).standard_normal(problem.size)
    )
    result = gf.train(gf.Problem(problem.teacher, near, problem.inputs), solver=None, progress=False)
    assert result.loss <= 10 * rounding_floor(result)


def test_where_the_loss_stays_above_zero_newton_finishes(rng):
    X = rng.standard_normal((500, 2))
    Y = np.sin(2 * X[:, :1]) + 0.5 * rng.standard_normal((500, 1))
    student = gf.MLP.random((2, 2, 1), "tanh", seed=3)
    result = gf.train(gf.Problem(Y, student, X, weight_decay=1e-3), solver=None, progress=False)
    assert result.stop_reason is StopReason.FLOOR and result.grad_norm <= 1e-15
    assert result.refinement.counts.hessians >= 3
    problem = result.problem
    reference = scipy.optimize.minimize(
        problem.loss, result.theta + 1e-3, jac=problem.gradient, method="BFGS", options={"gtol": 1e-9}
    )
    assert result.loss <= reference.fun + 1e-14


def test_limits_and_bad_input():
    problem = softplus_problem(0, 8)

    def refine(**settings):
        return LevenbergMarquardt(**settings).refine(problem.objective, problem.theta0, Monitor(False))

    assert refine(max_iterations=3).stop_reason is StopReason.MAX_STEPS
    assert refine(max_seconds=1e-6).stop_reason is StopReason.MAX_SECONDS
    assert refine(gtol=1e-3).grad_norm <= 1e-3
    for name in ("memory", "inner"):
        with pytest.raises(ArgumentError, match=f"^{name}:"):
            LevenbergMarquardt(**{name: 0})
    teacher = gf.teachers.orthonormal(2, 3)
    with pytest.raises(ArgumentError, match="sum of squares"):
        gf.train(teacher, teacher, solver=None, refiner="LevenbergMarquardt")
    with pytest.raises(ArgumentError, match="^refiner: got 'Levenberg'"):
        gf.train(teacher, teacher, refiner="Levenberg")


def test_frozen_parameters_stay(rng):
    problem = softplus_problem(5, 8, 500)
    rates = np.ones(problem.size)
    rates[-1] = 0.0
    result = gf.train(problem, rates=rates, progress=False)
    assert result.theta[-1] == problem.theta0[-1]
    assert result.refinement.settings["refiner"] == "LevenbergMarquardt"


def test_the_default_goes_by_size_and_kind():
    assert isinstance(default_refiner(33, sum_of_squares=True), LevenbergMarquardt)
    assert isinstance(default_refiner(33), TrustRegionNewton)
