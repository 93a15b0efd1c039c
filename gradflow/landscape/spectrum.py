"""The Hessian's eigenvalues at a point: grouped, and those that symmetry makes zero apart."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import scipy.linalg

from .._threads import single_threaded_blas
from .._validate import number
from ..errors import ArgumentError
from ..losses.reduced import Reduced, isotropic
from ..networks import MLP
from ..result import Result
from .symmetries import activations, incoming

DEAD = 1e-9
"""A neuron whose input weights are below this times the largest is dead: its output weight is free."""


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

    tolerance   relative to the largest |λ|; default 8 P ε, at least 1e-13

    The tangents that symmetry makes null vectors: (w_i, b_i, −k a_i) for neurons homogeneous of degree k;
    rotations of the input dimensions without a teacher (inputs without direction); the output weights of
    dead neurons (w_i = 0, σ(0) = 0); a shift between the output weights of two equal neurons.
    With more input dimensions than student and teacher span, and a law of the inputs without direction, it
    is computed in their span and one more dimension, whose n × n block stands for all others: exact.

    Raises `HessianUndefinedError` where a ReLU neuron of a population problem has zero weights.
    """
    if not isinstance(result, Result):
        raise ArgumentError("result", type(result).__name__, "a Result")
    problem, moving = result.problem, result.rates != 0
    relative = max(8 * result.theta.size * float(np.finfo(np.float64).eps), 1e-13)
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
    if student is not None and len(student.weights) == 2 and not problem.options.get("weight_decay"):
        tangents = _tangents(student, teacher, problem.inputs, copies)
    with single_threaded_blas():
        return _grouped(student, tangents, moving, hessian, copies, relative, dim)


def _grouped(student, tangents, moving, hessian, copies: int, relative: float, dim) -> GroupedSpectrum:
    extra = np.zeros(moving.size, dtype=bool)  # parameters of the dimension that stands for others
    if copies > 1:
        extra[: student.weights[0].size].reshape(student.weights[0].shape)[:, -1] = True
    inner = scipy.linalg.eigvalsh(hessian)
    scale = float(np.abs(inner).max(initial=0.0))
    absolute = relative * scale

    parts, zeros, worst = [], 0, 0.0
    for mask, count in ((~extra, 1), (extra, copies)):
        block = hessian[np.ix_(mask[moving], mask[moving])]
        if not block.size:
            continue
        here = _unfrozen(tangents[np.abs(tangents[:, ~mask]).sum(axis=1) == 0], moving)[:, mask[moving]]
        null = _orthonormal(here)
        rest = scipy.linalg.null_space(null) if len(null) else np.eye(block.shape[0])
        if len(null):
            worst = max(worst, float(np.linalg.norm(block @ null.T, axis=0).max()) / max(scale, 1e-300))
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


def _tangents(student: MLP, teacher, inputs, copies: int) -> np.ndarray:
    """Tangent vectors (m, P) of the orbit of the student under the continuous symmetries of the loss."""
    theta = student.flat()
    kinds, w = activations(student), incoming(student)
    found = []

    def add(weights=None, biases=None, outputs=None):
        zero = [np.zeros_like(m) for m in student.weights]
        b = [None if v is None else np.zeros_like(v) for v in student.biases]
        weights = zero[0] if weights is None else weights
        outputs = zero[1] if outputs is None else outputs
        if b[0] is not None and biases is not None:
            b[0] = biases
        found.append(MLP([weights, outputs], b, list(student.activations)).flat())

    norms = np.linalg.norm(w, axis=1)
    for i, sigma in enumerate(kinds):
        one = np.eye(student.sizes[1])[i]
        if norms[i] <= DEAD * max(norms.max(), 1e-300) and float(sigma(np.zeros(1))[0]) == 0.0:
            for row in np.eye(student.sizes[-1]):
                add(outputs=np.outer(row, one))
        elif sigma.degree is not None:
            bias = None if student.biases[0] is None else one * student.biases[0]
            add(one[:, None] * student.weights[0], bias, -sigma.degree * student.weights[1] * one)
        for j in range(i):
            if kinds[j] != sigma or min(norms[i], norms[j]) <= DEAD * norms.max():
                continue
            degree = sigma.degree or 0
            x, y = (w[i] / norms[i], w[j] / norms[j]) if degree else (w[i], w[j])
            if np.abs(x - y).max() <= DEAD * max(1.0, norms.max()):
                shift = one / norms[i] ** degree - np.eye(student.sizes[1])[j] / norms[j] ** degree
                for row in np.eye(student.sizes[-1]):
                    add(outputs=np.outer(row, shift))
    for rotated in _rotations(student, teacher, inputs, copies):
        add(weights=rotated)
    vectors = np.array(found) if found else np.zeros((0, theta.size))
    return vectors[np.linalg.norm(vectors, axis=1) > 1e-9 * (1.0 + np.linalg.norm(theta))]


def _rotations(student: MLP, teacher, inputs, copies: int):
    """dW for the rotations that leave the teacher and the law of the inputs fixed.

    The last dimension of a reduced problem is a basis vector: rotations into it stand for `copies`.
    """
    if not isotropic(inputs) or not isinstance(teacher, MLP):
        return
    spanned = teacher.weights[0][:, :-1] if copies > 1 else teacher.weights[0]
    free = scipy.linalg.null_space(spanned, rcond=1e-12)  # (d, d − k)
    free = scipy.linalg.block_diag(free, [[1.0]]) if copies > 1 else free
    inside = student.weights[0] @ free  # (n, d − k)
    for p in range(free.shape[1]):
        for q in range(p):
            yield np.outer(inside[:, p], free[:, q]) - np.outer(inside[:, q], free[:, p])


def _orthonormal(vectors: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the span of the rows."""
    if not len(vectors):
        return vectors
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    _, weights, basis = np.linalg.svd(unit, full_matrices=False)
    return basis[weights > 1e-8 * weights[0]]
