"""What each student neuron does: copies, averages, duplicates, dead ones, pairs on their way to infinity."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..networks import MLP
from ..run.result import Result
from ..support.errors import ArgumentError
from ..support.threads import single_threaded_blas
from ..support.validate import number
from .symmetries import SIGNS, incoming, mirror, network, neuron_vectors
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
                    "dead"            aσ(w·x + b) is 0: |w| or |a| is    the smaller of |w| and |a|
                    "dead"            a ReLU that no sample activates    0
                    "constant"        |w| is 0, but not aσ(b)            |w|
                    "duplicate"       (w, b) is that of a neuron above   distance / |w|
                    "copy"            (w, b, a) is that of a teacher     distance / its size
                    "average"         w = t Σ_{j∈S} v_j, |S| ≥ 2, and    distance / |w|
                                      neither it nor S has biases
                    "channel pair"    a_i ≈ −a_j, both large, w_i ≈ w_j  |w_i − w_j| / |w|
                    "perturbed copy", "perturbed average"                sine of the angle to v_j or Σ_S v_j
                    "other"           nothing of these                   the smallest sine found
    residual        the number that justifies the label, and `tolerance` what it was compared with
    teachers        the teacher neurons it copies or averages
    partner         the neuron that it duplicates or pairs with, else None
    norm            |w|
    output_weight   a, or the norm of several

    tolerance   of exact labels; |w| and |a| are in units of the teacher's largest, without a teacher of the
                student's, and for a homogeneous σ both are |w|^k |a|
    loose       of perturbed labels, which compare the direction of w alone; S holds the teachers whose
                coefficient in w (least squares over all teacher vectors) is at least half the largest and
                that the neuron adds to the output with the teacher's sign. Where teacher vectors are
                linearly dependent, S is the one or two of the twenty nearest with the smallest sine.

    Signs (odd, even σ) and scalings (homogeneous σ) are divided out. A DataFrame if pandas is installed.
    """
    return table(_rows(result, tolerance, loose))


def kinds(result, tolerance: float = EXACT, loose: float = LOOSE) -> list[str]:
    """The kind of every hidden neuron, as in the table of `neurons`."""
    return [row["kind"] for row in _rows(result, tolerance, loose)]


def _rows(result, tolerance: float, loose: float) -> list[dict]:
    tolerance = number("tolerance", tolerance, minimum=0.0)
    loose = number("loose", loose, minimum=0.0)
    if isinstance(result, tuple):
        if len(result) != 2 or not (result[1] is None or isinstance(result[1], MLP)):
            raise ArgumentError(
                "result", "another tuple", "a Result, or a student MLP and its teacher (or None)"
            )
        student, teacher = result
    else:
        student, teacher = result, result.problem.teacher if isinstance(result, Result) else None
    student = network("result", student)
    usable = isinstance(teacher, MLP) and len(teacher.weights) == 2 and teacher.sizes[0] == student.sizes[0]
    asleep = [row["dead"] for row in result.neurons()] if isinstance(result, Result) else None
    with single_threaded_blas():
        return _Labels(student, teacher if usable else None, tolerance, loose, asleep).rows()


