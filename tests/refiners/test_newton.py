"""Trust-region Newton: its subproblem, minima, saddles, singular Hessians, the Float64 floor."""

import jax.numpy as jnp
import numpy as np
import pytest

from gradflow.losses.from_jax import JaxLoss
from gradflow.refiners import LBFGS, NewtonKrylov, TrustRegionNewton, default_refiner
from gradflow.refiners.trust_region import trust_region_step
from gradflow.support.errors import ArgumentError
from gradflow.support.progress import Monitor
from gradflow.support.stopping import StopReason


def test_lengths_that_overflow_are_longer_than_the_radius():
    """A null direction with a slope: the first trial step has entries of 1e203, whose squares overflow."""
    step, on_boundary = trust_region_step(np.array([0.0, 1.0]), np.array([1e-3, 0.0]), 1e190)
    assert on_boundary and step[0] == pytest.approx(-1e190, rel=1e-7)


def model(values, coefficients, step):
    return float(coefficients @ step + 0.5 * step @ (values * step))


@pytest.mark.parametrize("case", ["definite", "indefinite", "hard", "singular", "zero gradient", "huge"])
def test_the_step_beats_every_feasible_point(case, rng):
    for _ in range(20):
        values = np.sort(rng.standard_normal(6))
        coefficients = rng.standard_normal(6)
        if case == "definite":
            values = np.sort(np.abs(values)) + 0.1
        elif case == "hard":
            coefficients[0] = 0.0
            coefficients *= 1e-3
            values[0] -= 1.0
        elif case == "singular":
            values = np.sort(np.abs(values))
            values[:2] = 0.0
            coefficients[:2] = 0.0
        elif case == "zero gradient":
            coefficients[:] = 0.0
        elif case == "huge":
            values, coefficients = 1e12 * values, 1e9 * coefficients
        radius = 10.0 ** rng.uniform(-3, 1)
        step, _ = trust_region_step(values, coefficients, radius)
        assert np.linalg.norm(step) <= radius * (1 + 1e-7)
        trials = rng.standard_normal((500, 6))
        trials *= radius * rng.uniform(0, 1, (500, 1)) / np.linalg.norm(trials, axis=1, keepdims=True)
        best = min(model(values, coefficients, trial) for trial in trials)
        reached = model(values, coefficients, step)
        assert reached <= best + 1e-9 * max(1.0, np.abs(values).max()) * radius**2


def refine(function, theta, **settings):
    theta = np.asarray(theta, dtype=np.float64)
    return TrustRegionNewton(**settings).refine(JaxLoss(function, theta.size), theta, Monitor(False))


def rosenbrock(theta):
    return (1 - theta[0]) ** 2 + 100 * (theta[1] - theta[0] ** 2) ** 2


def test_a_minimum_is_reached_at_the_floor():
    found = refine(rosenbrock, [-1.2, 1.0])
    assert found.stop_reason in (StopReason.FLOOR, StopReason.GRADIENT)
    assert found.grad_norm <= 1e-14
    assert np.abs(found.theta - 1.0).max() <= 1e-15
    assert found.iterations <= 40


def test_negative_curvature_is_left_for_a_minimum():
    # θ = 0 is a saddle: the gradient in the second direction is exactly zero there (the hard case).
    found = refine(lambda x: x[0] ** 2 - x[1] ** 2 + 0.25 * x[1] ** 4 + 3.0, [0.3, 0.0])
    assert found.loss == pytest.approx(2.0, abs=1e-15)
    assert abs(found.theta[1]) == pytest.approx(np.sqrt(2.0), abs=1e-15)


def test_a_saddle_is_found_when_a_critical_point_is_asked_for():
    def function(x):
        return x[0] ** 2 - x[1] ** 2 + 0.25 * x[1] ** 4 + 0.1 * x[0] * x[1]

    found = refine(function, [0.4, 0.3], target="critical point")
    assert found.stop_reason in (StopReason.FLOOR, StopReason.GRADIENT)
    assert found.grad_norm <= 1e-16
    assert np.abs(found.theta).max() <= 1e-15


def test_no_critical_point_is_said_so():
    found = refine(lambda x: jnp.exp(-x[0]) + x[0] * 2.0 + jnp.cos(x[1]) * 0.0 + 5.0 * x[1], [3.0, 0.0],
                   target="critical point")  # fmt: skip
    assert found.stop_reason is StopReason.STATIONARY_RESIDUAL
    assert found.grad_norm >= 4.9


def test_a_singular_hessian_does_not_blow_the_step_up():
    found = refine(lambda x: (x[0] * x[1] - 1.0) ** 2, [2.0, 3.0])
    assert found.grad_norm <= 1e-15
    assert found.theta[0] * found.theta[1] == pytest.approx(1.0, abs=1e-15)
    assert np.abs(found.theta).max() < 6


def test_limits_and_bad_starts():
    assert refine(rosenbrock, [-1.2, 1.0], max_iterations=3).stop_reason is StopReason.MAX_STEPS
    assert refine(rosenbrock, [-1.2, 1.0], gtol=1e-3).stop_reason is StopReason.GRADIENT
    assert refine(lambda x: jnp.sum(jnp.log(x)), [-1.0]).stop_reason is StopReason.NON_FINITE
    with pytest.raises(ArgumentError, match="^target:"):
        TrustRegionNewton(target="maximum")
    with pytest.raises(ArgumentError, match="^gtol:"):
        TrustRegionNewton(gtol=-1.0)


def test_lbfgs_ends_where_it_can_and_says_so():
    theta = np.tile([-1.2, 1.0], 20)

    def chain(x):
        return jnp.sum((1 - x[:-1]) ** 2 + 100 * (x[1:] - x[:-1] ** 2) ** 2)

    found = LBFGS().refine(JaxLoss(chain, theta.size), theta, Monitor(False))
    assert found.grad_norm < 1e-7
    expected = StopReason.FLOOR if found.grad_norm <= 1e-12 else StopReason.NO_PROGRESS
    assert found.stop_reason is expected
    limited = LBFGS(max_iterations=5).refine(JaxLoss(chain, theta.size), theta, Monitor(False))
    assert limited.stop_reason is StopReason.MAX_STEPS and limited.iterations == 5


def test_the_default_goes_by_size():
    assert isinstance(default_refiner(1000), TrustRegionNewton)
    assert isinstance(default_refiner(1001), NewtonKrylov)


def test_an_exact_saddle_is_left_for_a_minimum():
    def function(x):
        return (x[0] ** 2 - 1) ** 2 + x[1] ** 2

    for start in ([0.0, 0.0], [0.0, 0.5]):
        found = refine(function, start, gtol=1e-8)
        assert found.stop_reason is StopReason.GRADIENT
        assert abs(found.theta[0]) == pytest.approx(1.0, abs=1e-8) and found.loss < 1e-15
    stays = refine(function, [0.0, 0.0], target="critical point")
    assert stays.stop_reason is StopReason.GRADIENT and (stays.theta == 0.0).all()


def test_losses_without_a_minimum_are_said_to_have_none():
    for function in (lambda x: -(x[0] ** 2), lambda x: x[0]):
        found = refine(function, [1.0])
        assert found.stop_reason is StopReason.UNBOUNDED
        assert abs(found.theta[0]) > 1e6 and found.loss < -1e6


def test_nothing_is_made_worse():
    # |x|^1.5 has no second derivative at its minimum: Newton gains nothing from there.
    start = np.array([1e-30, 0.0])
    found = refine(lambda x: jnp.abs(x[0]) ** 1.5 + x[1] ** 2, start)
    assert found.grad_norm <= 1.6e-15
