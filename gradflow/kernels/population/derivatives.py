"""The population loss of one hidden layer: L, ∇L, ∇²L and ∇²L v from pair kernels (`units.PAIR`).

    L(θ) = Σ_ii' a_i·a_i' K(w_i, w_i') − 2 Σ_ij a_i·c_j K(w_i, v_j) + Σ_jj' c_j·c_j' K(v_j, v_j')

Students and teachers are stacked: units 0 … N−1 with output weights a_i ∈ R^o (the last one the constant 1
where there are output biases), units N … N+k−1 with −c_j. One row of pairs at a time goes through the pair
kernels; ∇_w L is then one matrix product with the stacked rows. With a mean, ∇_w = C^{1/2}∇_w̃ + μ ∂_b̃.
θ as in `population.geometry`. See `docs/population-loss.md`.
"""

from __future__ import annotations

import numpy as np
from numba import carray

from ..math.abi import as_pointer, call_six, inner_jit
from ..math.blas import copy, matmul, matmul_in_place, matrix, vector
from ..math.errorfree import two_sum
from ..math.memory import allocate, clear, failures, release, set_word, spoil, try_lock, unlock, word
from ..pairs import units as at
from . import geometry as gm
from .geometry import prepare, row_geometry
from .hessian import finish_biases, hessian_row, hessian_work
from .product import Given, Images, product_row


