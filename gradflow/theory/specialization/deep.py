"""Theorem 4 of Tian 2020: the lowest layer of deep ReLU networks, and which layer is learned first.

The engine of the proof: while student k of the lowest layer is active, its backpropagated gradient

    g_k(x) = Σ_j α_kj(x) relu(w̃*_j·x̃) − Σ_i β_ki(x) relu(w̃_i·x̃)

is piecewise linear; where the boundary of teacher j crosses the activity of k ("k observes j") its slope
jumps by α_kj |w*_j| − Σ_{i on the same boundary} β_ki |w_i|. If g_k vanishes there is no jump.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ... import teachers
from ...networks import MLP
from ...run.training import train
from ...solvers import Tsit5
from ..check import Check, at_least, at_most
from ..registry import Progress, register
from .critical import (
    CRITICAL,
    SAME_DIRECTION,
    Case,
    boundary_points,
    extended,
    unit_teacher,
    visible,
)
from .gradients import PAPER, forward, overrealised, recursion, top_down
from .online_sgd import layers, sgd

__all__ = [
    "balanced_teacher",
    "deepened",
    "kinks",
    "layer_correlations",
    "lowest_first",
    "observed",
    "pushed_case",
    "theorem_4",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def kinks(student: MLP, teacher: MLP, points: int, seed: int, factor: float = 1.0) -> Check:
    """The jump of the slope of g_k across a teacher's boundary, measured, against α_kj |w*_j|."""
    rng = np.random.default_rng(seed)
    off, step = [], 1e-4
    V = extended(teacher)
    for _ in range(points):
        j = int(rng.integers(len(V)))
        x = rng.standard_normal(teacher.sizes[0])
        normal = V[j, :-1] / np.linalg.norm(V[j, :-1])
        x -= (V[j, :-1] @ x + V[j, -1]) / np.linalg.norm(V[j, :-1]) * normal
        line = [x + t * step * normal for t in (-2, -1, 1, 2)]
        patterns = [np.concatenate(forward(student, p)[1]) for p in line]
        above = [np.concatenate(forward(teacher, p)[1][1:]) for p in line]
        others = [np.delete(forward(teacher, p)[1][0], j) for p in line]
        if any((p[0] != q).any() for p in (patterns, above, others) for q in p[1:]):
            continue  # another boundary passes between the points: A and B are not constant there
        values = [recursion(student, teacher, p)[0] for p in line]
        jump = (values[3] - values[2] - values[1] + values[0]) / step
        _, gates, matrices = forward(student, x)
        _, gates_star, matrices_star = forward(teacher, x)
        A = top_down(gates, matrices)[1].T @ top_down(gates_star, matrices_star)[1]
        active = gates[0][: student.sizes[1]]
        expected = factor * active * A[: student.sizes[1], j] * np.linalg.norm(V[j, :-1])
        off.append(float(np.abs(jump - expected).max()) / max(1.0, float(np.abs(values[3]).max())))
    return Check(
        name="specialization.theorem_4.kinks",
        statement="In a deep ReLU network, inside a region where A and B are constant, the slope of the "
        "gradient g_k of an active student k of the lowest layer jumps by alpha_kj |w*_j| across the "
        "boundary of teacher j, if no student is aligned with j: so g_k = 0 on both sides and alpha_kj "
        "!= 0 need an aligned student.",
        source=f"{PAPER}, Theorem 4 (the step of its proof, derived)",
        parts=[at_most("difference of the jump over |g|", off, 1e-10)],
        computed={"student": list(student.sizes), "teacher": list(teacher.sizes)},
    )


def deepened(teacher: MLP, layers: int) -> MLP:
    """The same function with more layers on top: each passes y on as relu(y) − relu(−y).

    Parameters
    ----------
    teacher : MLP
        Of ReLU, with biases.
    layers : int
        How many more.

    Returns
    -------
    MLP

    Examples
    --------
    >>> deepened(unit_teacher((2, 3, 1), seed=0), 2).sizes
    (2, 3, 2, 2, 1)
    """
    weights, biases = list(teacher.weights), list(teacher.biases)
    for _ in range(layers):
        W, b = weights.pop(), biases.pop()
        column = np.zeros(len(W)) if b is None else b
        eye = np.eye(len(W))
        weights += [np.vstack([W, -W]), np.hstack([eye, -eye])]
        biases += [np.concatenate([column, -column]), np.zeros(len(W))]
    return MLP(weights, biases, "relu")


