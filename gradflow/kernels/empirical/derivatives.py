"""Kernels of the empirical loss: value, gradient and Hessian in one pass.

    squared error    L(θ) = Σ_s w_s Σ_o (f_o(x_s) − y_so)² / Σ_s w_s
    cross-entropy    L(θ) = −Σ_s w_s Σ_o y_so log softmax(f(x_s))_o / Σ_s w_s

and, if wanted, λ‖θ‖² and the barrier of `network_blocks.add_penalty`. Samples are split into chunks
(`chunks`), a chunk is worked through in blocks that stay in the caches (`network_blocks`).
"""

from __future__ import annotations

from ..math.abi import inner_jit
from ..math.memory import load, release, spoil, store, word
from ..math.team import NEXT, take
from . import chunks as ck
from . import network_blocks as nb
from .chunks import run_chunks
from .hessian import add_hessian_block, hessian_doubles, hessian_rows, scatter_hessian
from .network_blocks import (
    add_merging,
    add_penalty,
    backward,
    derivative_factor,
    forward,
    load_block,
    matrices_size,
    output_loss,
    padded,
    place_matrices,
    place_rows,
    unpack,
)


@inner_jit
def _run_chunk(descriptor, order, first, last, block, matrices, sums, scratch):
    """Add samples first … last to `sums`: loss, weight, gradient matrices, Hessian sums."""
    table = scratch
    rows = scratch + 8 * nb.TABLE_WORDS * (word(descriptor, nb.LAYERS) + 1)
    place_matrices(descriptor, table, nb.MATRIX, matrices)
    place_matrices(descriptor, table, nb.GRADIENT, sums + 16)
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


def work(task):
    """What every thread does: take chunks until there are none (int64 → int64)."""
    descriptor, chunk = word(task, ck.DESCRIPTOR), word(task, ck.CHUNK_LENGTH)
    scratch = word(task, ck.SCRATCH) + take(task, ck.TICKET) * word(task, ck.SCRATCH_BYTES)
    c = take(task, NEXT)
    while c < word(task, ck.CHUNKS):
        last = min(word(descriptor, nb.COUNT), (c + 1) * chunk)
        sums = word(task, ck.SUMS) + 8 * c * word(task, ck.SUMS_DOUBLES)
        _run_chunk(descriptor, word(task, ck.ORDER), c * chunk, last, word(task, ck.BLOCK_LENGTH),
                   word(task, ck.MATRICES), sums, scratch)  # fmt: skip
        c = take(task, NEXT)
    return 0


def derivatives(descriptor, theta, v, loss, gradient, matrix):
    """L, ∇L and ∇²L, those whose addresses are not null (`abi.KERNEL`)."""
    order = 2 if matrix != 0 else (1 if gradient != 0 else 0)
    block = word(descriptor, nb.BLOCK_HESSIAN if order == 2 else nb.BLOCK)
    chunk = word(descriptor, nb.CHUNK_HESSIAN if order == 2 else nb.CHUNK)
    threads = word(descriptor, nb.THREADS_HESSIAN if order == 2 else nb.THREADS)
    doubles = matrices_size(descriptor)
    longest = padded(min(block, word(descriptor, nb.COUNT)))
    sums_doubles = 2 + doubles
    rows_doubles = place_rows(descriptor, 0, 0, longest, order, False)
    if order == 2:
        sums_doubles += hessian_doubles(descriptor)
        rows_doubles += longest * hessian_rows(descriptor)
    task = run_chunks(word(descriptor, nb.WORKER), descriptor, theta, 0, order, 0, block, chunk, threads,
                      sums_doubles, rows_doubles)  # fmt: skip
    if task == 0:
        spoil(loss, 1)
        spoil(gradient, word(descriptor, nb.SIZE))
        spoil(matrix, word(descriptor, nb.SIZE) ** 2)
        return
    sums = word(task, ck.SUMS)
    weight = load(sums, 1)
    scale = derivative_factor(descriptor) / weight
    if loss != 0:
        store(loss, 0, load(sums, 0) / weight)
    if gradient != 0:
        unpack(descriptor, sums + 16, scale, gradient)
    diagonal, outer = add_penalty(descriptor, theta, loss, gradient)
    if matrix != 0:
        scatter_hessian(descriptor, sums + 16 + 8 * doubles, scale, matrix)
        _add_penalty_hessian(word(descriptor, nb.SIZE), theta, diagonal, outer, matrix)
    strength = add_merging(descriptor, theta, loss, gradient)
    if matrix != 0 and strength != 0.0:
        _add_merging_hessian(descriptor, strength, matrix)
    release(task)


@inner_jit
def _add_penalty_hessian(size, theta, diagonal, outer, matrix):
    if diagonal != 0.0 or outer != 0.0:
        for p in range(size):
            for q in range(size):
                penalty = outer * (load(theta, p) * load(theta, q)) + (diagonal if p == q else 0.0)
                store(matrix, p * size + q, load(matrix, p * size + q) + penalty)


@inner_jit
def _add_merging_hessian(descriptor, strength, matrix):
    size, pairs = word(descriptor, nb.SIZE), word(descriptor, nb.MERGED)
    for k in range(word(descriptor, nb.MERGED_COUNT)):
        a, b = word(pairs, 2 * k), word(pairs, 2 * k + 1)
        for p, q, sign in ((a, a, 1.0), (b, b, 1.0), (a, b, -1.0), (b, a, -1.0)):
            store(matrix, p * size + q, load(matrix, p * size + q) + sign * strength)
