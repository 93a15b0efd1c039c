"""Small eigenvalues of the Hessian: exact zeros told apart from directions that are only nearly flat."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..losses.base import Objective

EPS = float(np.finfo(np.float64).eps)

DISTANCE = 1e-3
"""How far a direction is followed, in units of 1 + |θ|."""

CORRECTIONS = 8
"""Chord steps back to the set of critical points; each gains about the three digits of `DISTANCE`."""

CONDITION = 1e-8
"""Eigenvalues below this times the largest, though resolved, are called badly conditioned."""

MOST = 64
"""No more directions than this are followed."""


class SmallEigenvalues(NamedTuple):
    """What the smallest eigenvalues at a critical point are.

    flat             within rounding of zero, and followed over a thousandth of 1 + |θ| the gradient stays
                     at its floor: a curve of critical points, exactly singular (a symmetry, a duplicate)
    higher_order     within rounding of zero, but L bends along them: flat to second order at most, or
                     with a curvature that Float64 does not resolve
    ill_conditioned  resolved and not zero, below 1e-8 of the largest
    """

    flat: int
    higher_order: int
    ill_conditioned: int

    def __str__(self) -> str:
        return (
            f"{self.flat} directions exactly singular (lines of critical points), "
            f"{self.higher_order} flat to second order only, {self.ill_conditioned} badly conditioned"
        )


def classify(
    objective: Objective, theta: np.ndarray, norm: float, values: np.ndarray, vectors: np.ndarray
) -> SmallEigenvalues | None:
    """The small eigenvalues at a critical point θ with gradient ∞-norm `norm`; None if there are too many.

    A zero direction v is followed to θ + h v and from there, with the pseudo-inverse of the Hessian at θ,
    back to where the gradient vanishes in the directions with curvature. What is left of the gradient
    decides. The Hessian's own rounding is no part of this: 1e-16 of the largest eigenvalue would be
    h · 1e-16 in the gradient, below its floor.
    """
    sizes = np.abs(values)
    largest = float(sizes.max(initial=0.0))
    zero = sizes <= 8 * values.size * EPS * largest
    small = int((sizes <= CONDITION * largest).sum() - zero.sum())
    if zero.sum() > MOST or largest == 0.0:
        return None
    inverse = np.where(zero, 0.0, 1.0 / np.where(zero, 1.0, values))
    reach = DISTANCE * (1.0 + float(np.abs(theta).max()))
    floor = max(16 * EPS * largest * (1.0 + float(np.abs(theta).max())), 4 * norm)
    flat = sum(_is_flat(objective, theta + reach * v, floor, inverse, vectors) for v in vectors.T[zero])
    return SmallEigenvalues(flat, int(zero.sum()) - flat, small)


def _is_flat(objective: Objective, point: np.ndarray, floor: float, inverse, vectors) -> bool:
    for _ in range(CORRECTIONS):
        gradient = objective.gradient(np.ascontiguousarray(point))
        if not np.isfinite(gradient).all():
            return False
        if float(np.abs(gradient).max()) <= floor:
            return True
        with np.errstate(over="ignore", invalid="ignore"):  # a gradient far off: not finite, not flat
            point = point - vectors @ (inverse * (vectors.T @ gradient))
    return False
