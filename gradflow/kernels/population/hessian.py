"""One block row of the population Hessian from the second-order table of its pairs (`units`).

With GAUSS_NEWTON, of 2 E ∂f ∂fᵀ: what is left without the second derivatives of the student, and without
teachers.
"""

from __future__ import annotations

import math

from ..math.abi import inner_jit
from ..math.blas import matmul, matmul_in_place, matrix, vector
from ..math.memory import clear
from ..pairs import units as at
from . import geometry as gm
from .geometry import pair_normal


@inner_jit
def hessian_work(descriptor):
    """Doubles of work space of `hessian_row`; those that outlive a row come first: images, bias blocks."""
    n, k, d, o = descriptor[gm.STUDENTS], descriptor[gm.TEACHERS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    every = n + descriptor[gm.OUTPUT_BIAS] + k
    return n * d + _bias_blocks(descriptor) + 2 * every * d + d * d + 4 * d + o * (every + d)


@inner_jit
def _bias_blocks(descriptor):
    """Doubles of ∂²L/∂w∂b (n, n, d), ∂²L/∂b∂b (n, n) and ∂²L/∂b∂a (n, o, N), if students have biases."""
    n, d, o = descriptor[gm.STUDENTS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    return n * (n * d + n + o * (n + descriptor[gm.OUTPUT_BIAS])) if descriptor[gm.BIASED] != 0 else 0


@inner_jit
def _parameters(descriptor):
    """Number of parameters P."""
    n, d, o = descriptor[gm.STUDENTS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    return n * (d + descriptor[gm.HIDDEN_BIAS]) + o * (n + descriptor[gm.OUTPUT_BIAS])


@inner_jit
def _output_column(descriptor, p, j):
    """Place in θ of the output weight p of unit j (of output bias p for the constant unit)."""
    n, d, o = descriptor[gm.STUDENTS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    start = n * (d + descriptor[gm.HIDDEN_BIAS])
    return start + p * n + j if j < n else start + o * n + p


@inner_jit
def hessian_row(
    descriptor, i, rows_at, units, outputs, overlaps, gram, geometry_at, own, other, work, hessian_at
):
    """Blocks (i, j ≥ i) of ∇²L and their mirror images, all of ∂²L/∂w_i∂a; bias blocks into `work`.

    `work` starts with the images (n, d), the rows times C^{1/2}; the frame vectors are taken there as
    well, so that C^{1/2} (α I + …) C^{1/2} keeps its form with C for I. Both images of an entry are the
    same products added in the same order, so the matrix is symmetric bit by bit.
    """
    n, k, d = descriptor[gm.STUDENTS], descriptor[gm.TEACHERS], descriptor[gm.DIM]
    total = n + descriptor[gm.OUTPUT_BIAS]
    every = total + k
    size = _parameters(descriptor)
    hessian, rows, images = matrix(hessian_at, size, size), matrix(rows_at, every, d), matrix(work, n, d)
    for j in range(i, total):
        for p in range(outputs.shape[0]):
            for q in range(outputs.shape[0]):
                row, column = _output_column(descriptor, p, i), _output_column(descriptor, q, j)
                hessian[row, column] = 2.0 * own[at.VALUE, j] if p == q else 0.0
                hessian[column, row] = hessian[row, column]
    if i >= n:
        return
    geometry, geometry_t = matrix(geometry_at, 2, total), matrix(geometry_at + 16 * total, 2, k)
    biases_at = work + 8 * n * d
    normals_at = biases_at + 8 * _bias_blocks(descriptor)
    normals = matrix(normals_at, every, d)
    for j in range(every):
        sine2 = geometry[1, j] if j < total else geometry_t[1, j - total]
        pair_normal(
            rows[i], units[i, at.INVERSE], rows[j], units[j, at.INVERSE], gram[i, j], sine2, normals[j]
        )
    if descriptor[gm.FACTOR] != 0:
        matmul_in_place(descriptor[gm.DGEMM], every, d, normals_at, descriptor[gm.FACTOR])
    work = normals_at + 8 * every * d
    direction, first, second = vector(work, d), vector(work + 8 * d, d), vector(work + 16 * d, d)
    work += 24 * d
    for a in range(d):
        direction[a] = images[i, a] * units[i, at.INVERSE]
    _diagonal_block(descriptor, i, direction, normals_at, overlaps, own, other, work, hessian)
    _output_blocks(descriptor, i, rows_at, images, units, outputs, own, other, work, hessian)
    if descriptor[gm.BIASED] != 0:
        _bias_row(descriptor, i, direction, normals, outputs, overlaps, own, other, biases_at)
    for j in range(i + 1, n):
        # In the plane of the pair ŵ' = cos θ ŵ + sin θ n̂ and n̂' = sin θ ŵ − cos θ n̂.
        weight = 2.0 * overlaps[j]
        cosine, sine = geometry[0, j], math.sqrt(geometry[1, j])
        m00 = weight * (own[at.B00, j] * cosine + own[at.B01, j] * sine)
        m01 = weight * (own[at.B00, j] * sine - own[at.B01, j] * cosine)
        m10 = weight * (own[at.B10, j] * cosine + own[at.B11, j] * sine)
        m11 = weight * (own[at.B10, j] * sine - own[at.B11, j] * cosine)
        normal = normals[j]
        for a in range(d):
            first[a] = m00 * direction[a] + m01 * normal[a]
            second[a] = m10 * direction[a] + m11 * normal[a]
        _cross_block(hessian, i * d, j * d, direction, normal, first, second)
        _add_metric(descriptor, weight * own[at.ALPHA, j], i, j, hessian)
        _add_metric(descriptor, weight * own[at.ALPHA, j], j, i, hessian)


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
    """2 Σ_j (a_i·a_j) ∂_w∂_w K(w_i, w_j) + 2 |a_i|² ∂_w∂_w' K(w_i, w_i); Gauss–Newton: the second alone."""
    d, total = descriptor[gm.DIM], descriptor[gm.STUDENTS] + descriptor[gm.OUTPUT_BIAS]
    every = total + descriptor[gm.TEACHERS] if descriptor[gm.GAUSS_NEWTON] == 0 else 0
    block_at, weighted_at = work + 8 * d, work + 8 * (d + d * d)
    normals, weighted = matrix(normals_at, every, d), matrix(weighted_at, every, d)
    clear(block_at, d * d)
    mixed, block = vector(work, d), matrix(block_at, d, d)
    for a in range(d):
        mixed[a] = 0.0
    weight = 2.0 * overlaps[i]
    metric, radial = weight * own[at.ALPHA, i], weight * own[at.B00, i]
    for j in range(every):
        weight = 2.0 * overlaps[j]
        table, column = (own, j) if j < total else (other, j - total)
        metric += weight * table[at.BETA, column]
        radial += weight * table[at.A00, column]
        across, normal = weight * table[at.A01, column], weight * table[at.A11, column]
        for a in range(d):
            mixed[a] += across * normals[j, a]
            weighted[j, a] = normal * normals[j, a]
    if every > 0:
        matmul(descriptor[gm.DGEMM], d, d, every, normals_at, True, weighted_at, False, 0.0, block_at)
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
    n, d, o = descriptor[gm.STUDENTS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    total = n + descriptor[gm.OUTPUT_BIAS]
    every = total + descriptor[gm.TEACHERS]
    weights_at = work
    slopes_at = work + 8 * o * every
    weights, slopes = matrix(weights_at, o, every), matrix(slopes_at, o, d)
    for p in range(o):
        diagonal = 0.0
        for j in range(every):
            table, column = (own, j) if j < total else (other, j - total)
            weights[p, j] = 2.0 * outputs[p, j] * table[at.ALPHA, column] * units[j, at.SCALE]
            diagonal += 2.0 * outputs[p, j] * table[at.BETA, column]
        weights[p, i] += diagonal * units[i, at.SCALE]
    matmul(descriptor[gm.DGEMM], o, d, every, weights_at, False, rows_at, False, 0.0, slopes_at)
    if descriptor[gm.FACTOR] != 0:
        matmul_in_place(descriptor[gm.DGEMM], o, d, slopes_at, descriptor[gm.FACTOR])
    if descriptor[gm.GAUSS_NEWTON] != 0:
        clear(slopes_at, o * d)
    for p in range(o):
        for j in range(total):
            column = _output_column(descriptor, p, j)
            for a in range(d):
                value = own[at.ALPHA, j] * images[j, a] * units[j, at.SCALE] if j < n else 0.0
                value += own[at.BETA, j] * images[i, a] * units[i, at.SCALE]
                value *= 2.0 * outputs[p, i]
                hessian[column, i * d + a] = value + slopes[p, a] if i == j else value
            for a in range(d):
                hessian[i * d + a, column] = hessian[column, i * d + a]


@inner_jit
def _bias_row(descriptor, i, direction, normals, outputs, overlaps, own, other, biases_at):
    """What ∂_b_i adds, in the coordinates b̃: with W_ij = 2 a_i·a_j,

    ∂²L/∂w_i∂b_j = ∂²L/∂b_i∂w_j = W_ij (D0 ŵ + D1 n̂) + δ_ij Σ_l W_il (C0 ŵ + C1 n̂),
    ∂²L/∂b_i∂b_j = W_ij α + δ_ij Σ_l W_il β,  ∂²L/∂b_i∂a_pj = 2 a_pi γ_ij + δ_ij Σ_l 2 a_pl γ_il.
    """
    n, k, d, o = descriptor[gm.STUDENTS], descriptor[gm.TEACHERS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    total = n + descriptor[gm.OUTPUT_BIAS]
    mixed, square = matrix(biases_at, n * n, d), matrix(biases_at + 8 * n * n * d, n, n)
    across = matrix(biases_at + 8 * n * n * (d + 1), n, o * total)
    for j in range(i, n):
        weight = 2.0 * overlaps[j]
        radial, normal = weight * own[at.D0, j], weight * own[at.D1, j]
        for a in range(d):
            value = radial * direction[a] + normal * normals[j, a]
            mixed[i * n + j, a] = value
            mixed[j * n + i, a] = value
        square[i, j] = weight * own[at.ALPHA, j]
        square[j, i] = square[i, j]
    for p in range(o):
        for j in range(total):
            across[i, p * total + j] = 2.0 * outputs[p, i] * own[at.GAMMA, j]
    diagonal = mixed[i * n + i]
    for j in range(total + k if descriptor[gm.GAUSS_NEWTON] == 0 else 0):
        weight = 2.0 * overlaps[j]
        table, column = (own, j) if j < total else (other, j - total)
        radial, normal = weight * table[at.C0, column], weight * table[at.C1, column]
        for a in range(d):
            diagonal[a] += radial * direction[a] + normal * normals[j, a]
        square[i, i] += weight * table[at.BETA, column]
        for p in range(o):
            across[i, p * total + i] += 2.0 * outputs[p, j] * table[at.GAMMA, column]


@inner_jit
def finish_biases(descriptor, work, hessian_at):
    """From the blocks in w̃ and b̃ to those in w and b: the rows of b, and for a mean μ

    ∇²_ww += X_ij μᵀ + μ X_jiᵀ + s_ij μμᵀ,  ∂²/∂w_i∂b_j = X_ij + s_ij μ,  ∂²/∂w_i∂a += μ ∂²/∂b_i∂a,
    X_ij = ∂²L/∂w̃_i∂b̃_j, s_ij = ∂²L/∂b̃_i∂b̃_j.
    """
    n, d, o = descriptor[gm.STUDENTS], descriptor[gm.DIM], descriptor[gm.OUTPUTS]
    total = n + descriptor[gm.OUTPUT_BIAS]
    size = _parameters(descriptor)
    hessian, biases_at = matrix(hessian_at, size, size), work + 8 * n * d
    mixed, square = matrix(biases_at, n * n, d), matrix(biases_at + 8 * n * n * d, n, n)
    across = matrix(biases_at + 8 * n * n * (d + 1), n, o * total)
    if descriptor[gm.MEAN] != 0:
        mean = vector(descriptor[gm.MEAN], d)
        for i in range(n):
            for j in range(i, n):
                here, there, weight = mixed[i * n + j], mixed[j * n + i], square[i, j]
                for a in range(d):
                    for b in range(a if i == j else 0, d):
                        value = hessian[i * d + a, j * d + b] + (here[a] * mean[b] + mean[a] * there[b])
                        value += weight * (mean[a] * mean[b])
                        hessian[i * d + a, j * d + b] = value
                        hessian[j * d + b, i * d + a] = value
            for p in range(o):
                for j in range(total):
                    column = _output_column(descriptor, p, j)
                    for a in range(d):
                        hessian[i * d + a, column] += mean[a] * across[i, p * total + j]
                        hessian[column, i * d + a] = hessian[i * d + a, column]
    if descriptor[gm.HIDDEN_BIAS] == 0:
        return
    for i in range(n):
        line = hessian[n * d + i]
        for j in range(n):
            for a in range(d):
                value = mixed[j * n + i, a]
                if descriptor[gm.MEAN] != 0:
                    value += square[j, i] * vector(descriptor[gm.MEAN], d)[a]
                line[j * d + a] = value
                hessian[j * d + a, n * d + i] = value
            line[n * d + j] = square[i, j]
        for p in range(o):
            for j in range(total):
                column = _output_column(descriptor, p, j)
                line[column] = across[i, p * total + j]
                hessian[column, n * d + i] = line[column]


@inner_jit
def _add_metric(descriptor, weight, i, j, hessian):
    """Add weight · C to block (i, j), C = I where there is no covariance."""
    d = descriptor[gm.DIM]
    if descriptor[gm.COVARIANCE] == 0:
        for a in range(d):
            hessian[i * d + a, j * d + a] += weight
        return
    covariance = matrix(descriptor[gm.COVARIANCE], d, d)
    for a in range(d):
        for b in range(d):
            hessian[i * d + a, j * d + b] += weight * covariance[a, b]
