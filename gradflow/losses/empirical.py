"""The empirical loss: a network on samples, as compiled kernels with exact derivatives."""

from __future__ import annotations

import numpy as np

from .._validate import real_array
from ..errors import ArgumentError
from ..kernels import abi
from ..kernels import network_blocks as nb
from ..kernels.empirical import derivatives
from ..kernels.empirical_product import product
from ..networks import MLP
from .base import KernelLoss

_CACHE_BYTES = 160 * 1024  # what the rows of a block may take: they are read several times
_CACHE_BYTES_HESSIAN = 512 * 1024
_CHUNKS = 64  # at most so many partial sums


class EmpiricalLoss(KernelLoss):
    """L(θ) = Σ_s w_s Σ_o (f_o(x_s) − y_so)² / Σ_s w_s for an MLP f; no ½, w = 1 unless given.

    student        gives the shape, the biases and the activations; its parameters do not matter
    X              Float[Array, "samples features"]
    targets        Float[Array, "samples outputs"]; (samples,) will do for one output
    sample_weight  Float[Array, "samples"], ≥ 0 and not all zero, or None

    θ is flat as in `MLP.flat`. The data are copied once, feature by feature. Raises `ArgumentError`.
    """

    def __init__(self, student: MLP, X, targets, sample_weight=None):
        X = real_array("X", X, 2)
        sizes = student.sizes
        if X.shape[0] == 0 or X.shape[1] != sizes[0]:
            raise ArgumentError("X", f"shape {X.shape}", f"shape (samples, {sizes[0]}) with at least one sample")
        count = X.shape[0]
        targets = real_array("targets", targets, (1, 2))
        if targets.ndim == 1:
            targets = targets[:, None]
        if targets.shape != (count, sizes[-1]):
            raise ArgumentError("targets", f"shape {targets.shape}", f"shape {(count, sizes[-1])}")
        weights = _weights(sample_weight, count)

        inputs = _feature_rows(X, ones=True)
        stride = inputs.shape[1]
        rows = _feature_rows(targets, ones=False)
        words, addresses = _layers(student)
        penalty = np.array([0.0, np.inf])
        header = np.zeros(nb.LAYER, np.int64)
        header[nb.LAYERS] = len(student.weights)
        header[nb.SIZE] = student.size
        header[nb.COUNT] = count
        header[nb.INPUTS] = inputs.ctypes.data
        header[nb.STRIDE] = stride
        header[nb.TARGETS] = rows.ctypes.data
        header[nb.WEIGHTS] = weights.ctypes.data
        header[nb.KIND] = nb.SQUARED
        header[nb.PENALTY] = penalty.ctypes.data
        descriptor = np.concatenate([header, words])
        groups = nb.LAYER + nb.LAYER_WORDS * len(student.weights)
        descriptor[groups:] = addresses
        _choose_blocks(descriptor, student, count)
        super().__init__(
            student.size,
            abi.compile_function(derivatives).address,
            abi.compile_function(product).address,
            descriptor,
            (inputs, rows, weights, penalty),
        )


def _weights(given, count: int) -> np.ndarray:
    if given is None:
        return np.ones(count)
    weights = real_array("sample_weight", given, 1)
    if weights.size != count:
        raise ArgumentError("sample_weight", f"shape {weights.shape}", f"one weight per sample: ({count},)")
    if (weights < 0).any() or not weights.sum() > 0:
        raise ArgumentError("sample_weight", f"minimum {weights.min():g}", "≥ 0, not all zero")
    return weights


def _feature_rows(array: np.ndarray, ones: bool) -> np.ndarray:
    """(samples, features) as rows of features, on cache lines, padded with copies of the last sample.

    The distance of the rows is an odd number of cache lines, so that many rows do not meet in one set
    of the cache.
    """
    count, features = array.shape
    stride = nb.PAD * (-(-count // nb.PAD) + 1 | 1)
    total = (features + ones) * stride
    line = 64 // 8
    memory = np.empty(total + line)
    start = -memory.ctypes.data // 8 % line
    rows = memory[start : start + total].reshape(features + ones, stride)
    rows[:features, :count] = array.T
    rows[:features, count:] = array[-1][:, None]
    rows[features:] = 1.0
    return rows


def _layers(student: MLP) -> tuple[np.ndarray, np.ndarray]:
    """The layers' words of a descriptor, and the groups of neurons of equal activation behind them."""
    layers = len(student.weights)
    words = np.zeros((layers, nb.LAYER_WORDS), np.int64)
    groups: list[int] = []
    first = 0
    for l, (W, b) in enumerate(zip(student.weights, student.biases)):
        start, before = nb.LAYER + words.size + len(groups), len(groups)
        if l + 1 < layers:
            entry = student.activations[l]
            neurons = entry if isinstance(entry, tuple) else (entry,) * W.shape[0]
            i = 0
            while i < len(neurons):
                k = i
                while k < len(neurons) and neurons[k] is neurons[i]:
                    k += 1
                groups += [i, k - i, neurons[i].address]
                i = k
        words[l] = (W.shape[1], W.shape[0], b is not None, first, start, (len(groups) - before) // 3)
        first += W.size + (0 if b is None else b.size)
    return np.concatenate([words.ravel(), np.zeros(len(groups), np.int64)]), np.array(groups, np.int64)


def _choose_blocks(descriptor: np.ndarray, student: MLP, count: int) -> None:
    """Block and chunk lengths from sizes and counts alone; blocks are an odd number of cache lines."""
    widths = student.sizes[1:]
    rows = sum(4 * n for n in widths) + student.sizes[0]
    block = _block(_CACHE_BYTES // (8 * rows))
    hessian = _block(_CACHE_BYTES_HESSIAN // (8 * (rows + student.size)))
    descriptor[nb.BLOCK] = block
    descriptor[nb.BLOCK_HESSIAN] = hessian
    descriptor[nb.CHUNK] = block * -(-(-(-count // block)) // _CHUNKS)
    descriptor[nb.CHUNK_HESSIAN] = hessian * -(-count // hessian)


def _block(samples: int) -> int:
    return next((length for length in (504, 248, 120, 56) if length <= samples), 24)
