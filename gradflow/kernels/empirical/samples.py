"""What single samples say: outputs, their Jacobian and its mean squares, and each sample's own gradient."""

from __future__ import annotations

from ..math.abi import inner_jit
from ..math.memory import allocate, clear, load, release, spoil, store, word
from . import network_blocks as nb
from .network_blocks import (
    backward,
    columns,
    derivative_factor,
    flat_index,
    forward,
    get,
    layer,
    load_block,
    matrices_size,
    output_loss,
    pack,
    padded,
    place_matrices,
    place_rows,
)


@inner_jit
def _begin(descriptor, theta):
    """The table of a run over all samples with θ's matrices, and where a block's rows go; or zeros."""
    longest = padded(min(word(descriptor, nb.BLOCK), word(descriptor, nb.COUNT)))
    doubles = padded(matrices_size(descriptor))
    head = padded(nb.TABLE_WORDS * (word(descriptor, nb.LAYERS) + 1))
    table = allocate(head + 2 * doubles + place_rows(descriptor, 0, 0, longest, 1, False))
    if table == 0:
        return 0, 0
    pack(descriptor, theta, table + 8 * head)
    place_matrices(descriptor, table, nb.MATRIX, table + 8 * head)
    place_matrices(descriptor, table, nb.GRADIENT, table + 8 * (head + doubles))
    clear(table + 8 * (head + doubles), doubles)
    return table, table + 8 * (head + 2 * doubles)


@inner_jit
def _next(descriptor, table, rows, position, order):
    """The block that begins at a sample, forwards: how many samples, padded, and the sum of their weights."""
    valid = min(word(descriptor, nb.BLOCK), word(descriptor, nb.COUNT) - position)
    length = padded(valid)
    place_rows(descriptor, table, rows, length, 1, False)
    total = load_block(descriptor, table, position, valid, length)
    forward(descriptor, table, length, order)
    return valid, length, total


@inner_jit
def _slopes(descriptor, table, position, valid, length, matrix, squared):
    """∂f_o(x_s)/∂θ_k of a block by one backward sweep per output, from δ = 1.

    In `matrix` (P, o, N), or `squared`, times the weights and summed, added to `matrix` (o, P).
    """
    count, layers, size = word(descriptor, nb.COUNT), word(descriptor, nb.LAYERS), word(descriptor, nb.SIZE)
    width, last = layer(descriptor, layers - 1, nb.OUT), get(table, layers - 1, nb.DELTA)
    weights = get(table, layers, nb.SAMPLE_WEIGHTS)
    for o in range(width):
        clear(last, width * length)
        for s in range(length):
            store(last, o * length + s, 1.0)
        backward(descriptor, table, length, 1)
        for l in range(layers):
            delta, h, stride = (get(table, l, nb.DELTA), get(table, l, nb.INPUT),
                                get(table, l, nb.INPUT_STRIDE))  # fmt: skip
            for i in range(layer(descriptor, l, nb.OUT)):
                for j in range(columns(descriptor, l)):
                    k = flat_index(descriptor, l, i, j)
                    if squared:
                        found = 0.0
                        for s in range(valid):
                            slope = load(delta, i * length + s) * load(h, j * stride + s)
                            found += load(weights, s) * slope * slope
                        store(matrix, o * size + k, load(matrix, o * size + k) + found)
                    else:
                        column = (k * width + o) * count + position
                        for s in range(valid):
                            store(matrix, column + s, load(delta, i * length + s) * load(h, j * stride + s))


def samples(descriptor, theta, v, outputs, gradient, matrix):
    """f(x_s) in `outputs` (N, o) and ∇ℓ_s in `matrix` (N, P), those that are not null (`abi.KERNEL`).

    ℓ_s carries the sample's weight: the descriptor should name weights of one. One thread.
    """
    count, layers, size = word(descriptor, nb.COUNT), word(descriptor, nb.LAYERS), word(descriptor, nb.SIZE)
    width, factor = layer(descriptor, layers - 1, nb.OUT), derivative_factor(descriptor)
    table, rows = _begin(descriptor, theta)
    if table == 0:
        spoil(outputs, count * width)
        spoil(matrix, count * size)
        return
    order = 1 if matrix != 0 else 0
    for position in range(0, count, word(descriptor, nb.BLOCK)):
        valid, length, _ = _next(descriptor, table, rows, position, order)
        if outputs != 0:
            f = get(table, layers - 1, nb.DELTA)
            for s in range(valid):
                for i in range(width):
                    store(outputs, (position + s) * width + i, load(f, i * length + s))
        if order > 0:
            output_loss(descriptor, table, length)
            backward(descriptor, table, length, 1)
            for l in range(layers):
                delta, h, stride = (get(table, l, nb.DELTA), get(table, l, nb.INPUT),
                                    get(table, l, nb.INPUT_STRIDE))  # fmt: skip
                for i in range(layer(descriptor, l, nb.OUT)):
                    for j in range(columns(descriptor, l)):
                        k = flat_index(descriptor, l, i, j)
                        for s in range(valid):
                            value = factor * load(delta, i * length + s) * load(h, j * stride + s)
                            store(matrix, (position + s) * size + k, value)
    release(table)


def jacobian(descriptor, theta, v, outputs, gradient, matrix):
    """f in `outputs` (o, N) and its Jacobian in `matrix` (P, o, N), both output by output (`abi.KERNEL`).

    No residual divides and none vanishes. One thread.
    """
    count, layers = word(descriptor, nb.COUNT), word(descriptor, nb.LAYERS)
    width = layer(descriptor, layers - 1, nb.OUT)
    table, rows = _begin(descriptor, theta)
    if table == 0:
        spoil(outputs, width * count)
        spoil(matrix, word(descriptor, nb.SIZE) * width * count)
        return
    for position in range(0, count, word(descriptor, nb.BLOCK)):
        valid, length, _ = _next(descriptor, table, rows, position, 1)
        last = get(table, layers - 1, nb.DELTA)
        for o in range(width):
            for s in range(valid):
                store(outputs, o * count + position + s, load(last, o * length + s))
        _slopes(descriptor, table, position, valid, length, matrix, False)
    release(table)


def squares(descriptor, theta, v, outputs, gradient, matrix):
    """Σ_s w_s (∂f_o(x_s)/∂θ_i)² in `matrix` (o, P), and Σ_s w_s in `outputs` (`abi.KERNEL`). One thread."""
    count, size = word(descriptor, nb.COUNT), word(descriptor, nb.SIZE)
    width = layer(descriptor, word(descriptor, nb.LAYERS) - 1, nb.OUT)
    table, rows = _begin(descriptor, theta)
    if table == 0:
        spoil(outputs, 1)
        spoil(matrix, width * size)
        return
    clear(matrix, width * size)
    total = 0.0
    for position in range(0, count, word(descriptor, nb.BLOCK)):
        valid, length, weight = _next(descriptor, table, rows, position, 1)
        total += weight
        _slopes(descriptor, table, position, valid, length, matrix, True)
    store(outputs, 0, total)
    release(table)