def pushed_case(teacher: MLP, seed: int, push: float = 0.1, samples: int = 200, rounds: int = 8) -> Case:
    """A student of twice the teacher's nodes, pushed off an exact one and trained anew.

    Parameters
    ----------
    teacher : MLP
        Of ReLU, with biases.
    seed : int
        Of samples, student and push.
    push : float, default 0.1
        Every weight is changed by so much of itself (standard deviation).
    samples : int
        Standard Gaussian.
    rounds : int, default 8
        Of training, at most.

    Returns
    -------
    Case

    Notes
    -----
    Deep students interpolate samples without being aligned: the kinks hide between them. After each training
    points of the boundaries of both networks join the samples, which stand for a region so.

    Examples
    --------
    >>> pushed_case(unit_teacher((2, 1, 1), seed=0), seed=0, samples=20).student.sizes
    (2, 3, 1)
    """
    rng = np.random.default_rng([19, seed])
    X = rng.standard_normal((samples, teacher.sizes[0]))
    exact = overrealised(teacher, 2, rng)
    student = exact.with_flat(exact.flat() * (1.0 + push * rng.standard_normal(exact.flat().size)))
    solver = Tsit5(rtol=1e-4, atol=1e-6, t1=50.0, max_steps=1000)
    seen = X
    for count in range(1, rounds + 1):
        student = train(teacher, student, seen, solver=solver, progress=False).student
        case = Case(student, teacher, X, count)
        if case.gradient <= CRITICAL:
            break
        chosen = X[rng.permutation(samples)[:20]]
        seen = np.vstack([seen, boundary_points(student, chosen), boundary_points(teacher, chosen)])
    return case


def observed(case: Case, points: int = 40) -> np.ndarray:
    """Which teachers of the lowest layer have an active student with α_kj ≠ 0 somewhere on their boundary.

    Parameters
    ----------
    case : Case
        Of any depth.
    points : int, default 40
        Of each boundary that are looked at.

    Returns
    -------
    ndarray of bool, shape (teachers,)

    Examples
    --------
    >>> teacher = unit_teacher((2, 1, 1), seed=0)
    >>> observed(Case(teacher, teacher, np.random.default_rng(0).standard_normal((40, 2))))
    array([ True])
    """
    X, (n, k) = case.X[:points], (case.student.sizes[1], case.teacher.sizes[1])
    reach = np.linalg.norm(case.X, axis=1).max()
    seen = np.zeros(k, dtype=bool)
    for j, line in enumerate(boundary_points(case.teacher, X).reshape(k, len(X), -1)):
        for x in line[np.linalg.norm(line, axis=1) <= reach]:
            (_, gates, matrices), (_, above, stars) = forward(case.student, x), forward(case.teacher, x)
            A = top_down(gates, matrices)[1].T @ top_down(above, stars)[1]
            seen[j] |= bool(np.abs(gates[0][:n] * A[:n, j]).max() > 1e-6)
    return seen


def theorem_4(cases: Sequence[Case], name: str = "trained") -> Check:
    """At deep interpolating students every visible, observed teacher node has its student."""
    tried = len(cases)
    cases = [case for case in cases if case.gradient <= CRITICAL]  # the others are not what it speaks of
    looked = [visible(case.teacher, case.X) & observed(case) for case in cases]
    return Check(
        name=f"specialization.theorem_4.{name}",
        statement="Deep over-realised students trained until every sample's gradient is rounding, on the "
        "boundaries of both networks as well, have for every teacher node of the lowest layer whose "
        "boundary is visible, and on which an active student has alpha_kj != 0, an aligned student.",
        source=f"{PAPER}, Theorem 4",
        parts=[
            at_least(
                "share of students whose gradients vanish", len(cases) / max(tried, 1), 0.5, cases=tried
            ),
            at_most(
                "sine of an observed teacher to its student",
                [s for case, there in zip(cases, looked) for s in case.sines.min(axis=0)[there]],
                SAME_DIRECTION,
            ),
        ],
        computed={
            "cases": [case.described() | {"teacher": list(case.teacher.sizes)} for case in cases],
            "teachers that nobody observes": int(sum((~there).sum() for there in looked)),
        },
    )


def balanced_teacher(sizes: tuple[int, ...], seed: int, samples: int = 4000) -> MLP:
    """A random ReLU teacher with |w| = 1 whose biases close every hidden node on half of the inputs.

    Parameters
    ----------
    sizes : tuple of int
        Of its layers.
    seed : int
        Of the draw.
    samples : int, default 4,000
        By which the biases are chosen.

    Returns
    -------
    MLP

    Examples
    --------
    >>> balanced_teacher((2, 3, 2, 1), seed=0)
    MLP(2-3-2-1, relu, biases, 20 parameters)
    """
    rng = np.random.default_rng(seed)
    h = rng.standard_normal((samples, sizes[0]))
    weights, biases = [], []
    for l, (count, fan_in) in enumerate(zip(sizes[1:], sizes)):
        W = rng.standard_normal((count, fan_in))
        W /= np.linalg.norm(W, axis=1, keepdims=True)
        z = h @ W.T
        hidden = l < len(sizes) - 2
        b = -np.median(z, axis=0) if hidden else np.zeros(count)
        # Unit second moments keep the signal alive from layer to layer.
        scale = np.sqrt(2.0 / np.mean(np.square(np.maximum(z + b, 0.0)))) if hidden else 1.0
        weights.append(scale * W)
        biases.append(scale * b)
        h = np.maximum(scale * (z + b), 0.0)
    return MLP(weights, biases, "relu")


