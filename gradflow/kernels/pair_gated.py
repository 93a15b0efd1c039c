"""The pair kernel of units with biases whose activation is a gate and a straight line: c0 + c1 z + c2 G(z).

    relu, leaky_relu    G(z) = max(z, 0), a hinge
    normal_cdf, erf     G(z) = Φ(z), a step in z + ξ with ξ ~ N(0, 1) independent of everything
    identity, one       no gate

With u = w·x + b, R² = |w|² (hinge) or 1 + |w|² (step), h = b/R, g = |w|/R, y = 1/R for a step and 0 for a
hinge, the same primed, ρ = g g' cos θ and Δ² = 1 − ρ², every expectation is made of

    B = P(X ≤ h, Y ≤ k),  F21 = φ(h) Φ(z),  F12 = φ(k) Φ(z'),  e = Δ times the density at (h, k),
    z = (k − ρh)/Δ,  z' = (h − ρk)/Δ:

the derivatives F_ij = ∂_h^i ∂_k^j of F = E (X+h)₊(Y+k)₊ (F11 = B, F22 = e/Δ), where for i ≥ 2
F_{i+1,j} = −h F_ij − (i−2) F_{i−1,j} − ρ F_{i,j+1} gives the others. Rows are written so that y² and
sin²θ stand where they cancel Δ²: nothing overflows or cancels for aligned units of any norm. An erf is
2Φ − 1; the constant goes into the functions (erf(z/√2)/2 for Φ(z)), so that small units keep their digits.

Sources: Plackett 1954 (∂B/∂ρ); Owen 1956; derivatives derived here.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from .abi import as_pointer, inner_jit
from .bivariate_normal import excess, normal_cdf
from .units import (
    A00,
    A01,
    A11,
    ALPHA,
    B00,
    B01,
    B10,
    B11,
    BETA,
    BIAS,
    C0,
    C1,
    COSINE,
    D0,
    D1,
    FIELDS,
    FIRST_ORDER_ROWS,
    GAMMA,
    KIND,
    KINDS,
    NORM,
    ROWS,
    SINE,
    VALUE,
)

NONE, HINGE, STEP, CENTRED = range(4)
_LEAK = 0.01
GATED = {
    "one": (1.0, 0.0, 0.0, NONE),
    "identity": (0.0, 1.0, 0.0, NONE),
    "relu": (0.0, 0.0, 1.0, HINGE),
    "leaky_relu": (0.0, _LEAK, 1.0 - _LEAK, HINGE),
    "normal_cdf": (0.0, 0.0, 1.0, STEP),
    "erf": (0.0, 0.0, 2.0, CENTRED),
}
"""c0, c1, c2 and the gate by activation; CENTRED is Φ − ½."""

_PARTS = np.array([GATED.get(name, (0.0, 0.0, 0.0, NONE)) for name in KINDS])
_ONE_OVER_2PI = 0.5 / math.pi
_ONE_OVER_ROOT_2PI = math.sqrt(_ONE_OVER_2PI)
_ROOT_HALF = math.sqrt(0.5)


@inner_jit
def _gate(unit, kind):
    """(h, g, y, 1/R) of a unit's gate; h within ±40, where φ vanishes. A hinge at w = b = 0 is closed."""
    r, b = unit[NORM], unit[BIAS]
    if kind != HINGE:
        return max(-40.0, min(40.0, b * unit[COSINE])), unit[SINE], unit[COSINE], unit[COSINE]
    inverse = 1.0 / r if r > 1e-300 else 0.0
    if inverse == 0.0:
        return (40.0 if b > 0.0 else -40.0), 1.0, 0.0, 0.0
    return max(-40.0, min(40.0, b * inverse)), 1.0, 0.0, inverse


@inner_jit
def _cdf(z, kind):
    """Φ(z), or Φ(z) − ½ for a centred gate."""
    return 0.5 * math.erf(z * _ROOT_HALF) if kind == CENTRED else normal_cdf(z)


