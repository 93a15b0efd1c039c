"""Null vectors of the Hessian at a critical point that continuous symmetries give.

If a family of parameters has equal L and passes critical points only, its tangent t has ∇²L t = 0. Families:

    (c w, c b, c^{-k} a) of a neuron homogeneous of degree k; with identity neurons any linear map of them,
        (GW, Gb) and A G^{-1}; squares of one output: the linear maps of the w_i that keep Σ a_i (w_i·x)²
    output weights passed on between neurons that are equal but for sign and scale, Σ δ_i σ(w_i·x + b_i) = 0,
        and those of a neuron with w = b = 0 whose σ(0) is 0 or taken up by a bias. Only for δ in the span
        of these neurons' own output weights, as E (f − f*) σ'(w_i·x + b_i) x is zero along those alone,
        unless σ' = 0
    everything about a relu that no sample activates
    shifts of w (and b) that no input sees: directions without variance, samples that span less than all
    rotations of the inputs that leave their law and the teacher as they are; for N(μ, C) those of C^{-1/2}x
    a constant added to all outputs under cross-entropy
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import scipy.linalg

from ..activations import Activation
from ..inputs import Gaussian
from ..networks import MLP

EQUAL = 1e-9
"""Weight vectors that differ by less, relative to the largest of the layer, are equal."""

RANK = 1e-12
"""Directions with a smaller part of the largest singular value do not count."""


def tangents(student: MLP, teacher, inputs, *, last_alone: bool = False, softmax: bool = False) -> np.ndarray:
    """Vectors (m, P) that span the tangents of all these families at a student; not independent.

    last_alone  the last input dimension stands for others (no weights there): it is not mixed with them
    softmax     cross-entropy
    """
    named = named_tangents(student, teacher, inputs, last_alone=last_alone, softmax=softmax)
    return np.concatenate([np.zeros((0, student.size)), *named.values()])


def named_tangents(
    student: MLP, teacher, inputs, *, last_alone: bool = False, softmax: bool = False
) -> dict[str, np.ndarray]:
    """The same family by family, (m, P) each, by the words for them."""
    layers = [_Layer(student, layer) for layer in range(len(student.weights) - 1)]
    for layer in layers:
        layer.all()
    if not layers:
        return {}
    _asleep(layers, inputs)
    _unseen(layers[0], inputs)
    _rotations(layers[0], teacher, inputs, last_alone)
    if softmax:
        last = layers[-1]
        last.family = "a constant added to all outputs"
        for column in np.eye(last.w.shape[0]):
            last.add(A=np.outer(np.ones(last.A.shape[0]), column))
        if student.biases[-1] is not None:
            last.add(c=np.ones(last.A.shape[0]))
    least = EQUAL * (1e-300 + np.abs(student.flat()).max())
    families: dict[str, list[np.ndarray]] = {}
    for layer in layers:
        for family, row in layer.found:
            if np.abs(row).max() > least:
                families.setdefault(family, []).append(row)
    return {family: np.array(rows) for family, rows in families.items()}


class _Layer:
    """A hidden layer of a student: w (n, d or d + 1 with the bias), outgoing A (m, n), and tangents of it."""

    def __init__(self, student: MLP, layer: int):
        self.student, self.layer = student, layer
        weights, bias = student.weights[layer], student.biases[layer]
        self.width = weights.shape[1]
        self.w = np.array(weights) if bias is None else np.column_stack([weights, bias])
        self.A = np.array(student.weights[layer + 1])
        self.kinds = student.neuron_activations(layer)
        self.norms = np.linalg.norm(self.w, axis=1)
        self.scale = float(self.norms.max(initial=0.0))
        self.family = ""
        self.found: list[tuple[str, np.ndarray]] = []

    def add(self, w=None, A=None, c=None) -> None:
        """One more tangent: changes of w (biases as last column), of A, and of the next layer's bias c."""
        weights = [np.zeros_like(W) for W in self.student.weights]
        biases = [None if b is None else np.zeros_like(b) for b in self.student.biases]
        if w is not None:
            weights[self.layer], bias = w[:, : self.width], w[:, self.width :]
            biases[self.layer] = bias[:, 0] if bias.size else None
        if A is not None:
            weights[self.layer + 1] = A
        if c is not None:
            biases[self.layer + 1] = c
        tangent = MLP(weights, biases, list(self.student.activations)).flat()
        self.found.append((self.family, tangent))

    def all(self) -> None:
        """Tangents that depend on the weights alone."""
        eye = np.eye(len(self.w))
        biased = all(b is not None for b in self.student.biases[self.layer : self.layer + 2])
        for i, sigma in enumerate(self.kinds):
            self.family = "scale of neurons"
            if sigma.degree is not None:
                self.add(eye[i][:, None] * self.w, -sigma.degree * self.A * eye[i])
            if _linear(sigma) and biased:
                self.add(w=np.outer(eye[i], np.eye(self.width + 1)[-1]), c=-self.A[:, i])
        self.family = "neurons mixed"
        for i, j in combinations(range(len(self.w)), 2):
            sigma = self.kinds[i]
            if sigma != self.kinds[j]:
                continue
            if _linear(sigma):
                for p, q in ((i, j), (j, i)):
                    self.add(np.outer(eye[p], self.w[q]), -np.outer(self.A[:, p], eye[q]))
            if sigma.record.power == 2 and len(self.A) == 1:
                x, y = self.A[0, j] * self.w[j], self.A[0, i] * self.w[i]
                self.add(np.outer(eye[i], x) - np.outer(eye[j], y))
        for group in self.groups():
            self.passed_on(group)

    def passed_on(self, group: list[tuple[int, float, float]]) -> None:
        """Output weights that neurons of equal σ(w·x + b) exchange, and those without effect."""
        eye, m = np.eye(len(self.w)), len(self.A)
        (i, factor, constant), *others = group
        flat = factor == 0.0 and float(self.kinds[i].derivatives(np.zeros(1), 1)[1][0]) == 0.0
        own = np.eye(m) if flat else _basis(self.A[:, [j for j, _, _ in group]].T)
        bias = self.student.biases[self.layer + 1]
        self.family = "output weights of dead neurons" if factor == 0.0 else "output weights of equal neurons"
        if factor == 0.0 and (constant == 0.0 or bias is not None):
            for j, _, value in group:
                for row in own:
                    self.add(A=np.outer(row, eye[j]), c=None if bias is None else -value * row)
            return
        for j, other, value in others:
            if factor == 0.0:
                shift, left = eye[i] / constant - eye[j] / value, 0.0
            else:
                shift, left = eye[i] / factor - eye[j] / other, constant / factor - value / other
            for row in own:
                self.add(A=np.outer(row, shift), c=-left * row if left else None)

    def groups(self) -> list[list[tuple[int, float, float]]]:
        """Neurons with σ(w_i·x + b_i) = factor · g(x) + constant of one g, as (i, factor, constant)."""
        groups: list[list[tuple[int, float, float]]] = []
        for i in range(len(self.w)):
            for group in groups:
                relation = self.relation(group[0][0], i)
                if relation is not None:
                    group.append((i, *relation))
                    break
            else:
                at_zero = float(self.kinds[i](np.zeros(1))[0])
                groups.append([(i, 0.0, at_zero) if self.zero(i) else (i, 1.0, 0.0)])
        return [group for group in groups if len(group) > 1 or group[0][1] == 0.0]

    def zero(self, i: int) -> bool:
        """Whether a neuron has no weights; of homogeneous ones a small w with a large output weight has."""
        if self.norms[i] > EQUAL * self.scale:
            return False
        degree = self.kinds[i].degree or 0
        sizes = self.norms**degree * np.linalg.norm(self.A, axis=0)
        return degree == 0 or bool(self.norms[i] == 0.0 or sizes[i] <= EQUAL * sizes.max())

    def relation(self, first: int, i: int) -> tuple[float, float] | None:
        """(factor, constant) with σ(z_i) = factor · σ(z_first) + constant for all x; None without."""
        sigma = self.kinds[i]
        if sigma != self.kinds[first] or self.zero(i) != self.zero(first):
            return None
        at_zero = float(sigma(np.zeros(1))[0])
        if self.zero(i):
            return 0.0, at_zero
        x, y, factor = self.w[first] / self.scale, self.w[i] / self.scale, 1.0
        if sigma.degree is not None:
            factor = float(self.norms[i] / self.norms[first]) ** sigma.degree
            x, y = self.w[first] / self.norms[first], self.w[i] / self.norms[i]
        if np.abs(x - y).max() <= EQUAL:
            return factor, 0.0
        if np.abs(x + y).max() > EQUAL:
            return None
        if sigma.symmetry == "odd+constant" and self.student.biases[self.layer + 1] is not None:
            return -1.0, 2 * at_zero
        return {"odd": (-factor, 0.0), "even": (factor, 0.0)}.get(sigma.symmetry)

    def silent(self, i: int) -> None:
        """Everything about a neuron."""
        self.family = "neurons that no sample activates"
        one = np.eye(len(self.w))[i]
        for direction in np.eye(self.w.shape[1]):
            self.add(w=np.outer(one, direction))
        for output in np.eye(len(self.A)):
            self.add(A=np.outer(output, one))