class _Labels:
    """The comparison of one student with one teacher."""

    def __init__(self, student: MLP, teacher: MLP | None, tolerance: float, loose: float, asleep=None):
        self.student, self.teacher = student, teacher
        self.tolerance, self.loose = tolerance, loose
        taken_up = () if student.biases[-1] is None else ("odd+constant",)
        self.vectors, self.mirror = neuron_vectors(student), mirror(student, (*SIGNS, *taken_up))
        self.kinds = student.neuron_activations(0)
        self.w = incoming(student)
        self.a = np.array(student.weights[1].T)
        self.norms = np.linalg.norm(self.w, axis=1)
        self.outputs = np.linalg.norm(self.a, axis=1)
        self.asleep = asleep or [False] * student.sizes[1]
        self.effects = _effects(student)
        self.sizes = _sizes(student, student if teacher is None else teacher)

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
                    "norm": float(np.linalg.norm(self.student.weights[0][i])),
                    "output_weight": float(self.a[i, 0] if single else self.outputs[i]),
                }
            )
        return found

    def label(self, i: int) -> tuple[str, float, float, tuple[int, ...], int | None]:
        exact, loose = self.tolerance, self.loose
        if self.asleep[i]:
            return "dead", 0.0, exact, (), None
        if self.sizes[i].min() <= exact:
            return self.silent(i), float(self.sizes[i].min()), exact, (), None
        distances = [self.apart(i, j) for j in range(len(self.norms))]
        for j in range(i):
            if distances[j] <= exact:
                return "duplicate", distances[j], exact, (), j
        copied = self.copied(i)
        if copied is not None and copied[0] <= exact:
            return "copy", copied[0], exact, (copied[1],), None
        mixture = self.mixture(i)
        if (
            mixture is not None
            and len(mixture[1]) > 1
            and mixture[0] <= exact
            and self.unbiased(i, mixture[1])
        ):
            return "average", mixture[0], exact, mixture[1], None
        for j in sorted(range(len(distances)), key=distances.__getitem__):
            if j != i and distances[j] <= CHANNEL and self.opposed(i, j):
                return "channel pair", distances[j], CHANNEL, (), j
        if mixture is not None and mixture[0] <= loose:
            kind = "perturbed average" if len(mixture[1]) > 1 else "perturbed copy"
            return kind, mixture[0], loose, mixture[1], None
        return "other", 1.0 if mixture is None else mixture[0], loose, (), None

    def silent(self, i: int) -> str:
        """A neuron with |w| or |a| zero is dead unless it adds a constant."""
        bias = self.student.biases[0]
        value = float(self.kinds[i](np.array([0.0 if bias is None else bias[i]]))[0])
        return "constant" if self.sizes[i, -1] > self.tolerance and abs(value) > self.tolerance else "dead"

    def unbiased(self, i: int, teachers: tuple[int, ...]) -> bool:
        assert self.teacher is not None
        own, theirs = self.student.biases[0], self.teacher.biases[0]
        if own is not None and abs(own[i]) > self.tolerance:
            return False
        return theirs is None or not theirs[list(teachers)].any()

    def mirrored(self, i: int) -> bool:
        return bool(self.mirror[i, 0] < 0)

    def apart(self, i: int, j: int) -> float:
        """|w_i ∓ w_j| / |w_i|, of unit vectors where σ is homogeneous."""
        x, y = self.w[i], self.w[j]
        if self.kinds[i] != self.kinds[j]:
            return np.inf
        if self.kinds[i].degree is not None:
            x, y = x / max(self.norms[i], 1e-300), y / max(self.norms[j], 1e-300)
        signs = (1.0, -1.0) if self.mirrored(i) else (1.0,)
        return min(float(np.linalg.norm(x - s * y)) for s in signs) / max(float(np.linalg.norm(x)), 1e-300)

    def opposed(self, i: int, j: int) -> bool:
        """Output weights that cancel, both larger than any teacher's."""
        sign = 1.0
        if self.mirrored(i) and self.w[i] @ self.w[j] < 0:
            sign = self.mirror[i, -1]
        total = np.linalg.norm(self.effects[i] + sign * self.effects[j])
        biggest = 1.0 if self.teacher is None else float(np.linalg.norm(_effects(self.teacher), axis=1).max())
        both = np.linalg.norm(self.effects[i]) + np.linalg.norm(self.effects[j])
        return bool(total <= CHANNEL * both and both > 4 * biggest)

    def copied(self, i: int) -> tuple[float, int] | None:
        """The relative distance to the nearest teacher neuron in (w, b, a), and which it is."""
        if self.teacher is None or self.teacher.sizes[-1] != self.student.sizes[-1]:
            return None
        teachers, own, factors = neuron_vectors(self.teacher), self.vectors[i], self.mirror[i]
        # A network without biases has biases of zero.
        width = self.student.sizes[0]
        if self.teacher.biases[0] is None and self.student.biases[0] is not None:
            teachers = np.insert(teachers, width, 0.0, axis=1)
        elif self.teacher.biases[0] is not None and self.student.biases[0] is None:
            own, factors = np.insert(own, width, 0.0), np.insert(factors, width, 1.0)
        same = np.array([sigma == self.kinds[i] for sigma in self.teacher.neuron_activations(0)])
        apart = np.min([np.linalg.norm(own * f - teachers, axis=1) for f in (1.0, factors)], axis=0)
        apart = np.where(same, apart / np.maximum(np.linalg.norm(teachers, axis=1), 1e-300), np.inf)
        best = int(np.argmin(apart))
        return float(apart[best]), best

    def mixture(self, i: int) -> tuple[float, tuple[int, ...]] | None:
        """The sine of the angle between w_i and Σ_{j∈S} ± v_j, and S; None without a teacher."""
        if self.teacher is None:
            return None
        V, w = self.teacher.weights[0], self.student.weights[0][i]
        signs = self.signs(i, V @ w < 0)
        coefficients, _, rank, _ = np.linalg.lstsq(V.T, w, rcond=None)
        coefficients = np.where(coefficients * signs > 0, coefficients, 0.0)
        sets = [tuple(np.flatnonzero(np.abs(coefficients) >= 0.5 * np.abs(coefficients).max()).tolist())]
        if rank < len(V):
            lengths = np.maximum(np.linalg.norm(V, axis=1), 1e-300)
            near = np.sort(np.argsort(-np.abs(V @ w) / lengths, kind="stable")[:20]).tolist()
            sets = [s for size in (1, 2) for s in itertools.combinations(near, size)]
        if rank == len(V) and not coefficients.any():
            return 1.0, ()
        return min((_sine(w, signs[list(s)] @ V[list(s)]), s) for s in sets)

    def signs(self, i: int, backwards: np.ndarray) -> np.ndarray:
        """The sign s for which aσ(s v_j·x) adds to the output as teacher j does; 0 where none does."""
        assert self.teacher is not None
        adds = np.ones(backwards.size, dtype=bool)
        if self.teacher.sizes[-1] == self.student.sizes[-1]:
            adds = self.teacher.weights[1].T @ self.a[i] >= 0
        if not self.mirrored(i):
            return np.where(adds, 1.0, 0.0)
        if self.mirror[i, -1] < 0:  # odd
            return np.where(adds, 1.0, -1.0)
        return np.where(adds, np.where(backwards, -1.0, 1.0), 0.0)


