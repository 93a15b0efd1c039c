"""Modes that grow: steps that would outrun them, whatever the error estimate says.

Along an eigenvector of √r ∇²L √r with eigenvalue −μ < 0 a deviation from the saddle grows as e^{μt}. As
long as it is below the tolerance the error estimate does not see it, and an implicit method, which damps
all that is fast, damps it as well once Δt μ exceeds one: the flow would stay at the saddle for ever. So
Δt μ ≤ GROWTH_ALLOWED while the flow has a part in such a mode (`solvers.modes` decides).
"""

from __future__ import annotations

from ...kernels.math.abi import call_six, inner_jit
from ...kernels.math.memory import word
from . import layout as at
from .algebra import indefinite

FOLLOWED = (0.0, 0.03, 0.2, 0.4, 0.5, 0.5, 0.5, 0.5)
"""Δt μ at most, by the order of the error estimate: the rate of what grows is right to a hundredth, and to
1e-4 from order 4 on."""

FLAT = 0.25
"""Δt |λ|_max below which no mode grows much; the estimate of |λ|_max is from below."""

CLEAR_STEPS = 3
"""Accepted steps, at most twice as long, that are not looked at after one in which nothing grew."""


@inner_jit
def ask(run, question):
    """Put a question to the oracle."""
    call_six(word(run, at.ORACLE), run, question, 0, 0, 0, 0)


@inner_jit
def outruns(run, step):
    """Whether a step of this length outruns a mode that grows.

    With ∇²L at hand the question is put only where I + (Δt/GROWTH_ALLOWED) √r ∇²L √r is not positive
    definite; FACTOR is overwritten.
    """
    guard = word(run, at.GUARD)
    if guard == at.NEVER or step <= at.number(run, at.CLEAR_STEP):
        return False
    curvature = at.number(run, at.CURVATURE)
    if curvature > 0.0 and step * curvature < FLAT:
        return False
    if guard == at.BY_FACTORS and not indefinite(run, step / at.number(run, at.GROWTH_ALLOWED)):
        at.set_number(run, at.CLEAR_STEP, 2.0 * step)
        at.set_integer(run, at.LIMIT_AGE, CLEAR_STEPS)
        return False
    ask(run, at.MAY_IT_GROW)
    return step > at.number(run, at.STEP_LIMIT)


@inner_jit
def forget(run):
    """After an accepted step: what was found out holds for some steps only."""
    age = at.integer(run, at.LIMIT_AGE) - 1
    at.set_integer(run, at.LIMIT_AGE, age)
    if age <= 0:
        at.set_number(run, at.CLEAR_STEP, 0.0)
        at.set_number(run, at.STEP_LIMIT, at.INFINITY)
