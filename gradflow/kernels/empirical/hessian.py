"""Hessians of the empirical loss, exact, by blocks of samples.

Two ways, chosen by the shape of the network alone; every sum over samples is a `tiles.gram`.

*Outer products* (`outer_products`): one hidden layer, one output, squared error.

*Pre-activation Hessians*: any other network. Per sample let A^{lm} = ∂²ℓ/∂z_l∂z_m for l ≤ m (z_l
shifted, later layers following) and D^{lm} = ∂h_m/∂z_l. Then A^{LL} is the loss's own Hessian,

    A^{lm} = σ'_l ∘ W_{l+1}ᵀ A^{l+1,m} (m > l),   A^{ll} = A^{l,l+1} W_{l+1} ∘ σ'_l + diag(∂ℓ/∂h ∘ σ''_l),

    H[(l,i,j), (m,p,q)] = Σ_s A^{lm}_{ip} h_{l,j} h_{m,q} + Σ_s D^{lm}_{iq} h_{l,j} δ_{m,p}  (second: m > l).

With GAUSS_NEWTON the terms of σ'' and D are left out: Jᵀ A^{LL} J. Each sum is one product of the rows (i,p)
with the rows (j,q): about a multiply-add per sample and entry of the Hessian, whatever the depth and the
number of outputs; the diagonal blocks need a quarter. One triangle is summed and mirrored, so that the result
is exactly symmetric.
"""

from __future__ import annotations

from ..math.abi import inner_jit
from ..math.memory import load, store, word
from . import network_blocks as nb
from .network_blocks import columns, flat_index, get, layer
from .outer_products import (
    add_outer_products,
    outer_products_doubles,
    outer_products_rows,
    scatter_outer_products,
)
from .tiles import combine, gram, row_pairs


@inner_jit
def by_outer_products(descriptor):
    """Whether the network is shallow, with one output and a squared loss."""
    shallow = word(descriptor, nb.LAYERS) == 2 and layer(descriptor, 1, nb.OUT) == 1
    return shallow and word(descriptor, nb.KIND) == nb.SQUARED


@inner_jit
def hessian_doubles(descriptor):
    """Size of the Hessian's partial sums."""
    if by_outer_products(descriptor):
        return outer_products_doubles(descriptor)
    layers, total = word(descriptor, nb.LAYERS), 0
    for l in range(layers):
        for m in range(l, layers):
            total += _sums_of_pair(descriptor, l, m)
    return total


