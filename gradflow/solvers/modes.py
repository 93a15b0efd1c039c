"""The modes of √r ∇²L √r that grow along a flow, and whether a point where ∇L is small is its end.

Along an eigenvector u with eigenvalue −μ < 0 a flow near a saddle leaves it as e^{μt} u·θ'/μ. It has no part
in the mode if u·θ' = 0, as by a symmetry of its start: then it may end at the saddle, and no step can outrun
the mode.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg

from ..objective import Objective
from ..support.eigen import symmetric_eigen
from ..support.stopping import StopReason
from .measure import root_mean_square

EPS = float(np.finfo(np.float64).eps)

NOISE = 16.0
"""u·θ' is zero if it is below so many times ε |u|·|H||θ|, the size of the rounding errors of ∇L along u, and
of those of u itself."""

SEEN = 10.0
"""Amplitude of a growing mode, in units of the tolerance, from which the error estimate takes care of it."""

PRODUCTS = 60
"""Lanczos steps, at most, where the Hessian is not formed."""


class Modes(NamedTuple):
    """Ritz pairs of H = √r ∇²L √r: all eigenpairs, or those that Lanczos's method finds from θ'.

    values (m,), vectors (P, m); `part` (m,) of θ'/√r along each, and `noise` (m,), below which it is zero
    """

    values: np.ndarray
    vectors: np.ndarray
    part: np.ndarray
    noise: np.ndarray
    curved: float
    """θ'ᵀ ∇²L θ', zero if it is below its own rounding errors: the loss is concave along the flow if < 0."""

    @property
    def negative(self) -> np.ndarray:
        """The places of the negative eigenvalues."""
        zero = 8 * self.vectors.shape[0] * EPS * np.abs(self.values).max(initial=0.0)
        return np.flatnonzero(self.values < -zero)

    @property
    def growing(self) -> np.ndarray:
        """The places of those in which the flow has a part."""
        places = self.negative
        return places[np.abs(self.part[places]) > self.noise[places]]

    @property
    def amplitudes(self) -> np.ndarray:
        """u·θ'/|λ| (m,), the distance from the saddle along each mode, in θ/√r."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.abs(self.part / self.values)


def dense_modes(hessian: np.ndarray, rates: np.ndarray, theta: np.ndarray, gradient: np.ndarray) -> Modes:
    """From ∇²L (P, P)."""
    root = np.sqrt(rates)
    matrix = root[:, None] * hessian * root
    values, vectors = symmetric_eigen(matrix)
    slope = -root * gradient
    rounding = NOISE * EPS * np.abs(matrix)
    noise = np.abs(vectors).T @ (rounding @ np.abs(theta / root)) + _mixing(values, slope)
    curved, doubt = slope @ matrix @ slope, np.abs(slope) @ rounding @ np.abs(slope)
    return Modes(values, vectors, vectors.T @ slope, noise, curved if abs(curved) > doubt else 0.0)


def convex(hessian: np.ndarray, rates: np.ndarray) -> bool:
    """Whether `dense_modes` would find no negative eigenvalue: by Cholesky's method, which is cheaper.

    False says nothing.
    """
    root, size = np.sqrt(rates), rates.size
    matrix = root[:, None] * hessian * root
    # |λ|_max is |H|_F/√P at least, so that what counts as zero here is no more than in `Modes.negative`.
    matrix.ravel()[:: size + 1] += 4 * np.sqrt(size) * EPS * np.linalg.norm(matrix)
    return bool(np.isfinite(matrix).all() and scipy.linalg.lapack.dpotrf(matrix, lower=1)[1] == 0)


