"""Activations without a closed form, as `kernels.pairs.expansion_tables` wants them."""

from __future__ import annotations

import ctypes
import math
from functools import cache

import numpy as np
from numba import carray

from ..activations import Activation
from ..kernels.activation_blocks import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE
from ..kernels.math import abi
from ..kernels.math.hermite import CHUNK
from ..kernels.pairs.close import quadrature_error
from ..kernels.pairs.expansion_tables import (
    CLOSED,
    COMPLETE,
    COUNT,
    DATA,
    ERROR,
    FIRST_EDGE,
    HEADER,
    JUMP,
    LONG,
    MEAN_SQUARE,
    NARROWEST,
    ORDERS,
    STRIP,
)
from ..kernels.pairs.pieces import inconsistency, pieces
from ..kernels.pairs.units import NORM, TABLE

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
    with np.errstate(all="ignore"):
        edges, error = pieces(activation.derivatives)
        if activation.name not in _JUMPS:
            error = max(error, inconsistency(activation.derivatives, edges))
    return edges, error


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


ROUNDING = 2e-15
"""What rounding contributes to the error of a kernel, whatever the activation."""

_LEVELS = ORDERS // CHUNK


def _doubles(address: float, count: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_double * count).from_address(int(address)))


def _tails(record: np.ndarray) -> tuple:
    """Norms of what coefficients beyond each multiple of CHUNK hold, (3, levels), and: the head's
    error and count; whether it is closed; whether it is complete; the strip a/r.

    The rows are those of σ, r σ', r² σ'', over √E σ². What lies beyond the last coefficient follows from the
    last two chunks, taken as geometric, and from Bessel: Σ c_n² may fall short of E σ² by rounding only.
    """
    r, head = record[NORM], _doubles(record[TABLE], HEADER)
    count, data = int(head[COUNT]), _doubles(head[DATA], FIRST_EDGE)
    arrays = _doubles(record[TABLE] + 8 * HEADER, 3 * count).reshape(3, count)
    scale = math.sqrt(head[MEAN_SQUARE]) or 1.0
    tails = np.zeros((3, _LEVELS + 1))
    for f in range(3):
        energy = np.add.reduceat(arrays[f] ** 2, np.arange(0, count, CHUNK))
        last, before = energy[-1], energy[-2] if energy.size > 1 else 0.0
        ratio = min(0.99, last / before) if before > 0.0 else 0.0
        beyond = last * ratio / (1.0 - ratio)
        whole = head[MEAN_SQUARE + f]
        if f < 2 or data[JUMP] == 0.0:
            missing = abs(whole - energy.sum())
            beyond = max(beyond, missing if missing > 2e-14 * whole else 0.0)
        inside = np.append(np.cumsum(energy[::-1])[::-1], 0.0)
        levels = np.sqrt(inside + beyond)
        tails[f, : levels.size] = levels
        tails[f, levels.size :] = levels[-1]
        tails[f] *= r**f / scale
    strip = data[STRIP] / r if r > 0.0 else math.inf
    return tails, float(head[ERROR]), count, data[CLOSED] != 0.0, head[COMPLETE] != 0.0, strip


def diverges(records: np.ndarray) -> bool:
    """Whether the square of some unit's activation, or of a derivative, has no finite expectation."""
    return any(not _doubles(record[TABLE], HEADER)[ERROR] < math.inf for record in records)


def expansion_error(records: np.ndarray, cosines: np.ndarray) -> float:
    """The largest estimated error of the kernels of units and of their first derivatives.

    records (units, FIELDS) after `expansion_tables.expand`; cosines (units, units) between them. Relative to
    √(K(w,w) K(w',w')), for derivatives over |w|. A sum that ends after N terms misses Σ_{n≥N} f_n g_n uⁿ, at
    most |u|^N times the norms of both tails (Cauchy–Schwarz).
    """
    found = [_tails(record) for record in records]
    tails = np.stack([f[0] for f in found])
    errors, closed = np.array([f[1] for f in found]), np.array([f[3] for f in found])
    counts = np.array([f[2] for f in found])
    u = np.minimum(np.abs(cosines), 1.0)
    with np.errstate(divide="ignore"):
        wanted = np.ceil(-38.0 / np.log(np.clip(u, 0.3, 1.0 - 1e-16)) / CHUNK) * CHUNK
    used = np.minimum(np.minimum(counts[:, None], counts[None, :]), wanted).astype(np.int64)
    level = np.minimum(used // CHUNK, _LEVELS)
    mine = tails[np.arange(len(found))[:, None], :, level]
    theirs = tails[np.arange(len(found))[None, :], :, level]
    products = [mine[..., f] * theirs[..., g] for f, g in ((0, 0), (1, 1), (2, 0), (0, 2))]
    missed = u**used * np.max(products, axis=0)
    # pairs that `pairs.close` integrates
    complete, strips = np.array([f[4] for f in found]), np.array([f[5] for f in found])
    both = strips[:, None] + strips[None, :]
    sine = np.sqrt((1.0 - u) * (1.0 + u))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        eta = both / np.maximum(sine, 1e-300)
    close = (u > LONG) & (eta > NARROWEST) & np.isfinite(both)
    shorter = (counts[:, None] <= counts[None, :]) & complete[:, None]
    close &= ~(shorter | shorter.T) & (used < wanted)
    norms = records[:, NORM]
    # measured: 5e-15 √(rr') at norms 1.5 to 9; σ'' is r² times as large as it is wide
    product = norms[:, None] * norms[None, :]
    rounding = np.maximum(6e-15 * np.sqrt(product), 8e-16 * product)
    missed = np.where(close, rounding + quadrature_error(eta), missed)
    np.fill_diagonal(missed, 0.0)
    missed[closed[:, None] & closed[None, :]] = 0.0
    error = float(ROUNDING + missed.max(initial=0.0) + errors[~closed].max(initial=0.0))
    return error if math.isfinite(error) else math.inf
