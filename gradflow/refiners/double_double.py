"""The last step of a refinement: Newton with a Float64 Hessian on the double-double residual."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from ..objective import Counts, Objective
from ..support.eigen import symmetric_eigen
from ..support.progress import Monitor
from ..support.stopping import StopReason, is_critical
from .base import Extended, Refinement
from .newton import NULL_CUT

MAX_STEPS = 40

PATIENCE = 2
"""Steps in a row that do not halve the gradient's norm: that is the floor."""

FLOOR = 1e-26
"""∇L, in units of the terms that cancel in it, that double-double reaches at a regular critical point."""


def polish(objective: Objective, refinement: Refinement, monitor: Monitor) -> Refinement:
    """A refinement continued to the floor of double-double arithmetic, θ + θ_low.

    Parameters
    ----------
    objective : Objective
        A loss with a double-double form (`Objective.double_double`).
    refinement : Refinement
        The end of a refinement in Float64.
    monitor : Monitor
        Hears of each step and may interrupt.

    Returns
    -------
    Refinement
        With `extended`; its loss and gradient norm are those at θ + θ_low.

    Notes
    -----
    A step solves ∇²L s = −∇L with the Float64 Hessian at θ, by a pseudo-inverse that leaves out
    eigenvalues below 1e-10 of the largest (the scaling of a ReLU neuron). The Hessian is right to
    ε·λ_max, so a step multiplies the error by about ε·λ_max/λ_min: three steps from the floor of
    Float64 where that ratio is 1e-10. The point of the smallest gradient is kept; L may not rise.

    References
    ----------
    Iterative refinement: J. H. Wilkinson, Rounding Errors in Algebraic Processes (1963); for ∇L = 0:
    F. Tisseur, SIAM J. Matrix Anal. Appl. 22 (2001) 1038.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(3, 4)
    >>> student = gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> result = gf.train(teacher, student, progress=False)
    >>> monitor = gf.support.progress.Monitor()
    >>> polish(result.problem.objective, result.refinement, monitor).grad_norm < 1e-28
    True
    """
    began, before = time.monotonic(), objective.counts()
    theta, low = refinement.theta, np.zeros_like(refinement.theta)
    found = objective.double_double(theta, low)
    norm = float(np.abs(found.gradient).max())
    best = theta, low, found, norm
    allowed = found.loss + found.bound + 1e-10 * abs(found.loss)
    iterations = failures = 0
    while np.isfinite(norm) and failures < PATIENCE and iterations < MAX_STEPS and not monitor.interrupted:
        hessian = objective.hessian(theta)
        if not np.isfinite(hessian).all():
            break
        values, vectors = symmetric_eigen(hessian)
        kept = np.abs(values) > NULL_CUT * np.abs(values).max(initial=0.0)
        step = -vectors[:, kept] @ ((vectors[:, kept].T @ found.gradient) / values[kept])
        theta, low = _add(theta, low, step)
        found = objective.double_double(theta, low)
        norm = float(np.abs(found.gradient).max())
        iterations += 1
        monitor.report("refine (double-double)", loss=found.loss, grad_norm=norm, steps=iterations)
        failures = 0 if norm < 0.5 * best[3] else failures + 1
        if norm < best[3] and found.loss <= allowed:
            best = theta, low, found, norm
    theta, low, found, norm = best
    reason = StopReason.NO_PROGRESS
    if monitor.interrupted:
        reason = StopReason.INTERRUPTED
    elif is_critical(found.gradient, FLOOR * objective.gradient_sizes(theta).size):
        reason = StopReason.DOUBLE_DOUBLE_FLOOR
    spent = objective.counts() - before
    return dataclasses.replace(
        refinement,
        theta=theta,
        loss=found.loss,
        grad_norm=objective.norm(found.gradient),
        stop_reason=reason,
        counts=Counts(*(a + b for a, b in zip(refinement.counts, spent))),
        seconds=refinement.seconds + time.monotonic() - began,
        settings={**refinement.settings, "precision": "double-double"},
        extended=Extended(low, found.loss_low, found.bound, iterations),
    )


def _add(high: np.ndarray, low: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(high + low) + step as a pair again: the rounding error of high + step goes into the low part."""
    total = high + step
    part = total - high
    rest = low + ((high - (total - part)) + (step - part))
    result = total + rest
    return result, rest - (result - total)
