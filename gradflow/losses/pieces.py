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


def _residual(derivatives: Callable, left: float, right: float, share: float, scales: list):
    """How far σ, σ', σ'' are from polynomials there, in units of what `pieces` allows; (error, size) of each.

    The last Legendre coefficients tell, and the values at both ends: a kink outside the nodes shows there.
    `share` is the piece's part of a root piece, `scales` the largest values on that: the error of a short
    piece counts less, and rounding of a function that crosses zero there does not count at all.
    """
    z = 0.5 * (left + right) + 0.5 * (right - left) * _POINTS
    worst, parts = 0.0, []
    for values, scale in zip(derivatives(z), scales, strict=True):
        if not np.isfinite(values).all():
            return np.inf, []
        largest = max(np.abs(values).max(), share * scale)
        if largest > _SMALLEST:
            series = _TO_COEFFICIENTS @ values[:DEGREE]
            tail = max(np.abs(series[-4:]).max(), 0.1 * np.abs(_TO_ENDS @ series - values[DEGREE:]).max())
            worst = max(worst, tail * share**0.75 / largest)
            parts.append((tail * share**0.75, largest))
        else:
            parts.append((0.0, 1.0))
    return worst / _TOLERANCE, parts


def _is_simple(derivatives: Callable, left: float, centre: list) -> bool:
    """Whether one piece from `left` to 2·left resolves all three functions, or they leave Float64.

    Relative to their values there, or to those of `centre` where they are larger.
    """
    scales = [
        max(c, np.abs(f).max()) for c, f in zip(centre, derivatives(left * (1.0 + _SAMPLES)), strict=True)
    ]
    here = _residual(derivatives, min(left, 2.0 * left), max(left, 2.0 * left), 1.0, scales)[0]
    return here <= 1.0 or not np.isfinite(here)


def pieces(derivatives: Callable) -> tuple[np.ndarray, float, float]:
    """Edges of the pieces, ascending, the error of what no halving resolves, and the longest panel far out.

    That is 0 where pieces may double in length beyond ±RANGE; a function that goes on bending there (a
    wave) is taken to be as it is inside.

    The error is relative to the values there, or to those on [−1, 1] where they are larger.

    `derivatives(z)` gives (σ, σ', σ'') of an array.
    """
    error, edges = 0.0, []
    roots = np.concatenate([-(2.0 ** np.arange(6, -1, -1)), [0.0], 2.0 ** np.arange(0, 7)])
    centre = [np.abs(f).max() for f in derivatives(2.0 * _SAMPLES - 1.0)]
    for low, high in itertools.pairwise(roots):
        samples = derivatives(low + (high - low) * _SAMPLES)
        scales = [np.abs(f).max() for f in samples]
        waiting = [(low, high, np.inf)]
        while waiting:
            left, right, before = waiting.pop()
            share = (right - left) / (high - low)
            here, parts = _residual(derivatives, left, right, share, scales)
            # Noise of the user's function does not shrink with the piece: halving on would not help.
            stuck = share < 0.1 and here > 0.2 * before and here * _TOLERANCE < 1e-9
            if here <= 1.0 or stuck or not np.isfinite(here) or share < _SHORTEST or len(edges) > _MOST:
                if 1.0 < here < np.inf:  # values that overflow show in the sums themselves
                    error = max(error, *(t / max(v, c) for (t, v), c in zip(parts, centre, strict=True)))
                count = 4 if here <= 1.0 and share > 1e-3 else 1
                edges += [left + (right - left) * k / count for k in range(count)]
            else:
                middle = 0.5 * (left + right)
                waiting += [(middle, right, here), (left, middle, here)]
    edges.append(roots[-1])
    joined = edges[:1]
    for k in range(1, len(edges) - 1):
        whole = derivatives(np.linspace(joined[-1], edges[k + 1], 34)[1:-1])
        scales = [np.abs(f).max() for f in whole]
        if _residual(derivatives, joined[-1], edges[k + 1], 1.0, scales)[0] > 1.0:
            joined.append(edges[k])
    far = [RANGE * 2.0**k for k in range(1, 18)]
    simple = all(
        _is_simple(derivatives, sign * left, centre) for sign in (-1, 1) for left in (RANGE, 4.0 * RANGE)
    )
    step = 0.0 if simple else float(np.diff([e for e in [*joined, edges[-1]] if e <= RANGE]).min())
    return np.concatenate([-np.array(far[::-1]), joined, edges[-1:], far]), error, step


def inconsistency(derivatives: Callable, edges: np.ndarray) -> float:
    """How far σ' is from the integral of σ'', and σ from that of σ', over the pieces within ±RANGE.

    Relative to the values there or on [−1, 1], whichever are larger; zero up to 1e-9. A kink whose share
    of σ'' (a δ) the given second derivative cannot have shows as its jump.
    """
    worst = 0.0
    inner = edges[np.abs(edges) <= RANGE]
    centre = [np.abs(f).max() for f in derivatives(2.0 * _SAMPLES - 1.0)]
    nodes, weights = np.polynomial.legendre.leggauss(DEGREE)
    for left, right in itertools.pairwise(inner):
        half = 0.5 * (right - left)
        inside = derivatives(0.5 * (left + right) + half * nodes)
        ends = derivatives(np.array([left, right]))
        for f in range(2):
            size = max(np.abs(ends[f]).max(), half * np.abs(inside[f + 1]).max(), centre[f])
            gap = abs(ends[f][1] - ends[f][0] - half * (weights @ inside[f + 1]))
            if np.isfinite(gap) and gap > 1e-9 * size:
                worst = max(worst, gap / size)
    return worst
