"""The default method: consensus and reduction."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..activations import ACTIVATIONS, Activation
from ..losses.separable import HiddenLayer
from ..networks import MLP
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.threads import single_threaded_blas
from ..support.validate import generator, integer, number, real_array, resolution
from .certificate import certify
from .consensus import consensus
from .neuron_types import absorb, simplify
from .reduction import reduce
from .result import Recovery
from .search import NEAR, Budget, search
from .students import Student, Task, fit, polish
from .symmetry import Symmetry, can_be_told, symmetry_of
from .units import Units


def catalogue() -> list[str]:
    """The activations that activation="auto" tries: those whose weights can be told, smooth ones first."""
    known = [sigma for sigma in ACTIVATIONS.values() if can_be_told(sigma)]
    return [sigma.name for sigma in sorted(known, key=lambda sigma: sigma.record.jump != 0.0)]


def _twins(name: str) -> tuple[str, ...]:
    """Activations whose networks are the same functions, as tanh(z) = 2 sigmoid(2z) − 1."""
    twin = ACTIVATIONS[name].record.twin
    return (twin,) if twin else ()


DIGITS = 500
"""Without `floor=`, an RMSE of so many units in the last place of the answers' type counts as zero."""

COARSE = 0.1
"""But not more than this times the root of the unit: 3 units in the last place of Float16, 290 of Float32."""

ALL_STEPS = 100
"""Levenberg–Marquardt steps of the reduced student on all queries but those held out."""

SEARCHED = 0.2
"""Students are fitted to this share of the floor where it is Float64's, so that the last steps can finish."""


def recover(
    X=None,
    Y=None,
    activation: str | Activation = "auto",
    *,
    teacher=None,
    inputs=None,
    floor: float | None = None,
    students: int = 400,
    widest: int = 64,
    seed=0,
    progress: bool | None = None,
) -> Recovery:
    """Find the network of one hidden layer that answers Y to the queries X: its width and its weights.

    Parameters
    ----------
    X, Y : array_like, shapes (samples, d) and (samples, outputs)
        Queries and answers; or `teacher`, a function or network, and `inputs`, the queries to put to it.
    activation : str or Activation, default "auto"
        That of the hidden layer. "auto" tries the table and takes the first that reaches the floor.
    teacher : callable, optional
        Called once with all queries.
    inputs : array_like, optional
        Queries for `teacher`.
    floor : float, optional
        The RMSE that counts as zero; unless given, 500 units in the last place of Y for Float64, 290 for
        Float32 and 3 for Float16.
    students, widest : int
        Limits of the search: students in all, and neurons of a random student.
    seed : int, optional
        The same seed gives the same bits.
    progress : bool, optional
        Whether to show the search; by default where standard error is a terminal.

    Returns
    -------
    Recovery
        With `exact` False, the best student and the neurons agreed on, where none reached the floor.

    Raises
    ------
    ArgumentError
        For answers that do not vary, activations whose weights cannot be identified or whose symmetry is
        not declared, and fewer queries than a network of one neuron has parameters; with "auto" where no
        activation reaches the floor.

    Notes
    -----
    Students of 4, 8, 16, … neurons are fitted to a part of the queries by Levenberg–Marquardt; neurons that
    a third of the better ones have (within 2 % of their pre-activations, up to the symmetry class of σ)
    and a few random ones are where further students start, until one is at the floor. From this student
    neurons are removed for as long as the rest, fitted again, is at the floor; the last steps use all queries
    but those held out. The paper [1]_ clusters many students instead: `expand_and_cluster`.

    References
    ----------
    .. [1] F. Martinelli, B. Şimşek, W. Gerstner and J. Brea, Expand-and-Cluster: Parameter Recovery of
       Neural Networks, ICML 2024.

    Examples
    --------
    >>> teacher = gf.teachers.parity(2, 2, seed=0)
    >>> X = np.random.default_rng(0).uniform(-(3**0.5), 3**0.5, (2000, 2))
    >>> found = gf.recovery.recover(X, teacher(X), activation="g")
    >>> found.exact, found.width, bool(gf.recovery.compare(found.network, teacher).parameters < 1e-12)
    (True, 2, True)
    """
    X, Y, eps = queries(X, Y, teacher, inputs)
    students = integer("students", students, 1)
    widest = integer("widest", widest, 1)
    if floor is not None:
        floor = number("floor", floor, minimum=0.0, exclusive=True)
    budget = Budget(students=students, widest=widest)
    automatic = isinstance(activation, str) and activation == "auto"
    symmetry = None if automatic else symmetry_of(activation)
    if symmetry is not None:
        enough(X, Y, symmetry)
    units = Units.of(X, Y)
    X, Y = units.inside(X, Y)
    floor = None if floor is None else floor / units.answers
    if symmetry is None:
        return units.original(_automatic(X, Y, floor, eps, budget, seed, progress))
    return units.original(_recover(X, Y, symmetry, floor, eps, budget, seed, progress))


