"""The population gradient linearised at one θ: L, ∇L and what products ∇²L v there need, in one pass.

A Krylov method asks for one gradient and then for several products at the same point, of which it needs some
digits only. Pair kernels are functions of s = w·w', p = |w|² and q = |w'|², so that with m = 2 a·a' and the
inner products I_ij = v_i·w_j of the direction with all rows

    (∇²L v)_w = X rows + Y v,   Y_ij = m α + δ_ij Σ_j m β,
    X_ij = m K_ss (I_ij + I_ji) + 2 m K_sp I_ii + 2 m K_sq I_jj + m' α,
    X_ii gets in addition Σ_j [2 m K_sp (I_ij + I_ji) + 4 m K_pq I_jj + 4 m K_pp I_ii + m' β],

m' being the derivative of m along v, and teachers do not move. These coefficients are kept in 32 bits, where
a product is two `sgemm`s and one pass over them: at n = 50, k = 100 half a gradient. The few pairs that
are nearly collinear, where the derivatives of kinked kernels cancel, keep the normal n̂ of the pair and its
frame components (`pairs.units`) instead.

Rows of pairs are worked on in blocks whose number depends on sizes alone, by as many threads as there are:
bits do not depend on them. For units without biases. See `docs/population-loss.md`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from ..math.abi import as_pointer, inner_jit, summing_jit
from ..math.blas import copy, matmul, matmul_in_place, matrix, vector
from ..math.errorfree import two_sum
from ..math.memory import load, set_word, store, word
from ..math.single import matmul32, matrix32, vector32
from ..math.team import MAX_THREADS, NEXT, TAKEN, take, work_together
from ..pairs import units as at
from . import geometry as gm
from .derivatives import (
    back_to_parameters,
    first_order_row,
    overlap_row,
    pair_row,
    stack_outputs,
    weighted_sum,
)
from .geometry import NEAR, pair_normal, prepare

_BLOCK, _BLOCKS = 250, 8
"""Rows in a block, at least, and blocks at most. Shorter blocks cost more in BLAS than a second thread gains
(measured: a hundred rows in blocks of 25 take 1.4 times as long)."""

_LEAST = 500
"""Parameters from which on products in 32 bits are offered: below they save nothing, and what a flow has of a
mode may be as small as the rounding of Float64."""

_SMALL, _LARGE = 1e-6, 1e15
"""Norms and output weights beyond these have no products in 32 bits: nor has a flow that leaves the
neighbourhood of zero, where small parts of modes become large."""

_OVERFLOW = 1e30

_ENTRY = 12
"""Doubles of an entry of a near pair before its normal: i, j, and A00, A01, A11, B00, B01, B10, B11, each
times m; cos θ, sin θ; and one left."""

VALID, DESCRIPTOR, HEADER = 0, 1, 8
"""Words at the beginning of the memory: whether products can be had, and the descriptor; from HEADER on a
task, and the addresses of the parts."""

(
    ROWS, UNITS, GRAM, OUTPUTS, TABLES, SUMS, PARTIAL, WORK, NEARS, COUNTS, SHORT_ROWS, INNER, IMAGES, SS, SP,
    SQ, PQ, ALPHA, BETA, VALUE, PP, PULL, SHORT_OUTPUTS, TURNED, DIAGONAL, MOVED, RESULTS, SHORT_IMAGE, END,
) = range(29)  # fmt: skip
"""Parts of the memory. Doubles: rows, records, Gram matrix, output weights, tables of units, Σ_j a_pj K_ij,
losses of blocks, work space of blocks, near pairs and their numbers. 32 bits: rows and below them v; I
(n, n+k); X and Y side by side (n, 2n+k); m K_ss, 2 m K_sp (n, n+k); 2 m K_sq, 4 m K_pq (n, n); α, β (n, n+k);
K (n, n); Σ_j 4 m K_pp (n); Σ_j 2 a_pj β_ij (o, n); output weights; the students' columns of I as rows, and
its diagonal; the directions of output weights; sums of blocks; (∇²L v)_w."""


@inner_jit
def _descriptor(address):
    return carray(as_pointer(address), gm.DESCRIPTOR_SIZE, np.int64)


@inner_jit
def _blocks(n):
    return max(1, min(n // _BLOCK, _BLOCKS))


@inner_jit
def _near_room(n):
    """Near pairs that a block has room for."""
    return 4 * n + 64


@inner_jit
def _work_size(every):
    """Doubles of work space of a block: geometry and table of a row of pairs, overlaps, 1/|w|, five more."""
    return every * (9 + at.ROWS)


@inner_jit
def _doubles(part, n, k, d, o, table):
    """The size of a part, in doubles."""
    every = n + k
    blocks = _blocks(n)
    if part == ROWS:
        return every * d
    if part == UNITS:
        return every * at.FIELDS
    if part == GRAM:
        return n * every
    if part == OUTPUTS:
        return o * every
    if part == TABLES:
        return n * table
    if part == SUMS:
        return o * n
    if part == PARTIAL:
        return 2 * blocks
    if part == WORK:
        return blocks * _work_size(every)
    if part == NEARS:
        return blocks * _near_room(n) * (_ENTRY + d)
    if part == COUNTS:
        return blocks
    return _singles(part, n, k, d, o, blocks) // 2 + 1


@inner_jit
def _singles(part, n, k, d, o, blocks):
    every = n + k
    if part == SHORT_ROWS:
        return (every + n) * d
    if part == IMAGES:
        return n * (every + n)
    if part == INNER or part == SS or part == SP or part == ALPHA or part == BETA:
        return n * every
    if part == SQ or part == PQ or part == VALUE or part == TURNED:
        return n * n
    if part == PP or part == DIAGONAL:
        return n
    if part == PULL or part == MOVED:
        return o * n
    if part == SHORT_OUTPUTS:
        return o * every
    if part == RESULTS:
        return blocks * (2 * o * n + every)
    return n * d


def room(descriptor_address, result, unused_1, unused_2, unused_3, unused_4):
    """How many doubles of memory a linearisation takes.

    0 where there is none: units with biases, few parameters.
    """
    descriptor = _descriptor(descriptor_address)
    n, k, d, o = descriptor[gm.STUDENTS], descriptor[gm.TEACHERS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    total = HEADER + TAKEN + MAX_THREADS + END + 8
    for part in range(END):
        total += (_doubles(part, n, k, d, o, descriptor[gm.TABLE_SIZE]) // 8 + 1) * 8
    biased = descriptor[gm.BIASED] + descriptor[gm.OUTPUT_BIAS] + descriptor[gm.HIDDEN_BIAS]
    set_word(result, 0, 0 if biased != 0 or n * (d + o) < _LEAST else total)


@inner_jit
def _task(memory):
    return memory + 8 * HEADER


@inner_jit
def _part(memory, part):
    """The address of a part."""
    return word(memory, HEADER + TAKEN + MAX_THREADS + part)


@inner_jit
def _place(descriptor, memory):
    """Write the addresses of the parts."""
    n, k, d, o = descriptor[gm.STUDENTS], descriptor[gm.TEACHERS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    table = HEADER + TAKEN + MAX_THREADS
    address = memory + 8 * (table + END)
    for part in range(END):
        set_word(memory, table + part, address)
        address += 64 * (_doubles(part, n, k, d, o, descriptor[gm.TABLE_SIZE]) // 8 + 1)


@inner_jit
def _together(descriptor, memory, worker):
    """Have the blocks worked on; the task stands in the memory, its word 1 is the memory."""
    task = _task(memory)
    set_word(task, 1, memory)
    slots, helper = descriptor[gm.POOL], descriptor[gm.HELPER]
    threads = min(descriptor[gm.THREADS], _blocks(descriptor[gm.STUDENTS]))
    work_together(slots, helper, worker, task, threads)


def linearise(descriptor_address, theta, memory, loss_address, gradient_address, unused):
    """L and ∇L at θ, and the memory (`room` doubles) ready for `times`, if its word VALID is 1 then."""
    descriptor = _descriptor(descriptor_address)
    n, k, d, o = descriptor[gm.STUDENTS], descriptor[gm.TEACHERS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    every = n + k
    _place(descriptor, memory)
    set_word(memory, VALID, 1)
    set_word(memory, DESCRIPTOR, descriptor_address)
    rows_at, units_at, outputs_at = _part(memory, ROWS), _part(memory, UNITS), _part(memory, OUTPUTS)
    stack_outputs(descriptor, theta, outputs_at)
    prepare(
        descriptor_address, np.int64(2), theta, rows_at, units_at, _part(memory, GRAM), _part(memory, TABLES)
    )
    units, outputs = matrix(units_at, every, at.FIELDS), matrix(outputs_at, o, every)
    for j in range(every):
        if units[j, at.SCALE] != 1.0 or not _SMALL < units[j, at.NORM] < _LARGE:
            set_word(memory, VALID, 0)
    for p in range(o):
        for j in range(every):
            size = abs(outputs[p, j])
            if size != 0.0 and not _SMALL < size < _LARGE:
                set_word(memory, VALID, 0)
    _shorten(every * d, rows_at, _part(memory, SHORT_ROWS))
    _shorten(o * every, outputs_at, _part(memory, SHORT_OUTPUTS))
    set_word(_task(memory), 2, gradient_address)
    _together(descriptor, memory, descriptor[gm.LINEARISE_WORK])
    loss = vector(descriptor[gm.CONSTANT], 1)[0]
    correction, partial = 0.0, _part(memory, PARTIAL)
    for b in range(_blocks(n)):
        loss, error = two_sum(loss, load(partial, 2 * b))
        correction += error + load(partial, 2 * b + 1)
    store(loss_address, 0, loss + correction)
    back_to_parameters(descriptor, 0, gradient_address)
    sums = _part(memory, SUMS)
    copy(o * n, sums, gradient_address + 8 * n * d)


@inner_jit
def _shorten(count, source, target):
    given, short = vector(source, count), vector32(target, count)
    for i in range(count):
        short[i] = np.float32(given[i])


def linearise_work(task):
    """Rows of pairs: the loss and ∇L as in `derivatives`, and the coefficients (int64 → int64)."""
    memory = word(task, 1)
    descriptor = _descriptor(word(memory, DESCRIPTOR))
    n = descriptor[gm.STUDENTS]
    blocks = _blocks(n)
    b = take(task, NEXT)
    while b < blocks:
        _linearise_block(descriptor, memory, b, n * b // blocks, n * (b + 1) // blocks, word(task, 2))
        b = take(task, NEXT)
    return 0


@inner_jit
def _linearise_block(descriptor, memory, b, first, last, gradient_address):
    n, k, d, o = descriptor[gm.STUDENTS], descriptor[gm.TEACHERS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    every = n + k
    rows_at, units_at, gram_at = _part(memory, ROWS), _part(memory, UNITS), _part(memory, GRAM)
    geometry = _part(memory, WORK) + 8 * b * _work_size(every)
    table = geometry + 16 * every
    overlaps_at = table + 8 * at.ROWS * every
    units, outputs = matrix(units_at, every, at.FIELDS), matrix(_part(memory, OUTPUTS), o, every)
    gram, overlaps = matrix(gram_at, n, every), vector(overlaps_at, every)
    inverses, work = vector(overlaps_at + 8 * every, every), overlaps_at + 16 * every
    for j in range(every):
        inverses[j] = units[j, at.INVERSE]
    own, other = matrix(table, at.ROWS, n), matrix(table + 8 * at.ROWS * n, at.ROWS, k)
    sums, near = matrix(_part(memory, SUMS), o, n), np.int64(0)
    loss, correction = 0.0, 0.0
    for i in range(first, last):
        pair_row(descriptor, np.int64(2), i, rows_at, units_at, gram_at, geometry, table)
        overlap_row(i, outputs, overlaps)
        near = _near_pairs(memory, b, i, n, k, d, near, geometry, table, overlaps, gram)
        total = _coefficients(memory, i, n, k, o, np.int64(0), n, geometry, table, overlaps, inverses, work)
        total += _coefficients(
            memory, i, n, k, o, n, k, geometry + 16 * n, table + 8 * at.ROWS * n, overlaps, inverses, work
        )  # fmt: skip
        if not total < _OVERFLOW or near > _near_room(n):
            set_word(memory, VALID, 0)
        # From here on row i of the Gram matrix is row i of M.
        diagonal = first_order_row(i, np.int64(0), n, own, units, overlaps, gram)
        diagonal += first_order_row(i, n, k, other, units, overlaps, gram)
        gram[i, i] += diagonal * units[i, at.SCALE]
        for p in range(o):
            high_s, low_s = weighted_sum(outputs, p, np.int64(0), n, own)
            high_t, low_t = weighted_sum(outputs, p, n, k, other)
            loss, error = two_sum(loss, outputs[p, i] * high_s)
            correction += error + outputs[p, i] * low_s
            loss, error = two_sum(loss, 2.0 * outputs[p, i] * high_t)
            correction += error + 2.0 * outputs[p, i] * low_t
            sums[p, i] = 2.0 * ((high_s + high_t) + (low_s + low_t))
    partial = _part(memory, PARTIAL)
    store(partial, 2 * b, loss)
    store(partial, 2 * b + 1, correction)
    set_word(_part(memory, COUNTS), b, near)
    target, source = gradient_address + 8 * first * d, gram_at + 8 * first * every
    matmul(descriptor[gm.DGEMM], last - first, d, every, source, False, rows_at, False, 0.0, target)


@inner_jit
def _near_pairs(memory, b, i, n, k, d, near, geometry, table, overlaps, gram):
    """Note the pairs of row i that are nearly collinear, behind the `near` that there are; how many then."""
    rows, units = matrix(_part(memory, ROWS), n + k, d), matrix(_part(memory, UNITS), n + k, at.FIELDS)
    limit, entries = _near_room(n), _part(memory, NEARS) + 8 * b * _near_room(n) * (_ENTRY + d)
    for part in range(2):
        start, count = (0, n) if part == 0 else (n, k)
        angle = matrix(geometry + 16 * start, 2, count)
        values = matrix(table + 8 * at.ROWS * start, at.ROWS, count)
        for column in range(count):
            j = start + column
            if angle[1, column] >= NEAR or j == i:
                continue
            if near < limit:
                entry = entries + 8 * near * (_ENTRY + d)
                sine2, twice = angle[1, column], 2.0 * overlaps[j]
                set_word(entry, 0, i)
                set_word(entry, 1, j)
                for row in range(7):
                    store(entry, 2 + row, twice * values[at.A00 + row, column])
                store(entry, 9, angle[0, column])
                store(entry, 10, math.sqrt(sine2))
                normal = vector(entry + 8 * _ENTRY, d)
                if sine2 > 0.0:
                    inverses = units[i, at.INVERSE], units[j, at.INVERSE]
                    pair_normal(rows[i], inverses[0], rows[j], inverses[1], gram[i, j], sine2, normal)
                else:
                    for a in range(d):
                        normal[a] = 0.0
            near += 1
    return near


@summing_jit
def _coefficients(memory, i, n, k, o, start, count, geometry, table, overlaps, inverses, work):
    """One part of row i of the coefficients; the sum of their absolute values, in which NaN is seen."""
    every, mine = n + k, start == 0
    units = matrix(_part(memory, UNITS), every, at.FIELDS)
    outputs = matrix(_part(memory, OUTPUTS), o, every)
    angle, own = matrix(geometry, 2, count), matrix(table, at.ROWS, count)
    line = 4 * (i * every + start)
    ss, sp = vector32(_part(memory, SS) + line, count), vector32(_part(memory, SP) + line, count)
    first, second = vector32(_part(memory, ALPHA) + line, count), vector32(_part(memory, BETA) + line, count)
    square = 4 * i * n if mine else 0
    sq, pq = vector32(_part(memory, SQ) + square, count), vector32(_part(memory, PQ) + square, count)
    value = vector32(_part(memory, VALUE) + square, count)
    images = vector32(_part(memory, IMAGES) + 4 * (i * (every + n) + every), n)
    u = units[i, at.INVERSE]
    scratch = matrix(work, 5, count)
    over, slant, m, across, other = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    size, pp, diagonal = 0.0, 0.0, 0.0
    # Loops that write one vector and read few: others are not vectorised.
    for c in range(count):
        apart = angle[1, c] >= NEAR
        over[c] = 1.0 / math.sqrt(angle[1, c] if apart else 1.0)
    for c in range(count):
        m[c] = 2.0 * overlaps[start + c] if angle[1, c] >= NEAR else 0.0
    for c in range(count):
        slant[c] = angle[0, c] * over[c]
    for c in range(count):
        across[c] = own[at.A01, c] - own[at.A11, c] * slant[c]
    for c in range(count):
        over[c] *= inverses[start + c]
    for c in range(count):
        ss[c] = np.float32(m[c] * own[at.A11, c] * over[c] * over[c])
    for c in range(count):
        sp[c] = np.float32(m[c] * over[c] * u * across[c])
    for c in range(count):
        first[c] = np.float32(own[at.ALPHA, c])
    for c in range(count):
        second[c] = np.float32(own[at.BETA, c])
    for c in range(count):
        pp += m[c] * (own[at.A00, c] - slant[c] * (own[at.A01, c] + across[c]))
    pp *= u * u
    for c in range(count):
        diagonal += 2.0 * overlaps[start + c] * own[at.BETA, c]
    for c in range(count):
        size += abs(ss[c]) + abs(sp[c]) + abs(first[c]) + abs(second[c])
    if mine:
        for c in range(count):
            other[c] = own[at.B10, c] - own[at.B11, c] * slant[c]
        for c in range(count):
            sq[c] = np.float32(m[c] * over[c] * inverses[c] * other[c])
        for c in range(count):
            other[c] = own[at.B00, c] - slant[c] * (own[at.B01, c] + other[c])
        for c in range(count):
            pq[c] = np.float32(m[c] * u * inverses[c] * other[c])
        for c in range(count):
            value[c] = np.float32(own[at.VALUE, c])
        for c in range(count):
            images[c] = np.float32(2.0 * overlaps[c] * own[at.ALPHA, c])
        for c in range(count):
            size += abs(sq[c]) + abs(pq[c])
    if mine:  # the pair of the unit with itself: v moves both
        pp += 2.0 * overlaps[i] * u * u * (own[at.A00, i] + own[at.B00, i])
    whole, pulls = vector32(_part(memory, PP), n), matrix32(_part(memory, PULL), o, n)
    whole[i] = np.float32(pp) if mine else whole[i] + np.float32(pp)
    images[i] = images[i] + np.float32(diagonal)
    for p in range(o):
        pull = 0.0
        for c in range(count):
            pull += 2.0 * outputs[p, start + c] * own[at.BETA, c]
        pulls[p, i] = np.float32(pull) if mine else pulls[p, i] + np.float32(pull)
    return size + abs(pp)


def times(descriptor_address, memory, v, result, unused_1, unused_2):
    """∇²L v at the point of the memory, to some seven digits of its terms."""
    descriptor = _descriptor(descriptor_address)
    n, k, d, o = descriptor[gm.STUDENTS], descriptor[gm.TEACHERS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    every, size = n + k, n * d + o * n
    given, image = vector(v, size), vector(result, size)
    largest = _total(size, v)
    if largest == 0.0 or not largest < math.inf:
        for i in range(size):
            image[i] = 0.0 * given[i]
        return
    unit = math.ldexp(1.0, max(math.frexp(largest)[1], -1000))
    for i in range(size):
        image[i] = given[i] / unit
    moved = vector32(_part(memory, MOVED), o * n)
    for i in range(o * n):
        moved[i] = np.float32(image[n * d + i])
    if descriptor[gm.FACTOR] != 0:
        matmul_in_place(descriptor[gm.DGEMM], n, d, result, descriptor[gm.FACTOR])
    _shorten(n * d, result, _part(memory, SHORT_ROWS) + 4 * every * d)
    _together(descriptor, memory, descriptor[gm.INNER_WORK])
    inner, diagonal = matrix32(_part(memory, INNER), n, every), vector32(_part(memory, DIAGONAL), n)
    for i in range(n):
        diagonal[i] = inner[i, i]
    _together(descriptor, memory, descriptor[gm.IMAGE_WORK])
    short = vector32(_part(memory, SHORT_IMAGE), n * d)
    for i in range(n * d):
        image[i] = np.float64(short[i])
    results, blocks = _part(memory, RESULTS), _blocks(n)
    for i in range(o * n):
        image[n * d + i] = 0.0
    for b in range(blocks):
        sums = vector32(results + 4 * b * (2 * o * n + every), 2 * o * n)
        for i in range(o * n):
            image[n * d + i] += np.float64(sums[i]) + np.float64(sums[o * n + i])
    if descriptor[gm.FACTOR] != 0:
        matmul_in_place(descriptor[gm.DGEMM], n, d, result, descriptor[gm.FACTOR])
    for i in range(size):
        image[i] *= unit


@summing_jit
def _total(size, v):
    """Σ |v|, which is no number if an entry is none: a vector's loop, where a maximum is not."""
    given, total = vector(v, size), 0.0
    for i in range(size):
        total += abs(given[i])
    return total