@inner_jit
def stack_outputs(descriptor, theta, outputs):
    """The output weights (o, N+k) of students and teachers."""
    n, k, d, o = descriptor[gm.STUDENTS], descriptor[gm.TEACHERS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    total = n + descriptor[gm.OUTPUT_BIAS]
    start = theta + 8 * n * (d + descriptor[gm.HIDDEN_BIAS])
    for p in range(o):
        row = outputs + 8 * (total + k) * p
        copy(n, start + 8 * n * p, row)
        copy(total - n, start + 8 * (o * n + p), row + 8 * n)
        copy(k, descriptor[gm.TEACHER_OUTPUTS] + 8 * k * p, row + 8 * total)


@inner_jit
def _scatter_outputs(descriptor, values, target):
    """Copy (o, N) values into a vector laid out as θ, at the places of a and of the output biases."""
    n, d, o = descriptor[gm.STUDENTS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    total = n + descriptor[gm.OUTPUT_BIAS]
    start = target + 8 * n * (d + descriptor[gm.HIDDEN_BIAS])
    for p in range(o):
        copy(n, values + 8 * total * p, start + 8 * n * p)
        copy(total - n, values + 8 * (total * p + n), start + 8 * (o * n + p))


@inner_jit
def pair_row(descriptor, order, i, rows, units, gram, geometry, table):
    """Fill geometry (2, N+k) and table (fields, N+k), at addresses, with the pairs of student unit i.

    Of both tables the part of the students comes first, as a matrix of its own, then the teachers'.
    """
    k, d = descriptor[gm.TEACHERS], descriptor[gm.DIM]
    total = descriptor[gm.STUDENTS] + descriptor[gm.OUTPUT_BIAS]
    fields = at.ROWS if order > 1 else at.FIRST_ORDER_ROWS
    for part in range(2):
        start, count = (0, total) if part == 0 else (total, k)
        own = geometry + 16 * start
        row_geometry(
            i, start, count, matrix(rows, total + k, d), matrix(units, total + k, at.FIELDS),
            matrix(gram, total, total + k), matrix(own, 2, count),
        )  # fmt: skip
        pair = descriptor[gm.STUDENT_PAIR] if part == 0 else descriptor[gm.TEACHER_PAIR]
        unit, others = units + 8 * at.FIELDS * i, units + 8 * at.FIELDS * start
        call_six(pair, count, order, own, unit, others, table + 8 * fields * start)


@inner_jit
def overlap_row(i, outputs, overlaps):
    """overlaps_j = Σ_p a_pi a_pj: what multiplies K_ij in the loss."""
    for j in range(overlaps.size):
        overlaps[j] = outputs[0, i] * outputs[0, j]
    for p in range(1, outputs.shape[0]):
        for j in range(overlaps.size):
            overlaps[j] += outputs[p, i] * outputs[p, j]


@inner_jit
def first_order_row(i, start, count, table, units, overlaps, coefficients):
    """One part of row i of M, ∂_{w_i}L = (M x)_i; its diagonal term apart."""
    diagonal = 0.0
    for j in range(count):
        twice = 2.0 * overlaps[start + j]
        coefficients[i, start + j] = twice * table[at.ALPHA, j] * units[start + j, at.SCALE]
        diagonal += twice * table[at.BETA, j]
    return diagonal


@inner_jit
def _bias_slope(start, count, table, overlaps):
    """One part of ∂_b_i L = Σ_j 2 (a_i·a_j) γ_ij."""
    total = 0.0
    for j in range(count):
        total += 2.0 * overlaps[start + j] * table[at.GAMMA, j]
    return total


@inner_jit
def weighted_sum(outputs, p, start, count, table):
    """Σ_j a_pj K_ij of one part as an unevaluated sum of two."""
    high, low = 0.0, 0.0
    for j in range(count):
        high, error = two_sum(high, outputs[p, start + j] * table[at.VALUE, j])
        low += error
    return high, low


def derivatives(descriptor_address, theta, v, loss_address, gradient_address, hessian_address):
    """L, ∇L and ∇²L, those whose address is not null; work space O(n(n+k) + (n+k)d) without the Hessian."""
    descriptor = carray(as_pointer(descriptor_address), gm.DESCRIPTOR_SIZE, np.int64)
    n, k, d, dgemm = (
        descriptor[gm.STUDENTS],
        descriptor[gm.TEACHERS],
        descriptor[gm.DIM],
        descriptor[gm.DGEMM],
    )
    o, biased = descriptor[gm.OUTPUTS], descriptor[gm.BIASED] != 0
    total = n + descriptor[gm.OUTPUT_BIAS]
    every = total + k
    order = np.int64(2 if hessian_address != 0 else 1)
    fields = at.ROWS if order > 1 else at.FIRST_ORDER_ROWS
    wanted = hessian_work(descriptor) if order > 1 else 0
    memory = allocate(
        every * (d + total + at.FIELDS + o + 3 + fields)
        + o * total
        + n
        + total * descriptor[gm.TABLE_SIZE]
        + wanted
    )
    if memory == 0:
        size = _parameters(descriptor)
        spoil(loss_address, 1)
        spoil(gradient_address, size)
        spoil(hessian_address, size * size)
        return
    rows_at = memory
    units_at = rows_at + 8 * every * d
    gram_at = units_at + 8 * every * at.FIELDS
    outputs_at = gram_at + 8 * every * total
    overlaps_at = outputs_at + 8 * o * every
    geometry_at = overlaps_at + 8 * every
    table_at = geometry_at + 16 * every
    sums_at = table_at + 8 * fields * every
    slopes_at = sums_at + 8 * o * total
    tables_at = slopes_at + 8 * n
    work_at = tables_at + 8 * total * descriptor[gm.TABLE_SIZE]
    units, outputs, gram = (
        matrix(units_at, every, at.FIELDS),
        matrix(outputs_at, o, every),
        matrix(gram_at, total, every),
    )
    own, other = matrix(table_at, fields, total), matrix(table_at + 8 * fields * total, fields, k)
    sums, overlaps, slopes = matrix(sums_at, o, total), vector(overlaps_at, every), vector(slopes_at, n)

    stack_outputs(descriptor, theta, outputs_at)
    prepare(descriptor_address, order, theta, rows_at, units_at, gram_at, tables_at)
    if order > 1:
        copy(n * d, rows_at, work_at)
        if descriptor[gm.FACTOR] != 0:
            matmul_in_place(dgemm, n, d, work_at, descriptor[gm.FACTOR])
    loss = vector(descriptor[gm.CONSTANT], 1)[0]
    correction = 0.0
    for i in range(total):
        pair_row(descriptor, order, i, rows_at, units_at, gram_at, geometry_at, table_at)
        overlap_row(i, outputs, overlaps)
        if order > 1:
            hessian_row(
                descriptor, i, rows_at, units, outputs, overlaps, gram, geometry_at, own, other, work_at,
                hessian_address,
            )  # fmt: skip
        # From here on row i of the Gram matrix is row i of M.
        diagonal = first_order_row(i, np.int64(0), total, own, units, overlaps, gram)
        diagonal += first_order_row(i, total, k, other, units, overlaps, gram)
        gram[i, i] += diagonal * units[i, at.SCALE]
        if biased and i < n:
            slopes[i] = _bias_slope(np.int64(0), total, own, overlaps)
            slopes[i] += _bias_slope(total, k, other, overlaps)
        for p in range(o):
            high_s, low_s = weighted_sum(outputs, p, np.int64(0), total, own)
            high_t, low_t = weighted_sum(outputs, p, total, k, other)
            loss, error = two_sum(loss, outputs[p, i] * high_s)
            correction += error + outputs[p, i] * low_s
            loss, error = two_sum(loss, 2.0 * outputs[p, i] * high_t)
            correction += error + 2.0 * outputs[p, i] * low_t
            sums[p, i] = 2.0 * ((high_s + high_t) + (low_s + low_t))
    if order > 1 and biased:
        finish_biases(descriptor, work_at, hessian_address)
    if loss_address != 0:
        vector(loss_address, 1)[0] = loss + correction
    if gradient_address != 0:
        matmul(dgemm, n, d, every, gram_at, False, rows_at, False, 0.0, gradient_address)
        back_to_parameters(descriptor, slopes_at, gradient_address)
        _scatter_outputs(descriptor, sums_at, gradient_address)
    release(memory)


@inner_jit
def back_to_parameters(descriptor, slopes_at, gradient_address):
    """From derivatives in w̃ (in place, with those in b̃ at `slopes_at`) to derivatives in w and b."""
    n, d = descriptor[gm.STUDENTS], descriptor[gm.DIM]
    if descriptor[gm.FACTOR] != 0:
        matmul_in_place(descriptor[gm.DGEMM], n, d, gradient_address, descriptor[gm.FACTOR])
    if descriptor[gm.MEAN] != 0:
        gradient, slopes, mean = (
            matrix(gradient_address, n, d),
            vector(slopes_at, n),
            vector(descriptor[gm.MEAN], d),
        )
        for i in range(n):
            for a in range(d):
                gradient[i, a] += slopes[i] * mean[a]
    if descriptor[gm.HIDDEN_BIAS] != 0:
        copy(n, slopes_at, gradient_address + 8 * n * d)


@inner_jit
def _parameters(descriptor):
    """The number of parameters P."""
    n, d, o = descriptor[gm.STUDENTS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    return n * (d + descriptor[gm.HIDDEN_BIAS]) + o * (n + descriptor[gm.OUTPUT_BIAS])


@inner_jit
def linearisation_size(descriptor, kept_rows):
    """Doubles of memory for what a product needs of its point (`_linearise`)."""
    n, k, d, o = descriptor[gm.STUDENTS], descriptor[gm.TEACHERS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    total = n + descriptor[gm.OUTPUT_BIAS]
    every = total + k
    size = n * (d + descriptor[gm.HIDDEN_BIAS]) + o * total + total * descriptor[gm.TABLE_SIZE]
    return size + every * (o + d + at.FIELDS + total + kept_rows * (2 + at.ROWS))


@inner_jit
def _parts(descriptor, memory, kept_rows):
    """Addresses in such memory.

    θ, output weights (o, N+k), rows (N+k, d), records (N+k, FIELDS), Gram matrix (N, N+k), tables of units,
    then for each kept row of pairs its geometry (2, N+k), and its table (ROWS, N+k).
    """
    n, k, d, o = descriptor[gm.STUDENTS], descriptor[gm.TEACHERS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    total = n + descriptor[gm.OUTPUT_BIAS]
    every = total + k
    outputs = memory + 8 * _parameters(descriptor)
    rows = outputs + 8 * every * o
    units = rows + 8 * every * d
    gram = units + 8 * every * at.FIELDS
    tables = gram + 8 * every * total
    geometry = tables + 8 * total * descriptor[gm.TABLE_SIZE]
    return outputs, rows, units, gram, tables, geometry, geometry + 16 * every * kept_rows


@inner_jit
def _same(size, a, b):
    """Whether so many doubles have the same bits."""
    for i in range(size):
        if word(a, i) != word(b, i):
            return False
    return True


@inner_jit
def _linearise(descriptor_address, theta, memory, kept_rows):
    """Fill the memory: all that a product needs of θ, with the second-order tables of all pairs if kept."""
    descriptor = carray(as_pointer(descriptor_address), gm.DESCRIPTOR_SIZE, np.int64)
    total = descriptor[gm.STUDENTS] + descriptor[gm.OUTPUT_BIAS]
    every = total + descriptor[gm.TEACHERS]
    outputs, rows, units, gram, tables, geometry, table = _parts(descriptor, memory, kept_rows)
    copy(_parameters(descriptor), theta, memory)
    stack_outputs(descriptor, theta, outputs)
    prepare(descriptor_address, np.int64(2), theta, rows, units, gram, tables)
    if kept_rows == total:
        for i in range(total):
            own_geometry, own_table = geometry + 16 * every * i, table + 8 * at.ROWS * every * i
            pair_row(descriptor, np.int64(2), i, rows, units, gram, own_geometry, own_table)


def product(descriptor_address, theta, v, loss_address, gradient_address, product_address):
    """∇²L v; L and ∇L as well where their addresses are not null (at the cost of one gradient).

    What is needed of θ is kept in the memory at LINEARISATION (a lock, whether it is filled, the rest)
    and used again as long as products are asked for at the same bits of θ. Without that memory, or while
    another thread uses it, one row of pairs at a time is formed in work space; the numbers are the same.
    """
    descriptor = carray(as_pointer(descriptor_address), gm.DESCRIPTOR_SIZE, np.int64)
    if loss_address != 0 or gradient_address != 0:
        call_six(descriptor[gm.DERIVATIVES], descriptor_address, theta, v, loss_address, gradient_address, 0)
    kept = descriptor[gm.LINEARISATION]
    locked = False
    if kept != 0:
        locked = try_lock(kept)
    if not locked:
        memory = allocate(linearisation_size(descriptor, np.int64(1)))
        if memory == 0:
            spoil(product_address, _parameters(descriptor))
            return
        _linearise(descriptor_address, theta, memory, np.int64(0))
        _apply(descriptor, memory, False, v, product_address)
        release(memory)
        return
    memory = kept + 16
    total = descriptor[gm.STUDENTS] + descriptor[gm.OUTPUT_BIAS]
    if word(kept, 1) == 0 or not _same(_parameters(descriptor), theta, memory):
        before = failures()
        _linearise(descriptor_address, theta, memory, total)
        set_word(kept, 1, 1 if failures() == before else 0)  # never NaN for want of memory twice
    _apply(descriptor, memory, True, v, product_address)
    unlock(kept)


@inner_jit
def _apply(descriptor, point, kept, v, product_address):
    """∇²L v from the memory filled by `_linearise`, with the tables of all pairs or room for one row."""
    n, k, d, dgemm = (
        descriptor[gm.STUDENTS],
        descriptor[gm.TEACHERS],
        descriptor[gm.DIM],
        descriptor[gm.DGEMM],
    )
    o = descriptor[gm.OUTPUTS]
    total = n + descriptor[gm.OUTPUT_BIAS]
    every = total + k
    kept_rows = total if kept else np.int64(1)
    outputs_at, rows_at, units_at, gram_at, _, geometry_at, table_at = _parts(descriptor, point, kept_rows)
    memory = allocate(every * (2 * total + 1) + total * (d + total + 2 * o + 2) + d)
    if memory == 0:
        spoil(product_address, _parameters(descriptor))
        return
    inner_at = memory
    coefficients_at = inner_at + 8 * every * total
    overlaps_at = coefficients_at + 8 * every * total
    directions_at = overlaps_at + 8 * every
    own_at = directions_at + 8 * total * d
    output_directions_at = own_at + 8 * total * total
    result_at = output_directions_at + 8 * o * total
    shifts_at = result_at + 8 * o * total
    slopes_at = shifts_at + 8 * total
    normal_at = slopes_at + 8 * total
    rows, units = matrix(rows_at, every, d), matrix(units_at, every, at.FIELDS)
    gram, inner = matrix(gram_at, total, every), matrix(inner_at, total, every)
    coefficients = matrix(coefficients_at, total, every)
    directions, own = matrix(directions_at, total, d), matrix(own_at, total, total)
    outputs, overlaps = matrix(outputs_at, o, every), vector(overlaps_at, every)
    shifts, slopes, normal = vector(shifts_at, total), vector(slopes_at, total), vector(normal_at, d)
    output_directions, result = matrix(output_directions_at, o, total), matrix(result_at, o, total)
    given = Given(rows, units, outputs, gram, directions, shifts, output_directions, inner)
    images = Images(coefficients, own, slopes, result)

    _directions(descriptor, v, directions_at, shifts_at, output_directions_at)
    matmul(dgemm, total, every, d, directions_at, False, rows_at, True, 0.0, inner_at)
    clear(result_at, o * total)
    clear(slopes_at, total)
    if descriptor[gm.GAUSS_NEWTON] != 0:
        clear(coefficients_at, every * total)  # teachers have no part in it
    for i in range(total):
        row = i if kept else 0
        own_geometry, own_table = geometry_at + 16 * every * row, table_at + 8 * at.ROWS * every * row
        if not kept:
            pair_row(descriptor, np.int64(2), i, rows_at, units_at, gram_at, own_geometry, own_table)
        overlap_row(i, outputs, overlaps)
        biased = descriptor[gm.BIASED] != 0
        plain = descriptor[gm.GAUSS_NEWTON] != 0
        product_row(i, total, k, biased, plain, given, images, overlaps, own_geometry, own_table, normal)
    matmul(dgemm, n, d, every, coefficients_at, False, rows_at, False, 0.0, product_address)
    matmul(dgemm, n, d, total, own_at, False, directions_at, False, 1.0, product_address)
    back_to_parameters(descriptor, slopes_at, product_address)
    _scatter_outputs(descriptor, result_at, product_address)
    release(memory)


@inner_jit
def _directions(descriptor, v, directions_at, shifts_at, outputs_at):
    """A direction in θ as one in w̃ (N, d), in b̃ (N) and in the output weights (o, N)."""
    n, d, o = descriptor[gm.STUDENTS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    total = n + descriptor[gm.OUTPUT_BIAS]
    start = v + 8 * n * (d + descriptor[gm.HIDDEN_BIAS])
    copy(n * d, v, directions_at)
    if descriptor[gm.FACTOR] != 0:
        matmul_in_place(descriptor[gm.DGEMM], n, d, directions_at, descriptor[gm.FACTOR])
    clear(directions_at + 8 * n * d, (total - n) * d)
    clear(shifts_at, total)
    if descriptor[gm.HIDDEN_BIAS] != 0:
        copy(n, v + 8 * n * d, shifts_at)
    if descriptor[gm.MEAN] != 0:
        given, mean, shifts = matrix(v, n, d), vector(descriptor[gm.MEAN], d), vector(shifts_at, n)
        for i in range(n):
            for a in range(d):
                shifts[i] += given[i, a] * mean[a]
    for p in range(o):
        row = outputs_at + 8 * total * p
        copy(n, start + 8 * n * p, row)
        copy(total - n, start + 8 * (o * n + p), row + 8 * n)


def prepare_units(descriptor_address, theta, order, tables_address, rows_address, units_address):
    """The rows, records and tables of all units; of a teacher, given as the student of the descriptor."""
    descriptor = carray(as_pointer(descriptor_address), gm.DESCRIPTOR_SIZE, np.int64)
    total = descriptor[gm.STUDENTS] + descriptor[gm.OUTPUT_BIAS]
    memory = allocate(total * (total + descriptor[gm.TEACHERS]))
    if memory == 0:
        return
    prepare(descriptor_address, order, theta, rows_address, units_address, memory, tables_address)
    release(memory)
