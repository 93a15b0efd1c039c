"""Angles between vectors without loss of digits: the named primitives at the singular places.

An angle is atan2(sin θ, cos θ), with the sine taken from a residual where the cosine is near ±1.
Nobody else writes `arccos`. All functions are branch-free, so that loops over pairs vectorise.
"""

from __future__ import annotations

import math

from .abi import kernel_jit
from .errorfree import fma
from .vector_math import inlined, polynomial, select

HALF_PI = 0.5 * math.pi
_HALF_PI_TAIL = 6.123233995736766e-17  # π/2 − HALF_PI
_TAN_PI_8 = 0.41421356237309503
_TAN_3PI_8 = 2.414213562373095

_ATAN = (
    -0.33333333333333330156, 0.19999999999995516545, -0.14285714284665680761, 0.11111111015187018721,
    -0.090909045753064890845, 0.076921831253768920895, -0.066645105255089365988, 0.058581409048663282818,
    -0.050854078345894842573, 0.039230447784793095235, -0.019175404711104933678,
)  # fmt: skip
"""(atan(t)/t − 1)/t² in powers of t², minimax for |t| ≤ tan(π/8); relative error 5e-18."""

_SINE_MINUS = tuple((-1) ** (k + 1) * 2 * k / math.factorial(2 * k + 1) for k in range(1, 10))


@inlined
def atan_ratio(y, x):
    """atan(y/x) in [0, π/2] for y, x ≥ 0, not both zero; within 1.5 ulp.

    Reduced by multiples of π/4 to |t| ≤ tan(π/8), there t + t³ p(t²).
    """
    steep = y > _TAN_3PI_8 * x
    middle = y > _TAN_PI_8 * x
    numerator = select(steep, -x, select(middle, y - x, y))
    denominator = select(steep, y, select(middle, y + x, x))
    offset = select(steep, HALF_PI, select(middle, 0.5 * HALF_PI, 0.0))
    tail = select(steep, _HALF_PI_TAIL, select(middle, 0.5 * _HALF_PI_TAIL, 0.0))
    t = numerator / denominator
    z = t * t
    p = polynomial(z, _ATAN)
    return offset + (t + fma(t * z, p, tail))


@inlined
def sine_minus(delta, sine, cosine):
    """sin δ − δ cos δ for δ in [0, π/2]; below 0.6, where it cancels, by its series.

    Σ_{k≥1} (−1)^{k+1} 2k/(2k+1)! δ^{2k+1}, to k = 9.
    """
    z = delta * delta
    p = polynomial(z, _SINE_MINUS)
    return select(delta < 0.6, delta * z * p, sine - delta * cosine)


@kernel_jit
def residual_sine(w, w_squared, v, v_squared, inner):
    """sin²θ between vectors from the part of v orthogonal to w, given |w|², |v|² and w·v as rounded.

    e = v − λ w with λ = w·v/|w|², each entry with one rounding (fma), so e is relatively accurate
    whatever the cancellation; the error of λ leaves e a part along w, which is taken out of |e|².
    Relatively accurate for angles (or π − θ) down to about 1e-20.
    """
    factor = inner / w_squared
    norm = 0.0
    along = 0.0
    for a in range(w.size):
        e = fma(-factor, w[a], v[a])
        norm = fma(e, e, norm)
        along = fma(e, w[a], along)
    return max(0.0, (norm - along * along / w_squared) / v_squared)