def _mixing(values: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """What a computed eigenvector of each value has of the others, as far as a slope along them shows it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return NOISE * EPS * np.linalg.norm(slope) * np.abs(values).max(initial=0.0) / np.abs(values)


def lanczos_modes(
    objective: Objective, rates: np.ndarray, theta: np.ndarray, gradient: np.ndarray, products: int
) -> Modes:
    """From so many products ∇²L v, by Lanczos's method with full orthogonalisation.

    It starts from θ'/√r, and with it from the modes in which the flow has a part; a small vector without
    symmetry is added, so that the others are seen as well.
    """
    root, size = np.sqrt(rates), rates.size
    slope = -root * gradient
    start = np.cos(np.arange(1.0, size + 1.0))
    length = np.linalg.norm(slope)
    if length > 0.0:
        start = slope / length + 1e-3 * start / np.linalg.norm(start)
    most = min(products, size)
    basis, images = np.empty((most + 1, size)), np.empty((most, size))
    basis[0], count = start / np.linalg.norm(start), 0
    for k in range(most):
        images[k] = root * objective.hvp(theta, root * basis[k])
        count += 1
        vector, known = images[k].copy(), basis[: k + 1]
        for _ in range(2):
            vector -= (known @ vector) @ known
        norm = np.linalg.norm(vector)
        if not norm > 1e3 * EPS * np.linalg.norm(images[k]):
            break
        basis[k + 1] = vector / norm
    Q, image = basis[:count].T, images[:count].T
    matrix = Q.T @ image
    values, small = symmetric_eigen((matrix + matrix.T) / 2)
    vectors = Q @ small
    largest = np.abs(values).max(initial=0.0)
    noise = NOISE * EPS * largest * (np.abs(vectors).T @ np.abs(theta / root)) + _mixing(values, slope)
    curved = 0.0
    if length > 0.0:
        curved = slope @ (root * objective.hvp(theta, root * slope))
    doubt = NOISE * EPS * largest * length**2
    return Modes(values, vectors, vectors.T @ slope, noise, curved if abs(curved) > doubt else 0.0)


def verdict(
    modes: Modes, objective: Objective, rates: np.ndarray, theta: np.ndarray, gtol: float
) -> StopReason | None:
    """Why the flow ends at a point where |∇L| ≤ gtol, or None: it goes on.

    It goes on where the loss is concave along it, or where a mode that grows and in which it has a part leads
    to gradients above gtol.
    """
    if modes.curved < 0.0:
        return None
    leading = [k for k in modes.negative if _leads_away(modes, int(k), objective, rates, theta, gtol)]
    if not leading:
        return StopReason.GRADIENT
    return None if np.isin(leading, modes.growing).any() else StopReason.SADDLE


def _leads_away(modes: Modes, k: int, objective: Objective, rates, theta, gtol: float) -> bool:
    """Whether the negative curvature of mode k lasts as far as where it makes |∇L|_∞ twice gtol.

    It does at a saddle. It does not where it is of the size of ∇L or of the residuals itself, as at a minimum
    made flat by a scaling symmetry, or in the curved valleys of over-wide networks.
    """
    root, direction, curvature = np.sqrt(rates), modes.vectors[:, k], -modes.values[k]
    distance = 2.0 * gtol / (curvature * np.abs(direction / root).max())
    signs = [np.sign(modes.part[k])] if k in modes.growing else [1.0, -1.0]
    for sign in signs:
        _, gradient = objective.loss_and_gradient(theta + sign * distance * root * direction)
        if sign * (direction @ (root * gradient)) <= -0.5 * curvature * distance:
            return True
    return False


def longest_step(modes: Modes, rates: np.ndarray, scale: np.ndarray, growth: float) -> float:
    """Δt at which the fastest of the modes that the error estimate does not see grows by e^growth.

    scale   1/(the error allowed) (P,)
    """
    places = modes.growing
    shapes = (np.sqrt(rates) * scale)[:, None] * modes.vectors[:, places]
    seen = modes.amplitudes[places] * np.array([root_mean_square(shape) for shape in shapes.T]) > SEEN
    unseen = places[~seen]
    return growth / -modes.values[unseen].min() if unseen.size else np.inf
