"""One step of a numerical differentiation formula (NDF), orders 1 to 5, in backward differences."""

from __future__ import annotations

import math

from ...kernels.math.abi import inner_jit
from ...kernels.math.blas import copy, vector
from ...kernels.math.memory import load, set_word, store, word
from . import layout as at
from .algebra import clear_and_add, curvature, factorise, hessian, loss_and_gradient, scaled_norm, solve
from .growth import FOLLOWED, outruns

LARGEST_ORDER = 5

SOLVED = 0.05
"""Newton's last increment, times the estimated error of the formula per unit of increment and times the
rate of decrease, at which the formula counts as solved; in units of the tolerance."""

ROUNDING = 1e-15
"""An increment of so many tolerances is nothing."""

ITERATIONS = 4
"""Newton iterations after which the Hessian is renewed, or the step halved."""

SLOW = 0.3
"""Rate of decrease beyond which the Hessian is renewed after the step."""

NEW_FACTOR = 0.3
"""Relative change of c = Δt/α at which the factors of I + c r ⊙ ∇²L are renewed."""

BIAS, BIAS_UP = 3.0, 5.0
"""The error estimates are multiplied by these when a step length is chosen: at the same or a lower order,
and at a higher one."""

LEAST_CHANGE = 1.2
"""A step grows by this factor at least, or stays as it is: differences and factors are kept."""

ALPHA, GAMMA, ERROR, SECOND, ONE = 0, 6, 12, 19, 23
"""Places in the tableau: (1 − κ_k) γ_k, γ_k and the error constant by the order k, the coefficients of θ''
by ∇², ∇³, …, and ones."""

LENGTH, FACTOR_AT, RATE = range(at.OWN_NUMBERS, at.OWN_NUMBERS + 3)
"""Own numbers: the step of the differences, c of the factors, Newton's rate of decrease."""

ORDER, EQUAL_STEPS, AGE, FAILURES = range(at.OWN_INTEGERS, at.OWN_INTEGERS + 4)
"""Own integers: the order, steps of this length and order, steps since the Hessian was formed (negative:
renew it), and failures of the error test in a row."""

HESSIAN_POINT, DIFFERENCES = range(at.OWN_VECTORS, at.OWN_VECTORS + 2)
"""Own vectors: where the Hessian was formed; then θ and its backward differences."""

PREDICTED, PAST, CORRECTION, POINT, RESIDUAL, IN_MEMORY = range(at.OWN_WORK, at.OWN_WORK + 6)
"""Rows of WORK. IN_MEMORY holds one if the Hessian and its factors are in memory: after a checkpoint was
read they are not."""


@inner_jit
def _coefficient(i, j, ratio):
    """Share of the old i-th difference in the new j-th, when the step becomes `ratio` times as long.

    Σ_m (−1)^m binom(j, m) p_i(−ratio m), p_i(s) = s(s + 1)…(s + i − 1)/i!, the basis of Newton's
    interpolation: the new differences are those of the same polynomial.
    """
    total, binomial = 0.0, 1.0
    for m in range(j + 1):
        term = binomial
        for q in range(i):
            term *= (q - ratio * m) / (q + 1.0)
        total += term
        binomial *= -(j - m) / (m + 1.0)
    return total


@inner_jit
def _rescale(run, order, ratio):
    """The differences of another step length, in place: the j-th depends on the i-th for i ≥ j only."""
    size = word(run, at.SIZE)
    first = at.row(run, at.VECTORS, DIFFERENCES)
    for j in range(1, order + 1):
        target = first + 8 * j * size
        own = _coefficient(j, j, ratio)
        for k in range(size):
            store(target, k, own * load(target, k))
        for i in range(j + 1, order + 1):
            share, source = _coefficient(i, j, ratio), first + 8 * i * size
            for k in range(size):
                store(target, k, load(target, k) + share * load(source, k))


@inner_jit
def _form_hessian(run, theta):
    """∇²L at a point into HESSIAN."""
    hessian(run, theta)
    copy(word(run, at.SIZE), theta, at.row(run, at.VECTORS, HESSIAN_POINT))


@inner_jit
def _prepare(run, c):
    """Hessian and factors for this c: kept, or renewed as far as needed.

    False if there are no factors, or a mode grows too fast for the step.
    """
    kept = at.row(run, at.WORK, IN_MEMORY)
    if load(kept, 0) == 0.0 and at.integer(run, AGE) >= 0 and at.number(run, FACTOR_AT) > 0.0:
        _form_hessian(run, at.row(run, at.VECTORS, HESSIAN_POINT))
        counters = word(run, at.COUNTERS)
        set_word(counters, 1, word(counters, 1) - 1)  # counted before the checkpoint was written
        factorise(run, at.number(run, FACTOR_AT))
    store(kept, 0, 1.0)
    fresh = at.integer(run, AGE) < 0
    if fresh:
        _form_hessian(run, at.row(run, at.VECTORS, at.THETA))
        at.set_number(run, at.CURVATURE, curvature(run, 10))
        at.set_integer(run, AGE, 0)
        at.set_number(run, RATE, 0.7)
    if fresh or not abs(c / at.number(run, FACTOR_AT) - 1.0) <= NEW_FACTOR:
        at.set_number(run, FACTOR_AT, 0.0)
        at.set_number(run, at.GROWTH_ALLOWED, FOLLOWED[at.integer(run, ORDER)])
        if outruns(run, at.number(run, at.TAKEN)):
            return False
        at.set_number(run, FACTOR_AT, c)
        at.set_number(run, RATE, max(at.number(run, RATE), SLOW))
        return factorise(run, c)
    return True