def _linear(sigma: Activation) -> bool:
    return sigma.record.is_polynomial and sigma.degree == 1


def _asleep(layers: list[_Layer], inputs) -> None:
    """Everything about relus that no sample activates."""
    if inputs.samples is None:
        return
    h = inputs.samples.X
    for layer in layers:
        z = h @ layer.w[:, : layer.width].T + layer.w[:, layer.width :].T.sum(axis=0)
        for i, sigma in enumerate(layer.kinds):
            if sigma.record.sleeps and (z[:, i] <= 0).all():
                layer.silent(i)
        h = np.column_stack([sigma(z[:, i]) for i, sigma in enumerate(layer.kinds)])


def _unseen(first: _Layer, inputs) -> None:
    """Shifts of (w, b) along which w·x + b is zero for all inputs."""
    d, biased = first.width, first.w.shape[1] > first.width
    if inputs.samples is not None:
        X = inputs.samples.weighted
        seen = np.column_stack([X, np.ones(len(X))])
    elif isinstance(inputs, Gaussian) and inputs.factor is not None and not inputs.isotropic:
        mean = np.zeros(d) if inputs.mean is None else inputs.mean
        seen = np.column_stack([np.vstack([inputs.factor, mean]), np.append(np.zeros(d), 1.0)])
    else:
        return
    seen = seen if biased else seen[:, :d]
    seen = np.asarray(np.linalg.qr(seen, mode="r")) if len(seen) > seen.shape[1] else seen
    first.family = "directions that no input sees"
    for direction in scipy.linalg.null_space(seen, rcond=RANK).T:
        for one in np.eye(len(first.w)):
            first.add(w=np.outer(one, direction))


