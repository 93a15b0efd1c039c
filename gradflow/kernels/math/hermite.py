"""Sums with normalised Hermite polynomials h_n = He_n/√n!: coefficients of functions, and Mehler's sum.

With E h_m(X) h_n(X) = δ_mn for X ~ N(0, 1), coefficients c_n = E f(X) h_n(X) are sums over quadrature nodes,
and for a second Gaussian Y with correlation u

    E f(X) g(Y) = Σ_n c_n c'_n uⁿ      (Mehler 1866)

Both loops are LLVM vector code: lanes are nodes in the first, orders n in the second. The order of every
sum is fixed by the sizes alone.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..empirical.tiles import LANES, _fma, _keep_apart, _load, _offset, _splat, _store

CHUNK = 32
"""Coefficients that `hermite_chunk` makes at a time."""

BLOCK = 8 * LANES if LANES == 8 else 4 * LANES
"""Node arrays hold a multiple of this many doubles: three registers per vector of nodes."""

_DOUBLE = ir.DoubleType()
_INT64 = ir.IntType(64)
_VECTOR = ir.VectorType(_DOUBLE, LANES)


@intrinsic
def hermite_chunk(typingctx, x, now, before, nodes, start, sums):
    """sums[k] += P_k over the nodes (LANES partial sums each), k < CHUNK; `now` and `before` move on.

    P_{k+1} = x P_k − (start + k) P_{k−1} from P_0 = `now` and P_{−1} = `before`: the polynomials without
    their normalisation, which the caller applies to the sums (√((start+1) … (start+k))) and, once a
    chunk, to the two arrays. That leaves two operations and one addition for each node and n.
    """

    def codegen(context, builder, signature, args):
        _keep_apart(builder)
        x, now, before, nodes, start, sums = args
        width = BLOCK // LANES
        with cgutils.for_range(builder, builder.udiv(nodes, _INT64(BLOCK))) as blocks:
            places = [_offset(builder, _INT64(8 * LANES * v), blocks.index, BLOCK) for v in range(width)]
            points = [_load(builder, builder.add(x, p)) for p in places]
            current = [cgutils.alloca_once(builder, _VECTOR) for _ in places]
            last = [cgutils.alloca_once(builder, _VECTOR) for _ in places]
            for slots, source in ((current, now), (last, before)):
                for slot, place in zip(slots, places, strict=True):
                    builder.store(_load(builder, builder.add(source, place)), slot)
            with cgutils.for_range(builder, _INT64(CHUNK)) as loop:
                values = [builder.load(slot) for slot in current]
                level = values
                while len(level) > 1:
                    level = [builder.fadd(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
                target = _offset(builder, sums, loop.index, LANES)
                _store(builder, builder.fadd(_load(builder, target), level[0]), target)
                order = builder.sitofp(builder.add(start, loop.index), _DOUBLE)
                weight = _splat(builder, builder.fneg(order))
                for v in range(width):
                    rest = builder.fmul(weight, builder.load(last[v]))
                    builder.store(values[v], last[v])
                    builder.store(_fma(builder, points[v], values[v], rest), current[v])
            for slots, target in ((current, now), (last, before)):
                for slot, place in zip(slots, places, strict=True):
                    _store(builder, builder.load(slot), builder.add(target, place))
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 6), codegen


def _mehler_sums(terms):
    def generate(typingctx, own, own_stride, other, other_stride, count, u, sums):
        """sums[t] = Σ_{n<count} own[f_t][n] other[g_t][n] uⁿ for the pairs (f_t, g_t) of `terms`.

        Array f starts at own + 8·f·own_stride; `count` is a multiple of LANES.
        """

        def codegen(context, builder, signature, args):
            _keep_apart(builder)
            own, own_stride, other, other_stride, count, u, sums = args
            zero = ir.Constant(_VECTOR, [0.0] * LANES)
            powers = ir.Constant(_VECTOR, ir.Undefined)
            power = _DOUBLE(1.0)
            for lane in range(LANES):
                powers = builder.insert_element(powers, power, ir.IntType(32)(lane))
                power = builder.fmul(power, u)
            step = _splat(builder, power)
            slot = cgutils.alloca_once(builder, _VECTOR)
            builder.store(powers, slot)
            totals = [cgutils.alloca_once(builder, _VECTOR) for _ in terms]
            for total in totals:
                builder.store(zero, total)
            starts = {f: _offset(builder, own, builder.mul(own_stride, _INT64(f))) for f, _ in terms}
            ends = {g: _offset(builder, other, builder.mul(other_stride, _INT64(g))) for _, g in terms}
            with cgutils.for_range(builder, builder.udiv(count, _INT64(LANES))) as loop:
                weight = builder.load(slot)
                mine = {f: _load(builder, _offset(builder, a, loop.index, LANES)) for f, a in starts.items()}
                theirs = {
                    g: builder.fmul(weight, _load(builder, _offset(builder, a, loop.index, LANES)))
                    for g, a in ends.items()
                }
                for (f, g), total in zip(terms, totals, strict=True):
                    builder.store(_fma(builder, mine[f], theirs[g], builder.load(total)), total)
                builder.store(builder.fmul(weight, step), slot)
            for t, total in enumerate(totals):
                vector = builder.load(total)
                lanes = [builder.extract_element(vector, ir.IntType(32)(k)) for k in range(LANES)]
                while len(lanes) > 1:
                    half = len(lanes) // 2
                    lanes = [builder.fadd(lanes[k], lanes[half + k]) for k in range(half)]
                _store(builder, lanes[0], builder.add(sums, _INT64(8 * t)))
            return context.get_dummy_value()

        signature = types.void(*(types.int64,) * 5, types.float64, types.int64)
        return signature, codegen

    return intrinsic(generate)


C, D, E, XD, XE, XXE = range(6)
"""Coefficient arrays of a unit: those of σ, σ', σ'', Xσ', Xσ'', (X² − 1)σ'' as functions of X, z = rX + b."""

FIRST_SUMS = ((C, C), (D, D), (E, C), (D, C))
"""E στ, E σ'τ', E σ''τ, E σ'τ: which arrays of the two units are multiplied."""

SECOND_SUMS = (
    *FIRST_SUMS, (XXE, C), (XE, D), (E, E), (XD, XD), (D, XE), (XE, C), (E, D), (XD, D), (D, E),
)  # fmt: skip
"""Then E σ''(X²−1)τ, E σ''Xτ', E σ''τ'', E σ'X τ'Y, E σ'τ''Y, E σ''Xτ, E σ''τ', E σ'Xτ', E σ'τ''."""

mehler_first = _mehler_sums(FIRST_SUMS)
mehler_second = _mehler_sums(SECOND_SUMS)
