"""Small matrix products over blocks of samples, as register tiles of explicit vectors.

A block is a matrix stored by rows: one row per neuron (feature, parameter…), `length` samples side by
side, `length` a multiple of `PAD`; `stride` is the distance between rows in doubles. All loops run
over samples. Everything is an address (int64), so these functions compile in a moment and never
allocate. The order of every sum is fixed by the sizes alone.

    combine    Out = M · In (+ Out) (∘ S)     a matrix applied to the rows, small times (rows × samples)
    gram       G += A Bᵀ                      sums over samples of products of rows
    hadamard   out = a ∘ b                    elementwise
    row_pairs  out[(j, q)] = a_j ∘ b_q        all products of two rows
    lane_sum   Σ a                            of one row

`combine` and `gram` are written as LLVM vector code (`<LANES x double>`) rather than left to the loop
vectoriser: no run-time alias checks, no scalar remainders, no reassociation flags.
"""

from __future__ import annotations

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..math.abi import inner_jit
from ..math.memory import load, store

PAD = 8
"""Blocks hold a multiple of this many samples; the sample arrays are padded to it."""

LANES = 8 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 4

ROWS = 4
COLUMNS = 4 if LANES == 8 else 2  # 16 accumulators of 32 registers, or 8 of 16

_DOUBLE = ir.DoubleType()
_INT64 = ir.IntType(64)
_VECTOR = ir.VectorType(_DOUBLE, LANES)


def _pointer(builder, address, kind):
    return builder.inttoptr(address, kind.as_pointer())


def _load(builder, address, kind=_VECTOR):
    return builder.load(_pointer(builder, address, kind), align=8)


def _store(builder, value, address):
    builder.store(value, _pointer(builder, address, value.type), align=8)


def _offset(builder, address, index, scale=1):
    """address + 8·scale·index."""
    return builder.add(address, builder.mul(index, _INT64(8 * scale)))


def _splat(builder, value, kind=_VECTOR):
    nothing = ir.Constant(kind, ir.Undefined)
    lane = builder.insert_element(nothing, value, ir.IntType(32)(0))
    return builder.shuffle_vector(lane, nothing, ir.Constant(_mask(kind.count), [0] * kind.count))


def _keep_apart(builder):
    """Forbid inlining of the function being compiled: copies of the tiles take seconds to compile."""
    builder.function.attributes.add("noinline")


def _fma(builder, x, y, z):
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f64")
    return builder.call(function, [x, y, z])


def _mask(count):
    return ir.VectorType(ir.IntType(32), count)


def _shuffle(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(_mask(len(lanes)), lanes))


def _clamp(builder, i, count):
    """min(i, count − 1): a partial tile repeats its last row instead of branching."""
    last = builder.sub(count, _INT64(1))
    return builder.select(builder.icmp_signed("<", _INT64(i), last), _INT64(i), last)


def _pairwise(builder, a, b):
    """[a0+a1, b0+b1, a2+a3, b2+b3, …]"""
    n = a.type.count
    even = [k for i in range(0, n, 2) for k in (i, n + i)]
    odd = [k + 1 for k in even]
    return builder.fadd(_shuffle(builder, a, b, even), _shuffle(builder, a, b, odd))


def _row_sums(builder, accumulators):
    """The sums over lanes of 2 or 4 vectors, as one vector of 2 or 4."""
    level = list(accumulators)
    while len(level) > 1:
        if len(level) == len(accumulators):
            level = [_pairwise(builder, a, b) for a, b in zip(level[::2], level[1::2])]
        else:  # pairs of lanes now belong together
            a, b = level
            n = a.type.count
            low = [k for i in range(0, n, 4) for k in (i, i + 1, n + i, n + i + 1)]
            high = [k + 2 for k in low]
            level = [builder.fadd(_shuffle(builder, a, b, low), _shuffle(builder, a, b, high))]
    total, width = level[0], len(accumulators)
    while total.type.count > width:
        half = total.type.count // 2
        total = builder.fadd(
            _shuffle(builder, total, total, list(range(half))),
            _shuffle(builder, total, total, list(range(half, 2 * half))),
        )
    return total


