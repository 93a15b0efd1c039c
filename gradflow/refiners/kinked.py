"""Refinement at a kink: Newton's method along the boundaries at which the point is."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..boundaries.corner import Resolver
from ..boundaries.end import ON, places_at_kinks, settle_phases
from ..boundaries.manifold import Manifold
from ..boundaries.zeros import resting, weights_into
from ..objective import Objective
from ..support.eigen import symmetric_eigen
from ..support.progress import Monitor
from ..support.stopping import StopReason
from .base import Course, Refinement, Refiner

NAME = "Newton on the piece"
"""How results call it."""

CUTS, LONGEST = (1e-10, 1e-8, 1e-6, 1e-4), 1e-3
"""Eigenvalues below the first of these times the largest are directions in which Newton does not step; of a
later one, where the step would be longer than this part of |θ|."""

PATIENCE = 3
"""Steps in a row that do not lower the norm: that is the floor."""

NEAR = 1e-9
"""The places of a start are those whose z is so near to a kink, in units of the neuron's largest |z|."""


def refine_along_kinks(
    refiner: Refiner, objective: Objective, theta: np.ndarray, monitor: Monitor, at_kinks: bool = False
) -> Refinement | None:
    """Newton's method to the floor, on the smooth piece that θ is on, along the boundaries that it is at.

    at_kinks   only where it is at some

    None where L has no pieces, where the point that this leads to is on another, or where the generalised
    gradient there has no element zero: then the flow leaves one of these boundaries on its way, and other
    refiners go on from θ. `grad_norm` of what is returned is that of the element of least norm.
    """
    pieces = objective.pieces()
    if pieces is None:
        return None
    theta = np.ascontiguousarray(theta, dtype=np.float64)
    places, left = places_at_kinks(pieces, theta, NEAR)
    course = Course(refiner, objective, monitor)
    root = np.ones(theta.size)
    resolver = Resolver(pieces, root)
    fractions = resolver.hull(theta, places, left).fractions
    inside = (fractions > 0.0) & (fractions < 1.0)
    if at_kinks and not inside.any():
        return None
    away = np.ones(pieces.phases.shape, dtype=bool)
    away[tuple(places.T)] = False  # those at a kink may go to either side of it
    z = pieces.states(theta).z
    size = np.abs(z).max(axis=1)[places[:, 0]]
    # Those that stay on one side, where rounding says nothing of it.
    aside = ~inside & (np.abs(z[tuple(places.T)] - pieces.ends[places[:, 0], left + 1]) <= ON * size)
    sides, parts = tuple(places[aside].T), (left + fractions)[aside]
    places, left = places[inside], left[inside]
    kinks = pieces.ends[places[:, 0], left + 1]
    before, held = pieces.natural(z), weights_into(pieces, resting(pieces, theta, z))
    theta = Manifold(pieces, root, theta, places, kinks, held).settle(theta)
    best: tuple[float, float, np.ndarray] | None = None
    idle = 0
    while course.reason is None:
        settle_phases(pieces, theta)
        pieces.phases[sides] = parts
        resolver.hull(theta, places, left)
        loss, gradient, hessian = pieces.all_derivatives(theta)
        manifold = Manifold(pieces, root, theta, places, kinks, held)
        slope = manifold.along(gradient)
        norm = float(np.abs(manifold.vector(slope)).max())
        if not np.isfinite(norm):
            return None
        better = best is None or norm < best[0]
        idle = 0 if better else idle + 1
        if best is None or better:
            best = norm, loss, theta
        course.monitor.report(f"refine ({refiner.name})", loss=loss, grad_norm=norm, steps=course.iterations)
        if norm <= refiner.gtol:
            course.reason = StopReason.GRADIENT
        if idle >= PATIENCE or not manifold.size or course.reason is not None:
            break
        course.reason = course.limits.reason(course.iterations)
        values, vectors = symmetric_eigen(manifold.matrix(hessian))
        for cut in CUTS:  # beside zero loss the curvature of flat directions is that of the residuals: noise
            used = np.abs(values) > cut * np.abs(values).max()
            step = -vectors[:, used] @ (vectors[:, used].T @ slope / np.abs(values[used]))
            if np.linalg.norm(step) <= LONGEST * np.linalg.norm(theta):
                break
        theta = manifold.settle(theta + manifold.vector(step))
        course.iterations += 1
    assert best is not None
    norm, loss, theta = best
    z = settle_phases(pieces, theta)
    crossed = (pieces.natural(z) != before) & away
    if (np.abs(z)[crossed] > 1e-9 * np.abs(z).max(initial=0.0)).any():
        return None
    places, left = places_at_kinks(pieces, theta)
    vector = resolver.hull(theta, places, left).vector if len(places) else objective.gradient(theta)
    if course.reason in (None, StopReason.GRADIENT):
        if objective.is_critical(theta, vector):
            course.reason = StopReason.FLOOR
        elif objective.is_zero(theta, loss):
            course.reason = StopReason.LOSS_FLOOR
        else:
            return None
    end = course.refinement(theta, loss, objective.norm(vector))
    return dataclasses.replace(end, settings={**refiner.settings(), "refiner": NAME})
