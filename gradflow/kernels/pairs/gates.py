"""Activations that are a gate and a straight line, c0 + c1 z + c2 G(z), and what pairs of gates are made of.

    HINGE             G(z) = max(z, 0)
    STEP, CENTRED     G(z) = Φ(z) or Φ(z) − ½, a step in z + ξ with ξ ~ N(0, 1) independent of everything
    0                 no gate

With u = w·x + b, R² = |w|² (hinge) or 1 + |w|² (step), h = b/R, g = |w|/R, y = 1/R for a step and 0 for a
hinge, the same primed, ρ = g g' cos θ and Δ² = 1 − ρ², every expectation is made of

    B = P(X ≤ h, Y ≤ k),  F21 = φ(h) Φ(z),  F12 = φ(k) Φ(z'),  e = Δ times the density at (h, k),
    z = (k − ρh)/Δ,  z' = (h − ρk)/Δ.

They are formed for several partners of one unit at a time, in loops that vectorise.
"""

from __future__ import annotations

import math

from ..activation_table import CENTRED, HINGE
from ..math.abi import inner_jit
from ..math.angles import atan_ratio
from ..math.bivariate_normal import FAR, excess, near_one, normal_cdf
from ..math.vector_math import copysign, erf_sqrt_half, exp, gaussian_cdf, select
from .units import BIAS, COSINE, NORM, SINE

_ONE_OVER_2PI = 0.5 / math.pi
_ONE_OVER_ROOT_2PI = math.sqrt(_ONE_OVER_2PI)
_ROOT_HALF = math.sqrt(0.5)


@inner_jit
def gate(unit, kind):
    """(h, g, y, 1/R) of a unit's gate; h within ±40, where φ vanishes. A hinge at w = b = 0 is closed."""
    r, b = unit[NORM], unit[BIAS]
    if kind != HINGE:
        return max(-40.0, min(40.0, b * unit[COSINE])), unit[SINE], unit[COSINE], unit[COSINE]
    inverse = 1.0 / r if r > 1e-300 else 0.0
    if inverse == 0.0:
        return (40.0 if b > 0.0 else -40.0), 1.0, 0.0, 0.0
    return max(-40.0, min(40.0, b * inverse)), 1.0, 0.0, inverse


@inner_jit
def cdf(z, kind):
    """Φ(z), or Φ(z) − ½ for a centred gate."""
    return 0.5 * math.erf(z * _ROOT_HALF) if kind == CENTRED else normal_cdf(z)


@inner_jit
def means(unit, kind):
    """S_0 = E σ(u) of the gate alone and S_j = R^{j−1} E σ^(j)(u), j = 1 … 5: in range for any norm."""
    h, _, _, inverse = gate(unit, kind)
    density = _ONE_OVER_ROOT_2PI * math.exp(-0.5 * h * h)
    second, third, fourth = -h * density, (h * h - 1.0) * density, (3.0 - h * h) * h * density
    if kind != HINGE:
        fifth = (h * h * (h * h - 6.0) + 3.0) * density
        over = inverse
        return cdf(h, kind), density * over, second * over, third * over, fourth * over, fifth * over
    return unit[NORM] * density + unit[BIAS] * normal_cdf(h), normal_cdf(h), density, second, third, fourth


CHUNK = 64
"""Partners at a time."""

ARRAYS = 22
(
    COS, SIN, OTHER_NORM, OTHER_BIAS, GAIN, NOISE, RHO, REST, OVER, E, LEVEL, ANGLE, Z, K, OTHER_Z, F21,
    OTHER_CDF, F12, FIRST, SECOND, THIRD, FOURTH,
) = (CHUNK * row for row in range(ARRAYS))  # fmt: skip
"""Arrays of CHUNK numbers, one for each partner, in the work space of a row: cos θ and sin θ; |w'|, b', g'
and y'; ρ, Δ², 1/Δ (0 for Δ = 0), e; B, which for a centred gate is E G G'; the angle with sine ρ; z, k, z',
and in the same order F21, Φ(k), F12; then the first four rows of the pair."""