@intrinsic
def gram_tile(typingctx, a, stride_a, m, b, stride_b, n, length, g, stride_g):
    """G[i, j] += Σ_s A[i, s] B[j, s] for a tile of ROWS × COLUMNS, rows beyond m and n repeated."""

    def codegen(context, builder, signature, args):
        _keep_apart(builder)
        a, stride_a, m, b, stride_b, n, length, g, stride_g = args
        row_a = [_offset(builder, a, builder.mul(_clamp(builder, i, m), stride_a)) for i in range(ROWS)]
        row_b = [_offset(builder, b, builder.mul(_clamp(builder, j, n), stride_b)) for j in range(COLUMNS)]
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        sums = [[cgutils.alloca_once_value(builder, zero) for _ in row_b] for _ in row_a]
        with cgutils.for_range(builder, builder.udiv(length, _INT64(LANES))) as loop:
            x = [_load(builder, _offset(builder, p, loop.index, LANES)) for p in row_a]
            y = [_load(builder, _offset(builder, p, loop.index, LANES)) for p in row_b]
            for i in range(ROWS):
                for j in range(COLUMNS):
                    builder.store(_fma(builder, x[i], y[j], builder.load(sums[i][j])), sums[i][j])
        for i in range(ROWS):
            total = _row_sums(builder, [builder.load(s) for s in sums[i]])
            target = _offset(builder, g, builder.mul(_INT64(i), stride_g))
            _store(builder, builder.fadd(_load(builder, target, total.type), total), target)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 9), codegen


def _combine_tile(vectors):
    def generate(
        typingctx, matrix, stride_i, stride_k, m, terms, source, stride_source, out, stride_out, add, scale,
        stride_scale,
    ):  # fmt: skip
        def codegen(context, builder, signature, args):
            matrix, stride_i, stride_k, m, terms, source, stride_source, out, stride_out = args[:9]
            add, scale, stride_scale = args[9:]
            _keep_apart(builder)
            rows = [_clamp(builder, i, m) for i in range(ROWS)]
            weights = [_offset(builder, matrix, builder.mul(i, stride_i)) for i in rows]
            targets = [_offset(builder, out, builder.mul(i, stride_out)) for i in rows]
            zero = ir.Constant(_VECTOR, [0.0] * LANES)
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in rows]
            lanes = [_INT64(v * LANES) for v in range(vectors)]
            with builder.if_then(builder.icmp_signed("!=", add, _INT64(0))):
                for i in range(ROWS):
                    for v in range(vectors):
                        builder.store(_load(builder, _offset(builder, targets[i], lanes[v])), sums[i][v])
            with cgutils.for_range(builder, terms) as loop:
                start = _offset(builder, source, builder.mul(loop.index, stride_source))
                x = [_load(builder, _offset(builder, start, lane)) for lane in lanes]
                for i in range(ROWS):
                    entry = _offset(builder, weights[i], builder.mul(loop.index, stride_k))
                    w = _splat(builder, _load(builder, entry, _DOUBLE))
                    for v in range(vectors):
                        builder.store(_fma(builder, w, x[v], builder.load(sums[i][v])), sums[i][v])
            with builder.if_then(builder.icmp_signed("!=", scale, _INT64(0))):
                for i in range(ROWS):
                    start = _offset(builder, scale, builder.mul(rows[i], stride_scale))
                    for v in range(vectors):
                        factor = _load(builder, _offset(builder, start, lanes[v]))
                        builder.store(builder.fmul(builder.load(sums[i][v]), factor), sums[i][v])
            for i in range(ROWS):
                for v in range(vectors):
                    _store(builder, builder.load(sums[i][v]), _offset(builder, targets[i], lanes[v]))
            return context.get_dummy_value()

        return types.void(*(types.int64,) * 12), codegen

    return intrinsic(generate)


_VECTORS = 16 // LANES
combine_tile_wide = _combine_tile(_VECTORS)
combine_tile = _combine_tile(1)


@intrinsic
def hadamard(typingctx, a, b, out, length):
    """out = a ∘ b over `length` doubles, a multiple of PAD; `out` may be `a` or `b`."""

    def codegen(context, builder, signature, args):
        a, b, out, length = args
        with cgutils.for_range(builder, builder.udiv(length, _INT64(LANES))) as loop:
            x, y = (_load(builder, _offset(builder, p, loop.index, LANES)) for p in (a, b))
            _store(builder, builder.fmul(x, y), _offset(builder, out, loop.index, LANES))
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 4), codegen


