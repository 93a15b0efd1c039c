"""Activations without a closed form, as `kernels.expansion_tables` wants them."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numba import carray

from ..activations import Activation
from ..kernels import abi
from ..kernels.activation_blocks import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE
from ..kernels.expansion_tables import FIRST_EDGE
from ..kernels.pieces import pieces

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
def _pieces(activation: Activation | None) -> tuple[np.ndarray, float]:
    if activation is None:
        return np.zeros(1), 0.0
    return pieces(activation.derivatives)


def activation_data(activation: Activation | None, closed: int, table: float) -> np.ndarray:
    """The data of `expansion_tables` for one unit; None is the constant 1.

    closed   address of the closed pair kernel between units that have one, 0 if this one has none
    table    the field `units.TABLE` that the kernel expects
    """
    edges, error = _pieces(activation)
    name = "" if activation is None else activation.name
    address = abi.compile_function(_one, abi.ACTIVATION).address if activation is None else activation.address
    head = [
        address, closed, table, _JUMPS.get(name, 0.0), _STRIPS.get(name, 0.0), error, edges.size
    ]  # fmt: skip
    assert len(head) == FIRST_EDGE
    return np.concatenate([head, edges])
