"""Expand-and-Cluster as published: many students, their neurons clustered, the clusters collapsed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist

from ..activations import Activation
from ..losses.separable import HiddenLayer
from ..networks import MLP
from ..refiners.gram import descend
from ..refiners.variable_projection import project
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.threads import single_threaded_blas
from ..support.validate import generator, integer, number
from .certificate import certify
from .neuron_types import absorb
from .one_layer import _network, _rmse, default_floor, enough, queries
from .reduction import without_one
from .result import Recovery
from .students import JOINT_OUTPUTS, Student, Task, polish
from .symmetry import Symmetry, symmetry_of
from .units import Units

NEAR_ZERO = 1e-8
"""Step 1 takes the first width of which a student gets below this share of the answers' variance."""

STEPS, WINDOW = 400, 60
"""Levenberg–Marquardt steps of a student, and the window in which its loss must fall by a fifth."""


class Clusters(NamedTuple):
    """A clustering of the neurons of several students.

    Attributes
    ----------
    merges : ndarray
        The linkage matrix of `scipy.cluster.hierarchy`.
    height : float
        Where the tree was cut.
    labels : ndarray, shape (neurons,)
        The number of each one's cluster.
    large : ndarray
        Labels of clusters of at least γN neurons.
    kept : ndarray
        Those of them whose median angle is within β.

    Examples
    --------
    >>> rows = np.repeat(np.eye(2), 4, axis=0)
    >>> clusters = gf.recovery.cluster(rows, students=4, gamma=0.8, beta=0.1)
    >>> clusters.labels, clusters.kept
    (array([1, 1, 1, 1, 2, 2, 2, 2], dtype=int32), array([1, 2], dtype=int32))
    """

    merges: np.ndarray
    height: float
    labels: np.ndarray
    large: np.ndarray
    kept: np.ndarray


def cluster(rows: np.ndarray, students: int, gamma: float, beta: float) -> Clusters:
    """Average linkage, cut where most clusters have at least γN members (A.3).

    Parameters
    ----------
    rows : ndarray, shape (neurons, d + 1)
        Canonical up to the symmetry class.
    students : int
        N, from which the rows come.
    gamma : float
        Clusters count from γN members on.
    beta : float
        The largest median angle of a cluster that is kept.

    Returns
    -------
    Clusters

    Notes
    -----
    Among the heights with the largest number of large clusters it is the last of the first run, after which
    the next merge changes that number. Clusters whose median angle exceeds β are dropped.

    Examples
    --------
    >>> rows = np.repeat(np.eye(3), 5, axis=0)
    >>> len(gf.recovery.cluster(rows, students=5, gamma=0.8, beta=0.1).kept)
    3
    """
    merges = hierarchy.average(pdist(rows))
    least = max(int(np.ceil(gamma * students - 1e-9)), 2)
    counts = _large_clusters(merges, len(rows), least)
    best = np.flatnonzero(counts == counts.max())
    last = best[0]
    for k in best[1:]:
        if k != last + 1:
            break
        last = k
    height = float(merges[last, 2])
    labels = hierarchy.fcluster(merges, height, "distance")
    names, sizes = np.unique(labels, return_counts=True)
    large = names[sizes >= least]
    kept = [label for label in large if _median_angle(rows[labels == label]) <= beta]
    return Clusters(merges, height, labels, large, np.array(kept, dtype=labels.dtype))


def _large_clusters(merges: np.ndarray, count: int, least: int) -> np.ndarray:
    """How many clusters have at least `least` members after each merge."""
    sizes = np.ones(count + len(merges), dtype=int)
    found, now = np.zeros(len(merges), dtype=int), 0
    for k, (left, right, *_) in enumerate(merges):
        a, b = sizes[int(left)], sizes[int(right)]
        sizes[count + k] = a + b
        now += int(a + b >= least) - int(a >= least) - int(b >= least)
        found[k] = now
    return found


def _median_angle(rows: np.ndarray) -> float:
    """Median angle between two rows, by atan2 of the difference and the sum of unit vectors."""
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    i, j = np.triu_indices(len(unit), 1)
    apart, along = np.linalg.norm(unit[i] - unit[j], axis=1), np.linalg.norm(unit[i] + unit[j], axis=1)
    return float(np.median(2.0 * np.arctan2(apart, along)))


