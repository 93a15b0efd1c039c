"""Flows with known solutions: errors, orders, step counts in a band, every way to stop."""

import dataclasses
import math
import time

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from gradflow.losses.from_jax import JaxLoss
from gradflow.solvers import (
    BDF,
    Dopri8,
    KrylovBDF,
    Kvaerno3,
    Kvaerno4,
    Kvaerno5,
    Tsit5,
    default_solver,
    diffrax,
)
from gradflow.support.errors import ArgumentError
from gradflow.support.progress import Monitor
from gradflow.support.stopping import StopReason

CURVATURES = np.array([1e-3, 1.0, 30.0, 1e4])


def quadratic(theta):
    return 0.5 * jnp.sum(jnp.asarray(CURVATURES) * theta**2)


def rosenbrock(theta):
    return (1 - theta[0]) ** 2 + 100 * (theta[1] - theta[0] ** 2) ** 2


def follow(solver, function, theta, rates=None):
    theta = np.asarray(theta, dtype=np.float64)
    rates = np.ones(theta.size) if rates is None else rates
    return solver.integrate(JaxLoss(function, theta.size), theta, rates, Monitor(False))


def test_stiff_linear_flow_against_its_exact_solution():
    start = np.array([1.0, -2.0, 0.5, 3.0])
    flow = follow(Kvaerno5(rtol=1e-9, atol=1e-9, gtol=1e-8), quadratic, start)
    assert flow.stop_reason is StopReason.GRADIENT
    assert flow.grad_norm <= 1e-8
    times = np.geomspace(1e-5, flow.end_time, 50)
    exact = start * np.exp(-CURVATURES * times[:, None])
    assert np.abs(flow.at(times) - exact).max() < 5e-8
    assert np.abs(flow.theta - start * np.exp(-CURVATURES * flow.times[:, None])).max() < 5e-8
    assert 220 <= flow.accepted <= 320 and flow.rejected <= 3


@pytest.mark.parametrize(
    ("method", "order"), [(Kvaerno3, 3), (Kvaerno4, 4), (Kvaerno5, 5), (Tsit5, 5), (Dopri8, 8)]
)
def test_error_follows_the_tolerance(method, order):
    reference = scipy.integrate.solve_ivp(
        lambda t, y: [
            2 * (1 - y[0]) + 400 * y[0] * (y[1] - y[0] ** 2),
            -200 * (y[1] - y[0] ** 2),
        ],
        (0, 0.5),
        [-1.2, 1.0],
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
    ).y[:, -1]
    errors, steps = [], []
    for tolerance in (1e-5, 1e-7, 1e-9):
        flow = follow(method(rtol=tolerance, atol=tolerance, t1=0.5), rosenbrock, [-1.2, 1.0])
        assert flow.stop_reason is StopReason.END_TIME and flow.end_time == 0.5
        errors.append(np.abs(flow.step_theta[-1] - reference).max())
        steps.append(flow.accepted + flow.rejected)
    # The error estimate is of order p (local p): steps grow as tol^(-1/p) where accuracy rules.
    assert max(e / t for e, t in zip(errors, (1e-5, 1e-7, 1e-9))) < 40
    assert steps[2] / steps[1] < 100 ** (1 / order) * 1.4


def test_newton_converges_at_tight_tolerances_and_late_times():
    # At round-off the increment of the stage equations stagnates; steps must not be rejected for it.
    flow = follow(Kvaerno5(rtol=1e-12, atol=1e-12, gtol=1e-11), rosenbrock, [-1.2, 1.0])
    assert flow.stop_reason is StopReason.GRADIENT
    assert flow.rejected <= 0.05 * flow.accepted
    assert np.abs(flow.step_theta[-1] - 1.0).max() < 1e-7


def test_loss_decreases_at_every_sample_and_step():
    flow = follow(Kvaerno5(), rosenbrock, [-1.2, 1.0])
    # At the minimum L = 0, so an error within the tolerances 1e-6, 1e-9 shows as about 1e-12 in L.
    assert (np.diff(flow.losses) < 1e-12).all()
    values = np.array([float(rosenbrock(jnp.asarray(x))) for x in flow.step_theta])
    assert (np.diff(values) < 1e-12).all()
    assert (np.diff(values[values > 1e-9]) < 0).all()


def test_rates_scale_the_flow():
    rates = np.array([1.0, 0.5, 2.0, 1e-3])
    flow = follow(Kvaerno5(rtol=1e-9, atol=1e-9, t1=2.0, gtol=0.0), quadratic, np.ones(4), rates)
    exact = np.exp(-rates * CURVATURES * 2.0)
    assert np.abs(flow.step_theta[-1] - exact).max() < 2e-8


