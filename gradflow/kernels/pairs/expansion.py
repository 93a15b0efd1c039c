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
from .close import close_pair
from .expansion_tables import (
    BEND_VALUE,
    CLOSED_KERNEL,
    COUNT,
    DATA,
    DECISIONS,
    HEADER,
    MEAN_SQUARE,
    OWN_TABLE,
    RADIAL_A,
    RADIAL_B,
    RADIAL_C,
    RADIAL_D,
    REACH,
    SHORT_REACH,
    SLOPE_SQUARE,
    SLOPE_VALUE,
    UNITS,
)
from .panel_nodes import REACH as PANELS_REACH
from .panels import WORK
from .roads import ACROSS, CLOSED, DECISION, HOW, OWN, ROAD, SERIES, WAVE, ZERO
from .smoothed import is_wave
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
from .waves import wave_pair


@inner_jit
def _closed(kernel, order, j, geometry, unit, units, output, work):
    """Pair j by its closed form, called for this pair alone."""
    count = geometry.shape[1]
    rows = ROWS if order > 1 else FIRST_ORDER_ROWS
    store(work, 0, geometry[0, j])
    store(work, 1, geometry[1, j])
    for which in range(2):
        source = unit if which == 0 else units + 8 * FIELDS * j
        target = work + 16 + 8 * FIELDS * which
        for f in range(FIELDS):
            store(target, f, load(source, f))
        store(target, TABLE, load(int(load(int(load(source, TABLE)), DATA)), OWN_TABLE))
    result = work + 16 * (1 + FIELDS)
    call_six(kernel, 1, order, work, work + 16, work + 16 + 8 * FIELDS, result)
    for f in range(rows):
        store(output, f * count + j, load(result, f))


@inner_jit
def _own(output, j, order, table):
    """A unit with itself: the integrals of its table."""
    output[VALUE, j] = load(table, MEAN_SQUARE)
    output[ALPHA, j] = load(table, SLOPE_SQUARE)
    output[BETA, j] = load(table, BEND_VALUE)
    output[GAMMA, j] = load(table, SLOPE_VALUE)
    if order > 1:
        for f in (A01, A11, B01, B10, B11, C1, D1):
            output[f, j] = 0.0
        output[A00, j] = load(table, RADIAL_A)
        output[B00, j] = load(table, RADIAL_B)
        output[C0, j] = load(table, RADIAL_C)
        output[D0, j] = load(table, RADIAL_D)


@inner_jit
def _reach(table, other):
    """The |X| beyond which nothing is, for two units."""
    reach = max(load(table, REACH), load(other, REACH))
    return reach if reach > SHORT_REACH else PANELS_REACH


@inner_jit
def _write(output, j, order, sums, r, rj, u, sine):
    """The rows of pair j from the sums of `hermite`."""
    output[VALUE, j] = sums[0]
    output[ALPHA, j] = sums[1]
    output[BETA, j] = sums[2]
    output[GAMMA, j] = sums[3]
    if order > 1:
        output[A00, j] = sums[4]
        output[A01, j] = rj * sine * sums[5]
        output[A11, j] = rj * rj * sine * sine * sums[6]
        output[B00, j] = sums[7] - u * sums[1]
        output[B01, j] = r * sine * sums[5]
        output[B10, j] = rj * sine * sums[8]
        output[B11, j] = r * rj * sine * sine * sums[6]
        output[C0, j] = sums[9]
        output[C1, j] = rj * sine * sums[10]
        output[D0, j] = sums[11]
        output[D1, j] = rj * sine * sums[12]


def expansion(count, order, geometry_address, unit_address, units_address, output_address):
    """K and its derivatives for units of any activation; tables as in `units`."""
    geometry = carray(as_pointer(geometry_address), (2, count), np.float64)
    unit = carray(as_pointer(unit_address), FIELDS, np.float64)
    units = carray(as_pointer(units_address), (count, FIELDS), np.float64)
    rows = ROWS if order > 1 else FIRST_ORDER_ROWS
    output = carray(as_pointer(output_address), (rows, count), np.float64)
    work = allocate(2 + 2 * FIELDS + ROWS + 16 + WORK)
    if work == 0:
        spoil(output_address, rows * count)
        return
    sums = carray(as_pointer(work), 13, np.float64)
    panels_at = work + 8 * (2 + 2 * FIELDS + ROWS + 16)
    values = vector(panels_at, WORK)
    table, r = int(unit[TABLE]), unit[NORM]
    size, data = int(load(table, COUNT)), int(load(table, DATA))
    first = (units_address - int(load(table, UNITS))) // (8 * FIELDS)
    decisions = int(load(table, DECISIONS)) + 8 * DECISION * first
    for j in range(count):
        road, how = load(decisions, DECISION * j + ROAD), load(decisions, DECISION * j + HOW)
        other = int(units[j, TABLE])
        u, sine, rj = geometry[0, j], math.sqrt(geometry[1, j]), units[j, NORM]
        if road == SERIES:
            mine, theirs, others = table + 8 * HEADER, other + 8 * HEADER, int(load(other, COUNT))
            if order < 2:
                mehler_first(mine, size, theirs, others, int(how), u, work)
            else:
                mehler_second(mine, size, theirs, others, int(how), u, work)
            _write(output, j, order, sums, r, rj, u, sine)
        elif road == OWN:
            _own(output, j, order, table)
        elif road == CLOSED:
            kernel = int(load(data, CLOSED_KERNEL))
            _closed(kernel, order, j, geometry, unit_address, units_address, output_address, work)
        elif road == ACROSS:
            others = int(load(other, DATA))
            reach = _reach(table, other)
            close_pair(
                data, r, unit[BIAS], others, rj, units[j, BIAS], u, sine, how, reach, order, sums
            )  # fmt: skip
            _write(output, j, order, sums, r, rj, u, sine)
        elif road == WAVE:
            along = other if is_wave(int(unit[KIND])) else table
            reach = _reach(along, along)
            axis = int(load(along, DATA))
            wave_pair(output, j, order, unit, units[j], axis, u, sine, reach, values, panels_at)
        else:
            for row in range(rows):
                output[row, j] = 0.0 if road == ZERO else math.nan
    release(work)
