"""Activations without a closed form, as `kernels.pairs.expansion_tables` wants them."""

from __future__ import annotations

import ctypes
import math
from functools import cache

import numpy as np

from ..activations import Activation
from ..kernels.activation_table import Record
from ..kernels.math import abi
from ..kernels.pairs.expansion_tables import DECISIONS, ERROR, FIRST_EDGE, HEADER
from ..kernels.pairs.roads import DECISION, SLOPE_ERROR, VALUE_ERROR
from ..kernels.pairs.units import TABLE
from .pieces import RANGE, inconsistency, pieces


@cache
def _pieces(activation: Activation | None) -> tuple[np.ndarray, float, float]:
    """Edges of the pieces, the error that is left, and the longest panel far out (0: any)."""
    if activation is None:
        return np.zeros(1), 0.0, 0.0
    with np.errstate(all="ignore"):
        return pieces(activation.derivatives)


@cache
def has_kinks(activation: Activation) -> bool:
    """Whether σ or σ' jumps where the derivatives given do not say so: the kinks of one's own activation."""
    with np.errstate(all="ignore"):
        return inconsistency(activation.derivatives, _pieces(activation)[0]) > _KINK


_KINK = 1e-7

_OWN_STRIP = 0.3
"""Of the shortest piece: where two ellipses of parameter 2.3, about pieces of that length, meet."""


def activation_data(
    record: Record, activation: Activation | None, closed: int, slow: bool, table: float
) -> np.ndarray:
    """The data of `expansion_tables` for one unit; the activation is None for the constant 1.

    closed   address of the closed pair kernel between units that have one, 0 if this one has none
    slow     whether a series is cheaper than that kernel
    table    the field `units.TABLE` that the kernel expects
    """
    edges, error, step = _pieces(activation)
    strip, scattered = record.strip, False
    if strip is None:
        strip = 0.0
        if error == 0.0:  # Pieces are resolved by 32 Legendre coefficients: analytic in an ellipse about each
            inner = edges[np.abs(edges) <= RANGE]
            strip, scattered = _OWN_STRIP * float(np.diff(inner).min()), True
    strip = strip if strip < math.inf else 0.0
    block = abi.compile_function(record.block, abi.ACTIVATION) if activation is None else activation
    head = [block.address, closed, table, slow, record.jump, strip, scattered, error, step, edges.size]
    assert len(head) == FIRST_EDGE
    return np.concatenate([head, edges])


def _doubles(address: float, count: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_double * count).from_address(int(address)))


def diverges(records: np.ndarray) -> bool:
    """Whether the square of some unit's activation, or of a derivative, has no finite expectation."""
    return any(not _doubles(record[TABLE], HEADER)[ERROR] < math.inf for record in records)


def pair_errors(records: np.ndarray, every: int) -> np.ndarray:
    """The error bounds of K and ∂K of all pairs as `pairs.roads` recorded them, shape (2, units, every).

    records (units, FIELDS) of the units whose pairs with `every` unit were decided.
    """
    decisions = _doubles(_doubles(records[0, TABLE], HEADER)[DECISIONS], len(records) * every * DECISION)
    bounds = decisions.reshape(len(records), every, DECISION)[..., [VALUE_ERROR, SLOPE_ERROR]]
    return np.moveaxis(np.nan_to_num(bounds, nan=np.inf), -1, 0)
