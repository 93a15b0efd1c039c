"""Newton systems (I + c r ⊙ ∇²L) d = b by conjugate gradients, by products or by differences.

In the variable d/√r the matrix M = I + c √r ∇²L √r is symmetric, and positive definite as long as no mode
grows by more than its own size within a step. A product ∇²L v is one of the linearisation that came with the
gradient (`objective.Linear`), half a gradient; where there is none it is (∇L(θ + εv) − ∇L(θ))/ε, which
costs one gradient, where the product kernel costs 1.3 to 2.5 of them, and about one more at every new θ.
Tried on erf networks of some thousand parameters, where they did not lower the number of products: deflation
by Ritz vectors kept across steps, starting values from the directions of earlier solutions, preconditioning
by layers, and by the part Y ⊗ I of the Hessian (`kernels.population.linearised`). Other problems may differ.
"""

from __future__ import annotations

import math

from ...kernels.math.abi import inner_jit, summing_jit
from ...kernels.math.blas import vector
from ...kernels.math.memory import word
from . import layout as at
from .algebra import linearised, loss_and_gradient, times

DIFFERENCE = 1e-7
"""Displacement of the differences: a root mean square in units of the error allowed, over the tolerance, and
so relative to θ. Truncation and rounding are then both some 1e-8 of |∇²L| |v|."""

LONGEST = 300
"""Products in one solution, at most."""

DIRECTION, LEFT, IMAGE, MOVED, BESIDE = range(5)
"""Rows of scratch: p, b − M d, M p, θ + εv, and ∇L there."""

SCRATCH = 5


@inner_jit
def _unit(size, b, roots):
    """A power of two in units of which b/√r has squares in Float64; mostly 1."""
    source, root = vector(b, size), vector(roots, size)
    largest = 0.0
    for k in range(size):
        largest = max(largest, abs(source[k] / root[k]))
    if 1e-100 < largest < 1e100 or not 0.0 < largest < math.inf:
        return 1.0
    return 2.0 ** max(math.floor(math.log2(largest)), -1000)


@summing_jit
def _weighted_square(size, left, right, weights, unit):
    """Σ (left_k right_k weights_k unit)² of vectors at addresses."""
    a, b, w = vector(left, size), vector(right, size), vector(weights, size)
    total = 0.0
    for k in range(size):
        x = a[k] * b[k] * (w[k] * unit)
        total += x * x
    return total


@summing_jit
def _start(size, b, roots, scale, unit, left, p, d):
    """d = 0, p = left = b/√r/unit; their square, and that of `left` in units of the tolerance."""
    source, root, weight = vector(b, size), vector(roots, size), vector(scale, size)
    residual, direction, x = vector(left, size), vector(p, size), vector(d, size)
    square, error = 0.0, 0.0
    for k in range(size):
        value = source[k] / root[k] / unit
        residual[k] = value
        direction[k] = value
        x[k] = 0.0
        square += value * value
        size_k = source[k] * weight[k]
        error += size_k * size_k
    return square, error


@inner_jit
def _displace(size, theta, roots, p, epsilon, moved):
    """moved = θ + ε √r p."""
    start, root, direction, target = (
        vector(theta, size), vector(roots, size), vector(p, size), vector(moved, size)
    )  # fmt: skip
    for k in range(size):
        target[k] = start[k] + epsilon * root[k] * direction[k]


@summing_jit
def _image(size, p, roots, beside, gradient, factor, image):
    """image = p + factor √r (beside − gradient); p · image."""
    direction, root, there = vector(p, size), vector(roots, size), vector(beside, size)
    here, result = vector(gradient, size), vector(image, size)
    total = 0.0
    for k in range(size):
        value = direction[k] + factor * root[k] * (there[k] - here[k])
        result[k] = value
        total += direction[k] * value
    return total


@inner_jit
def _multiply(size, p, roots, result):
    """√r p."""
    direction, root, target = vector(p, size), vector(roots, size), vector(result, size)
    for k in range(size):
        target[k] = root[k] * direction[k]


