"""Points between the accepted steps of a method with Hessians, by the quintic through both ends of a step."""

from __future__ import annotations

from ...kernels.math.abi import inner_jit
from ...kernels.math.memory import load, store, word
from . import layout as at
from .algebra import POSITIVE, all_derivatives, indefinite, solve

(TIMES, THETA, THETA_ROW, VELOCITY, VELOCITY_ROW, ACCELERATION, ACCELERATION_ROW, STIFFNESS, PLACES) = range(
    9
)
"""Words of the table of steps: addresses of their times, of θ, θ', θ'' with the bytes from row to row, of
Δt·|λ|_max of the intervals, and of the interval (int64) that each point is in."""

QUINTIC_LIMIT = 3.0
"""Δt·λ_max up to which the gradient at an interpolated point has the accuracy of its θ."""


@inner_jit
def _quintic(table, j, t, h, size, point, slope):
    """The quintic Hermite interpolant of θ in interval j at t, and its derivative."""
    s = (t - load(word(table, TIMES), j)) / h
    theta = word(table, THETA) + j * word(table, THETA_ROW)
    velocity = word(table, VELOCITY) + j * word(table, VELOCITY_ROW)
    acceleration = word(table, ACCELERATION) + j * word(table, ACCELERATION_ROW)
    for k in range(size):
        x0, x1 = load(theta, k), load(theta + word(table, THETA_ROW), k)
        v0, v1 = h * load(velocity, k), h * load(velocity + word(table, VELOCITY_ROW), k)
        a0, a1 = h * h * load(acceleration, k), h * h * load(acceleration + word(table, ACCELERATION_ROW), k)
        jump = x1 - x0
        c3 = 10.0 * jump - 6.0 * v0 - 4.0 * v1 - 1.5 * a0 + 0.5 * a1
        c4 = -15.0 * jump + 8.0 * v0 + 7.0 * v1 + 1.5 * a0 - a1
        c5 = 6.0 * jump - 3.0 * (v0 + v1) - 0.5 * (a0 - a1)
        store(point, k, x0 + s * (v0 + s * (0.5 * a0 + s * (c3 + s * (c4 + s * c5)))))
        store(slope, k, (v0 + s * (a0 + s * (3.0 * c3 + s * (4.0 * c4 + s * 5.0 * c5)))) / h)


def between_steps(run, table, times, points, count, unused):
    """θ at so many times (rows of `points`); in stiff intervals with one Newton step (`dense_output`)."""
    size = word(run, at.SIZE)
    slope, gradient = at.row(run, at.FRESH, at.NEW_VELOCITY), at.row(run, at.FRESH, at.NEW_GRADIENT)
    rates, cell = word(run, at.RATES), at.row(run, at.WORK, at.SPARE)
    for i in range(count):
        j, point = word(word(table, PLACES), i), points + 8 * i * size
        h = load(word(table, TIMES), j + 1) - load(word(table, TIMES), j)
        _quintic(table, j, load(times, i), h, size, point, slope)
        if load(word(table, STIFFNESS), j) <= QUINTIC_LIMIT:
            continue
        all_derivatives(run, point, cell, gradient)
        if indefinite(run, h):  # as on leaving a saddle: the interpolant stands
            continue
        for k in range(size):
            store(slope, k, h * (load(slope, k) + load(rates, k) * load(gradient, k)))
        at.set_integer(run, at.FACTORED, POSITIVE)
        solve(run, slope)
        for k in range(size):
            store(point, k, load(point, k) - load(slope, k))
