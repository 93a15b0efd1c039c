"""What the neurons of a student at zero loss are, and the smaller network that computes the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist

from ..networks import MLP
from ..support.errors import ArgumentError
from ..support.threads import single_threaded_blas
from ..support.validate import number, real_array
from .signs import Signs, find_signs
from .symmetry import Symmetry, row_signs, symmetry_of

KINDS = ("copy", "duplicate", "zero", "constant", "linear", "linear duplicate", "off-bound")


@dataclasses.dataclass(frozen=True)
class Group:
    """Neurons of a student that belong together (section 4 and figure 2 of the paper).

    Attributes
    ----------
    kind : str
        "copy" (one neuron of its own), "duplicate" (several with one weight vector), "zero" (they cancel,
        or have no output weight), "constant" (their output does not vary), "linear" (mirror images whose
        even parts cancel), "linear duplicate" (mirror images that do not), "off-bound" (linear or zero on
        all inputs).
    members : tuple[int, ...]
        Their numbers in the student.
    residual : float
        The root mean square that is lost by putting their replacement in their place, in units of that of
        the outputs.

    Examples
    --------
    >>> student = gf.MLP([[[1.0, 2.0], [-1.0, -2.0]], [[1.0, -2.0]]], [[0.5, -0.5], [0.0]], "tanh")
    >>> small = gf.recovery.simplify(student, np.random.default_rng(0).standard_normal((50, 2)))
    >>> [group.kind for group in small.groups]
    ['duplicate']
    """

    kind: str
    members: tuple[int, ...]
    residual: float


@dataclasses.dataclass(frozen=True, eq=False)
class Simplified:
    """A student without its redundant neurons.

    Attributes
    ----------
    network : MLP
        The neurons that are left, with the output bias.
    affine : ndarray
        Θ (outputs, d): f(x) = network(x) + Θx; zero where `signs` could explain it.
    groups : tuple[Group, ...]
        Every neuron of the student, by kind.
    signs : Signs or None
        Of the neurons of `network`, for even + linear activations; else None.
    residual : float
        Root mean square difference to the student, in units of that of its outputs.

    Examples
    --------
    >>> student = gf.MLP([[[1.0, 2.0], [0.0, 0.0]], [[1.0, 1.0]]], [[0.5, 1.0], [0.0]], "tanh")
    >>> small = gf.recovery.simplify(student, np.random.default_rng(0).standard_normal((50, 2)))
    >>> small.network.sizes, small.count("constant")
    ((2, 1, 1), 1)
    """

    network: MLP
    affine: np.ndarray
    groups: tuple[Group, ...]
    signs: Signs | None
    residual: float

    def __call__(self, X) -> np.ndarray:
        """network(X) + Θx."""
        X = real_array("X", X, 2)
        return self.network(X) + X @ self.affine.T

    def count(self, kind: str) -> int:
        """How many neurons of the student belong to groups of this kind."""
        return sum(len(group.members) for group in self.groups if group.kind == kind)

    def __str__(self) -> str:
        lines = [f"{self.network!r}, residual {self.residual:.2g}"]
        for kind in KINDS:
            found = [group for group in self.groups if group.kind == kind]
            if found:
                worst = max(group.residual for group in found)
                lines.append(
                    f"  {kind:<17} {len(found)} groups, {self.count(kind)} neurons, lost {worst:.1g}"
                )
        return "\n".join(lines)


def simplify(student: MLP, X, *, tolerance: float = 1e-6) -> Simplified:
    """Name the neurons of a student of one hidden layer, merge equal ones, remove what does nothing.

    Parameters
    ----------
    student : MLP
        One hidden layer of one activation, with biases.
    X : array_like, shape (samples, d)
        The inputs on which it must compute the same.
    tolerance : float, default 1e-6
        How different pre-activations of equal neurons may be, relative to their size, and how large an
        output may be that counts as none, relative to the outputs.

    Returns
    -------
    Simplified

    Raises
    ------
    ArgumentError
        For deeper networks, mixed activations, and those whose weights cannot be identified.

    Notes
    -----
    For σ(−z) = σ(z) − cz mirror images are merged, a σ(−z) = a σ(z) − c a z, and neurons that are linear on
    all inputs replaced by what they contribute; the linear remainder is then explained by signs
    (`signs.find_signs`) where that is possible.

    References
    ----------
    .. [1] F. Martinelli, B. Şimşek, W. Gerstner and J. Brea, Expand-and-Cluster: Parameter Recovery of
       Neural Networks, ICML 2024, section 4, figures 2, A.5 and A.6.

    Examples
    --------
    >>> teacher = gf.MLP([[[1.0, 2.0]], [[3.0]]], [[0.5], [0.0]], "tanh")
    >>> student = gf.MLP([[[1.0, 2.0], [-1.0, -2.0]], [[1.0, -2.0]]], [[0.5, -0.5], [0.0]], "tanh")
    >>> small = gf.recovery.simplify(student, np.random.default_rng(0).standard_normal((50, 2)))
    >>> small.groups[0].kind, small.groups[0].members, small.network.sizes
    ('duplicate', (0, 1), (2, 1, 1))
    >>> gf.recovery.compare(small.network, teacher).parameters < 1e-14
    True
    """
    X = real_array("X", X, 2)
    tolerance = number("tolerance", tolerance, minimum=0.0, exclusive=True)
    if len(student.weights) != 2 or isinstance(student.activations[0], tuple):
        raise ArgumentError("student", repr(student), "a network of one hidden layer of one activation")
    symmetry = symmetry_of(student.activations[0])
    with single_threaded_blas():
        return _simplify(student, X, tolerance, symmetry)


def _simplify(student: MLP, X: np.ndarray, tolerance: float, symmetry: Symmetry) -> Simplified:
    bias, out_bias = student.biases
    m, outputs = student.weights[0].shape[0], student.sizes[-1]
    V = np.column_stack([student.weights[0], np.zeros(m) if bias is None else bias])
    A = student.weights[1].T.copy()
    beta = np.zeros(outputs) if out_bias is None else out_bias.copy()
    Theta = np.zeros((X.shape[1], outputs))
    inputs = np.column_stack([X, np.ones(len(X))])
    sigma = symmetry.activation
    H = sigma(inputs @ V.T)
    answers = H @ A + beta
    size = float(np.sqrt(((answers - answers.mean(axis=0)) ** 2).sum(axis=1).mean())) or 1.0

    def lost(values: np.ndarray, weights: np.ndarray) -> float:
        return float(np.sqrt((values**2).mean()) * np.linalg.norm(weights) / size)

    groups: list[Group] = []
    left = list(range(m))
    for i in range(m):  # constants first: their weight vectors have no direction
        spread = H[:, i] - H[:, i].mean()
        silent = lost(H[:, i], A[i])
        if silent <= tolerance:
            groups.append(Group("zero", (i,), silent))
            left.remove(i)
        elif lost(spread, A[i]) <= tolerance:
            groups.append(Group("constant", (i,), lost(spread, A[i])))
            beta += A[i] * H[:, i].mean()
            left.remove(i)
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for members in _clusters(symmetry, V, left, inputs, tolerance):
        lead = members[int(np.linalg.norm(A[members], axis=1).argmax())]
        total, change, opposite = np.zeros(outputs), 0.0, False
        for i in members:
            turn, ratio = _relation(symmetry, V[lead], V[i], inputs)
            opposite |= turn < 0
            a = A[i] * ratio
            if turn > 0 or symmetry.mirror == 0:
                total += a
            elif symmetry.mirror < 0:
                total -= a
                beta += symmetry.constant * A[i]
            else:
                total += a
                Theta -= symmetry.slope * np.outer(V[lead, :-1], a)
                beta -= symmetry.slope * V[lead, -1] * a
            image = sigma(turn * ratio * (inputs @ V[lead]))
            change = max(change, lost(image - H[:, i], A[i]))
        cancelled = lost(H[:, lead], total) <= tolerance
        mixed = opposite and symmetry.mirror > 0 and symmetry.affine
        if cancelled:
            kind = "linear" if mixed else "zero"
        elif len(members) == 1:
            kind = "copy"
        else:
            kind = "linear duplicate" if mixed else "duplicate"
        if not cancelled:
            fitted, residual = _affine(inputs, H[:, lead])
            if lost(residual, total) <= tolerance:
                kind, change = "off-bound", lost(residual, total)
                Theta += np.outer(fitted[:-1], total)
                beta += fitted[-1] * total
                cancelled = True
        groups.append(Group(kind, tuple(members), change))
        if not cancelled:
            kept.append((V[lead], total))
    W = np.array([v for v, _ in kept]).reshape(-1, V.shape[1])
    B = np.array([a for _, a in kept]).reshape(-1, outputs)
    signs = None
    if symmetry.affine:
        W, beta, Theta, signs = absorb(symmetry, W, B, beta, Theta, X)
    if np.abs(X @ Theta).max(initial=0.0) <= 10 * tolerance * size and signs is None:
        beta = beta + (X @ Theta).mean(axis=0)
        Theta = np.zeros_like(Theta)
    if len(W) == 0:
        W, B = np.zeros((1, V.shape[1])), np.zeros((1, outputs))
    network = MLP([W[:, :-1], B.T], [W[:, -1], beta], sigma)
    difference = network(X) + X @ Theta - answers
    left_over = float(np.sqrt((difference**2).sum(axis=1).mean()) / size)
    return Simplified(network, Theta.T, tuple(groups), signs, left_over)


def absorb(symmetry: Symmetry, V, A, beta, Theta, X, tolerance: float = 1e-4):
    """Turn the neurons that a linear remainder says are mirrored: V, β, what is left of Θ, and the signs.

    β and Θ change so that the function stays the same; a remainder below `tolerance` of its terms is rounding
    and is dropped.
    """
    centred = X - X.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(X))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    signs = find_signs(V[:, :-1], A, Theta, symmetry.slope, root)
    if signs.residual > tolerance:
        return V, beta, Theta, signs._replace(flipped=np.zeros(len(V), bool), determined=False)
    V, turned = V.copy(), signs.flipped
    beta = beta + symmetry.slope * (V[turned, -1] @ A[turned])
    V[turned] *= -1.0
    # aσ(z) = aσ(−z) + c a z: Θ + c Σ a ⊗ w over the turned ones is zero up to rounding.
    rest = Theta - symmetry.slope * (V[turned, :-1].T @ A[turned])
    return V, beta + X.mean(axis=0) @ rest, np.zeros_like(Theta), signs


def _clusters(symmetry: Symmetry, V, left: Sequence[int], inputs, tolerance: float) -> list[list[int]]:
    """Neurons that are the same up to their symmetry class, by their pre-activations."""
    if len(left) < 2:
        return [list(left)] if left else []
    values, vectors = np.linalg.eigh(inputs.T @ inputs / len(inputs))
    rows = V[list(left)] @ (vectors * np.sqrt(np.maximum(values, 0.0)))
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(size > 0.0, size, 1.0)
    if symmetry.mirror:
        rows = rows * row_signs(rows)[:, None]
    if not symmetry.scaling:
        rows = np.hstack([rows, np.log(np.maximum(size, 1e-300))])
    labels = hierarchy.fcluster(hierarchy.average(pdist(rows)), max(tolerance, 1e-12), "distance")
    order = list(dict.fromkeys(labels))
    return [[i for i, label in zip(left, labels) if label == wanted] for wanted in order]


def _relation(symmetry: Symmetry, lead, row, inputs) -> tuple[float, float]:
    """Sign and ratio with which row = sign · ratio · lead, as pre-activations."""
    a, b = inputs @ lead, inputs @ row
    along = float(a @ b) / float(a @ a)
    return (1.0 if along >= 0 else -1.0), (abs(along) if symmetry.scaling else 1.0)


def _affine(inputs: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best affine function of the inputs, and what it leaves."""
    fitted = np.linalg.lstsq(inputs, values, rcond=1e-12)[0]
    return fitted, values - inputs @ fitted
