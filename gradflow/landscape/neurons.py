"""What each student neuron does: copies, averages, duplicates, dead ones, pairs on their way to infinity."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._validate import number
from ..networks import MLP
from ..result import Result
from .symmetries import activations, incoming, network, neuron_vectors, sign_flips
from .table import table

EXACT = 1e-6
"""Default tolerance of exact labels: relative differences of weights below it."""

LOOSE = 0.6
"""Default tolerance of "perturbed" labels: the sine of the angle to what is meant."""

CHANNEL = 0.1
"""Neurons of a channel pair differ by at most this part, and so do −a_i and a_j."""


def neurons(result, tolerance: float = EXACT, loose: float = LOOSE) -> Any:
    """One row per hidden neuron of a `Result` (or of a student `MLP` and its teacher, as a pair).

    kind            the first of these that its residual allows:
                    "dead"            |w| or |a| is 0                    min(|w|, |a|) / largest |w|, |a|
                    "duplicate"       (w, b) is that of a neuron above   distance / |w|
                    "copy"            (w, b, a) is that of a teacher     distance / its size
                    "average"         w = t Σ_{j∈S} v_j, |S| ≥ 2         distance / |w|
                    "channel pair"    a_i ≈ −a_j, both large, w_i ≈ w_j  |w_i − w_j| / |w|
                    "perturbed copy", "perturbed average"                sine of the angle to v_j or Σ_S v_j
                    "other"           nothing of these                   the smallest sine found
    residual        the number that justifies the label, and `tolerance` what it was compared with
    teachers        the teacher neurons it copies or averages
    partner         the neuron that it duplicates or pairs with, else None
    norm            |w|
    output_weight   a, or the norm of several

    tolerance   of exact labels
    loose       of perturbed labels; S holds the teachers whose coefficient in w (least squares over all
                teacher vectors) is at least half the largest in absolute value, with their signs

    Signs (odd, even σ) and scalings (homogeneous σ) are divided out. A DataFrame if pandas is installed.
    """
    tolerance = number("tolerance", tolerance, minimum=0.0)
    loose = number("loose", loose, minimum=0.0)
    if isinstance(result, tuple):
        student, teacher = result
    else:
        student, teacher = result, result.problem.teacher if isinstance(result, Result) else None
    student = network(student)
    usable = isinstance(teacher, MLP) and len(teacher.weights) == 2 and teacher.sizes[0] == student.sizes[0]
    return table(_Labels(student, teacher if usable else None, tolerance, loose).rows())


def kinds(result, tolerance: float = EXACT, loose: float = LOOSE) -> list[str]:
    """The kind of every hidden neuron, as in the table of `neurons`."""
    found = neurons(result, tolerance, loose)
    return [row["kind"] for row in found] if isinstance(found, list) else list(found["kind"])


class _Labels:
    """The comparison of one student with one teacher."""

    def __init__(self, student: MLP, teacher: MLP | None, tolerance: float, loose: float):
        self.student, self.teacher = student, teacher
        self.tolerance, self.loose = tolerance, loose
        self.vectors = neuron_vectors(student)
        self.flips = sign_flips(student)
        self.kinds = activations(student)
        self.rays = all(sigma.degree is not None for sigma in self.kinds)
        self.w = incoming(student)
        self.a = np.array(student.weights[1].T)
        self.norms = np.linalg.norm(self.w, axis=1)
        self.outputs = np.linalg.norm(self.a, axis=1)

    def rows(self) -> list[dict]:
        found = []
        for i in range(self.student.sizes[1]):
            kind, residual, allowed, teachers, partner = self.label(i)
            single = self.a.shape[1] == 1
            found.append(
                {
                    "neuron": i,
                    "kind": kind,
                    "teachers": teachers,
                    "partner": partner,
                    "residual": float(residual),
                    "tolerance": allowed,
                    "norm": float(self.norms[i]),
                    "output_weight": float(self.a[i, 0] if single else self.outputs[i]),
                }
            )
        return found

    def label(self, i: int) -> tuple[str, float, float, tuple[int, ...], int | None]:
        exact, loose = self.tolerance, self.loose
        values = [self.norms / max(self.norms.max(), 1e-300), self.outputs / max(self.outputs.max(), 1e-300)]
        size = float(np.min(values, axis=0)[i])
        if size <= exact:
            return "dead", size, exact, (), None
        distances = [self.apart(i, j) for j in range(len(self.norms))]
        for j in range(i):
            if distances[j] <= exact:
                return "duplicate", distances[j], exact, (), j
        copied = self.copied(i)
        if copied is not None and copied[0] <= exact:
            return "copy", copied[0], exact, (copied[1],), None
        mixture = self.mixture(i)
        if mixture is not None and len(mixture[1]) > 1 and mixture[0] <= exact:
            return "average", mixture[0], exact, mixture[1], None
        for j in sorted(range(len(distances)), key=distances.__getitem__):
            if j != i and distances[j] <= CHANNEL and self.opposed(i, j):
                return "channel pair", distances[j], CHANNEL, (), j
        if mixture is not None and mixture[0] <= loose:
            kind = "perturbed average" if len(mixture[1]) > 1 else "perturbed copy"
            return kind, mixture[0], loose, mixture[1], None
        return "other", 1.0 if mixture is None else mixture[0], loose, (), None

    def apart(self, i: int, j: int) -> float:
        """|w_i ∓ w_j| / |w_i|, of unit vectors where σ is homogeneous."""
        x, y = self.w[i], self.w[j]
        if self.kinds[i] != self.kinds[j]:
            return np.inf
        if self.rays:
            x, y = x / max(self.norms[i], 1e-300), y / max(self.norms[j], 1e-300)
        signs = (1.0, -1.0) if len(self.flips) > 1 else (1.0,)
        return min(float(np.linalg.norm(x - s * y)) for s in signs) / max(float(np.linalg.norm(x)), 1e-300)

    def opposed(self, i: int, j: int) -> bool:
        """Output weights that cancel, both larger than any teacher's."""
        sign = np.sign(self.w[i] @ self.w[j]) if len(self.flips) > 1 else 1.0
        total = np.linalg.norm(self.a[i] + sign * self.a[j])
        biggest = 1.0 if self.teacher is None else float(np.abs(self.teacher.weights[1]).max())
        both = self.outputs[i] + self.outputs[j]
        return bool(total <= CHANNEL * both and both > 4 * biggest)

    def copied(self, i: int) -> tuple[float, int] | None:
        """The relative distance to the nearest teacher neuron in (w, b, a), and which it is."""
        if self.teacher is None or self.teacher.sizes[-1] != self.student.sizes[-1]:
            return None
        teachers = neuron_vectors(self.teacher)
        if teachers.shape[1] != self.vectors.shape[1]:
            return None
        same = np.array([sigma == self.kinds[i] for sigma in activations(self.teacher)])
        apart = np.min(
            [np.linalg.norm(self.vectors[i] * flip - teachers, axis=1) for flip in self.flips], axis=0
        )
        apart = np.where(same, apart / np.linalg.norm(teachers, axis=1), np.inf)
        best = int(np.argmin(apart))
        return float(apart[best]), best

    def mixture(self, i: int) -> tuple[float, tuple[int, ...]] | None:
        """The sine of the angle between w_i and Σ_{j∈S} ± v_j, and S."""
        if self.teacher is None:
            return None
        V, w = self.teacher.weights[0], self.student.weights[0][i]
        coefficients = np.linalg.lstsq(V.T, w, rcond=None)[0]
        largest = float(np.abs(coefficients).max())
        if largest == 0.0:
            return None
        chosen = np.abs(coefficients) >= 0.5 * largest
        meant = (np.sign(coefficients) * chosen) @ V
        meant = meant / np.linalg.norm(meant)
        aligned = float(w @ meant)
        sine = float(np.linalg.norm(w - aligned * meant) / np.linalg.norm(w))
        return (sine if aligned > 0 else 1.0), tuple(int(j) for j in np.flatnonzero(chosen))
