"""When two networks are the same up to permutations, signs and scalings of their hidden neurons."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..networks import MLP
from ..run.result import Result
from ..support.errors import ArgumentError
from ..support.validate import number
from .function_space import FunctionSpace, units

SAME_POINT = 1e-6
"""Default distance of neurons in function space, relative to the largest, below which they are the same."""

SIGNS = ("odd", "even")
"""Symmetries of σ by which every single neuron can be mirrored."""

ALL_SIGNS = (*SIGNS, "odd+constant", "even+linear")
"""Those by which some sets of neurons can."""

SURE = 1e3
"""Distances on a few draws of the inputs decide where they are this many tolerances, or 1 / this."""


class Match(NamedTuple):
    """How two points lie to each other, up to the symmetries of a hidden layer.

    Attributes
    ----------
    same : bool
        Whether every neuron is, as a function, what it is matched with: apart ≤ tolerance.
    distance : float
        Euclidean norm of the difference of the matched parameters, scalings normalised.
    permutation : ndarray
        Neuron i of the first point is neuron permutation[i] of the second.
    signs : ndarray
        The sign that neuron takes.
    tolerance : float
        As given.
    apart : float
        The largest distance of two matched neurons in function space, in units of the largest neuron; of
        aσ(w·x + b) and, unless σ is homogeneous, of σ(w·x + b) alone. An estimate from 64 draws of the
        inputs where it is above a thousand tolerances.

    Examples
    --------
    >>> a = gf.MLP.random((2, 2, 1), bias=False, seed=0)
    >>> match = gf.landscape.same_point(a, gf.MLP([a.weights[0][::-1], a.weights[1][:, ::-1]]))
    >>> match.same, match.permutation
    (True, array([1, 0]))
    """

    same: bool
    distance: float
    permutation: np.ndarray
    signs: np.ndarray
    tolerance: float
    apart: float


def network(argument: str, point, hidden_layers: int | None = 1) -> MLP:
    """The student of a `Result`, or the `MLP` itself, of so many hidden layers; else `ArgumentError`."""
    if isinstance(point, Result) and point.problem.student is None:
        raise ArgumentError(argument, "a result without a network", "a Result of a network, or an MLP")
    student = point.student if isinstance(point, Result) else point
    if not isinstance(student, MLP):
        raise ArgumentError(argument, type(point).__name__, "a Result or an MLP")
    if hidden_layers not in (None, len(student.weights) - 1):
        raise ArgumentError(argument, f"{len(student.weights) - 1} hidden layers", f"{hidden_layers}")
    return student


def incoming(student: MLP) -> np.ndarray:
    """Input weights of the hidden neurons, with the bias as last column if there is one."""
    weights, bias = student.weights[0], student.biases[0]
    return np.array(weights) if bias is None else np.column_stack([weights, bias])


def neuron_vectors(student: MLP) -> np.ndarray:
    """One row (w, b, a) per hidden neuron, with |(w, b)|^k = |a| where σ is homogeneous of degree k.

    For those the function depends on |w|^k a only, so that rows of networks with the same function agree.

    Parameters
    ----------
    student : MLP
        One hidden layer.

    Returns
    -------
    ndarray, shape (n, m)

    Examples
    --------
    >>> gf.landscape.neuron_vectors(gf.MLP([[[3.0, 4.0]], [[20.0]]], activation="relu"))
    array([[ 6.,  8., 10.]])
    """
    w, a = incoming(student), np.array(student.weights[1].T)
    for i, sigma in enumerate(student.neuron_activations(0)):
        if sigma.degree is not None:
            r, s = np.linalg.norm(w[i]), np.linalg.norm(a[i])
            if r > 0 and s > 0:
                # c^k with c |w| = s/c^k: both sides become (r^k s)^{1/2}.
                c = (s / r**sigma.degree) ** (1 / (2 * sigma.degree))
                w[i], a[i] = c * w[i], a[i] / c**sigma.degree
    return np.column_stack([w, a])


def balanced(student: MLP) -> MLP:
    """The same function with |(w, b)|^k = |a| for every homogeneous neuron."""
    return _from_vectors(student, neuron_vectors(student), student.biases[1])


def arranged(student: MLP, match: Match, scaled: bool = True) -> MLP:
    """The second network of a match with its neurons in the order and with the signs of the first.

    The same function: the output bias takes up what mirrored neurons leave.

    Parameters
    ----------
    student : MLP
        The second network.
    match : Match
        What `same_point` says.
    scaled : bool, default True
        Homogeneous neurons `balanced`, else as they are.

    Returns
    -------
    MLP

    Examples
    --------
    >>> a = gf.MLP.random((2, 2, 1), bias=False, seed=0)
    >>> b = gf.MLP([a.weights[0][::-1], a.weights[1][:, ::-1]])
    >>> back = gf.landscape.arranged(b, gf.landscape.same_point(a, b))
    >>> bool((back.flat() == a.flat()).all())
    True
    """
    rows = neuron_vectors(student) if scaled else np.column_stack([incoming(student), student.weights[1].T])
    rows = np.where(match.signs[:, None] < 0, (rows * mirror(student, ALL_SIGNS))[match.permutation],
                    rows[match.permutation])  # fmt: skip
    last = student.biases[1]
    if last is not None:
        last = last - remainder(student, match.permutation[match.signs < 0])[:, -1]
    return _from_vectors(student, rows, last)


def _from_vectors(like: MLP, rows: np.ndarray, last) -> MLP:
    width, bias = like.sizes[0], like.biases[0]
    inputs = width + (bias is not None)
    hidden = None if bias is None else rows[:, width]
    return MLP([rows[:, :width], rows[:, inputs:].T], [hidden, last], list(like.activations))


def mirror(student: MLP, symmetries=SIGNS) -> np.ndarray:
    """The factors that turn `neuron_vectors` into those of the mirrored neurons.

    (−w, −b, −a) for odd σ, (−w, −b, a) for even σ; ones for σ without one of these symmetries. Where σ is
    odd but for a constant or even but for a linear term mirroring adds a `remainder` to the network.

    Parameters
    ----------
    student : MLP
        One hidden layer.
    symmetries : tuple of str, default ("odd", "even")
        Those symmetries of σ that count.

    Returns
    -------
    ndarray, shape (n, m)

    Examples
    --------
    >>> gf.landscape.mirror(gf.MLP.random((2, 1, 1), "tanh", bias=False, seed=0))
    array([[-1., -1., -1.]])
    """
    inputs, outputs = incoming(student).shape[1], student.sizes[-1]
    factors = np.ones((student.sizes[1], inputs + outputs))
    for i, sigma in enumerate(student.neuron_activations(0)):
        if sigma.symmetry in symmetries:
            factors[i, :inputs] = -1.0
            factors[i, inputs:] = -1.0 if sigma.symmetry.startswith("odd") else 1.0
    return factors


def remainder(student: MLP, mirrored) -> np.ndarray:
    """What mirroring these neurons adds to the function, R (outputs, d + 1): R[:, :d] x + R[:, d].

    −a σ(−z) = a σ(z) − 2 a σ(0) for σ that is odd but for a constant; a σ(−z) = a σ(z) − c a z with
    c = σ(1) − σ(−1) for one that is even but for a linear term.
    """
    d = student.sizes[0]
    total = np.zeros((student.sizes[-1], d + 1))
    w, kinds = incoming(student), student.neuron_activations(0)
    for i in mirrored:
        a, (low, middle, high) = student.weights[1][:, i], kinds[i](np.array([-1.0, 0.0, 1.0]))
        if kinds[i].symmetry == "odd+constant":
            total[:, d] -= 2.0 * middle * a
        elif kinds[i].symmetry == "even+linear":
            total[:, : w.shape[1]] -= (high - low) * np.outer(a, w[i])
    return total


def same_point(a, b, tolerance: float = SAME_POINT) -> Match:
    """Whether two points are one, up to permutations, signs and scalings of the hidden neurons.

    Parameters
    ----------
    a, b : Result or MLP
        Of equal architecture with one hidden layer.
    tolerance : float, default SAME_POINT
        Of `Match.apart`, for x ~ N(0, I) or the inputs of a `Result`.

    Returns
    -------
    Match

    Raises
    ------
    ArgumentError
        For different architectures.

    Notes
    -----
    Signs are those of odd activations (−w, −b, −a) and of even ones (−w, −b, a). Of those that are odd but
    for a constant or even but for a linear term (relu, softplus, gelu …) a set of neurons may be mirrored if
    its `remainder` is a constant that an output bias takes up, or zero: for relu if Σ a_i w_i = 0 over the
    set. Scalings are those of homogeneous ones, normalised to |(w, b)|^k = |a|. The permutation is the best
    one (assignment), the set of mirrored neurons the one that it brings about.

    Examples
    --------
    >>> a = gf.MLP.random((2, 2, 1), bias=False, seed=0)
    >>> b = gf.MLP([-a.weights[0], -a.weights[1]])
    >>> gf.landscape.same_point(a, b).same
    True
    """
    first, second = network("a", a), network("b", b)
    tolerance = number("tolerance", tolerance, minimum=0.0)
    if first.sizes != second.sizes or first.activations != second.activations:
        raise ArgumentError("b", f"sizes {second.sizes}", f"the architecture of a, {first.sizes}")
    if [b is None for b in first.biases] != [b is None for b in second.biases]:
        raise ArgumentError("b", "other biases", "biases in the layers in which a has some")
    laws = [point.problem.inputs for point in (a, b) if isinstance(point, Result)]
    compared = _Compared(first, second, FunctionSpace(laws[0] if laws else None), tolerance)
    classes = {sigma.symmetry for sigma in first.neuron_activations(0)}
    # Where no set of neurons can be mirrored but by its single ones, there is one match to look at.
    ways = (SIGNS, ALL_SIGNS) if classes & set(ALL_SIGNS[len(SIGNS) :]) else (SIGNS,)
    return min((compared.match(signs) for signs in ways), key=lambda match: match.distance)


class _Compared:
    """Two networks of one architecture."""

    def __init__(self, first: MLP, second: MLP, space: FunctionSpace, tolerance: float):
        self.first, self.second, self.space, self.tolerance = first, second, space, tolerance
        self.neurons, self.a = units(first, first.biases[0] is not None)
        self.there, self.outputs = units(second, self.neurons.biased)

    def match(self, symmetries) -> Match:
        """The best one; infinitely far if what mirroring adds is no constant."""
        factors = mirror(self.second, symmetries)
        square, permutation, signs = _assigned(self.first, self.second, factors)
        left, bias = remainder(self.second, permutation[signs < 0]), np.zeros(self.second.sizes[-1])
        if self.second.biases[1] is not None:
            bias, left[:, -1] = self.first.biases[1] - self.second.biases[1] + left[:, -1], 0.0
        distance = (square + float(np.sum(left**2)) + float(np.sum(bias**2))) ** 0.5
        apart, unit = self.apart(permutation, signs, factors)
        if np.linalg.norm(left) > self.tolerance * unit:
            distance = np.inf
        apart = max(apart, float(np.abs(bias).max()) / unit)
        same = bool(apart <= self.tolerance and distance < np.inf)
        return Match(same, distance, permutation, signs, self.tolerance, apart)

    def apart(self, permutation: np.ndarray, signs: np.ndarray, factors: np.ndarray) -> tuple[float, float]:
        """`Match.apart`, but for output biases, and the largest neuron.

        Neurons that are far apart on a few inputs are no more looked at, nor are those with the same weights.
        """
        chosen, width = (signs < 0)[:, None], self.there.rows.shape[1]
        rows, factors = self.there.rows[permutation], factors[permutation]
        rows = np.where(chosen, factors[:, :width] * rows, rows)
        a = np.where(chosen, factors[:, width:] * self.outputs[permutation], self.outputs[permutation])
        other = self.neurons._replace(rows=rows)
        here, there = (self.space.on_draws(neurons) for neurons in (self.neurons, other))
        near, sizes = (np.sqrt(np.mean(values**2, axis=0)) for values in (here - there, here))
        apart, unit = self.relative(near, sizes, a)
        lengths = np.linalg.norm(self.neurons.rows, axis=1)
        moved = np.linalg.norm(self.neurons.rows - rows, axis=1) > self.tolerance / SURE * lengths
        equal = apart <= self.tolerance / SURE and not moved.any() and lengths.max() <= 1.0 / self.tolerance
        if apart > SURE * self.tolerance or equal:
            return apart, unit
        return self.relative(self.space.apart(self.neurons, other), self.space.sizes(self.neurons), a)

    def relative(self, near: np.ndarray, sizes: np.ndarray, a: np.ndarray) -> tuple[float, float]:
        """The largest distance, from those of the σ(w·x + b), and the size of the largest neuron."""
        outputs = np.linalg.norm(self.a, axis=1)
        unit = max(float((outputs * sizes).max()), 1e-300)
        whole = outputs * near + np.linalg.norm(self.a - a, axis=1) * sizes
        free = np.array([sigma.degree is None for sigma in self.neurons.kinds]) | (outputs == 0)
        alone = np.where(free, near, 0.0) / max(float(sizes.max()), 1e-300)
        return float(max((whole / unit).max(), alone.max())), unit


def _assigned(first: MLP, second: MLP, factors: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """|difference|² of the matched `neuron_vectors`, permutation and signs."""
    x, y = neuron_vectors(first), neuron_vectors(second)
    costs = np.stack([_squares(x, y), _squares(x, y * factors)])
    kinds = first.neuron_activations(0)
    different = np.array([[p != q for q in kinds] for p in kinds])
    costs[:, different] = 1e6 * (1.0 + costs.max())  # neurons of different activations are never the same
    rows, columns = linear_sum_assignment(costs.min(axis=0))
    signs = np.where(costs.argmin(axis=0)[rows, columns] == 0, 1, -1)
    return float(costs.min(axis=0)[rows, columns].sum()), columns, signs


def _squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|x_i − y_j|² by differences: products would leave √ε of every row."""
    return np.sum((x[:, None, :] - y[None, :, :]) ** 2, axis=2)
