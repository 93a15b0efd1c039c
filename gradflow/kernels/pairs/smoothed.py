"""Gaussian means of activations and their derivatives: t_n = E σ^(n)(m + s Y), Y ~ N(0, 1), n = 0, 1, …

Derivatives are those of distributions: kinks contribute
E δ^(i)(m + sY) = (−1)^i He_i(h) φ(h)/s^{i+1}, h = m/s. A unit with s = 0 is on the left branch of its kink.
"""

from __future__ import annotations

import math

import numpy as np

from ..activation_table import CENTRED, COSINE, EXPONENTIAL, FORM, KINKED, POWER, RAMP, SINE, TEMPLATE
from ..math.abi import inner_jit
from ..math.bivariate_normal import normal_cdf
from ..math.blas import vector
from ..math.gauss_legendre import gauss_legendre
from ..math.vector_math import inlined, scaled_tail, select

_ONE_OVER_ROOT_2PI = math.sqrt(0.5 / math.pi)
_ROOT_HALF = math.sqrt(0.5)
_WIDE = 2.0
_X, _W = gauss_legendre(16)
_EDGES = ((0.0, 2.5), (2.5, 7.0), (7.0, 16.0), (16.0, 42.0))
_LAGUERRE = np.concatenate([0.5 * (b + a) + 0.5 * (b - a) * _X for a, b in _EDGES])
_LAGUERRE_WEIGHTS = np.exp(-_LAGUERRE) * np.concatenate([0.5 * (b - a) * _W for a, b in _EDGES])


@inner_jit
def is_polynomial(kind):
    """Whether the activation is a polynomial (the constant included)."""
    return POWER[kind] >= 0


@inner_jit
def is_wave(kind):
    """Whether the activation is a sine or cosine."""
    return FORM[kind] == SINE or FORM[kind] == COSINE


@inner_jit
def degree(kind, table):
    """Degree of a polynomial activation; `table` is the address of degree, c_0, c_1, …"""
    return np.int64(vector(table, 1)[0]) if POWER[kind] == TEMPLATE else POWER[kind]


@inlined
def scaled_tail_of(z):
    """e^(z²/2) Φ(−z), z ≥ 0: beyond 38, where the polynomial of `scaled_tail` ends, seven terms in 1/z²."""
    factor, error = scaled_tail(z, 0.0)
    inverse = 1.0 / z
    q = inverse * inverse
    odd = 1.0 - 7.0 * q * (1.0 - 9.0 * q * (1.0 - 11.0 * q))
    far = _ONE_OVER_ROOT_2PI * inverse * (1.0 - q * (1.0 - 3.0 * q * (1.0 - 5.0 * q * odd)))
    return select(z <= 38.0, factor + error, far)


@inner_jit
def _truncated(m, s, h):
    """l = E e^v 1(v < 0) and E (e^v − 1) 1(v < 0) for v = m + sY, relatively accurate in m and s."""
    if s == 0.0:
        return (math.exp(m), math.expm1(m)) if m <= 0.0 else (0.0, 0.0)
    z = h + s
    if z > 0.0:  # e^{m + s²/2} Φ(−z) = e^{−h²/2} · e^{z²/2} Φ(−z)
        shifted = math.exp(-0.5 * h * h) * scaled_tail_of(z)
    else:
        shifted = math.exp(m + 0.5 * s * s) * normal_cdf(-z)
    if abs(m) + 8.0 * s > 0.5:
        return shifted, shifted - normal_cdf(-h)
    below, total, factorial = normal_cdf(-h), 0.0, 1.0  # Σ_k E v^k 1(v < 0)/k!
    last, power = below, m * below - s * _ONE_OVER_ROOT_2PI * math.exp(-0.5 * h * h)
    for k in range(1, 18):
        factorial *= k
        total += power / factorial
        last, power = power, m * power + k * s * s * last
    return shifted, total


@inner_jit
def smoothed(kind, table, m, s, count, out):
    """Write t_0 … t_{count−1} into the array `out`."""
    if is_polynomial(kind):
        _polynomial_means(kind, table, m, s, count, out)
    elif FORM[kind] == EXPONENTIAL:
        for n in range(count):
            out[n] = math.exp(m + 0.5 * s * s)
    elif KINKED[kind, 1] != 0.0:
        _kinked_means(kind, m, s, count, out)
    else:
        smooth_means(kind, m, s, count, out)


