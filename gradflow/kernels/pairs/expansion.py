"""The pair kernel of units without a closed form: Mehler's sum over their Hermite coefficients.

With z = rX + b, z' = r'Y + b', corr(X, Y) = u = cos θ, and Stein's lemma in the directions n̂, n̂' across,

    α = E σ'τ'      β = E σ''τ      γ = E σ'τ
    A00 = E σ''(X²−1)τ     A01 = r' sin θ E σ''Xτ'     A11 = r'² sin²θ E σ''τ''
    B00 = E σ'Xτ'Y − u α   B01 = r sin θ E σ''Xτ'      B10 = r' sin θ E σ'τ''Y   B11 = r r' sin²θ E σ''τ''
    C0 = E σ''Xτ   C1 = r' sin θ E σ''τ'   D0 = E σ'Xτ'   D1 = r' sin θ E σ'τ''

each Σ_n f_n g_n uⁿ of two arrays of `expansion_tables`: no third derivative of σ appears. The sum ends where
|u|ⁿ is below rounding or a table ends. A unit with itself takes its table's integrals instead (u = 1).
Derived here.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from ..math.abi import as_pointer, call_six, inner_jit
from ..math.hermite import mehler_first, mehler_second
from ..math.memory import load, scratch, store
from .close import close_pair
from .expansion_tables import (
    BEND_VALUE,
    CLOSED,
    COMPLETE,
    COUNT,
    DATA,
    HEADER,
    MEAN_SQUARE,
    OWN_TABLE,
    RADIAL_A,
    RADIAL_B,
    RADIAL_C,
    RADIAL_D,
    REACH,
    SLOPE_SQUARE,
    SLOPE_VALUE,
    STRIP,
    is_close,
    orders_for,
)
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
    NORM,
    ROWS,
    TABLE,
    VALUE,
)

_WORK = 2 + 2 * FIELDS + ROWS


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


def expansion(count, order, geometry_address, unit_address, units_address, output_address):
    """K and its derivatives for units of any activation; tables as in `units`."""
    geometry = carray(as_pointer(geometry_address), (2, count), np.float64)
    unit = carray(as_pointer(unit_address), FIELDS, np.float64)
    units = carray(as_pointer(units_address), (count, FIELDS), np.float64)
    rows = ROWS if order > 1 else FIRST_ORDER_ROWS
    output = carray(as_pointer(output_address), (rows, count), np.float64)
    work = scratch(_WORK)
    sums = carray(as_pointer(work), 13, np.float64)
    table, r = int(unit[TABLE]), unit[NORM]
    size, kernel = int(load(table, COUNT)), load(int(load(table, DATA)), CLOSED)
    for j in range(count):
        other = int(units[j, TABLE])
        if kernel != 0.0 and load(int(load(other, DATA)), CLOSED) != 0.0:
            _closed(int(kernel), order, j, geometry, unit_address, units_address, output_address, work)
            continue
        u, sine2 = geometry[0, j], geometry[1, j]
        if other == table:
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
            continue
        others = int(load(other, COUNT))
        used = min(min(size, others), orders_for(abs(u)))
        mine, theirs = table + 8 * HEADER, other + 8 * HEADER
        ends = (size <= others and load(table, COMPLETE) != 0.0) or used >= orders_for(abs(u))
        ends = ends or (others <= size and load(other, COMPLETE) != 0.0)
        first, second = int(load(table, DATA)), int(load(other, DATA))
        strips = load(first, STRIP) / r + load(second, STRIP) / units[j, NORM]
        if not ends and is_close(abs(u), 1.001 * strips):
            sine = math.sqrt(sine2)
            eta = strips / max(sine, 1e-300)
            reach = max(load(table, REACH), load(other, REACH))
            close_pair(
                first, r, unit[BIAS], second, units[j, NORM], units[j, BIAS], u, sine, eta, reach, order, sums
            )
        elif order < 2:
            mehler_first(mine, size, theirs, others, used, u, work)
        else:
            mehler_second(mine, size, theirs, others, used, u, work)
        output[VALUE, j] = sums[0]
        output[ALPHA, j] = sums[1]
        output[BETA, j] = sums[2]
        output[GAMMA, j] = sums[3]
        if order > 1:
            rj, sine = units[j, NORM], math.sqrt(sine2)
            output[A00, j] = sums[4]
            output[A01, j] = rj * sine * sums[5]
            output[A11, j] = rj * rj * sine2 * sums[6]
            output[B00, j] = sums[7] - u * sums[1]
            output[B01, j] = r * sine * sums[5]
            output[B10, j] = rj * sine * sums[8]
            output[B11, j] = r * rj * sine2 * sums[6]
            output[C0, j] = sums[9]
            output[C1, j] = rj * sine * sums[10]
            output[D0, j] = sums[11]
            output[D1, j] = rj * sine * sums[12]
