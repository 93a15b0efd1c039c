"""The pair kernel of any two activations with elementary Gaussian means (`smoothed`), with or without biases.

By M_ij = E σ^(i)(u) τ^(j)(v), closed where one of the two is a polynomial (a finite Mehler sum), an
exponential (tilting), or both are sine or cosine:

    polynomial      M_ij = Σ_n q^n/n! E σ^(n+i) E τ^(n+j)
    e^u             M_ij = e^{b + s/2} E τ^(j)(v + q)
    sin, cos        E sin u sin v = e^{−(s+t)/2} [cosh q sin b sin b' + sinh q cos b cos b']

(s = |w|², t = |w'|², q = w·w'). Otherwise the mean over the part of x across one of the vectors is taken in
closed form and the one along it by Gauss–Legendre panels, graded towards the kink and towards the point
where the other unit changes sign, whose width there is the sine of the angle: the terms do not cancel, so
that the sum keeps full relative accuracy at any angle. All of it is exact to rounding; nothing is sampled.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from .abi import as_pointer, inner_jit
from .bivariate_normal import normal_cdf
from .blas import vector
from .memory import allocate, release
from .smoothed import COS, ERF, EXP, GELU, KINKED, SIN, degree, is_polynomial, smoothed
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
    D0,
    D1,
    FIELDS,
    FIRST_ORDER_ROWS,
    GAMMA,
    KIND,
    NORM,
    ROWS,
    TABLE,
    VALUE,
)

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_REACH = 9.5  # φ(9.5) is 1e-20
_PANEL = 3.0
_MOST_PANELS = 20000
_ONE_OVER_ROOT_2PI = math.sqrt(0.5 / math.pi)
_ROOT_HALF = math.sqrt(0.5)
_TOWER = 32  # a polynomial of degree 20 and four derivatives


@inner_jit
def _wave(kind, b, n):
    """σ^(n)(b) of sine or cosine."""
    turn = (n + (1 if kind == COS else 0)) % 4
    value = math.sin(b) if turn % 2 == 0 else math.cos(b)
    return value if turn < 2 else -value


@inner_jit
def _moment(i, j, u, v, q, gap, first, second):
    """M_ij from E σ^(n) in `first` and E τ^(n) in `second` (one of them tilted for an exponential)."""
    kind, other = np.int64(u[KIND]), np.int64(v[KIND])
    if is_polynomial(kind) or is_polynomial(other):
        top = degree(kind, np.int64(u[TABLE])) - i if is_polynomial(kind) else _TOWER
        if is_polynomial(other):
            top = min(top, degree(other, np.int64(v[TABLE])) - j)
        total, factor = 0.0, 1.0
        for n in range(top + 1):
            total += factor * first[n + i] * second[n + j]
            factor *= q / (n + 1)
        return total
    if kind == EXP:
        return first[0] * second[j]
    if other == EXP:
        return first[i] * second[0]
    # e^{−(s+t)/2} cosh q and the same with sinh, without overflow
    s, t = u[NORM] * u[NORM], v[NORM] * v[NORM]
    low = math.exp(-0.5 * (s + t) - abs(q))
    high = low * math.expm1(2.0 * abs(q)) if abs(q) < 1.0 else math.exp(-gap) - low
    sinh = 0.5 * math.copysign(high, q)
    cosh = 0.5 * high + low
    b, bj = u[BIAS], v[BIAS]
    total = cosh * _wave(kind, b, i) * _wave(other, bj, j)
    return total + sinh * _wave(kind, b, i + 1) * _wave(other, bj, j + 1)


@inner_jit
def _closed(output, j, second_order, u, v, c, sn, first, second):
    """The rows of a pair from its M_ij."""
    kind, other = np.int64(u[KIND]), np.int64(v[KIND])
    r, t = u[NORM], v[NORM]
    q = r * t * c
    gap = 0.5 * (r - t) * (r - t) + r * t * sn * sn / (1.0 + abs(c))  # (s + t)/2 − |q|
    highest = np.int64(_TOWER if is_polynomial(kind) or is_polynomial(other) else 5)
    if kind == EXP and not is_polynomial(other):
        first[0] = math.exp(u[BIAS] + 0.5 * r * r)
        smoothed(other, np.int64(v[TABLE]), v[BIAS] + q, t, highest, second)
    elif other == EXP and not is_polynomial(kind):
        smoothed(kind, np.int64(u[TABLE]), u[BIAS] + q, r, highest, first)
        second[0] = math.exp(v[BIAS] + 0.5 * t * t)
    elif highest > 5:
        highest = _needed(kind, u, other, v)
        smoothed(kind, np.int64(u[TABLE]), u[BIAS], r, highest, first)
        smoothed(other, np.int64(v[TABLE]), v[BIAS], t, highest, second)
    m20 = _moment(2, 0, u, v, q, gap, first, second)
    m11 = _moment(1, 1, u, v, q, gap, first, second)
    output[VALUE, j] = _moment(0, 0, u, v, q, gap, first, second)
    output[ALPHA, j] = m11
    output[BETA, j] = m20
    output[GAMMA, j] = _moment(1, 0, u, v, q, gap, first, second)
    if not second_order:
        return
    m30, m21 = _moment(3, 0, u, v, q, gap, first, second), _moment(2, 1, u, v, q, gap, first, second)
    m12, m40 = _moment(1, 2, u, v, q, gap, first, second), _moment(4, 0, u, v, q, gap, first, second)
    m31, m22 = _moment(3, 1, u, v, q, gap, first, second), _moment(2, 2, u, v, q, gap, first, second)
    m13 = _moment(1, 3, u, v, q, gap, first, second)
    along, across = t * c, t * sn
    output[A00, j] = m40 * r * r + 2.0 * m31 * r * along + m22 * along * along
    output[A01, j] = (m31 * r + m22 * along) * across
    output[A11, j] = m22 * across * across
    output[B00, j] = m22 * r * t * (c * c + 1.0) + m13 * t * along + m31 * r * r * c
    output[B01, j] = r * sn * (m22 * along + m31 * r)
    output[B10, j] = across * (m22 * r * c + m13 * t)
    output[B11, j] = m22 * r * sn * across
    output[C0, j] = m30 * r + m21 * along
    output[C1, j] = m21 * across
    output[D0, j] = m21 * r + m12 * along
    output[D1, j] = m12 * across


@inner_jit
def _needed(kind, u, other, v):
    """How many E σ^(n) a finite Mehler sum with up to four derivatives reads."""
    least = np.int64(_TOWER)
    if is_polynomial(kind):
        least = min(least, degree(kind, np.int64(u[TABLE])))
    if is_polynomial(other):
        least = min(least, degree(other, np.int64(v[TABLE])))
    return least + 5


@inner_jit
def _outer(kind, z):
    """σ, σ' and the regular part of σ'' at z."""
    if kind == ERF:
        density = 2.0 * _ONE_OVER_ROOT_2PI * math.exp(-0.5 * z * z)
        return math.erf(z * _ROOT_HALF), density, -z * density
    c1, c2, c3 = KINKED[kind]
    if c2 == 0.0:  # normal_cdf and gelu
        density, cdf = _ONE_OVER_ROOT_2PI * math.exp(-0.5 * z * z), normal_cdf(z)
        if kind == GELU:
            return z * cdf, cdf + z * density, (2.0 - z * z) * density
        return cdf, density, -z * density
    if z > 0.0:
        return (c1 + c2) * z, c1 + c2, 0.0
    e = c3 * math.exp(z) if c3 != 0.0 else 0.0
    return c1 * z + c3 * math.expm1(z), c1 + e, e


