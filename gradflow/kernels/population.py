"""The population loss of one hidden layer: L, ∇L, ∇²L and ∇²L v from pair kernels (`units.PAIR`).

    L(θ) = Σ_ii' a_i·a_i' K(w_i, w_i') − 2 Σ_ij a_i·c_j K(w_i, v_j) + Σ_jj' c_j·c_j' K(v_j, v_j')

Students and teachers are stacked: units 0 … n−1 with output weights a_i ∈ R^o, units n … n+k−1 with −c_j.
One row of pairs at a time goes through the pair kernels; ∇_w L is then one matrix product with the
stacked rows. θ is W (n, d) by rows, then a (o, n) by rows. See `docs/population-loss.md`.
"""

from __future__ import annotations

import numpy as np
from numba import carray

from .abi import as_pointer, call_six, inner_jit
from .blas import copy, matmul, matmul_in_place, matrix, vector
from .errorfree import two_sum
from .memory import allocate, clear, release
from .pair_geometry import (
    CONSTANT,
    DERIVATIVES,
    DESCRIPTOR_SIZE,
    DGEMM,
    DIM,
    FACTOR,
    OUTPUTS,
    STUDENT_PAIR,
    STUDENTS,
    TEACHER_OUTPUTS,
    TEACHER_PAIR,
    TEACHERS,
    prepare,
    row_geometry,
)
from .population_hessian import hessian_row, hessian_work
from .population_product import product_row
from .units import ALPHA, BETA, FIELDS, FIRST_ORDER_ROWS, ROWS, SCALE, VALUE


@inner_jit
def _stack_outputs(descriptor, theta, outputs):
    """The output weights (o, n+k) of students and teachers."""
    n, k, d = descriptor[STUDENTS], descriptor[TEACHERS], descriptor[DIM]
    for p in range(descriptor[OUTPUTS]):
        row = outputs + 8 * (n + k) * p
        copy(n, theta + 8 * (n * d + n * p), row)
        copy(k, descriptor[TEACHER_OUTPUTS] + 8 * k * p, row + 8 * n)


@inner_jit
def _pair_row(descriptor, order, i, rows, units, gram, geometry, table):
    """Fill geometry (2, n+k) and table (fields, n+k), at addresses, with the pairs of student i.

    Of both tables the part of the students comes first, as a matrix of its own, then the teachers'.
    """
    n, k, d = descriptor[STUDENTS], descriptor[TEACHERS], descriptor[DIM]
    fields = ROWS if order > 1 else FIRST_ORDER_ROWS
    for part in range(2):
        start, count = (0, n) if part == 0 else (n, k)
        own = geometry + 16 * start
        row_geometry(
            i, start, count, matrix(rows, n + k, d), matrix(units, n + k, FIELDS), matrix(gram, n, n + k),
            matrix(own, 2, count),
        )  # fmt: skip
        pair = descriptor[STUDENT_PAIR] if part == 0 else descriptor[TEACHER_PAIR]
        unit, others = units + 8 * FIELDS * i, units + 8 * FIELDS * start
        call_six(pair, count, order, own, unit, others, table + 8 * fields * start)


@inner_jit
def _overlap_row(i, outputs, overlaps):
    """overlaps_j = Σ_p a_pi a_pj: what multiplies K_ij in the loss."""
    for j in range(overlaps.size):
        overlaps[j] = outputs[0, i] * outputs[0, j]
    for p in range(1, outputs.shape[0]):
        for j in range(overlaps.size):
            overlaps[j] += outputs[p, i] * outputs[p, j]


@inner_jit
def _first_order_row(i, start, count, table, units, overlaps, coefficients):
    """One part of row i of M, ∂_{w_i}L = (M x)_i; its diagonal term apart."""
    diagonal = 0.0
    for j in range(count):
        twice = 2.0 * overlaps[start + j]
        coefficients[i, start + j] = twice * table[ALPHA, j] * units[start + j, SCALE]
        diagonal += twice * table[BETA, j]
    return diagonal


