"""`Flow.at` between steps, of every solver that follows the flow: as accurate as the steps themselves."""

from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import gradflow as gf
from gradflow.losses.from_jax import JaxLoss
from gradflow.solvers import Filippov, known_solvers
from gradflow.solvers.discrete import DiscreteDynamics
from gradflow.support.progress import Monitor
from gradflow.support.threads import single_threaded_blas

SOLVERS = {
    name: cls for name, cls in known_solvers().items() if not issubclass(cls, DiscreteDynamics | Filippov)
}
TOLERANCES = (1e-3, 1e-5, 1e-7, 1e-9, 1e-11, 1e-13)

DECAYING, WELLS = np.array([1e-2, 1.0, 1e3]), np.array([2.0, 0.3])
START = np.array([1.0, -2.0, 0.5, 0.05, 1.7])
AXES = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
CENTRE = np.array([0.7, -1.1, 0.4, 2.0, -0.3])


def loss(theta):
    """½ Σ λ x² + Σ μ (y⁴/4 − y²/2) in rotated, shifted coordinates."""
    z = jnp.asarray(AXES) @ (theta - jnp.asarray(CENTRE))
    x, y = z[:3], z[3:]
    return 0.5 * jnp.sum(jnp.asarray(DECAYING) * x**2) + jnp.sum(jnp.asarray(WELLS) * (y**4 / 4 - y**2 / 2))


STIFF = JaxLoss(loss, 5)


def exact(times):
    """x = x₀ e^{−λt}; y = ±(1 + (1/y₀² − 1) e^{−2μt})^{−½}."""
    t = np.asarray(times)[:, None]
    x = START[:3] * np.exp(-DECAYING * t)
    y = np.sign(START[3:]) / np.sqrt(1 + (1 / START[3:] ** 2 - 1) * np.exp(-2 * WELLS * t))
    return np.concatenate([x, y], axis=1) @ AXES + CENTRE


@cache
def erf_flow():
    """A flow of a network past a saddle, and its θ(t) by DOP853."""
    student = gf.MLP.random((4, 2, 1), "erf", False, seed=1)
    problem = gf.Problem(gf.teachers.orthonormal(3, 4), student)
    solution = scipy.integrate.solve_ivp(
        lambda _, y: -problem.gradient(np.ascontiguousarray(y)), (0.0, 20.0), problem.theta0, "DOP853",
        rtol=3e-14, atol=1e-16, dense_output=True, max_step=0.02,
    )  # fmt: skip
    return problem.objective, problem.theta0, lambda times: solution.sol(times).T


def worst_errors(solver, objective, start, truth, rng):
    """The largest error at accepted steps, and between them."""
    with single_threaded_blas():
        flow = solver.integrate(objective, start, np.ones(start.size), Monitor(False))
    steps = flow.step_times
    assert steps.size > 4
    chosen = rng.permutation(steps.size - 1)[:40]
    shares = np.stack([np.full(chosen.size, 0.5), rng.uniform(size=chosen.size)], axis=1)
    times = (steps[chosen, None] + np.diff(steps)[chosen, None] * shares).ravel()
    at_steps = np.abs(flow.step_theta - truth(steps)).max()
    return at_steps, np.abs(flow.at(times) - truth(times)).max()


@pytest.mark.parametrize("name", SOLVERS)
def test_points_between_steps_are_as_good_as_the_steps(name, rng):
    start = AXES.T @ START + CENTRE
    for tolerance in TOLERANCES:
        solver = SOLVERS[name](rtol=tolerance, atol=tolerance, t1=30.0, gtol=0.0, max_steps=200)
        steps, between = worst_errors(solver, STIFF, start, exact, rng)
        assert between <= 2.0 * steps + 1e-14 * np.abs(start).max(), (tolerance, steps, between)


@pytest.mark.parametrize("name", [name for name in SOLVERS if not name.startswith("diffrax.")])
def test_so_they_are_on_a_network(name, rng):
    objective, start, truth = erf_flow()
    for tolerance in (1e-4, 1e-7, 1e-10):
        solver = SOLVERS[name](rtol=tolerance, atol=tolerance, t1=20.0, gtol=0.0, max_steps=500)
        steps, between = worst_errors(solver, objective, start, truth, rng)
        assert between <= 2.0 * steps + 1e-14 * np.abs(start).max(), (tolerance, steps, between)