@inner_jit
def _fill(values, count, padded, geometry, units, start, kind):
    """The first seven arrays, filled up with the last partner."""
    for i in range(padded):
        j = start + min(i, count - 1)
        other = units[j]
        k, g, y, _ = gate(other, kind)
        values[COS + i], values[SIN + i] = geometry[0, j], math.sqrt(geometry[1, j])
        values[OTHER_NORM + i], values[OTHER_BIAS + i] = other[NORM], other[BIAS]
        values[K + i], values[GAIN + i], values[NOISE + i] = k, g, y


@inner_jit
def _correlate(values, count, h, g, y):
    """ρ, Δ², 1/Δ, z, z', e and the angle, without cancellation in k − ρh and the exponent as |ρ| → 1."""
    for i in range(count):
        c, sn, k, gj, yj = (
            values[COS + i],
            values[SIN + i],
            values[K + i],
            values[GAIN + i],
            values[NOISE + i],
        )
        rho = g * gj * c
        rest = yj * yj + (y * gj) * (y * gj) + (g * gj * sn) * (g * gj * sn)
        delta = math.sqrt(rest)
        positive, size = rho >= 0.0, 1.0 + abs(rho)
        gap, corner = select(positive, h - k, h + k), rest / size
        z = select(positive, h * corner - gap, gap - h * corner)
        zj = select(positive, gap + k * corner, gap - k * corner)
        inside = select(positive, -h * k, h * k) / size
        # away from there nothing cancels, and z of a small step beside a steep one keeps its digits
        z, zj = select(abs(rho) < 0.5, k - rho * h, z), select(abs(rho) < 0.5, h - rho * k, zj)
        over = select(delta > 0.0, 1.0 / delta, 0.0)
        apart = select(gap != 0.0, 40.0, 0.0)
        z = select(delta > 0.0, z * over, copysign(apart, z))
        zj = select(delta > 0.0, zj * over, copysign(apart, zj))
        gap = select(delta > 0.0, gap * over, apart)
        exponent = inside - 0.5 * gap * gap
        values[RHO + i], values[REST + i], values[OVER + i] = rho, rest, over
        values[Z + i], values[OTHER_Z + i] = z, zj
        values[E + i] = _ONE_OVER_2PI * exp(select(exponent < 0.0, exponent, 0.0))
        values[ANGLE + i] = copysign(atan_ratio(abs(rho), delta), rho)


@inner_jit
def _distribute(values, count, kind):
    """Φ, or Φ − ½ for a centred gate, of the first array (z, k or z'), three arrays further on."""
    if kind == CENTRED:
        for i in range(count):
            values[3 * CHUNK + i] = 0.5 * erf_sqrt_half(values[i])
    else:
        for i in range(count):
            values[3 * CHUNK + i] = gaussian_cdf(values[i])


@inner_jit
def _weigh(values, count, density):
    """F21 and F12 from Φ(z) and Φ(z') in their places."""
    for i in range(count):
        k = values[K + i]
        values[F21 + i] *= density
        values[F12 + i] *= _ONE_OVER_ROOT_2PI * exp(-0.5 * k * k)


@inner_jit
def prepare_gates(values, memory, count, geometry, unit, units, start, kind, other_kind):
    """Fill the arrays for partners start … start+count−1, all of `other_kind`; memory for one bivariate Φ."""
    h, g, y, _ = gate(unit, kind)
    padded = (count + 7) // 8 * 8
    _fill(values, count, padded, geometry, units, start, other_kind)
    _correlate(values, padded, h, g, y)
    _distribute(values[Z:], padded, other_kind)
    _distribute(values[K:], padded, other_kind)
    _distribute(values[OTHER_Z:], padded, kind)
    _weigh(values, padded, _ONE_OVER_ROOT_2PI * math.exp(-0.5 * h * h))
    own = cdf(h, kind)
    for i in range(count):
        k, product = values[K + i], own * values[OTHER_CDF + i]
        if values[REST + i] > FAR:
            values[LEVEL + i] = excess(h, k, values[ANGLE + i], memory) + product
            continue
        level = near_one(h, k, values[RHO + i], values[REST + i], memory)
        if kind == CENTRED or other_kind == CENTRED:
            level = (level - normal_cdf(h) * normal_cdf(k)) + product
        values[LEVEL + i] = level
