"""One step of backward differentiation with variable coefficients, orders 1 to 5, without matrices.

The polynomial of the last q + 1 points is kept as Nordsieck's array z_j = Δt^j θ^(j)/j!, so that another step
length is a scaling, and the coefficients are those of the actual steps. Newton's method takes one iteration a
step: its Jacobian is the one at the predicted point.
"""

from __future__ import annotations

import math

from ...kernels.math.abi import inner_jit, summing_jit
from ...kernels.math.blas import copy, vector
from ...kernels.math.memory import load, word
from . import layout as at
from .algebra import linearise
from .growth import FOLLOWED
from .krylov import SCRATCH, solve_by_products

LARGEST_ORDER = 5

SOLVED = 0.1
"""Error of Newton's iteration relative to the tolerance, in units of the error of the formula."""

LINEAR = 0.05
"""Residual of the linear system relative to that. Looser solutions need more steps: their error is in the
soft modes, where it spoils the differences from which step and order are chosen (measured: 0.2 doubles the
steps)."""

ITERATIONS = 3
"""Newton iterations after which the step is halved."""

BIAS, BIAS_UP = 6.0, 10.0
"""The error estimates are multiplied by these when a step length is chosen: at the same or a lower order, and
at a higher one."""

LEAST_CHANGE = 1.2
"""A step grows by this factor at least, or stays as it is."""

LARGEST_CHANGE = 10.0

TAU = at.OWN_NUMBERS
"""Own numbers: the lengths of the last steps (places 1 …), then scratch: l (7), the error constants E (6)."""
L, E = TAU + 8, TAU + 15
LENGTH, SAVED, RATE, LARGEST = range(TAU + 21, TAU + 25)
"""… the step of the array, E_5 when the correction was saved, Newton's rate of decrease, the largest growth
of the next step."""

OWN_NUMBERS = 25

ORDER, WAIT, FAILURES = range(at.OWN_INTEGERS, at.OWN_INTEGERS + 3)
"""Own integers: the order, steps until another one is considered, failures of the error test in a row."""

OWN_INTEGERS = 3

ARRAY = at.OWN_VECTORS
KEPT = ARRAY + LARGEST_ORDER + 1
"""Own vectors: Nordsieck's array, and a correction saved for the estimate at a higher order."""

OWN_VECTORS = LARGEST_ORDER + 2

PREDICTED = at.OWN_WORK
CORRECTION, POINT, INCREMENT, RIGHT, KRYLOV = range(
    PREDICTED + LARGEST_ORDER + 1, PREDICTED + LARGEST_ORDER + 6
)
"""Rows of WORK: the predicted array, Newton's correction and point, its increment, the right-hand side, and
scratch of the solver."""

OWN_WORK = LARGEST_ORDER + 5 + SCRATCH


@inner_jit
def _add(size, factor, source, target):
    """target += factor source, at addresses."""
    a, b = vector(source, size), vector(target, size)
    for k in range(size):
        b[k] += factor * a[k]


@inner_jit
def _scale(size, factor, source, target):
    """target = factor source."""
    a, b = vector(source, size), vector(target, size)
    for k in range(size):
        b[k] = factor * a[k]


@inner_jit
def _sum(size, a, factor, b, target):
    """target = a + factor b."""
    first, second, result = vector(a, size), vector(b, size), vector(target, size)
    for k in range(size):
        result[k] = first[k] + factor * second[k]


@inner_jit
def _residual(size, slope, first, d, c, rates, gradient, right):
    """right = −slope/first − d − c r ⊙ gradient."""
    a, b, r = vector(slope, size), vector(d, size), vector(rates, size)
    g, result = vector(gradient, size), vector(right, size)
    for k in range(size):
        result[k] = -a[k] / first - b[k] - c * r[k] * g[k]


@summing_jit
def _norm(run, values):
    """`algebra.scaled_norm`, by vectors."""
    size = word(run, at.SIZE)
    a, scale = vector(values, size), vector(at.row(run, at.WORK, at.SCALE), size)
    total = 0.0
    for k in range(size):
        x = a[k] * scale[k]
        total += x * x
    return math.sqrt(total / size)


@inner_jit
def _rescale(run, order, ratio):
    size, factor = word(run, at.SIZE), 1.0
    for j in range(1, order + 1):
        factor *= ratio
        line = at.row(run, at.VECTORS, ARRAY + j)
        _scale(size, factor, line, line)


