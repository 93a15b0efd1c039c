"""Which students specialise at points where the gradient of every batch vanishes: Theorems 2 and 3.

Y. Tian, Student Specialization in Deep ReLU Networks With Finite Width and Input Dimension, ICML 2020.
w̃ = (w, b) is a node's weights with its bias, "aligned" means w̃ = λw̃* with λ ≠ 0 of either sign. Node k
"observes" node j if it is active on a part of the boundary of j; the proofs look at the jump of the slope of
its gradient there (`specialization.deep.kinks`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ... import teachers
from ...networks import MLP
from ...run.training import train
from ...solvers import Tsit5
from ..check import Check
from ..registry import Progress, register
from .gradients import PAPER, recursion

VISIBLE = 0.03
"""A boundary with at least this share of the samples on either side is visible in them."""

ALIGNED = 1e-6
"""Sine of the angle to a teacher below which a student is aligned."""

CRITICAL = 1e-11
"""Largest gradient of a sample at a point that counts as critical for every batch."""


def extended(network: MLP) -> np.ndarray:
    """w̃ = (w, b) of the lowest layer, (nodes, d + 1)."""
    bias = network.biases[0]
    column = np.zeros(network.sizes[1]) if bias is None else bias
    return np.column_stack([network.weights[0], column])


def sines(network: MLP, teacher: MLP) -> np.ndarray:
    """|sin| of the angles between w̃_i and w̃*_j, (students, teachers), from the part across the teacher."""
    W, V = extended(network), extended(teacher)
    V = V / np.linalg.norm(V, axis=1, keepdims=True)
    across = W[:, None, :] - (W @ V.T)[:, :, None] * V[None]
    return np.linalg.norm(across, axis=2) / np.linalg.norm(W, axis=1)[:, None]


def boundary_points(network: MLP, X: np.ndarray) -> np.ndarray:
    """The samples moved onto the boundary of each node of the lowest layer, (nodes · samples, d).

    Between samples a student can have a kink that no sample sees; there it shows.
    """
    rows = [X]
    for row in extended(network):
        normal = row[:-1] / np.linalg.norm(row[:-1])
        rows.append(X - np.outer((X @ row[:-1] + row[-1]) / np.linalg.norm(row[:-1]), normal))
    return np.vstack(rows[1:])


def largest_gradient(student: MLP, teacher: MLP, X: np.ndarray) -> float:
    """The largest |g_l| over all layers, the samples, and `boundary_points` of both networks."""
    points = np.vstack([X, boundary_points(student, X[:20]), boundary_points(teacher, X[:20])])
    return max(float(np.abs(layer).max()) for x in points for layer in recursion(student, teacher, x))


def critical_student(
    sizes: tuple[int, ...], teacher: MLP, X: np.ndarray, seed: int, attempts: int = 40
) -> tuple[MLP, int]:
    """A student trained to the end of Float64 at which the gradient of every sample vanishes.

    The training set of the theorems is a region; here it is samples, so that a student counts only if its
    gradient vanishes on `boundary_points` as well. Returns it with the number of starts that were needed;
    the last one tried if none is critical (its check then fails by its gradient).
    """
    solver = Tsit5(rtol=1e-4, atol=1e-6, t1=200.0, max_steps=3000)
    for attempt in range(attempts):
        start = MLP.random(sizes, "relu", seed=np.random.SeedSequence([seed, attempt]))
        student = train(teacher, start, X, solver=solver, progress=False).student
        if largest_gradient(student, teacher, X) <= CRITICAL:
            break
    return student, attempt + 1


def unit_teacher(sizes: tuple[int, ...], seed: int) -> MLP:
    """A random ReLU teacher with |w̃_j| = 1 in the lowest layer and boundaries near the origin."""
    network = teachers.random(sizes, "relu", seed=seed)
    rows = extended(network) * np.append(np.ones(sizes[0]), 0.3)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    weights = [rows[:, :-1], *network.weights[1:]]
    return MLP(weights, [rows[:, -1], *network.biases[1:]], "relu")


def observers(student: MLP, network: MLP, X: np.ndarray) -> np.ndarray:
    """Which students observe which nodes of the lowest layer of `network`, (students, nodes).

    An observer is active on the node's boundary: on `VISIBLE` of the samples moved there at least, of those
    that stay within the reach of X, and clearly (an aligned student has its own boundary there).
    """
    points = boundary_points(network, X).reshape(network.sizes[1], len(X), X.shape[1])
    near = np.linalg.norm(points, axis=2) <= np.linalg.norm(X, axis=1).max()
    W = extended(student)
    active = points @ W[:, :-1].T + W[:, -1] > ALIGNED * np.linalg.norm(W, axis=1)
    counts = (active & near[:, :, None]).sum(axis=1)
    return (counts >= VISIBLE * len(X)).T


def visible(network: MLP, X: np.ndarray) -> np.ndarray:
    """Which nodes of the lowest layer have `VISIBLE` of the samples on either side, (nodes,)."""
    share = (X @ network.weights[0].T + extended(network)[:, -1] > 0).mean(axis=0)
    return np.minimum(share, 1.0 - share) >= VISIBLE


def theorems_2_and_3(student: MLP, teacher: MLP, X: np.ndarray, starts: int = 1) -> Iterator[Check]:
    """At an interpolating two-layer student: observed teachers have students, unaligned groups cancel."""
    g = largest_gradient(student, teacher, X)
    angles = sines(student, teacher)
    W, V = extended(student), student.weights[-1]
    alpha = V.T @ teacher.weights[-1]
    seen = observers(student, teacher, X) & (np.abs(alpha) > 1e-6)
    observed = visible(teacher, X) & seen.any(axis=0)
    yield Check(
        name="specialization.theorem_2",
        statement="At a student whose gradient vanishes for every batch, each teacher node with a "
        "visible boundary that is observed by a student node with alpha_kj = v_k.v*_j != 0 has a student "
        "aligned with it, w = lambda w* (bias included, lambda of either sign); shown at a student "
        "trained until every sample's gradient is rounding.",
        source=f"{PAPER}, Theorem 2 (the sign: this project)",
        computed={
            "student": list(student.sizes),
            "starts_until_critical": starts,
            "teachers_observed": int(observed.sum()),
            "largest_gradient_of_a_sample": g,
            "sines_of_the_best": angles.min(axis=0),
            "students_aligned": int((angles.min(axis=1) < ALIGNED).sum()),
        },
        residual=max(g, float(angles.min(axis=0)[observed].max(initial=0.0))) if observed.any() else np.nan,
        tolerance=1e-9,
    )
    norms = np.linalg.norm(W, axis=1)
    watched = observers(student, student, X)
    free = list(np.flatnonzero((angles.min(axis=1) >= ALIGNED) & visible(student, X)))
    worst, groups, unwatched = 0.0, 0, 0
    while free:
        first = W[free[0]] / norms[free[0]]
        across = W[free] - np.outer(W[free] @ first, first)
        group = [i for i, a in zip(free, across) if np.linalg.norm(a) < ALIGNED * norms[i]]
        values = np.linalg.svd(V[:, watched[:, free[0]]], compute_uv=False)
        if values.size == len(V) and values[-1] > 1e-6 * values[0]:
            worst = max(worst, float(np.abs(V[:, group] @ norms[group]).max()))
            groups += 1
        else:
            unwatched += 1
        free = [i for i in free if i not in group]
    yield Check(
        name="specialization.theorem_3",
        statement="At such a point the unaligned students whose boundary is visible and has as many "
        "observers of independent outgoing weights as there are outputs fall into co-linear groups (both "
        "signs) with sum |w_k| v_k = 0: a student alone has no outgoing weights, and a group can be "
        "pruned up to a linear function of x.",
        source=f"{PAPER}, Theorem 3 (co-linear over both signs, and the linear remainder: this project)",
        computed={
            "student": list(student.sizes),
            "starts_until_critical": starts,
            "unaligned_groups": groups,
            "groups_with_too_few_observers": unwatched,
            "largest_sum_of_a_group": worst,
            "largest_gradient_of_a_sample": g,
        },
        residual=max(g, worst),
        tolerance=1e-9,
    )


def linear_remainder(teacher: MLP, X: np.ndarray, scale: float = 1.0) -> Check:
    """Three pairs relu(u·x) − relu(−u·x) = u·x, u = e1, e2, −(e1 + e2), cancel only together."""
    dim = X.shape[1]
    units = np.zeros((3, dim))
    units[0, 0] = units[1, 1] = 1.0
    units[2, :2] = -scale
    W = np.vstack([teacher.weights[0], units, -units])
    column = np.ones((teacher.sizes[-1], 3))
    A = np.hstack([teacher.weights[1], column, -column])
    bias = np.append(extended(teacher)[:, -1], np.zeros(6))
    student = MLP([W, A], [bias, teacher.biases[1]], "relu")
    g = max(float(np.abs(layer).max()) for x in X for layer in recursion(student, teacher, x))
    k = teacher.sizes[1]
    kept = A.copy()
    kept[:, [k, k + 3]] = 0.0
    change = MLP([W, kept], [bias, teacher.biases[1]], "relu")(X) - teacher(X)
    fit = X @ np.linalg.lstsq(X, change, rcond=None)[0]
    return Check(
        name="specialization.theorem_3.remainder",
        statement="Pruning one group can leave a linear function: with the pairs relu(u.x) - relu(-u.x) "
        "for u = e1, e2, -(e1+e2) the gradient vanishes for every sample, each pair has sum |w| v = 0, "
        "and taking one pair away changes the output by a linear function that is not zero.",
        source="derived",
        computed={
            "change": float(np.abs(change).max()),
            "change_not_linear": float(np.abs(change - fit).max()),
        },
        residual=max(g, float(np.abs(change - fit).max()), 0.0 if np.abs(change).max() > 0.1 else 1.0),
        tolerance=1e-12,
    )


@register("specialization.theorem_2")
def _theorem_2(size: str, progress: Progress) -> Iterator[Check]:
    cases = [(2, 2, 5, 2, 300, 1)] if size == "quick" else [
        (d, k, m * k, 3, 1000, s) for d, k in ((2, 2), (3, 3), (4, 3)) for m in (2, 3, 5) for s in range(5)
    ]  # fmt: skip
    for dim, width, students, outputs, samples, seed in cases:
        progress(f"{students} students of {width} teachers")
        teacher = unit_teacher((dim, width, outputs), seed)
        X = np.random.default_rng(seed).standard_normal((samples, dim))
        student, starts = critical_student((dim, students, outputs), teacher, X, seed)
        yield next(iter(theorems_2_and_3(student, teacher, X, starts)))


@register("specialization.theorem_3")
def _theorem_3(size: str, progress: Progress) -> Iterator[Check]:
    seeds = range(2) if size == "quick" else range(20)
    for seed in seeds:
        teacher = unit_teacher((3, 2, 3), seed)
        X = np.random.default_rng(seed).standard_normal((300, 3))
        student, starts = critical_student((3, 6, 3), teacher, X, seed)
        yield list(theorems_2_and_3(student, teacher, X, starts))[1]
    yield linear_remainder(teacher, X)
