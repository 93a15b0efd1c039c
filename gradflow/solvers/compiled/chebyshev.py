"""One step of the Runge–Kutta–Chebyshev method of order 2: gradients only, a long interval of stability."""

from __future__ import annotations

import math

from ...kernels.math.abi import inner_jit
from ...kernels.math.blas import copy, vector
from ...kernels.math.memory import load, store, word
from . import layout as at
from .algebra import loss_and_gradient, product, scaled_norm

DAMPING = 2.0 / 13.0
"""ε: between its ends the stability polynomial stays below 1 − ε/3 in size."""

LARGEST_STAGES = 1000
"""A step that needs more is halved: rounding grows with the square of the number of stages."""

MARGIN = 1.15
"""The power iteration estimates the largest curvature from below: it is taken so many times larger."""

STEPS_KEPT = 20
"""Accepted steps for which an estimate of the largest curvature is used, unless one is rejected before."""

LAST_ESTIMATE = at.OWN_INTEGERS
"""Own integer: steps since the estimate, plus one; zero: there is none."""


DERIVATIVE = at.OWN_WORK + 3
"""The row of WORK after those of three stages in turn."""


@inner_jit
def _largest_curvature(run, iterations):
    """|λ|_max of r ⊙ ∇²L at θ into CURVATURE: a power iteration by products, in the variable δ/√r."""
    size = word(run, at.SIZE)
    power, image = vector(at.row(run, at.VECTORS, at.POWER), size), at.row(run, at.WORK, DERIVATIVE)
    roots, scaled = vector(word(run, at.ROOTS), size), at.row(run, at.WORK, at.SPARE)
    length, before = 0.0, 0.0
    for _ in range(iterations):
        for k in range(size):
            store(scaled, k, roots[k] * power[k])
        product(run, at.row(run, at.VECTORS, at.THETA), scaled, image)
        total = 0.0
        for k in range(size):
            total += (roots[k] * load(image, k)) ** 2
        length = math.sqrt(total)
        if not (length > 0.0 and length < math.inf):
            break
        for k in range(size):
            power[k] = roots[k] * load(image, k) / length
        if abs(length - before) < 0.01 * length:
            break
        before = length
    at.set_number(run, at.CURVATURE, length)


@inner_jit
def _velocity(run, point, result):
    """−r ⊙ ∇L at an address; leaves ∇L in NEW_GRADIENT and L in NEW_LOSS."""
    size, rates = word(run, at.SIZE), word(run, at.RATES)
    gradient, cell = at.row(run, at.FRESH, at.NEW_GRADIENT), at.row(run, at.WORK, at.SPARE)
    loss_and_gradient(run, point, cell, gradient)
    at.set_number(run, at.NEW_LOSS, load(cell, 0))
    for k in range(size):
        store(result, k, -load(rates, k) * load(gradient, k))