@inner_jit
def _predict(run, order):
    """Σ_{i≥j} binom(i, j) z_i into the rows PREDICTED + j."""
    size = word(run, at.SIZE)
    for j in range(order + 1):
        target = at.row(run, at.WORK, PREDICTED + j)
        copy(size, at.row(run, at.VECTORS, ARRAY + j), target)
        binomial = 1.0
        for i in range(j + 1, order + 1):
            binomial *= i / (i - j)
            source = at.row(run, at.VECTORS, ARRAY + i)
            _add(size, binomial, source, target)


@inner_jit
def _multiply(run, highest, factor):
    """l(x) ← l(x) (1 + factor x), coefficients up to x^highest."""
    for i in range(highest, 0, -1):
        at.set_number(run, L + i, at.number(run, L + i) + factor * at.number(run, L + i - 1))


@inner_jit
def _coefficients(run, q, step, wait):
    """The coefficients l_0 … l_q, with z_new = z_predicted + l (θ − θ_predicted), and E_1, E_2, E_3, E_5.

    E_1, E_2, E_3: the error at order q − 1, q and q + 1 per unit of z_q, of the correction, and of its
    change; E_5, the correction per unit of θ^(q+1).

    Source: K. R. Jackson and R. Sacks-Davis, ACM TOMS 6 (1980) 295–318 (fixed leading coefficient), as in
    S. D. Cohen and A. C. Hindmarsh, CVODE, Computers in Physics 10 (1996) 138–143.
    """
    for i in range(LARGEST_ORDER + 2):
        at.set_number(run, L + i, 1.0 if i < 2 else 0.0)
    xi, star, alpha, hat, total = 1.0, 1.0, -1.0, -1.0, step
    if q > 1:
        for j in range(2, q):
            total += at.number(run, TAU + j - 1)
            alpha -= 1.0 / j
            _multiply(run, j, step / total)
        alpha -= 1.0 / q
        star = -at.number(run, L + 1) - alpha
        total += at.number(run, TAU + q - 1)
        xi = step / total
        hat = -at.number(run, L + 1) - xi
        _multiply(run, q, star)
    last = at.number(run, L + q)
    a1 = 1.0 - hat + alpha
    a2 = 1.0 + q * a1
    at.set_number(run, E + 2, abs(a1 / (alpha * a2)))
    at.set_number(run, E + 5, abs(a2 * star / (last * xi)))
    if wait != 1:
        return
    at.set_number(run, E + 1, 1.0)
    if q > 1:
        a3, a4 = alpha + 1.0 / q, hat + xi
        at.set_number(run, E + 1, abs(star / last * (1.0 - a4 + a3) / a3))
    total += at.number(run, TAU + q)
    xi = step / total
    a5, a6 = alpha - 1.0 / (q + 1), hat - xi
    at.set_number(run, E + 3, abs((1.0 - a6 + a5) / (a2 * xi * (q + 2) * a5)))


@inner_jit
def _raise_order(run, q):
    """z_(q+1) of the polynomial of order q + 1, from the correction KEPT, and what it adds to the others."""
    size, length = word(run, at.SIZE), at.number(run, LENGTH)
    for i in range(LARGEST_ORDER + 2):
        at.set_number(run, L + i, 1.0 if i == 2 else 0.0)
    alpha0, alpha1, product, before, total = -1.0, 1.0, 1.0, 1.0, length
    for j in range(1, q):
        total += at.number(run, TAU + j + 1)
        xi = total / length
        product *= xi
        alpha0 -= 1.0 / (j + 1)
        alpha1 += 1.0 / xi
        for i in range(j + 2, 1, -1):
            at.set_number(run, L + i, at.number(run, L + i) * before + at.number(run, L + i - 1))
        before = xi
    share = (-alpha0 - alpha1) / product
    kept, new = at.row(run, at.VECTORS, KEPT), at.row(run, at.VECTORS, ARRAY + q + 1)
    _scale(size, share, kept, new)
    for j in range(2, q + 1):
        line, weight = at.row(run, at.VECTORS, ARRAY + j), at.number(run, L + j)
        _add(size, weight, new, line)


@inner_jit
def _lower_order(run, q):
    """The polynomial of order q − 1 through the points but the oldest."""
    size, length = word(run, at.SIZE), at.number(run, LENGTH)
    for i in range(LARGEST_ORDER + 2):
        at.set_number(run, L + i, 1.0 if i == 2 else 0.0)
    total = 0.0
    for j in range(1, q - 1):
        total += at.number(run, TAU + j)
        xi = total / length
        for i in range(j + 2, 1, -1):
            at.set_number(run, L + i, at.number(run, L + i) * xi + at.number(run, L + i - 1))
    last = at.row(run, at.VECTORS, ARRAY + q)
    for j in range(2, q):
        line, weight = at.row(run, at.VECTORS, ARRAY + j), at.number(run, L + j)
        _add(size, -weight, last, line)


