"""Backward differentiation: the formulas, what a flow costs, and that the state is the whole state."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.losses.from_jax import JaxLoss
from gradflow.solvers import BDF, compiled_run, records, tableaus
from gradflow.solvers.compiled import bdf
from gradflow.solvers.compiled import layout as at
from gradflow.support.progress import Monitor
from gradflow.support.stopping import StopReason

CURVATURES = np.array([1e-3, 1.0, 30.0, 1e4])


def quadratic(theta):
    return 0.5 * (CURVATURES * theta**2).sum()


def erf_problem(seed=0):
    student = gf.MLP.random((7, 4, 1), "erf", False, seed=seed)
    return gf.Problem(gf.teachers.orthonormal(6, 7), student)


def follow(solver, objective, theta, rates=None):
    rates = np.ones(len(theta)) if rates is None else rates
    return solver.integrate(objective, np.array(theta, dtype=float), rates, Monitor(False))


def backward_differences(values):
    """∇^m of the last of equally spaced values, m = 0, 1, …"""
    rows = [values]
    while len(rows[-1]) > 1:
        rows.append(np.diff(rows[-1]))
    return np.array([row[-1] for row in rows])


@pytest.mark.parametrize("order", range(1, 6))
def test_formulas_are_exact_for_polynomials_and_err_by_their_constant(order):
    table = tableaus.differentiation_formulas()
    alpha, gamma = table[bdf.ALPHA + order], table[bdf.GAMMA + order]
    kappa = 1 - alpha / gamma
    times = np.arange(-order - 1.0, 1.0)
    for degree in range(order + 2):
        differences = backward_differences(times**degree)
        # θ − θ_predicted = ∇^(k+1) θ; θ' = 0 at t = 0 but for degree 1.
        formula = (
            sum(differences[m] / m for m in range(1, order + 1)) - kappa * gamma * differences[order + 1]
        )
        expected = float(degree == 1)
        if degree == order + 1:  # the error constant, in units of ∇^(k+1) θ = (k + 1)! here
            expected = -table[bdf.ERROR + order] * math.factorial(order + 1)
        assert formula == pytest.approx(expected, abs=1e-12 * math.factorial(order + 1))
    second = table[bdf.SECOND : bdf.SECOND + 4] @ backward_differences(np.arange(-5.0, 1.0) ** 2)[2:6]
    assert second == pytest.approx(2.0)


def test_another_step_length_keeps_the_polynomial(rng):
    order, ratio = 5, 0.37
    polynomial = np.polynomial.Polynomial(rng.standard_normal(order + 1))
    old = backward_differences(polynomial(np.arange(-order, 1.0)))
    new = backward_differences(polynomial(ratio * np.arange(-order, 1.0)))
    share = bdf._coefficient.py_func
    for j in range(order + 1):
        total = sum(share(i, j, ratio) * old[i] for i in range(order + 1))
        assert total == pytest.approx(new[j], rel=1e-10, abs=1e-12 * np.abs(old).max())
        assert all(abs(share(i, j, ratio)) < 1e-12 for i in range(j))


def test_stiff_linear_flow_against_its_exact_solution():
    start = np.array([1.0, -2.0, 0.5, 3.0])
    flow = follow(BDF(rtol=1e-8, atol=1e-8, gtol=1e-8), JaxLoss(quadratic, 4), start)
    assert flow.stop_reason is StopReason.GRADIENT
    assert np.abs(CURVATURES * flow.step_theta[-1]).max() <= 1e-8
    exact = start * np.exp(-CURVATURES * flow.step_times[:, None])
    assert np.abs(flow.step_theta - exact).max() < 40e-8
    times = np.geomspace(1e-5, 1e3, 40)
    assert np.abs(flow.at(times) - start * np.exp(-CURVATURES * times[:, None])).max() < 40e-8
    assert 400 <= flow.accepted <= 600 and flow.rejected <= 20
    assert flow.counts.gradients < 1.5 * flow.accepted + 150  # about a hundred for the samples
    assert flow.counts.hessians <= 5


def test_gradient_norms_of_samples_in_stiff_intervals():
    """Along the softest direction alone |∇L| is exact to a per cent: no λ_max times the error of θ."""
    start = np.ones(4)
    flow = follow(BDF(rtol=1e-5, atol=1e-5, t1=3e3), JaxLoss(quadratic, 4), start)
    exact = np.abs(CURVATURES * start * np.exp(-CURVATURES * flow.times[:, None])).max(1)
    assert np.abs(flow.grad_norms / exact - 1)[:-1].max() < 2e-2
    assert np.array_equal(flow.at(flow.times), flow.theta)


def test_intervals_that_lost_steps_are_integrated_anew(monkeypatch):
    monkeypatch.setattr(records, "STORED_NUMBERS", 200)
    monkeypatch.setattr(records, "FEWEST_STEPS", 10)
    start = np.ones(4)
    flow = follow(BDF(t1=1e3), JaxLoss(quadratic, 4), start)
    assert flow.step_times.size < flow.accepted / 4
    exact = start * np.exp(-CURVATURES * flow.times[:, None])
    assert np.abs(flow.theta - exact).max() < 40e-7


def test_errors_follow_the_tolerance_and_steps_grow_with_the_order():
    problem = erf_problem()
    exact = follow(
        gf.solvers.Dopri8(rtol=1e-13, atol=1e-13, t1=30.0, gtol=0.0), problem.objective, problem.theta0
    )
    errors, steps = [], []
    for tolerance in (1e-4, 1e-6, 1e-8, 1e-10):
        solver = BDF(rtol=tolerance, atol=tolerance, t1=30.0, gtol=0.0)
        flow = follow(solver, problem.objective, problem.theta0)
        assert flow.stop_reason is StopReason.END_TIME and flow.end_time == 30.0
        errors.append(np.abs(flow.step_theta[-1] - exact.step_theta[-1]).max() / tolerance)
        steps.append(flow.accepted + flow.rejected)
        assert flow.rejected <= 0.15 * flow.accepted
        assert flow.counts.gradients - 100 <= 2.0 * steps[-1]
        assert flow.counts.hessians <= 15
    assert 0.1 < min(errors) and max(errors) < 100
    assert steps[0] <= 90
    # Between orders 5 and 4: a hundredth of the error costs 100^(1/6) to 100^(1/4) times the steps.
    assert 1.8 < steps[3] / steps[2] < 100 ** (1 / 4)


def test_rates_scale_the_flow():
    rates = np.array([1.0, 0.5, 2.0, 1e-3])
    flow = follow(BDF(rtol=1e-9, atol=1e-9, t1=2.0, gtol=0.0), JaxLoss(quadratic, 4), np.ones(4), rates)
    assert np.abs(flow.step_theta[-1] - np.exp(-rates * CURVATURES * 2.0)).max() < 1e-7


def test_a_copy_of_the_state_continues_with_the_same_bits():
    problem = erf_problem(1)
    solver = BDF(rtol=1e-7, atol=1e-7)
    settings = compiled_run.pack_settings(solver, solver.method, 1e-9, 0.0, 1e6)

    def fresh():
        return compiled_run.Run(solver.method, problem.objective, np.ones(problem.size), settings)

    whole = fresh()
    loss, gradient = problem.loss_and_gradient(problem.theta0)
    whole.start(0.0, problem.theta0, -gradient, loss, gradient, 1e-4)
    for steps in (1, 3, 60, 100):
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


def test_a_loss_that_becomes_non_finite_returns_the_last_good_state():
    import jax.numpy as jnp

    flow = follow(BDF(max_steps=5000), JaxLoss(lambda x: jnp.sum(jnp.log(1 - x)), 1), [0.5])
    assert flow.stop_reason in (StopReason.NON_FINITE, StopReason.STEP_UNDERFLOW)
    assert np.isfinite(flow.step_theta).all() and flow.step_theta[-1, 0] < 1.0


def test_the_point_returned_has_a_finite_loss():
    """Newton's last iterate is inside the domain of L, and its correction may not be."""
    flow = follow(BDF(), JaxLoss(lambda x: jnp.sqrt(x[0] - 0.5) + x[1] ** 2, 2), [1.0, 1.0])
    assert flow.stop_reason is StopReason.NON_FINITE
    assert np.isfinite(flow.losses).all() and np.isfinite(flow.grad_norms).all() and flow.theta[-1, 0] > 0.5


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-5, 1e-6])
def test_loose_tolerances_end_at_gtol_and_not_in_their_own_noise(tolerance):
    for neurons, seed in ((2, 0), (2, 5), (3, 1)):
        student = gf.MLP.random((5, neurons, 1), "erf", False, seed=seed)
        problem = gf.Problem(gf.teachers.orthonormal(4, 5), student)
        solver = BDF(rtol=tolerance, atol=tolerance)
        flow = follow(solver, problem.objective, problem.theta0)
        assert flow.stop_reason is StopReason.GRADIENT
        assert flow.accepted <= 300
        assert flow.counts.gradients <= 2.2 * (flow.accepted + flow.rejected) + 120
