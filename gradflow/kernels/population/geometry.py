"""From weight rows to what pair kernels read: unit records, cosines, sines, normals (see `units`)."""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from ..math.abi import as_pointer, call_six, inner_jit
from ..math.angles import residual_sine
from ..math.blas import copy, matmul, matrix, vector
from ..math.errorfree import fma
from ..math.memory import clear
from ..pairs import units as at

(
    STUDENTS,
    TEACHERS,
    DIM,
    OUTPUTS,
    STUDENT_KINDS,
    STUDENT_TABLES,
    STUDENT_PAIR,
    TEACHER_PAIR,
    TEACHER_ROWS,
    TEACHER_UNITS,
    TEACHER_OUTPUTS,
    HIDDEN_BIAS,
    OUTPUT_BIAS,
    BIASED,
    MEAN,
    FACTOR,
    COVARIANCE,
    CONSTANT,
    EXPAND,
    TABLE_SIZE,
    DGEMM,
    DERIVATIVES,
    LINEARISATION,
    SGEMM,
    POOL,
    HELPER,
    THREADS,
    LINEARISE_WORK,
    INNER_WORK,
    IMAGE_WORK,
    GAUSS_NEWTON,
    DESCRIPTOR_SIZE,
) = range(32)
"""The descriptor of a population loss. Sizes n, k, d and the number of outputs o; addresses of the
students' activations and data (n + 1 doubles each, `units.KIND` and `units.TABLE`), of the pair kernels
student × student and student × teacher, of the teacher's rows (k, d), records (k, FIELDS) and −c (o, k);
whether θ holds hidden biases, whether it holds output biases, whether any student unit has a bias b̃;
addresses of the mean μ (d; 0 if zero), of C^{1/2} and C (d, d; 0 for the identity), of the teacher-teacher
term; of the routine that fills the tables of units (0: none, see `units`) and the doubles per table; of
BLAS `dgemm`, of `population.derivatives`; of memory in which products keep the pairs of their point (0:
none, see `population.product`); for `population.linearised` BLAS `sgemm`, the pool and the helpers of a team
(`math.team`), the most threads, and what they call; and, for matrices and products, whether they leave out
the second derivatives of the student (1: the Gauss–Newton matrix 2 E ∂f ∂fᵀ).

θ is W (n, d), b (n) if any, a (o, n), output biases (o) if any. Output biases are the output weights of a
further unit, the constant 1: N = n + 1 units then, the last with zero weights and no parameters but those."""

NEAR = 0.0625
"""Below this sin²θ the sine comes from a residual: 1 − cos² has an absolute error of 4e-16 or so."""

_TINY, _HUGE = 2.0**-200, 2.0**200
_LEAST = 2.0**-1000  # shorter rows are taken to be so long: 1e-301, and b/r is finite


