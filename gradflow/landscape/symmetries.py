"""When two networks are the same up to permutations, signs and scalings of their hidden neurons."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from .._validate import number, real_array
from ..errors import ArgumentError
from ..networks import MLP
from ..result import Result

SAME_POINT = 1e-6
"""Default distance, relative to |θ|, below which two points are the same."""


class Match(NamedTuple):
    """How two points lie to each other, up to the symmetries of a hidden layer.

    same         whether distance ≤ tolerance · (1 + |θ|)
    distance     Euclidean norm of the difference of the matched parameters, scalings normalised
    permutation  neuron i of the first point is neuron permutation[i] of the second
    signs        the sign that neuron takes
    tolerance    as given
    """

    same: bool
    distance: float
    permutation: np.ndarray
    signs: np.ndarray
    tolerance: float


def network(point) -> MLP:
    """The student of a `Result`, or the `MLP` itself; one hidden layer, else `ArgumentError`."""
    student = point.student if isinstance(point, Result) else point
    if not isinstance(student, MLP):
        raise ArgumentError("point", type(point).__name__, "a Result or an MLP")
    if len(student.weights) != 2:
        raise ArgumentError("point", f"{len(student.weights) - 1} hidden layers", "one hidden layer")
    return student


def activations(student: MLP) -> tuple:
    """The activation of every hidden neuron."""
    layer = student.activations[0]
    return layer if isinstance(layer, tuple) else (layer,) * student.sizes[1]


def incoming(student: MLP) -> np.ndarray:
    """Input weights of the hidden neurons, with the bias as last column if there is one."""
    weights, bias = student.weights[0], student.biases[0]
    return np.array(weights) if bias is None else np.column_stack([weights, bias])


def neuron_vectors(student: MLP) -> np.ndarray:
    """One row (w, b, a) per hidden neuron, with |(w, b)|^k = |a| where σ is homogeneous of degree k.

    For those the function depends on |w|^k a only, so that rows of networks with the same function agree.
    """
    w, a = incoming(student), np.array(student.weights[1].T)
    for i, sigma in enumerate(activations(student)):
        if sigma.degree is not None:
            r, s = np.linalg.norm(w[i]), np.linalg.norm(a[i])
            if r > 0 and s > 0:
                # c^k with c |w| = s/c^k: both sides become (r^k s)^{1/2}.
                c = (s / r**sigma.degree) ** (1 / (2 * sigma.degree))
                w[i], a[i] = c * w[i], a[i] / c**sigma.degree
    return np.column_stack([w, a])


def balanced(student: MLP) -> MLP:
    """The same function with |(w, b)|^k = |a| for every homogeneous neuron."""
    return from_vectors(student, neuron_vectors(student))


def from_vectors(like: MLP, rows: np.ndarray) -> MLP:
    """The network whose `neuron_vectors` are `rows`, else as `like`, with the same `constant`."""
    width, bias, last = like.sizes[0], like.biases[0], like.biases[1]
    inputs = width + (bias is not None)
    weights, hidden = [rows[:, :width], rows[:, inputs:].T], None if bias is None else rows[:, width]
    found = MLP(weights, [hidden, last], list(like.activations))
    if last is None:
        return found
    return MLP(weights, [hidden, last + constant(like) - constant(found)], list(like.activations))


def mirror(student: MLP) -> np.ndarray:
    """The factors (n, m) that turn `neuron_vectors` into those of the mirrored neurons.

    (−w, −b, −a) for odd σ, (−w, −b, a) for even σ; ones for all others. σ that is odd but for a constant
    counts as odd if there is an output bias, which then takes the constant up (`constant`).
    """
    inputs, outputs = incoming(student).shape[1], student.sizes[-1]
    factors = np.ones((student.sizes[1], inputs + outputs))
    for i, sigma in enumerate(activations(student)):
        if sigma.symmetry in ("odd", "even") or _shifted(student, sigma):
            factors[i, :inputs] = -1.0
            factors[i, inputs:] = 1.0 if sigma.symmetry == "even" else -1.0
    return factors


def constant(student: MLP) -> np.ndarray:
    """The output bias, (outputs,), with Σ a σ(0) of the neurons that are odd but for the constant σ(0)."""
    last = student.biases[-1]
    total = np.zeros(student.sizes[-1]) if last is None else np.array(last)
    for sigma, a in zip(activations(student), student.weights[1].T):
        if _shifted(student, sigma):
            total = total + a * float(sigma(np.zeros(1))[0])
    return total


def _shifted(student: MLP, sigma) -> bool:
    return sigma.symmetry == "odd+constant" and student.biases[-1] is not None


def same_point(a, b, tolerance: float = SAME_POINT) -> Match:
    """Whether two points are one, up to permutations, signs and scalings of the hidden neurons.

    a, b   a `Result` or an `MLP` each, of equal architecture with one hidden layer

    Signs are those of odd activations (−w, −b, −a), with an output bias also of those that are odd but for
    a constant, and of even ones (−w, −b, a); scalings those of homogeneous ones, normalised to
    |(w, b)|^k = |a|. The permutation is the best one (assignment). Where σ is even but for a linear term
    (relu, softplus, gelu) mirrored neurons whose linear terms cancel are *not* matched.
    """
    first, second = network(a), network(b)
    tolerance = number("tolerance", tolerance, minimum=0.0)
    if first.sizes != second.sizes or first.activations != second.activations:
        raise ArgumentError("b", f"sizes {second.sizes}", f"the architecture of a, {first.sizes}")
    if [b is None for b in first.biases] != [b is None for b in second.biases]:
        raise ArgumentError("b", "other biases", "biases in the layers in which a has some")
    x, y = neuron_vectors(first), neuron_vectors(second)
    costs = np.stack([_squares(x, y), _squares(x, y * mirror(second))])
    if len(set(activations(first))) > 1:  # neurons of different activations are never the same
        kinds = activations(first)
        different = np.array([[p is not q for q in kinds] for p in kinds])
        costs[:, different] = 1e6 * (1.0 + costs.max())
    rows, columns = linear_sum_assignment(costs.min(axis=0))
    square = float(costs.min(axis=0)[rows, columns].sum())
    square += float(np.sum((constant(first) - constant(second)) ** 2))
    distance = square**0.5
    signs = np.where(costs.argmin(axis=0)[rows, columns] == 0, 1, -1)
    size = 1.0 + float(np.linalg.norm(x))
    return Match(distance <= tolerance * size, distance, columns, signs, tolerance)


def _squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|x_i − y_j|² by differences: products would leave √ε of every row."""
    return np.sum((x[:, None, :] - y[None, :, :]) ** 2, axis=2)