@inner_jit
def _newton(run, c, enough):
    """Solve d + Σ γ_m ∇^m θ/α + c r ⊙ ∇L(θ_predicted + d) = 0 for the correction d; iterations, 0: failed.

    With factors for c' instead of c the increment is multiplied by 2/(1 + c/c'), the best number for a
    curvature that dominates. Source: P. N. Brown, G. D. Byrne and A. C. Hindmarsh, SIAM J. Sci. Stat.
    Comput. 10 (1989) 1038–1051, section 2.3.
    """
    size = word(run, at.SIZE)
    predicted, past = at.row(run, at.WORK, PREDICTED), at.row(run, at.WORK, PAST)
    d, point, residual = (
        at.row(run, at.WORK, CORRECTION), at.row(run, at.WORK, POINT), at.row(run, at.WORK, RESIDUAL)
    )  # fmt: skip
    gradient, rates = at.row(run, at.FRESH, at.NEW_GRADIENT), word(run, at.RATES)
    cell = at.row(run, at.WORK, at.SPARE)
    weight = 2.0 / (1.0 + c / at.number(run, FACTOR_AT))
    for k in range(size):
        store(d, k, 0.0)
    theta = at.row(run, at.VECTORS, at.THETA)
    previous, solved = 0.0, 0
    for iteration in range(ITERATIONS):
        for k in range(size):
            store(point, k, load(predicted, k) + load(d, k))
        loss_and_gradient(run, point, cell, gradient)
        at.set_number(run, at.NEW_LOSS, load(cell, 0))
        for k in range(size):
            store(residual, k, -load(past, k) - load(d, k) - c * load(rates, k) * load(gradient, k))
        solve(run, residual)
        for k in range(size):
            store(residual, k, weight * load(residual, k))
        length = scaled_norm(run, residual)
        if not length < math.inf:
            at.set_integer(run, at.NON_FINITE, 1)
            return 0
        for k in range(size):
            store(d, k, load(d, k) + load(residual, k))
        rate = at.number(run, RATE)
        if iteration > 0 and previous > 0.0:
            if length > 2.0 * previous:
                return solved
            rate = max(0.3 * rate, length / previous)
            at.set_number(run, RATE, rate)
        if length * min(1.0, rate) <= enough:
            solved = iteration + 1
            # At rest within the tolerance the step is solved relative to its own length, as far as the
            # iterations go: so ∇L falls on.
            for k in range(size):
                store(residual, k, load(point, k) + load(residual, k) - load(theta, k))
            if length * min(1.0, rate) <= enough * scaled_norm(run, residual) or length <= ROUNDING:
                return solved
        previous = length
    return solved


@inner_jit
def _choose(run, order, step, error):
    """The order and length of the next step, after ORDER + 1 equal ones, from errors at three orders."""
    size, table = word(run, at.SIZE), word(run, at.TABLEAU)
    first = at.row(run, at.VECTORS, DIFFERENCES)
    best, factor = order, (BIAS * error) ** (-1.0 / (order + 1))
    if order > 1:
        lower = load(table, ERROR + order - 1) * scaled_norm(run, first + 8 * order * size)
        other = max(BIAS * lower, 1e-10) ** (-1.0 / order)
        if other > factor:
            best, factor = order - 1, other
    if order < LARGEST_ORDER:
        higher = load(table, ERROR + order + 1) * scaled_norm(run, first + 8 * (order + 2) * size)
        other = max(BIAS_UP * higher, 1e-10) ** (-1.0 / (order + 2))
        limited = step > 0.9 * at.number(run, at.STEP_LIMIT)  # a higher order may take longer steps there
        if other > factor or (limited and other > 1.0):
            best, factor = order + 1, other
    if best == order and 0.95 < factor < LEAST_CHANGE:
        factor = 1.0
    elif factor > 0.95 and factor < LEAST_CHANGE:
        best, factor = order, 1.0
    at.set_integer(run, ORDER, best)
    return step * min(max(factor, 0.2), 10.0)