def layer_correlations(student: MLP, teacher: MLP, X: np.ndarray) -> list[np.ndarray]:
    """Per hidden layer, the best correlation of each teacher node's activation with a student node's.

    Parameters
    ----------
    student, teacher : MLP
        Of as many layers.
    X : ndarray, shape (samples, d)
        The samples.

    Returns
    -------
    list of ndarray, shape (teacher nodes,)

    Examples
    --------
    >>> teacher = balanced_teacher((2, 3, 1), seed=0)
    >>> layer_correlations(teacher, teacher, np.random.default_rng(0).standard_normal((50, 2)))[0].round(12)
    array([1., 1., 1.])
    """
    found = []
    mine, theirs = layers(student.weights, student.biases, X), layers(teacher.weights, teacher.biases, X)
    for h, f in zip(mine[1:-1], theirs[1:-1]):
        h, f = h - h.mean(axis=0), f - f.mean(axis=0)
        sizes = np.outer(np.linalg.norm(h, axis=0), np.linalg.norm(f, axis=0))
        found.append((h.T @ f / np.maximum(sizes, 1e-300)).max(axis=0))
    return found


def lowest_first(
    sizes: tuple[int, ...],
    factor: int,
    rate: float,
    steps: int,
    seed: int,
    progress: Progress | None = None,
    claimed: int = 0,
) -> Check:
    """SGD of a deep over-realised student: which layer specialises first; the claim is `claimed` = 0."""
    teacher = balanced_teacher(sizes, seed)
    hidden = [factor * width for width in sizes[1:-1]]
    student = MLP.random((sizes[0], *hidden, sizes[-1]), "relu", seed=seed)
    X = np.random.default_rng([2, seed]).standard_normal((1000, sizes[0]))
    seen, rows = [], []
    for step, there in sgd(student, teacher, rate, 16, steps, seed, looks=40):
        if progress is not None:
            progress(f"{factor}x students, step {step:,} of {steps:,}")
        seen.append(step)
        rows.append([float(values.mean()) for values in layer_correlations(there, teacher, X)])
    path = np.array(rows)
    way = (path - path[0]) / (1.0 - path[0])
    there = way >= 0.9
    look = int(there.any(axis=1).argmax()) if there.any() else len(way) - 1
    arrival = [seen[int(column.argmax())] if column.any() else math.inf for column in there.T]
    shown = slice(None, None, max(1, len(seen) // 8))
    return Check(
        name="specialization.deep.lowest_first",
        statement="SGD of a deep ReLU student with more nodes than its teacher in every hidden layer: let r "
        "be the mean over teacher nodes of the best correlation with a student node. When the first layer "
        "has gone 0.9 of the way from its first value of r to 1 (or at the end, if none has) it is the "
        "lowest one, ahead of every other by 0.1 at least.",
        source=f"{PAPER}, section 6 and figure 8 (experiment); the measure is this project's",
        parts=[at_least("lead of the lowest layer", way[look, claimed] - np.delete(way[look], claimed), 0.1)],
        computed={
            "teacher": list(sizes),
            "student": list(student.sizes),
            "steps": seen[shown],
            "mean_best_correlation_by_layer": path[shown],
            "at_the_end": path[-1],
            "steps_until_0.9_of_the_way": arrival,
            "share_of_the_way_when_the_first_is_there": way[look],
        },
    )


@register("specialization.deep")
def _deep(size: str, progress: Progress) -> Iterator[Check]:
    if size == "quick":
        yield lowest_first((10, 8, 10, 12, 8), 4, 0.02, 4000, 0, progress)
        return
    for factor, steps in ((2, 60_000), (5, 20_000), (10, 10_000)):
        yield lowest_first((100, 50, 75, 100, 125, 50), factor, 0.01, steps, 0, progress)


@register("specialization.theorem_4")
def _theorem_4(size: str, progress: Progress) -> Iterator[Check]:
    quick = size == "quick"
    teacher = unit_teacher((3, 3, 3, 2), 0)
    yield kinks(teachers.random((3, 5, 5, 2), "relu", seed=1), teacher, 100 if quick else 5000, 2)
    # Seeds of teachers for which a critical student is found within 10 starts: deep ones often get stuck.
    cases = []
    for seed in [1] if quick else [1, 2, 5]:
        progress(f"a deep critical student, seed {seed}")
        cases.append(Case.trained((2, 5, 5, 2), unit_teacher((2, 2, 2, 2), seed), 400, seed))
    yield theorem_4(cases)
    pushed, deeper = [], []
    for hidden in (3, 4) if quick else (1, 2, 3, 4):
        for seed in [1] if quick else range(10):
            progress(f"{hidden} hidden layers, seed {seed}")
            pushed.append(pushed_case(unit_teacher((2,) * (hidden + 2), seed), seed))
    yield theorem_4(pushed, "pushed")
    for more in (1,) if quick else (1, 2):
        for seed in [2] if quick else range(10):
            progress(f"a student with {more} more layers, seed {seed}")
            deeper.append(pushed_case(deepened(unit_teacher((2, 2, 2), seed), more), seed))
    yield theorem_4(deeper, "deeper")
