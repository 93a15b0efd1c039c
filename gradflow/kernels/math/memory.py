"""Raw memory inside compiled kernels: doubles and tables at addresses, aligned to cache lines.

Kernels work on addresses (int64) alone, so that one compiled function serves every size, and so that
nothing here depends on Numba's reference counting.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_INT64 = ir.IntType(64)
_DOUBLE = ir.DoubleType()


def _cell(builder, address, index, kind):
    return builder.inttoptr(builder.add(address, builder.mul(index, _INT64(8))), kind.as_pointer())


@intrinsic
def load(typingctx, address, index):
    """The double at address + 8·index."""

    def codegen(context, builder, signature, args):
        return builder.load(_cell(builder, args[0], args[1], _DOUBLE))

    return types.float64(types.int64, types.int64), codegen


@intrinsic
def store(typingctx, address, index, value):
    """Write a double at address + 8·index."""

    def codegen(context, builder, signature, args):
        builder.store(args[2], _cell(builder, args[0], args[1], _DOUBLE))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float64), codegen


@intrinsic
def word(typingctx, address, index):
    """The int64 at address + 8·index."""

    def codegen(context, builder, signature, args):
        return builder.load(_cell(builder, args[0], args[1], _INT64))

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def set_word(typingctx, address, index, value):
    """Write an int64 at address + 8·index."""

    def codegen(context, builder, signature, args):
        builder.store(args[2], _cell(builder, args[0], args[1], _INT64))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def allocate(typingctx, doubles):
    """Address of `doubles` uninitialised doubles on a cache-line boundary; give it to `release`."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(_INT64, [_INT64, _INT64])
        function = cgutils.get_or_insert_function(builder.module, kind, "aligned_alloc")
        lines = builder.add(builder.lshr(args[0], _INT64(3)), _INT64(1))
        return builder.call(function, [_INT64(64), builder.shl(lines, _INT64(6))])

    return types.int64(types.int64), codegen


@intrinsic
def release(typingctx, address):
    """Give back memory of `allocate`."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [_INT64])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "free"), [args[0]])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def clear(typingctx, address, doubles):
    """Set `doubles` doubles to zero."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(_INT64, [_INT64, ir.IntType(32), _INT64])
        function = cgutils.get_or_insert_function(builder.module, kind, "memset")
        builder.call(function, [args[0], ir.IntType(32)(0), builder.shl(args[1], _INT64(3))])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def try_lock(typingctx, address):
    """Take the lock that is the word at `address` (0: free) if it is free; whether it was. No waiting."""

    def codegen(context, builder, signature, args):
        cell = builder.inttoptr(args[0], _INT64.as_pointer())
        before = builder.atomic_rmw("xchg", cell, _INT64(1), "acquire")
        return builder.icmp_signed("==", before, _INT64(0))

    return types.boolean(types.int64), codegen


@intrinsic
def unlock(typingctx, address):
    """Give back the lock at `address`."""

    def codegen(context, builder, signature, args):
        cell = builder.inttoptr(args[0], _INT64.as_pointer())
        builder.atomic_rmw("xchg", cell, _INT64(0), "release")
        return context.get_dummy_value()

    return types.void(types.int64), codegen
