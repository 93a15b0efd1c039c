"""Where every hidden neuron stands on every sample, and what the loss has of it: z and ∂L/∂h."""

from __future__ import annotations

from ..math.memory import allocate, clear, load, release, spoil, store, word
from . import network_blocks as nb
from .network_blocks import (
    add_penalty,
    columns,
    derivative_factor,
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
    unpack,
)
from .tiles import combine, gram, hadamard


def states(descriptor, theta, v, loss, gradient, matrix):
    """L, ∇L, and z and ∂L/∂h of all hidden neurons (H, N) in `matrix`, one after the other (`abi.KERNEL`).

    h are the outputs of the neurons. All three at once; one thread.
    """
    count, layers, size = word(descriptor, nb.COUNT), word(descriptor, nb.LAYERS), word(descriptor, nb.SIZE)
    block = word(descriptor, nb.BLOCK)
    longest, doubles = padded(min(block, count)), padded(matrices_size(descriptor))
    head = padded(nb.TABLE_WORDS * (layers + 1))
    table = allocate(head + 2 * doubles + place_rows(descriptor, 0, 0, longest, 1, False))
    if table == 0:
        spoil(loss, 1)
        spoil(gradient, size)
        return
    rows = table + 8 * (head + 2 * doubles)
    sums = table + 8 * (head + doubles)
    pack(descriptor, theta, table + 8 * head)
    place_matrices(descriptor, table, nb.MATRIX, table + 8 * head)
    place_matrices(descriptor, table, nb.GRADIENT, sums)
    clear(sums, doubles)
    hidden = 0
    for l in range(layers - 1):
        hidden += layer(descriptor, l, nb.OUT)
    slopes = matrix + 8 * hidden * count
    total, weight = 0.0, 0.0
    for position in range(0, count, block):
        valid = min(block, count - position)
        length = padded(valid)
        place_rows(descriptor, table, rows, length, 1, False)
        weight += load_block(descriptor, table, position, valid, length)
        forward(descriptor, table, length, 1)
        first = 0
        for l in range(layers - 1):
            z = get(table, l, nb.DELTA)
            for i in range(layer(descriptor, l, nb.OUT)):
                for s in range(valid):
                    store(matrix, (first + i) * count + position + s, load(z, i * length + s))
            first += layer(descriptor, l, nb.OUT)
        total += output_loss(descriptor, table, length)
        spare = get(table, layers, nb.SPARE)
        for back in range(layers):
            l = layers - 1 - back
            n, width = columns(descriptor, l), layer(descriptor, l, nb.OUT)
            delta = get(table, l, nb.DELTA)
            gram(delta, length, width, get(table, l, nb.INPUT), get(table, l, nb.INPUT_STRIDE), n,
                 length, get(table, l, nb.GRADIENT), n, spare, False)  # fmt: skip
            if l > 0:
                below, inputs = get(table, l - 1, nb.DELTA), layer(descriptor, l, nb.IN)
                combine(get(table, l, nb.MATRIX), 1, n, inputs, width, delta, length,
                        below, length, length, 0, 0, length)  # fmt: skip
                first -= inputs
                for i in range(inputs):
                    for s in range(valid):
                        store(slopes, (first + i) * count + position + s, load(below, i * length + s))
                hadamard(below, get(table, l - 1, nb.SLOPE), below, inputs * length)
    scale = derivative_factor(descriptor) / weight
    for k in range(hidden * count):
        store(slopes, k, scale * load(slopes, k))
    store(loss, 0, total / weight)
    unpack(descriptor, sums, scale, gradient)
    add_penalty(descriptor, theta, loss, gradient)
    release(table)
