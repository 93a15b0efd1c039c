"""Threads over chunks of samples: partial sums with a fixed order, whatever the number of threads.

A chunk is a number of samples that depends on sizes and counts alone. Threads (`math.team`) take chunks as
they come; every chunk has its own sums, and these are added in the order of the chunks.
"""

from __future__ import annotations

from ..math.abi import inner_jit
from ..math.memory import allocate, clear, load, set_word, store, word
from ..math.team import MAX_THREADS, TAKEN, work_together
from . import network_blocks as nb
from .network_blocks import matrices_size, pack, padded

# Words of a task: what the threads of one call share.
TICKET, CHUNKS, SCRATCH, SCRATCH_BYTES, DESCRIPTOR, ORDER, BLOCK_LENGTH, CHUNK_LENGTH = range(1, 9)
MATRICES, DIRECTIONS, SUMS, SUMS_DOUBLES, WANTED = range(9, 14)


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
    head = padded(TAKEN + MAX_THREADS)
    task = allocate(head + 2 * doubles + all_sums + threads * scratch_doubles)
    if task == 0:
        return task
    matrices = task + 8 * head
    directions = matrices + 8 * doubles
    sums = directions + 8 * doubles
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

    work_together(word(descriptor, nb.POOL), word(descriptor, nb.HELPER), worker, task, threads)
    for c in range(1, chunks):
        part = sums + 8 * c * sums_doubles
        for k in range(sums_doubles):
            store(sums, k, load(sums, k) + load(part, k))
    return task
