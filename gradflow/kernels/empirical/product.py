"""Products of the Hessian (or of its Gauss-Newton part) with a vector, without forming the matrix.

Pearlmutter's R-operator, R{·} = ∂/∂ε at θ + εv, with V_l the matrices of v:

    R z_l = V_l h_l + W_l R h_l,   R h_{l+1} = σ'_l R z_l,
    R δ_{L−1} = A R z_{L−1},   A the loss's own Hessian,
    R δ_{l−1} = (W_lᵀ R δ_l + V_lᵀ δ_l) σ'_{l−1} + (W_lᵀ δ_l) σ''_{l−1} R z_{l−1},
    (∇²L v)_l = Σ_s R δ_l h_lᵀ + δ_l R h_lᵀ.

The Gauss-Newton product Jᵀ A J v keeps the terms without δ. Source: B. Pearlmutter, Fast exact
multiplication by the Hessian, Neural Computation 6 (1994) 147–160.
"""

from __future__ import annotations

from ..math.abi import inner_jit
from ..math.memory import load, release, spoil, store, word
from ..math.team import NEXT, take
from . import chunks as ck
from . import network_blocks as nb
from .chunks import run_chunks
from .network_blocks import (
    add_merging,
    add_penalty,
    backward,
    columns,
    derivative_factor,
    forward,
    get,
    layer,
    load_block,
    matrices_size,
    output_loss,
    padded,
    place_matrices,
    place_rows,
    unpack,
)
from .tiles import combine, gram, hadamard, multiply_add


@inner_jit
def _forward_direction(descriptor, table, length):
    layers = word(descriptor, nb.LAYERS)
    for l in range(layers):
        n, width = columns(descriptor, l), layer(descriptor, l, nb.OUT)
        r_z = get(table, l, nb.R_OUTPUT)
        combine(get(table, l, nb.DIRECTION), n, 1, width, n, get(table, l, nb.INPUT),
                get(table, l, nb.INPUT_STRIDE), r_z, length, length, 0, 0, 0)  # fmt: skip
        if l > 0:
            combine(get(table, l, nb.MATRIX), n, 1, width, layer(descriptor, l, nb.IN),
                    get(table, l, nb.R_INPUT), length, r_z, length, length, 1, 0, 0)  # fmt: skip
        if l + 1 < layers:
            hadamard(get(table, l, nb.SLOPE), r_z, get(table, l + 1, nb.R_INPUT), width * length)


@inner_jit
def _output_direction(descriptor, table, length):
    """R δ_{L−1} = A R f, with A = w I (without the 2) or w (diag p − p pᵀ)."""
    layers = word(descriptor, nb.LAYERS)
    outputs, squared = layer(descriptor, layers - 1, nb.OUT), word(descriptor, nb.KIND) == nb.SQUARED
    weights, probability = get(table, layers, nb.SAMPLE_WEIGHTS), get(table, layers, nb.PROBABILITY)
    r_f, target = get(table, layers - 1, nb.R_OUTPUT), get(table, layers - 1, nb.R_DELTA)
    for s in range(length):
        mean, weight = 0.0, load(weights, s)
        if not squared:
            for i in range(outputs):
                mean += load(probability, i * length + s) * load(r_f, i * length + s)
        for i in range(outputs):
            k = i * length + s
            spread = 1.0 if squared else load(probability, k)
            store(target, k, weight * spread * (load(r_f, k) - mean))


@inner_jit
def _backward_direction(descriptor, table, length, full):
    """R δ_l and the sums of the product; BEND holds (W_{l+1}ᵀ δ_{l+1}) ∘ σ''_l."""
    layers = word(descriptor, nb.LAYERS)
    spare = get(table, layers, nb.SPARE)
    for back in range(layers):
        l = layers - 1 - back
        n, n_in, width = columns(descriptor, l), layer(descriptor, l, nb.IN), layer(descriptor, l, nb.OUT)
        r_delta, target = get(table, l, nb.R_DELTA), get(table, l, nb.R_GRADIENT)
        delta = get(table, l, nb.DELTA)
        gram(r_delta, length, width, get(table, l, nb.INPUT), get(table, l, nb.INPUT_STRIDE), n,
             length, target, n, spare, False)  # fmt: skip
        if l > 0:
            if full:
                gram(delta, length, width, get(table, l, nb.R_INPUT), length, n_in,
                     length, target, n, spare, False)  # fmt: skip
            below, slope = get(table, l - 1, nb.R_DELTA), get(table, l - 1, nb.SLOPE)
            combine(get(table, l, nb.MATRIX), 1, n, n_in, width, r_delta, length,
                    below, length, length, 0, 0 if full else slope, length)  # fmt: skip
            if full:
                combine(get(table, l, nb.DIRECTION), 1, n, n_in, width, delta, length,
                        below, length, length, 1, slope, length)  # fmt: skip
                multiply_add(get(table, l - 1, nb.BEND), get(table, l - 1, nb.R_OUTPUT), below, n_in * length)