@inner_jit
def _grade(points, count, centre, scale):
    """Add break points at centre ± 3 scale (2^i − 1)."""
    if not abs(centre) < 2.0 * _REACH:
        return count
    points[count] = centre
    count += 1
    if 1e-15 < scale < 2.0:
        distance = 3.0 * scale
        while distance < 2.0 * _REACH:
            points[count], points[count + 1] = centre - distance, centre + distance
            count += 2
            distance = 2.0 * distance + 3.0 * scale
    return count


@inner_jit
def _sort(points, count):
    for i in range(1, count):
        point, place = points[i], i
        while place > 0 and points[place - 1] > point:
            points[place] = points[place - 1]
            place -= 1
        points[place] = point


@inner_jit
def _scale(kind, size, spread):
    """The length along the axis on which a unit of this slope and spread changes."""
    if size == 0.0:
        return 0.0
    if kind == ERF or KINKED[kind, 1] == 0.0:
        return math.sqrt(1.0 + spread * spread) / size
    width = spread / size
    if KINKED[kind, 2] != 0.0:
        width = min(width, 1.0 / size) if width > 0.0 else 1.0 / size
    return width


@inner_jit
def _integrate(sums, points, tower, f, g, c, sn, swapped, second_order):
    """The twelve moments and the value, into `sums`; f is the unit along whose axis X is integrated."""
    for row in range(14):
        sums[row] = 0.0
    kind, other, r, t = np.int64(f[KIND]), np.int64(g[KIND]), f[NORM], g[NORM]
    b, shift, slope, spread = f[BIAS], g[BIAS], t * c, t * sn
    wave = other == SIN or other == COS
    points[0], points[1] = -_REACH, _REACH
    count = 2
    if r > 0.0:
        count = _grade(points, count, -b / r, _scale(kind, r, 0.0))
    if slope != 0.0 and not wave:
        count = _grade(points, count, -shift / slope, _scale(other, abs(slope), spread))
    _sort(points, count)
    longest = min(_PANEL, 8.0 / max(abs(slope), 1e-300)) if wave else _PANEL
    if wave and 2.0 * _REACH > longest * _MOST_PANELS:
        for row in range(14):
            sums[row] = math.nan
        return
    needed = np.int64(5 if swapped else 4) if second_order else np.int64(3)
    for p in range(count - 1):
        low, high = max(points[p], -_REACH), min(points[p + 1], _REACH)
        if not low < high:
            continue
        pieces = np.int64(math.ceil((high - low) / longest))
        half = 0.5 * (high - low) / pieces
        for piece in range(pieces):
            middle = low + (2 * piece + 1) * half
            for node in range(_NODES.size):
                x = middle + half * _NODES[node]
                weight = _WEIGHTS[node] * half * _ONE_OVER_ROOT_2PI * math.exp(-0.5 * x * x)
                f0, f1, f2 = _outer(kind, b + r * x)
                smoothed(other, np.int64(0), shift + slope * x, spread, needed, tower)
                _collect(sums, tower, weight, x, f0, f1, f2, spread, swapped, second_order)
    jump = KINKED[kind, 1] - KINKED[kind, 2]
    if jump != 0.0 and r > 1e-300 and abs(b) < 40.0 * r:
        x = -b / r
        weight = _ONE_OVER_ROOT_2PI * math.exp(-0.5 * x * x) / r
        smoothed(other, np.int64(0), shift + slope * x, spread, needed, tower)
        _collect(sums, tower, weight, x, 0.0, 0.0, jump, spread, swapped, second_order)


