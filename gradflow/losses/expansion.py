"""Activations without a closed form, as `kernels.pairs.expansion_tables` wants them."""

from __future__ import annotations

import ctypes
import math
from functools import cache

import numpy as np
from numba import carray

from ..activations import ACTIVATIONS, Activation
from ..kernels.activation_blocks import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE
from ..kernels.math import abi
from ..kernels.pairs.expansion_tables import DECISIONS, ERROR, FIRST_EDGE, HEADER
from ..kernels.pairs.pieces import RANGE, inconsistency, pieces
from ..kernels.pairs.roads import DECISION, SLOPE_ERROR, VALUE_ERROR
from ..kernels.pairs.units import TABLE

_STRIPS = {
    "softplus": math.pi,
    "sigmoid": math.pi,
    "silu": math.pi,
    "tanh": 0.5 * math.pi,
    "g": 0.25 * math.pi,
}
"""Distance of the nearest pole from the real axis."""

_JUMPS = {"relu": 1.0, "leaky_relu": 1.0 - LEAKY_SLOPE, "selu": SELU_SCALE * (1.0 - SELU_ALPHA)}
"""σ'(0+) − σ'(0−)."""


def _one(n, order, z, value, first, second):
    """The constant 1, an activation like others."""
    values = carray(abi.as_pointer(value), n, np.float64)
    firsts = carray(abi.as_pointer(first), n, np.float64)
    seconds = carray(abi.as_pointer(second), n, np.float64)
    for i in range(n):
        values[i] = 1.0
        if order > 0:
            firsts[i] = 0.0
        if order > 1:
            seconds[i] = 0.0


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


def activation_data(activation: Activation | None, closed: int, slow: bool, table: float) -> np.ndarray:
    """The data of `expansion_tables` for one unit; None is the constant 1.

    closed   address of the closed pair kernel between units that have one, 0 if this one has none
    slow     whether a series is cheaper than that kernel
    table    the field `units.TABLE` that the kernel expects
    """
    edges, error, step = _pieces(activation)
    name = "" if activation is None else activation.name
    strip, scattered = _STRIPS.get(name, 0.0), False
    if activation is not None and name not in ACTIVATIONS and error == 0.0:
        # Pieces are resolved by 32 Legendre coefficients: σ is analytic in an ellipse about each.
        inner = edges[np.abs(edges) <= RANGE]
        strip, scattered = _OWN_STRIP * float(np.diff(inner).min()), True
    address = abi.compile_function(_one, abi.ACTIVATION).address if activation is None else activation.address
    head = [
        address, closed, table, slow, _JUMPS.get(name, 0.0), strip, scattered, error, step, edges.size
    ]  # fmt: skip
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
