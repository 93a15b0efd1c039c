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


@cache
def _diagonal(size: int) -> tuple:
    return np.diag_indices(size)


class Workspace:
    """The arrays of compiled steps that go from one point to the next, for flat boundaries.

    size   P; `order` coordinates
    """

    def __init__(self, size: int, order: int):
        self.factor, self.pivots = np.empty((order, order)), np.zeros(order, dtype=np.int32)
        self.constants = np.array([order, 1, 0, ord("N"), 0], dtype=np.int64)
        self.ends, self.length = np.empty((2, size)), np.empty(1)
        self.first, self.matrix = np.empty(order), np.empty((order, order))
        self.root, self.theta, self.basis = np.empty(size), np.empty(size), np.empty((size, order))
        self._work = np.empty(2 * size + (TABLE.stages + 1) * order)
        self.words = np.zeros(held_step.WORDS, dtype=np.int64)
        ends = self.ends.ctypes.data
        words = {
            held_step.SIZE: size, held_step.ORDER: order, held_step.ROOT: self.root.ctypes.data,
            held_step.THETA: self.theta.ctypes.data, held_step.FIRST: self.first.ctypes.data,
            held_step.MATRIX: self.matrix.ctypes.data, held_step.TABLEAU: _TABLEAU.ctypes.data,
            held_step.STAGES: TABLE.stages, held_step.FACTOR: self.factor.ctypes.data,
            held_step.PIVOTS: self.pivots.ctypes.data, held_step.DGETRF: abi.lapack_address("dgetrf"),
            held_step.DGETRS: abi.lapack_address("dgetrs"),
            held_step.CONSTANTS: self.constants.ctypes.data, held_step.WORK: self._work.ctypes.data,
            held_step.END: ends, held_step.ERROR: ends + 8 * size,
            held_step.LENGTH: self.length.ctypes.data, held_step.COUNT: self.constants[4:].ctypes.data,
        }  # fmt: skip
        for place, word in words.items():
            self.words[place] = word
        self.address = self.words.ctypes.data
        self.call = abi.callable_from_python(_address())

    def at(self, stepper: Rosenbrock) -> None:
        """Take the point and the piece of a stepper."""
        manifold = stepper.manifold
        kernel, descriptor = manifold.pieces.kernel
        self.words[held_step.KERNEL], self.words[held_step.DESCRIPTOR] = kernel, descriptor
        self.words[held_step.BASIS] = 0
        if manifold.basis is not None:
            self.basis[:] = manifold.basis
            self.words[held_step.BASIS] = self.basis.ctypes.data
        self.root[:], self.theta[:] = manifold.root, stepper.theta
        self.first[:], self.matrix[:] = stepper.first, stepper.matrix


class Rosenbrock:
    """Steps of all lengths from one point of a manifold, with one Hessian.

    Parameters
    ----------
    manifold : Manifold
    theta : numpy.ndarray, shape (P,)
    gradient : numpy.ndarray, shape (P,)
        The tangential ∇L at θ, in θ.
    hessian : numpy.ndarray, shape (P, P)
    spaces : dict, optional
        Workspaces by their order, which steppers share that are used one after the other.
    """

    def __init__(
        self, manifold: Manifold, theta: np.ndarray, gradient: np.ndarray, hessian: np.ndarray,
        spaces: dict[int, Workspace] | None = None,
    ):  # fmt: skip
        self.manifold, self.theta = manifold, theta
        self._spaces: dict[int, Workspace] = {} if spaces is None else spaces
        self.first = manifold.along(manifold.root * gradient)
        self.matrix = manifold.matrix(hessian)
        self._space: Workspace | None = None

    def definite(self, step: float) -> bool:
        """Whether I + Δt H is positive definite."""
        shifted = step * self.matrix
        shifted[_diagonal(len(shifted))] += 1.0
        return shifted.size == 0 or lapack.dpotrf(shifted, overwrite_a=True)[1] == 0

    def step(self, length: float) -> tuple[np.ndarray, np.ndarray] | None:
        """θ after a step and its error, (P,) each; None where the linear system is singular."""
        if not self.matrix.size:
            return self.theta.copy(), np.zeros_like(self.theta)
        return self._flat_step(length) if self.manifold.flat else self._curved_step(length)

    def _flat_step(self, length: float) -> tuple[np.ndarray, np.ndarray] | None:
        """By compiled code."""
        if self._space is None:
            order = self.matrix.shape[0]
            if order not in self._spaces:
                self._spaces[order] = Workspace(self.theta.size, order)
            self._space = self._spaces[order]
            self._space.at(self)
        space = self._space
        space.length[0] = length
        space.call(space.address, 0, 0, 0, 0, 0)
        self.manifold.pieces.count(space.constants)
        if space.constants[held_step.INFO] != 0:
            return None
        self.solved = space.factor.T, space.pivots - 1
        return space.ends[0].copy(), space.ends[1].copy()

    def _curved_step(self, length: float) -> tuple[np.ndarray, np.ndarray] | None:
        table, c = TABLE, TABLE.gamma * length
        matrix = c * self.matrix
        matrix[_diagonal(len(matrix))] += 1.0
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
