"""Bordered Newton: degenerate critical points, at which Newton's method creeps and indices mean nothing.

Where L is of third or fourth order along some directions, ∇L vanishes with the square or the cube of the
distance: Newton's method goes a half or a third of the way at each step, and at |∇L| = 1e-13 it is still
1e-4 away, with small eigenvalues of any sign. But the Hessian must vanish along those directions too:

    ∇L(θ) = 0,   NᵀH(θ)N = 0   (k(k+1)/2 more equations, N (P, k) the singular directions),

an overdetermined system with a solution, whose second part falls by one order less. Gauss–Newton solves it, N
being the eigenvectors at the present θ, so that to first order the derivative of NᵀHN is NᵀD³L[s]N.
Sources: Griewank & Reddien, IMA J. Numer. Anal. 4 (1984) 141, for bordered systems at singular points;
Leykin, Verschelde & Zhao, Theor. Comput. Sci. 359 (2006) 111, for deflation; the form with k equations from
eigenvectors, and the multiples of the step where D³L vanishes as well, are derived here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..objective import Objective
from ..support.eigen import Inertia, inertia, newton_step, symmetric_eigen, unsettled, zero_tolerance

EPS = float(np.finfo(np.float64).eps)

MOST = 32
"""No more singular directions than this are treated: each costs two Hessians a step."""

STEPS = 30
"""Limit on the number of steps; five are usual."""

DIFFERENCE = 1e-5
"""Distance of the Hessians whose difference is D³L, in units of 1 + |θ|: error 1e-10 |D⁵L| + 1e-11 |H|."""

RANKS = (1e-9, 1e-7, 1e-5, 1e-3)
"""Singular values of the system below one of these times the largest are lines of degenerate points, along
which the step would go anywhere: from afar that shows by trying only."""

MULTIPLES = (1.0, 2.0, 3.0)
"""Where L is of order m + 2 along N, the step is 1/m of the way. The best of all these steps is taken."""

ATTEMPTS, GAP = 6, 5.0
"""So many gaps between sizes of eigenvalues are tried, of this factor at least."""

NEAR = 1e-5
"""∞-norm of ∇L, in units of |H|(1 + |θ|), from which a degenerate point is looked for."""

REACH = 0.1
"""A degenerate point further away than this, in units of 1 + |θ|, is not the one that θ is near."""


class Examined(NamedTuple):
    """A point with its derivatives, the spectrum, and what is known of its signs.

    open    which eigenvalues are neither zero nor of a certain sign
    """

    theta: np.ndarray
    loss: float
    gradient: np.ndarray
    hessian: np.ndarray
    values: np.ndarray
    vectors: np.ndarray
    inertia: Inertia
    open: np.ndarray

    @property
    def norm(self) -> float:
        """|∇L|_∞."""
        return float(np.abs(self.gradient).max())

    @property
    def tolerance(self) -> float:
        """Eigenvalues within it count as zero."""
        return zero_tolerance(self.values)

    @property
    def floor(self) -> float:
        """The rounding error of ∇L."""
        return _floor(self.theta, self.hessian)


def _floor(theta: np.ndarray, hessian: np.ndarray) -> float:
    """The rounding error of ∇L: terms of size |H||θ| that cancel."""
    return 4 * EPS * float(np.abs(hessian).max()) * (1.0 + float(np.abs(theta).max()))


def examine(objective: Objective, theta: np.ndarray) -> Examined | None:
    """The spectrum at θ and its signs, borne out by those at θ plus Newton's step; None where not finite."""
    theta = np.ascontiguousarray(theta)
    loss, gradient, hessian = objective.all_derivatives(theta)
    if not (np.isfinite(loss) and np.isfinite(gradient).all() and np.isfinite(hessian).all()):
        return None
    values, vectors = symmetric_eigen(hessian)
    tolerance = zero_tolerance(values)
    step = newton_step(values, vectors, gradient, tolerance)
    beside = objective.hessian(theta + step)
    there = np.full(values.size, np.nan)
    if np.isfinite(beside).all():
        there = symmetric_eigen(beside)[0]
    lowest = objective.is_zero(theta, loss)
    signs = inertia(values, there, tolerance, float(np.linalg.norm(step)), lowest)
    found = unsettled(values, there, tolerance)
    return Examined(theta, loss, gradient, hessian, values, vectors, signs, found)