@inner_jit
def _weighted_sum(outputs, p, start, count, table):
    """Σ_j a_pj K_ij of one part as an unevaluated sum of two."""
    high, low = 0.0, 0.0
    for j in range(count):
        high, error = two_sum(high, outputs[p, start + j] * table[VALUE, j])
        low += error
    return high, low


def derivatives(descriptor_address, theta, v, loss_address, gradient_address, hessian_address):
    """L, ∇L and ∇²L, those whose address is not null; work space O(n(n+k) + (n+k)d) without the Hessian."""
    descriptor = carray(as_pointer(descriptor_address), DESCRIPTOR_SIZE, np.int64)
    n, k, d, dgemm = descriptor[STUDENTS], descriptor[TEACHERS], descriptor[DIM], descriptor[DGEMM]
    o = descriptor[OUTPUTS]
    order = np.int64(2 if hessian_address != 0 else 1)
    fields = ROWS if order > 1 else FIRST_ORDER_ROWS
    wanted = hessian_work(n, k, d, o) + n * d if order > 1 else 0
    memory = allocate((n + k) * (d + n + FIELDS + o + 3 + fields) + o * n + wanted)
    rows_at = memory
    units_at = rows_at + 8 * (n + k) * d
    gram_at = units_at + 8 * (n + k) * FIELDS
    outputs_at = gram_at + 8 * (n + k) * n
    overlaps_at = outputs_at + 8 * o * (n + k)
    geometry_at = overlaps_at + 8 * (n + k)
    table_at = geometry_at + 16 * (n + k)
    sums_at = table_at + 8 * fields * (n + k)
    images_at = sums_at + 8 * o * n
    units, outputs = matrix(units_at, n + k, FIELDS), matrix(outputs_at, o, n + k)
    gram, images = matrix(gram_at, n, n + k), matrix(images_at, n, d)
    own, other = matrix(table_at, fields, n), matrix(table_at + 8 * fields * n, fields, k)
    sums, overlaps = matrix(sums_at, o, n), vector(overlaps_at, n + k)

    _stack_outputs(descriptor, theta, outputs_at)
    prepare(descriptor, theta, rows_at, units_at, gram_at)
    if order > 1:
        copy(n * d, rows_at, images_at)
        if descriptor[FACTOR] != 0:
            matmul_in_place(dgemm, n, d, images_at, descriptor[FACTOR])
    hessian = matrix(hessian_address, n * (d + o), n * (d + o))
    loss = vector(descriptor[CONSTANT], 1)[0]
    correction = 0.0
    for i in range(n):
        _pair_row(descriptor, order, i, rows_at, units_at, gram_at, geometry_at, table_at)
        _overlap_row(i, outputs, overlaps)
        if order > 1:
            geometry = vector(geometry_at, 2 * (n + k))
            work = images_at + 8 * n * d
            hessian_row(
                descriptor,
                i,
                rows_at,
                images,
                units,
                outputs,
                overlaps,
                gram,
                geometry,
                own,
                other,
                work,
                hessian,
            )
        # From here on row i of the Gram matrix is row i of M.
        diagonal = _first_order_row(i, np.int64(0), n, own, units, overlaps, gram)
        diagonal += _first_order_row(i, n, k, other, units, overlaps, gram)
        gram[i, i] += diagonal * units[i, SCALE]
        for p in range(o):
            high_s, low_s = _weighted_sum(outputs, p, np.int64(0), n, own)
            high_t, low_t = _weighted_sum(outputs, p, n, k, other)
            loss, error = two_sum(loss, outputs[p, i] * high_s)
            correction += error + outputs[p, i] * low_s
            loss, error = two_sum(loss, 2.0 * outputs[p, i] * high_t)
            correction += error + 2.0 * outputs[p, i] * low_t
            sums[p, i] = 2.0 * ((high_s + high_t) + (low_s + low_t))
    if loss_address != 0:
        vector(loss_address, 1)[0] = loss + correction
    if gradient_address != 0:
        matmul(dgemm, n, d, n + k, gram_at, False, rows_at, False, 0.0, gradient_address)
        if descriptor[FACTOR] != 0:
            matmul_in_place(dgemm, n, d, gradient_address, descriptor[FACTOR])
        copy(o * n, sums_at, gradient_address + 8 * n * d)
    release(memory)