def isotropy_order(matrix: np.ndarray, rows: np.ndarray | None = None, tolerance: float = 1e-6) -> int:
    """How many permutations of the columns are undone by a permutation of the rows.

    matrix   (n, k), for a network the weights on k equal orthonormal teachers
    rows     (n, m) numbers that belong to the rows: output weights

    The order of the isotropy group of a critical point is that of its student in teacher coordinates.
    Numbers within `tolerance` of each other count as equal. Found along a stabiliser chain with a
    backtracking search for each orbit.
    """
    matrix = real_array("matrix", matrix, 2)
    labels = np.column_stack([matrix] if rows is None else [matrix, rows])
    flat = np.sort(labels.ravel())
    steps = np.concatenate([[0], np.cumsum(np.diff(flat) > tolerance)])
    classes = steps[np.searchsorted(flat, labels, side="left")]
    columns, fixed = classes[:, : matrix.shape[1]], classes[:, matrix.shape[1] :]
    order = 1
    prefix: list[int] = []
    for j in range(columns.shape[1]):
        order *= sum(_extends(columns, fixed, [*prefix, i]) for i in range(j, columns.shape[1]))
        prefix.append(j)
    return order


def _extends(columns: np.ndarray, fixed: np.ndarray, images: list[int]) -> bool:
    """Whether some automorphism sends the first columns to `images`."""
    count = len(images)
    here = np.column_stack([fixed, columns[:, :count]])
    there = np.column_stack([fixed, columns[:, images]])
    if not np.array_equal(_sorted_rows(here), _sorted_rows(there)):
        return False
    if count == columns.shape[1]:
        return True
    rest = [i for i in range(columns.shape[1]) if i not in images]
    return any(_extends(columns, fixed, [*images, i]) for i in rest)


def _sorted_rows(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.lexsort(matrix.T[::-1])]
