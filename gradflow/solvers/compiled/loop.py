"""The loop around every method: step sizes, acceptance, stopping, recording."""

from __future__ import annotations

import math

from ...kernels.along import largest
from ...kernels.math.abi import call_six, inner_jit
from ...kernels.math.blas import copy
from ...kernels.math.memory import load, store, word
from . import layout as at
from .algebra import all_derivatives, curvature, hessian_times, loss_and_gradient, product
from .growth import ask, forget, outruns
from .scale import weigh

SAFETY = 0.9
"""The step aims at this fraction of the one that would meet the tolerance."""

LARGEST_GROWTH, SMALLEST_GROWTH = 10.0, 0.2
"""Limits on the ratio of a step to the one before."""

SLOW_RECOVERY = 1.05
"""After a step that failed, growth is held at one and let go by this factor per accepted step."""

WINDOW_STEPS = 100
"""Accepted steps in each of the two windows that the test of progress compares."""

STIFF_STEPS = 2000
"""Accepted steps of an explicit method at its stability limit after which the run is looked at."""

STIFF_LIMIT = 1.7
"""Δt·|λ| from which steps of an explicit method count as limited by stability: half of where the shortest
stability interval ends (3.5, Tsit5), because steps swing around it."""

EPS = 2.220446049250313e-16


@inner_jit
def _evaluate(run, theta, gradient):
    """L, ∇L and, if the method wants it, ∇²L at a new point; L and |∇L|_∞."""
    cell = at.row(run, at.WORK, at.SPARE)
    if word(run, at.WANTS_HESSIAN) != 0:
        all_derivatives(run, theta, cell, gradient)
    else:
        loss_and_gradient(run, theta, cell, gradient)
    return load(cell, 0), largest(gradient, word(run, at.SIZE))


@inner_jit
def _record(run, place):
    """Write the accepted point, its θ' and θ'' = −r ⊙ ∇²L θ', and |λ|_max there."""
    size = word(run, at.SIZE)
    target = word(run, at.RECORD) + 8 * place * (at.R_VECTORS + 3 * size)
    theta, velocity = at.row(run, at.VECTORS, at.THETA), at.row(run, at.VECTORS, at.VELOCITY)
    third = target + 8 * (at.R_VECTORS + 2 * size)
    if word(run, at.OWN_EVALUATION) != 0:
        copy(size, at.row(run, at.FRESH, at.NEW_ACCELERATION), third)
    elif word(run, at.WANTS_HESSIAN) != 0:
        at.set_number(run, at.CURVATURE, curvature(run, 2))
        scaled, roots = at.row(run, at.WORK, at.SPARE), word(run, at.ROOTS)
        for k in range(size):
            store(scaled, k, load(velocity, k) / load(roots, k))
        hessian_times(run, scaled, third)
        for k in range(size):
            store(third, k, -load(third, k) * load(roots, k))
    else:
        product(run, theta, velocity, third)
        for k in range(size):
            store(third, k, -load(third, k) * load(word(run, at.RATES), k))
    store(target, at.R_TIME, at.number(run, at.TIME))
    store(target, at.R_LOSS, at.number(run, at.LOSS))
    store(target, at.R_GRAD_NORM, at.number(run, at.GRAD_NORM))
    store(target, at.R_CURVATURE, at.number(run, at.CURVATURE))
    copy(size, theta, target + 8 * at.R_VECTORS)
    copy(size, velocity, target + 8 * (at.R_VECTORS + size))


@inner_jit
def _progress(run):
    """False if neither L nor the range of |∇L| has moved from one window of steps to the next.

    A loss that falls, a gradient that shrinks (a channel to infinity) and one that grows (leaving a
    saddle) are progress; what is left is noise at the rounding floor.
    """
    loss, norm = at.number(run, at.LOSS), at.number(run, at.GRAD_NORM)
    at.set_number(run, at.WINDOW_LOSS, min(at.number(run, at.WINDOW_LOSS), loss))
    at.set_number(run, at.WINDOW_LOW, min(at.number(run, at.WINDOW_LOW), norm))
    at.set_number(run, at.WINDOW_HIGH, max(at.number(run, at.WINDOW_HIGH), norm))
    count = at.integer(run, at.WINDOW) + 1
    at.set_integer(run, at.WINDOW, count)
    if count < WINDOW_STEPS:
        return True
    lowest, low, high = (
        at.number(run, at.WINDOW_LOSS), at.number(run, at.WINDOW_LOW), at.number(run, at.WINDOW_HIGH)
    )  # fmt: skip
    before = at.number(run, at.BEFORE_LOSS)
    gained = before - lowest > 8.0 * EPS * abs(before)
    moved = low < 0.9 * at.number(run, at.BEFORE_LOW) or high > 1.1 * at.number(run, at.BEFORE_HIGH)
    at.set_number(run, at.BEFORE_LOSS, min(lowest, before))
    at.set_number(run, at.BEFORE_LOW, low)
    at.set_number(run, at.BEFORE_HIGH, high)
    at.set_number(run, at.WINDOW_LOSS, math.inf)
    at.set_number(run, at.WINDOW_LOW, math.inf)
    at.set_number(run, at.WINDOW_HIGH, 0.0)
    at.set_integer(run, at.WINDOW, 0)
    return gained or moved