def inner_work(task):
    """Rows of I (int64 → int64)."""
    memory = word(task, 1)
    descriptor = _descriptor(word(memory, DESCRIPTOR))
    n, k, d = descriptor[gm.STUDENTS], descriptor[gm.TEACHERS], descriptor[gm.DIM]
    every, rows = n + k, _part(memory, SHORT_ROWS)
    blocks = _blocks(n)
    b = take(task, NEXT)
    while b < blocks:
        first, last = n * b // blocks, n * (b + 1) // blocks
        own, target = rows + 4 * (every + first) * d, _part(memory, INNER) + 4 * first * every
        matmul32(descriptor[gm.SGEMM], last - first, every, d, own, rows, True, target)
        b = take(task, NEXT)
    return 0


def image_work(task):
    """Rows of X, and (∇²L v)_w of them; sums for (∇²L v)_a (int64 → int64)."""
    memory = word(task, 1)
    descriptor = _descriptor(word(memory, DESCRIPTOR))
    n = descriptor[gm.STUDENTS]
    blocks = _blocks(n)
    b = take(task, NEXT)
    while b < blocks:
        _image_block(descriptor, memory, b, n * b // blocks, n * (b + 1) // blocks)
        b = take(task, NEXT)
    return 0


_TILE = 16


@inner_jit
def _turn(first, last, n, every, inner, turned):
    """Rows of the transposed students' part of I."""
    source, target = matrix32(inner, n, every), matrix32(turned, n, n)
    for i0 in range(first, last, _TILE):
        for j0 in range(0, n, _TILE):
            for i in range(i0, min(i0 + _TILE, last)):
                for j in range(j0, min(j0 + _TILE, n)):
                    target[i, j] = source[j, i]


@inner_jit
def _image_block(descriptor, memory, b, first, last):
    n, k, d, o = descriptor[gm.STUDENTS], descriptor[gm.TEACHERS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    every = n + k
    inner = _part(memory, INNER)
    _turn(first, last, n, every, inner, _part(memory, TURNED))
    sums = _part(memory, RESULTS) + 4 * b * (2 * o * n + every)
    change = sums + 8 * o * n
    results, spread = matrix32(sums, o, n), matrix32(sums + 4 * o * n, o, n)
    outputs, moved = matrix32(_part(memory, SHORT_OUTPUTS), o, every), matrix32(_part(memory, MOVED), o, n)
    pulls, whole = matrix32(_part(memory, PULL), o, n), vector32(_part(memory, PP), n)
    own_inner = vector32(_part(memory, DIAGONAL), n)
    two = np.float32(2.0)
    for p in range(o):
        for j in range(n):
            results[p, j] = np.float32(0.0)
            spread[p, j] = np.float32(0.0)
    for i in range(first, last):
        line, square = 4 * i * every, 4 * i * n
        self_inner = own_inner[i]
        _moved_row(o, n, every, i, outputs, moved, change)
        x = _part(memory, IMAGES) + 4 * i * (every + n)
        extra = _student_row(
            n, self_inner, _part(memory, DIAGONAL), inner + line, _part(memory, TURNED) + square, change,
            _part(memory, SS) + line, _part(memory, SP) + line, _part(memory, SQ) + square,
            _part(memory, PQ) + square, _part(memory, ALPHA) + line, _part(memory, BETA) + line, x,
        )  # fmt: skip
        rest = line + 4 * n
        extra += _teacher_row(
            k, self_inner, inner + rest, change + 4 * n, _part(memory, SS) + rest, _part(memory, SP) + rest,
            _part(memory, ALPHA) + rest, _part(memory, BETA) + rest, x + 4 * n,
        )  # fmt: skip
        mine = vector32(x, n)
        mine[i] += extra + whole[i] * self_inner
        for p in range(o):
            results[p, i] += pulls[p, i] * self_inner + two * _pulled(
                n, every, _part(memory, SHORT_OUTPUTS) + 4 * p * every, _part(memory, ALPHA) + line,
                inner + line, _part(memory, TURNED) + square, _part(memory, VALUE) + square,
                _part(memory, MOVED) + 4 * p * n,
            )  # fmt: skip
            _axpy(n, two * outputs[p, i] * self_inner, _part(memory, BETA) + line,
                  sums + 4 * (o + p) * n)  # fmt: skip
    _nearly_collinear(memory, b, n, every, d)
    x = _part(memory, IMAGES) + 4 * first * (every + n)
    target = _part(memory, SHORT_IMAGE) + 4 * first * d
    matmul32(
        descriptor[gm.SGEMM], last - first, d, every + n, x, _part(memory, SHORT_ROWS), False, target
    )  # fmt: skip


@inner_jit
def _moved_row(o, n, every, i, outputs, moved, change):
    """m' of all pairs of row i."""
    row, two = vector32(change, every), np.float32(2.0)
    for j in range(every):
        row[j] = np.float32(0.0)
    for p in range(o):
        own, mine = two * moved[p, i], two * outputs[p, i]
        for j in range(every):
            row[j] += own * outputs[p, j]
        for j in range(n):
            row[j] += mine * moved[p, j]


@summing_jit
def _student_row(n, self_inner, own_inner, inner, turned, change, ss, sp, sq, pq, alpha, beta, x):
    """One row of X with the students; what X_ii gets in addition."""
    I, T, m = vector32(inner, n), vector32(turned, n), vector32(change, n)
    a, c, e, f = vector32(ss, n), vector32(sp, n), vector32(sq, n), vector32(pq, n)
    g, h, out = vector32(alpha, n), vector32(beta, n), vector32(x, n)
    own = vector32(own_inner, n)
    total = np.float32(0.0)
    for j in range(n):  # loops that write with few that they read: more are not vectorised
        out[j] = a[j] * (I[j] + T[j]) + c[j] * self_inner
    for j in range(n):
        out[j] += e[j] * own[j] + m[j] * g[j]
    for j in range(n):
        total += c[j] * (I[j] + T[j]) + f[j] * own[j] + m[j] * h[j]
    return total


@summing_jit
def _teacher_row(k, self_inner, inner, change, ss, sp, alpha, beta, x):
    """The same with the teachers."""
    I, m, a, c = vector32(inner, k), vector32(change, k), vector32(ss, k), vector32(sp, k)
    g, h, out = vector32(alpha, k), vector32(beta, k), vector32(x, k)
    total = np.float32(0.0)
    for j in range(k):
        out[j] = a[j] * I[j] + c[j] * self_inner + m[j] * g[j]
    for j in range(k):
        total += c[j] * I[j] + m[j] * h[j]
    return total


@summing_jit
def _pulled(n, every, outputs, alpha, inner, turned, value, moved):
    """Σ_j a_pj α_ij (I_ij + I_ji) + Σ_j K_ij v_pj."""
    a, g, I, T = vector32(outputs, every), vector32(alpha, every), vector32(inner, every), vector32(turned, n)
    K, m = vector32(value, n), vector32(moved, n)
    total = np.float32(0.0)
    for j in range(n):
        total += a[j] * g[j] * T[j] + K[j] * m[j]
    for j in range(every):
        total += a[j] * g[j] * I[j]
    return total


@inner_jit
def _axpy(n, factor, source, target):
    a, b = vector32(source, n), vector32(target, n)
    for j in range(n):
        b[j] += factor * a[j]


@inner_jit
def _nearly_collinear(memory, b, n, every, d):
    """What the near pairs of a block add to X, by their normals."""
    entries = _part(memory, NEARS) + 8 * b * _near_room(n) * (_ENTRY + d)
    units, inner = matrix(_part(memory, UNITS), every, at.FIELDS), matrix32(_part(memory, INNER), n, every)
    directions = matrix32(_part(memory, SHORT_ROWS) + 4 * every * d, n, d)
    x = matrix32(_part(memory, IMAGES), n, every + n)
    for number in range(word(_part(memory, COUNTS), b)):
        entry = entries + 8 * number * (_ENTRY + d)
        i, j = word(entry, 0), word(entry, 1)
        A00, A01, A11 = load(entry, 2), load(entry, 3), load(entry, 4)
        B00, B01, B10, B11 = load(entry, 5), load(entry, 6), load(entry, 7), load(entry, 8)
        cosine, sine, normal = load(entry, 9), load(entry, 10), entry + 8 * _ENTRY
        u, uj = units[i, at.INVERSE], units[j, at.INVERSE]
        radial_i, radial_j, normal_j = inner[i, i] * u, 0.0, 0.0
        normal_i = _along(d, normal, directions[i])
        if j < n:
            radial_j = inner[j, j] * uj
            normal_j = sine * inner[j, i] * u - cosine * _along(d, normal, directions[j])
        radial = A00 * radial_i + A01 * normal_i + B00 * radial_j + B01 * normal_j
        across = A01 * radial_i + A11 * normal_i + B10 * radial_j + B11 * normal_j
        over = 1.0 / sine if sine > 0.0 else 0.0
        x[i, j] += np.float32(across * over * uj)
        x[i, i] += np.float32((radial - across * cosine * over) * u)


@summing_jit
def _along(d, normal, direction):
    a, total = vector(normal, d), 0.0
    for c in range(d):
        total += a[c] * direction[c]
    return total
