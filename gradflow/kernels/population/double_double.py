"""The population loss and its gradient in double-double arithmetic, for erf and ReLU.

Same formulas as `pairs.erf` and `pairs.relu`; parameters are pairs θ + θ_low. Absolute errors of L and ∇L
are a few 1e-31 of the sum of the absolute values of their terms (for norms up to ten or so).
"""

from __future__ import annotations

import numpy as np
from numba import carray

from ..math import double_double as dd
from ..math.abi import as_pointer, inner_jit
from ..math.blas import matrix, vector
from ..math.memory import allocate, clear, release, spoil

STUDENTS, TEACHERS, DIM, RECTIFIED, TEACHER, FACTOR, CONSTANT, DESCRIPTOR_SIZE = range(8)
"""The descriptor: n, k, d; 1 for ReLU, 0 for erf; addresses of the teacher's flat θ, of C^{1/2} (or 0) and
of the teacher-teacher term (high, low, sum of absolute values)."""

_NEAR = 0.0625


@inner_jit
def _dot(a, a_low, b, b_low):
    total = (0.0, 0.0)
    for i in range(a.size):
        total = dd.add(total, dd.mul((a[i], a_low[i]), (b[i], b_low[i])))
    return total


@inner_jit
def _load_rows(descriptor, weights, weights_low, start, count, high, low):
    """Rows start … start+count−1: weights, times C^{1/2} where there is one; weights_low may be null."""
    d = descriptor[DIM]
    for i in range(count):
        for a in range(d):
            total = (0.0, 0.0)
            if descriptor[FACTOR] == 0:
                total = (vector(weights, count * d)[i * d + a], 0.0)
                if weights_low != 0:
                    total = dd.add(total, (vector(weights_low, count * d)[i * d + a], 0.0))
            else:
                factor = matrix(descriptor[FACTOR], d, d)
                for b in range(d):
                    entry = (vector(weights, count * d)[i * d + b], 0.0)
                    if weights_low != 0:
                        entry = dd.add(entry, (vector(weights_low, count * d)[i * d + b], 0.0))
                    total = dd.add(total, dd.mul(entry, (factor[b, a], 0.0)))
            high[start + i, a], low[start + i, a] = total


@inner_jit
def _gram_determinant(w, w_low, v, v_low, s, t, q):
    """G = |w|²|v|² − (w·v)²; for near directions |w|² times the squared residual of v."""
    plain = dd.add(dd.mul(s, t), dd.neg(dd.mul(q, q)))
    if s[0] == 0.0 or plain[0] > _NEAR * s[0] * t[0]:
        return plain
    factor = dd.neg(dd.div(q, s))
    total = (0.0, 0.0)
    for a in range(w.size):
        e = dd.mul_add(factor, (w[a], w_low[a]), (v[a], v_low[a]))
        total = dd.add(total, dd.mul(e, e))
    return dd.mul(total, s)


@inner_jit
def _pair(rectified, s, t, q, g):
    """K, α, β of one pair (`units`) from |w|², |v|², w·v and the Gram determinant."""
    if rectified:
        if s[0] == 0.0 or t[0] == 0.0:
            return (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)
        area = dd.sqrt(g)
        if q[0] >= 0.0:
            supplement = dd.add(dd.PI, dd.neg(dd.atan_ratio(area, q)))
        else:
            supplement = dd.atan_ratio(area, dd.neg(q))
        value = dd.mul(dd.mul_add(supplement, q, area), dd.ONE_OVER_2PI)
        return value, dd.mul(supplement, dd.ONE_OVER_2PI), dd.mul(dd.div(area, s), dd.ONE_OVER_2PI)
    size = dd.add(s, (1.0, 0.0))
    root = dd.sqrt(dd.add(dd.add(size, t), g))
    if q[0] >= 0.0:
        angle = dd.atan_ratio(q, root)
    else:
        angle = dd.neg(dd.atan_ratio(dd.neg(q), root))
    alpha = dd.div(dd.TWO_OVER_PI, root)
    return dd.mul(angle, dd.TWO_OVER_PI), alpha, dd.neg(dd.mul(alpha, dd.div(q, size)))


