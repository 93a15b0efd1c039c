"""The pair kernel of every activation that is a sum of z^p, erf(z/√2), |z| and z erf(z/√2).

    max(z, 0) = z/2 + |z|/2      Φ(z) = 1/2 + erf(z/√2)/2      zΦ(z) = z/2 + z erf(z/√2)/2

Odd and even parts do not correlate, so that a pair of activations is a sum over pairs of odd parts and
pairs of even parts, each with a closed form below. Student and teacher, and every neuron, may have its own.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from ..activation_table import ABSOLUTE, CUBIC, ERF, GATED, LINEAR, MIXTURES, ONE, SQUARE
from ..math import jets
from ..math.abi import as_pointer, inner_jit
from ..math.angles import atan_ratio
from ..math.memory import scratch
from . import units as at
from .general import elementary_pair
from .panels import WORK

# A unit with w = 0 is on the left branch: slope c1 − c|·|, without the kink.
_LEFT = MIXTURES.copy()
_LEFT[:, LINEAR] -= _LEFT[:, ABSOLUTE]
_LEFT[:, ABSOLUTE] = 0.0
_STEEP = 64.0  # |w||w'| beyond which derivatives of z erf(z) lose too much: by quadrature then
_STEEP_BESIDE_KINK = 4.0  # and |w'| beside |u|, whose length |w| says nothing
_ROOT = math.sqrt(2.0 / math.pi)
_TWO_OVER_PI = 2.0 / math.pi


@inner_jit
def _odd(total, a, b, s, t, q, d):
    """Σ a_p b_p' E p(u) p'(v) over the odd parts; d = √(1 + s + t + G)."""
    if a[LINEAR] * b[LINEAR] != 0.0:
        total = jets.add(total, jets.scale(a[LINEAR] * b[LINEAR], q))
    if a[LINEAR] * b[CUBIC] != 0.0:
        total = jets.add(total, jets.scale(3.0 * a[LINEAR] * b[CUBIC], jets.mul(q, t)))
    if a[CUBIC] * b[LINEAR] != 0.0:
        total = jets.add(total, jets.scale(3.0 * a[CUBIC] * b[LINEAR], jets.mul(q, s)))
    if a[CUBIC] * b[CUBIC] != 0.0:  # 9qst + 6q³
        bracket = jets.add(jets.scale(9.0, jets.mul(s, t)), jets.scale(6.0, jets.mul(q, q)))
        total = jets.add(total, jets.scale(a[CUBIC] * b[CUBIC], jets.mul(q, bracket)))
    if b[ERF] * (abs(a[LINEAR]) + abs(a[CUBIC])) != 0.0:
        total = jets.add(total, jets.scale(b[ERF], _polynomial_erf(a, s, t, q)))
    if a[ERF] * (abs(b[LINEAR]) + abs(b[CUBIC])) != 0.0:
        total = jets.add(total, jets.scale(a[ERF], _polynomial_erf(b, t, s, q)))
    if a[ERF] * b[ERF] != 0.0:
        total = jets.add(total, jets.scale(_TWO_OVER_PI * a[ERF] * b[ERF], jets.angle(q, d)))
    return total


@inner_jit
def _polynomial_erf(a, s, t, q):
    """E (a_1 u + a_3 u³) erf(v/√2) = √(2/π) [a_1 q m + a_3 (3 s q m − q³ m³)], m = 1/√(1+t)."""
    m = jets.reciprocal(jets.sqrt(jets.add(t, jets.constant(1.0))))
    slope = jets.mul(q, m)
    cube = jets.mul(slope, jets.add(jets.scale(3.0, s), jets.scale(-1.0, jets.mul(slope, slope))))
    return jets.scale(_ROOT, jets.add(jets.scale(a[LINEAR], slope), jets.scale(a[CUBIC], cube)))


@inner_jit
def _even(total, a, b, s, t, q, g, d):
    """Σ a_p b_p' E p(u) p'(v) over the even parts without |u||v|."""
    total = jets.add(total, jets.constant(a[ONE] * b[ONE]))
    if a[SQUARE] * b[SQUARE] != 0.0:  # st + 2q²
        bracket = jets.add(jets.mul(s, t), jets.scale(2.0, jets.mul(q, q)))
        total = jets.add(total, jets.scale(a[SQUARE] * b[SQUARE], bracket))
    total = jets.add(total, _with_polynomial(a, b, s, t, q))
    total = jets.add(total, _with_polynomial(b, a, t, s, q))
    if a[ABSOLUTE] * b[GATED] != 0.0 and s[0] > 0.0:
        total = jets.add(total, jets.scale(a[ABSOLUTE] * b[GATED], _absolute_gated(s, t, q, g)))
    if b[ABSOLUTE] * a[GATED] != 0.0 and t[0] > 0.0:
        total = jets.add(total, jets.scale(b[ABSOLUTE] * a[GATED], _absolute_gated(t, s, q, g)))
    if a[GATED] * b[GATED] != 0.0:  # (q² + stD²)/((1+s)(1+t)D) + q atan2(q, D)
        st, qq, one = jets.mul(s, t), jets.mul(q, q), jets.constant(1.0)
        top = jets.add(qq, jets.mul(st, jets.mul(d, d)))
        bottom = jets.mul(jets.mul(jets.add(s, one), jets.add(t, one)), d)
        bracket = jets.add(jets.mul(top, jets.reciprocal(bottom)), jets.mul(q, jets.angle(q, d)))
        total = jets.add(total, jets.scale(_TWO_OVER_PI * a[GATED] * b[GATED], bracket))
    return total


@inner_jit
def _with_polynomial(a, b, s, t, q):
    """E (a_0 + a_2 u²) m(v) = (a_0 + a_2 s) E m + a_2 q² E m'' for m = |v| and v erf(v/√2); E a_0 v²."""
    one = jets.constant(1.0)
    weight = jets.add(jets.constant(a[ONE]), jets.scale(a[SQUARE], s))
    bend = jets.scale(a[SQUARE], jets.mul(q, q))
    total = jets.scale(a[ONE] * b[SQUARE], t)
    if a[SQUARE] * b[ABSOLUTE] != 0.0 and t[0] > 0.0:  # E|v|'' = √(2/π)/r'; without u²: `_plain`
        norm = jets.sqrt(t)
        part = jets.add(jets.mul(weight, norm), jets.mul(bend, jets.reciprocal(norm)))
        total = jets.add(total, jets.scale(_ROOT * b[ABSOLUTE], part))
    if (a[ONE] != 0.0 or a[SQUARE] != 0.0) and b[GATED] != 0.0:  # t m; (2+t) m³ with m = 1/√(1+t)
        m = jets.reciprocal(jets.sqrt(jets.add(t, one)))
        twice = jets.mul(jets.add(t, jets.constant(2.0)), jets.mul(m, jets.mul(m, m)))
        part = jets.add(jets.mul(weight, jets.mul(t, m)), jets.mul(bend, twice))
        total = jets.add(total, jets.scale(_ROOT * b[GATED], part))
    return total


@inner_jit
def _absolute_gated(s, t, q, g):
    """E |u| v erf(v/√2) = (2/π) [q atan2(q, e) + t e/(1+t)], e = √(s + G)."""
    e = jets.sqrt(jets.add(s, g))
    rest = jets.mul(jets.mul(t, e), jets.reciprocal(jets.add(t, jets.constant(1.0))))
    return jets.scale(_TWO_OVER_PI, jets.add(jets.mul(q, jets.angle(q, e)), rest))


@inner_jit
def _plain(a, b):
    """The weight of r = E|u|/√(2/π) in the pair of a_1 |u| with b_0.

    In s = r² its second derivative would be the inverse of a fifth power.
    """
    return _ROOT * a[ABSOLUTE] * b[ONE] if b[SQUARE] == 0.0 else 0.0


@inner_jit
def _steep(r, a, rj, b):
    """Whether derivatives of the pair lose too much in the closed form."""
    if a[GATED] * b[ABSOLUTE] != 0.0 and r > _STEEP_BESIDE_KINK:
        return True
    if a[ABSOLUTE] * b[GATED] != 0.0 and rj > _STEEP_BESIDE_KINK:
        return True
    return a[GATED] + b[GATED] != 0.0 and r * rj > _STEEP


def mixture(count, order, geometry_address, unit_address, units_address, output_address):
    """K of two mixtures; tables as in `units`. Formulas by Stein's lemma, those with |u||v| in the frame.

    From the partial derivatives in s = |w|², t = |w'|², q = w·w':
    A = 4K_ss wwᵀ + 2K_sq (ww'ᵀ + w'wᵀ) + K_qq w'w'ᵀ, B = K_qq w'wᵀ + 2K_tq w'w'ᵀ + 2K_sq wwᵀ + 4K_st ww'ᵀ,
    written out in the frame of the pair. At a zero vector a kink has its left slope (σ'(0) = 0 for ReLU).
    """
    geometry = carray(as_pointer(geometry_address), (2, count), np.float64)
    unit = carray(as_pointer(unit_address), at.FIELDS, np.float64)
    units = carray(as_pointer(units_address), (count, at.FIELDS), np.float64)
    rows = at.ROWS if order > 1 else at.FIRST_ORDER_ROWS
    output = carray(as_pointer(output_address), (rows, count), np.float64)
    r, kind = unit[at.NORM], int(unit[at.KIND])
    a = MIXTURES[kind] if r > 0.0 else _LEFT[kind]
    memory = scratch(WORK)
    for j in range(count):
        cosine, sine = geometry[0, j], math.sqrt(geometry[1, j])
        rj, kind = units[j, at.NORM], int(units[j, at.KIND])
        if _steep(r, a, rj, MIXTURES[kind]):
            elementary_pair(output, j, order, unit, units[j], cosine, sine, memory)
            continue
        b = MIXTURES[kind] if rj > 0.0 else _LEFT[kind]
        s, t, q = jets.variables(r * r, rj * rj, r * rj * cosine)
        area = r * rj * sine  # G = s t sin²θ, accurate, with the derivatives of s t − q²
        g = (area * area, t[0], s[0], -2.0 * q[0], 0.0, 0.0, -2.0, 1.0, 0.0, 0.0)
        d = jets.sqrt(jets.add(jets.add(jets.constant(1.0), s), jets.add(t, g)))
        total = _even(_odd(jets.constant(0.0), a, b, s, t, q, d), a, b, s, t, q, g, d)
        value, alpha, beta, turn = total[0], total[3], 2.0 * total[1], 0.0
        corner = a[ABSOLUTE] * b[ABSOLUTE]
        inverse = 1.0 / r if r > 0.0 and rj > 0.0 else 0.0
        if corner != 0.0 and inverse > 0.0:  # (2/π) r r' [sin θ + (π/2−θ) cos θ]
            corner *= _TWO_OVER_PI
            phi = atan_ratio(abs(cosine), sine)  # |π/2 − θ|
            value += corner * r * rj * (sine + phi * abs(cosine))
            alpha += corner * math.copysign(phi, cosine)
            turn = corner * sine
        bent, plain = turn * rj * inverse, _plain(a, b)
        straight = plain / r if r > 0.0 else 0.0  # of the gradient of r, w/r, and its Hessian (I − ŵŵᵀ)/r
        output[at.VALUE, j] = value + plain * r + _plain(b, a) * rj
        output[at.ALPHA, j] = alpha
        output[at.BETA, j] = beta + bent + straight
        if order > 1:
            ss, qq, st, sq, tq = total[4], total[6], total[7], total[8], total[9]
            along, across = rj * cosine, rj * sine
            output[at.A00, j] = (qq * along + 4.0 * sq * r) * along + 4.0 * ss * r * r - bent - straight
            output[at.A01, j] = (qq * along + 2.0 * sq * r) * across
            output[at.A11, j] = qq * across * across + bent
            mixed = qq * along + 2.0 * sq * r
            output[at.B00, j] = mixed * r * cosine + 2.0 * tq * along * rj + 4.0 * st * r * rj + turn
            output[at.B01, j] = mixed * r * sine
            output[at.B10, j] = (qq * r * cosine + 2.0 * tq * rj) * across
            output[at.B11, j] = qq * across * r * sine + turn
