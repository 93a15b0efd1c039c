"""One step of Rodas5P on a smooth piece of L, within the boundaries along which the flow slides.

With an orthonormal basis V of the directions tangential to these at θ₀ and φ the coordinates along it, θ(φ) is
the point of the manifold over θ₀ + √r Vφ, and φ' = −Vᵀ√r g for the tangential gradient g at θ(φ). At φ = 0 the
Jacobian of that is −Vᵀ √r H √r V exactly, H the Hessian with the fractions of the sliding places held: a
symmetric matrix. Boundaries of the first hidden layer are flat, and θ(φ) = θ₀ + √r Vφ.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from ...kinks.manifold import Manifold
from .. import tableaus

TABLE = tableaus.RODAS5P

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