@intrinsic
def multiply_add(typingctx, a, b, out, length):
    """out += a ∘ b over `length` doubles, a multiple of PAD."""

    def codegen(context, builder, signature, args):
        a, b, out, length = args
        with cgutils.for_range(builder, builder.udiv(length, _INT64(LANES))) as loop:
            x, y, z = (_load(builder, _offset(builder, p, loop.index, LANES)) for p in (a, b, out))
            _store(builder, _fma(builder, x, y, z), _offset(builder, out, loop.index, LANES))
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 4), codegen


@intrinsic
def lane_sum(typingctx, a, length):
    """Σ a over `length` doubles, a multiple of PAD: one sum per lane, then by halves."""

    def codegen(context, builder, signature, args):
        a, length = args
        slot = cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * LANES))
        with cgutils.for_range(builder, builder.udiv(length, _INT64(LANES))) as loop:
            x = _load(builder, _offset(builder, a, loop.index, LANES))
            builder.store(builder.fadd(builder.load(slot), x), slot)
        lanes = [builder.extract_element(builder.load(slot), ir.IntType(32)(k)) for k in range(LANES)]
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [builder.fadd(lanes[k], lanes[half + k]) for k in range(half)]
        return lanes[0]

    return types.float64(types.int64, types.int64), codegen


@inner_jit
def combine(
    matrix, stride_i, stride_k, m, terms, source, stride_source, out, stride_out, length,
    add, scale, stride_scale,
):  # fmt: skip
    """Out[i] = (Σ_k M[i, k] In[k] + add·Out[i]) ∘ S[i], i < m, k < terms; S is left out if `scale` is 0.

    M[i, k] stands at matrix + 8(i·stride_i + k·stride_k), so that a transpose costs nothing.
    """
    for i in range(0, m, ROWS):
        w = matrix + 8 * i * stride_i
        o = out + 8 * i * stride_out
        f = scale + 8 * i * stride_scale if scale != 0 else 0
        s = 0
        while s + 16 <= length:
            combine_tile_wide(w, stride_i, stride_k, m - i, terms, source + 8 * s, stride_source, o + 8 * s,
                              stride_out, add, f + 8 * s if f != 0 else 0, stride_scale)  # fmt: skip
            s += 16
        while s < length:
            combine_tile(w, stride_i, stride_k, m - i, terms, source + 8 * s, stride_source,
                         o + 8 * s, stride_out, add, f + 8 * s if f != 0 else 0, stride_scale)  # fmt: skip
            s += LANES


@inner_jit
def gram(a, stride_a, m, b, stride_b, n, length, g, stride_g, spare, lower):
    """G[i, j] += Σ_s A[i, s] B[j, s], i < m, j < n; with `lower`, only the tiles that touch j ≤ i.

    `spare` is the address of ROWS × COLUMNS doubles of scratch, for partial tiles.
    """
    # rows of B, 32 kB together, stay in the first-level cache while A passes by
    group = max(1, 4096 // (length * COLUMNS)) * COLUMNS
    for j0 in range(0, n, group):
        j1 = min(n, j0 + group)
        for i in range(0, m, ROWS):
            stop = min(j1, i + ROWS) if lower else j1
            x = a + 8 * i * stride_a
            for j in range(j0, stop, COLUMNS):
                y = b + 8 * j * stride_b
                target = g + 8 * (i * stride_g + j)
                if m - i >= ROWS and n - j >= COLUMNS:
                    gram_tile(x, stride_a, m - i, y, stride_b, n - j, length, target, stride_g)
                else:
                    for k in range(ROWS * COLUMNS):
                        store(spare, k, 0.0)
                    gram_tile(x, stride_a, m - i, y, stride_b, n - j, length, spare, COLUMNS)
                    for p in range(min(ROWS, m - i)):
                        for q in range(min(COLUMNS, n - j)):
                            k = p * stride_g + q
                            store(target, k, load(target, k) + load(spare, p * COLUMNS + q))


@inner_jit
def row_pairs(a, stride_a, m, b, stride_b, n, length, out):
    """out[(j, q)] = a_j ∘ b_q, row after row; with b = 0, a_j ∘ a_q for q ≤ j."""
    for j in range(m):
        for q in range(n if b != 0 else j + 1):
            y = b + 8 * q * stride_b if b != 0 else a + 8 * q * stride_a
            hadamard(a + 8 * j * stride_a, y, out, length)
            out += 8 * length
