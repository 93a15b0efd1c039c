"""The pair kernel of units without a closed form: Mehler's sum over their Hermite coefficients.

With z = rX + b, z' = r'Y + b', corr(X, Y) = u = cos θ, and Stein's lemma in the directions n̂, n̂' across,

    α = E σ'τ'      β = E σ''τ      γ = E σ'τ
    A00 = E σ''(X²−1)τ     A01 = r' sin θ E σ''Xτ'     A11 = r'² sin²θ E σ''τ''
    B00 = E σ'Xτ'Y − u α   B01 = r sin θ E σ''Xτ'      B10 = r' sin θ E σ'τ''Y   B11 = r r' sin²θ E σ''τ''
    C0 = E σ''Xτ   C1 = r' sin θ E σ''τ'   D0 = E σ'Xτ'   D1 = r' sin θ E σ'τ''

each Σ_n f_n g_n uⁿ of two arrays of `expansion_tables`: no third derivative of σ appears. Pairs that such a
sum does not serve take another road; which one is in the records of `pairs.roads`. Derived here.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from ..math.abi import as_pointer, call_six, inner_jit
from ..math.blas import vector
from ..math.hermite import mehler_first, mehler_second
from ..math.memory import allocate, load, release, spoil, store
from . import expansion_tables as et
from . import units as at
from .close import close_pair
from .panel_nodes import REACH as PANELS_REACH
from .panels import WORK
from .roads import ACROSS, CLOSED, DECISION, HOW, OWN, ROAD, SERIES, WAVE, ZERO
from .smoothed import is_wave
from .waves import wave_pair


@inner_jit
def _closed(kernel, order, j, geometry, unit, units, output, work):
    """Pair j by its closed form, called for this pair alone."""
    count = geometry.shape[1]
    rows = at.ROWS if order > 1 else at.FIRST_ORDER_ROWS
    store(work, 0, geometry[0, j])
    store(work, 1, geometry[1, j])
    for which in range(2):
        source = unit if which == 0 else units + 8 * at.FIELDS * j
        target = work + 16 + 8 * at.FIELDS * which
        for f in range(at.FIELDS):
            store(target, f, load(source, f))
        store(target, at.TABLE, load(int(load(int(load(source, at.TABLE)), et.DATA)), et.OWN_TABLE))
    result = work + 16 * (1 + at.FIELDS)
    call_six(kernel, 1, order, work, work + 16, work + 16 + 8 * at.FIELDS, result)
    for f in range(rows):
        store(output, f * count + j, load(result, f))


@inner_jit
def _own(output, j, order, table):
    """A unit with itself: the integrals of its table."""
    output[at.VALUE, j] = load(table, et.MEAN_SQUARE)
    output[at.ALPHA, j] = load(table, et.SLOPE_SQUARE)
    output[at.BETA, j] = load(table, et.BEND_VALUE)
    output[at.GAMMA, j] = load(table, et.SLOPE_VALUE)
    if order > 1:
        for f in (at.A01, at.A11, at.B01, at.B10, at.B11, at.C1, at.D1):
            output[f, j] = 0.0
        output[at.A00, j] = load(table, et.RADIAL_A)
        output[at.B00, j] = load(table, et.RADIAL_B)
        output[at.C0, j] = load(table, et.RADIAL_C)
        output[at.D0, j] = load(table, et.RADIAL_D)


@inner_jit
def _reach(table, other):
    """The |X| beyond which nothing is, for two units."""
    reach = max(load(table, et.REACH), load(other, et.REACH))
    return reach if reach > et.SHORT_REACH else PANELS_REACH


@inner_jit
def _write(output, j, order, sums, r, rj, u, sine):
    """The rows of pair j from the sums of `hermite`."""
    output[at.VALUE, j] = sums[0]
    output[at.ALPHA, j] = sums[1]
    output[at.BETA, j] = sums[2]
    output[at.GAMMA, j] = sums[3]
    if order > 1:
        output[at.A00, j] = sums[4]
        output[at.A01, j] = rj * sine * sums[5]
        output[at.A11, j] = rj * rj * sine * sine * sums[6]
        output[at.B00, j] = sums[7] - u * sums[1]
        output[at.B01, j] = r * sine * sums[5]
        output[at.B10, j] = rj * sine * sums[8]
        output[at.B11, j] = r * rj * sine * sine * sums[6]
        output[at.C0, j] = sums[9]
        output[at.C1, j] = rj * sine * sums[10]
        output[at.D0, j] = sums[11]
        output[at.D1, j] = rj * sine * sums[12]


def expansion(count, order, geometry_address, unit_address, units_address, output_address):
    """K and its derivatives for units of any activation; tables as in `units`."""
    geometry = carray(as_pointer(geometry_address), (2, count), np.float64)
    unit = carray(as_pointer(unit_address), at.FIELDS, np.float64)
    units = carray(as_pointer(units_address), (count, at.FIELDS), np.float64)
    rows = at.ROWS if order > 1 else at.FIRST_ORDER_ROWS
    output = carray(as_pointer(output_address), (rows, count), np.float64)
    work = allocate(2 + 2 * at.FIELDS + at.ROWS + 16 + WORK)
    if work == 0:
        spoil(output_address, rows * count)
        return
    sums = carray(as_pointer(work), 13, np.float64)
    panels_at = work + 8 * (2 + 2 * at.FIELDS + at.ROWS + 16)
    values = vector(panels_at, WORK)
    table, r = int(unit[at.TABLE]), unit[at.NORM]
    size, data = int(load(table, et.COUNT)), int(load(table, et.DATA))
    first = (units_address - int(load(table, et.UNITS))) // (8 * at.FIELDS)
    decisions = int(load(table, et.DECISIONS)) + 8 * DECISION * first
    for j in range(count):
        road, how = load(decisions, DECISION * j + ROAD), load(decisions, DECISION * j + HOW)
        other = int(units[j, at.TABLE])
        u, sine, rj = geometry[0, j], math.sqrt(geometry[1, j]), units[j, at.NORM]
        if road == SERIES:
            mine, theirs, others = table + 8 * et.HEADER, other + 8 * et.HEADER, int(load(other, et.COUNT))
            if order < 2:
                mehler_first(mine, size, theirs, others, int(how), u, work)
            else:
                mehler_second(mine, size, theirs, others, int(how), u, work)
            _write(output, j, order, sums, r, rj, u, sine)
        elif road == OWN:
            _own(output, j, order, table)
        elif road == CLOSED:
            kernel = int(load(data, et.CLOSED_KERNEL))
            _closed(kernel, order, j, geometry, unit_address, units_address, output_address, work)
        elif road == ACROSS:
            others = int(load(other, et.DATA))
            reach = _reach(table, other)
            close_pair(
                data, r, unit[at.BIAS], others, rj, units[j, at.BIAS], u, sine, how, reach, order, sums
            )  # fmt: skip
            _write(output, j, order, sums, r, rj, u, sine)
        elif road == WAVE:
            along = other if is_wave(int(unit[at.KIND])) else table
            reach = _reach(along, along)
            axis = int(load(along, et.DATA))
            wave_pair(output, j, order, unit, units[j], axis, u, sine, reach, values, panels_at)
        else:
            for row in range(rows):
                output[row, j] = 0.0 if road == ZERO else math.nan
    release(work)
