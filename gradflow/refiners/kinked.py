"""Refinement at a kink: Newton's method along the boundaries at which the point is."""

from __future__ import annotations

import numpy as np

from ..kinks.end import places_at_kinks, settle_phases
from ..kinks.corner import Resolver
from ..kinks.manifold import Manifold
from ..objective import Objective
from ..support.eigen import symmetric_eigen
from ..support.progress import Monitor
from ..support.stopping import StopReason
from .base import Course, Refinement, Refiner

CUT = 1e-10
"""Eigenvalues below this times the largest are directions in which Newton does not step."""

PATIENCE = 3
"""Steps in a row that do not lower the norm: that is the floor."""

NEAR = 1e-9
"""The places of a start are those whose z is so near to a kink, in units of the neuron's largest |z|."""


def refine_along_kinks(
    refiner: Refiner, objective: Objective, theta: np.ndarray, monitor: Monitor
) -> Refinement | None:
    """Newton's method on L along the boundaries that θ is at, to the floor of Float64.

    None where θ is at no kink, or where the element of least norm has left the inside of the hull on the way:
    then the point that it leads to is not on all of these boundaries, and other refiners go on from θ.
    `grad_norm` of what is returned is that of the element of least norm.
    """
    pieces = objective.pieces()
    if pieces is None:
        return None
    theta = np.ascontiguousarray(theta, dtype=np.float64)
    places, left = places_at_kinks(pieces, theta, NEAR)
    if not len(places):
        return None
    course = Course(refiner, objective, monitor)
    root = np.ones(theta.size)
    resolver = Resolver(pieces, root)
    found = resolver.hull(theta, places, left)
    held = (found.fractions > 0.0) & (found.fractions < 1.0)
    if not held.any():
        return None
    places, left = places[held], left[held]
    kinks = pieces.ends[places[:, 0], left + 1]
    theta = Manifold(pieces, root, theta, places, kinks).settle(theta)
    best: tuple[float, float, np.ndarray] | None = None
    idle = 0
    while course.reason is None:
        settle_phases(pieces, theta)
        element = resolver.hull(theta, places, left)
        if not ((element.fractions > 0.0) & (element.fractions < 1.0)).all():
            return None
        loss, _, hessian = pieces.all_derivatives(theta)
        norm = float(np.abs(element.vector).max())
        if not np.isfinite(norm):
            return None
        idle = 0 if best is None or norm < best[0] else idle + 1
        if best is None or norm < best[0]:
            best = norm, loss, theta
        course.monitor.report(f"refine ({refiner.name})", loss=loss, grad_norm=norm, steps=course.iterations)
        if norm <= refiner.gtol:
            course.reason = StopReason.GRADIENT
            break
        if idle >= PATIENCE:
            break
        course.reason = course.limits.reason(course.iterations)
        manifold = Manifold(pieces, root, theta, places, kinks)
        if not manifold.size:
            break
        values, vectors = symmetric_eigen(manifold.matrix(hessian))
        used = np.abs(values) > CUT * np.abs(values).max()
        slope = vectors[:, used].T @ manifold.along(element.vector)
        step = -vectors[:, used] @ (slope / np.abs(values[used]))
        theta = manifold.settle(theta + manifold.vector(step))
        course.iterations += 1
    assert best is not None
    norm, loss, theta = best
    settle_phases(pieces, theta)
    vector = resolver.hull(theta, places, left).vector
    if course.reason is None:
        if objective.is_critical(theta, vector):
            course.reason = StopReason.FLOOR
        elif objective.is_zero(theta, loss):
            course.reason = StopReason.LOSS_FLOOR
        else:
            return None
    return course.refinement(theta, loss, objective.norm(vector))