def _sine(w: np.ndarray, meant: np.ndarray) -> float:
    """The sine of the angle between two vectors, 1 beyond a right angle."""
    length = float(np.linalg.norm(meant))
    if length == 0.0 or w @ meant <= 0:
        return 1.0
    meant = meant / length
    return float(np.linalg.norm(w - (w @ meant) * meant) / np.linalg.norm(w))


def _effects(net: MLP) -> np.ndarray:
    """Output weights (n, m), of homogeneous neurons at |(w, b)| = 1."""
    norms = np.linalg.norm(incoming(net), axis=1)
    degrees = np.array([sigma.degree or 0 for sigma in net.neuron_activations(0)])
    return np.array(net.weights[1].T) * (norms**degrees)[:, None]


def _sizes(student: MLP, scale: MLP) -> np.ndarray:
    """|w| and |a| of every neuron in units of the largest of `scale`, (n, 2).

    For a homogeneous σ they are |w|^k |a| and |(w, b)|^k |a|, which scalings leave alone.
    """
    norms, whole = np.linalg.norm(student.weights[0], axis=1), np.linalg.norm(incoming(student), axis=1)
    outputs = np.linalg.norm(student.weights[1], axis=0)
    units = np.linalg.norm(scale.weights[0], axis=1), np.linalg.norm(scale.weights[1], axis=0)
    sizes = np.empty((norms.size, 2))
    for i, sigma in enumerate(student.neuron_activations(0)):
        if sigma.degree is None:
            sizes[i] = norms[i] / max(units[0].max(), 1e-300), outputs[i] / max(units[1].max(), 1e-300)
        else:
            unit = max(float((units[0] ** sigma.degree * units[1]).max()), 1e-300)
            sizes[i] = np.array([norms[i], whole[i]]) ** sigma.degree * outputs[i] / unit
    return sizes
