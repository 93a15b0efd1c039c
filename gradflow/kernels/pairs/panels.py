"""The pair kernel of a kinked or smooth unit with another by one integral along a weight vector.

The mean over the part of x across w is taken in closed form (`smoothed`), the one along it by Gauss–Legendre
panels (`panel_nodes`): the terms do not cancel, so that the sum keeps full accuracy at any angle, and no
function of e^{s/2} size times a tiny tail has to be formed, which is what the closed form by tilting does.
Every row of the table is one of the products

    M_kl = Σ_x weight φ(x) F_k(x) G_l(x),  F = (σ, σ', σ'', Xσ', Xρ, (X²−1)σ', (X²−1)ρ),
    G = (t_0, t_1, s t_2, s² t_3),  t_n = E_Y τ^(n)(b' + qX + sY),  ρ = σ'' (σ where τ is a sine: see below)

so that a pair is two passes over the nodes and one small matrix product. Where σ is a sine or cosine, the
integral goes along w' instead, and derivatives of the sine are the sine itself: t_{n+2} = −t_n.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from ..activation_table import CENTRED, FORM, KINKED, POWER, RAMP
from ..empirical.tiles import COLUMNS, gram_tile
from ..math.abi import as_pointer, inner_jit
from ..math.bivariate_normal import normal_cdf
from ..math.blas import vector
from ..math.memory import scratch
from ..math.vector_math import exp, exp_and_expm1_of_negative, select
from . import panel_nodes as pn
from . import units as at
from .panel_nodes import bend, break_points, field_at, rate, reach_of, rule_for, too_fast, turn
from .smoothed import is_wave, scaled_tail_of, smooth_means

CAPACITY = 192
WEIGHT, Z, M = (CAPACITY * row for row in (1, 2, 3))
F0, F1, F2, _XF1, _XP, _HF1, _HP = (CAPACITY * row for row in range(4, 11))
_G0, _G1, _G2, _G3 = (CAPACITY * row for row in range(11, 15))
_BELOW, _PEAK = CAPACITY * 15, CAPACITY * 16
SUMS = CAPACITY * 17
_TOWER = SUMS + 32
_POINTS = _TOWER + 8
WORK = _POINTS + pn.MOST_POINTS
"""Doubles of work space."""

_ONE_OVER_ROOT_2PI = math.sqrt(0.5 / math.pi)
_ROOT_HALF = math.sqrt(0.5)
_SMALL = 0.125
_TERMS = 17


@inner_jit
def _along(values, count, kind):
    """Rows F0, F1, F2 with the weights, of the fields Z; σ'' without the δ of a kink."""
    c1, c2, c3 = KINKED[kind, 0], KINKED[kind, 1], KINKED[kind, 2]
    if c2 == 0.0:
        for i in range(count):
            x = values[i]
            weight = values[WEIGHT + i] * _ONE_OVER_ROOT_2PI * math.exp(-0.5 * x * x)
            z = values[Z + i]
            density, cdf = _ONE_OVER_ROOT_2PI * math.exp(-0.5 * z * z), normal_cdf(z)
            f0, f1, f2 = cdf, density, -z * density
            if FORM[kind] == CENTRED:
                f0, f1, f2 = math.erf(z * _ROOT_HALF), 2.0 * density, -2.0 * z * density
            elif FORM[kind] == RAMP:
                f0, f1, f2 = z * cdf, cdf + z * density, (2.0 - z * z) * density
            values[F0 + i], values[F1 + i], values[F2 + i] = weight * f0, weight * f1, weight * f2
        return
    for i in range(count):
        x = values[i]
        weight = values[WEIGHT + i] * _ONE_OVER_ROOT_2PI * exp(-0.5 * x * x)
        z = values[Z + i]
        e, rest = exp_and_expm1_of_negative(select(z > 0.0, 0.0, z))
        values[F0 + i] = weight * select(z > 0.0, (c1 + c2) * z, c1 * z + c3 * rest)
        values[F1 + i] = weight * select(z > 0.0, c1 + c2, c1 + c3 * e)
        values[F2 + i] = weight * select(z > 0.0, 0.0, c3 * e)


@inner_jit
def _moments(values, count, bent):
    """Rows F times X and X² − 1; ρ is the row at `bent`."""
    for i in range(count):
        x = values[i]
        square = (x - 1.0) * (x + 1.0)
        first, other = values[F1 + i], values[bent + i]
        values[_XF1 + i], values[_HF1 + i] = x * first, square * first
        values[_XP + i], values[_HP + i] = x * other, square * other


@inner_jit
def rows_across(values, count, kind, s, small):
    """Rows G0 … G3 of a unit of spread s and mean fields M, which are below 1 or so from node `small` on."""
    c1, c2, c3 = KINKED[kind, 0], KINKED[kind, 1], KINKED[kind, 2]
    if POWER[kind] == 0:
        for i in range(count):
            values[_G0 + i], values[_G1 + i], values[_G2 + i], values[_G3 + i] = 1.0, 0.0, 0.0, 0.0
        return
    if c2 == 0.0:
        tower = values[_TOWER:_POINTS]
        for i in range(count):
            smooth_means(kind, values[M + i], s, np.int64(4), tower)
            values[_G0 + i], values[_G1 + i] = tower[0], tower[1]
            values[_G2 + i], values[_G3 + i] = s * tower[2], s * s * tower[3]
        return
    # A unit without spread is a step at 0, and on the left branch there.
    inverse, left = (1.0 / s, 0.0) if s > 1e-305 else (1e300, -1e-290)
    half = 0.5 * s * s
    for i in range(count):
        m = values[M + i]
        h = (m + left) * inverse
        h = select(h > 40.0, 40.0, select(h < -40.0, -40.0, h))
        z = h + s
        gauss = exp(-0.5 * h * h)
        near, far = gauss * scaled_tail_of(abs(h)), gauss * scaled_tail_of(abs(z))
        below, above = select(h > 0.0, near, 1.0 - near), select(h > 0.0, 1.0 - near, near)
        # E e^v 1(v < 0) and E (e^v − 1) 1(v < 0); for z ≤ 0 the exponent m + s²/2 is negative
        e, rest = exp_and_expm1_of_negative(select(z > 0.0, 0.0, m + half))
        shifted = select(z > 0.0, far, e - far)
        rest = select(z > 0.0, select(h > 0.0, far - near, (far + near) - 1.0), rest - (far - near))
        density = _ONE_OVER_ROOT_2PI * gauss
        rest = select(i < small, rest, 0.0)
        values[_G0 + i] = c1 * m + c2 * (s * density + m * above) + c3 * rest
        values[_G1 + i] = c1 + c2 * above + c3 * shifted
        values[_G2 + i] = c2 * density + c3 * (s * shifted - density)
        values[_G3 + i] = c3 * (s * (s * shifted - density) + h * density) - c2 * h * density
        values[_BELOW + i], values[_PEAK + i] = below, s * density
    if c3 != 0.0:
        _add_series(values[small:], count - small, s, c3)


@inner_jit
def _add_series(values, count, s, c3):
    """Add c3 E (e^v − 1) 1(v < 0) = c3 Σ_k E v^k 1(v < 0)/k!, relatively accurate for small fields v."""
    for i in range(count):
        m = values[M + i]
        before = values[_BELOW + i]
        now = m * before - values[_PEAK + i]
        total, factor = now, 1.0
        for k in range(2, _TERMS + 1):
            before, now = now, m * now + (k - 1) * s * s * before
            factor /= k
            total += factor * now
        values[_G0 + i] += c3 * total


@inner_jit
def _nodes(values, first, done, f, g, c, sn, reach, order):
    """Fill the buffer with nodes of the panels from `first` on, of which `done` pieces are already treated.

    Returns (count, panel, pieces done of it) where it is full, (count, panels, 0) at the end.
    """
    kind, other, r, b = np.int64(f[at.KIND]), np.int64(g[at.KIND]), f[at.NORM], f[at.BIAS]
    shift, slope, s = g[at.BIAS], g[at.NORM] * c, g[at.NORM] * sn
    values[_POINTS], values[_POINTS + 1] = -reach, reach
    found = break_points(values, _POINTS, kind, b, r, 0.0, order, np.int64(2))
    found = break_points(values, _POINTS, other, shift, slope, s, order, found)
    count = np.int64(0)
    for p in range(first, found - 1):
        low, high = values[_POINTS + p], values[_POINTS + p + 1]
        x = 0.5 * (low + high)
        curve = 1.0 + bend(kind, b, r, 0.0, order, x) + bend(other, shift, slope, s, order, x)
        exponent = rate(kind, b, r, 0.0, x) + rate(other, shift, slope, s, x)
        if low * high > 0.0:  # far out the density itself is an exponential
            exponent += min(abs(low), abs(high))
        length = (high - low) * (math.sqrt(curve) + turn(other, slope))
        pieces, k = rule_for(length, 0.5 * (high - low) * exponent)
        half = 0.5 * (high - low) / pieces
        for piece in range(done, pieces):
            if count + 8 * k > CAPACITY - 8:
                return count, p, piece
            middle, first = low + (2 * piece + 1) * half, 4 * k * (k - 1)
            z = field_at(b, r, low, high, 2 * piece + 1, 2 * pieces)
            m = field_at(shift, slope, low, high, 2 * piece + 1, 2 * pieces)
            for i in range(8 * k):
                node = half * pn.NODES[first + i]
                values[count + i], values[WEIGHT + count + i] = middle + node, half * pn.WEIGHTS[first + i]
                values[Z + count + i], values[M + count + i] = z + r * node, m + slope * node
            count += 8 * k
        done = np.int64(0)
    return count, found - 1, np.int64(0)


@inner_jit
def _sum_up(values, work, f, g, c, sn, swapped, order):
    """The matrix M of the module's head, at SUMS; f is the unit along whose axis X is integrated."""
    kind, other, r, b, slope = (
        np.int64(f[at.KIND]),
        np.int64(g[at.KIND]),
        f[at.NORM],
        f[at.BIAS],
        g[at.NORM] * c,
    )
    jump = KINKED[kind, 1] - KINKED[kind, 2]
    kink = jump != 0.0 and r > 1e-305 and abs(b) < 40.0 * r
    for i in range(32):
        values[SUMS + i] = 0.0
    reach = reach_of(r, b, g[at.NORM], g[at.BIAS])
    panel, piece, more = np.int64(0), np.int64(0), True
    while more:
        count, panel, piece = _nodes(values, panel, piece, f, g, c, sn, reach, order)
        more = values[_POINTS + panel] < reach
        spike = count
        if kink and not more:  # eight places for the δ of f
            for i in range(8):
                values[count + i], values[WEIGHT + count + i] = -b / r, 0.0
                values[Z + count + i], values[M + count + i] = 0.0, g[at.BIAS] - slope * (b / r)
            count += 8
        _along(values, count, kind)
        if spike < count:
            density = _ONE_OVER_ROOT_2PI * math.exp(-0.5 * (b / r) * (b / r))
            values[F0 + spike], values[F1 + spike], values[F2 + spike] = 0.0, 0.0, jump / r * density
        if g[at.NORM] + abs(g[at.BIAS]) < _SMALL:
            small = np.int64(0)
        elif abs(values[M + count - 1]) + 8.0 * g[at.NORM] * sn < 0.5:
            small = spike
        else:
            small = count
        rows_across(values, count, other, g[at.NORM] * sn, small)
        add_products(values, work, count, order, swapped)


