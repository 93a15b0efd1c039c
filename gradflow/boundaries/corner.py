"""Where a flow goes from a point on boundaries: which it crosses, and along which it slides."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .hull import Element, interior, least_norm, normal_space

ROUNDS = 30
"""Times that fractions and sides are sought anew; places of one sample in several layers depend on one
another."""

STILL = 1e-10
"""Boundaries that are left more slowly than this part of |n||θ'| are not left."""


@dataclasses.dataclass
class Corner:
    """The places (m, 2) on boundaries at a point, each with the piece to its left, and what becomes of them.

    phases (m,) afterwards: a piece, or one with a fraction where the flow slides; `sliding` (m,), and `free`
    (m,): whether a concave boundary might have been left to the other side as well.
    """

    places: np.ndarray
    left: np.ndarray
    phases: np.ndarray
    sliding: np.ndarray
    free: np.ndarray


class Resolver:
    """Finds the direction of a flow at corners.

    Parameters
    ----------
    pieces
        Of the loss; its phases at the places are changed.
    root : numpy.ndarray, shape (P,)
        √r.
    """

    def __init__(self, pieces: Any, root: np.ndarray):
        self.pieces, self.root = pieces, root

    def edges(self, theta: np.ndarray, places: np.ndarray, left: np.ndarray):
        """∇L in θ/√r, normals, and J: what a fraction of one adds to ∇L along each normal."""
        states = self.pieces.states(theta)
        normals = self.pieces.gradients(theta, places) * self.root
        neurons, samples = places.T
        return (
            self.root * states.gradient,
            normals,
            states.slopes[neurons, samples] * self.pieces.jumps[neurons, left],
        )

    def resolve(self, theta: np.ndarray, places: np.ndarray, left: np.ndarray, ahead: np.ndarray) -> Corner:
        """The corner at θ; the flow goes on to pieces `ahead` (m,), 0 left or 1 right, if it crosses all.

        Convex boundaries get the fractions of the element of least norm; concave ones the side to which the
        flow takes them, `ahead` if it may be either. Fractions and sides are found in turn until they agree.
        """
        pieces, (neurons, samples) = self.pieces, places.T
        parts = ahead.astype(np.float64)
        pieces.phases[neurons, samples] = left + parts
        seen: list[np.ndarray] = []
        for _ in range(ROUNDS):
            slope, normals, jump = self.edges(theta, places, left)
            convex = jump > 0.0
            edges = jump[convex, None] * normals[convex]
            base = slope - parts[convex] @ edges
            element = least_norm(base, edges)
            speed = -normals @ element.vector
            slow = STILL * np.linalg.norm(normals, axis=1) * np.linalg.norm(element.vector)
            fresh = parts.copy()
            fresh[convex] = element.fractions
            moving = ~convex & (np.abs(speed) > slow)
            fresh[moving] = speed[moving] > 0.0
            fresh[~convex & ~moving] = np.round(parts[~convex & ~moving])
            if np.abs(fresh - parts).max(initial=0.0) <= 1e-14:
                break
            if any(np.array_equal(fresh, old) for old in seen):  # no consistent sides: of these the last
                break
            seen.append(fresh)
            parts = fresh
            pieces.phases[neurons, samples] = left + parts
        inside = convex & (parts > 0.0) & (parts < 1.0)
        rest = _without(normals, normals[inside])
        # What depends on the normals of sliding places cannot be left while these are kept.
        dependent = np.linalg.norm(rest, axis=1) <= 1e-9 * np.linalg.norm(normals, axis=1)
        kept = inside | (convex & (np.abs(speed) <= slow) & dependent)
        # On the other side a place would move with this speed, the sliding ones kept.
        other = speed + np.where(parts > 0.5, 1.0, -1.0) * jump * np.einsum("ij,ij->i", rest, rest)
        free = ~convex & (np.sign(other) == np.where(parts > 0.5, -1.0, 1.0)) & (jump < 0.0)
        return Corner(places, left, left + parts, kept, free)

    def hull(self, theta: np.ndarray, places: np.ndarray, left: np.ndarray) -> Element:
        """The element of least norm over the fractions of all places (m, 2), concave ones as well.

        The phases of the places are held at its fractions. Where places of one sample in several layers
        depend on one another, the fractions are found in turn.
        """
        neurons, samples = places.T
        parts = np.full(len(places), 0.5)
        if not len(places):
            return Element(parts, self.root * self.pieces.states(theta).gradient)
        for _ in range(ROUNDS):
            self.pieces.phases[neurons, samples] = left + parts
            slope, normals, jump = self.edges(theta, places, left)
            edges = jump[:, None] * normals
            element = least_norm(slope - parts @ edges, edges)
            settled = np.abs(element.fractions - parts).max(initial=0.0) <= 1e-14
            parts = element.fractions
            if settled or (self.pieces.layers[neurons] == self.pieces.layers[neurons[0]]).all():
                break
        self.pieces.phases[neurons, samples] = left + parts
        return element

    def fractions(
        self, gradient: np.ndarray, slopes: np.ndarray, normals: np.ndarray, places: np.ndarray,
        left: np.ndarray, parts: np.ndarray, dual: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """The fractions (m,) of sliding places, without bounds; with dependent normals the nearest to [0, 1].

        dual   of independent normals (`Manifold.dual`)
        gradient, slopes   ∇L with the fractions `parts` (m,) and ∂L/∂h (H, N) at the point
        """
        neurons, samples = places.T
        jump = slopes[neurons, samples] * self.pieces.jumps[neurons, left]
        scaled = self.root * gradient
        if dual is not None and (jump != 0.0).all():
            found = parts - dual @ scaled / jump
            return np.where(jump > 0.0, found, np.where(parts > 0.5, 2.0, -1.0))
        edges = jump[:, None] * normals
        # A boundary that has become concave cannot be slid along, whatever its fraction.
        concave = jump <= 0.0
        beyond = np.where(parts > 0.5, 2.0, -1.0)
        found = interior(scaled - parts @ edges, edges)
        if found is not None:
            return np.where(concave, beyond, found)
        element = least_norm(scaled - parts @ edges, edges)
        speed = np.abs(normals @ element.vector)
        slow = 1e-7 * np.linalg.norm(normals, axis=1) * max(np.linalg.norm(scaled), 1e-300)
        # A place that the best fractions cannot hold has left: it is told by a fraction outside [0, 1].
        sign = np.where(-normals @ element.vector > 0.0, 2.0, -1.0)
        return np.where(
            concave & (np.abs(edges).max(axis=1) > 0.0),
            beyond,
            np.where(speed > slow, sign, element.fractions),
        )


def _without(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """What vectors (m, P) have outside the span of others (k, P)."""
    if not len(others):
        return vectors
    basis = normal_space(others)[0]
    return vectors - (vectors @ basis) @ basis.T
