"""Raw memory inside compiled kernels: doubles and tables at addresses, aligned to cache lines.

Kernels work on addresses (int64) alone, so that one compiled function serves every size, and so that
nothing here depends on Numba's reference counting.
"""

from __future__ import annotations

import math

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ...support.memory import CEILING, FAILURES, REFUSED, WORDS, WORDS_ADDRESS
from .abi import inner_jit

_INT64 = ir.IntType(64)
_DOUBLE = ir.DoubleType()

_SYMBOL = "gradflow_memory_words"
llvmlite.binding.add_symbol(_SYMBOL, WORDS_ADDRESS)


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
def _aligned(typingctx, size):
    """C's aligned_alloc(64, size): 0 where it fails."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(_INT64, [_INT64, _INT64])
        function = cgutils.get_or_insert_function(builder.module, kind, "aligned_alloc")
        return builder.call(function, [_INT64(64), args[0]])

    return types.int64(types.int64), codegen


def _shared(builder, index):
    """A pointer to a word of `support.memory.WORDS`, which compiled code finds by name."""
    kind = ir.ArrayType(_INT64, len(WORDS))
    found = builder.module.globals.get(_SYMBOL)
    words = ir.GlobalVariable(builder.module, kind, _SYMBOL) if found is None else found
    return builder.gep(words, [_INT64(0), _INT64(index)])


@intrinsic
def _ceiling(typingctx):
    def codegen(context, builder, signature, args):
        return builder.load(_shared(builder, CEILING))

    return types.int64(), codegen


@intrinsic
def failures(typingctx):
    """How many allocations have failed in this process so far."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(_shared(builder, FAILURES), "seq_cst", 8)

    return types.int64(), codegen


@intrinsic
def _count_failure(typingctx, size):
    def codegen(context, builder, signature, args):
        builder.store_atomic(args[0], _shared(builder, REFUSED), "monotonic", 8)
        builder.atomic_rmw("add", _shared(builder, FAILURES), _INT64(1), "seq_cst")
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@inner_jit
def allocate(doubles):
    """Address of `doubles` uninitialised doubles on a cache-line boundary, to be given to `release`; or 0.

    Every caller asks whether it is 0, and then leaves with `spoil` on its outputs. The failure is counted,
    and whoever called the kernel from Python raises `MemoryLimitError` (`abi.callable_from_python`).
    """
    size = ((doubles >> 3) + 1) << 6
    address = 0
    if 0 <= doubles and size <= _ceiling():
        address = _aligned(size)
    if address == 0:
        _count_failure(size)
    return address


@inner_jit
def spoil(address, doubles):
    """NaN in an output that cannot be computed for want of memory; nothing if the address is null."""
    if address != 0:
        for i in range(doubles):
            store(address, i, math.nan)


@intrinsic
def scratch(typingctx, doubles):
    """Address of so many doubles on the stack, on a cache-line boundary, until the function returns.

    `doubles` is a constant of at most some thousands. This cannot fail.
    """
    if not isinstance(doubles, types.IntegerLiteral):
        return None
    count = doubles.literal_value

    def codegen(context, builder, signature, args):
        memory = cgutils.alloca_once(builder, ir.ArrayType(_DOUBLE, count))
        memory.align = 64
        return builder.ptrtoint(memory, _INT64)

    return types.int64(doubles), codegen


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
