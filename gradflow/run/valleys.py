"""On from where a refinement creeps: least squares and Newton's method in turns, in units of the last point.

Along a curved valley that leads outwards parameters differ in size by many orders, and ∇L need not fall with
L. Here each turn begins with a unit for every parameter in which L is curved by about one, and nothing is
asked of ∇L on the way.
"""

from __future__ import annotations

import numpy as np

from ..objective import Affine, Objective
from ..refiners import LevenbergMarquardt, TrustRegionNewton
from ..refiners.base import Kept
from ..support.eigen import units_of_curvature
from ..support.progress import Monitor
from ..support.stopping import StopReason

CREEPING = (StopReason.VALLEY, StopReason.MAX_STEPS)
"""Ends of refinements that more steps may bring to an end."""

WORK, STEPS = 1e10, 10_000
"""What all turns may cost together, some ten seconds, in units of a multiplication; and their steps."""

AT_ONCE = 300
"""Steps of Newton's method in one turn."""

SQUARES = 60
"""Steps of least squares in one turn: where L does not fall to nine tenths, they end earlier."""

FALLING = 1e-3
"""Three turns in which L falls by less than this part of itself, after the first ones, are the last."""


class _Anywhere(Kept):
    """Any point is as good as it has come."""

    def better(self, theta, loss, norm):
        return theta, loss, norm


def budget(objective: Objective) -> int:
    """Steps that all turns may have together, by what one costs."""
    size = objective.size
    return int(min(WORK / (size**2 * (20 * size + objective.sample_count)), STEPS))


def further(objective: Objective, theta: np.ndarray, monitor: Monitor) -> np.ndarray:
    """The point (P,) that turns lead to from `theta`, of lower loss or the same."""
    point, left, losses = theta, budget(objective), [objective.loss(theta)]
    while left > 0 and not monitor.interrupted:
        if objective.sum_of_squares:
            found = LevenbergMarquardt(max_iterations=SQUARES).descended(objective, point, monitor)
            point, left = found.theta, left - found.iterations
            if found.loss <= objective.loss_floor:
                break
        loss, gradient, hessian = objective.all_derivatives(point)
        if not np.isfinite(hessian).all():
            break
        units = units_of_curvature(hessian)
        inner, start = Affine(objective, np.diag(units), point), np.zeros(point.size)
        kept = _Anywhere(inner, start, loss, float(np.abs(units * gradient).max()))
        end = TrustRegionNewton(max_iterations=AT_ONCE).refine(inner, start, monitor, kept)
        left -= max(end.iterations, 1)
        if not end.loss <= loss:
            break
        point = np.ascontiguousarray(point + units * end.theta)
        losses.append(end.loss)
        if end.stop_reason not in CREEPING:
            break
        if len(losses) > 6 and losses[-1] > (1.0 - FALLING) * losses[-4]:
            break
    return point if losses[-1] <= losses[0] else theta