def evaluate(descriptor_address, theta, theta_low, loss_address, gradient_address, gradient_low_address):
    """L (high, low, Σ|terms|) and ∇L = gradient + gradient_low (null: not wanted) at θ + θ_low."""
    descriptor = carray(as_pointer(descriptor_address), DESCRIPTOR_SIZE, np.int64)
    n, k, d = descriptor[STUDENTS], descriptor[TEACHERS], descriptor[DIM]
    total = n + k
    memory = allocate(total * (2 * d + 4) + 4 * n * d)
    if memory == 0:
        spoil(loss_address, 3)
        spoil(gradient_address, n * (d + 1))
        spoil(gradient_low_address, n * (d + 1))
        return
    high, low = matrix(memory, total, d), matrix(memory + 8 * total * d, total, d)
    outputs_at = memory + 16 * total * d
    outputs, outputs_low = vector(outputs_at, total), vector(outputs_at + 8 * total, total)
    squares, squares_low = vector(outputs_at + 16 * total, total), vector(outputs_at + 24 * total, total)
    slopes_at = outputs_at + 32 * total
    slopes, slopes_low = matrix(slopes_at, n, d), matrix(slopes_at + 8 * n * d, n, d)
    clear(slopes_at, 2 * n * d)
    _load_rows(descriptor, theta, theta_low, np.int64(0), n, high, low)
    _load_rows(descriptor, descriptor[TEACHER], np.int64(0), n, k, high, low)
    for i in range(n):
        a = (vector(theta, n * (d + 1))[n * d + i], 0.0)
        if theta_low != 0:
            a = dd.add(a, (vector(theta_low, n * (d + 1))[n * d + i], 0.0))
        outputs[i], outputs_low[i] = a
    for j in range(k):
        outputs[n + j], outputs_low[n + j] = -vector(descriptor[TEACHER], k * (d + 1))[k * d + j], 0.0
    for i in range(total):
        squares[i], squares_low[i] = _dot(high[i], low[i], high[i], low[i])
    constant = vector(descriptor[CONSTANT], 3)
    loss, terms = (constant[0], constant[1]), constant[2]
    for i in range(n):
        s, sum_own, sum_other, diagonal = (squares[i], squares_low[i]), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)
        for j in range(total):
            t, o = (squares[j], squares_low[j]), (outputs[j], outputs_low[j])
            if i == j:
                q, g = s, (0.0, 0.0)
            else:
                q = _dot(high[i], low[i], high[j], low[j])
                g = _gram_determinant(high[i], low[i], high[j], low[j], s, t, q)
            value, alpha, beta = _pair(descriptor[RECTIFIED] != 0, s, t, q, g)
            term = dd.mul(o, value)
            if j < n:
                sum_own = dd.add(sum_own, term)
                terms += abs(outputs[i] * term[0])
            else:
                sum_other = dd.add(sum_other, term)
                terms += 2.0 * abs(outputs[i] * term[0])
            if gradient_address != 0:
                alpha = dd.mul(alpha, o)
                diagonal = dd.add(diagonal, dd.mul(beta, o))
                for a in range(d):
                    slope = dd.mul_add(alpha, (high[j, a], low[j, a]), (slopes[i, a], slopes_low[i, a]))
                    slopes[i, a], slopes_low[i, a] = slope
        own = (outputs[i], outputs_low[i])
        both = dd.add(sum_own, sum_other)
        loss = dd.add(loss, dd.mul(own, dd.add(both, sum_other)))
        if gradient_address != 0:
            for a in range(d):
                slope = dd.mul_add(diagonal, (high[i, a], low[i, a]), (slopes[i, a], slopes_low[i, a]))
                slopes[i, a], slopes_low[i, a] = slope
            gradient, gradient_low = (
                vector(gradient_address, n * (d + 1)),
                vector(gradient_low_address, n * (d + 1)),
            )
            for a in range(d):
                slope = (slopes[i, a], slopes_low[i, a])
                if descriptor[FACTOR] != 0:
                    factor = matrix(descriptor[FACTOR], d, d)
                    slope = (0.0, 0.0)
                    for b in range(d):
                        slope = dd.mul_add((slopes[i, b], slopes_low[i, b]), (factor[b, a], 0.0), slope)
                slope = dd.mul(own, slope)
                gradient[i * d + a], gradient_low[i * d + a] = 2.0 * slope[0], 2.0 * slope[1]
            gradient[n * d + i], gradient_low[n * d + i] = 2.0 * both[0], 2.0 * both[1]
    result = vector(loss_address, 3)
    result[0], result[1], result[2] = loss[0], loss[1], terms
    release(memory)