def product(descriptor_address, theta, v, loss_address, gradient_address, product_address):
    """∇²L v; L and ∇L as well where their addresses are not null (at the cost of one gradient)."""
    descriptor = carray(as_pointer(descriptor_address), DESCRIPTOR_SIZE, np.int64)
    if loss_address != 0 or gradient_address != 0:
        call_six(descriptor[DERIVATIVES], descriptor_address, theta, v, loss_address, gradient_address, 0)
    n, k, d, dgemm = descriptor[STUDENTS], descriptor[TEACHERS], descriptor[DIM], descriptor[DGEMM]
    o = descriptor[OUTPUTS]
    memory = allocate((n + k) * (d + 2 * n + FIELDS + o + 3 + ROWS) + n * (d + n) + d)
    rows_at = memory
    units_at = rows_at + 8 * (n + k) * d
    gram_at = units_at + 8 * (n + k) * FIELDS
    inner_at = gram_at + 8 * (n + k) * n
    outputs_at = inner_at + 8 * (n + k) * n
    overlaps_at = outputs_at + 8 * o * (n + k)
    geometry_at = overlaps_at + 8 * (n + k)
    table_at = geometry_at + 16 * (n + k)
    directions_at = table_at + 8 * ROWS * (n + k)
    own_at = directions_at + 8 * n * d
    normal_at = own_at + 8 * n * n
    rows, units = matrix(rows_at, n + k, d), matrix(units_at, n + k, FIELDS)
    gram, inner = matrix(gram_at, n, n + k), matrix(inner_at, n, n + k)
    directions, own = matrix(directions_at, n, d), matrix(own_at, n, n)
    outputs, overlaps = matrix(outputs_at, o, n + k), vector(overlaps_at, n + k)
    normal = vector(normal_at, d)
    output_directions, result = matrix(v + 8 * n * d, o, n), matrix(product_address + 8 * n * d, o, n)

    _stack_outputs(descriptor, theta, outputs_at)
    prepare(descriptor, theta, rows_at, units_at, gram_at)
    copy(n * d, v, directions_at)
    if descriptor[FACTOR] != 0:
        matmul_in_place(dgemm, n, d, directions_at, descriptor[FACTOR])
    matmul(dgemm, n, n + k, d, directions_at, False, rows_at, True, 0.0, inner_at)
    clear(product_address + 8 * n * d, o * n)
    for i in range(n):
        _pair_row(descriptor, np.int64(2), i, rows_at, units_at, gram_at, geometry_at, table_at)
        _overlap_row(i, outputs, overlaps)
        product_row(
            n, k, i, rows, units, outputs, overlaps, directions, output_directions, inner, geometry_at,
            table_at, gram, own, normal, result,
        )  # fmt: skip
    matmul(dgemm, n, d, n + k, gram_at, False, rows_at, False, 0.0, product_address)
    matmul(dgemm, n, d, n, own_at, False, directions_at, False, 1.0, product_address)
    if descriptor[FACTOR] != 0:
        matmul_in_place(dgemm, n, d, product_address, descriptor[FACTOR])
    release(memory)


def prepare_teacher(descriptor_address, theta, v, loss_address, rows_address, units_address):
    """The rows (k, d) and records (k, FIELDS) of a teacher, given as the student of the descriptor."""
    descriptor = carray(as_pointer(descriptor_address), DESCRIPTOR_SIZE, np.int64)
    memory = allocate(descriptor[STUDENTS] * descriptor[STUDENTS])
    prepare(descriptor, theta, rows_address, units_address, memory)
    release(memory)