@inner_jit
def add_products(values, work, count, order, swapped):
    """Add to M the products of the rows F and G of the nodes in the buffer."""
    rows, columns = np.int64(7 if order > 1 else 3), np.int64(4 if order > 1 else 2)
    if order > 1:
        _moments(values, count, np.int64(F0 if swapped else F2))
    for row in range(0, rows, 4):
        for column in range(0, columns, COLUMNS):
            gram_tile(
                work + 8 * (F0 + CAPACITY * row), np.int64(CAPACITY), rows - row,
                work + 8 * (_G0 + CAPACITY * column), np.int64(CAPACITY), columns - column,
                count, work + 8 * (SUMS + 4 * row + column), np.int64(4),
            )  # fmt: skip


@inner_jit
def pair_by_panels(output, j, order, u, v, c, sn, values, work):
    """The rows of pair j; `values` and `work` are WORK doubles to work in, and their address."""
    constant = POWER[int(u[at.KIND])] == 0
    swapped = constant or is_wave(int(u[at.KIND]))
    f, g = (v, u) if swapped else (u, v)
    s = g[at.NORM] * sn
    size = u[at.NORM] + v[at.NORM] + abs(u[at.BIAS]) + abs(v[at.BIAS]) + abs(c) + sn
    if constant or not size < math.inf or too_fast(np.int64(g[at.KIND]), g[at.NORM] * c):
        for row in range(at.ROWS if order > 1 else at.FIRST_ORDER_ROWS):
            output[row, j] = 0.0 if constant else math.nan
        if not constant:
            return
    if constant and POWER[int(v[at.KIND])] == 0:
        output[at.VALUE, j] = 1.0
        return
    _sum_up(values, work, f, g, c, sn, swapped, order)
    if constant:
        output[at.VALUE, j] = values[SUMS]
        return
    write_rows(output, j, order, values, c, sn, s, swapped)


