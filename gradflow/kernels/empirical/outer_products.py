"""The Hessian of one hidden layer with one output and squared error: outer products of the Jacobian.

With one row of J per parameter, J_s = ∂f(x_s)/∂θ,

    ½∇²L Σ_s w_s = Σ_s w J Jᵀ + Σ_s w (f − y) ∇²f,

where ∇²f couples a neuron with itself only: a_i σ''_i [x; 1][x; 1]ᵀ on (w_i, w_i) and σ'_i [x; 1] on
(w_i, a_i).
"""

from __future__ import annotations

import math

from ..math.abi import inner_jit
from ..math.memory import allocate, load, release, set_word, spoil, store, word
from . import network_blocks as nb
from .network_blocks import columns, flat_index, get, layer
from .tiles import combine, gram, row_pairs


@inner_jit
def outer_products_doubles(descriptor):
    """Size of the partial sums: J Jᵀ, the blocks (w_i, w_i), the blocks (w_i, a_i)."""
    n, c = layer(descriptor, 0, nb.OUT), columns(descriptor, 0)
    size = n * c + columns(descriptor, 1)
    return size * size + n * (c * (c + 1) // 2) + n * c


@inner_jit
def outer_products_rows(descriptor):
    """Rows of workspace that `add_outer_products` needs."""
    n, c = layer(descriptor, 0, nb.OUT), columns(descriptor, 0)
    return n * c + columns(descriptor, 1) + 1 + n + c * (c + 1) // 2 + c


@inner_jit
def add_outer_products(descriptor, table, rows, length, sums):
    """Add a block's share to the sums: JJᵀ with all parameters, and the second-order terms of each neuron."""
    n, c, c1 = layer(descriptor, 0, nb.OUT), columns(descriptor, 0), columns(descriptor, 1)
    x, stride = get(table, 0, nb.INPUT), get(table, 0, nb.INPUT_STRIDE)
    slope, spare = get(table, 0, nb.SLOPE), get(table, 2, nb.SPARE)
    jacobian = rows
    size = n * c + c1
    root = rows + 8 * length * size
    outer = root + 8 * length  # √w a_i σ'_i
    pairs = outer + 8 * length * n
    residual = pairs + 8 * length * (c * (c + 1) // 2)
    for s in range(length):
        store(root, s, math.sqrt(load(get(table, 2, nb.SAMPLE_WEIGHTS), s)))
    combine(get(table, 1, nb.MATRIX), 1, 1, n, 1, root, length, outer, length, length, 0, slope, length)
    row_pairs(outer, length, n, x, stride, c, length, jacobian)
    row_pairs(root, length, 1, get(table, 1, nb.INPUT), length, c1, length, jacobian + 8 * length * n * c)
    gram(jacobian, length, size, jacobian, length, size, length, sums, size, spare, True)
    if word(descriptor, nb.GAUSS_NEWTON) != 0:
        return
    row_pairs(x, stride, c, 0, 0, 0, length, pairs)
    sums += 8 * size * size
    npairs = c * (c + 1) // 2
    gram(get(table, 0, nb.BEND), length, n, pairs, length, npairs, length, sums, npairs, spare, False)
    row_pairs(get(table, 1, nb.DELTA), length, 1, x, stride, c, length, residual)
    gram(slope, length, n, residual, length, c, length, sums + 8 * n * npairs, c, spare, False)


@inner_jit
def _mirror(matrix, size):
    """Copy the lower triangle to the upper one, by squares that stay in the cache."""
    for top in range(0, size, 16):
        for left in range(0, top + 16, 16):
            for i in range(top, min(top + 16, size)):
                for j in range(left, min(left + 16, i)):
                    store(matrix, j * size + i, load(matrix, i * size + j))


@inner_jit
def scatter_outer_products(descriptor, sums, scale, matrix):
    """The Hessian (P, P) in `matrix` from the sums, times `scale`."""
    n, c, size = layer(descriptor, 0, nb.OUT), columns(descriptor, 0), word(descriptor, nb.SIZE)
    positions = allocate(size)
    if positions == 0:
        spoil(matrix, size * size)
        return
    for row in range(n * c):
        set_word(positions, row, flat_index(descriptor, 0, row // c, row % c))
    for row in range(n * c, size):
        set_word(positions, row, row)
    for row in range(size):
        a = word(positions, row)
        for column in range(row + 1):
            b = word(positions, column)
            store(matrix, max(a, b) * size + min(a, b), scale * load(sums, row * size + column))
    npairs = c * (c + 1) // 2
    bends = sums + 8 * size * size
    mixed = bends + 8 * n * npairs
    for i in range(n):
        last = word(positions, n * c + i)
        for j in range(c):
            a = word(positions, i * c + j)
            for q in range(j + 1):
                k = a * size + word(positions, i * c + q)
                store(matrix, k, load(matrix, k) + scale * load(bends, i * npairs + j * (j + 1) // 2 + q))
            k = last * size + a
            store(matrix, k, load(matrix, k) + scale * load(mixed, i * c + j))
    release(positions)
    _mirror(matrix, size)
