"""The run: what the compiled loop and the methods share, all of it at addresses.

A run is an int64 array of sizes and addresses. What changes from step to step, and nothing else, is in
three arrays that a checkpoint stores: `NUMBERS` (float64), `INTEGERS` (int64) and `VECTORS` (rows of P).
A method's `step` reads

    THETA, GRADIENT, VELOCITY   rows of VECTORS: θ, ∇L(θ), and θ' as the step before left it
    HESSIAN                     ∇²L(θ) (P, P) if the method asked for it (`WANTS_HESSIAN`)
    TAKEN                       the number Δt that the loop asks for
    SCALE (P,)                  a row of WORK: 1/(the error allowed) of every parameter (`loop`)

and writes

    NEW_THETA, NEW_VELOCITY     rows of FRESH; a method that leaves NEW_VELOCITY alone (`OWN_VELOCITY` = 0)
                                gets −r ⊙ ∇L(θ_new) there
    NEW_GRADIENT, NEW_ACCELERATION, and the number NEW_LOSS, if it has OWN_EVALUATION = 1: ∇L and L at
                                θ_new or within the tolerance of it (the loop looks again where they would
                                end the run), and θ''; otherwise the loop evaluates them
    ERROR                       number: the error in units of the tolerance; the step is accepted at ≤ 1
    FAILED                      integer: 1 if there is no step of this length (Newton diverged): halve it
    CURVATURE                   number: an estimate of |λ|_max of r ⊙ ∇²L, by methods without Hessians

and, if it chooses step sizes by itself (`OWN_STEPS` = 1), PROPOSED, the step it wants next. It may keep
rows OWN_VECTORS… of VECTORS, the numbers OWN_NUMBERS… and the integers OWN_INTEGERS… for itself, and has
`WORK` (rows of P) as scratch from row OWN_WORK. If a step is rejected it is called again with a smaller
TAKEN and the same state; `ACCEPTED` (integer) tells it whether the step before was accepted.
"""

from __future__ import annotations

from numba import types

from ...kernels.math.abi import inner_jit
from ...kernels.math.memory import load, set_word, store, word

(
    SIZE, KERNEL, PRODUCT, DESCRIPTOR, COUNTERS, STEP, STAGES, TABLEAU, WANTS_HESSIAN, OWN_VELOCITY,
    OWN_STEPS, SETTINGS, NUMBERS, INTEGERS, VECTORS, FRESH, WORK, HESSIAN, FACTOR, PIVOTS, RATES, ROOTS,
    RECORD, ROOM, ROUTINES, CONSTANTS, OWN_EVALUATION, STABILISED, GROUPS, GROUP_COUNT, GROUP_SIZES, GUARD,
    ORACLE, LINEARISE, TIMES, MEMORY, WORDS,
) = range(37)  # fmt: skip
"""Words of a run: sizes, flags, and addresses of arrays."""

RTOL, ATOL, END, GTOL, LOSS_FLOOR, EXPONENT, STEPS_LEFT = range(7)
"""Settings (float64); EXPONENT is 1/(order of the error estimate + 1)."""

(
    TIME, NEXT, TAKEN, LOSS, GRAD_NORM, ERROR, OLD_ERROR, OLD_STEP, GROWTH, CURVATURE, PROPOSED, WINDOW_LOSS,
    WINDOW_LOW, WINDOW_HIGH, BEFORE_LOSS, BEFORE_LOW, BEFORE_HIGH, STIFF_TIME, NEW_LOSS, WATCH, CLEAR_STEP,
    STEP_LIMIT, GROWTH_ALLOWED, OWN_NUMBERS,
) = range(24)  # fmt: skip
"""Numbers of the state: t, the step to try next and the one tried, L and |∇L|_∞ at θ, …; WATCH is the |∇L|_∞
at which the end is asked about next; steps up to CLEAR_STEP lose no growing mode, and none is longer than
STEP_LIMIT, at which one grows by e^GROWTH_ALLOWED (`growth`)."""

(
    STATUS, ACCEPTED_STEPS, REJECTED_STEPS, ACCEPTED, FAILED, NON_FINITE, HESSIAN_READY, FACTORED, WINDOW,
    STIFF, LIMIT_AGE, OWN_INTEGERS,
) = range(12)  # fmt: skip
"""Integers of the state; CLEAR_STEP and STEP_LIMIT hold for LIMIT_AGE accepted steps more."""

THETA, VELOCITY, GRADIENT, POWER, SIZES, OWN_VECTORS = range(6)
"""Rows of VECTORS; POWER is the vector of the power iteration, SIZES has the size of a parameter's weight
vector, with a memory."""

NEW_THETA, NEW_VELOCITY, NEW_GRADIENT, NEW_ACCELERATION = range(4)
"""Rows of FRESH."""

SCALE, SPARE, OWN_WORK = range(3)
"""Rows of WORK."""

R_TIME, R_LOSS, R_GRAD_NORM, R_CURVATURE, R_VECTORS = range(5)
"""A row of RECORD, one per accepted step: these numbers, then θ, θ' and θ'' (P each)."""

(
    RUNNING, GRADIENT_MET, SADDLE_MET, FLOOR_MET, END_MET, UNDERFLOW, NOT_FINITE, NO_PROGRESS, TOO_STIFF,
) = range(9)  # fmt: skip
"""Values of STATUS."""

NEVER, BY_FACTORS, BY_PRODUCTS = range(3)
"""Values of GUARD: how a method finds out that a mode grows within a step."""

IS_THIS_THE_END, MAY_IT_GROW = range(2)
"""Questions to ORACLE, a function `void oracle(run, question, 0, 0, 0, 0)` in Python (`compiled_run`). The
first one's answer is STATUS, and WATCH if the flow goes on; the second one's CLEAR_STEP, STEP_LIMIT and
LIMIT_AGE."""

INFINITY = float("inf")

STEP_FUNCTION = types.void(*(types.int64,) * 6)
"""void step(run, 0, 0, 0, 0, 0)"""


@inner_jit
def setting(run, k):
    """A setting."""
    return load(word(run, SETTINGS), k)


@inner_jit
def number(run, k):
    """A number of the state."""
    return load(word(run, NUMBERS), k)


@inner_jit
def set_number(run, k, value):
    """Set a number of the state."""
    store(word(run, NUMBERS), k, value)


@inner_jit
def integer(run, k):
    """An integer of the state."""
    return word(word(run, INTEGERS), k)


@inner_jit
def set_integer(run, k, value):
    """Set an integer of the state."""
    set_word(word(run, INTEGERS), k, value)


@inner_jit
def row(run, table, k):
    """Address of row k (P doubles) of VECTORS, FRESH or WORK."""
    return word(run, table) + 8 * k * word(run, SIZE)