@inner_jit
def _stability_limited(run, step):
    """Whether an explicit method is at its stability limit now or was in the last steps.

    L and ∇L are then noisy by as much as the tolerance allows, far above the rounding; t still moves on.
    """
    if word(run, at.STABILISED) != 0:
        return False
    return at.integer(run, at.STIFF) > 0 or step * at.number(run, at.CURVATURE) >= STIFF_LIMIT


@inner_jit
def _too_stiff(run, step):
    """An explicit method for which stability, not accuracy, sets the step, and the end is out of reach.

    After every STIFF_STEPS accepted steps at the limit (one that is not takes two of them back): t has
    not grown by a half meanwhile, and the steps left do not reach the end at this pace.
    """
    if word(run, at.STABILISED) != 0:
        return False
    if step * at.number(run, at.CURVATURE) < STIFF_LIMIT:
        at.set_integer(run, at.STIFF, max(at.integer(run, at.STIFF) - 2, 0))
        return False
    t = at.number(run, at.TIME)
    if at.integer(run, at.STIFF) == 0:
        at.set_number(run, at.STIFF_TIME, t)
    at.set_integer(run, at.STIFF, at.integer(run, at.STIFF) + 1)
    if at.integer(run, at.STIFF) < STIFF_STEPS:
        return False
    at.set_integer(run, at.STIFF, 0)
    tried = at.integer(run, at.ACCEPTED_STEPS) + at.integer(run, at.REJECTED_STEPS)
    left = (at.setting(run, at.STEPS_LEFT) - tried) * step
    return t < 1.5 * at.number(run, at.STIFF_TIME) and at.setting(run, at.END) - t > left


@inner_jit
def _next_step(run, step, error):
    """The step after an accepted one: from its error, and from the trend of the last two (Gustafsson)."""
    exponent = at.setting(run, at.EXPONENT)
    error = max(error, 1e-10)
    factor = SAFETY * error ** (-exponent)
    old = at.number(run, at.OLD_ERROR)
    if old > 0.0:
        factor = min(factor, factor * step / at.number(run, at.OLD_STEP) * (old / error) ** exponent)
    at.set_number(run, at.OLD_ERROR, error)
    at.set_number(run, at.OLD_STEP, step)
    growth = at.number(run, at.GROWTH)
    at.set_number(run, at.GROWTH, min(SLOW_RECOVERY * growth, LARGEST_GROWTH))
    return step * min(max(factor, SMALLEST_GROWTH), growth)


@inner_jit
def _end(run):
    """STATUS by the size of L and ∇L. Below WATCH, at first gtol, the oracle says whether it is the end."""
    gtol, floor = at.setting(run, at.GTOL), at.setting(run, at.LOSS_FLOOR)
    near = at.number(run, at.GRAD_NORM) <= at.number(run, at.WATCH) or at.number(run, at.LOSS) <= floor
    if near and word(run, at.OWN_EVALUATION) != 0:  # what the method handed back is from nearby
        gradient = at.row(run, at.VECTORS, at.GRADIENT)
        loss, norm = _evaluate(run, at.row(run, at.VECTORS, at.THETA), gradient)
        at.set_number(run, at.LOSS, loss)
        at.set_number(run, at.GRAD_NORM, norm)
    norm = at.number(run, at.GRAD_NORM)
    if norm > 2.0 * gtol:
        at.set_number(run, at.WATCH, gtol)
    elif norm <= at.number(run, at.WATCH):
        ask(run, at.IS_THIS_THE_END)
        if at.integer(run, at.STATUS) != at.RUNNING:
            return at.integer(run, at.STATUS)
    return at.FLOOR_MET if at.number(run, at.LOSS) <= floor else at.RUNNING


@inner_jit
def _stop(run, step):
    """STATUS after an accepted step."""
    status = _end(run)
    if status != at.RUNNING:
        return status
    if at.number(run, at.TIME) >= at.setting(run, at.END):
        return at.END_MET
    if not _progress(run) and not _stability_limited(run, step):
        return at.NO_PROGRESS
    if _too_stiff(run, step):
        return at.TOO_STIFF
    return at.RUNNING


