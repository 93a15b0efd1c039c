"""How the spectrum at an end point is found: in blocks, symmetry's null vectors taken out, at two points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from ..losses.reduced import Reduced
from ..losses.tangents import tangents as symmetry_tangents
from ..networks import MLP
from ..objective import Objective, Restricted
from ..refiners.singular import lines_of_critical_points
from ..support.eigen import inertia, newton_step, symmetric_eigen, unsettled, zero_tolerance
from ..support.errors import HessianUndefinedError
from ..support.threads import single_threaded_blas
from .spectrum import Spectrum

if TYPE_CHECKING:
    from .result import Result

NULL = 1e-9
"""A tangent t of a symmetry counts if |∇²L t| is below this times |λ|_max: elsewhere ∇L is not zero."""


def find_spectrum(result: Result, relative: float | None = None) -> Spectrum:
    """The spectrum at the end point of a result.

    relative   of the tolerance to the largest |λ|; by default 8 p ε (`support.eigen.zero_tolerance`)

    Symmetries: scaling of homogeneous neurons, unused rotations, output weights that equal or dead neurons
    pass on, and others: `gradflow.losses.tangents` has the list. They make zeros of ∇²L where ∇L = 0, at
    most where the point is not critical; penalties on θ break them. Their tangents are projected out.

    With more input dimensions than student and teacher span, and a law of the inputs without direction, it
    is computed in their span and one more dimension, whose n × n block stands for all others: exact.

    Raises `HessianUndefinedError` where a ReLU neuron of a population problem has zero weights.
    """
    result.check_hessian()
    with single_threaded_blas():
        return _Point(result).spectrum(relative)


class _Point:
    """The end point in the coordinates in which its Hessian is computed.

    blocks   masks (p,) of the parameters that move, and how often the eigenvalues of each block count
    """

    def __init__(self, result: Result):
        problem, moving = result.problem, result.rates != 0
        student, teacher = None if problem.student is None else result.student, problem.teacher
        objective: Objective = problem.objective
        copies, theta = 1, result.theta
        if result.span is not None:
            assert student is not None and isinstance(teacher, MLP)
            reduced = Reduced(student, teacher, problem.inputs, result.span, padding=1)
            copies = student.sizes[0] - result.span.shape[0]
            moving = reduced.lower_rates(result.rates) != 0
            student, teacher = reduced.network(student), reduced.network(teacher)
            objective, theta = reduced.objective, student.flat()
        self.dim = None if student is None else student.sizes[0]
        extra = np.zeros(moving.size, dtype=bool)  # parameters of the dimension that stands for others
        if copies > 1:
            assert student is not None
            extra[: student.weights[0].size].reshape(student.weights[0].shape)[:, -1] = True
        self.objective = objective if moving.all() else Restricted(objective, theta, moving)
        self.theta = theta[moving]
        masks = ((~extra[moving], 1), (extra[moving], copies))
        self.blocks = [(mask, count) for mask, count in masks if mask.any()]
        self.student, self.teacher = None if _penalised(result) else student, teacher
        self.problem, self.moving, self.extra = problem, moving, extra

    def tangents(self) -> list[np.ndarray]:
        """Null vectors that symmetry gives, for each block, over the parameters that move."""
        found = np.zeros((0, self.moving.size))
        if self.student is not None:
            softmax = self.problem.options["loss"] == "cross_entropy"
            last_alone = bool(self.extra.any())
            found = symmetry_tangents(
                self.student, self.teacher, self.problem.inputs, last_alone=last_alone, softmax=softmax
            )
        others = [self.extra, ~self.extra] if self.extra.any() else [self.extra]
        return [_unfrozen(found[np.abs(found[:, o]).sum(axis=1) == 0], self.moving) for o in others]

    def spectrum(self, relative: float | None) -> Spectrum:
        loss, gradient, hessian = self.objective.all_derivatives(self.theta)
        if not np.isfinite(hessian).all():
            raise HessianUndefinedError("the Hessian at the end point is not finite in Float64")
        pieces = [symmetric_eigen(hessian[np.ix_(mask, mask)]) for mask, _ in self.blocks]
        here = self.together([values for values, _ in pieces])
        scale = float(np.abs(here).max(initial=0.0))
        absolute = zero_tolerance(here, hessian.shape[0]) if relative is None else relative * scale

        step = np.zeros(self.theta.size)
        for (mask, _), (values, vectors) in zip(self.blocks, pieces):
            step[mask] = newton_step(values, vectors, gradient[mask], absolute)
        lowest = self.objective.is_zero(self.theta, loss)
        there, length = self.beside(here, hessian, self.theta + step, absolute), float(np.linalg.norm(step))
        signs = inertia(here, there, absolute, length, lowest)

        found, zeros, worst, lines = [], 0, 0.0, 0
        for (mask, count), (values, vectors), tangents in zip(self.blocks, pieces, self.tangents()):
            block = hessian[np.ix_(mask, mask)]
            null, error = null_part(tangents[:, mask], block, scale)
            rest = np.eye(mask.sum())
            if len(null):
                rest = scipy.linalg.null_space(null)
                values, inner = symmetric_eigen(rest.T @ block @ rest)
                vectors = rest @ inner
            flat = np.zeros((int((np.abs(values) <= absolute).sum()), mask.size))
            flat[:, mask] = vectors.T[np.abs(values) <= absolute]
            if signs.negative is not None and len(flat):
                lines += count * self.lines(gradient, hessian, flat)
            found.append(values)
            zeros, worst = zeros + len(null) * count, max(worst, error)
        values = self.together(found)
        return Spectrum(
            eigenvalues=np.sort(np.concatenate([values, np.zeros(zeros)])),
            tolerance=absolute,
            inertia=signs,
            symmetry_zeros=zeros,
            symmetry_error=worst,
            lines=lines if signs.negative is not None else None,
            reduced_dim=self.dim,
            order=hessian.shape[0],
        )

    def together(self, blocks: list[np.ndarray]) -> np.ndarray:
        """The eigenvalues of all blocks, as often as they count, ascending."""
        return np.sort(np.concatenate([np.repeat(v, count) for v, (_, count) in zip(blocks, self.blocks)]))

    def beside(self, here: np.ndarray, before: np.ndarray, theta: np.ndarray, absolute: float) -> np.ndarray:
        """The eigenvalues at another point: NaN where they are not finite, `here` where that is as good.

        By Weyl's theorem no eigenvalue changes by more than the norm of the change from the Hessian `before`.
        """
        hessian = self.objective.hessian(np.ascontiguousarray(theta))
        if not np.isfinite(hessian).all():
            return np.full(here.size, np.nan)
        change = float(np.linalg.norm(hessian - before))
        if not unsettled(here, here + change, absolute).any():
            return here
        return self.together([scipy.linalg.eigvalsh(hessian[np.ix_(mask, mask)]) for mask, _ in self.blocks])

    def lines(self, gradient: np.ndarray, hessian: np.ndarray, flat: np.ndarray) -> int:
        norm = float(np.abs(gradient).max())
        return lines_of_critical_points(self.objective, self.theta, norm, *symmetric_eigen(hessian), flat)


def _penalised(result: Result) -> bool:
    """Whether a penalty on θ is felt at the end point."""
    if result.problem.student is None:
        return False
    barrier = result.problem.options["barrier"]
    active = barrier is not None and float(result.theta @ result.theta) > 2 * result.theta.size * barrier
    options = result.problem.options
    return bool(options["weight_decay"]) or bool(options.get("merge")) or active


def _unfrozen(tangents: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """The combinations of tangents that leave frozen parameters alone, over those that move."""
    if not len(tangents) or moving.all():
        return tangents[:, moving]
    combinations = scipy.linalg.null_space(tangents[:, ~moving].T, rcond=1e-12)
    found = combinations.T @ tangents[:, moving]
    return found[np.abs(found).max(axis=1) > 1e-9 * np.abs(tangents).max()]


def null_part(tangents: np.ndarray, hessian: np.ndarray, scale: float) -> tuple[np.ndarray, float]:
    """The part of the span of the rows (m, p) that the Hessian maps to zero, and the largest |H t| there.

    Parameters
    ----------
    tangents : ndarray, shape (m, p)
    hessian : ndarray, shape (p, p)
    scale : float
        What |H t| is measured by: the largest |λ|.

    Returns
    -------
    basis : ndarray, shape (k, p)
        Orthonormal rows.
    error : float

    Examples
    --------
    >>> abs(null_part(np.array([[0.0, 2.0], [1.0, 0.0]]), np.diag([1.0, 0.0]), 1.0)[0])
    array([[0., 1.]])
    """
    basis = _orthonormal(tangents)
    if not len(basis) or scale == 0.0:
        return basis, 0.0
    _, sizes, turn = np.linalg.svd(hessian @ basis.T / scale)
    sizes = np.append(sizes, np.zeros(len(turn) - len(sizes)))
    kept = sizes <= NULL
    return turn[kept] @ basis, float(sizes[kept].max(initial=0.0))


def _orthonormal(vectors: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the span of the rows."""
    if not len(vectors):
        return vectors
    unit = vectors / np.abs(vectors).max(axis=1, keepdims=True)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    _, weights, basis = np.linalg.svd(unit, full_matrices=False)
    return basis[weights > 1e-8 * weights[0]]
