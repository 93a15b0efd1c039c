"""A team of threads for one task: helpers that linger in the slots of a pool.

The caller never waits for a helper that has not begun.

Starting a POSIX thread costs as much as the work of a small call, so a helper that has finished lingers
for a fraction of a millisecond, yielding the processor, and takes the next task if one comes. What a caller
offered and nobody took it withdraws. So any number of callers may work at once, inside jitted JAX programs
too, and a process forked from one with helpers just has none.

A task is memory of `TAKEN + MAX_THREADS` words or more. NEXT is the part that is taken next, DONE counts the
helpers that have finished; the words between are the caller's.
"""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .abi import inner_jit
from .memory import set_word, word

WORKER = types.int64(types.int64)
"""int64 worker(task)"""

NEXT, DONE = 0, 14
TAKEN = 16  # from here on the slots in which the task was offered
MAX_THREADS = 64

# A slot of the pool is a cache line: its state, the worker, the thread. The state is one of these, or the
# address of the task that is offered in it.
EMPTY, IDLE, RUNNING, CLAIMED = range(4)
SLOT_WORDS = 8
LINGER = 400  # looks at the slot, a system call each, before a helper leaves: about 150 µs

_INT64 = ir.IntType(64)


@cache
def pool() -> np.ndarray:
    """The slots in which helping threads wait: one pool for the process.

    It is never given back, because a helper may still look at its slot while the interpreter ends.
    """
    slots = np.zeros(SLOT_WORDS * MAX_THREADS, dtype=np.int64)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(slots))
    return slots


@intrinsic
def take(typingctx, task, index):
    """The int64 at task + 8·index, which grows by one: atomic."""

    def codegen(context, builder, signature, args):
        address = builder.add(args[0], builder.mul(args[1], _INT64(8)))
        return builder.atomic_rmw("add", builder.inttoptr(address, _INT64.as_pointer()), _INT64(1), "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def exchange(typingctx, address, expected, new):
    """1 if the int64 at the address was `expected` and is `new` now, else 0: atomic."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], _INT64.as_pointer())
        pair = builder.cmpxchg(pointer, args[1], args[2], "seq_cst", "seq_cst")
        return builder.zext(builder.extract_value(pair, 1), _INT64)

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def watch(typingctx, address):
    """The int64 at the address, as other threads have left it."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(builder.inttoptr(args[0], _INT64.as_pointer()), "acquire", 8, typ=_INT64)

    return types.int64(types.int64), codegen


@intrinsic
def publish(typingctx, address, value):
    """Write an int64 for other threads, after all that was written before."""

    def codegen(context, builder, signature, args):
        builder.store_atomic(args[1], builder.inttoptr(args[0], _INT64.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def _yield_processor(typingctx):
    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _start_thread(typingctx, handle, function, argument):
    """pthread_create(handle, NULL, function, argument), detached; 0 if it did."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.IntType(32), [_INT64] * 4)
        create = cgutils.get_or_insert_function(builder.module, kind, "pthread_create")
        failed = builder.call(create, [args[0], _INT64(0), args[1], args[2]])
        with builder.if_then(builder.icmp_signed("==", failed, ir.IntType(32)(0))):
            kind = ir.FunctionType(ir.IntType(32), [_INT64])
            detach = cgutils.get_or_insert_function(builder.module, kind, "pthread_detach")
            builder.call(detach, [builder.load(builder.inttoptr(args[0], _INT64.as_pointer()))])
        return builder.sext(failed, _INT64)

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def call_worker(typingctx, worker, task):
    """Call the worker (int64 → int64) at an address with the task."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(_INT64, [_INT64])
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1]])

    return types.int64(types.int64, types.int64), codegen


def linger(slot):
    """What a helper does: the tasks offered in its slot, until none has come for a while (int64 → int64)."""
    idle = 0
    while idle <= LINGER or exchange(slot, IDLE, EMPTY) == 0:
        task = watch(slot)
        if task > CLAIMED and exchange(slot, task, RUNNING) == 1:
            call_worker(word(slot, 1), task)
            take(task, DONE)
            publish(slot, IDLE)
            idle = 0
        else:
            idle += 1
            _yield_processor()
    return 0


@inner_jit
def offer(pool, helper, worker, task, wanted):
    """Offer the task in up to `wanted` slots, to helpers that linger there or to new ones; how many."""
    offered = 0
    for s in range(MAX_THREADS):
        slot = pool + 8 * SLOT_WORDS * s
        if offered < wanted and word(slot, 0) <= IDLE:
            fresh = exchange(slot, EMPTY, CLAIMED)
            if fresh == 1 or exchange(slot, IDLE, CLAIMED) == 1:
                set_word(slot, 1, worker)
                publish(slot, task)
                if fresh == 1 and _start_thread(slot + 16, helper, slot) != 0:
                    exchange(slot, task, EMPTY)
                    return offered
                set_word(task, TAKEN + offered, slot)
                offered += 1
    return offered


@inner_jit
def collect(task, offered):
    """Withdraw the offers that nobody took, and wait for the helpers that did take one."""
    taken = 0
    for i in range(offered):
        taken += 1 - exchange(word(task, TAKEN + i), task, IDLE)
    while watch(task + 8 * DONE) < taken:
        _yield_processor()


@inner_jit
def work_together(slots, helper, worker, task, threads):
    """Have `worker` (int64 → int64, given the task) called by up to so many threads, until it is done."""
    set_word(task, NEXT, 0)
    set_word(task, DONE, 0)
    offered = 0
    if threads > 1:
        offered = offer(slots, helper, worker, task, threads - 1)
    call_worker(worker, task)
    collect(task, offered)