def test_stops_at_limits():
    start = [-1.2, 1.0]
    assert follow(Kvaerno5(max_steps=7), rosenbrock, start).stop_reason is StopReason.MAX_STEPS
    flow = follow(Kvaerno5(max_steps=7), rosenbrock, start)
    assert flow.accepted + flow.rejected == 7
    began = time.monotonic()
    slow = follow(Tsit5(max_seconds=0.5, gtol=0.0, max_steps=10**9), quadratic, np.ones(4))
    assert slow.stop_reason is StopReason.MAX_SECONDS
    assert time.monotonic() - began < 30
    assert slow.seconds < 2.0


def test_a_stationary_start_stops_at_once():
    flow = follow(Kvaerno5(), rosenbrock, [1.0, 1.0])
    assert flow.stop_reason is StopReason.GRADIENT
    assert flow.accepted == 0 and flow.end_time == 0.0
    assert (flow.at(0.0) == [1.0, 1.0]).all()


def test_a_loss_that_becomes_non_finite_returns_the_last_good_state():
    # L = −1/(1 − θ)… falls to −∞ at θ = 1 in finite time; beyond it the logarithm is not a number.
    flow = follow(Kvaerno5(max_steps=5000), lambda x: jnp.sum(jnp.log(1 - x)), [0.5])
    assert flow.stop_reason in (StopReason.NON_FINITE, StopReason.STEP_UNDERFLOW)
    assert np.isfinite(flow.step_theta).all() and flow.step_theta[-1, 0] < 1.0
    start = follow(Kvaerno5(), lambda x: jnp.sum(jnp.log(1 - x)), [2.0])
    assert start.stop_reason is StopReason.NON_FINITE and start.accepted == 0


def test_pieces_do_not_change_the_steps(monkeypatch):
    from gradflow.solvers import integration

    whole = follow(Kvaerno5(rtol=1e-8, atol=1e-8), rosenbrock, [-1.2, 1.0])
    monkeypatch.setattr(integration, "SECONDS_PER_CALL", 0.0)  # one step per call
    pieces = follow(Kvaerno5(rtol=1e-8, atol=1e-8), rosenbrock, [-1.2, 1.0])
    assert (whole.step_times == pieces.step_times).all()
    assert (whole.step_theta == pieces.step_theta).all()


def test_interruption_keeps_what_was_reached():
    monitor = Monitor(False)
    monitor.interrupted = True
    start = np.array([-1.2, 1.0])
    flow = Kvaerno5().integrate(JaxLoss(rosenbrock, 2), start, np.ones(2), monitor)
    assert flow.stop_reason is StopReason.INTERRUPTED
    assert flow.accepted <= 2 and flow.accepted + flow.rejected == 2


def test_times_outside_the_flow_are_refused():
    flow = follow(Kvaerno5(t1=1.0), rosenbrock, [-1.2, 1.0])
    for t in (-1e-9, 1.1, math.nan):
        with pytest.raises(ArgumentError, match="^t:"):
            flow.at(t)


@pytest.mark.parametrize(
    "bad",
    [{"rtol": 0.0}, {"rtol": -1e-6}, {"rtol": 2.0}, {"rtol": 1e-17}, {"atol": 0.0}, {"t1": -1.0},
     {"t1": math.nan}, {"max_steps": 0}, {"max_steps": 1.5}, {"max_seconds": 0.0}, {"gtol": -1.0},
     {"rtol": "small"}],
)  # fmt: skip
def test_bad_settings_are_refused(bad):
    (name,) = bad
    with pytest.raises(ArgumentError, match=f"^{name}:"):
        Kvaerno5(**bad)


def test_the_default_goes_by_size():
    assert isinstance(default_solver(33), BDF)
    assert isinstance(default_solver(10_000), KrylovBDF)
    assert dataclasses.asdict(BDF()) == dataclasses.asdict(default_solver(33))


def test_one_compilation_per_size_and_kind():
    from gradflow.solvers.diffrax_step import step

    before = step._cache_size()
    objective = JaxLoss(rosenbrock, 2)
    for start, tolerance in [([-1.2, 1.0], 1e-6), ([0.5, 0.5], 1e-8)]:
        solver = diffrax.Kvaerno5(rtol=tolerance, atol=tolerance, t1=1000.0)
        solver.integrate(objective, np.array(start), np.ones(2), Monitor(False))
    assert step._cache_size() - before <= 1
