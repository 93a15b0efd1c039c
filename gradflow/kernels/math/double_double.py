"""Double-double arithmetic: a number as the unevaluated sum of two doubles, about 32 digits.

Every function takes and returns (high, low) with |low| ≤ ½ ulp(high). Relative errors are a few units of
2^-104 ≈ 5e-32; sums are the accurate ones (error relative to the result unless it cancels, then to
the terms). Sources: Dekker 1971; Joldes, Muller & Popescu, ACM TOMS 44 (2017).
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np

from .abi import kernel_jit
from .errorfree import fma, two_sum

_PI = "3.14159265358979323846264338327950288419716939937510582097494459230781640629"
_SECTORS = 32
_TERMS = 11


def constant(value: Decimal | int | str) -> tuple[float, float]:
    """The double-double nearest to a decimal number."""
    with localcontext() as context:
        context.prec = 60
        exact = Decimal(value)
        high = float(exact)
        return high, float(exact - Decimal(high))


def _sine_cosine(angle: Decimal) -> tuple[Decimal, Decimal]:
    """By their Taylor series, in the caller's decimal context."""
    terms = [Decimal(1)]
    for m in range(1, 50):
        terms.append(terms[-1] * angle / m)
    sine = sum((-1) ** (m // 2) * t for m, t in enumerate(terms) if m % 2)
    cosine = sum((-1) ** (m // 2) * t for m, t in enumerate(terms) if m % 2 == 0)
    return Decimal(sine), Decimal(cosine)


def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Rows (angle, sine, cosine) of jπ/64 for j = 0 … 32, and (−1)^m/(2m+1); pairs side by side."""
    with localcontext() as context:
        context.prec = 60
        angles = [Decimal(_PI) * j / (2 * _SECTORS) for j in range(_SECTORS + 1)]
        sectors = [[*constant(a), *(part for f in _sine_cosine(a) for part in constant(f))] for a in angles]
        series = [constant(Decimal((-1) ** m) / (2 * m + 1)) for m in range(_TERMS)]
    return np.array(sectors), np.array(series)


_SECTOR_TABLE, _SERIES = _tables()
PI = constant(_PI)
with localcontext() as _context:
    _context.prec = 60
    TWO_OVER_PI = constant(Decimal(2) / Decimal(_PI))
    ONE_OVER_2PI = constant(Decimal(1) / (2 * Decimal(_PI)))


@kernel_jit
def add(a, b):
    """a + b."""
    s, e = two_sum(a[0], b[0])
    t, f = two_sum(a[1], b[1])
    e += t
    high = s + e
    e = (e - (high - s)) + f
    s = high + e
    return s, e - (s - high)


@kernel_jit
def mul(a, b):
    """a · b."""
    p = a[0] * b[0]
    e = fma(a[0], b[0], -p)
    e = fma(a[0], b[1], fma(a[1], b[0], e))
    high = p + e
    return high, e - (high - p)


@kernel_jit
def mul_add(a, b, c):
    """a · b + c."""
    return add(mul(a, b), c)


@kernel_jit
def neg(a):
    """−a."""
    return -a[0], -a[1]


@kernel_jit
def div(a, b):
    """a / b: a quotient of doubles, corrected twice."""
    q = a[0] / b[0]
    r = add(a, mul((-q, 0.0), b))
    p = r[0] / b[0]
    r = add(r, mul((-p, 0.0), b))
    return add(two_sum(q, p), (r[0] / b[0], 0.0))


@kernel_jit
def sqrt(a):
    """√a for a ≥ 0 (0 for a negative rounding error): one Newton step from the double."""
    if a[0] <= 0.0:
        return 0.0, 0.0
    root = math.sqrt(a[0])
    rest = add(a, mul((-root, 0.0), (root, 0.0)))
    return two_sum(root, 0.5 * rest[0] / root)


@kernel_jit
def atan_ratio(y, x):
    """atan(y/x) in [0, π/2] for y, x ≥ 0, not both zero.

    The nearest multiple of π/64 is taken off by the addition theorem; the rest, |t| ≤ tan(π/128), by
    11 terms of the series.
    """
    sector = int(math.atan2(y[0], x[0]) * (2 * _SECTORS / math.pi) + 0.5)
    row = _SECTOR_TABLE[sector]
    sine, cosine = (row[2], row[3]), (row[4], row[5])
    t = div(add(mul(y, cosine), neg(mul(x, sine))), add(mul(x, cosine), mul(y, sine)))
    z = mul(t, t)
    p = (_SERIES[_TERMS - 1, 0], _SERIES[_TERMS - 1, 1])
    for m in range(_TERMS - 2, -1, -1):
        p = mul_add(p, z, (_SERIES[m, 0], _SERIES[m, 1]))
    return mul_add(p, t, (row[0], row[1]))
