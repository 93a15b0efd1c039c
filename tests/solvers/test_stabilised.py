"""Runge–Kutta–Chebyshev: its order, its interval of stability, and what a stiff or a large flow costs."""

import numpy as np
import pytest

import gradflow as gf
from gradflow.losses.from_jax import JaxLoss
from gradflow.solvers import RKC2, Dopri8, compiled_run
from gradflow.solvers.compiled import layout as at
from gradflow.support.progress import Monitor
from gradflow.support.stopping import StopReason


def quadratic(curvatures):
    return JaxLoss(lambda theta: 0.5 * (curvatures * theta**2).sum(), curvatures.size)


def follow(solver, objective, theta):
    return solver.integrate(objective, np.asarray(theta, dtype=float), np.ones(len(theta)), Monitor(False))


def one_step(objective, theta, step):
    """θ after one step whatever its error, the error estimate, and the gradients it took."""
    solver = RKC2(rtol=1e-3, atol=1e-3)
    settings = compiled_run.pack_settings(solver, solver.method, -1.0, -np.inf, np.inf)
    run = compiled_run.Run(solver.method, objective, np.ones(len(theta)), settings)
    loss, gradient = objective.loss_and_gradient(theta)
    run.start(0.0, theta, -gradient, loss, gradient, step)
    before = objective.counts().gradients
    run.attempt(step)
    error = run.numbers[at.ERROR] * 1e-3
    return run.fresh[at.NEW_THETA].copy(), error, objective.counts().gradients - before


def test_local_error_is_of_order_three_and_so_is_its_estimate():
    student = gf.MLP.random((5, 3, 1), "erf", False, seed=0)
    problem = gf.Problem(gf.teachers.orthonormal(4, 5), student)
    errors, estimates = [], []
    for step in (0.08, 0.04, 0.02, 0.01):
        theta, estimate, _ = one_step(problem.objective, problem.theta0, step)
        exact = follow(
            Dopri8(rtol=1e-13, atol=1e-13, t1=step, gtol=0.0), problem.objective, problem.theta0
        ).step_theta[-1]
        errors.append(np.abs(theta - exact).max())
        estimates.append(estimate)
    for values in (errors, estimates):
        assert np.diff(np.log2(values)) == pytest.approx(-3.0, abs=0.2)


@pytest.mark.parametrize("length", [10.0, 1e3, 1e5])
def test_steps_are_stable_with_stages_as_the_square_root_of_their_length(length):
    curvatures = np.geomspace(1e-3, 1.0, 50) * length
    theta, _, gradients = one_step(quadratic(curvatures), np.ones(50), 1.0)
    # |R(−z)| < 1 over the whole interval, and exact to second order where z is small.
    assert np.abs(theta).max() < 1.0
    assert np.abs(theta - np.exp(-curvatures))[curvatures < 0.02].max(initial=0.0) < 1e-6
    assert gradients <= 1.1 * np.sqrt(1 + 1.54 * 1.15 * length) + 2


def test_a_stiff_flow_costs_few_gradients():
    curvatures = np.array([1e-3, 1.0, 30.0, 1e4])
    start = np.array([1.0, -2.0, 0.5, 3.0])
    flow = follow(RKC2(rtol=1e-4, atol=1e-4, t1=10.0, gtol=0.0), quadratic(curvatures), start)
    assert flow.stop_reason is StopReason.END_TIME
    exact = start * np.exp(-curvatures * flow.step_times[:, None])
    assert np.abs(flow.step_theta - exact).max() < 30e-4
    # An explicit method of usual kind needs λ t / 3 = 33,000 steps.
    assert 70 <= flow.accepted <= 200 and flow.rejected <= 20
    assert 1000 < flow.counts.gradients < 6000