@inner_jit
def _sums_of_pair(descriptor, l, m):
    n, c = layer(descriptor, l, nb.OUT), columns(descriptor, l)
    if l == m:
        return (n * (n + 1) // 2) * (c * (c + 1) // 2)
    width = layer(descriptor, m, nb.OUT)
    return (n * columns(descriptor, m) + _bend_rows(descriptor, l, m)) * c * width


@inner_jit
def _bend_rows(descriptor, l, m):
    """Rows of D^{lm}: its diagonal alone if m = l + 1."""
    return layer(descriptor, l, nb.OUT) * (1 if m == l + 1 else layer(descriptor, m, nb.IN))


@inner_jit
def _pair_rows(descriptor, l, m):
    """Rows of all A before A^{lm}; with l = L, all of them."""
    layers, total = word(descriptor, nb.LAYERS), 0
    for a in range(layers):
        for b in range(a, layers):
            if a < l or (a == l and b < m):
                total += layer(descriptor, a, nb.OUT) * layer(descriptor, b, nb.OUT)
    return total


@inner_jit
def _product_rows(descriptor):
    """The most rows of products (j, q) or (j, p) that are alive at a time."""
    layers, most = word(descriptor, nb.LAYERS), 0
    for l in range(layers):
        c = columns(descriptor, l)
        most = max(most, c * (c + 1) // 2)
        for m in range(l + 1, layers):
            most = max(most, c * max(columns(descriptor, m), layer(descriptor, m, nb.OUT)))
    return most


@inner_jit
def _path_rows(descriptor):
    """The most rows of a D^{lm} with m > l + 1."""
    layers, most = word(descriptor, nb.LAYERS), 0
    for l in range(layers):
        for m in range(l + 2, layers):
            most = max(most, _bend_rows(descriptor, l, m))
    return most


@inner_jit
def hessian_rows(descriptor):
    """Rows of workspace that `add_hessian_block` needs."""
    if by_outer_products(descriptor):
        return outer_products_rows(descriptor)
    rows = _pair_rows(descriptor, word(descriptor, nb.LAYERS), 0)
    return rows + _product_rows(descriptor) + 2 * _path_rows(descriptor)


@inner_jit
def add_hessian_block(descriptor, table, rows, length, sums):
    """Add the block's part of the Hessian, without the common factor, to `sums`."""
    if by_outer_products(descriptor):
        add_outer_products(descriptor, table, rows, length, sums)
    else:
        _pre_activation_hessians(descriptor, table, rows, length)
        layers = word(descriptor, nb.LAYERS)
        products = rows + 8 * length * _pair_rows(descriptor, layers, 0)
        paths = products + 8 * length * _product_rows(descriptor)
        for l in range(layers):
            for m in range(l, layers):
                _add_pair(descriptor, table, rows, products, length, l, m, sums)
                if m > l and word(descriptor, nb.GAUSS_NEWTON) == 0:
                    n, c = layer(descriptor, l, nb.OUT), columns(descriptor, l)
                    width = layer(descriptor, m, nb.OUT)
                    target = sums + 8 * n * width * c * columns(descriptor, m)
                    _add_bend(descriptor, table, paths, products, length, l, m, target)
                sums += 8 * _sums_of_pair(descriptor, l, m)


@inner_jit
def scatter_hessian(descriptor, sums, scale, matrix):
    """Write the whole symmetric Hessian (P, P) from its sums."""
    if by_outer_products(descriptor):
        scatter_outer_products(descriptor, sums, scale, matrix)
        return
    layers, size = word(descriptor, nb.LAYERS), word(descriptor, nb.SIZE)
    for l in range(layers):
        for m in range(l, layers):
            if l == m:
                _scatter_diagonal(descriptor, l, sums, scale, matrix, size)
            else:
                _scatter_pair(descriptor, l, m, sums, scale, matrix, size)
            sums += 8 * _sums_of_pair(descriptor, l, m)


@inner_jit
def _output_hessian(descriptor, table, rows, length):
    """A^{LL} of the loss itself, (o, o) rows: w I (without the 2), or w (diag p − p pᵀ)."""
    layers = word(descriptor, nb.LAYERS)
    n, squared = layer(descriptor, layers - 1, nb.OUT), word(descriptor, nb.KIND) == nb.SQUARED
    weights, probability = get(table, layers, nb.SAMPLE_WEIGHTS), get(table, layers, nb.PROBABILITY)
    for i in range(n):
        for k in range(n):
            row = rows + 8 * length * (i * n + k)
            p, q = probability + 8 * length * i, probability + 8 * length * k
            one = 1.0 if i == k else 0.0
            for s in range(length):
                spread = one if squared else load(p, s) * (one - load(q, s))
                store(row, s, load(weights, s) * spread)


@inner_jit
def _pre_activation_hessians(descriptor, table, rows, length):
    """All A^{lm}, l ≤ m, as rows (i, p)."""
    layers = word(descriptor, nb.LAYERS)
    line = 8 * length
    _output_hessian(descriptor, table, rows + line * _pair_rows(descriptor, layers - 1, layers - 1), length)
    for back in range(1, layers):
        l = layers - 1 - back
        n, above = layer(descriptor, l, nb.OUT), layer(descriptor, l + 1, nb.OUT)
        matrix, stride = get(table, l + 1, nb.MATRIX), columns(descriptor, l + 1)
        slope = get(table, l, nb.SLOPE)
        for m in range(l + 1, layers):
            width = layer(descriptor, m, nb.OUT)
            source = rows + line * _pair_rows(descriptor, l + 1, m)
            target = rows + line * _pair_rows(descriptor, l, m)
            for p in range(width):
                combine(matrix, 1, stride, n, above, source + line * p, width * length,
                        target + line * p, width * length, length, 0, slope, length)  # fmt: skip
        source = rows + line * _pair_rows(descriptor, l, l + 1)
        target = rows + line * _pair_rows(descriptor, l, l)
        for i in range(n):
            combine(matrix, 1, stride, i + 1, above, source + line * i * above, length,
                    target + line * i * n, length, length, 0, slope, length)  # fmt: skip
            if word(descriptor, nb.GAUSS_NEWTON) == 0:
                diagonal = target + line * (i * n + i)
                bend = get(table, l, nb.BEND) + line * i
                for s in range(length):
                    store(diagonal, s, load(diagonal, s) + load(bend, s))
            if l > 0:
                for p in range(i):
                    a, b = target + line * (i * n + p), target + line * (p * n + i)
                    for s in range(length):
                        store(b, s, load(a, s))


@inner_jit
def _add_pair(descriptor, table, rows, products, length, l, m, sums):
    """Σ_s A^{lm}_{ip} h_{l,j} h_{m,q}; for l = m only i ≥ p and j ≥ q."""
    n, c = layer(descriptor, l, nb.OUT), columns(descriptor, l)
    spare = get(table, word(descriptor, nb.LAYERS), nb.SPARE)
    h, stride = get(table, l, nb.INPUT), get(table, l, nb.INPUT_STRIDE)
    a = rows + 8 * length * _pair_rows(descriptor, l, m)
    if l == m:
        npairs = c * (c + 1) // 2
        row_pairs(h, stride, c, 0, 0, 0, length, products)
        for i in range(n):
            target = sums + 8 * npairs * (i * (i + 1) // 2)
            gram(a + 8 * length * i * n, length, i + 1, products, length, npairs, length,
                 target, npairs, spare, False)  # fmt: skip
    else:
        npairs = c * columns(descriptor, m)
        row_pairs(h, stride, c, get(table, m, nb.INPUT), get(table, m, nb.INPUT_STRIDE),
                  columns(descriptor, m), length, products)  # fmt: skip
        gram(a, length, n * layer(descriptor, m, nb.OUT), products, length, npairs, length,
             sums, npairs, spare, False)  # fmt: skip


@inner_jit
def _add_bend(descriptor, table, paths, products, length, l, m, sums):
    """Σ_s D^{lm}_{iq} h_{l,j} δ_{m,p}, rows (i, q) by columns (j, p); D is advanced from D^{l,m−1}."""
    n, c, width = layer(descriptor, l, nb.OUT), columns(descriptor, l), layer(descriptor, m, nb.OUT)
    spare = get(table, word(descriptor, nb.LAYERS), nb.SPARE)
    line = 8 * length
    d, half = get(table, l, nb.SLOPE), line * _path_rows(descriptor)
    if m > l + 1:
        d = paths + half * (m % 2)
        before = paths + half * ((m - 1) % 2)
        matrix, stride = get(table, m - 1, nb.MATRIX), columns(descriptor, m - 1)
        k, q, slope = (
            layer(descriptor, m - 1, nb.IN),
            layer(descriptor, m, nb.IN),
            get(table, m - 1, nb.SLOPE),
        )
        for i in range(n):
            if m == l + 2:  # D^{l,l+1} is the diagonal σ'_l
                combine(matrix + 8 * i, stride, 1, q, 1, get(table, l, nb.SLOPE) + line * i, length,
                        d + line * i * q, length, length, 0, slope, length)  # fmt: skip
            else:
                combine(matrix, stride, 1, q, k, before + line * i * k, length,
                        d + line * i * q, length, length, 0, slope, length)  # fmt: skip
    row_pairs(get(table, l, nb.INPUT), get(table, l, nb.INPUT_STRIDE), c, get(table, m, nb.DELTA), length,
              width, length, products)  # fmt: skip
    gram(d, length, _bend_rows(descriptor, l, m), products, length, c * width, length,
         sums, c * width, spare, False)  # fmt: skip


@inner_jit
def _scatter_diagonal(descriptor, l, sums, scale, matrix, size):
    n, c = layer(descriptor, l, nb.OUT), columns(descriptor, l)
    npairs = c * (c + 1) // 2
    for i in range(n):
        for p in range(i + 1):
            source = sums + 8 * npairs * (i * (i + 1) // 2 + p)
            for j in range(c):
                for q in range(j + 1):
                    value = scale * load(source, j * (j + 1) // 2 + q)
                    ij, ipq = flat_index(descriptor, l, i, j), flat_index(descriptor, l, p, q)
                    iq, pj = flat_index(descriptor, l, i, q), flat_index(descriptor, l, p, j)
                    store(matrix, ij * size + ipq, value)
                    store(matrix, ipq * size + ij, value)
                    store(matrix, iq * size + pj, value)
                    store(matrix, pj * size + iq, value)


@inner_jit
def _scatter_pair(descriptor, l, m, sums, scale, matrix, size):
    n, c = layer(descriptor, l, nb.OUT), columns(descriptor, l)
    width, c_m, inputs = layer(descriptor, m, nb.OUT), columns(descriptor, m), layer(descriptor, m, nb.IN)
    bends = sums + 8 * n * width * c * c_m
    for i in range(n):
        for p in range(width):
            for j in range(c):
                a = flat_index(descriptor, l, i, j)
                for q in range(c_m):
                    value = load(sums, ((i * width + p) * c + j) * c_m + q)
                    if q < inputs and (m > l + 1 or q == i):
                        row = i if m == l + 1 else i * inputs + q
                        value += load(bends, (row * c + j) * width + p)
                    b = flat_index(descriptor, m, p, q)
                    store(matrix, a * size + b, scale * value)
                    store(matrix, b * size + a, scale * value)
