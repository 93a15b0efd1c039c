"""What single samples say: outputs, their Jacobian and its mean squares, and each sample's own gradient."""

from __future__ import annotations

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


def samples(descriptor, theta, v, outputs, gradient, matrix):
    """f(x_s) in `outputs` (N, o) and ∇ℓ_s in `matrix` (N, P), those that are not null (`abi.KERNEL`).

    ℓ_s carries the sample's weight: the descriptor should name weights of one. One thread.
    """
    count, layers, size = word(descriptor, nb.COUNT), word(descriptor, nb.LAYERS), word(descriptor, nb.SIZE)
    block = word(descriptor, nb.BLOCK)
    longest, doubles = padded(min(block, count)), padded(matrices_size(descriptor))
    head = padded(nb.TABLE_WORDS * (layers + 1))
    table = allocate(head + 2 * doubles + place_rows(descriptor, 0, 0, longest, 1, False))
    if table == 0:
        spoil(outputs, count * layer(descriptor, layers - 1, nb.OUT))
        spoil(matrix, count * size)
        return
    rows = table + 8 * (head + 2 * doubles)
    pack(descriptor, theta, table + 8 * head)
    place_matrices(descriptor, table, nb.MATRIX, table + 8 * head)
    place_matrices(descriptor, table, nb.GRADIENT, table + 8 * (head + doubles))
    clear(table + 8 * (head + doubles), doubles)
    order = 1 if matrix != 0 else 0
    width, factor = layer(descriptor, layers - 1, nb.OUT), derivative_factor(descriptor)
    for position in range(0, count, block):
        valid = min(block, count - position)
        length = padded(valid)
        place_rows(descriptor, table, rows, length, 1, False)
        load_block(descriptor, table, position, valid, length)
        forward(descriptor, table, length, order)
        if outputs != 0:
            f = get(table, layers - 1, nb.DELTA)
            for s in range(valid):
                for i in range(width):
                    store(outputs, (position + s) * width + i, load(f, i * length + s))
        if order > 0:
            output_loss(descriptor, table, length)
            backward(descriptor, table, length, 1)
            for l in range(layers):
                delta, h, stride = (
                    get(table, l, nb.DELTA),
                    get(table, l, nb.INPUT),
                    get(table, l, nb.INPUT_STRIDE),
                )
                for i in range(layer(descriptor, l, nb.OUT)):
                    for j in range(columns(descriptor, l)):
                        k = flat_index(descriptor, l, i, j)
                        for s in range(valid):
                            value = factor * load(delta, i * length + s) * load(h, j * stride + s)
                            store(matrix, (position + s) * size + k, value)
    release(table)


def jacobian(descriptor, theta, v, outputs, gradient, matrix):
    """f in `outputs` (o, N) and its Jacobian in `matrix` (P, o, N), both output by output (`abi.KERNEL`).

    One backward sweep per output, from δ = 1: no residual divides and none vanishes. One thread.
    """
    count, layers = word(descriptor, nb.COUNT), word(descriptor, nb.LAYERS)
    block = word(descriptor, nb.BLOCK)
    longest, doubles = padded(min(block, count)), padded(matrices_size(descriptor))
    head = padded(nb.TABLE_WORDS * (layers + 1))
    table = allocate(head + 2 * doubles + place_rows(descriptor, 0, 0, longest, 1, False))
    width = layer(descriptor, layers - 1, nb.OUT)
    if table == 0:
        spoil(outputs, width * count)
        spoil(matrix, word(descriptor, nb.SIZE) * width * count)
        return
    rows = table + 8 * (head + 2 * doubles)
    pack(descriptor, theta, table + 8 * head)
    place_matrices(descriptor, table, nb.MATRIX, table + 8 * head)
    place_matrices(descriptor, table, nb.GRADIENT, table + 8 * (head + doubles))
    clear(table + 8 * (head + doubles), doubles)
    for position in range(0, count, block):
        valid = min(block, count - position)
        length = padded(valid)
        place_rows(descriptor, table, rows, length, 1, False)
        load_block(descriptor, table, position, valid, length)
        forward(descriptor, table, length, 1)
        last = get(table, layers - 1, nb.DELTA)
        for o in range(width):
            for s in range(valid):
                store(outputs, o * count + position + s, load(last, o * length + s))
        for o in range(width):
            clear(last, width * length)
            for s in range(length):
                store(last, o * length + s, 1.0)
            backward(descriptor, table, length, 1)
            for l in range(layers):
                delta, h, stride = (
                    get(table, l, nb.DELTA),
                    get(table, l, nb.INPUT),
                    get(table, l, nb.INPUT_STRIDE),
                )
                for i in range(layer(descriptor, l, nb.OUT)):
                    for j in range(columns(descriptor, l)):
                        column = (flat_index(descriptor, l, i, j) * width + o) * count + position
                        for s in range(valid):
                            store(matrix, column + s, load(delta, i * length + s) * load(h, j * stride + s))
    release(table)


def squares(descriptor, theta, v, outputs, gradient, matrix):
    """Σ_s w_s (∂f_o(x_s)/∂θ_i)² in `matrix` (o, P), and Σ_s w_s in `outputs` (`abi.KERNEL`). One thread."""
    count, layers, size = word(descriptor, nb.COUNT), word(descriptor, nb.LAYERS), word(descriptor, nb.SIZE)
    block = word(descriptor, nb.BLOCK)
    longest, doubles = padded(min(block, count)), padded(matrices_size(descriptor))
    head = padded(nb.TABLE_WORDS * (layers + 1))
    table = allocate(head + 2 * doubles + place_rows(descriptor, 0, 0, longest, 1, False))
    width = layer(descriptor, layers - 1, nb.OUT)
    if table == 0:
        spoil(outputs, 1)
        spoil(matrix, width * size)
        return
    rows = table + 8 * (head + 2 * doubles)
    pack(descriptor, theta, table + 8 * head)
    place_matrices(descriptor, table, nb.MATRIX, table + 8 * head)
    place_matrices(descriptor, table, nb.GRADIENT, table + 8 * (head + doubles))
    clear(table + 8 * (head + doubles), doubles)
    clear(matrix, width * size)
    total = 0.0
    for position in range(0, count, block):
        valid = min(block, count - position)
        length = padded(valid)
        place_rows(descriptor, table, rows, length, 1, False)
        total += load_block(descriptor, table, position, valid, length)
        weights = get(table, layers, nb.SAMPLE_WEIGHTS)
        forward(descriptor, table, length, 1)
        last = get(table, layers - 1, nb.DELTA)
        for o in range(width):
            clear(last, width * length)
            for s in range(length):
                store(last, o * length + s, 1.0)
            backward(descriptor, table, length, 1)
            for l in range(layers):
                delta, h, stride = (
                    get(table, l, nb.DELTA),
                    get(table, l, nb.INPUT),
                    get(table, l, nb.INPUT_STRIDE),
                )
                for i in range(layer(descriptor, l, nb.OUT)):
                    for j in range(columns(descriptor, l)):
                        k = o * size + flat_index(descriptor, l, i, j)
                        found = 0.0
                        for s in range(valid):
                            slope = load(delta, i * length + s) * load(h, j * stride + s)
                            found += load(weights, s) * slope * slope
                        store(matrix, k, load(matrix, k) + found)
    store(outputs, 0, total)
    release(table)