@inner_jit
def _collect(sums, g, weight, x, f0, f1, f2, s, swapped, second_order):
    """Add one node to E στ, E σ'τ, E σ'τ', E σ''τ {1, X, Y, X²−1, XY, Y²−1} and E σ'τ' {X, Y, …}."""
    fp, p = (f0, 2) if swapped else (f2, 0)
    sums[0] += weight * f0 * g[0]
    sums[1] += weight * (f0 * g[1] if swapped else f1 * g[0])
    sums[2] += weight * f1 * g[1]
    sums[3] += weight * fp * g[p]
    if second_order:
        square = (x - 1.0) * (x + 1.0)
        sums[4] += weight * fp * x * g[p]
        sums[5] += weight * fp * s * g[p + 1]
        sums[6] += weight * fp * square * g[p]
        sums[7] += weight * fp * x * s * g[p + 1]
        sums[8] += weight * fp * s * s * g[p + 2]
        sums[9] += weight * f1 * x * g[1]
        sums[10] += weight * f1 * s * g[2]
        sums[11] += weight * f1 * square * g[1]
        sums[12] += weight * f1 * x * s * g[2]
        sums[13] += weight * f1 * s * s * g[3]


@inner_jit
def _by_panels(output, j, second_order, u, v, c, sn, sums, points, tower):
    """The rows of a pair from moments along w, or along w' where σ is a sine or cosine."""
    swapped = u[KIND] == SIN or u[KIND] == COS
    f, g = (v, u) if swapped else (u, v)
    _integrate(sums, points, tower, f, g, c, sn, swapped, second_order)
    output[VALUE, j], output[GAMMA, j], output[ALPHA, j], output[BETA, j] = sums[0], sums[1], sums[2], sums[3]
    if not second_order:
        return
    px, py, pxx, pxy, pyy = sums[4], sums[5], sums[6], sums[7], sums[8]
    qx, qy, qxx, qxy, qyy = sums[9], sums[10], sums[11], sums[12], sums[13]
    # ŵ = cos θ ŵ' + sin θ n̂', n̂ = sin θ ŵ' − cos θ n̂', and the same primed.
    if swapped:
        px, py = c * px + sn * py, sn * px - c * py
        qx, qy = c * qx + sn * qy, sn * qx - c * qy
        t00, t01 = c * pxx + sn * pxy, c * pxy + sn * pyy
        t10, t11 = sn * pxx - c * pxy, sn * pxy - c * pyy
        pxx, pxy, pyy = t00 * c + t01 * sn, t00 * sn - t01 * c, t10 * sn - t11 * c
        output[B00, j], output[B01, j] = c * qxx + sn * qxy, c * qxy + sn * qyy
        output[B10, j], output[B11, j] = sn * qxx - c * qxy, sn * qxy - c * qyy
    else:
        output[B00, j], output[B01, j] = qxx * c + qxy * sn, qxx * sn - qxy * c
        output[B10, j], output[B11, j] = qxy * c + qyy * sn, qxy * sn - qyy * c
    output[A00, j], output[A01, j], output[A11, j] = pxx, pxy, pyy
    output[C0, j], output[C1, j], output[D0, j], output[D1, j] = px, py, qx, qy