@inner_jit
def write_rows(output, j, order, values, c, sn, s, swapped):
    """The rows of pair j from the matrix M at SUMS; `swapped` if X runs along w'."""
    m = values[SUMS:_TOWER]
    output[at.VALUE, j], output[at.ALPHA, j] = m[0], m[5]
    output[at.GAMMA, j], output[at.BETA, j] = (m[1], -m[0]) if swapped else (m[4], m[8])
    if order < 2:
        return
    # Means of σ''τ and σ'τ' times X, Y, X² − 1, XY, Y² − 1 along and across the axis of f.
    qx, qy, qxx, qxy, qyy = m[13], m[6], m[21], m[14], m[7]
    px, py, pxx, pxy, pyy = m[16], s * m[9], m[24], s * m[17], s * m[10]
    if swapped:
        px, py, pxx, pxy, pyy = -m[16], -s * m[1], -m[24], -s * m[17], s * s * m[0]
        # ŵ = cos θ ŵ' + sin θ n̂', n̂ = sin θ ŵ' − cos θ n̂', and the same primed.
        px, py = c * px + sn * py, sn * px - c * py
        qx, qy = c * qx + sn * qy, sn * qx - c * qy
        t00, t01 = c * pxx + sn * pxy, c * pxy + sn * pyy
        t10, t11 = sn * pxx - c * pxy, sn * pxy - c * pyy
        pxx, pxy, pyy = t00 * c + t01 * sn, t00 * sn - t01 * c, t10 * sn - t11 * c
    first, last = c * qxx + sn * qxy, c * qxy + sn * qyy
    third, fourth = sn * qxx - c * qxy, sn * qxy - c * qyy
    output[at.B00, j], output[at.B11, j] = first, fourth
    output[at.B01, j], output[at.B10, j] = (last, third) if swapped else (third, last)
    output[at.A00, j], output[at.A01, j], output[at.A11, j] = pxx, pxy, pyy
    output[at.C0, j], output[at.C1, j], output[at.D0, j], output[at.D1, j] = px, py, qx, qy


def panels(count, order, geometry_address, unit_address, units_address, output_address):
    """K of two units, kinked ones, Φ, erf, zΦ or 1; tables as in `units`."""
    geometry = carray(as_pointer(geometry_address), (2, count), np.float64)
    unit = carray(as_pointer(unit_address), at.FIELDS, np.float64)
    units = carray(as_pointer(units_address), (count, at.FIELDS), np.float64)
    rows = at.ROWS if order > 1 else at.FIRST_ORDER_ROWS
    output = carray(as_pointer(output_address), (rows, count), np.float64)
    memory = scratch(WORK)
    values = vector(memory, WORK)
    for j in range(count):
        c, sn = geometry[0, j], math.sqrt(geometry[1, j])
        pair_by_panels(output, j, order, unit, units[j], c, sn, values, memory)
