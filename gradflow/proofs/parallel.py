"""relu units that are nearly parallel: angles and second derivatives without a division by sin θ.

With x = Cw/r, y = Cw'/r' (unit vectors in the metric C), e = y − x and f = x + y in the same sense:

    θ = 2 atan2(|e|, |f|),  t = tan(θ/2) = |e|/|f|,  ê = e/|e|,  n the unit vector of y − cos θ x
    ∂²K/∂w∂w' = ((π−θ) C + t (x yᵀ + y xᵀ − 2 cos θ ê êᵀ))/2π                 for θ near 0
              = (δ C + (1/t) (2 f̂ f̂ᵀ − x xᵀ − y yᵀ))/2π, δ = π − θ           for θ near π
    ∂²K/∂w²   = r'/(2πr) sin θ (C − x xᵀ + n nᵀ)

A unit vector that is not known at all (the box contains parallel units) has entries |ê_a| ≤ √C_aa by
Cauchy and Schwarz; each of them is multiplied by something that vanishes with the angle, so the enclosure
is as narrow as the angle. Derived from docs/proofs.md; the Hessian is continuous at parallel units.
"""

from __future__ import annotations

from typing import NamedTuple

from .balls import square_root
from .pairs import relu_from

NEAR = 0.01
"""Units with sin²θ below this are taken as parallel: a division by √D widens a box of radius r to about
r/sin³θ, this to r/sin θ at most."""


class Metric(NamedTuple):
    """Row vectors as they are (w) and times C, C itself as rows; None where C is the identity."""

    C: list | None

    def entry(self, a: int, b: int):
        """C_ab."""
        return (1 if a == b else 0) if self.C is None else self.C[a][b]

    def root(self, a: int):
        """√C_aa."""
        return 1 if self.C is None else self.C[a][a].sqrt()


def are_near(s, t, q) -> bool:
    """Whether two units are, or may be, nearly parallel."""
    return not s * t - q * q > NEAR * s * t


def near_pair(x, s, t, w, v, p, z, metric: Metric, second: bool):
    """The `Pair` of two nearly parallel units, and its blocks ∂ww, ∂wv, ∂vv (None unless `second`).

    w, v   the weights; p, z the same times C; s, t their squared norms
    """
    r, u = s.sqrt(), t.sqrt()
    X, Y = [a / r for a in p], [a / u for a in z]
    e = [b / u - a / r for a, b in zip(w, v)]
    f = [b / u + a / r for a, b in zip(w, v)]
    Ce, Cf = [b - a for a, b in zip(X, Y)], [b + a for a, b in zip(X, Y)]
    ee = sum((a * b for a, b in zip(e, Ce)), 0 * s)
    ff = sum((a * b for a, b in zip(f, Cf)), 0 * s)
    same = bool(ee < ff)
    short, shorts, long = (Ce, ee, ff) if same else (Cf, ff, ee)
    tangent = square_root(shorts) / square_root(long)
    small = 2 * x.atan2(square_root(shorts), square_root(long))
    square = tangent * tangent
    sine = 2 * tangent / (1 + square)
    cosine = (1 - square) / (1 + square)  # of the small angle
    rest = x.pi - small if same else small
    q = r * u * (cosine if same else -cosine)
    pair = relu_from(x, s, t, q, r * u * sine, rest, False)
    if not second:
        return pair, None
    d = len(w)
    half = 1 / (2 * x.pi)
    unit = _outer_of_unit(short, shorts, metric, d)
    # n nᵀ: n = (short direction ± (1 − cos) of the own one)/sin, known where the short direction is.
    one = 1 - cosine if same else cosine - 1
    nX = [a + one * b for a, b in zip(short, X)]
    # seen from v: x − cos θ y, in terms of the same short vector
    nY = [(-a if same else a) + one * b for a, b in zip(short, Y)]
    normal_x, normal_y = (_outer_of_unit(n, sine * sine, metric, d) for n in (nX, nY))
    fx, fy = half * u / r * sine, half * r / u * sine
    ww, wv, vv = ([[None] * d for _ in range(d)] for _ in range(3))
    for a in range(d):
        for b in range(d):
            c = metric.entry(a, b)
            ww[a][b] = fx * (c - X[a] * X[b] + normal_x[a][b])
            vv[a][b] = fy * (c - Y[a] * Y[b] + normal_y[a][b])
            if same:
                tail = X[a] * Y[b] + Y[a] * X[b] - 2 * cosine * unit[a][b]
            else:
                tail = 2 * unit[a][b] - X[a] * X[b] - Y[a] * Y[b]
            wv[a][b] = half * (rest * c + tangent * tail)
    return pair, (ww, wv, vv)


def _outer_of_unit(vector, square, metric: Metric, d: int):
    """v vᵀ/|v|², each entry within ±√(C_aa C_bb) whatever v is; |v|² = `square` contains the true value."""
    roots = [metric.root(a) for a in range(d)]
    rows = [[None] * d for _ in range(d)]
    for a in range(d):
        for b in range(a + 1):
            bound = (roots[a] * roots[b] + 0 * square).abs_upper()
            ball = _symmetric(bound)
            if a == b:
                ball = ball.nonnegative_part()
            if square > 0:
                quotient = vector[a] * vector[b] / square
                if quotient.is_finite() and quotient.rad() < bound:
                    ball = quotient
            rows[a][b] = rows[b][a] = ball
    return rows


def _symmetric(bound):
    """The ball of all |x| ≤ bound."""
    return type(bound)(0, bound)
