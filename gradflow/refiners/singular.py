"""Zero eigenvalues of the Hessian: exactly singular directions told apart from those that are only flat."""

from __future__ import annotations

import numpy as np

from ..objective import Objective

EPS = float(np.finfo(np.float64).eps)

DISTANCE = 1e-3
"""How far a direction is followed, in units of 1 + |θ|."""

CORRECTIONS = 8
"""Chord steps back to the set of critical points; each gains about the three digits of `DISTANCE`."""

MOST = 64
"""Of more zero directions than this only those are told apart that are singular all together."""


def lines_of_critical_points(
    objective: Objective,
    theta: np.ndarray,
    norm: float,
    values: np.ndarray,
    vectors: np.ndarray,
    null: np.ndarray,
) -> int:
    """The dimension of the set of critical points around θ, as far as it lies along `null` (k, P).

    norm             ∞-norm of ∇L at θ, a critical point
    values, vectors  eigenvalues and eigenvectors (in the columns) of the Hessian at θ
    null             orthonormal directions within its null space

    From θ + h v, with v in the null space, chord steps with the pseudo-inverse of the Hessian lead back to
    where ∇L vanishes in the directions with curvature: ∇L is then the gradient of L reduced to the null
    space. If all of it falls to its floor, a curve of critical points runs along v. Eigenvectors of a
    multiple zero are any basis, so that single ones say little: first a random v is followed, which needs
    all of the space to be singular. Else the Hessian of the reduced L at such a point, which an invariance
    of L leaves with a null space of its own, orders the directions, and the largest span of the first few
    in which a random v passes is counted. The Hessian's own rounding is no part of this: 1e-16 of the
    largest eigenvalue would be h · 1e-16 in the gradient, below its floor.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if not len(null) or largest == 0.0:
        return 0
    steep = np.abs(values) > 8 * values.size * EPS * largest
    curved = _Curved(objective, theta, norm, values[steep], vectors[:, steep], largest)
    rng = np.random.default_rng(0)
    if all(curved.arrives(_random(rng, null))[0] for _ in range(2)):
        return len(null)
    if len(null) > MOST:
        return 0
    ordered = curved.ordered(curved.arrives(_random(rng, null))[1], null)
    for count in range(len(null) - 1, 0, -1):
        if all(curved.arrives(_random(rng, ordered[:count]))[0] for _ in range(2)):
            return count
    return 0


def _random(rng: np.random.Generator, basis: np.ndarray) -> np.ndarray:
    coefficients = rng.standard_normal(len(basis))
    return basis.T @ (coefficients / np.linalg.norm(coefficients))


class _Curved:
    """The directions with curvature at θ, and the way back along them."""

    def __init__(self, objective: Objective, theta, norm: float, values, vectors, largest: float):
        self.objective, self.theta, self.values, self.vectors = objective, theta, values, vectors
        size = 1.0 + float(np.abs(theta).max())
        self.reach = DISTANCE * size
        self.floor = max(16 * EPS * largest * size, 4 * norm)

    def arrives(self, direction: np.ndarray) -> tuple[bool, np.ndarray]:
        """Whether ∇L falls to its floor on the way back from θ + h v; and the point reached."""
        point = self.theta + self.reach * direction
        for _ in range(CORRECTIONS):
            gradient = self.objective.gradient(np.ascontiguousarray(point))
            if not np.isfinite(gradient).all():
                return False, point
            if float(np.abs(gradient).max()) <= self.floor:
                return True, point
            with np.errstate(over="ignore", invalid="ignore"):  # a gradient far off: not finite, not flat
                point = point - self.vectors @ ((self.vectors.T @ gradient) / self.values)
        return False, point

    def ordered(self, point: np.ndarray, null: np.ndarray) -> np.ndarray:
        """The null directions, those in which the reduced L has the least curvature at a point first."""
        hessian = self.objective.hessian(np.ascontiguousarray(point)) if np.isfinite(point).all() else None
        if hessian is None or not np.isfinite(hessian).all():
            return null
        mixed = self.vectors.T @ hessian @ null.T
        inner = self.vectors.T @ hessian @ self.vectors
        reduced = null @ hessian @ null.T - mixed.T @ np.linalg.lstsq(inner, mixed, rcond=None)[0]
        largest = float(np.abs(reduced).max())
        if not 0.0 < largest < np.inf:  # far off, or nothing to order by
            return null
        values, turn = np.linalg.eigh((reduced + reduced.T) / (2.0 * largest))
        return turn[:, np.argsort(np.abs(values), kind="stable")].T @ null
