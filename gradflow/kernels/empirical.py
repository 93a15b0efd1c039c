"""Kernels of the empirical loss: value, gradient and Hessian in one pass, and products with the Hessian.

    L(θ) = Σ_s w_s Σ_o (f_o(x_s) − y_so)² / Σ_s w_s

Samples are split into chunks whose size depends on counts alone; each chunk has its own partial sums,
which are added in the order of the chunks, so the result does not depend on the number of threads.
A chunk is worked through in blocks that stay in the caches (`network_blocks`).
"""

from __future__ import annotations

from .abi import inner_jit
from .empirical_hessian import add_hessian_block, hessian_doubles, place_hessian_rows, scatter_hessian
from .memory import allocate, clear, load, release, store, word
from .network_blocks import (
    BLOCK,
    BLOCK_HESSIAN,
    CHUNK,
    CHUNK_HESSIAN,
    COUNT,
    GRADIENT,
    KIND,
    LAYERS,
    MATRIX,
    SIZE,
    SQUARED,
    TABLE_WORDS,
    add_penalty,
    backward,
    forward,
    load_block,
    matrices_size,
    output_loss,
    pack,
    padded,
    place_matrices,
    place_rows,
    unpack,
)


@inner_jit
def _run_chunk(descriptor, order, first, last, block, matrices, sums, scratch):
    """Add samples first … last to `sums`: loss, weight, gradient matrices, Hessian sums."""
    layers = word(descriptor, LAYERS)
    table = scratch
    rows = scratch + 8 * TABLE_WORDS * (layers + 1)
    place_matrices(descriptor, table, MATRIX, matrices)
    place_matrices(descriptor, table, GRADIENT, sums + 16)
    hessian_sums = sums + 16 + 8 * matrices_size(descriptor)
    loss, weight = 0.0, 0.0
    for position in range(first, last, block):
        valid = min(block, last - position)
        length = padded(valid)
        used = place_rows(descriptor, table, rows, length, order, False)
        weight += load_block(descriptor, table, position, valid, length)
        forward(descriptor, table, length, order)
        loss += output_loss(descriptor, table, length)
        if order > 0:
            backward(descriptor, table, length, order)
        if order > 1:
            add_hessian_block(descriptor, table, rows + 8 * used, length, hessian_sums)
    store(sums, 0, loss)
    store(sums, 1, weight)


def derivatives(descriptor, theta, v, loss, gradient, matrix):
    """L, ∇L and ∇²L, those whose addresses are not null (`abi.KERNEL`)."""
    order = 2 if matrix != 0 else (1 if gradient != 0 else 0)
    block = word(descriptor, BLOCK_HESSIAN if order == 2 else BLOCK)
    chunk = word(descriptor, CHUNK_HESSIAN if order == 2 else CHUNK)
    count, layers = word(descriptor, COUNT), word(descriptor, LAYERS)
    chunks = (count + chunk - 1) // chunk
    matrices_doubles = matrices_size(descriptor)
    sums_doubles = 2 + matrices_doubles + (hessian_doubles(descriptor) if order == 2 else 0)
    table_doubles = TABLE_WORDS * (layers + 1)
    longest = padded(min(block, count))
    table = allocate(table_doubles)
    scratch_doubles = table_doubles + place_rows(descriptor, table, 0, longest, order, False)
    if order == 2:
        scratch_doubles += place_hessian_rows(descriptor, longest)
    release(table)

    memory = allocate(matrices_doubles + chunks * sums_doubles + scratch_doubles + 24)
    matrices = memory + 0
    sums = matrices + 8 * padded(matrices_doubles)
    scratch = sums + 8 * padded(chunks * sums_doubles)
    pack(descriptor, theta, matrices)
    clear(sums, chunks * sums_doubles)
    for c in range(chunks):
        _run_chunk(descriptor, order, c * chunk, min(count, (c + 1) * chunk), block, matrices,
                   sums + 8 * c * sums_doubles, scratch)  # fmt: skip
    for c in range(1, chunks):
        for k in range(sums_doubles):
            store(sums, k, load(sums, k) + load(sums, c * sums_doubles + k))
    weight = load(sums, 1)
    scale = 2.0 / weight if word(descriptor, KIND) == SQUARED else 1.0 / weight
    if loss != 0:
        store(loss, 0, load(sums, 0) / weight)
    if gradient != 0:
        unpack(descriptor, sums + 16, scale, gradient)
    diagonal, outer = add_penalty(descriptor, theta, loss, gradient)
    if matrix != 0:
        scatter_hessian(descriptor, sums + 16 + 8 * matrices_doubles, scale, matrix)
        size = word(descriptor, SIZE)
        if diagonal != 0.0:
            for p in range(size):
                store(matrix, p * size + p, load(matrix, p * size + p) + diagonal)
        if outer != 0.0:
            for p in range(size):
                for q in range(size):
                    product = load(theta, p) * load(theta, q)
                    store(matrix, p * size + q, load(matrix, p * size + q) + outer * product)
    release(memory)
