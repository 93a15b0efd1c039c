"""Why a stage of the work stopped, in the words a user reads, and the one test of convergence."""

from __future__ import annotations

import enum

import numpy as np


class StopReason(enum.Enum):
    """Why a flow or a refinement stopped; the values are sentences.

    Examples
    --------
    >>> StopReason.END_TIME.value
    't reached t1'
    >>> StopReason.END_TIME.succeeded
    True
    """

    GRADIENT = "the gradient's ∞-norm fell below gtol"
    SADDLE = (
        "the gradient's ∞-norm fell below gtol at a saddle; the flow has no part in the directions in which "
        "the loss falls, as by a symmetry of its start, and ends there"
    )
    FLOOR = "neither the gradient nor the loss can be lowered further in Float64"
    DOUBLE_DOUBLE_FLOOR = "the gradient reached the rounding floor of double-double arithmetic"
    LOSS_FLOOR = "the loss is zero within the rounding of its own evaluation"
    END_TIME = "t reached t1"
    MAX_STEPS = "the limit on the number of steps was met"
    MAX_SECONDS = "the limit on the wall-clock time was met"
    STATIONARY_RESIDUAL = "|∇L|² has a local minimum here at which ∇L is not zero: not a critical point"
    OTHER_INDEX = "a critical point, but not with the number of negative eigenvalues asked for"
    VALLEY = "the loss still falls, ever more slowly, along a flat curved valley: no end was reached"
    KRYLOV = "the linear systems of Newton's method were not solved within the products allowed for them"
    NO_PROGRESS = "no further progress, although the gradient is above the rounding floor"
    UNBOUNDED = "the parameters grow without bound: no minimum lies on this path"
    CHANNEL = "weights go to infinity, and the loss approaches a limit there"
    INFIMUM = "no minimum: the loss falls along a direction to infinity"
    NON_FINITE = "the loss or its gradient became non-finite; the last good state is returned"
    STEP_UNDERFLOW = "the step size fell below what Float64 resolves at this t"
    STIFF = (
        "an explicit method at its limit of stability: the problem is stiff; use BDF, or KrylovBDF where "
        "Hessians do not fit"
    )
    INTERRUPTED = "interrupted by the user"

    @property
    def succeeded(self) -> bool:
        """Whether the stage did what it was asked to do."""
        return self in (
            StopReason.GRADIENT,
            StopReason.SADDLE,
            StopReason.FLOOR,
            StopReason.DOUBLE_DOUBLE_FLOOR,
            StopReason.LOSS_FLOOR,
            StopReason.END_TIME,
            StopReason.CHANNEL,
            StopReason.INFIMUM,
        )

    @property
    def ends_flow(self) -> bool:
        """Whether a flow that stopped for this reason was followed to its end, and not only so far."""
        return self in (StopReason.GRADIENT, StopReason.SADDLE, StopReason.LOSS_FLOOR)


CRITICAL = 1e-12
"""Components of ∇L, in units of the terms that cancel in them, below which a point is critical."""


def is_critical(gradient: np.ndarray, tolerances: np.ndarray) -> bool:
    """|∂_i L| ≤ tolerance_i for every i: the one predicate behind every `converged` in the package."""
    return bool(np.isfinite(gradient).all() and (np.abs(gradient) <= tolerances).all())