def queries(X, Y, teacher, inputs) -> tuple[np.ndarray, np.ndarray, float]:
    """X (samples, d), Y (samples, outputs), and the resolution of the type of Y."""
    if teacher is not None:
        if Y is not None or (X is not None and inputs is not None):
            raise ArgumentError(
                "teacher", "a teacher and answers", "one of them: X and Y, or teacher and inputs"
            )
        if not callable(teacher):
            raise ArgumentError("teacher", repr(teacher), "a network or a function of the queries")
        X = real_array("inputs", X if inputs is None else inputs, 2)
        Y = teacher(X.copy())
    elif X is None or Y is None:
        raise ArgumentError("X" if X is None else "Y", None, "X and Y, or teacher and inputs")
    X = real_array("X", X, 2)
    eps = resolution(Y)
    Y = real_array("Y", Y, (1, 2))
    Y = Y[:, None] if Y.ndim == 1 else Y
    if X.size == 0 or len(Y) != len(X):
        raise ArgumentError("Y", f"{len(Y)} answers to {len(X)} queries", "one answer to each query")
    size = np.abs(Y).max()
    if np.ptp(Y, axis=0).max() <= 8 * eps * size:
        raise ArgumentError("Y", "answers that do not vary", "answers that depend on the queries")
    if np.ptp(X, axis=0).max() == 0.0:
        raise ArgumentError("X", "queries that do not vary", "queries that differ")
    return X, Y, eps