@inner_jit
def _stages(run, stages, step):
    """θ after the step, at the address returned.

    Y_j = (1 − μ_j − ν_j) θ + μ_j Y_{j−1} + ν_j Y_{j−2} + μ̃_j Δt F_{j−1} + γ̃_j Δt F_0 with the Chebyshev
    polynomials T_j, T'_j, T''_j at w_0 = 1 + ε/s²: b_j = T''_j/T'_j², μ_j = 2 b_j w_0/b_{j−1},
    ν_j = −b_j/b_{j−2}, μ̃_j = 2 b_j w_1/b_{j−1}, γ̃_j = (b_{j−1} T_{j−1} − 1) μ̃_j, w_1 = T'_s/T''_s.
    """
    size = word(run, at.SIZE)
    theta = vector(at.row(run, at.VECTORS, at.THETA), size)
    start = vector(at.row(run, at.VECTORS, at.VELOCITY), size)
    derivative = at.row(run, at.WORK, DERIVATIVE)
    slope = vector(derivative, size)
    older, old, new = (
        at.row(run, at.WORK, at.OWN_WORK),
        at.row(run, at.WORK, at.OWN_WORK + 1),
        at.row(run, at.WORK, at.OWN_WORK + 2),
    )
    w0 = 1.0 + DAMPING / (stages * stages)
    root = math.sqrt(w0 * w0 - 1.0)
    angle = stages * math.log(w0 + root)
    w1 = math.sinh(angle) * root * root / (math.cosh(angle) * stages * root - w0 * math.sinh(angle))
    b_older = b_old = 1.0 / (4.0 * w0 * w0)
    t_older, t_old, d_older, d_old, e_older, e_old = 1.0, w0, 0.0, 1.0, 0.0, 0.0
    first = vector(old, size)
    copy(size, at.row(run, at.VECTORS, at.THETA), older)
    for k in range(size):
        first[k] = theta[k] + b_old * w1 * step * start[k]
    for _ in range(2, stages + 1):
        t = 2.0 * w0 * t_old - t_older
        d = 2.0 * t_old + 2.0 * w0 * d_old - d_older
        e = 4.0 * d_old + 2.0 * w0 * e_old - e_older
        b = e / (d * d)
        mu, nu, mu_step = 2.0 * b * w0 / b_old, -b / b_older, 2.0 * b * w1 / b_old
        gamma = (b_old * t_old - 1.0) * mu_step
        _velocity(run, old, derivative)
        target, y, z = vector(new, size), vector(old, size), vector(older, size)
        for k in range(size):
            target[k] = (
                (1.0 - mu - nu) * theta[k] + mu * y[k] + nu * z[k]
                + step * (mu_step * slope[k] + gamma * start[k])
            )  # fmt: skip
        older, old, new = old, new, older
        b_older, b_old = b_old, b
        t_older, t_old, d_older, d_old, e_older, e_old = t_old, t, d_old, d, e_old, e
    return old


def rkc_step(run, unused_1, unused_2, unused_3, unused_4, unused_5):
    """One step (see `layout`) with as many stages as stability needs: Δt |λ|_max ≤ 0.65 (s² − 1).

    The error is estimated as 0.8 (θ − θ_new) + 0.4 Δt (θ' + θ'_new).
    Source: B. P. Sommeijer, L. F. Shampine and J. G. Verwer, RKC: an explicit solver for parabolic PDEs,
    J. Comput. Appl. Math. 88 (1998) 315–326.
    """
    size, step = word(run, at.SIZE), at.number(run, at.TAKEN)
    age = at.integer(run, LAST_ESTIMATE)
    if age == 0 or age > STEPS_KEPT or at.integer(run, at.ACCEPTED) == 0:
        _largest_curvature(run, 30 if age == 0 else 5)
        age = 1
    at.set_integer(run, LAST_ESTIMATE, age + 1)
    needed = math.sqrt(1.0 + 1.54 * MARGIN * step * at.number(run, at.CURVATURE))
    if not needed < LARGEST_STAGES:
        at.set_integer(run, at.FAILED, 1)
        return
    end = _stages(run, max(1 + int(needed), 2), step)
    new, slope = at.row(run, at.FRESH, at.NEW_THETA), at.row(run, at.FRESH, at.NEW_VELOCITY)
    copy(size, end, new)
    _velocity(run, new, slope)
    theta, start = at.row(run, at.VECTORS, at.THETA), at.row(run, at.VECTORS, at.VELOCITY)
    difference = at.row(run, at.WORK, DERIVATIVE)
    for k in range(size):
        change = 0.8 * (load(theta, k) - load(new, k)) + 0.4 * step * (load(start, k) + load(slope, k))
        store(difference, k, change)
    error = scaled_norm(run, difference)
    at.set_number(run, at.ERROR, error)
    if not error < math.inf:
        at.set_integer(run, at.NON_FINITE, 1)
        return
    acceleration = at.row(run, at.FRESH, at.NEW_ACCELERATION)
    if error <= 1.0:
        product(run, new, slope, acceleration)
        for k in range(size):
            store(acceleration, k, -load(word(run, at.RATES), k) * load(acceleration, k))
