"""Backward differentiation without matrices: coefficients, errors and counts, bits, memory."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.losses.from_jax import JaxLoss
from gradflow.solvers import BDF, KrylovBDF, compiled_run, default_solver, flow, records
from gradflow.solvers.compiled import layout as at
from gradflow.support.progress import Monitor
from gradflow.support.stopping import StopReason

CURVATURES = np.array([1e-3, 1.0, 30.0, 1e4])


def quadratic(theta):
    return 0.5 * (CURVATURES * theta**2).sum()


def erf_problem(seed=0, width=4, teachers=6):
    student = gf.MLP.random((teachers + 1, width, 1), "erf", False, seed=seed)
    return gf.Problem(gf.teachers.orthonormal(teachers, teachers + 1), student)


def follow(solver, objective, theta, rates=None):
    rates = np.ones(len(theta)) if rates is None else rates
    return solver.integrate(objective, np.array(theta, dtype=float), rates, Monitor(False))


def test_stiff_linear_flow_against_its_exact_solution():
    start = np.array([1.0, -2.0, 0.5, 3.0])
    flow = follow(KrylovBDF(rtol=1e-8, atol=1e-8, gtol=1e-8), JaxLoss(quadratic, 4), start)
    assert flow.stop_reason is StopReason.GRADIENT
    exact = start * np.exp(-CURVATURES * flow.step_times[:, None])
    assert np.abs(flow.step_theta - exact).max() < 100e-8
    times = np.geomspace(1e-5, 1e3, 40)
    assert np.abs(flow.at(times) - start * np.exp(-CURVATURES * times[:, None])).max() < 100e-8
    assert 450 <= flow.accepted <= 650 and flow.rejected <= 20
    assert flow.counts.gradients < 5.5 * flow.accepted and flow.counts.hessians == 0


def test_rates_scale_the_flow():
    rates = np.array([1.0, 0.5, 2.0, 1e-3])
    flow = follow(KrylovBDF(rtol=1e-9, atol=1e-9, t1=2.0, gtol=0.0), JaxLoss(quadratic, 4), np.ones(4), rates)
    assert np.abs(flow.step_theta[-1] - np.exp(-rates * CURVATURES * 2.0)).max() < 1e-7


def test_errors_follow_the_tolerance_and_steps_grow_with_the_order():
    problem = erf_problem()
    exact = follow(
        gf.solvers.Dopri8(rtol=1e-13, atol=1e-13, t1=30.0, gtol=0.0), problem.objective, problem.theta0
    )
    errors, steps = [], []
    for tolerance in (1e-4, 1e-6, 1e-8, 1e-10):
        solver = KrylovBDF(rtol=tolerance, atol=tolerance, t1=30.0, gtol=0.0)
        flow = follow(solver, problem.objective, problem.theta0)
        assert flow.stop_reason is StopReason.END_TIME and flow.end_time == 30.0
        errors.append(np.abs(flow.step_theta[-1] - exact.step_theta[-1]).max() / tolerance)
        steps.append(flow.accepted + flow.rejected)
        assert flow.rejected <= 0.1 * flow.accepted + 3
        assert flow.counts.gradients - 100 <= 5.0 * steps[-1]
    assert 0.1 < min(errors) and max(errors) < 100
    assert steps[0] <= 90
    # Between orders 5 and 4: a hundredth of the error costs 100^(1/6) to 100^(1/4) times the steps.
    assert 1.8 < steps[3] / steps[2] < 100 ** (1 / 4)


def test_the_loss_falls_by_the_energy_identity():
    """dL/dt = −|∇L|² between the ends of every step, by the trapezium rule with its end correction."""
    problem = erf_problem(2, 8, 12)
    flow = follow(KrylovBDF(rtol=1e-9, atol=1e-9, t1=20.0), problem.objective, problem.theta0)
    values = [problem.loss_and_gradient(theta) for theta in flow.step_theta]
    losses, squares = (np.array(x) for x in zip(*((loss, g @ g) for loss, g in values)))
    slopes = -2 * np.array([g @ problem.hvp(t, g) for t, (_, g) in zip(flow.step_theta, values)])
    h = np.diff(flow.step_times)
    lost = 0.5 * h * (squares[1:] + squares[:-1]) - h**2 / 12 * (slopes[1:] - slopes[:-1])
    assert np.abs(losses[0] - losses[-1] - lost.sum()) < 1e-7 and (np.diff(losses) < 1e-12).all()


def test_the_same_end_as_with_factorisations():
    problem = erf_problem(1, 7, 12)
    ends = [follow(cls(), problem.objective, problem.theta0) for cls in (BDF, KrylovBDF)]
    assert all(end.stop_reason is StopReason.GRADIENT for end in ends)
    assert ends[0].loss == pytest.approx(ends[1].loss, rel=1e-10)
    assert np.abs(ends[0].theta[-1] - ends[1].theta[-1]).max() < 1e-4


def test_a_copy_of_the_state_continues_with_the_same_bits():
    problem = erf_problem(1)
    solver = KrylovBDF(rtol=1e-7, atol=1e-7)
    settings = compiled_run.pack_settings(solver, solver.method, 1e-9, 0.0, 1e6)

    def fresh():
        return compiled_run.Run(solver.method, problem.objective, np.ones(problem.size), settings)

    whole = fresh()
    loss, gradient = problem.loss_and_gradient(problem.theta0)
    whole.start(0.0, problem.theta0, -gradient, loss, gradient, 1e-4)
    for steps in (1, 3, 60):
        whole.advance(steps)
        copy = fresh()
        for name in ("numbers", "integers", "vectors"):
            getattr(copy, name)[:] = getattr(whole, name)
        whole.advance(40)
        copy.advance(7)
        copy.advance(33)
        for name in ("numbers", "integers", "vectors"):
            assert (getattr(copy, name) == getattr(whole, name)).all(), (steps, name)
    assert whole.integers[at.STATUS] == at.RUNNING


def test_a_saddle_that_rounding_would_hide_is_left():
    """(θ₁² − 1)² with a stiff neighbour, from 1e-10 beside the saddle: far below the tolerance."""
    function = lambda x: (x[0] ** 2 - 1.0) ** 2 + 50.0 * (x[1] - 0.1 * x[0]) ** 2  # noqa: E731
    flow = follow(KrylovBDF(rtol=1e-5, atol=1e-5), JaxLoss(function, 2), [1e-10, 1.0])
    assert flow.stop_reason is StopReason.GRADIENT and flow.loss < 1e-10


def test_samples_are_at_steps_and_dropped_steps_are_integrated_anew(monkeypatch):
    start = np.ones(4)
    whole = follow(KrylovBDF(t1=1e3), JaxLoss(quadratic, 4), start)
    assert np.isin(whole.times, whole.step_times).all() and 60 <= whole.times.size <= 102
    assert whole.times[0] == 0.0 and whole.times[-1] == whole.end_time == 1e3
    monkeypatch.setattr(records, "STORED_NUMBERS", 200)
    monkeypatch.setattr(records, "FEWEST_STEPS", 10)
    thin = follow(KrylovBDF(t1=1e3), JaxLoss(quadratic, 4), start)
    assert thin.step_times.size <= 40 < thin.accepted
    times = np.geomspace(1e-4, 1e3, 15)
    assert np.abs(thin.at(times) - start * np.exp(-CURVATURES * times[:, None])).max() < 40e-7


def test_nearest_steps_are_steps_each_once():
    steps = np.concatenate([[0.0], np.geomspace(1e-3, 1e4, 57)])
    found = flow.nearest_steps(steps)
    assert np.isin(found, steps).all() and (np.diff(found) > 0).all() and found.size == 58
    assert flow.nearest_steps(np.array([0.0])).tolist() == [0.0]
    assert flow.nearest_steps(np.array([0.0, 2.0])).tolist() == [0.0, 2.0]


def test_a_loss_that_becomes_non_finite_returns_the_last_good_state():
    found = follow(KrylovBDF(max_steps=5000), JaxLoss(lambda x: jnp.sum(jnp.log(1 - x)), 1), [0.5])
    assert found.stop_reason in (StopReason.NON_FINITE, StopReason.STEP_UNDERFLOW)
    assert np.isfinite(found.step_theta).all() and found.step_theta[-1, 0] < 1.0


def test_the_default_beyond_five_hundred_parameters():
    assert isinstance(default_solver(500), BDF) and isinstance(default_solver(501), KrylovBDF)