@inner_jit
def _accept(run, step, clipped, loss, norm):
    size = word(run, at.SIZE)
    at.set_number(run, at.TIME, at.setting(run, at.END) if clipped else at.number(run, at.TIME) + step)
    at.set_number(run, at.LOSS, loss)
    at.set_number(run, at.GRAD_NORM, norm)
    fresh = at.row(run, at.FRESH, at.NEW_VELOCITY)
    if word(run, at.OWN_VELOCITY) == 0:
        gradient = at.row(run, at.FRESH, at.NEW_GRADIENT)
        for k in range(size):
            store(fresh, k, -load(word(run, at.RATES), k) * load(gradient, k))
    copy(size, at.row(run, at.FRESH, at.NEW_THETA), at.row(run, at.VECTORS, at.THETA))
    copy(size, fresh, at.row(run, at.VECTORS, at.VELOCITY))
    copy(size, at.row(run, at.FRESH, at.NEW_GRADIENT), at.row(run, at.VECTORS, at.GRADIENT))
    at.set_integer(run, at.ACCEPTED_STEPS, at.integer(run, at.ACCEPTED_STEPS) + 1)
    at.set_integer(run, at.ACCEPTED, 1)
    forget(run)


def weigh_only(run, unused_1, unused_2, unused_3, unused_4, unused_5):
    """SCALE for the step TAKEN."""
    weigh(run, at.number(run, at.TAKEN))


def attempt(run, unused_1, unused_2, unused_3, unused_4, unused_5):
    """One call of the method with the step TAKEN, nothing accepted: NEW_THETA and ERROR are its answer."""
    at.set_number(run, at.ERROR, math.inf)
    at.set_integer(run, at.FAILED, 0)
    step = at.number(run, at.TAKEN)
    weigh(run, step)
    if word(run, at.WANTS_HESSIAN) != 0 and at.integer(run, at.HESSIAN_READY) == 0:
        _evaluate(run, at.row(run, at.VECTORS, at.THETA), at.row(run, at.VECTORS, at.GRADIENT))
        at.set_integer(run, at.HESSIAN_READY, 1)
    if (word(run, at.WANTS_HESSIAN) != 0 or word(run, at.GUARD) == at.BY_PRODUCTS) and outruns(run, step):
        at.set_integer(run, at.FAILED, 1)
        return
    call_six(word(run, at.STEP), run, 0, 0, 0, 0, 0)


_attempt = inner_jit(attempt)


def advance(run, attempts, unused_1, unused_2, unused_3, unused_4):
    """Try at most `attempts` steps, as long as STATUS is RUNNING and RECORD has room.

    Stopping early changes nothing: the next call continues with the same bits. How many steps were
    accepted (and recorded) and rejected is in INTEGERS.
    """
    tried, recorded = 0, 0
    while tried < attempts and recorded < word(run, at.ROOM) and at.integer(run, at.STATUS) == at.RUNNING:
        t, end = at.number(run, at.TIME), at.setting(run, at.END)
        step = min(at.number(run, at.NEXT), at.number(run, at.STEP_LIMIT))
        clipped = t + 1.0001 * step >= end
        if clipped:
            step = end - t
        elif not step > 16.0 * EPS * t + 1e-300:
            bad = at.integer(run, at.NON_FINITE) != 0
            at.set_integer(run, at.STATUS, at.NOT_FINITE if bad else at.UNDERFLOW)
            break
        tried += 1
        at.set_number(run, at.TAKEN, step)
        _attempt(run, 0, 0, 0, 0, 0)
        error = at.number(run, at.ERROR)
        if error <= 1.0 and at.integer(run, at.FAILED) == 0:
            theta, gradient = at.row(run, at.FRESH, at.NEW_THETA), at.row(run, at.FRESH, at.NEW_GRADIENT)
            if word(run, at.OWN_EVALUATION) != 0:
                loss, norm = at.number(run, at.NEW_LOSS), largest(gradient, word(run, at.SIZE))
            else:
                loss, norm = _evaluate(run, theta, gradient)
            if abs(loss) < math.inf and norm < math.inf:
                _accept(run, step, clipped, loss, norm)
                _record(run, recorded)
                recorded += 1
                proposed = _next_step(run, step, error)
                if word(run, at.OWN_STEPS) != 0:
                    proposed = at.number(run, at.PROPOSED)
                at.set_number(run, at.NEXT, proposed)
                at.set_integer(run, at.NON_FINITE, 0)
                at.set_integer(run, at.STATUS, _stop(run, step))
                continue
            error = math.inf
            at.set_integer(run, at.NON_FINITE, 1)
            at.set_integer(run, at.HESSIAN_READY, 0)
        at.set_integer(run, at.REJECTED_STEPS, at.integer(run, at.REJECTED_STEPS) + 1)
        at.set_integer(run, at.ACCEPTED, 0)
        if step > at.number(run, at.STEP_LIMIT):
            step = at.number(run, at.STEP_LIMIT)
        elif at.integer(run, at.FAILED) != 0 or not error < math.inf:
            # Where Newton, not the error, limits the step, the error estimate asks again for a step
            # that fails: halve it, and hold growth back for a while.
            step *= 0.5
            at.set_number(run, at.GROWTH, 1.0)
        elif word(run, at.OWN_STEPS) != 0:
            step = at.number(run, at.PROPOSED)
        else:
            factor = SAFETY * error ** (-at.setting(run, at.EXPONENT))
            step *= min(max(factor, SMALLEST_GROWTH), SAFETY)
        at.set_number(run, at.NEXT, step)