@inner_jit
def prepare(descriptor_address, order, theta, rows_address, units_address, gram_address, tables_address):
    """Fill rows (N+k, d), units (N+k, FIELDS) and gram (N, N+k): inner products of students with all.

    Rows are in the coordinates where inputs are standard Gaussian, w̃ = C^{1/2} w and b̃ = b + w·μ, and
    divided by a power of two where squares could leave the range of Float64.
    """
    descriptor = carray(as_pointer(descriptor_address), DESCRIPTOR_SIZE, np.int64)
    n, k, d, dgemm = descriptor[STUDENTS], descriptor[TEACHERS], descriptor[DIM], descriptor[DGEMM]
    total = n + descriptor[OUTPUT_BIAS]
    if descriptor[FACTOR] != 0:
        matmul(dgemm, n, d, d, theta, False, descriptor[FACTOR], False, 0.0, rows_address)
    else:
        copy(n * d, theta, rows_address)
    if total > n:
        clear(rows_address + 8 * n * d, d)
    copy(k * d, descriptor[TEACHER_ROWS], rows_address + 8 * total * d)
    copy(k * at.FIELDS, descriptor[TEACHER_UNITS], units_address + 8 * total * at.FIELDS)
    rows, units = matrix(rows_address, total, d), matrix(units_address, total, at.FIELDS)
    gram, weights = matrix(gram_address, total, total + k), matrix(theta, n, d)
    kinds, tables = vector(descriptor[STUDENT_KINDS], total), vector(descriptor[STUDENT_TABLES], total)
    biases, mean = vector(theta + 8 * n * d, n), vector(descriptor[MEAN], d)
    for i in range(total):
        bias = biases[i] if i < n and descriptor[HIDDEN_BIAS] != 0 else 0.0
        if i < n and descriptor[MEAN] != 0:
            along = 0.0
            for a in range(d):
                along += weights[i, a] * mean[a]
            bias += along
        largest = 0.0
        for a in range(d):
            largest = max(largest, abs(rows[i, a]))
        scale = 1.0
        if largest > 0.0 and not (_TINY < largest < _HUGE):
            scale = math.ldexp(1.0, math.frexp(largest)[1] - 1)
            for a in range(d):
                rows[i, a] /= scale
            scale = max(scale, _LEAST)
        units[i, at.SCALE] = scale
        units[i, at.KIND] = kinds[i]
        units[i, at.BIAS] = bias
        units[i, at.TABLE] = tables[i]
    matmul(dgemm, total, total + k, d, rows_address, False, rows_address, True, 0.0, gram_address)
    for i in range(total):
        norm = math.sqrt(gram[i, i])
        r = norm * units[i, at.SCALE]
        units[i, at.NORM] = r
        units[i, at.INVERSE] = 1.0 / norm if norm > 0.0 else 0.0
        if r < 1.0:
            units[i, at.COSINE] = 1.0 / math.sqrt(1.0 + r * r)
            units[i, at.SINE] = r * units[i, at.COSINE]
        else:
            units[i, at.SINE] = 1.0 / math.sqrt(1.0 + (1.0 / r) * (1.0 / r))
            units[i, at.COSINE] = units[i, at.SINE] / r
    if descriptor[EXPAND] != 0:
        call_six(
            descriptor[EXPAND],
            descriptor_address,
            order,
            rows_address,
            units_address,
            tables_address,
            gram_address,
        )


@inner_jit
def row_geometry(i, start, count, rows, units, gram, geometry):
    """geometry (2, count): cos θ and sin²θ between unit i and units start … start+count−1."""
    inverse = units[i, at.INVERSE]
    for j in range(count):
        cosine = gram[i, start + j] * inverse * units[start + j, at.INVERSE]
        cosine = min(1.0, max(-1.0, cosine))
        geometry[0, j] = cosine
        geometry[1, j] = (1.0 - cosine) * (1.0 + cosine)
    for j in range(count):
        if geometry[1, j] < NEAR:
            other = units[start + j, at.INVERSE]
            sine2 = 0.0
            if start + j != i:
                square, other_square = 1.0 / (inverse * inverse), 1.0 / (other * other)
                sine2 = residual_sine(rows[i], square, rows[start + j], other_square, gram[i, start + j])
            geometry[1, j] = sine2
            geometry[0, j] = math.copysign(math.sqrt(1.0 - min(1.0, sine2)), geometry[0, j])


@inner_jit
def pair_normal(w, inverse_w, v, inverse_v, inner, sine2, normal):
    """n̂: the unit vector of the part of v orthogonal to w; v/|v| if w = 0; zero if there is no such part."""
    factor = inner * inverse_w * inverse_w
    along = 0.0
    for a in range(w.size):
        normal[a] = fma(-factor, w[a], v[a])
    if sine2 >= NEAR:
        stretch = inverse_v / math.sqrt(sine2)
    else:
        for a in range(w.size):
            along = fma(normal[a], w[a], along)
        along *= inverse_w * inverse_w
        square = 0.0
        for a in range(w.size):
            normal[a] = fma(-along, w[a], normal[a])
            square += normal[a] * inverse_v * normal[a] * inverse_v
        stretch = inverse_v / math.sqrt(square) if sine2 > 0.0 and square > 0.0 else 0.0
    for a in range(w.size):
        normal[a] *= stretch
