"""The pair kernel of any two activations with elementary Gaussian means (`smoothed`), with or without biases.

Finite sums where there are any (`pairs.finite`), else one integral along a weight vector (`pairs.panels`).
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from ..math.abi import as_pointer, inner_jit
from ..math.blas import vector
from ..math.memory import scratch
from .finite import TOWER, finite_pair, is_finite
from .panels import WORK, pair_by_panels
from .units import FIELDS, FIRST_ORDER_ROWS, KIND, ROWS, VALUE


@inner_jit
def elementary_pair(output, j, order, u, v, c, sn, memory):
    """The rows of pair j; `memory` is room for WORK doubles."""
    values = vector(memory, WORK)
    if is_finite(np.int64(u[KIND]), np.int64(v[KIND])):
        finite_pair(output, j, order > 1, u, v, c, sn, values[:TOWER], values[TOWER : 2 * TOWER])
    else:
        pair_by_panels(output, j, order, u, v, c, sn, values, memory)


def general(count, order, geometry_address, unit_address, units_address, output_address):
    """K of two units; tables as in `units`. The coefficients of a polynomial are at `units.TABLE`."""
    geometry = carray(as_pointer(geometry_address), (2, count), np.float64)
    unit = carray(as_pointer(unit_address), FIELDS, np.float64)
    units = carray(as_pointer(units_address), (count, FIELDS), np.float64)
    rows = ROWS if order > 1 else FIRST_ORDER_ROWS
    output = carray(as_pointer(output_address), (rows, count), np.float64)
    memory = scratch(WORK)
    for j in range(count):
        elementary_pair(output, j, order, unit, units[j], geometry[0, j], math.sqrt(geometry[1, j]), memory)


def constants(count, order, geometry_address, unit_address, units_address, output_address):
    """K of two constants 1, what an output bias beside units without a closed form is paired with."""
    rows = ROWS if order > 1 else FIRST_ORDER_ROWS
    output = carray(as_pointer(output_address), (rows, count), np.float64)
    for j in range(count):
        for row in range(rows):
            output[row, j] = 0.0
        output[VALUE, j] = 1.0
