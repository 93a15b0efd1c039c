"""Threads over chunks of samples: partial sums with a fixed order, whatever the number of threads.

A chunk is a number of samples that depends on sizes and counts alone. Threads take chunks as they come;
every chunk has its own sums, and these are added in the order of the chunks.

Starting a POSIX thread costs as much as the work of a small call, so a helper that has finished lingers
for a fraction of a millisecond, yielding the processor, and takes the next task if one comes. Helpers
wait in the slots of a pool. A caller never waits for a helper that has not begun: what it offered and
nobody took it withdraws. So any number of callers may work at once, inside jitted JAX programs too, and
a process forked from one with helpers just has none.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..math.abi import inner_jit
from ..math.memory import allocate, clear, load, set_word, store, word
from . import network_blocks as nb
from .network_blocks import matrices_size, pack, padded

# Words of a task: what the threads of one call share.
NEXT, TICKET, CHUNKS, SCRATCH, SCRATCH_BYTES, DESCRIPTOR, ORDER, BLOCK_LENGTH, CHUNK_LENGTH = range(9)
MATRICES, DIRECTIONS, SUMS, SUMS_DOUBLES, WANTED = range(9, 14)
DONE = 14  # helpers that have finished
_TAKEN = 16  # from here on the slots in which the task was offered
MAX_THREADS = 64

# A slot of the pool is a cache line: its state, the worker, the thread. The state is one of these, or the
# address of the task that is offered in it.
EMPTY, IDLE, RUNNING, CLAIMED = range(4)
SLOT_WORDS = 8
_LINGER = 400  # looks at the slot, a system call each, before a helper leaves: about 150 µs

_INT64 = ir.IntType(64)


@intrinsic
def take(typingctx, task, index):
    """The int64 at task + 8·index, which grows by one: atomic."""

    def codegen(context, builder, signature, args):
        address = builder.add(args[0], builder.mul(args[1], _INT64(8)))
        return builder.atomic_rmw("add", builder.inttoptr(address, _INT64.as_pointer()), _INT64(1), "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def _exchange(typingctx, address, expected, new):
    """1 if the int64 at the address was `expected` and is `new` now, else 0: atomic."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], _INT64.as_pointer())
        pair = builder.cmpxchg(pointer, args[1], args[2], "seq_cst", "seq_cst")
        return builder.zext(builder.extract_value(pair, 1), _INT64)

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def _watch(typingctx, address):
    """The int64 at the address, as other threads have left it."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(builder.inttoptr(args[0], _INT64.as_pointer()), "acquire", 8, typ=_INT64)

    return types.int64(types.int64), codegen


@intrinsic
def _publish(typingctx, address, value):
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
def _call_worker(typingctx, worker, task):
    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(_INT64, [_INT64])
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1]])

    return types.int64(types.int64, types.int64), codegen


def linger(slot):
    """What a helper does: the tasks offered in its slot, until none has come for a while (int64 → int64)."""
    idle = 0
    while idle <= _LINGER or _exchange(slot, IDLE, EMPTY) == 0:
        task = _watch(slot)
        if task > CLAIMED and _exchange(slot, task, RUNNING) == 1:
            _call_worker(word(slot, 1), task)
            take(task, DONE)
            _publish(slot, IDLE)
            idle = 0
        else:
            idle += 1
            _yield_processor()
    return 0


@inner_jit
def _offer(pool, helper, worker, task, wanted):
    """Offer the task in up to `wanted` slots, to helpers that linger there or to new ones; how many."""
    offered = 0
    for s in range(MAX_THREADS):
        slot = pool + 8 * SLOT_WORDS * s
        if offered < wanted and word(slot, 0) <= IDLE:
            fresh = _exchange(slot, EMPTY, CLAIMED)
            if fresh == 1 or _exchange(slot, IDLE, CLAIMED) == 1:
                set_word(slot, 1, worker)
                _publish(slot, task)
                if fresh == 1 and _start_thread(slot + 16, helper, slot) != 0:
                    _exchange(slot, task, EMPTY)
                    return offered
                set_word(task, _TAKEN + offered, slot)
                offered += 1
    return offered


@inner_jit
def _collect(task, offered):
    """Withdraw the offers that nobody took, and wait for the helpers that did take one."""
    taken = 0
    for i in range(offered):
        taken += 1 - _exchange(word(task, _TAKEN + i), task, IDLE)
    while _watch(task + 8 * DONE) < taken:
        _yield_processor()


@inner_jit
def run_chunks(
    worker, descriptor, theta, v, order, wanted, block, chunk, threads, sums_doubles, rows_doubles
):  # fmt: skip
    """Have `worker` fill the sums of all chunks; the task's address, or 0 if there is no memory for it.

    The worker is int64 → int64, given the task. The sums of the whole stand in the task's SUMS; give the
    memory back with `release(task)`. `v` may be null.
    """
    count = word(descriptor, nb.COUNT)
    chunks = (count + chunk - 1) // chunk
    threads = max(1, min(threads, chunks, MAX_THREADS))
    doubles = padded(matrices_size(descriptor))
    scratch_doubles = padded(nb.TABLE_WORDS * (word(descriptor, nb.LAYERS) + 1) + rows_doubles)
    all_sums = padded(chunks * sums_doubles)
    head = padded(_TAKEN + MAX_THREADS)
    task = allocate(head + 2 * doubles + all_sums + threads * scratch_doubles)
    if task == 0:
        return task
    matrices = task + 8 * head
    directions = matrices + 8 * doubles
    sums = directions + 8 * doubles
    set_word(task, NEXT, 0)
    set_word(task, TICKET, 0)
    set_word(task, DONE, 0)
    set_word(task, CHUNKS, chunks)
    set_word(task, SCRATCH, sums + 8 * all_sums)
    set_word(task, SCRATCH_BYTES, 8 * scratch_doubles)
    set_word(task, DESCRIPTOR, descriptor)
    set_word(task, ORDER, order)
    set_word(task, WANTED, wanted)
    set_word(task, BLOCK_LENGTH, block)
    set_word(task, CHUNK_LENGTH, chunk)
    set_word(task, MATRICES, matrices)
    set_word(task, DIRECTIONS, directions)
    set_word(task, SUMS, sums)
    set_word(task, SUMS_DOUBLES, sums_doubles)
    pack(descriptor, theta, matrices)
    if v != 0:
        pack(descriptor, v, directions)
    clear(sums, chunks * sums_doubles)

    offered = 0
    if threads > 1:
        offered = _offer(word(descriptor, nb.POOL), word(descriptor, nb.HELPER), worker, task, threads - 1)
    _call_worker(worker, task)
    _collect(task, offered)
    for c in range(1, chunks):
        part = sums + 8 * c * sums_doubles
        for k in range(sums_doubles):
            store(sums, k, load(sums, k) + load(part, k))
    return task