@inner_jit
def _newton(run, c, enough):
    """Solve d + z_1/l_1 + c r ⊙ ∇L(z_0 + d) = 0 (z as predicted) for the correction d; False: failed."""
    size = word(run, at.SIZE)
    predicted, slope = at.row(run, at.WORK, PREDICTED), at.row(run, at.WORK, PREDICTED + 1)
    d, point = at.row(run, at.WORK, CORRECTION), at.row(run, at.WORK, POINT)
    increment, right = at.row(run, at.WORK, INCREMENT), at.row(run, at.WORK, RIGHT)
    gradient, rates = at.row(run, at.FRESH, at.NEW_GRADIENT), word(run, at.RATES)
    cell, scratch = at.row(run, at.WORK, at.SPARE), at.row(run, at.WORK, KRYLOV)
    first = at.number(run, L + 1)
    _scale(size, 0.0, predicted, d)
    previous = 0.0
    for iteration in range(ITERATIONS):
        _sum(size, predicted, 1.0, d, point)
        linearise(run, point, cell, gradient)
        at.set_number(run, at.NEW_LOSS, load(cell, 0))
        _residual(size, slope, first, d, c, rates, gradient, right)
        if not _norm(run, right) < math.inf:
            at.set_integer(run, at.NON_FINITE, 1)
            return False
        if not solve_by_products(run, point, gradient, c, right, LINEAR * enough, scratch, increment):
            return False
        length = _norm(run, increment)
        _add(size, 1.0, increment, d)
        rate = at.number(run, RATE)
        if iteration > 0:
            if length > 2.0 * previous:
                return False
            rate = max(0.3 * rate, length / previous)
            at.set_number(run, RATE, rate)
        if length * min(1.0, rate) <= enough:
            return True
        previous = length
    return False


@inner_jit
def _accept(run, q, step):
    """θ, θ', ∇L = −θ'/r and θ'' of the new point, the new array, and the lengths of the steps behind it."""
    size = word(run, at.SIZE)
    d, gradient = at.row(run, at.WORK, CORRECTION), at.row(run, at.FRESH, at.NEW_GRADIENT)
    velocity, acceleration = (
        at.row(run, at.FRESH, at.NEW_VELOCITY),
        at.row(run, at.FRESH, at.NEW_ACCELERATION),
    )
    for j in range(q + 1):
        source, target = at.row(run, at.WORK, PREDICTED + j), at.row(run, at.VECTORS, ARRAY + j)
        weight = at.number(run, L + j)
        _sum(size, source, weight, d, target)
    copy(size, at.row(run, at.VECTORS, ARRAY), at.row(run, at.FRESH, at.NEW_THETA))
    slope, bend, factor = at.row(run, at.VECTORS, ARRAY + 1), at.row(run, at.VECTORS, ARRAY + 2), 2.0
    if q == 1:  # θ'' as the change of θ'
        bend, factor = d, 1.0
    # θ' as the formula has it: smooth to the tolerance, where −r ⊙ ∇L amplifies the error of θ.
    _scale(size, 1.0 / step, slope, velocity)
    rates = vector(word(run, at.RATES), size)
    there, back = vector(velocity, size), vector(gradient, size)
    for k in range(size):
        back[k] = -there[k] / rates[k]
    _scale(size, factor / step**2, bend, acceleration)
    for i in range(LARGEST_ORDER + 1, 1, -1):
        at.set_number(run, TAU + i, at.number(run, TAU + i - 1))
    at.set_number(run, TAU + 1, step)


@inner_jit
def _choose(run, q, error):
    """The growth of the next step, and its order, which is set."""
    size = word(run, at.SIZE)
    d, kept = at.row(run, at.WORK, CORRECTION), at.row(run, at.VECTORS, KEPT)
    growth, best = 1.0 / ((BIAS * error) ** (1.0 / (q + 1)) + 1e-6), q
    if at.integer(run, WAIT) == 0:
        at.set_integer(run, WAIT, 2)
        if q > 1:
            lower = at.number(run, E + 1) * _norm(run, at.row(run, at.VECTORS, ARRAY + q))
            other = 1.0 / ((BIAS * lower) ** (1.0 / q) + 1e-6)
            if other > growth:
                growth, best = other, q - 1
        if q < LARGEST_ORDER and at.number(run, SAVED) > 0.0:
            ratio = at.number(run, TAU + 1) / at.number(run, TAU + 2)
            share = at.number(run, E + 5) / at.number(run, SAVED) * ratio ** (q + 1)
            change = at.row(run, at.WORK, INCREMENT)
            _sum(size, d, -share, kept, change)
            higher = at.number(run, E + 3) * _norm(run, change)
            other = 1.0 / ((BIAS_UP * higher) ** (1.0 / (q + 2)) + 1e-6)
            if other > growth:
                growth, best = other, q + 1
    growth = min(growth, at.number(run, LARGEST))
    if growth < LEAST_CHANGE:
        return 1.0
    if best > q:
        copy(size, d, kept)
        _raise_order(run, q)
    elif best < q:
        _lower_order(run, q)
    if best != q:
        at.set_integer(run, ORDER, best)
        at.set_integer(run, WAIT, best + 1)
    return growth