def degenerate_point(objective: Objective, start: Examined) -> Examined | None:
    """The degenerate critical point near `start`, whose signs are not certain; None where there is none.

    At the point returned ∇L and the k smallest eigenvalues vanish to rounding, and the signs of all others
    are certain; k is where the sizes of eigenvalues have a gap, the widest ones first. A regular point with
    an eigenvalue below about √ε |λ|_max cannot be told from a degenerate one.
    """
    if not start.open.any() or start.norm > NEAR / (4 * EPS) * start.floor:
        return None
    order = np.argsort(np.abs(start.values), kind="stable")
    sizes = np.maximum(np.abs(start.values[order]), start.tolerance)
    gaps = sizes[1:] / sizes[:-1]
    counts = 1 + np.argsort(-gaps, kind="stable")[:ATTEMPTS]
    for count in counts:
        if count <= MOST and gaps[count - 1] >= GAP:
            found = _followed(objective, start, start.vectors[:, order[:count]])
            if found is not None:
                return found
    return None


def _followed(objective: Objective, start: Examined, singular: np.ndarray) -> Examined | None:
    here = _At(objective, start.theta, singular)
    for _ in range(STEPS):
        if here.residual <= 0.25 * zero_tolerance(here.values) and here.norm <= here.floor:
            break
        ahead = [here.moved(multiple * step) for step in here.steps() for multiple in MULTIPLES]
        best = min((point for point in ahead if point is not None), key=_At.merit, default=None)
        if best is None or not best.merit() < 0.9 * here.merit():
            break
        here = best
    size = 1.0 + float(np.abs(start.theta).max())
    if float(np.abs(here.theta - start.theta).max()) > REACH * size:
        return None
    end = examine(objective, here.theta)
    if end is None or end.inertia.negative is None or end.norm > max(4 * end.floor, 0.5 * start.norm):
        return None
    return end


class _At:
    """A point with the singular directions at it: those eigenvectors that lie along the ones before."""

    def __init__(self, objective: Objective, theta: np.ndarray, before: np.ndarray):
        self.objective, self.theta = objective, np.ascontiguousarray(theta)
        self.loss, self.gradient, self.hessian = objective.all_derivatives(self.theta)
        self.finite = bool(np.isfinite(self.hessian).all() and np.isfinite(self.gradient).all())
        if not self.finite:
            return
        self.values, vectors = symmetric_eigen(self.hessian)
        along = np.argsort(-np.sum((vectors.T @ before) ** 2, axis=1), kind="stable")
        chosen, rest = np.sort(along[: before.shape[1]]), np.sort(along[before.shape[1] :])
        self.singular, self.small = vectors[:, chosen], self.values[chosen]
        self.steep, self.steep_values = vectors[:, rest], self.values[rest]
        self.norm = float(np.abs(self.gradient).max())
        self.residual = float(np.abs(self.small).max())
        self.floor = _floor(self.theta, self.hessian)

    def merit(self) -> float:
        largest = float(np.abs(self.values).max())
        return (self.residual + self.norm / (1.0 + float(np.abs(self.theta).max()))) / largest

    def steps(self) -> list[np.ndarray]:
        """Gauss–Newton on ∇L = 0, NᵀHN = 0, of different ranks; none where D³L is not finite."""
        count = self.small.size
        shift = DIFFERENCE * (1.0 + float(np.abs(self.theta).max()))
        rows, left = [self.hessian], [-self.gradient]
        for i in range(count):
            ahead, behind = (
                self.objective.hessian(np.ascontiguousarray(self.theta + s * shift * self.singular[:, i]))
                for s in (1.0, -1.0)
            )
            slopes = ((ahead - behind) @ self.singular[:, i:]).T / (2 * shift)
            weights = np.where(np.arange(i, count) == i, 1.0, 2**0.5)
            rows.append(weights[:, None] * slopes)
            left.append(np.append(-self.small[i], np.zeros(count - i - 1)))
        system = np.concatenate(rows)
        if not np.isfinite(system).all():
            return []
        left_vectors, sizes, right = np.linalg.svd(system, full_matrices=False)
        parts = (left_vectors.T @ np.concatenate(left)) / np.where(sizes > 0, sizes, 1.0)
        ranks = sorted({int((sizes > cut * sizes[0]).sum()) for cut in RANKS})
        return [right[:rank].T @ parts[:rank] for rank in ranks]

    def moved(self, step: np.ndarray) -> _At | None:
        """The point after a step, brought back to where ∇L vanishes in the other directions."""
        point = self.theta + step
        for _ in range(3):
            gradient = self.objective.gradient(np.ascontiguousarray(point))
            if not np.isfinite(gradient).all():
                return None
            # Below its floor the gradient says nothing, and along weak directions it would say it loudly.
            if float(np.abs(gradient).max()) <= self.floor:
                break
            point = point - self.steep @ ((self.steep.T @ gradient) / self.steep_values)
        found = _At(self.objective, point, self.singular)
        return found if found.finite else None
