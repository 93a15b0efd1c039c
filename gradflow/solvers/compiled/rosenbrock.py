"""One step of a Rosenbrock method: linear systems with one matrix, no Newton iteration."""

from __future__ import annotations

import math

from ...kernels.math.abi import inner_jit
from ...kernels.math.memory import load, store, word
from . import layout as at
from .algebra import clear_and_add, factorise, loss_and_gradient, scaled_norm, solve

POINT, MIXED, STAGES = range(at.OWN_WORK, at.OWN_WORK + 3)
"""Rows of WORK; the stages U_i follow from STAGES."""


@inner_jit
def _stage(run, c, gamma, weights, count, gradient, result):
    """U = (I + c r ⊙ ∇²L)⁻¹ (−c r ⊙ g + γ Σ_j weights[j] U_j), c = γΔt."""
    size, rates = word(run, at.SIZE), word(run, at.RATES)
    clear_and_add(run, count, weights, at.row(run, at.WORK, STAGES), gamma, 0, result)
    for k in range(size):
        store(result, k, load(result, k) - c * load(rates, k) * load(gradient, k))
    solve(run, result)


def rosenbrock_step(run, unused_1, unused_2, unused_3, unused_4, unused_5):
    """One step (see `layout` and `tableaus.Rosenbrock`): one Hessian, one factorisation, s − 1 gradients."""
    size, stages, step = word(run, at.SIZE), word(run, at.STAGES), at.number(run, at.TAKEN)
    tableau = word(run, at.TABLEAU)
    gamma = load(tableau, 0)
    square = 8 * stages * stages
    a = tableau + 8
    mixed = a + square
    m = mixed + square
    errors = m + 8 * stages
    theta, rows = at.row(run, at.VECTORS, at.THETA), at.row(run, at.WORK, STAGES)
    point, gradient = at.row(run, at.WORK, POINT), at.row(run, at.WORK, MIXED)
    if not factorise(run, gamma * step):
        at.set_integer(run, at.FAILED, 1)
        return
    _stage(run, gamma * step, gamma, mixed, 0, at.row(run, at.VECTORS, at.GRADIENT), rows)
    for i in range(1, stages):
        clear_and_add(run, i, a + 8 * i * stages, rows, 1.0, theta, point)
        loss_and_gradient(run, point, at.row(run, at.WORK, at.SPARE), gradient)
        _stage(run, gamma * step, gamma, mixed + 8 * i * stages, i, gradient, rows + 8 * i * size)
    clear_and_add(run, stages, m, rows, 1.0, theta, at.row(run, at.FRESH, at.NEW_THETA))
    clear_and_add(run, stages, errors, rows, 1.0, 0, point)
    error = scaled_norm(run, point)
    if not error < math.inf:
        at.set_integer(run, at.NON_FINITE, 1)
    at.set_number(run, at.ERROR, error)