@summing_jit
def _add_image(size, p, roots, beside, c, image):
    """image = p + c √r beside; p · image."""
    direction, root, there = vector(p, size), vector(roots, size), vector(beside, size)
    result, total = vector(image, size), 0.0
    for k in range(size):
        value = direction[k] + c * root[k] * there[k]
        result[k] = value
        total += direction[k] * value
    return total


@summing_jit
def _advance(size, length, p, image, roots, scale, unit, x, left):
    """x += length p, left −= length image; the squares of `left` as by `_start`."""
    direction, turned, root = vector(p, size), vector(image, size), vector(roots, size)
    weight, solution, residual = vector(scale, size), vector(x, size), vector(left, size)
    square, error = 0.0, 0.0
    for k in range(size):
        solution[k] += length * direction[k]
        value = residual[k] - length * turned[k]
        residual[k] = value
        square += value * value
        size_k = value * root[k] * (weight[k] * unit)
        error += size_k * size_k
    return square, error


@inner_jit
def _turn(size, rate, left, p):
    """p = left + rate p."""
    residual, direction = vector(left, size), vector(p, size)
    for k in range(size):
        direction[k] = residual[k] + rate * direction[k]


@inner_jit
def _finish(size, products, roots, unit, left, d):
    """d ← √r d unit, or √r left unit where no product was needed."""
    root, residual, x = vector(roots, size), vector(left, size), vector(d, size)
    for k in range(size):
        x[k] = root[k] * (residual[k] if products == 0 else x[k]) * unit


@inner_jit
def _times(run, theta, gradient, c, unit, scratch):
    """M p into IMAGE, and p · M p, p in this unit; `gradient` is ∇L(θ)."""
    size, roots = word(run, at.SIZE), word(run, at.ROOTS)
    p, beside = scratch + 8 * size * DIRECTION, scratch + 8 * size * BESIDE
    moved = scratch + 8 * size * MOVED
    if linearised(run):
        _multiply(size, p, roots, moved)
        times(run, moved, beside)
        return _add_image(size, p, roots, beside, c, scratch + 8 * size * IMAGE)
    tolerance = max(at.setting(run, at.RTOL), at.setting(run, at.ATOL))
    length = math.sqrt(_weighted_square(size, p, roots, at.row(run, at.WORK, at.SCALE), unit) / size)
    epsilon = DIFFERENCE / (tolerance * length) * unit
    _displace(size, theta, roots, p, epsilon, moved)
    loss_and_gradient(run, moved, at.row(run, at.WORK, at.SPARE), beside)
    return _image(size, p, roots, beside, gradient, c / epsilon, scratch + 8 * size * IMAGE)


@inner_jit
def solve_by_products(run, theta, gradient, c, b, tolerance, scratch, d):
    """d with |b − (I + c r ⊙ ∇²L(θ)) d| ≤ tolerance (`scaled_norm`), at addresses.

    False if M is not positive definite, or not within `LONGEST` products. Leaves |λ|_max of r ⊙ ∇²L, from
    below by Rayleigh quotients of the residuals, in CURVATURE.
    """
    size, roots, scale = word(run, at.SIZE), word(run, at.ROOTS), at.row(run, at.WORK, at.SCALE)
    p, left = scratch + 8 * size * DIRECTION, scratch + 8 * size * LEFT
    image = scratch + 8 * size * IMAGE
    goal = tolerance * tolerance * size
    unit = _unit(size, b, roots)
    square, error = _start(size, b, roots, scale, unit, left, p, d)
    old_rate, old_length, largest = 0.0, 0.0, 0.0
    for products in range(LONGEST + 1):
        if error <= goal:
            if products > 0:
                at.set_number(run, at.CURVATURE, largest)
            _finish(size, products, roots, unit, left, d)
            return True
        if products == LONGEST:
            break
        curved = _times(run, theta, gradient, c, unit, scratch)
        if not curved > 0.0:
            break
        length = square / curved
        quotient = 1.0 / length
        if products > 0:
            quotient += old_rate / old_length
        largest = max(largest, abs(quotient - 1.0) / c)
        before = square
        square, error = _advance(size, length, p, image, roots, scale, unit, d, left)
        rate = square / before
        _turn(size, rate, left, p)
        old_rate, old_length = rate, length
    return False
