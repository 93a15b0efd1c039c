"""Degenerate critical points: found exactly, with exact zeros; elsewhere no index is claimed."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from gradflow import StopReason
from gradflow.losses.from_jax import JaxLoss
from gradflow.refiners import EigenvectorFollowing, TrustRegionNewton
from gradflow.refiners.bordered import degenerate_point, examine
from gradflow.support.eigen import inertia, zero_tolerance
from gradflow.support.progress import Monitor

# A function of three or four numbers with a degenerate critical point at 0; its index and zeros there.
KINDS = {
    "quartic": (lambda x: x[0] ** 2 + x[1] ** 4 - x[2] ** 2, 3, (1, 1)),
    "cubic": (lambda x: x[0] ** 2 + x[1] ** 3 - x[2] ** 2, 3, (1, 1)),
    "monkey saddle": (lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2 + x[2] ** 2, 3, (0, 2)),
    "two quartics": (lambda x: x[0] ** 4 - 2 * x[1] ** 4 + x[2] ** 2 - x[3] ** 2, 4, (1, 2)),
    "quartic form": (lambda x: x[0] ** 2 * x[1] ** 2 + x[0] ** 4 + x[1] ** 4 + x[2] ** 2, 3, (0, 2)),
    "bent": (lambda x: (x[0] - x[1] ** 2) ** 2 + x[1] ** 4 - (x[2] + x[1]) ** 2, 3, (1, 1)),
    "quartic on a line": (lambda x: (1 + x[3] ** 2) * x[1] ** 4 + x[0] ** 2 - x[2] ** 2, 4, (1, 2)),
    "weak and degenerate": (lambda x: x[0] ** 2 + 1e-5 * x[1] ** 2 + x[2] ** 4, 3, (0, 1)),
    "sixth order": (lambda x: x[0] ** 2 - x[1] ** 2 + x[2] ** 6, 3, (1, 1)),
}


@functools.cache
def rotated(name, seed):
    """In turned and bent coordinates: nothing is aligned with an axis, no order is pure."""
    function, size, _ = KINDS[name]
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0])

    def moved(t):
        y = turn @ t
        return function(y + 0.3 * jnp.roll(y, 1) * y) + 2.0

    return JaxLoss(moved, size)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("distance", [1e-4, 1e-2])
def test_degenerate_points_are_found(name, distance):
    _, size, expected = KINDS[name]
    for seed in range(2):
        loss = rotated(name, seed)
        start = distance * np.random.default_rng(10 + seed).standard_normal(size)
        end = TrustRegionNewton(target="critical point").refine(loss, start, Monitor(False))
        found = examine(loss, end.theta)
        assert found.inertia[:2] == expected and end.stop_reason is StopReason.FLOOR
        assert np.abs(loss.gradient(end.theta)).max() <= 1e-14
        if name != "quartic on a line":
            assert np.abs(end.theta).max() <= (2e-4 if name == "sixth order" else 3e-7)


@pytest.mark.parametrize("name", KINDS)
def test_near_a_degenerate_point_no_index_is_stated(name):
    """Where Newton's method creeps all signs are wrong as likely as not."""
    loss, size = rotated(name, 0), KINDS[name][1]
    for distance in (1e-4, 1e-3, 1e-2):
        theta = distance * np.random.default_rng(3).standard_normal(size)
        found = examine(loss, theta)
        assert found.inertia.negative is None and "Newton's step" in found.inertia.reason


def test_regular_points_are_left_alone():
    """A saddle of any condition down to rounding has its index, and no degenerate point is looked for."""
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0])
    for weak in (1e-2, 1e-6, 1e-12):
        scales = jnp.array([1.0, -1.0, weak, -weak])
        loss = JaxLoss(lambda x, s=scales: jnp.sum(s * (turn @ x) ** 2) + 1.0, 4)
        found = examine(loss, np.zeros(4))
        assert found.inertia[:2] == (2, 0) and degenerate_point(loss, found) is None
        assert not found.open.any()


def test_points_without_a_neighbouring_critical_point_have_no_index():
    """exp(−x) + y² has a small gradient and no critical point; x + y³ has none either."""
    for function in (lambda x: jnp.exp(-x[0]) + x[1] ** 2, lambda x: 1e-6 * x[0] + x[1] ** 2 + x[0] ** 3):
        loss = JaxLoss(function, 2)
        for x in (1.0, 20.0):
            found = examine(loss, np.array([x, 0.0]))
            assert found.inertia.negative is None and degenerate_point(loss, found) is None


def test_the_signs_of_eigenvalues():
    values = np.array([-1.0, -1e-3, 0.0, 2.0])
    tolerance = zero_tolerance(values)
    assert inertia(values, values, tolerance, 0.0)[:2] == (2, 1)
    assert inertia(values, 1.05 * values, tolerance, 0.1)[:2] == (2, 1)
    # The same signs, but other values: the point moves on.
    assert inertia(values, values * [1, 0.44, 1, 1], tolerance, 0.1).negative is None
    assert inertia(values, values + [0, 0, 1e-3, 0], tolerance, 0.1).negative is None
    assert inertia(values, values * np.nan, tolerance, 0.1).negative is None
    assert str(inertia(values, values * 2, tolerance, 0.1)).startswith("index not determined (3 eigenvalues")
    assert inertia(values, values * 2, tolerance, 0.1, lowest=True)[:2] == (0, None)


def test_newton_with_bounded_steps_is_eigenvector_following_without_an_index():
    """x⁴/4 − x²/2 + y²: a saddle at 0, minima at ±1; Newton goes to the nearest, whatever its index."""
    loss = JaxLoss(lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 + 1.0, 2)
    for start, end, index in (([0.3, 0.5], 0.0, 1), ([0.9, 0.5], 1.0, 0)):
        found = EigenvectorFollowing(index=None).refine(loss, np.array(start), Monitor(False))
        assert found.stop_reason.succeeded and found.theta == pytest.approx([end, 0.0], abs=1e-12)
        assert examine(loss, found.theta).inertia[:2] == (index, 0)