@inner_jit
def _polynomial_means(kind, table, m, s, count, out):
    """E P^(n) = Σ_k c_k k!/(k−n)! μ_{k−n}, μ_k = E (m + sY)^k = m μ_{k−1} + (k−1) s² μ_{k−2}."""
    top = degree(kind, table)
    for n in range(count):
        total, last, power = 0.0, 0.0, 1.0
        for i in range(top - n + 1):
            k = n + i
            c = vector(table, top + 2)[1 + k] if POWER[kind] == TEMPLATE else 1.0 if k == top else 0.0
            for f in range(n):
                c *= k - f
            total += c * power
            last, power = power, m * power + i * s * s * last
        out[n] = total


@inner_jit
def smooth_means(kind, m, s, count, out):
    """The same for sin z, cos z, Φ(z), 2Φ(z) − 1 and zΦ(z), whose t_n are bounded.

    c_n = (d/dm)^n Φ(m/R), R² = 1 + s²; those of zΦ(z) are t_n = m c_n + s² c_{n+1} + n c_{n−1}.
    """
    form = FORM[kind]
    if form == SINE or form == COSINE:
        decay = math.exp(-0.5 * s * s)
        sine, cosine = decay * math.sin(m), decay * math.cos(m)
        for n in range(count):
            turn = (n + (1 if form == COSINE else 0)) % 4
            out[n] = sine if turn == 0 else cosine if turn == 1 else -sine if turn == 2 else -cosine
        return
    inverse = 1.0 / math.sqrt(1.0 + s * s)
    h = m * inverse
    before, now = 0.0, normal_cdf(h)
    after, older = _ONE_OVER_ROOT_2PI * math.exp(-0.5 * h * h) * inverse, 0.0
    for n in range(count):
        if form == RAMP:
            out[n] = m * now + s * s * after + n * before
        elif form == CENTRED:
            out[n] = 2.0 * now if n > 0 else math.erf(h * _ROOT_HALF)
        else:
            out[n] = now
        # c_{n+2} = −(h c_{n+1}/R + n c_n/R²) for n ≥ 1
        older = now if n > 0 else 0.0
        before, now = now, after
        after = -(h * now + n * inverse * older) * inverse


@inner_jit
def _rising(k, m, s):
    """E D^k [e^v 1(v < 0)] = s^{−k−1} ∫_{v<0} e^v He_k(y) φ(y) dv, y = (v − m)/s, D of distributions.

    By recursion it is e^v 1(v < 0) less k spikes, which lose a factor s each for large s.
    """
    total = 0.0
    for i in range(_LAGUERRE.size):
        y = (-_LAGUERRE[i] - m) / s
        before, now = 0.0, math.exp(-0.5 * y * y)
        for j in range(k):
            before, now = now, y * now - j * before
        total += _LAGUERRE_WEIGHTS[i] * now
    return total * _ONE_OVER_ROOT_2PI / s ** (k + 1)


@inner_jit
def _kinked_means(kind, m, s, count, out):
    """Kinked ones, c1 z + c2 max(z, 0) + c3 (e^z − 1) 1(z < 0)."""
    c1, c2, c3 = KINKED[kind]
    inverse = 1.0 / s if s > 1e-300 else 0.0
    h = max(-40.0, min(40.0, m * inverse)) if inverse > 0.0 else (40.0 if m > 0.0 else -40.0)
    density = _ONE_OVER_ROOT_2PI * math.exp(-0.5 * h * h)
    shifted, rest = (0.0, 0.0)
    if c3 != 0.0:
        shifted, rest = _truncated(m, s if inverse > 0.0 else 0.0, h)
    above = normal_cdf(h)
    out[0] = c1 * m + c2 * (s * density + m * above) + c3 * rest
    if count > 1:
        out[1] = c1 + c2 * above + c3 * shifted
    spike, older, total = density * inverse, 0.0, shifted  # d_i, d_{i−1}
    for n in range(2, count):
        i = n - 2
        total -= spike
        if c3 != 0.0 and s > _WIDE:
            total = _rising(n - 1, m, s)
        out[n] = c2 * spike + c3 * total
        spike, older = -(h * spike + i * inverse * older) * inverse, spike
