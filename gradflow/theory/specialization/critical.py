"""Which students specialise at points where the gradient of every batch vanishes: Theorems 2 and 3.

Y. Tian, Student Specialization in Deep ReLU Networks With Finite Width and Input Dimension, ICML 2020.
w̃ = (w, b) is a node's weights with its bias, "aligned" means w̃ = λw̃* with λ ≠ 0 of either sign. Node k
"observes" node j if it is active on a part of the boundary of j; the proofs look at the jump of the slope of
its gradient there (`specialization.deep.kinks`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from ... import teachers
from ...networks import MLP
from ...run.training import train
from ...solvers import Tsit5
from ..check import Check, at_least, at_most
from ..geometry import sines
from ..registry import Progress, register
from .gradients import PAPER, recursion

__all__ = [
    "ALIGNED",
    "CRITICAL",
    "SAME_DIRECTION",
    "VISIBLE",
    "Case",
    "boundary_points",
    "critical_student",
    "extended",
    "largest_gradient",
    "linear_remainder",
    "observers",
    "theorem_2",
    "theorem_3",
    "unit_teacher",
    "visible",
]


def __dir__() -> list[str]:
    return sorted(__all__)


VISIBLE = 0.03
"""A boundary with at least this share of the samples on either side is visible in them."""

ALIGNED = 1e-6
"""Sine of the angle to a teacher below which a student is aligned."""

CRITICAL = 1e-13
"""Largest gradient of a sample at a point that counts as critical for every batch."""

SAME_DIRECTION = 1e-13
"""Largest sine of the angle between a teacher and the student that is aligned with it at such a point."""


def extended(network: MLP) -> np.ndarray:
    """The rows w̃ = (w, b) of the lowest layer.

    Parameters
    ----------
    network : MLP
        With biases there.

    Returns
    -------
    ndarray, shape (nodes, d + 1)

    Examples
    --------
    >>> extended(gf.MLP([[[1.0, 0.0]], [[1.0]]], [[-0.5], None], "relu"))
    array([[ 1. ,  0. , -0.5]])
    """
    bias = network.biases[0]
    column = np.zeros(network.sizes[1]) if bias is None else bias
    return np.column_stack([network.weights[0], column])


def boundary_points(network: MLP, X: np.ndarray) -> np.ndarray:
    """Samples moved onto the boundary of each node of the lowest layer.

    Between samples a student can have a kink that no sample sees; there it shows.

    Parameters
    ----------
    network : MLP
        Whose nodes.
    X : ndarray, shape (samples, d)
        The samples.

    Returns
    -------
    ndarray, shape (nodes · samples, d)

    Examples
    --------
    >>> network = gf.MLP([[[1.0, 0.0]], [[1.0]]], [[-0.5], None], "relu")
    >>> boundary_points(network, np.array([[2.0, 3.0]]))
    array([[0.5, 3. ]])
    """
    rows = [X]
    for row in extended(network):
        normal = row[:-1] / np.linalg.norm(row[:-1])
        rows.append(X - np.outer((X @ row[:-1] + row[-1]) / np.linalg.norm(row[:-1]), normal))
    return np.vstack(rows[1:])


def largest_gradient(student: MLP, teacher: MLP, X: np.ndarray) -> float:
    """The largest |g_l| over all layers, the samples, and `boundary_points` of both networks.

    Parameters
    ----------
    student, teacher : MLP
        Of ReLU, with biases.
    X : ndarray, shape (samples, d)
        The samples.

    Returns
    -------
    float

    Examples
    --------
    >>> teacher = unit_teacher((2, 2, 1), seed=0)
    >>> largest_gradient(teacher, teacher, np.eye(2))
    0.0
    """
    points = np.vstack([X, boundary_points(student, X[:20]), boundary_points(teacher, X[:20])])
    return max(float(np.abs(layer).max()) for x in points for layer in recursion(student, teacher, x))


def critical_student(
    sizes: tuple[int, ...], teacher: MLP, X: np.ndarray, seed: int, attempts: int = 40
) -> tuple[MLP, int]:
    """A student trained to the end of Float64 at which the gradient of every sample vanishes.

    Parameters
    ----------
    sizes : tuple of int
        Of the student.
    teacher : MLP
        Of ReLU.
    X : ndarray, shape (samples, inputs)
        The samples.
    seed, attempts : int
        Of the starts, and how many are tried.

    Returns
    -------
    student : MLP
        The last one tried if none is critical (its check then fails by its gradient).
    starts : int
        The number of starts that were needed.

    Notes
    -----
    The training set of the theorems is a region; here it is samples, so that a student counts only if its
    gradient vanishes on `boundary_points` as well.

    Examples
    --------
    >>> teacher = unit_teacher((2, 1, 1), seed=0)
    >>> student, starts = critical_student((2, 1, 1), teacher, np.eye(2), seed=0, attempts=1)
    >>> student.sizes
    (2, 1, 1)
    """
    solver = Tsit5(rtol=1e-4, atol=1e-6, t1=200.0, max_steps=3000)
    for attempt in range(attempts):
        start = MLP.random(sizes, "relu", seed=np.random.SeedSequence([seed, attempt]))
        student = train(teacher, start, X, solver=solver, progress=False).student
        if largest_gradient(student, teacher, X) <= CRITICAL:
            break
    return student, attempt + 1


def unit_teacher(sizes: tuple[int, ...], seed: int) -> MLP:
    """A random ReLU teacher with |w̃_j| = 1 in the lowest layer and boundaries near the origin.

    Parameters
    ----------
    sizes : tuple of int
        Of its layers.
    seed : int
        Of the draw.

    Returns
    -------
    MLP

    Examples
    --------
    >>> np.linalg.norm(extended(unit_teacher((2, 3, 1), seed=0)), axis=1).round(12)
    array([1., 1., 1.])
    """
    network = teachers.random(sizes, "relu", seed=seed)
    rows = extended(network) * np.append(np.ones(sizes[0]), 0.3)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    weights = [rows[:, :-1], *network.weights[1:]]
    return MLP(weights, [rows[:, -1], *network.biases[1:]], "relu")


def observers(student: MLP, network: MLP, X: np.ndarray) -> np.ndarray:
    """Which students observe which nodes of the lowest layer of a network.

    An observer is active on the node's boundary: on `VISIBLE` of the samples moved there at least, of those
    that stay within the reach of X, and clearly (an aligned student has its own boundary there).

    Parameters
    ----------
    student, network : MLP
        Of ReLU, with biases.
    X : ndarray, shape (samples, d)
        The samples.

    Returns
    -------
    ndarray of bool, shape (students, nodes)

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((50, 2))
    >>> observers(unit_teacher((2, 3, 1), seed=1), unit_teacher((2, 2, 1), seed=0), X).shape
    (3, 2)
    """
    points = boundary_points(network, X).reshape(network.sizes[1], len(X), X.shape[1])
    near = np.linalg.norm(points, axis=2) <= np.linalg.norm(X, axis=1).max()
    W = extended(student)
    active = points @ W[:, :-1].T + W[:, -1] > ALIGNED * np.linalg.norm(W, axis=1)
    counts = (active & near[:, :, None]).sum(axis=1)
    return (counts >= VISIBLE * len(X)).T


def visible(network: MLP, X: np.ndarray) -> np.ndarray:
    """Which nodes of the lowest layer have `VISIBLE` of the samples on either side.

    Parameters
    ----------
    network : MLP
        Of ReLU, with biases.
    X : ndarray, shape (samples, d)
        The samples.

    Returns
    -------
    ndarray of bool, shape (nodes,)

    Examples
    --------
    >>> visible(unit_teacher((2, 2, 1), seed=0), np.random.default_rng(0).standard_normal((100, 2)))
    array([ True,  True])
    """
    share = (X @ network.weights[0].T + extended(network)[:, -1] > 0).mean(axis=0)
    return np.minimum(share, 1.0 - share) >= VISIBLE


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A student that was trained until every sample's gradient is rounding: what the theorems speak of.

    Parameters
    ----------
    student, teacher : MLP
        Of ReLU, with biases.
    X : ndarray (samples, inputs)
        The samples.
    starts : int
        How many starts it took to find one.

    Examples
    --------
    >>> teacher = unit_teacher((2, 1, 1), seed=0)
    >>> Case(teacher, teacher, np.eye(2)).starts
    1
    """

    student: MLP
    teacher: MLP
    X: np.ndarray
    starts: int = 1

    @classmethod
    def trained(cls, sizes: tuple[int, ...], teacher: MLP, samples: int, seed: int) -> Case:
        """The student of these `sizes` that `critical_student` finds on standard Gaussian samples.

        Parameters
        ----------
        sizes : tuple of int
            Of the student.
        teacher : MLP
            Of ReLU, with biases.
        samples, seed : int
            Their number, and of their draw and the starts.

        Returns
        -------
        Case
        """
        X = np.random.default_rng(seed).standard_normal((samples, sizes[0]))
        student, starts = critical_student(sizes, teacher, X, seed)
        return cls(student, teacher, X, starts)

    @cached_property
    def gradient(self) -> float:
        """The largest gradient of a sample, by `largest_gradient`."""
        return largest_gradient(self.student, self.teacher, self.X)

    @cached_property
    def sines(self) -> np.ndarray:
        """|sin| of the angles between w̃_i and w̃*_j of the lowest layers, (students, teachers)."""
        return sines(extended(self.student), extended(self.teacher))

    def observed(self) -> np.ndarray:
        """Which teachers are visible and have an observer with α_kj = v_k·v*_j ≠ 0, of two layers."""
        alpha = self.student.weights[-1].T @ self.teacher.weights[-1]
        seen = observers(self.student, self.teacher, self.X) & (np.abs(alpha) > 1e-6)
        return visible(self.teacher, self.X) & seen.any(axis=0)

    def group_sums(self) -> tuple[list[float], int]:
        """|Σ |w_k| v_k| of the co-linear groups of visible unaligned students with enough observers.

        Also the number of groups with fewer observers of independent outgoing weights than outputs.
        """
        W, V = extended(self.student), self.student.weights[-1]
        norms = np.linalg.norm(W, axis=1)
        watched = observers(self.student, self.student, self.X)
        free = list(np.flatnonzero((self.sines.min(axis=1) >= ALIGNED) & visible(self.student, self.X)))
        sums, unwatched = [], 0
        while free:
            along = sines(W[free], W[free[:1]])[:, 0]
            group = [i for i, sine in zip(free, along) if sine < ALIGNED]
            values = np.linalg.svd(V[:, watched[:, free[0]]], compute_uv=False)
            if values.size == len(V) and values[-1] > 1e-6 * values[0]:
                sums.append(float(np.abs(V[:, group] @ norms[group]).max()))
            else:
                unwatched += 1
            free = [i for i in free if i not in group]
        return sums, unwatched

    def described(self) -> dict:
        """Its sizes, and how many starts it took."""
        return {"student": list(self.student.sizes), "starts": self.starts}