@inner_jit
def _means(unit, kind):
    """S_0 = E σ(u) of the gate alone and S_j = R^{j−1} E σ^(j)(u), j = 1 … 5: in range for any norm."""
    h, _, _, inverse = _gate(unit, kind)
    density = _ONE_OVER_ROOT_2PI * math.exp(-0.5 * h * h)
    second, third, fourth = -h * density, (h * h - 1.0) * density, (3.0 - h * h) * h * density
    if kind != HINGE:
        fifth = (h * h * (h * h - 6.0) + 3.0) * density
        over = inverse
        return _cdf(h, kind), density * over, second * over, third * over, fourth * over, fifth * over
    return unit[NORM] * density + unit[BIAS] * normal_cdf(h), normal_cdf(h), density, second, third, fourth


@inner_jit
def _add_straight(output, j, second_order, unit, other, c0, c1, kind, weight, cosine, sine):
    """Add the pair of weight·G(u) and c0 + c1 v: M_i0 = s_i (c0 + c1 b') + c1 q s_{i+1}, M_i1 = c1 s_i."""
    s0, s1, s2, s3, s4, s5 = _means(unit, kind)
    _, g, _, inverse = _gate(unit, kind)
    r, rj, level = unit[NORM], other[NORM], c0 + c1 * other[BIAS]
    along = c1 * rj * cosine  # of v, in units of X
    output[VALUE, j] += weight * (s0 * level + along * r * s1)
    output[ALPHA, j] += weight * c1 * s1
    output[BETA, j] += weight * (s2 * level + along * g * s3) * inverse
    output[GAMMA, j] += weight * (s1 * level + along * g * s2)
    if second_order:
        across = c1 * rj * sine
        bend = g * (g * s4 * level + along * (g * g * s5 + 2.0 * s3))
        output[A00, j] += weight * bend * inverse
        output[A01, j] += weight * g * across * s3 * inverse
        output[B00, j] += weight * c1 * g * g * s3 * cosine
        output[B01, j] += weight * c1 * g * g * s3 * sine
        output[C0, j] += weight * (g * s3 * level + along * (g * g * s4 + s2)) * inverse
        output[C1, j] += weight * across * s2 * inverse
        output[D0, j] += weight * c1 * g * s2


@inner_jit
def _add_straight_first(output, j, second_order, unit, other, c0, c1, kind, weight, cosine, sine):
    """Add the pair of c0 + c1 u and weight·G(v)."""
    s0, s1, s2, s3, _, _ = _means(other, kind)
    _, g, _, _ = _gate(other, kind)
    r, rj = unit[NORM], other[NORM]
    output[VALUE, j] += weight * (s0 * (c0 + c1 * unit[BIAS]) + c1 * r * rj * cosine * s1)
    output[ALPHA, j] += weight * c1 * s1
    output[GAMMA, j] += weight * c1 * s0
    if second_order:
        output[B00, j] += weight * c1 * g * g * s3 * cosine
        output[B10, j] += weight * c1 * g * g * s3 * sine
        output[D0, j] += weight * c1 * g * s2 * cosine
        output[D1, j] += weight * c1 * g * s2 * sine