def expand_and_cluster(
    X=None,
    Y=None,
    activation: str | Activation = "g",
    *,
    teacher=None,
    inputs=None,
    width: int | None = None,
    expansion: int = 4,
    students: int = 10,
    gamma: float = 0.8,
    beta: float = np.pi / 24,
    floor: float | None = None,
    seed=0,
    progress: bool | None = None,
) -> Recovery:
    """The paper's recipe for one hidden layer, literally: the baseline beside `recover`.

    Parameters
    ----------
    X, Y, activation, teacher, inputs, floor, seed, progress
        As in `recover`.
    width : int, optional
        The width r that is meant, of which students have `expansion` times as many neurons. Unless given,
        step 1: students of 4, 8, 16, … neurons until one is near zero loss.
    expansion : int, default 4
        ρ, used with `width`.
    students : int, default 10
        N.
    gamma : float, default 0.8
        Clusters count from γN members on; in (0, 1].
    beta : float, default π/24
        The largest median angle of a cluster that is kept; in (0, π].

    Returns
    -------
    Recovery
        `details["clusters"]` has the clustering, `details["rows"]` what was clustered, `details["owner"]`
        whose neurons they were.

    Raises
    ------
    ArgumentError
        As `recover`, and for γ and β out of range and fewer than two students per cluster.

    Notes
    -----
    Students start from Glorot's law and are trained by Levenberg–Marquardt. Where the paper's text and its
    published code differ, this follows the one that works: distances are between rows [w, b], not w
    (teachers of A.4 share w with different b); the canonical sign is that of the largest entry, not of the
    first (many are zero); for positive scaling rows [w, b] have unit norm, which goes into the output
    weights; the row of a cluster is that of the best student *in the cluster* (the mean of its
    duplicates), and output weights are summed. The affine remainder of even + linear activations is
    fitted by least squares, then all parameters are fine-tuned to the floor.

    References
    ----------
    .. [1] F. Martinelli, B. Şimşek, W. Gerstner and J. Brea, Expand-and-Cluster: Parameter Recovery of
       Neural Networks, ICML 2024, sections 5 and A.3.

    Examples
    --------
    >>> teacher = gf.teachers.parity(4, 2, seed=2)
    >>> X = gf.teachers.uniform_inputs(4, 3000, seed=5)
    >>> found = gf.recovery.expand_and_cluster(X, teacher(X), activation="g", width=2, students=8)
    >>> found.width, found.rmse < 1e-14
    (2, True)
    """
    X, Y, eps = queries(X, Y, teacher, inputs)
    symmetry = symmetry_of(activation)
    students = integer("students", students, 2)
    expansion = integer("expansion", expansion, 1)
    gamma, beta = number("gamma", gamma), number("beta", beta)
    if not 0.0 < gamma <= 1.0:
        raise ArgumentError("gamma", gamma, "a share in (0, 1]")
    if not 0.0 < beta <= np.pi:
        raise ArgumentError("beta", beta, "an angle in (0, π]")
    if gamma * students < 2.0:
        least = int(np.ceil(2.0 / gamma))
        raise ArgumentError("students", students, f"{least} at least, for clusters of γN ≥ 2 (γ = {gamma:g})")
    if width is not None:
        width = integer("width", width, 1)
    enough(X, Y, symmetry)
    if floor is not None:
        floor = number("floor", floor, minimum=0.0, exclusive=True)
    units = Units.of(X, Y, features=False)
    X, Y = units.inside(X, Y)
    zero = default_floor(Y, eps) if floor is None else floor / units.answers
    rng = generator("seed", seed)
    monitor = Monitor(progress)
    with single_threaded_blas(), monitor.listening():
        return units.original(
            _expand(X, Y, symmetry, width, expansion, students, gamma, beta, zero, eps, rng, monitor)
        )


def _expand(
    X, Y, symmetry: Symmetry, width, expansion, count, gamma, beta, zero, eps, rng, monitor
) -> Recovery:
    variance = float(((Y - Y.mean(axis=0)) ** 2).sum(axis=1).mean())
    order = rng.permutation(len(X))
    goal = (0.2 * zero) ** 2
    trail: list[dict] = []
    found: list[Student] = []

    def train(m: int) -> Student:
        student = _train(X[order], Y[order], symmetry, m, goal, rng)
        trail.append({"width": m, "loss": student.loss, "iterations": student.iterations})
        monitor.report("expand", loss=min(s["loss"] for s in trail), grad_norm=np.nan, steps=len(trail))
        return student

    m = 4 if width is None else expansion * width
    while width is None:
        probes = [train(m) for _ in range(2)]
        room = m * (X.shape[1] + 1 + Y.shape[1]) < len(X) * Y.shape[1] / 4
        if min(s.loss for s in probes) <= NEAR_ZERO * variance or not room or m >= 256:
            found = probes
            break
        m *= 2
    found += [train(m) for _ in range(count - len(found))]
    V, A, owner, groups = _neurons(symmetry, found)
    clusters = cluster(V, count, gamma, beta)
    rows, outs = [], []
    losses = np.array([s.loss for s in found])
    for label in clusters.kept:
        members = np.flatnonzero(clusters.labels == label)
        best = owner[members][losses[owner[members]].argmin()]
        own = members[owner[members] == best]
        rows.append(V[own].mean(axis=0))
        outs.append(A[own].sum(axis=0))
    details = {"clusters": clusters, "rows": V, "owner": owner, "groups": groups}
    W = np.array(rows).reshape(-1, V.shape[1])
    return _fine_tuned(X, Y, order, symmetry, W, zero, eps, tuple(trail), details)


