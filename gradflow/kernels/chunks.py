"""Threads over chunks of samples: partial sums with a fixed order, whatever the number of threads.

A chunk is a number of samples that depends on sizes and counts alone. Threads take chunks as they come;
every chunk has its own sums, and these are added in the order of the chunks. The threads are POSIX
threads, started for the call and joined before it returns: no pool, so nothing breaks across a fork,
and any number of callers may work at once, inside jitted JAX programs too.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .abi import inner_jit
from .memory import allocate, clear, load, set_word, store, word
from .network_blocks import COUNT, LAYERS, TABLE_WORDS, matrices_size, pack, padded

# Words of a task: what the threads of one call share.
NEXT, TICKET, CHUNKS, SCRATCH, SCRATCH_BYTES, DESCRIPTOR, ORDER, BLOCK_LENGTH, CHUNK_LENGTH = range(9)
MATRICES, DIRECTIONS, SUMS, SUMS_DOUBLES, WANTED = range(9, 14)
_HANDLES = 16  # from here on the threads
MAX_THREADS = 64

_INT64 = ir.IntType(64)


@intrinsic
def take(typingctx, task, index):
    """The int64 at task + 8·index, which grows by one: atomic."""

    def codegen(context, builder, signature, args):
        address = builder.add(args[0], builder.mul(args[1], _INT64(8)))
        return builder.atomic_rmw("add", builder.inttoptr(address, _INT64.as_pointer()), _INT64(1), "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def _start_thread(typingctx, handle, worker, task):
    """pthread_create(handle, NULL, worker, task); 0 if it did."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.IntType(32), [_INT64] * 4)
        function = cgutils.get_or_insert_function(builder.module, kind, "pthread_create")
        return builder.sext(builder.call(function, [args[0], _INT64(0), args[1], args[2]]), _INT64)

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def _join_thread(typingctx, handle):
    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.IntType(32), [_INT64] * 2)
        function = cgutils.get_or_insert_function(builder.module, kind, "pthread_join")
        builder.call(function, [args[0], _INT64(0)])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def _call_worker(typingctx, worker, task):
    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(_INT64, [_INT64])
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1]])

    return types.int64(types.int64, types.int64), codegen


@inner_jit
def run_chunks(
    worker, descriptor, theta, v, order, wanted, block, chunk, threads, sums_doubles, rows_doubles
):  # fmt: skip
    """Have `worker` (int64 → int64, given the task) fill the sums of all chunks; the task's address.

    The sums of the whole stand in its SUMS; give the memory back with `release(task)`. `v` may be null.
    """
    count = word(descriptor, COUNT)
    chunks = (count + chunk - 1) // chunk
    threads = max(1, min(threads, chunks, MAX_THREADS))
    doubles = padded(matrices_size(descriptor))
    scratch_doubles = padded(TABLE_WORDS * (word(descriptor, LAYERS) + 1) + rows_doubles)
    all_sums = padded(chunks * sums_doubles)
    head = padded(_HANDLES + MAX_THREADS)
    task = allocate(head + 2 * doubles + all_sums + threads * scratch_doubles)
    matrices = task + 8 * head
    directions = matrices + 8 * doubles
    sums = directions + 8 * doubles
    set_word(task, NEXT, 0)
    set_word(task, TICKET, 0)
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

    started = 1
    while started < threads and _start_thread(task + 8 * (_HANDLES + started), worker, task) == 0:
        started += 1
    _call_worker(worker, task)
    for t in range(1, started):
        _join_thread(word(task, _HANDLES + t))
    for c in range(1, chunks):
        part = sums + 8 * c * sums_doubles
        for k in range(sums_doubles):
            store(sums, k, load(sums, k) + load(part, k))
    return task
