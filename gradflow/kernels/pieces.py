"""Where quadrature has to be fine for an activation: pieces of the line on which σ, σ', σ'' are polynomials.

Pieces are halved until 32 Legendre coefficients reproduce all three to 1e-11, then quarters of
them are joined as long as they stay resolved. A kink ends in a piece of width 1e-12 or so, whose share of any
integral is below 1e-12 of the jump: that is the error reported. Beyond ±RANGE pieces double in length.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

DEGREE = 32
RANGE = 64.0
_TOLERANCE = 1e-11  # of degrees near 30: a rule of 32 nodes integrates degree 63, so products to rounding
_SHORTEST = 2.0**-44
_MOST = 4000


def _fit():
    nodes, weights = np.polynomial.legendre.leggauss(DEGREE)
    basis = np.polynomial.legendre.legvander(nodes, DEGREE - 1)
    return nodes, (basis * weights[:, None]).T * (np.arange(DEGREE) + 0.5)[:, None]


_NODES, _TO_COEFFICIENTS = _fit()


def _residual(derivatives: Callable, left: float, right: float) -> float:
    """The largest of the last Legendre coefficients of σ, σ', σ'' beside their largest values there."""
    z = 0.5 * (left + right) + 0.5 * (right - left) * _NODES
    worst = 0.0
    for values in derivatives(z):
        if not np.isfinite(values).all():
            return np.inf
        largest = np.abs(values).max()
        if largest > 0.0:
            tail = np.abs(_TO_COEFFICIENTS @ values)[-4:].max()
            worst = max(worst, tail / largest)
    return worst


def pieces(derivatives: Callable) -> tuple[np.ndarray, float]:
    """Edges of the pieces, ascending, and the error of what no halving resolves.

    `derivatives(z)` gives (σ, σ', σ'') of an array.
    """
    error = 0.0
    roots = np.concatenate([-(2.0 ** np.arange(6, -1, -1)), [0.0], 2.0 ** np.arange(0, 7)])
    waiting = [(a, b, np.inf) for a, b in zip(roots[:-1], roots[1:], strict=True)][::-1]
    done = []
    while waiting:
        left, right, before = waiting.pop()
        here = _residual(derivatives, left, right)
        # Noise of the user's function does not shrink with the piece: halving on would not help.
        noise = here < 1e-8 and here > 0.25 * before
        if here <= _TOLERANCE or noise:
            done.append((left, right))
            error = max(error, here if noise else 0.0)
        elif not np.isfinite(here) or right - left < _SHORTEST or len(done) + len(waiting) > _MOST:
            done.append((left, right))
            error = max(error, (right - left) if np.isfinite(here) else 0.0)
        else:
            middle = 0.5 * (left + right)
            waiting += [(middle, right, here), (left, middle, here)]
    quarters = []
    for left, right in done:
        points = np.linspace(left, right, 5 if right - left > 1e-3 else 2)
        quarters += list(zip(points[:-1], points[1:], strict=True))
    joined = [quarters[0]]
    for piece in quarters[1:]:
        last = joined[-1]
        if _residual(derivatives, last[0], piece[1]) <= _TOLERANCE:
            joined[-1] = (last[0], piece[1])
        else:
            joined.append(piece)
    far = 2.0 ** np.arange(7, 24)
    edges = [a for a, _ in joined] + [joined[-1][1]]
    return np.concatenate([-far[::-1], edges, far]), error
