"""One step of an explicit Runge–Kutta method whose last stage is the new point."""

from __future__ import annotations

import math

from ...kernels.math.blas import copy
from ...kernels.math.memory import load, store, word
from . import layout as at
from .algebra import clear_and_add, loss_and_gradient, scaled_norm

POINT, BEFORE, STAGES = range(at.OWN_WORK, at.OWN_WORK + 3)
"""Rows of WORK; the derivatives of the stages follow from STAGES."""


def explicit_step(run, unused_1, unused_2, unused_3, unused_4, unused_5):
    """One step (see `layout`): stages Y_i = θ + Δt Σ_j a_ij f_j, f_i = −r ⊙ ∇L(Y_i); gradients only.

    The last two stages belong to the end of the step both; |Δf|/|ΔY| between them estimates |λ|_max.
    Source of that: E. Hairer and G. Wanner, Solving ODEs II (1996), section IV.2.
    """
    size, stages, step = word(run, at.SIZE), word(run, at.STAGES), at.number(run, at.TAKEN)
    A = word(run, at.TABLEAU) + 8
    errors = A + 8 * stages * stages
    rates, theta = word(run, at.RATES), at.row(run, at.VECTORS, at.THETA)
    rows, new = at.row(run, at.WORK, STAGES), at.row(run, at.FRESH, at.NEW_THETA)
    point, before = at.row(run, at.WORK, POINT), at.row(run, at.WORK, BEFORE)
    copy(size, at.row(run, at.VECTORS, at.VELOCITY), rows)
    for i in range(1, stages):
        copy(size, point, before)
        clear_and_add(run, i, A + 8 * i * stages, rows, step, theta, point)
        derivative = rows + 8 * i * size
        loss_and_gradient(run, point, at.row(run, at.WORK, at.SPARE), derivative)
        for k in range(size):
            store(derivative, k, -load(rates, k) * load(derivative, k))
    last = rows + 8 * (stages - 1) * size
    change, moved = 0.0, 0.0
    for k in range(size):
        change += (load(last, k) - load(last, k - size)) ** 2
        moved += (load(point, k) - load(before, k)) ** 2
    if moved > 0.0:
        at.set_number(run, at.CURVATURE, math.sqrt(change / moved))
    copy(size, point, new)
    copy(size, last, at.row(run, at.FRESH, at.NEW_VELOCITY))
    clear_and_add(run, stages, errors, rows, step, 0, before)
    error = scaled_norm(run, before)
    if not error < math.inf:
        at.set_integer(run, at.NON_FINITE, 1)
    at.set_number(run, at.ERROR, error)