@inner_jit
def _add_gates(output, j, second_order, unit, other, kind, other_kind, weight, c, sn):
    """Add the pair of two gates: hinge or step × hinge or step."""
    h, g, y, inverse = _gate(unit, kind)
    k, gj, yj, _ = _gate(other, other_kind)
    r, rj, b, bj = unit[NORM], other[NORM], unit[BIAS], other[BIAS]
    rho = g * gj * c
    rest = yj * yj + (y * gj) * (y * gj) + (g * gj * sn) * (g * gj * sn)
    delta = math.sqrt(rest)
    # h² − 2ρhk + k² and k − ρh without cancellation as |ρ| → 1.
    if rho >= 0.0:
        gap, corner = h - k, rest / (1.0 + rho)
        z, zj = -gap + h * corner, gap + k * corner
        inside = -h * k / (1.0 + rho)
    else:
        gap, corner = h + k, rest / (1.0 - rho)
        z, zj = gap - h * corner, gap - k * corner
        inside = h * k / (1.0 - rho)
    if abs(rho) < 0.5:  # nothing cancels, and z of a small step beside a steep one keeps its digits
        z, zj = k - rho * h, h - rho * k
    over = 1.0 / delta if delta > 0.0 else 0.0
    if delta > 0.0:
        z, zj, gap = z * over, zj * over, gap * over
    else:
        z, zj = math.copysign(40.0, z) if gap != 0.0 else 0.0, math.copysign(40.0, zj) if gap != 0.0 else 0.0
        gap = 40.0 if gap != 0.0 else 0.0
    e = _ONE_OVER_2PI * math.exp(min(0.0, inside - 0.5 * gap * gap))
    f21 = _ONE_OVER_ROOT_2PI * math.exp(-0.5 * h * h) * _cdf(z, other_kind)
    f12 = _ONE_OVER_ROOT_2PI * math.exp(-0.5 * k * k) * _cdf(zj, kind)
    both = excess(h, k, rho, rest)
    level = both[0]
    if kind == CENTRED or other_kind == CENTRED:
        level = both[1] + _cdf(h, kind) * _cdf(k, other_kind)
    # y/Δ, y'/Δ and sin θ/Δ are bounded where Δ alone is not.
    s, v, vj = sn * over, y * over, yj * over
    if kind == HINGE and other_kind == HINGE:
        q = r * rj * c
        bent = (bj - rj * rho * h) * f21 + rj * delta * e
        output[VALUE, j] += weight * ((b * bj + q) * level + r * rj * delta * e + b * rj * f12 + bj * r * f21)
        output[ALPHA, j] += weight * level
        output[BETA, j] += weight * bent * inverse
        output[GAMMA, j] += weight * (bj * level + rj * (rho * f21 + f12))
        if second_order:
            output[A00, j] += weight * (h * h - 1.0) * bent * inverse
            output[A01, j] -= weight * h * rj * sn * f21 * inverse
            output[A11, j] += weight * rj * sn * e * inverse
            output[B00, j] += weight * (e * sn - c * (h * f21 + k * f12))
            output[B01, j] -= weight * sn * h * f21
            output[B10, j] -= weight * sn * k * f12
            output[B11, j] += weight * e * sn
            output[C0, j] -= weight * h * bent * inverse
            output[C1, j] += weight * rj * sn * f21 * inverse
            output[D0, j] += weight * (f21 + c * f12)
            output[D1, j] += weight * sn * f12
    elif kind == HINGE:
        output[VALUE, j] += weight * (b * level + r * (f21 + rho * f12))
        output[ALPHA, j] += weight * f12 * yj
        output[BETA, j] += weight * f21 * inverse
        output[GAMMA, j] += weight * level
        if second_order:
            f13 = -k * yj * f12 - rho * e * vj  # times y'
            output[A00, j] += weight * (h * h - 1.0) * f21 * inverse
            output[A01, j] -= weight * gj * h * s * e * inverse
            output[A11, j] -= weight * gj * gj * s * s * z * e * inverse
            output[B00, j] -= weight * (gj * yj * z * e + gj * gj * c * (yj * f12 + k * f13) + c * h * e * vj)
            output[B01, j] -= weight * sn * h * e * vj
            output[B10, j] -= weight * gj * sn * (c * z * e * yj * vj * vj + gj * (yj * f12 + k * f13))
            output[B11, j] -= weight * gj * yj * z * e * s * s
            output[C0, j] -= weight * h * f21 * inverse
            output[C1, j] += weight * gj * s * e * inverse
            output[D0, j] += weight * yj * (delta * e - gj * c * k * f12)
            output[D1, j] += weight * gj * sn * f13
    elif other_kind == HINGE:
        f20 = (bj - rj * rho * h) * f21 + rj * delta * e  # these two times r'
        f30 = -h * f20 - rj * rho * f21
        output[VALUE, j] += weight * (bj * level + rj * (rho * f21 + f12))
        output[ALPHA, j] += weight * y * f21
        output[BETA, j] += weight * y * y * f30
        output[GAMMA, j] += weight * y * f20
        if second_order:
            f31 = -h * y * f21 - rho * e * v  # times y
            f32 = -zj * e * v * v  # times y²
            curve = (3.0 * g * g - 2.0) * rho * f21 - 2.0 * y * h * rho * f31 + c * c * y * y * f32
            output[A00, j] += weight * y * y * (g * g * h * (3.0 * f20 + h * f30) + rj * curve)
            output[A01, j] += weight * rj * sn * y * (c * y * f32 - g * (y * f21 + h * f31))
            output[A11, j] -= weight * rj * zj * e * y * y * s * s
            output[B00, j] -= weight * (y * g * zj * e + c * g * g * (y * f21 + h * f31) + c * k * e * v)
            output[B01, j] += weight * g * sn * (c * y * f32 - g * (y * f21 + h * f31))
            output[B10, j] -= weight * sn * k * e * v
            output[B11, j] -= weight * g * y * zj * e * s * s
            output[C0, j] += weight * y * (rj * c * y * y * f31 - g * y * (f20 + h * f30))
            output[C1, j] += weight * rj * sn * y * f31
            output[D0, j] += weight * y * (c * y * e * v - g * h * f21)
            output[D1, j] += weight * sn * e * v
    else:
        alpha, own = e * y * vj, e * y * v  # y y' G and y² G with G = e/Δ
        f31 = -h * y * y * f21 - rho * own  # times y²
        output[VALUE, j] += weight * level
        output[ALPHA, j] += weight * alpha
        output[BETA, j] += weight * f31
        output[GAMMA, j] += weight * y * f21
        if second_order:
            bend, lift, liftj = rho + z * zj, b * v, bj * vj  # F33 = G bend/Δ², h/Δ, k/Δ
            curve = 2.0 * h * rho * zj * v * v + gj * gj * c * c * y * v * v * v * bend
            output[A00, j] += weight * g * g * h * (3.0 * y * y * f21 + h * f31)
            output[A00, j] += weight * ((3.0 * g * g - 2.0) * rho * own + y * y * e * curve)
            output[A01, j] += (
                weight * gj * (g * (own * lift * zj - own) * sn + gj * c * y * y * e * v * v * s * bend)
            )
            output[A11, j] += weight * gj * gj * s * s * bend * own
            turn = g * gj * bend * (s * s + c * c * (v * v + vj * vj))
            turn -= c * g * g * (1.0 - lift * zj) + c * gj * gj * (1.0 - liftj * z)
            output[B00, j] += weight * alpha * turn
            output[B01, j] += weight * alpha * g * sn * (gj * c * v * v * bend - g * (1.0 - lift * zj))
            output[B10, j] += weight * alpha * gj * sn * (g * c * vj * vj * bend - gj * (1.0 - liftj * z))
            output[B11, j] += weight * alpha * g * gj * s * s * bend
            output[C0, j] -= weight * (g * (y * y * f21 + h * f31) + gj * c * y * zj * e * y * v * v)
            output[C1, j] -= weight * gj * s * zj * own
            output[D0, j] -= weight * alpha * (h * g * (vj * vj + gj * gj * s * s) + k * gj * c * v * v)
            output[D1, j] -= weight * alpha * gj * s * z


