"""One block row of the population Hessian from the second-order table of its pairs (`units`)."""

from __future__ import annotations

import math

from .abi import inner_jit
from .blas import matmul, matmul_in_place, matrix, vector
from .pair_geometry import COVARIANCE, DGEMM, DIM, FACTOR, OUTPUTS, STUDENTS, TEACHERS, pair_normal
from .units import A00, A01, A11, ALPHA, B00, B01, B10, B11, BETA, INVERSE, SCALE, VALUE


@inner_jit
def hessian_work(n, k, d, o):
    """Doubles of work space that `hessian_row` needs."""
    return 2 * (n + k) * d + d * d + 4 * d + o * (n + k + d)


@inner_jit
def hessian_row(
    descriptor, i, rows_at, images, units, outputs, overlaps, gram, geometry, own, other, work, hessian
):
    """Blocks (i, j ≥ i) of ∇²L and their mirror images, and all of ∂²L/∂w_i∂a.

    images (n, d) are the rows times C^{1/2}; the frame vectors are taken there as well, so that
    C^{1/2} (α I + …) C^{1/2} keeps its form with C for I. Both images of an entry are the same products
    added in the same order, so the matrix is symmetric bit by bit.
    """
    n, k, d = descriptor[STUDENTS], descriptor[TEACHERS], descriptor[DIM]
    rows, normals = matrix(rows_at, n + k, d), matrix(work, n + k, d)
    for j in range(n + k):
        sine2 = geometry[n + j] if j < n else geometry[k + n + j]
        pair_normal(rows[i], units[i, INVERSE], rows[j], units[j, INVERSE], gram[i, j], sine2, normals[j])
    if descriptor[FACTOR] != 0:
        matmul_in_place(descriptor[DGEMM], n + k, d, work, descriptor[FACTOR])
    normals_at = work
    work += 8 * (n + k) * d
    direction, first, second = vector(work, d), vector(work + 8 * d, d), vector(work + 16 * d, d)
    for a in range(d):
        direction[a] = images[i, a] * units[i, INVERSE]
    _diagonal_block(descriptor, i, direction, normals_at, overlaps, own, other, work + 24 * d, hessian)
    _output_blocks(descriptor, i, rows_at, images, units, outputs, own, other, work + 24 * d, hessian)
    for j in range(i, n):
        for p in range(outputs.shape[0]):
            for q in range(outputs.shape[0]):
                row, column = n * d + p * n + i, n * d + q * n + j
                hessian[row, column] = 2.0 * own[VALUE, j] if p == q else 0.0
                hessian[column, row] = hessian[row, column]
        if j > i:
            # In the plane of the pair ŵ' = cos θ ŵ + sin θ n̂ and n̂' = sin θ ŵ − cos θ n̂.
            weight = 2.0 * overlaps[j]
            cosine, sine = geometry[j], math.sqrt(geometry[n + j])
            m00 = weight * (own[B00, j] * cosine + own[B01, j] * sine)
            m01 = weight * (own[B00, j] * sine - own[B01, j] * cosine)
            m10 = weight * (own[B10, j] * cosine + own[B11, j] * sine)
            m11 = weight * (own[B10, j] * sine - own[B11, j] * cosine)
            normal = normals[j]
            for a in range(d):
                first[a] = m00 * direction[a] + m01 * normal[a]
                second[a] = m10 * direction[a] + m11 * normal[a]
            _cross_block(hessian, i * d, j * d, direction, normal, first, second)
            _add_metric(descriptor, weight * own[ALPHA, j], i, j, hessian)
            _add_metric(descriptor, weight * own[ALPHA, j], j, i, hessian)


@inner_jit
def _cross_block(hessian, row, column, direction, normal, first, second):
    """ŵ firstᵀ + n̂ secondᵀ at (row, column), and its mirror image from the same products."""
    d = direction.size
    for a in range(d):
        x, y = direction[a], normal[a]
        line = hessian[row + a]
        for b in range(d):
            line[column + b] = x * first[b] + y * second[b]
    for b in range(d):
        x, y = first[b], second[b]
        line = hessian[column + b]
        for a in range(d):
            line[row + a] = direction[a] * x + normal[a] * y


