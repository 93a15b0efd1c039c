"""One step of a diagonally implicit Runge–Kutta method with explicit first stage."""

from __future__ import annotations

import math

from ...kernels.math.abi import inner_jit
from ...kernels.math.blas import copy
from ...kernels.math.memory import load, store, word
from . import layout as at
from .algebra import clear_and_add, factorise, loss_and_gradient, scaled_norm, solve

KAPPA = 1e-2
"""Newton's remaining error, in units of the tolerance, at which a stage counts as solved."""

ITERATIONS = 10
"""Newton iterations after which a stage is given up."""

BASE, SHIFT, RESIDUAL, POINT, STAGES = range(at.OWN_WORK, at.OWN_WORK + 5)
"""Rows of WORK; the derivatives of the stages follow from STAGES."""


@inner_jit
def _solve_stage(run, c, base, shift, contraction):
    """Newton for z + c r ⊙ ∇L(base + z) = 0 with the factorised matrix I + c r ⊙ ∇²L; z is in `shift`.

    The increment is measured in θ, in units of the tolerance, whatever the size of θ': late in a flow
    that is far below atol while Δt is huge. The stage is solved when the increment, or the error that
    its rate of decrease implies, is below KAPPA; an increment below KAPPA counts at once, because at
    round-off it decreases no further. Returns the contraction measured, negative if Newton fails.
    """
    size = word(run, at.SIZE)
    residual, point = at.row(run, at.WORK, RESIDUAL), at.row(run, at.WORK, POINT)
    rates, cell = word(run, at.RATES), at.row(run, at.WORK, at.SPARE)
    previous = math.inf
    for iteration in range(ITERATIONS):
        for k in range(size):
            store(point, k, load(base, k) + load(shift, k))
        loss_and_gradient(run, point, cell, residual)
        for k in range(size):
            store(residual, k, -load(shift, k) - c * load(rates, k) * load(residual, k))
        solve(run, residual)
        length = scaled_norm(run, residual)
        if not length < math.inf:
            at.set_integer(run, at.NON_FINITE, 1)
            return -1.0
        for k in range(size):
            store(shift, k, load(shift, k) + load(residual, k))
        if iteration > 0:
            rate = length / previous
            if rate < 1.0:
                contraction = rate / (1.0 - rate)
            elif length >= KAPPA and rate >= 2.0:
                return -1.0
            else:
                contraction = math.inf
        if length < KAPPA or contraction * length < KAPPA:
            return contraction
        previous = length
    return -1.0


def esdirk_step(run, unused_1, unused_2, unused_3, unused_4, unused_5):
    """One step (see `layout`): stages Y_i = θ + Δt Σ_j a_ij f_j, f_i = −r ⊙ ∇L(Y_i), one factorisation.

    f_1 and the velocity handed back are what the last stage solved for, z/(γΔt): in stiff directions it
    is smooth to the tolerance, where −r ⊙ ∇L(θ) amplifies the error of θ by the largest curvature.
    """
    size, stages, step = word(run, at.SIZE), word(run, at.STAGES), at.number(run, at.TAKEN)
    tableau = word(run, at.TABLEAU)
    c = step * load(tableau, 0)
    A = tableau + 8
    errors = A + 8 * stages * stages
    predictor = errors + 8 * stages
    theta, rows = at.row(run, at.VECTORS, at.THETA), at.row(run, at.WORK, STAGES)
    base, shift = at.row(run, at.WORK, BASE), at.row(run, at.WORK, SHIFT)
    new = at.row(run, at.FRESH, at.NEW_THETA)
    if not factorise(run, c):
        at.set_integer(run, at.FAILED, 1)
        return
    copy(size, at.row(run, at.VECTORS, at.VELOCITY), rows)
    contraction = math.inf
    for i in range(1, stages):
        clear_and_add(run, i, A + 8 * i * stages, rows, step, theta, base)
        clear_and_add(run, i, predictor + 8 * i * stages, rows, c, 0, shift)
        contraction = _solve_stage(run, c, base, shift, contraction)
        if contraction < 0.0:
            at.set_integer(run, at.FAILED, 1)
            return
        derivative = rows + 8 * i * size
        for k in range(size):
            store(derivative, k, load(shift, k) / c)
    for k in range(size):
        store(new, k, load(base, k) + load(shift, k))
    copy(size, rows + 8 * (stages - 1) * size, at.row(run, at.FRESH, at.NEW_VELOCITY))
    clear_and_add(run, stages, errors, rows, step, 0, base)
    at.set_number(run, at.ERROR, scaled_norm(run, base))