@inner_jit
def _follow(run, allowed):
    """Another order follows what grows over other steps: what was found out holds in proportion."""
    before = at.number(run, at.GROWTH_ALLOWED)
    if allowed == before:
        return
    at.set_number(run, at.GROWTH_ALLOWED, allowed)
    limit = at.number(run, at.STEP_LIMIT) * (allowed / before)
    at.set_number(run, at.STEP_LIMIT, limit)
    at.set_number(run, at.CLEAR_STEP, min(at.number(run, at.CLEAR_STEP), limit))


def bdf_krylov_step(run, unused_1, unused_2, unused_3, unused_4, unused_5):
    """One step of order q (see `layout`).

    θ_new = θ_predicted + d, Δt θ' = z_1 + l_1 d with θ' = −r ⊙ ∇L(θ_new).

    Fixed leading coefficient. Source: P. N. Brown, G. D. Byrne and A. C. Hindmarsh, VODE, SIAM J. Sci. Stat.
    Comput. 10 (1989) 1038–1051; P. N. Brown and A. C. Hindmarsh, Reduced storage matrix methods in stiff ODE
    systems, Appl. Math. Comput. 31 (1989) 40–91.
    """
    size, step = word(run, at.SIZE), at.number(run, at.TAKEN)
    q = at.integer(run, ORDER)
    if q == 0:
        q = 1
        at.set_integer(run, ORDER, 1)
        at.set_integer(run, WAIT, 2)
        at.set_number(run, RATE, 1.0)
        at.set_number(run, LARGEST, 1e4)
        copy(size, at.row(run, at.VECTORS, at.THETA), at.row(run, at.VECTORS, ARRAY))
        velocity, slope = at.row(run, at.VECTORS, at.VELOCITY), at.row(run, at.VECTORS, ARRAY + 1)
        _scale(size, step, velocity, slope)
    elif step != at.number(run, LENGTH):
        _rescale(run, q, step / at.number(run, LENGTH))
    at.set_number(run, LENGTH, step)
    if at.integer(run, at.ACCEPTED) == 0:
        at.set_number(run, LARGEST, 1.0)
    _predict(run, q)
    _coefficients(run, q, step, at.integer(run, WAIT))
    constant = at.number(run, E + 2)
    if not _newton(run, step / at.number(run, L + 1), SOLVED / constant):
        at.set_integer(run, at.FAILED, 1)
        return
    error = constant * _norm(run, at.row(run, at.WORK, CORRECTION))
    at.set_number(run, at.ERROR, error)
    if error > 1.0:
        failures = at.integer(run, FAILURES) + 1
        at.set_integer(run, FAILURES, failures)
        shrunk = 1.0 / ((BIAS * error) ** (1.0 / (q + 1)) + 1e-6)
        if failures >= 3 and q > 1:  # the array describes the path badly: less of it
            _lower_order(run, q)
            at.set_integer(run, ORDER, q - 1)
            at.set_integer(run, WAIT, q)
        at.set_number(run, at.PROPOSED, step * min(max(shrunk, 0.1), 0.9 if failures < 2 else 0.2))
        return
    _accept(run, q, step)
    at.set_integer(run, FAILURES, 0)
    wait = at.integer(run, WAIT) - 1
    at.set_integer(run, WAIT, wait)
    if wait == 1 and q < LARGEST_ORDER:
        copy(size, at.row(run, at.WORK, CORRECTION), at.row(run, at.VECTORS, KEPT))
        at.set_number(run, SAVED, at.number(run, E + 5))
    growth = 1.0
    if at.number(run, LARGEST) > 1.0:
        growth = _choose(run, q, error)
    else:  # after a failure the length is kept for a step
        at.set_integer(run, WAIT, max(wait, 2))
    at.set_number(run, LARGEST, LARGEST_CHANGE)
    _follow(run, FOLLOWED[at.integer(run, ORDER)])
    at.set_number(run, at.PROPOSED, growth * step)