def _train(X, Y, symmetry: Symmetry, m: int, goal: float, rng) -> Student:
    """One student from Glorot's law on ten equations per parameter."""
    start = MLP.random((X.shape[1], m, Y.shape[1]), symmetry.activation, seed=rng)
    points = min(len(X), max(1000, int(np.ceil(10 * start.size / Y.shape[1]))))
    model = HiddenLayer(X[:points], Y[:points], symmetry.activation)
    V = np.column_stack([start.weights[0], np.zeros(m)])
    options: dict[str, Any] = {"iterations": STEPS, "goal": goal, "window": WINDOW}
    if Y.shape[1] > JOINT_OUTPUTS:
        end = project(model, V, **options)
        return Student(end.V, end.C, end.loss, end.iterations)
    C = np.vstack([start.weights[1].T, np.zeros((1, Y.shape[1]))])
    cut = V.size

    def apart(theta):
        return theta[:cut].reshape(V.shape), theta[cut:].reshape(C.shape)

    run = descend(
        lambda t: model.linearise(*apart(t)),
        lambda t: model.residuals(*apart(t)),
        np.concatenate([V.ravel(), C.ravel()]),
        **options,
    )
    V, C = apart(run.theta)
    return Student(V, C, run.loss, run.iterations)


def _neurons(symmetry: Symmetry, found: list[Student]):
    """All neurons in canonical form: rows, output weights, whose they are, and the classes' changes."""
    rows, outs, owner = [], [], []
    for k, student in enumerate(found):
        V, signs, norms = symmetry.canonical(student.V)
        rows.append(V)
        outs.append(student.C[: student.width] * symmetry.output_factor(signs, norms)[:, None])
        owner.append(np.full(student.width, k))
    return np.vstack(rows), np.vstack(outs), np.concatenate(owner), symmetry.words


def _fine_tuned(X, Y, order, symmetry: Symmetry, V, zero: float, eps, trail, details) -> Recovery:
    """The collapsed network, its outputs and affine part by least squares, fine-tuned to the floor."""
    signs = affine = None
    goal = (0.2 * zero) ** 2
    m = len(V)
    for points in (min(len(X), 3000), len(X)):
        model = HiddenLayer(X[order[:points]], Y[order[:points]], symmetry.activation, affine=symmetry.affine)
        Phi = model.basis(V)[0] if m else model.extra
        C = model.coefficients(Phi)[0]
        if m == 0:
            break
        if points < len(X):
            V, C = _descend(model, V, C, goal)
        else:
            last = polish(model, V, C)
            V, C = last.V, last.C
    if symmetry.affine and m:
        Theta, b = C[m:-1], C[-1]
        V, b, Theta, signs = absorb(symmetry, V, C[:m], b, Theta, X)
        C = np.vstack([C[:m], Theta, b[None]])
        if not Theta.any():
            C = np.delete(C, np.s_[m:-1], axis=0)
            plain = polish(HiddenLayer(X, Y, symmetry.activation), V, C)
            V, C = plain.V, plain.C
    network, affine = _network(symmetry, V, C)
    rmse = _rmse(network, affine, X, Y)
    certificate = None
    if m and rmse <= zero:
        task = Task(X, Y, symmetry, zero, np.random.default_rng(0))
        model = task.model(task.points(m, 5.0))
        inner = task.inside(V, C)
        inner.C = model.coefficients(model.basis(inner.V)[0])[0]
        certificate = certify(
            HiddenLayer(X, Y, symmetry.activation),
            V,
            np.vstack([C[:m], C[-1:]]),
            rmse=rmse,
            held_out=rmse,
            floor=zero,
            smaller=float(np.sqrt(without_one(task, inner))),
            scaling=symmetry.scaling,
            eps=eps,
        )
    return Recovery(
        network, rmse, certificate, V, trail, "expand_and_cluster", affine, signs, details=details
    )


def _descend(model: HiddenLayer, V, C, goal: float):
    if C.shape[1] > JOINT_OUTPUTS:
        end = project(model, V, iterations=300, goal=goal)
        return end.V, end.C
    cut = V.size

    def apart(theta):
        return theta[:cut].reshape(V.shape), theta[cut:].reshape(C.shape)

    run = descend(
        lambda t: model.linearise(*apart(t)),
        lambda t: model.residuals(*apart(t)),
        np.concatenate([V.ravel(), C.ravel()]),
        iterations=300,
        goal=goal,
        damping=1e-4,
    )
    return apart(run.theta)