def gated(count, order, geometry_address, unit_address, units_address, output_address):
    """K of two gated units; tables as in `units`."""
    geometry = carray(as_pointer(geometry_address), (2, count), np.float64)
    unit = carray(as_pointer(unit_address), FIELDS, np.float64)
    units = carray(as_pointer(units_address), (count, FIELDS), np.float64)
    rows = ROWS if order > 1 else FIRST_ORDER_ROWS
    output = carray(as_pointer(output_address), (rows, count), np.float64)
    p0, p1, p2, kind = _PARTS[int(unit[KIND])]
    for row in range(rows):
        for j in range(count):
            output[row, j] = 0.0
    for j in range(count):
        other, second = units[j], order > 1
        cosine, sine = geometry[0, j], math.sqrt(geometry[1, j])
        q0, q1, q2, other_kind = _PARTS[int(other[KIND])]
        level, other_level = p0 + p1 * unit[BIAS], q0 + q1 * other[BIAS]
        output[VALUE, j] += level * other_level + p1 * q1 * unit[NORM] * other[NORM] * cosine
        output[ALPHA, j] += p1 * q1
        output[GAMMA, j] += p1 * other_level
        if p2 != 0.0 and (q0 != 0.0 or q1 != 0.0):
            _add_straight(output, j, second, unit, other, q0, q1, kind, p2, cosine, sine)
        if q2 != 0.0 and (p0 != 0.0 or p1 != 0.0):
            _add_straight_first(output, j, second, unit, other, p0, p1, other_kind, q2, cosine, sine)
        if p2 != 0.0 and q2 != 0.0:
            _add_gates(output, j, second, unit, other, kind, other_kind, p2 * q2, cosine, sine)
