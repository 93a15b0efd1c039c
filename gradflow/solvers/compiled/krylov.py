"""Newton systems (I + c r ⊙ ∇²L) d = b by conjugate gradients, with products by differences of ∇L.

In the variable d/√r the matrix M = I + c √r ∇²L √r is symmetric, and positive definite as long as no mode
grows by more than its own size within a step. A product ∇²L v is (∇L(θ + εv) − ∇L(θ))/ε: it costs one
gradient, where the product kernel costs 1.3 to 2.5 of them, and about one more at every new θ.
Tried on erf networks of some thousand parameters, where they did not lower the number of products: deflation
by Ritz vectors kept across steps, starting values from the directions of earlier solutions, preconditioning
by layers. Other problems may differ.
"""

from __future__ import annotations

from ...kernels.math.abi import inner_jit
from ...kernels.math.blas import vector
from ...kernels.math.memory import load, store, word
from . import layout as at
from .algebra import loss_and_gradient, scaled_norm

DIFFERENCE = 1e-7
"""Displacement of the differences: a root mean square in units of the error allowed, over the tolerance, and
so relative to θ. Truncation and rounding are then both some 1e-8 of |∇²L| |v|."""

LONGEST = 300
"""Products in one solution, at most."""

DIRECTION, LEFT, IMAGE, MOVED, BESIDE = range(5)
"""Rows of scratch: p, b − M d, M p, θ + εv, and ∇L there."""

SCRATCH = 5


@inner_jit
def _times(run, theta, gradient, c, scratch):
    """M p into IMAGE; `gradient` is ∇L(θ)."""
    size = word(run, at.SIZE)
    roots, v = vector(word(run, at.ROOTS), size), vector(scratch + 8 * size * DIRECTION, size)
    image, beside = vector(scratch + 8 * size * IMAGE, size), scratch + 8 * size * BESIDE
    moved = scratch + 8 * size * MOVED
    for k in range(size):
        store(moved, k, roots[k] * v[k])
    tolerance = max(at.setting(run, at.RTOL), at.setting(run, at.ATOL))
    epsilon = DIFFERENCE / (tolerance * scaled_norm(run, moved))
    for k in range(size):
        store(moved, k, load(theta, k) + epsilon * load(moved, k))
    loss_and_gradient(run, moved, at.row(run, at.WORK, at.SPARE), beside)
    for k in range(size):
        image[k] = v[k] + c * roots[k] * ((load(beside, k) - load(gradient, k)) / epsilon)


@inner_jit
def solve_by_products(run, theta, gradient, c, b, tolerance, scratch, d):
    """d with |b − (I + c r ⊙ ∇²L(θ)) d| ≤ tolerance (`scaled_norm`), at addresses; b is overwritten.

    False if M is not positive definite, or not within `LONGEST` products. Leaves |λ|_max of r ⊙ ∇²L, from
    below by Rayleigh quotients of the residuals, in CURVATURE.
    """
    size = word(run, at.SIZE)
    roots, x = vector(word(run, at.ROOTS), size), vector(d, size)
    p, left = vector(scratch + 8 * size * DIRECTION, size), vector(scratch + 8 * size * LEFT, size)
    image = vector(scratch + 8 * size * IMAGE, size)
    square = 0.0
    for k in range(size):
        left[k] = load(b, k) / roots[k]
        p[k] = left[k]
        x[k] = 0.0
        square += left[k] * left[k]
    old_rate, old_length, largest = 0.0, 0.0, 0.0
    for products in range(LONGEST + 1):
        if scaled_norm(run, b) <= tolerance:
            if products == 0:
                for k in range(size):
                    x[k] = left[k]
            else:
                at.set_number(run, at.CURVATURE, largest)
            for k in range(size):
                x[k] *= roots[k]
            return True
        if products == LONGEST:
            break
        _times(run, theta, gradient, c, scratch)
        curved = 0.0
        for k in range(size):
            curved += p[k] * image[k]
        if not curved > 0.0:
            break
        length = square / curved
        quotient = 1.0 / length
        if products > 0:
            quotient += old_rate / old_length
        largest = max(largest, abs(quotient - 1.0) / c)
        before, square = square, 0.0
        for k in range(size):
            x[k] += length * p[k]
            left[k] -= length * image[k]
            square += left[k] * left[k]
        rate = square / before
        for k in range(size):
            p[k] = left[k] + rate * p[k]
            store(b, k, roots[k] * left[k])
        old_rate, old_length = rate, length
    return False