@inner_jit
def _accept(run, order, step, c):
    """θ, θ', ∇L = −θ'/r and θ'' of the new point, and the new differences."""
    size, table = word(run, at.SIZE), word(run, at.TABLEAU)
    d, first = at.row(run, at.WORK, CORRECTION), at.row(run, at.VECTORS, DIFFERENCES)
    past, velocity = at.row(run, at.WORK, PAST), at.row(run, at.FRESH, at.NEW_VELOCITY)
    gradient, last = at.row(run, at.FRESH, at.NEW_GRADIENT), first + 8 * (order + 1) * size
    for k in range(size):
        # θ' as the formula has it: smooth to the tolerance, where −r ⊙ ∇L amplifies the error of θ.
        store(velocity, k, (load(past, k) + load(d, k)) / c)
        store(gradient, k, -load(velocity, k) / load(word(run, at.RATES), k))
        store(last + 8 * size, k, load(d, k) - load(last, k))
        store(last, k, load(d, k))
    for j in range(order, -1, -1):
        lower = vector(first + 8 * j * size, size)
        upper = vector(first + 8 * (j + 1) * size, size)
        for k in range(size):
            lower[k] += upper[k]
    copy(size, first, at.row(run, at.FRESH, at.NEW_THETA))
    # Δt² θ'' = (log(1 − ∇))² θ = (∇² + ∇³ + 11/12 ∇⁴ + 5/6 ∇⁵ + …) θ.
    clear_and_add(
        run, max(order - 1, 1), table + 8 * SECOND, first + 16 * size, 1.0 / step**2, 0,
        at.row(run, at.FRESH, at.NEW_ACCELERATION),
    )  # fmt: skip


def bdf_step(run, unused_1, unused_2, unused_3, unused_4, unused_5):
    """One step of order k (see `layout`), backward differentiation with Klopfenstein's term:

        Σ_{m=1}^k ∇^m θ/m − κ_k γ_k (θ − θ_predicted) = −Δt r ⊙ ∇L(θ),   γ_k = Σ_{m=1}^k 1/m

    on equal steps; another step length gives the differences of the same polynomial there. Hessian and
    factors are kept until Newton's convergence degrades. Source: L. F. Shampine and M. W. Reichelt, The
    MATLAB ODE suite, SIAM J. Sci. Comput. 18 (1997) 1–22.
    """
    size, step, table = word(run, at.SIZE), at.number(run, at.TAKEN), word(run, at.TABLEAU)
    first = at.row(run, at.VECTORS, DIFFERENCES)
    order = at.integer(run, ORDER)
    if order == 0:
        order = 1
        at.set_integer(run, ORDER, 1)
        at.set_integer(run, AGE, -1)
        copy(size, at.row(run, at.VECTORS, at.THETA), first)
        clear_and_add(
            run, 1, table + 8 * ONE, at.row(run, at.VECTORS, at.VELOCITY), step, 0, first + 8 * size
        )
    elif step != at.number(run, LENGTH):
        _rescale(run, order, step / at.number(run, LENGTH))
        at.set_integer(run, EQUAL_STEPS, 0)
    at.set_number(run, LENGTH, step)
    alpha, constant = load(table, ALPHA + order), load(table, ERROR + order)
    c = step / alpha
    predicted, past = at.row(run, at.WORK, PREDICTED), at.row(run, at.WORK, PAST)
    clear_and_add(run, order, table + 8 * ONE, first + 8 * size, 1.0, first, predicted)
    clear_and_add(run, order, table + 8 * (GAMMA + 1), first + 8 * size, 1.0 / alpha, 0, past)
    iterations = 0
    while _prepare(run, c):
        iterations = _newton(run, c, SOLVED / constant)
        if iterations > 0 or at.integer(run, AGE) == 0:
            break
        at.set_integer(run, AGE, -1)
    if iterations == 0:
        at.set_integer(run, at.FAILED, 1)
        if step <= at.number(run, at.STEP_LIMIT):
            at.set_integer(run, AGE, -1)
        return
    error = constant * scaled_norm(run, at.row(run, at.WORK, CORRECTION))
    at.set_number(run, at.ERROR, error)
    if error > 1.0:
        failures = at.integer(run, FAILURES) + 1
        at.set_integer(run, FAILURES, failures)
        if failures >= 3 and order > 1:  # the differences describe the path badly: fewer of them
            at.set_integer(run, ORDER, order - 1)
        at.set_number(run, at.PROPOSED, step * max(0.2, 0.9 * error ** (-1.0 / (order + 1))))
        return
    _accept(run, order, step, c)
    at.set_integer(run, FAILURES, 0)
    at.set_integer(run, EQUAL_STEPS, at.integer(run, EQUAL_STEPS) + 1)
    slow = iterations > 1 and at.number(run, RATE) > SLOW
    at.set_integer(run, AGE, -1 if slow else at.integer(run, AGE) + 1)
    proposed = step
    if at.integer(run, EQUAL_STEPS) > order:
        proposed = _choose(run, order, step, max(error, 1e-10))
    at.set_number(run, at.PROPOSED, proposed)
