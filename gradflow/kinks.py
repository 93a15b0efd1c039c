"""Where a function or its slope jumps, found from values alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

RANGE = 64.0
"""Kinks are looked for within ±RANGE."""

_CELLS = 4096
_JUMP = 1e-6
"""Jumps are seen that are larger than this part of the values near by, or on [−1, 1]."""


def find_kinks(derivatives: Callable) -> np.ndarray:
    """The places within ±`RANGE` at which σ or σ' jumps, ascending.

    derivatives   z → (σ, σ', σ'') of an array

    Cells are taken in which σ or σ' grows by another amount than the next derivative adds up to; the half
    in which that is so is taken until the cell is as short as Float64 allows, and what is a jump there is a
    kink. Steep smooth steps are none: in short cells the sums agree.
    """
    edges = np.linspace(-RANGE, RANGE, _CELLS + 1) + 1e-3 * np.pi / _CELLS  # no edge on a round number
    near = [np.abs(f[np.isfinite(f)]) for f in derivatives(np.linspace(-1.0, 1.0, 33))]
    centre = [max(float(values.max(initial=0.0)), 1e-300) for values in near]
    seen = np.flatnonzero(_suspicious(derivatives, edges[:-1], edges[1:], centre))
    waiting = [(edges[k], edges[k + 1]) for k in seen]
    found = []
    for left, right in waiting:
        place = _halved(derivatives, left, right, centre)
        if place is not None and not any(abs(place - other) <= 1e-9 * (1 + abs(place)) for other in found):
            found.append(place)
    return np.sort(np.array([_rounded(z) for z in found]))


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def _gaps(derivatives: Callable, left: np.ndarray, right: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For σ and σ': how far growth over cells is from what the next derivative adds up to, and sizes."""
    half = 0.5 * (right - left)
    inside = derivatives((0.5 * (left + right))[:, None] + half[:, None] * _NODES)
    low, high = derivatives(left), derivatives(right)
    return [
        (
            np.abs(high[f] - low[f] - half * (inside[f + 1] @ _WEIGHTS)),
            np.maximum(np.abs(high[f]), np.abs(low[f])),
        )
        for f in (0, 1)
    ]


def _suspicious(derivatives: Callable, left: np.ndarray, right: np.ndarray, centre: list) -> np.ndarray:
    seen = np.zeros(left.size, dtype=bool)
    for f, (gap, size) in enumerate(_gaps(derivatives, left, right)):
        seen |= np.isfinite(gap) & (gap > _JUMP * np.maximum(size, centre[f]))
    return seen


def _halved(derivatives: Callable, left: float, right: float, centre: list) -> float | None:
    """The jump in a cell, if there is still one in the shortest."""
    while right - left > 8 * np.spacing(max(abs(left), abs(right), 1e-3)):
        middle = 0.5 * (left + right)
        halves = _suspicious(derivatives, np.array([left, middle]), np.array([middle, right]), centre)
        if not halves.any():
            return None
        left, right = (left, middle) if halves[0] else (middle, right)
    return 0.5 * (left + right)


def _rounded(z: float) -> float:
    """The number of few digits within the last cell, if there is one."""
    for digits in range(13):
        short = round(z, digits)
        if abs(short - z) <= 16 * np.spacing(max(abs(z), 1e-3)):
            return short + 0.0
    return z