@inner_jit
def _diagonal_block(descriptor, i, direction, normals_at, overlaps, own, other, work, hessian):
    """2 Σ_j (a_i·a_j) ∂_w∂_w K(w_i, w_j) + 2 |a_i|² ∂_w∂_w' K(w_i, w_i)."""
    n, k, d = descriptor[STUDENTS], descriptor[TEACHERS], descriptor[DIM]
    block_at, weighted_at = work + 8 * d, work + 8 * (d + d * d)
    normals, weighted = matrix(normals_at, n + k, d), matrix(weighted_at, n + k, d)
    mixed, block = vector(work, d), matrix(block_at, d, d)
    for a in range(d):
        mixed[a] = 0.0
    weight = 2.0 * overlaps[i]
    metric, radial = weight * own[ALPHA, i], weight * own[B00, i]
    for j in range(n + k):
        weight = 2.0 * overlaps[j]
        table, column = (own, j) if j < n else (other, j - n)
        metric += weight * table[BETA, column]
        radial += weight * table[A00, column]
        across, normal = weight * table[A01, column], weight * table[A11, column]
        for a in range(d):
            mixed[a] += across * normals[j, a]
            weighted[j, a] = normal * normals[j, a]
    matmul(descriptor[DGEMM], d, d, n + k, normals_at, True, weighted_at, False, 0.0, block_at)
    for a in range(d):
        for b in range(a, d):
            value = block[a, b] + (direction[a] * mixed[b] + mixed[a] * direction[b])
            value += radial * direction[a] * direction[b]
            hessian[i * d + a, i * d + b] = value
    _add_metric(descriptor, metric, i, i, hessian)
    for a in range(d):
        for b in range(a):
            hessian[i * d + a, i * d + b] = hessian[i * d + b, i * d + a]


@inner_jit
def _output_blocks(descriptor, i, rows_at, images, units, outputs, own, other, work, hessian):
    """∂²L/∂w_i∂a_pj = 2 a_pi ∂_w K(w_i, w_j) + δ_ij Σ_l 2 a_pl ∂_w K(w_i, w_l), and its mirror image."""
    n, k, d, o = descriptor[STUDENTS], descriptor[TEACHERS], descriptor[DIM], descriptor[OUTPUTS]
    weights_at = work
    slopes_at = work + 8 * o * (n + k)
    weights, slopes = matrix(weights_at, o, n + k), matrix(slopes_at, o, d)
    for p in range(o):
        diagonal = 0.0
        for j in range(n + k):
            table, column = (own, j) if j < n else (other, j - n)
            weights[p, j] = 2.0 * outputs[p, j] * table[ALPHA, column] * units[j, SCALE]
            diagonal += 2.0 * outputs[p, j] * table[BETA, column]
        weights[p, i] += diagonal * units[i, SCALE]
    matmul(descriptor[DGEMM], o, d, n + k, weights_at, False, rows_at, False, 0.0, slopes_at)
    if descriptor[FACTOR] != 0:
        matmul_in_place(descriptor[DGEMM], o, d, slopes_at, descriptor[FACTOR])
    for p in range(o):
        for j in range(n):
            column = n * d + p * n + j
            for a in range(d):
                value = own[ALPHA, j] * images[j, a] * units[j, SCALE]
                value += own[BETA, j] * images[i, a] * units[i, SCALE]
                value *= 2.0 * outputs[p, i]
                hessian[column, i * d + a] = value + slopes[p, a] if i == j else value
            for a in range(d):
                hessian[i * d + a, column] = hessian[column, i * d + a]


@inner_jit
def _add_metric(descriptor, weight, i, j, hessian):
    """Add weight · C to block (i, j), C = I where there is no covariance."""
    d = descriptor[DIM]
    if descriptor[COVARIANCE] == 0:
        for a in range(d):
            hessian[i * d + a, j * d + a] += weight
        return
    covariance = matrix(descriptor[COVARIANCE], d, d)
    for a in range(d):
        for b in range(d):
            hessian[i * d + a, j * d + b] += weight * covariance[a, b]