def general(count, order, geometry_address, unit_address, units_address, output_address):
    """K of two units; tables as in `units`. The coefficients of a polynomial are at `units.TABLE`."""
    geometry = carray(as_pointer(geometry_address), (2, count), np.float64)
    unit = carray(as_pointer(unit_address), FIELDS, np.float64)
    units = carray(as_pointer(units_address), (count, FIELDS), np.float64)
    rows = ROWS if order > 1 else FIRST_ORDER_ROWS
    output = carray(as_pointer(output_address), (rows, count), np.float64)
    memory = allocate(2 * _TOWER + 16 + 512)
    first, second = vector(memory, _TOWER), vector(memory + 8 * _TOWER, _TOWER)
    sums, points = vector(memory + 16 * _TOWER, 16), vector(memory + 16 * _TOWER + 128, 512)
    kind = np.int64(unit[KIND])
    for j in range(count):
        other = np.int64(units[j, KIND])
        c, sn = geometry[0, j], math.sqrt(geometry[1, j])
        closed = is_polynomial(kind) or is_polynomial(other) or kind == EXP or other == EXP
        closed = closed or ((kind == SIN or kind == COS) and (other == SIN or other == COS))
        if closed:
            _closed(output, j, order > 1, unit, units[j], c, sn, first, second)
        else:
            _by_panels(output, j, order > 1, unit, units[j], c, sn, sums, points, first)
    release(memory)
