"""Pairs with finite sums: a polynomial or an exponential with anything, sines and cosines with each other.

By M_ij = E σ^(i)(u) τ^(j)(v), s = |w|², t = |w'|², q = w·w':

    polynomial      M_ij = Σ_n q^n/n! E σ^(n+i) E τ^(n+j)      (Mehler's sum, finite)
    e^u             M_ij = e^{b + s/2} E τ^(j)(v + q)          (tilting)
    sin, cos        E sin u sin v = e^{−(s+t)/2} [cosh q sin b sin b' + sinh q cos b cos b']
"""

from __future__ import annotations

import math

import numpy as np

from ..activation_table import COSINE, EXPONENTIAL, FORM
from ..math.abi import inner_jit
from . import units as at
from .smoothed import degree, is_polynomial, is_wave, smoothed

TOWER = 32
"""Room for E σ^(n): a polynomial of degree 20 and four derivatives."""


@inner_jit
def _is_exponential(kind):
    return FORM[kind] == EXPONENTIAL


@inner_jit
def is_finite(kind, other):
    """Whether the pair of two activations is one of these."""
    if is_polynomial(kind) or is_polynomial(other) or _is_exponential(kind) or _is_exponential(other):
        return True
    return is_wave(kind) and is_wave(other)


@inner_jit
def _wave(kind, b, n):
    """σ^(n)(b) of sine or cosine."""
    turn = (n + (1 if FORM[kind] == COSINE else 0)) % 4
    value = math.sin(b) if turn % 2 == 0 else math.cos(b)
    return value if turn < 2 else -value


@inner_jit
def _moment(i, j, u, v, q, gap, first, second):
    """M_ij from E σ^(n) in `first` and E τ^(n) in `second` (one of them tilted for an exponential)."""
    kind, other = np.int64(u[at.KIND]), np.int64(v[at.KIND])
    if is_polynomial(kind) or is_polynomial(other):
        top = degree(kind, np.int64(u[at.TABLE])) - i if is_polynomial(kind) else TOWER
        if is_polynomial(other):
            top = min(top, degree(other, np.int64(v[at.TABLE])) - j)
        total, factor = 0.0, 1.0
        for n in range(top + 1):
            total += factor * first[n + i] * second[n + j]
            factor *= q / (n + 1)
        return total
    if _is_exponential(kind):
        return first[0] * second[j]
    if _is_exponential(other):
        return first[i] * second[0]
    # e^{−(s+t)/2} cosh q and the same with sinh, without overflow
    s, t = u[at.NORM] * u[at.NORM], v[at.NORM] * v[at.NORM]
    low = math.exp(-0.5 * (s + t) - abs(q))
    high = low * math.expm1(2.0 * abs(q)) if abs(q) < 1.0 else math.exp(-gap) - low
    sinh = 0.5 * math.copysign(high, q)
    cosh = 0.5 * high + low
    b, bj = u[at.BIAS], v[at.BIAS]
    total = cosh * _wave(kind, b, i) * _wave(other, bj, j)
    return total + sinh * _wave(kind, b, i + 1) * _wave(other, bj, j + 1)


@inner_jit
def finite_pair(output, j, second_order, u, v, c, sn, first, second):
    """The rows of pair j from its M_ij; `first` and `second` are arrays of TOWER numbers to work in."""
    kind, other = np.int64(u[at.KIND]), np.int64(v[at.KIND])
    r, t = u[at.NORM], v[at.NORM]
    q = r * t * c
    gap = 0.5 * (r - t) * (r - t) + r * t * sn * sn / (1.0 + abs(c))  # (s + t)/2 − |q|
    highest = np.int64(TOWER if is_polynomial(kind) or is_polynomial(other) else 5)
    if _is_exponential(kind) and not is_polynomial(other):
        first[0] = math.exp(u[at.BIAS] + 0.5 * r * r)
        smoothed(other, np.int64(v[at.TABLE]), v[at.BIAS] + q, t, highest, second)
    elif _is_exponential(other) and not is_polynomial(kind):
        smoothed(kind, np.int64(u[at.TABLE]), u[at.BIAS] + q, r, highest, first)
        second[0] = math.exp(v[at.BIAS] + 0.5 * t * t)
    elif highest > 5:
        highest = _needed(kind, u, other, v)
        smoothed(kind, np.int64(u[at.TABLE]), u[at.BIAS], r, highest, first)
        smoothed(other, np.int64(v[at.TABLE]), v[at.BIAS], t, highest, second)
    m20 = _moment(2, 0, u, v, q, gap, first, second)
    m11 = _moment(1, 1, u, v, q, gap, first, second)
    output[at.VALUE, j] = _moment(0, 0, u, v, q, gap, first, second)
    output[at.ALPHA, j] = m11
    output[at.BETA, j] = m20
    output[at.GAMMA, j] = _moment(1, 0, u, v, q, gap, first, second)
    if not second_order:
        return
    m30, m21 = _moment(3, 0, u, v, q, gap, first, second), _moment(2, 1, u, v, q, gap, first, second)
    m12, m40 = _moment(1, 2, u, v, q, gap, first, second), _moment(4, 0, u, v, q, gap, first, second)
    m31, m22 = _moment(3, 1, u, v, q, gap, first, second), _moment(2, 2, u, v, q, gap, first, second)
    m13 = _moment(1, 3, u, v, q, gap, first, second)
    along, across = t * c, t * sn
    output[at.A00, j] = m40 * r * r + 2.0 * m31 * r * along + m22 * along * along
    output[at.A01, j] = (m31 * r + m22 * along) * across
    output[at.A11, j] = m22 * across * across
    output[at.B00, j] = m22 * r * t * (c * c + 1.0) + m13 * t * along + m31 * r * r * c
    output[at.B01, j] = r * sn * (m22 * along + m31 * r)
    output[at.B10, j] = across * (m22 * r * c + m13 * t)
    output[at.B11, j] = m22 * r * sn * across
    output[at.C0, j] = m30 * r + m21 * along
    output[at.C1, j] = m21 * across
    output[at.D0, j] = m21 * r + m12 * along
    output[at.D1, j] = m12 * across


@inner_jit
def _needed(kind, u, other, v):
    """How many E σ^(n) a finite Mehler sum with up to four derivatives reads."""
    least = np.int64(TOWER)
    if is_polynomial(kind):
        least = min(least, degree(kind, np.int64(u[at.TABLE])))
    if is_polynomial(other):
        least = min(least, degree(other, np.int64(v[at.TABLE])))
    return least + 5
