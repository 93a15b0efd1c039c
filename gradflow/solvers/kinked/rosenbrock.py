"""One step of Rodas5P on a smooth piece of L, within the boundaries along which the flow slides.

With an orthonormal basis V of the directions tangential to these at θ₀ and φ the coordinates along it, θ(φ)
is the point of the manifold over θ₀ + √r Vφ, and φ' = −Vᵀ√r g for the tangential gradient g at θ(φ). At φ = 0
the Jacobian of that is −Vᵀ √r H √r V exactly, H the Hessian with the fractions of the sliding places held: a
symmetric matrix. Boundaries of the first hidden layer are flat, and θ(φ) = θ₀ + √r Vφ.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.linalg import lapack

from ...boundaries.manifold import Manifold
from ...kernels.math import abi
from .. import tableaus
from ..compiled import held_step
from ..compiled import layout as at

TABLE = tableaus.RODAS5P
_TABLEAU = TABLE.packed()


@cache
def _address() -> int:
    return abi.compile_function(held_step.held_step, at.STEP_FUNCTION).address


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
        self._words: np.ndarray | None = None

    def definite(self, step: float) -> bool:
        """Whether I + Δt H is positive definite."""
        shifted = step * self.matrix
        shifted[np.diag_indices_from(shifted)] += 1.0
        return shifted.size == 0 or lapack.dpotrf(shifted, overwrite_a=True)[1] == 0

    def step(self, length: float) -> tuple[np.ndarray, np.ndarray] | None:
        """θ after a step and its error, (P,) each; None where the linear system is singular."""
        if not self.matrix.size:
            return self.theta.copy(), np.zeros_like(self.theta)
        return self._flat_step(length) if self.manifold.flat else self._curved_step(length)

    def _flat_step(self, length: float) -> tuple[np.ndarray, np.ndarray] | None:
        """By compiled code."""
        if self._words is None:
            self._words = self._prepare()
        self._length[0] = length
        abi.callable_from_python(_address())(self._words.ctypes.data, 0, 0, 0, 0, 0)
        self.manifold.pieces.count(self._constants)
        if self._constants[held_step.INFO] != 0:
            return None
        self.solved = self._factor.T, self._pivots - 1
        return self._ends[0].copy(), self._ends[1].copy()

    def _prepare(self) -> np.ndarray:
        """The arrays of the compiled step."""
        manifold, size, order = self.manifold, self.theta.size, self.matrix.shape[0]
        kernel, descriptor = manifold.pieces.kernel
        basis = None if manifold.basis is None else np.ascontiguousarray(manifold.basis)
        self._factor, self._pivots = np.empty((order, order)), np.zeros(order, dtype=np.int32)
        self._constants = np.array([order, 1, 0, ord("N"), 0], dtype=np.int64)
        self._ends, self._length = np.empty((2, size)), np.empty(1)
        arrays = [
            manifold.root, np.ascontiguousarray(self.theta), np.ascontiguousarray(self.first),
            np.ascontiguousarray(self.matrix), _TABLEAU, np.empty(2 * size + (TABLE.stages + 1) * order),
        ]  # fmt: skip
        root, theta, first, matrix, tableau, work = (x.ctypes.data for x in arrays)
        ends = self._ends.ctypes.data
        self._keep = arrays, basis
        return np.array([
            kernel, descriptor, size, order, 0 if basis is None else basis.ctypes.data, root, theta, first,
            matrix, tableau, TABLE.stages, self._factor.ctypes.data, self._pivots.ctypes.data,
            abi.lapack_address("dgetrf"), abi.lapack_address("dgetrs"), self._constants.ctypes.data, work,
            ends, ends + 8 * size, self._length.ctypes.data, self._constants[4:].ctypes.data,
        ], dtype=np.int64)  # fmt: skip

    def _curved_step(self, length: float) -> tuple[np.ndarray, np.ndarray] | None:
        table, c = TABLE, TABLE.gamma * length
        matrix = c * self.matrix
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

    def damped(self, slope: np.ndarray) -> np.ndarray:
        """The change of θ by (I + γΔt H)⁻¹ of coordinates, after `step`."""
        if not slope.size:
            return np.zeros_like(self.theta)
        inner = lapack.dgetrs(*self.solved, slope)[0]
        return self.manifold.root * self.manifold.vector(inner)
