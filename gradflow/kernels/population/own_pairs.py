"""Pairs of each unit with itself, all in one call."""

from __future__ import annotations

from ..math.abi import call_six
from ..math.memory import load, store
from ..pairs.units import ALPHA, FIELDS, NORM, VALUE


def own_pairs(pair, units, count, geometry, output, values):
    """(E σ², E σ'²) of the units of these records into `values` (count, 2), by their pair kernel.

    `geometry` is room for 2 doubles, `output` for FIRST_ORDER_ROWS.
    """
    for i in range(count):
        unit = units + 8 * FIELDS * i
        silent = not load(unit, NORM) > 0.0
        store(geometry, 0, 0.0 if silent else 1.0)
        store(geometry, 1, 1.0 if silent else 0.0)
        call_six(pair, 1, 1, geometry, unit, unit, output)
        store(values, 2 * i, load(output, VALUE))
        store(values, 2 * i + 1, load(output, ALPHA))