def enough(X: np.ndarray, Y: np.ndarray, symmetry: Symmetry) -> None:
    """`ArgumentError` unless there are twice as many equations as one neuron has parameters."""
    features, outputs = X.shape[1], Y.shape[1]
    needed = 2 * (features + 1 + outputs + outputs * (1 + features * symmetry.affine))
    have = (len(X) - min(1000, len(X) // 10)) * outputs
    if have < needed:
        least = int(np.ceil(needed / outputs / 0.9)) + 1
        given = f"{len(X)} queries of {features} features"
        raise ArgumentError("X", given, f"{least} at least, for a width of one")


def default_floor(Y: np.ndarray, eps: float) -> float:
    """What counts as zero for answers of this type: so many units of their root mean square."""
    return min(DIGITS * eps, COARSE * np.sqrt(eps)) * float(np.sqrt((Y**2).sum(axis=1).mean()))


def _recover(X, Y, symmetry: Symmetry, floor, eps, budget: Budget, seed, progress) -> Recovery:
    rng = generator("seed", seed)
    monitor = Monitor(progress)
    given = floor is not None or eps > 1e-15
    zero = default_floor(Y, eps) if floor is None else floor
    with single_threaded_blas(), monitor.listening():
        task = Task(X, Y, symmetry, zero if given else SEARCHED * zero, rng)

        def report(found: list[Student]) -> None:
            monitor.report("recover", loss=min(s.loss for s in found), grad_norm=np.nan, steps=len(found))

        def near(student: Student) -> Student | None:
            return _finish_near(task, student, budget.per)

        trail = search(task, rng, budget, report=report, near=near)
        facts = tuple({"width": s.width, "loss": s.loss, "iterations": s.iterations} for s in trail)
        agreed = _rows(task, consensus(task, trail))
        if trail[-1].loss > task.goal:
            best = min(trail, key=lambda s: s.loss)
            best, least = reduce(task, best, each=budget.per, goal=2.0 * best.loss)
            best = fit(task, best.V, iterations=ALL_STEPS, each=np.inf, window=20, damping=1e-6)
            if best.loss > NEAR * task.variance:
                V, C, signs = _turned(task, *task.original(best.V, best.C))
                network, affine = _network(symmetry, V, C)
                rmse = _rmse(network, affine, X, Y)
                return Recovery(network, rmse, None, agreed, facts, "recover", affine, signs)
            return _finished(task, best, best, float(np.sqrt(least)), zero, eps, agreed, facts)
        wide = trail[-1]
        small, smaller = reduce(task, wide, each=budget.per)
        if given or task.points(small.width, budget.per) < len(task.fit):
            # A floor far above Float64's is reached on the way: the best fit lies below it.
            goal = 0.0 if given else task.goal
            small = fit(task, small.V, iterations=ALL_STEPS, each=np.inf, window=20, damping=1e-6, goal=goal)
        return _finished(task, wide, small, float(np.sqrt(smaller)), zero, eps, agreed, facts)


def _finish_near(task: Task, student: Student, each: float) -> Student | None:
    """A student just above the floor without its redundant neurons, by QR steps; None if still above it."""
    small, _ = reduce(task, student, each=each, goal=2.0 * student.loss)
    end = polish(task.model(task.points(small.width, each)), small.V, small.C)
    return end if end.loss <= task.goal else None


def _turned(task: Task, V: np.ndarray, C: np.ndarray):
    """V and C with the signs that the linear remainder asks for, and these."""
    symmetry, m = task.symmetry, len(V)
    if not symmetry.affine:
        return V, C, None
    Theta, beta = C[m:-1], C[-1]
    V, beta, Theta, signs = absorb(symmetry, V, C[:m], beta, Theta, task.X[task.fit])
    if not Theta.any():
        return V, np.vstack([C[:m], beta[None]]), signs
    return V, np.vstack([C[:m], Theta, beta[None]]), signs


def _finished(task: Task, wide, small, smaller: float, zero: float, eps: float, agreed, facts) -> Recovery:
    """The reduced student on all queries, its signs, and its certificate."""
    symmetry = task.symmetry
    X, Y = task.X[task.fit], task.Y[task.fit]
    V, C = task.original(small.V, small.C)
    end = polish(HiddenLayer(X, Y, symmetry.activation, affine=symmetry.affine), V, C)
    V, C = end.V, end.C
    m = len(V)
    V, C, signs = _turned(task, V, C)
    if symmetry.affine and len(C) == m + 1:
        plain = polish(HiddenLayer(X, Y, symmetry.activation), V, C)
        V, C = plain.V, plain.C
    V = _visible(V, X)
    network, affine = _network(symmetry, V, C)
    if affine is not None:
        C = np.vstack([C[:m], C[-1:]])
    model = HiddenLayer(X, Y, symmetry.activation)
    held = task.held
    certificate = certify(
        model,
        V,
        C,
        rmse=_rmse(network, affine, X, Y),
        held_out=_rmse(network, affine, task.X[held], task.Y[held]) if len(held) else 0.0,
        floor=zero,
        smaller=smaller,
        scaling=symmetry.scaling,
        eps=eps,
    )
    groups = _groups(task, wide)
    rmse = _rmse(network, affine, task.X, task.Y)
    return Recovery(network, rmse, certificate, agreed, facts, "recover", affine, signs, groups)


def _groups(task: Task, wide: Student) -> dict:
    """How many neurons of which kind the student at the floor had."""
    network = MLP(
        [wide.V[:, :-1], wide.C[: wide.width].T], [wide.V[:, -1], wide.C[-1]], task.symmetry.activation
    )
    points = task.points(wide.width, 5.0)
    found = simplify(network, task.inputs[:points], tolerance=1e-4)
    kinds: dict[str, int] = {}
    for group in found.groups:
        kinds[group.kind] = kinds.get(group.kind, 0) + len(group.members)
    return kinds


def _network(symmetry: Symmetry, V: np.ndarray, C: np.ndarray) -> tuple[MLP, np.ndarray | None]:
    m = len(V)
    Theta = C[m:-1].T if len(C) > m + 1 else None
    if m == 0:
        V, C = np.zeros((1, V.shape[1])), np.vstack([np.zeros((1, C.shape[1])), C])
        m = 1
    network = MLP([V[:, :-1], C[:m].T], [V[:, -1], C[-1]], symmetry.activation)
    return network, None if Theta is None or not Theta.any() else Theta


def _visible(V: np.ndarray, X: np.ndarray) -> np.ndarray:
    """V with weights zero from features that never vary; their share goes into the biases."""
    dead = np.ptp(X, axis=0) == 0.0
    if not dead.any():
        return V
    V = V.copy()
    V[:, -1] += V[:, :-1][:, dead] @ X[0, dead]
    V[:, :-1][:, dead] = 0.0
    return V


def _rmse(network: MLP, affine, X: np.ndarray, Y: np.ndarray) -> float:
    difference = network(X) - Y
    if affine is not None:
        difference += X @ affine.T
    return float(np.sqrt((difference**2).sum(axis=1).mean()))


def _rows(task: Task, V: np.ndarray) -> np.ndarray:
    """Rows [w, b] for the inputs as given."""
    W = V[:, :-1] / task.scale
    return np.column_stack([W, V[:, -1] - W @ task.mean])


def _automatic(X, Y, floor, eps, budget: Budget, seed, progress) -> Recovery:
    """The first activation of the table with which the floor is reached and the network exact."""
    tried: list[str] = []
    reached: dict[str, float] = {}
    for share in (10, 1):  # a short search with each first: the right one is mostly quick
        small = dataclasses.replace(budget, students=min(budget.students, max(budget.students // share, 12)))
        for name in catalogue():
            if any(name in _twins(other) for other in tried if other != name):
                continue
            symmetry = symmetry_of(name)
            enough(X, Y, symmetry)
            if share == 10:
                tried.append(name)
            found = _recover(X, Y, symmetry, floor, eps, small, seed, progress)
            if found.exact:
                return dataclasses.replace(found, equivalent=_twins(name))
            reached[name] = min(reached.get(name, np.inf), found.rmse)
    listed = ", ".join(f"{name} {rmse:.1g}" for name, rmse in sorted(reached.items(), key=lambda e: e[1]))
    given = f"answers that no activation of the table explains; RMSE reached: {listed}"
    raise ArgumentError("activation", given, "the activation of the network, as an Activation or by name")
