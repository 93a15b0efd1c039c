"""Where quadrature has to be fine for an activation: pieces of the line on which σ, σ', σ'' are polynomials.

Pieces are halved until 32 Legendre coefficients reproduce all three to 1e-11, then quarters of
them are joined as long as they stay resolved. At a kink and in noise halving ends, and what is left is
the error reported. Beyond ±RANGE pieces double in length.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

DEGREE = 32
RANGE = 64.0
_TOLERANCE = 1e-11  # of degrees near 30: a rule of 32 nodes integrates degree 63, so products to rounding
_SHORTEST = 2.0**-46
_SMALLEST = 1e-290
_SAMPLES = np.linspace(1e-9, 1.0 - 1e-9, 65)
_MOST = 4000


def _fit():
    nodes, weights = np.polynomial.legendre.leggauss(DEGREE)
    basis = np.polynomial.legendre.legvander(nodes, DEGREE - 1)
    ends = np.array([-1.0 + 1e-9, 1.0 - 1e-9])
    points = np.concatenate([nodes, ends])
    return (
        points,
        (basis * weights[:, None]).T * (np.arange(DEGREE) + 0.5)[:, None],
        (np.polynomial.legendre.legvander(ends, DEGREE - 1)),
    )


_POINTS, _TO_COEFFICIENTS, _TO_ENDS = _fit()


def _residual(derivatives: Callable, left: float, right: float, share: float, scales: list) -> float:
    """How far σ, σ', σ'' are from polynomials there, in units of what `pieces` allows.

    The last Legendre coefficients tell, and the values at both ends: a kink outside the nodes shows there.
    `share` is the piece's part of a root piece, `scales` the largest values on that: the error of a short
    piece counts less, and rounding of a function that crosses zero there does not count at all.
    """
    z = 0.5 * (left + right) + 0.5 * (right - left) * _POINTS
    worst = 0.0
    for values, scale in zip(derivatives(z), scales, strict=True):
        if not np.isfinite(values).all():
            return np.inf
        largest = max(np.abs(values).max(), share * scale)
        if largest > _SMALLEST:
            series = _TO_COEFFICIENTS @ values[:DEGREE]
            tail = max(np.abs(series[-4:]).max(), 0.1 * np.abs(_TO_ENDS @ series - values[DEGREE:]).max())
            worst = max(worst, tail * share**0.75 / largest)
    return worst / _TOLERANCE


def pieces(derivatives: Callable) -> tuple[np.ndarray, float]:
    """Edges of the pieces, ascending, and the error of what no halving resolves.

    The error is relative to the values there, or to those on [−1, 1] where they are larger.

    `derivatives(z)` gives (σ, σ', σ'') of an array.
    """
    error, edges = 0.0, []
    roots = np.concatenate([-(2.0 ** np.arange(6, -1, -1)), [0.0], 2.0 ** np.arange(0, 7)])
    centre = [np.abs(f).max() for f in derivatives(2.0 * _SAMPLES - 1.0)]
    for low, high in itertools.pairwise(roots):
        samples = derivatives(low + (high - low) * _SAMPLES)
        scales = [np.abs(f).max() for f in samples]
        small = max(min(1.0, s / c) if c > 0.0 else 1.0 for s, c in zip(scales, centre, strict=True))
        waiting = [(low, high, np.inf)]
        while waiting:
            left, right, before = waiting.pop()
            share = (right - left) / (high - low)
            here = _residual(derivatives, left, right, share, scales)
            # Noise of the user's function does not shrink with the piece: halving on would not help.
            stuck = share < 0.1 and here > 0.2 * before and here * _TOLERANCE < 1e-9
            if here <= 1.0 or stuck or not np.isfinite(here) or share < _SHORTEST or len(edges) > _MOST:
                error = max(error, 0.0 if here <= 1.0 else here * _TOLERANCE * small)
                parts = 4 if here <= 1.0 and share > 1e-3 else 1
                edges += [left + (right - left) * k / parts for k in range(parts)]
            else:
                middle = 0.5 * (left + right)
                waiting += [(middle, right, here), (left, middle, here)]
    edges.append(roots[-1])
    joined = edges[:1]
    for k in range(1, len(edges) - 1):
        whole = derivatives(np.linspace(joined[-1], edges[k + 1], 34)[1:-1])
        scales = [np.abs(f).max() for f in whole]
        if _residual(derivatives, joined[-1], edges[k + 1], 1.0, scales) > 1.0:
            joined.append(edges[k])
    far = 2.0 ** np.arange(7, 24)
    return np.concatenate([-far[::-1], joined, edges[-1:], far]), error
