"""The Hessian's eigenvalues at a point: grouped, and those that symmetry makes zero apart."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import scipy.linalg

from ..losses.reduced import Reduced
from ..networks import MLP
from ..run.result import Result
from ..support.errors import ArgumentError, HessianUndefinedError
from ..support.threads import single_threaded_blas
from ..support.validate import number
from .tangents import tangents as symmetry_tangents

NULL = 1e-9
"""A tangent t of a symmetry counts if |∇²L t| is below this times |λ|_max: elsewhere ∇L is not zero."""


def zero_tolerance(size: int) -> float:
    """8 P ε, at least 1e-11: what counts as zero, relative to |λ|_max.

    The Hessian itself is better, but the point is not: where L is flat to higher order in some direction its
    position, and with it a small eigenvalue, is uncertain by more than rounding.
    """
    return max(8 * size * float(np.finfo(np.float64).eps), 1e-11)


class Eigenvalue(NamedTuple):
    """One eigenvalue with its multiplicity; `spread` is the range of the computed ones it stands for."""

    value: float
    multiplicity: int
    spread: float
    kind: str
    """One of: negative, positive, zero (symmetry), zero (other)."""


@dataclasses.dataclass(frozen=True, eq=False)
class GroupedSpectrum:
    """The spectrum of ∇²L over the parameters that move.

    groups          ascending, equal ones together
    eigenvalues     all of them, ascending; those from symmetry are exact zeros
    index           number of negative ones
    symmetry_zeros  dimension of the orbit of the point under the continuous symmetries of the problem
    other_zeros     eigenvalues within `tolerance` of zero that no symmetry explains
    symmetry_error  |H t|_max / |λ|_max over unit tangents t of that orbit: how exactly they are zero
    condition       largest |λ| over smallest |λ| among those that are not zero
    tolerance       absolute; what counts as zero, and as equal
    reduced_dim     the input dimension in which it was computed
    """

    groups: tuple[Eigenvalue, ...]
    eigenvalues: np.ndarray
    index: int
    symmetry_zeros: int
    other_zeros: int
    symmetry_error: float
    condition: float
    tolerance: float
    reduced_dim: int | None

    def __str__(self) -> str:
        lines = [
            f"{self.eigenvalues.size} eigenvalues, index {self.index}, condition {self.condition:.4g}; "
            f"{self.symmetry_zeros} zero by symmetry (to {self.symmetry_error:.1e}), "
            f"{self.other_zeros} other zeros (within {self.tolerance:.1e})"
        ]
        lines += [f"  {g.value:16.9g}  × {g.multiplicity:<5d} {g.kind}" for g in self.groups]
        return "\n".join(lines)


def spectrum(result, tolerance: float | None = None) -> GroupedSpectrum:
    """The spectrum at the end point of a result.

    tolerance   relative to the largest |λ|; `zero_tolerance` unless given

    Symmetries: scaling of homogeneous neurons, unused rotations, output weights that equal or dead neurons
    pass on, and others: `gradflow.landscape.tangents` has the list. They make zeros of ∇²L where ∇L = 0, at
    most where the point is not critical; penalties on θ break them. Their tangents are projected out.

    With more input dimensions than student and teacher span, and a law of the inputs without direction, it
    is computed in their span and one more dimension, whose n × n block stands for all others: exact.

    Raises `HessianUndefinedError` where a ReLU neuron of a population problem has zero weights.
    """
    if not isinstance(result, Result):
        raise ArgumentError("result", type(result).__name__, "a Result")
    problem, moving = result.problem, result.rates != 0
    relative = zero_tolerance(result.theta.size)
    relative = relative if tolerance is None else number("tolerance", tolerance, minimum=0.0)
    student, teacher = None if problem.student is None else result.student, problem.teacher
    dim, copies = None if student is None else student.sizes[0], 1
    basis = result.span
    if basis is None:
        hessian = result.hessian()
    else:
        result.check_hessian()
        assert student is not None and isinstance(teacher, MLP) and dim is not None
        reduced = Reduced(student, teacher, problem.inputs, basis, padding=1)
        dim, copies = reduced.dim, dim - basis.shape[0]
        moving = reduced.lower_rates(result.rates) != 0
        student, teacher = reduced.network(student), reduced.network(teacher)
        hessian = reduced.objective.hessian(student.flat())[np.ix_(moving, moving)]
    tangents = np.zeros((0, moving.size))
    with single_threaded_blas():
        if student is not None and not _penalised(result):
            tangents = symmetry_tangents(
                student,
                teacher,
                problem.inputs,
                last_alone=copies > 1,
                softmax=problem.options["loss"] == "cross_entropy",
            )
        return _grouped(student, tangents, moving, hessian, copies, relative, dim)


def _penalised(result: Result) -> bool:
    """Whether a penalty on θ is felt at the end point."""
    barrier = result.problem.options["barrier"]
    active = barrier is not None and float(result.theta @ result.theta) > 2 * result.theta.size * barrier
    return bool(result.problem.options["weight_decay"]) or active


def _grouped(student, tangents, moving, hessian, copies: int, relative: float, dim) -> GroupedSpectrum:
    extra = np.zeros(moving.size, dtype=bool)  # parameters of the dimension that stands for others
    if copies > 1:
        extra[: student.weights[0].size].reshape(student.weights[0].shape)[:, -1] = True
    if not np.isfinite(hessian).all():
        raise HessianUndefinedError("the Hessian at the end point is not finite in Float64")
    inner = scipy.linalg.eigvalsh(hessian)
    scale = float(np.abs(inner).max(initial=0.0))
    absolute = relative * scale

    parts, zeros, worst = [], 0, 0.0
    for mask, count in ((~extra, 1), (extra, copies)):
        block = hessian[np.ix_(mask[moving], mask[moving])]
        if not block.size:
            continue
        here = _unfrozen(tangents[np.abs(tangents[:, ~mask]).sum(axis=1) == 0], moving)[:, mask[moving]]
        null, error = _null(_orthonormal(here), block, scale)
        worst = max(worst, error)
        rest = scipy.linalg.null_space(null) if len(null) else np.eye(block.shape[0])
        zeros += len(null) * count
        parts.append(np.repeat(scipy.linalg.eigvalsh(rest.T @ block @ rest), count))
    values = np.sort(np.concatenate(parts))
    groups = [
        Eigenvalue(float(g.mean()), g.size, float(np.ptp(g)), _kind(float(g.mean()), absolute))
        for g in np.split(values, np.flatnonzero(np.diff(values) > absolute) + 1)
        if g.size
    ]
    if zeros:
        groups.append(Eigenvalue(0.0, zeros, 0.0, "zero (symmetry)"))
    away = np.abs(values[np.abs(values) > absolute])
    return GroupedSpectrum(
        groups=tuple(sorted(groups, key=lambda g: g.value)),
        eigenvalues=np.sort(np.concatenate([values, np.zeros(zeros)])),
        index=int((values < -absolute).sum()),
        symmetry_zeros=zeros,
        other_zeros=int((np.abs(values) <= absolute).sum()),
        symmetry_error=worst,
        condition=float(away.max() / away.min()) if away.size else float("inf"),
        tolerance=absolute,
        reduced_dim=dim,
    )


def _kind(value: float, tolerance: float) -> str:
    if abs(value) <= tolerance:
        return "zero (other)"
    return "negative" if value < 0 else "positive"


def _unfrozen(tangents: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """The combinations of tangents that leave frozen parameters alone, over those that move."""
    if not len(tangents) or moving.all():
        return tangents[:, moving]
    combinations = scipy.linalg.null_space(tangents[:, ~moving].T, rcond=1e-12)
    found = combinations.T @ tangents[:, moving]
    return found[np.linalg.norm(found, axis=1) > 1e-9 * np.abs(tangents).max()]


def _null(basis: np.ndarray, hessian: np.ndarray, scale: float) -> tuple[np.ndarray, float]:
    """The part of the span of the rows that the Hessian maps to zero, and the largest |H t| there / scale."""
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
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    _, weights, basis = np.linalg.svd(unit, full_matrices=False)
    return basis[weights > 1e-8 * weights[0]]