@inner_jit
def _run_chunk(descriptor, order, wanted, first, last, block, matrices, directions, sums, scratch):
    """Add samples first … last to `sums`: loss, weight, gradient matrices, matrices of the product."""
    full = order == 2
    table = scratch
    rows = scratch + 8 * nb.TABLE_WORDS * (word(descriptor, nb.LAYERS) + 1)
    place_matrices(descriptor, table, nb.MATRIX, matrices)
    place_matrices(descriptor, table, nb.DIRECTION, directions)
    place_matrices(descriptor, table, nb.GRADIENT, sums + 16)
    place_matrices(descriptor, table, nb.R_GRADIENT, sums + 16 + 8 * matrices_size(descriptor))
    loss, weight = 0.0, 0.0
    for position in range(first, last, block):
        valid = min(block, last - position)
        length = padded(valid)
        place_rows(descriptor, table, rows, length, order, True)
        weight += load_block(descriptor, table, position, valid, length)
        forward(descriptor, table, length, order)
        _forward_direction(descriptor, table, length)
        loss += output_loss(descriptor, table, length)
        _output_direction(descriptor, table, length)
        if full or wanted != 0:
            backward(descriptor, table, length, order)
        _backward_direction(descriptor, table, length, full)
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
        _run_chunk(descriptor, word(task, ck.ORDER), word(task, ck.WANTED), c * chunk, last,
                   word(task, ck.BLOCK_LENGTH), word(task, ck.MATRICES), word(task, ck.DIRECTIONS),
                   sums, scratch)  # fmt: skip
        c = take(task, NEXT)
    return 0


def product(descriptor, theta, v, loss, gradient, matrix):
    """∇²L v (P,) in `matrix`, and L and ∇L if wanted (`abi.KERNEL`); Jᵀ A J v with GAUSS_NEWTON.

    The penalty's curvature is part of both.
    """
    order = 1 if word(descriptor, nb.GAUSS_NEWTON) != 0 else 2
    block = word(descriptor, nb.BLOCK)
    doubles = matrices_size(descriptor)
    longest = padded(min(block, word(descriptor, nb.COUNT)))
    rows_doubles = place_rows(descriptor, 0, 0, longest, order, True)
    task = run_chunks(word(descriptor, nb.PRODUCT_WORKER), descriptor, theta, v, order,
                      1 if gradient != 0 else 0, block, word(descriptor, nb.CHUNK),
                      word(descriptor, nb.THREADS), 2 + 2 * doubles, rows_doubles)  # fmt: skip
    if task == 0:
        spoil(loss, 1)
        spoil(gradient, word(descriptor, nb.SIZE))
        spoil(matrix, word(descriptor, nb.SIZE))
        return
    sums = word(task, ck.SUMS)
    weight = load(sums, 1)
    scale = derivative_factor(descriptor) / weight
    if loss != 0:
        store(loss, 0, load(sums, 0) / weight)
    if gradient != 0:
        unpack(descriptor, sums + 16, scale, gradient)
    unpack(descriptor, sums + 16 + 8 * doubles, scale, matrix)
    release(task)
    diagonal, outer = add_penalty(descriptor, theta, loss, gradient)
    if diagonal != 0.0 or outer != 0.0:
        size, along = word(descriptor, nb.SIZE), 0.0
        for k in range(size):
            along += load(theta, k) * load(v, k)
        for k in range(size):
            penalty = diagonal * load(v, k) + outer * along * load(theta, k)
            store(matrix, k, load(matrix, k) + penalty)
    strength = add_merging(descriptor, theta, loss, gradient)
    if strength != 0.0:
        pairs = word(descriptor, nb.MERGED)
        for k in range(word(descriptor, nb.MERGED_COUNT)):
            a, b = word(pairs, 2 * k), word(pairs, 2 * k + 1)
            pull = strength * (load(v, a) - load(v, b))
            store(matrix, a, load(matrix, a) + pull)
            store(matrix, b, load(matrix, b) - pull)