def _rotations(first: _Layer, teacher, inputs, last_alone: bool) -> None:
    """Rotations of ξ in x = μ + C^{1/2} ξ, or of x itself, that leave the teacher alone.

    They change the student's C^{1/2} w and not its w·μ + b.
    """
    gaussian = isinstance(inputs, Gaussian)
    if not isinstance(teacher, MLP) or not (gaussian or all(law.isotropic for law in inputs.parts)):
        return
    W, V = first.w[:, : first.width], np.array(teacher.weights[0])
    factor = mean = None
    if gaussian and not inputs.isotropic:
        factor, mean = inputs.factor, inputs.mean
    factor = np.eye(first.width) if factor is None else factor
    back = np.linalg.pinv(factor, rcond=RANK)
    fixed = V @ factor
    biased = first.w.shape[1] > first.width
    if mean is not None and not biased:
        fixed = np.vstack([fixed, back @ mean])
    if last_alone:
        fixed = np.vstack([fixed, np.eye(first.width)[-1]])
    free = scipy.linalg.null_space(fixed, rcond=RANK) if fixed.any() else np.eye(first.width)
    # Only rotations that move the student: in the plane of a direction it has and of any other.
    _, sizes, turn = np.linalg.svd(W @ factor @ free)
    free = free @ turn.T
    used = int((sizes > RANK * max(float(sizes.max(initial=0.0)), 1e-300)).sum())
    if last_alone:
        free = np.column_stack([free, np.eye(first.width)[-1]])
    first.family = "rotations of the inputs"
    inside = W @ factor @ free
    inside[:, used:] = 0.0
    for p in range(used):
        for q in range(p + 1, free.shape[1]):
            turned = np.outer(inside[:, p], free[:, q]) - np.outer(inside[:, q], free[:, p])
            change = turned @ back
            shift = np.zeros(len(W)) if mean is None else -change @ mean
            first.add(w=np.column_stack([change, shift]) if biased else change)


def _basis(vectors: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the span of the rows."""
    _, sizes, basis = np.linalg.svd(vectors, full_matrices=False)
    return basis[sizes > EQUAL * max(float(sizes.max(initial=0.0)), 1e-300)]
