"""One step of Rodas5P on a smooth piece of L, within the boundaries along which the flow slides.

With an orthonormal basis V of the directions tangential to these at θ₀ and φ the coordinates along it, θ(φ) is
the point of the manifold over θ₀ + √r Vφ, and φ' = −Vᵀ√r g for the tangential gradient g at θ(φ). At φ = 0 the
Jacobian of that is −Vᵀ √r H √r V exactly, H the Hessian with the fractions of the sliding places held: a
symmetric matrix. Boundaries of the first hidden layer are flat, and θ(φ) = θ₀ + √r Vφ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import lapack

from .. import tableaus
from .hull import normal_space

TABLE = tableaus.RODAS5P
_SETTLED = 1e-14
"""A point is on its boundaries when z is at the kinks to this part of the largest |z| of the neuron."""


class Manifold:
    """The boundaries along which a flow slides at a point θ₀, and coordinates along them.

    Parameters
    ----------
    pieces
        Of the loss (`losses.kinked.Pieces`), with the phases of the point.
    root : numpy.ndarray, shape (P,)
        √r.
    theta : numpy.ndarray, shape (P,)
    places : numpy.ndarray, shape (m, 2)
    kinks : numpy.ndarray, shape (m,)
        Where z is held.
    """

    def __init__(self, pieces: Any, root: np.ndarray, theta: np.ndarray, places: np.ndarray, kinks: np.ndarray):
        self.pieces, self.root, self.places, self.kinks = pieces, root, places, kinks
        self.flat = bool((pieces.layers[places[:, 0]] == 0).all())
        self.basis: np.ndarray | None = None
        if len(places):
            self.normals = pieces.gradients(theta, places) * root
            self.normal, self.basis = normal_space(self.normals)

    @property
    def size(self) -> int:
        """The number of coordinates."""
        return self.root.size if self.basis is None else self.basis.shape[1]

    def along(self, vector: np.ndarray) -> np.ndarray:
        """The coordinates of a vector in θ/√r."""
        return vector if self.basis is None else vector @ self.basis

    def vector(self, coordinates: np.ndarray) -> np.ndarray:
        """The vector in θ/√r of coordinates."""
        return coordinates if self.basis is None else self.basis @ coordinates

    def matrix(self, hessian: np.ndarray) -> np.ndarray:
        """√r H √r in these coordinates."""
        scaled = self.root[:, None] * hessian * self.root
        return scaled if self.basis is None else self.basis.T @ scaled @ self.basis

    def point(self, theta: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
        """θ(φ) over θ₀ = `theta`."""
        found = theta + self.root * self.vector(coordinates)
        return found if self.flat else self.settle(found)

    def settle(self, theta: np.ndarray) -> np.ndarray:
        """The point of the manifold from θ along the normals at θ₀."""
        if not len(self.places):
            return theta
        neurons, samples = self.places.T
        for _ in range(8):
            z = self.pieces.states(theta).z
            off = z[neurons, samples] - self.kinks
            if (np.abs(off) <= _SETTLED * np.abs(z[neurons]).max(axis=1)).all():
                break
            matrix = (self.pieces.gradients(theta, self.places) * self.root) @ self.normal
            theta = theta - self.root * (self.normal @ np.linalg.lstsq(matrix, off, rcond=1e-12)[0])
        return theta

    def slope(self, theta: np.ndarray) -> np.ndarray:
        """−φ' at a point of the manifold."""
        gradient = self.root * self.pieces.loss_and_gradient(theta)[1]
        if not self.flat:
            normal = normal_space(self.pieces.gradients(theta, self.places) * self.root)[0]
            gradient = gradient - normal @ (normal.T @ gradient)
        return self.along(gradient)


class Rosenbrock:
    """Steps of all lengths from one point of a manifold, with one Hessian.

    Parameters
    ----------
    manifold : Manifold
    theta : numpy.ndarray, shape (P,)
    gradient : numpy.ndarray, shape (P,)
        The tangential ∇L at θ, in θ.
    hessian : numpy.ndarray, shape (P, P)
    """

    def __init__(self, manifold: Manifold, theta: np.ndarray, gradient: np.ndarray, hessian: np.ndarray):
        self.manifold, self.theta = manifold, theta
        self.first = manifold.along(manifold.root * gradient)
        self.matrix = manifold.matrix(hessian)

    def definite(self, step: float) -> bool:
        """Whether I + Δt H is positive definite."""
        shifted = step * self.matrix
        shifted[np.diag_indices_from(shifted)] += 1.0
        return shifted.size == 0 or lapack.dpotrf(shifted, overwrite_a=True)[1] == 0

    def step(self, length: float) -> tuple[np.ndarray, np.ndarray] | None:
        """θ after a step and its error, (P,) each; None where the linear system is singular."""
        table, c = TABLE, TABLE.gamma * length
        matrix = c * self.matrix
        if not matrix.size:
            return self.theta.copy(), np.zeros_like(self.theta)
        matrix[np.diag_indices_from(matrix)] += 1.0
        factor, pivots, info = lapack.dgetrf(matrix, overwrite_a=True)
        if info != 0:
            return None
        self.solved = factor, pivots
        stages = np.empty((table.stages, matrix.shape[0]))
        for i in range(table.stages):
            slope = self.first
            if i > 0:
                slope = self.manifold.slope(self.manifold.point(self.theta, table.a[i, :i] @ stages[:i]))
            right = -c * slope
            if i > 0:
                right += table.gamma * (table.C[i, :i] @ stages[:i])
            stages[i] = lapack.dgetrs(factor, pivots, right)[0]
        end = self.manifold.point(self.theta, table.m @ stages)
        return end, self.manifold.root * self.manifold.vector(table.error_scale * table.e @ stages)

    def damped(self, gradient: np.ndarray) -> np.ndarray:
        """(I + γΔt H)⁻¹ of a gradient, as a change of θ for a time of one, after `step`."""
        slope = self.manifold.along(self.manifold.root * gradient)
        if not slope.size:
            return np.zeros_like(self.theta)
        inner = lapack.dgetrs(*self.solved, slope)[0]
        return self.manifold.root * self.manifold.vector(inner)
