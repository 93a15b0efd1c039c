"""The pair kernel of units with biases whose activation is a gate and a straight line (`gates`).

Every row is made of the derivatives F_ij = ∂_h^i ∂_k^j of F = E (X+h)₊(Y+k)₊: F11 = B, F21, F12, F22 = e/Δ
of `gates`, and for i ≥ 2 F_{i+1,j} = −h F_ij − (i−2) F_{i−1,j} − ρ F_{i,j+1}. Rows are written so that y² and
sin²θ stand where they cancel Δ²: nothing overflows or cancels for aligned units of any norm. The constant of
a CENTRED gate goes into the functions (erf(z/√2)/2 for Φ(z)), so that small units keep their digits.

Sources: Plackett 1954 (∂B/∂ρ); Owen 1956; derivatives derived here.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from ..activation_table import CENTRED, GATES, HINGE
from ..math.abi import as_pointer, inner_jit
from ..math.bivariate_normal import TERMS
from ..math.blas import vector
from ..math.memory import scratch
from . import gates as gt
from . import units as at
from .gates import gate, means, prepare_gates
from .general import elementary_pair
from .panels import WORK

_WORK = max(TERMS + gt.ARRAYS * gt.CHUNK, WORK)
_OFF = -3.0  # h of a unit of which a tail is left: 1e-16 of its partner is 1e-14 of their pair
_GONE = -38.0


@inner_jit
def _add_straight(output, j, second_order, unit, other, c0, c1, kind, weight, cosine, sine):
    """Add the pair of weight·G(u) and c0 + c1 v: M_i0 = s_i (c0 + c1 b') + c1 q s_{i+1}, M_i1 = c1 s_i."""
    s0, s1, s2, s3, s4, s5 = means(unit, kind)
    _, g, _, inverse = gate(unit, kind)
    r, rj, level = unit[at.NORM], other[at.NORM], c0 + c1 * other[at.BIAS]
    along = c1 * rj * cosine  # of v, in units of X
    output[at.VALUE, j] += weight * (s0 * level + along * r * s1)
    output[at.ALPHA, j] += weight * c1 * s1
    output[at.BETA, j] += weight * (s2 * level + along * g * s3) * inverse
    output[at.GAMMA, j] += weight * (s1 * level + along * g * s2)
    if second_order:
        across = c1 * rj * sine
        bend = g * (g * s4 * level + along * (g * g * s5 + 2.0 * s3))
        output[at.A00, j] += weight * bend * inverse
        output[at.A01, j] += weight * g * across * s3 * inverse
        output[at.B00, j] += weight * c1 * g * g * s3 * cosine
        output[at.B01, j] += weight * c1 * g * g * s3 * sine
        output[at.C0, j] += weight * (g * s3 * level + along * (g * g * s4 + s2)) * inverse
        output[at.C1, j] += weight * across * s2 * inverse
        output[at.D0, j] += weight * c1 * g * s2


@inner_jit
def _add_straight_first(output, j, second_order, unit, other, c0, c1, kind, weight, cosine, sine):
    """Add the pair of c0 + c1 u and weight·G(v)."""
    s0, s1, s2, s3, _, _ = means(other, kind)
    _, g, _, _ = gate(other, kind)
    r, rj = unit[at.NORM], other[at.NORM]
    output[at.VALUE, j] += weight * (s0 * (c0 + c1 * unit[at.BIAS]) + c1 * r * rj * cosine * s1)
    output[at.ALPHA, j] += weight * c1 * s1
    output[at.GAMMA, j] += weight * c1 * s0
    if second_order:
        output[at.B00, j] += weight * c1 * g * g * s3 * cosine
        output[at.B10, j] += weight * c1 * g * g * s3 * sine
        output[at.D0, j] += weight * c1 * g * s2 * cosine
        output[at.D1, j] += weight * c1 * g * s2 * sine


@inner_jit
def _first_order(values, count, unit, kind, other_kind):
    """The rows K, α, β, γ of pairs of gates, hinge or step × hinge or step, into the arrays from FIRST on."""
    h, _, y, inverse = gate(unit, kind)
    r, b = unit[at.NORM], unit[at.BIAS]
    if kind == HINGE and other_kind == HINGE:
        for i in range(count):
            f21, f12, rj, bj = (
                values[gt.F21 + i],
                values[gt.F12 + i],
                values[gt.OTHER_NORM + i],
                values[gt.OTHER_BIAS + i],
            )
            rho, level = values[gt.RHO + i], values[gt.LEVEL + i]
            density = rj * math.sqrt(values[gt.REST + i]) * values[gt.E + i]
            value = (b * bj + r * rj * values[gt.COS + i]) * level + r * density
            values[gt.FIRST + i] = value + b * rj * f12 + bj * r * f21
            values[gt.SECOND + i] = level
            values[gt.THIRD + i] = ((bj - rj * rho * h) * f21 + density) * inverse
            values[gt.FOURTH + i] = bj * level + rj * (rho * f21 + f12)
    elif kind == HINGE:
        for i in range(count):
            f21, f12, level = values[gt.F21 + i], values[gt.F12 + i], values[gt.LEVEL + i]
            values[gt.FIRST + i] = b * level + r * (f21 + values[gt.RHO + i] * f12)
            values[gt.SECOND + i] = f12 * values[gt.NOISE + i]
            values[gt.THIRD + i] = f21 * inverse
            values[gt.FOURTH + i] = level
    elif other_kind == HINGE:
        for i in range(count):
            f21, f12, rj, bj = (
                values[gt.F21 + i],
                values[gt.F12 + i],
                values[gt.OTHER_NORM + i],
                values[gt.OTHER_BIAS + i],
            )
            rho = values[gt.RHO + i]
            f20 = (bj - rj * rho * h) * f21 + rj * math.sqrt(values[gt.REST + i]) * values[gt.E + i]
            values[gt.FIRST + i] = bj * values[gt.LEVEL + i] + rj * (rho * f21 + f12)
            values[gt.SECOND + i] = y * f21
            values[gt.THIRD + i] = y * y * (-h * f20 - rj * rho * f21)
            values[gt.FOURTH + i] = y * f20
    else:
        for i in range(count):
            f21, own = values[gt.F21 + i], values[gt.E + i] * y * values[gt.OVER + i]
            values[gt.FIRST + i] = values[gt.LEVEL + i]
            values[gt.SECOND + i] = own * values[gt.NOISE + i]
            values[gt.THIRD + i] = -h * y * y * f21 - values[gt.RHO + i] * own * y
            values[gt.FOURTH + i] = y * f21


@inner_jit
def _add_second_order(output, j, unit, kind, other_kind, weight, values, i):
    """Add the other rows of the pair of two gates; its numbers are at place i of `values`."""
    h, g, y, inverse = gate(unit, kind)
    c, sn, rj, bj = (
        values[gt.COS + i],
        values[gt.SIN + i],
        values[gt.OTHER_NORM + i],
        values[gt.OTHER_BIAS + i],
    )
    k, gj, yj = values[gt.K + i], values[gt.GAIN + i], values[gt.NOISE + i]
    rho, over = values[gt.RHO + i], values[gt.OVER + i]
    delta = math.sqrt(values[gt.REST + i])
    z, zj, e, f21, f12 = (
        values[gt.Z + i],
        values[gt.OTHER_Z + i],
        values[gt.E + i],
        values[gt.F21 + i],
        values[gt.F12 + i],
    )
    b = unit[at.BIAS]
    # y/Δ, y'/Δ and sin θ/Δ are bounded where Δ alone is not.
    s, v, vj = sn * over, y * over, yj * over
    if kind == HINGE and other_kind == HINGE:
        bent = (bj - rj * rho * h) * f21 + rj * delta * e
        a00 = (h * h - 1.0) * bent * inverse
        a01 = -h * rj * sn * f21 * inverse
        a11 = rj * sn * e * inverse
        b00 = e * sn - c * (h * f21 + k * f12)
        b01 = -sn * h * f21
        b10 = -sn * k * f12
        b11 = e * sn
        c0 = -h * bent * inverse
        c1 = rj * sn * f21 * inverse
        d0 = f21 + c * f12
        d1 = sn * f12
    elif kind == HINGE:
        f13 = -k * yj * f12 - rho * e * vj  # times y'
        a00 = (h * h - 1.0) * f21 * inverse
        a01 = -gj * h * s * e * inverse
        a11 = -gj * gj * s * s * z * e * inverse
        b00 = -(gj * yj * z * e + gj * gj * c * (yj * f12 + k * f13) + c * h * e * vj)
        b01 = -sn * h * e * vj
        b10 = -gj * sn * (c * z * e * yj * vj * vj + gj * (yj * f12 + k * f13))
        b11 = -gj * yj * z * e * s * s
        c0 = -h * f21 * inverse
        c1 = gj * s * e * inverse
        d0 = yj * (delta * e - gj * c * k * f12)
        d1 = gj * sn * f13
    elif other_kind == HINGE:
        f20 = (bj - rj * rho * h) * f21 + rj * delta * e  # these two times r'
        f30 = -h * f20 - rj * rho * f21
        f31 = -h * y * f21 - rho * e * v  # times y
        f32 = -zj * e * v * v  # times y²
        curve = (3.0 * g * g - 2.0) * rho * f21 - 2.0 * y * h * rho * f31 + c * c * y * y * f32
        a00 = y * y * (g * g * h * (3.0 * f20 + h * f30) + rj * curve)
        a01 = rj * sn * y * (c * y * f32 - g * (y * f21 + h * f31))
        a11 = -rj * zj * e * y * y * s * s
        b00 = -(y * g * zj * e + c * g * g * (y * f21 + h * f31) + c * k * e * v)
        b01 = g * sn * (c * y * f32 - g * (y * f21 + h * f31))
        b10 = -sn * k * e * v
        b11 = -g * y * zj * e * s * s
        c0 = y * (rj * c * y * y * f31 - g * y * (f20 + h * f30))
        c1 = rj * sn * y * f31
        d0 = y * (c * y * e * v - g * h * f21)
        d1 = sn * e * v
    else:
        alpha, own = e * y * vj, e * y * v  # y y' G and y² G with G = e/Δ
        f31 = -h * y * y * f21 - rho * own  # times y²
        bend, lift, liftj = rho + z * zj, b * v, bj * vj  # F33 = G bend/Δ², h/Δ, k/Δ
        curve = 2.0 * h * rho * zj * v * v + gj * gj * c * c * y * v * v * v * bend
        a00 = g * g * h * (3.0 * y * y * f21 + h * f31) + (3.0 * g * g - 2.0) * rho * own + y * y * e * curve
        a01 = gj * (g * (own * lift * zj - own) * sn + gj * c * y * y * e * v * v * s * bend)
        a11 = gj * gj * s * s * bend * own
        turn = g * gj * bend * (s * s + c * c * (v * v + vj * vj))
        turn -= c * g * g * (1.0 - lift * zj) + c * gj * gj * (1.0 - liftj * z)
        b00 = alpha * turn
        b01 = alpha * g * sn * (gj * c * v * v * bend - g * (1.0 - lift * zj))
        b10 = alpha * gj * sn * (g * c * vj * vj * bend - gj * (1.0 - liftj * z))
        b11 = alpha * g * gj * s * s * bend
        c0 = -(g * (y * y * f21 + h * f31) + gj * c * y * zj * e * y * v * v)
        c1 = -gj * s * zj * own
        d0 = -alpha * (h * g * (vj * vj + gj * gj * s * s) + k * gj * c * v * v)
        d1 = -alpha * gj * s * z
    output[at.A00, j] += weight * a00
    output[at.A01, j] += weight * a01
    output[at.A11, j] += weight * a11
    output[at.B00, j] += weight * b00
    output[at.B01, j] += weight * b01
    output[at.B10, j] += weight * b10
    output[at.B11, j] += weight * b11
    output[at.C0, j] += weight * c0
    output[at.C1, j] += weight * c1
    output[at.D0, j] += weight * d0
    output[at.D1, j] += weight * d1


@inner_jit
def _off(unit, kind):
    """Whether only a tail of a unit is left, which the closed form has as a difference."""
    return kind != CENTRED and _GONE < gate(unit, kind)[0] < _OFF


def gated(count, order, geometry_address, unit_address, units_address, output_address):
    """K of two gated units; tables as in `units`."""
    geometry = carray(as_pointer(geometry_address), (2, count), np.float64)
    unit = carray(as_pointer(unit_address), at.FIELDS, np.float64)
    units = carray(as_pointer(units_address), (count, at.FIELDS), np.float64)
    rows = at.ROWS if order > 1 else at.FIRST_ORDER_ROWS
    output = carray(as_pointer(output_address), (rows, count), np.float64)
    p0, p1, p2, kind = GATES[int(unit[at.KIND])]
    second = order > 1
    for row in range(rows):
        for j in range(count):
            output[row, j] = 0.0
    for j in range(count):
        other = units[j]
        cosine, sine = geometry[0, j], math.sqrt(geometry[1, j])
        q0, q1, q2, other_kind = GATES[int(other[at.KIND])]
        level, other_level = p0 + p1 * unit[at.BIAS], q0 + q1 * other[at.BIAS]
        output[at.VALUE, j] += level * other_level + p1 * q1 * unit[at.NORM] * other[at.NORM] * cosine
        output[at.ALPHA, j] += p1 * q1
        output[at.GAMMA, j] += p1 * other_level
        if p2 != 0.0 and (q0 != 0.0 or q1 != 0.0):
            _add_straight(output, j, second, unit, other, q0, q1, kind, p2, cosine, sine)
        if q2 != 0.0 and (p0 != 0.0 or p1 != 0.0):
            _add_straight_first(output, j, second, unit, other, p0, p1, other_kind, q2, cosine, sine)
    if p2 == 0.0:
        return
    memory = scratch(_WORK)
    values = vector(memory + 8 * TERMS, gt.ARRAYS * gt.CHUNK)
    start = 0
    while start < count:  # runs of partners of one activation
        activation, size = units[start, at.KIND], 1
        while size < gt.CHUNK and start + size < count and units[start + size, at.KIND] == activation:
            size += 1
        q0, q1, q2, other_kind = GATES[int(activation)]
        if q2 != 0.0:
            prepare_gates(values, memory, size, geometry, unit, units, start, kind, other_kind)
            _first_order(values, size, unit, kind, other_kind)
            for i in range(size):
                output[at.VALUE, start + i] += p2 * q2 * values[gt.FIRST + i]
                output[at.ALPHA, start + i] += p2 * q2 * values[gt.SECOND + i]
                output[at.BETA, start + i] += p2 * q2 * values[gt.THIRD + i]
                output[at.GAMMA, start + i] += p2 * q2 * values[gt.FOURTH + i]
            if second:
                for i in range(size):
                    _add_second_order(output, start + i, unit, kind, other_kind, p2 * q2, values, i)
            off = p0 == 0.0 and p1 == 0.0 and _off(unit, kind)
            for i in range(size):
                if off or (q0 == 0.0 and q1 == 0.0 and _off(units[start + i], other_kind)):
                    cosine, sine = geometry[0, start + i], math.sqrt(geometry[1, start + i])
                    elementary_pair(output, start + i, order, unit, units[start + i], cosine, sine, memory)
        start += size