def theorem_2(cases: Sequence[Case]) -> Check:
    """At students whose gradient vanishes for every batch, observed teachers have aligned students."""
    return Check(
        name="specialization.theorem_2",
        statement="At a student whose gradient vanishes for every batch, each teacher node with a "
        "visible boundary that is observed by a student node with alpha_kj = v_k.v*_j != 0 has a student "
        "aligned with it, w = lambda w* (bias included, lambda of either sign); shown at students "
        "trained until every sample's gradient is rounding.",
        source=f"{PAPER}, Theorem 2 (the sign: this project)",
        parts=[
            at_most("|g| of a sample", [case.gradient for case in cases], CRITICAL),
            at_most(
                "sine of an observed teacher to its student",
                [sine for case in cases for sine in case.sines.min(axis=0)[case.observed()]],
                SAME_DIRECTION,
            ),
        ],
        computed={"cases": [case.described() for case in cases]},
    )


def theorem_3(cases: Sequence[Case]) -> Check:
    """There, groups of unaligned students cancel."""
    found = [case.group_sums() for case in cases]
    return Check(
        name="specialization.theorem_3",
        statement="At such a point the unaligned students whose boundary is visible and has as many "
        "observers of independent outgoing weights as there are outputs fall into co-linear groups (both "
        "signs) with sum |w_k| v_k = 0: a student alone has no outgoing weights, and a group can be "
        "pruned up to a linear function of x.",
        source=f"{PAPER}, Theorem 3 (co-linear over both signs, and the linear remainder: this project)",
        parts=[
            at_most("|g| of a sample", [case.gradient for case in cases], CRITICAL),
            at_most("|sum |w_k| v_k| of a group", [value for sums, _ in found for value in sums], 1e-13),
        ],
        computed={
            "cases": [
                case.described() | {"groups": len(sums), "groups with too few observers": few}
                for case, (sums, few) in zip(cases, found)
            ]
        },
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
    signals = [float(np.abs(layer).max()) for x in X for layer in recursion(student, teacher, x)]
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
        parts=[
            at_most("|g| of a sample", signals, 1e-13),
            at_most("what is not linear in the change of f", np.abs(change - fit), 1e-13),
            at_least("largest change of f", np.abs(change).max(), 1.0, cases=len(change)),
        ],
        computed={"student": list(student.sizes)},
    )


@register("specialization.theorem_2")
def _theorem_2(size: str, progress: Progress) -> Check:
    sizes = [(2, 2, 5, 2, 300, 1)] if size == "quick" else [
        (d, k, m * k, 3, 1000, s) for d, k in ((2, 2), (3, 3), (4, 3)) for m in (2, 3, 5) for s in range(5)
    ]  # fmt: skip
    cases = []
    for dim, width, students, outputs, samples, seed in sizes:
        progress(f"{students} students of {width} teachers, seed {seed}")
        teacher = unit_teacher((dim, width, outputs), seed)
        cases.append(Case.trained((dim, students, outputs), teacher, samples, seed))
    return theorem_2(cases)


@register("specialization.theorem_3")
def _theorem_3(size: str, progress: Progress) -> Iterator[Check]:
    cases = []
    for seed in range(2 if size == "quick" else 20):
        progress(f"unaligned students, seed {seed}")
        cases.append(Case.trained((3, 6, 3), unit_teacher((3, 2, 3), seed), 300, seed))
    yield theorem_3(cases)
    yield linear_remainder(cases[0].teacher, cases[0].X)
