"""Trajectories guided by saddles: how near a flow comes to the copy-average points of every partition.

A CA point of m ≤ n buckets is a saddle (or minimum) of n students too, where students share a bucket's
neuron. In function space all of them are Σ_S g_S over the buckets S of a partition of the teachers, g_S the
best erf neuron for S; buckets are orthogonal, E g_S g_S' = 0, so that the distance of a student f to each,

    E(f − Σ_S g_S)² = E f² + Σ_S (E g_S² − 2 E f g_S),

is a sum over buckets: all set partitions (Bell's number of them) are compared at each time.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ... import solvers
from ...networks import MLP
from ...run.training import train
from ...teachers import orthonormal
from ..check import Check, at_least, at_most
from ..registry import Progress, register
from .configurations import SOURCE, one_neuron

__all__ = [
    "Passage",
    "check_guided",
    "distances",
    "passage",
    "set_partitions",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def set_partitions(k: int) -> list[tuple[tuple[int, ...], ...]]:
    """All partitions of the set {0, …, k − 1}.

    Parameters
    ----------
    k : int
        Its size.

    Returns
    -------
    list of tuples of tuples of int

    Examples
    --------
    >>> [len(set_partitions(k)) for k in (1, 2, 3, 4, 5)]
    [1, 2, 5, 15, 52]
    """
    if k == 0:
        return [()]
    found = []
    for smaller in set_partitions(k - 1):
        found += [
            tuple((*block, k - 1) if i == j else block for j, block in enumerate(smaller))
            for i in range(len(smaller))
        ]
        found.append((*smaller, (k - 1,)))
    return found


def _kernel(W: np.ndarray, V: np.ndarray) -> np.ndarray:
    """E σ(w·x) σ(v·x) of erf for all rows: (2/π) asin(w·v/√((1 + |w|²)(1 + |v|²)))."""
    own, other = 1.0 + np.square(W).sum(axis=1), 1.0 + np.square(V).sum(axis=1)
    return 2.0 / math.pi * np.arcsin(W @ V.T / np.sqrt(np.outer(own, other)))


def distances(students: Sequence[MLP], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Relative distances in function space of students to the CA points of every partition.

    Parameters
    ----------
    students : sequence of MLP
        Of erf, in inputs whose first k axes are the teachers.
    k : int
        Teachers.

    Returns
    -------
    found : ndarray, shape (students, partitions)
        √(E(f − f_CA)²/E f*²), the partitions as in `set_partitions(k)`.
    sizes : ndarray of int, shape (partitions,)
        The number of buckets of each.

    Examples
    --------
    >>> found, sizes = distances([gf.teachers.orthonormal(3, 4)], 3)
    >>> bool(found[0, sizes == 3][0] < 1e-7), int(sizes.size)
    (True, 5)
    """
    partitions = set_partitions(k)
    buckets = sorted({bucket for partition in partitions for bucket in partition})
    at = {bucket: i for i, bucket in enumerate(buckets)}
    V, c = np.zeros((len(buckets), students[0].sizes[0])), np.zeros(len(buckets))
    for i, bucket in enumerate(buckets):
        neuron = one_neuron(len(bucket))
        V[i, list(bucket)], c[i] = neuron.norm / math.sqrt(len(bucket)), neuron.output
    own = c**2 * np.diag(_kernel(V, V))
    chosen = np.zeros((len(partitions), len(buckets)))
    for row, partition in zip(chosen, partitions):
        row[[at[bucket] for bucket in partition]] = 1.0
    rows = []
    for student in students:
        W, a = student.weights[0], student.weights[1][0]
        cross = c * (a @ _kernel(W, V))
        rows.append(a @ _kernel(W, W) @ a + chosen @ (own - 2.0 * cross))
    squares = np.maximum(np.array(rows), 0.0) / (k / 3.0)  # E f*² = k/3
    return np.sqrt(squares), chosen.sum(axis=1).astype(int)


@dataclasses.dataclass(frozen=True, eq=False)
class Passage:
    """One trajectory and its nearest CA points.

    Attributes
    ----------
    times, losses : ndarray, shape (looks,)
        Of the flow.
    nearest : ndarray, shape (looks, n)
        The relative distance to the nearest CA point of 1 … n buckets.

    Examples
    --------
    >>> passage(3, 2, seed=0).nearest.shape[1]
    2
    """

    times: np.ndarray
    losses: np.ndarray
    nearest: np.ndarray

    @property
    def closest(self) -> np.ndarray:
        """The smallest distance to a CA point of 1 … n buckets along the way, (n,)."""
        return self.nearest.min(axis=0)


def passage(k: int, n: int, seed: int, scale: float = 1.0, looks: int = 200) -> Passage:
    """The flow of one Glorot start, and how near it comes to CA points.

    Parameters
    ----------
    k, n : int
        Teachers and students, n ≤ k.
    seed : int
        Of the start.
    scale : float, default 1
        Of the start's weights.
    looks : int, default 200
        At times in geometric order.

    Returns
    -------
    Passage

    Examples
    --------
    >>> bool(passage(3, 2, seed=0).closest[1] < 1e-4)  # the end is the one with two buckets
    True
    """
    start = MLP.random((k + 1, n, 1), "erf", False, seed=seed)
    start = start.with_flat(scale * start.flat())
    solver = solvers.KenCarp58(rtol=1e-7, atol=1e-9, gtol=1e-8)
    flow = train(orthonormal(k, k + 1), start, solver=solver, refiner=None, progress=False).flow
    assert flow is not None
    times = np.geomspace(1e-2, flow.times[-1], looks)
    students = [start.with_flat(flow.at(t)) for t in times]
    found, sizes = distances(students, k)
    nearest = np.array([found[:, sizes == m].min(axis=1) for m in range(1, n + 1)]).T
    return Passage(times, np.interp(times, flow.times, flow.losses), nearest)


def check_guided(
    seeds: int,
    k: int = 6,
    widths: Sequence[int] = (3, 5),
    scales: Sequence[float] = (1.0, 1e-3),
    near: float = 0.35,
    progress: Progress | None = None,
) -> Check:
    """How near flows pass the CA points of fewer buckets, from Glorot starts and from small ones.

    Parameters
    ----------
    seeds : int
        Starts of each width and scale.
    k, widths : int and sequence of int
        Teachers and students.
    scales : sequence of float
        Of the starts; the last one is the small one.
    near : float, default 0.35
        The claimed median of the first saddle's distance from small starts, over its distance from the end.

    Returns
    -------
    Check
    """
    ratios: dict[float, list] = {scale: [] for scale in scales}
    order, ends, shown = [], [], {}
    for n in widths:
        for scale in scales:
            found = []
            for seed in range(seeds):
                if progress is not None:
                    progress(f"{n} students of {k} teachers from {scale:g} of Glorot's size, seed {seed}")
                there = passage(k, n, seed, scale)
                found.append(there.closest[:-1] / there.nearest[-1, :-1])
                if scale == scales[-1]:
                    looks = there.nearest[:, :-1].argmin(axis=0)
                    order.append(bool((np.diff(looks) >= 0).all()))
                if 2 * n <= k:
                    ends.append(float(there.nearest[-1, -1]))
            ratios[scale] += [row[0] for row in found]
            shown[f"n = {n}, {scale:g} of Glorot's size"] = np.median(found, axis=0)
    return Check(
        name="copy_average.guided",
        statement=f"Flows to {k} teachers pass the copy-average points of 1, 2, … buckets one after the "
        "other. How near depends on the start: in units of the distance that the end has from it, the "
        "point of one bucket is passed at a fraction from small starts, and hardly nearer than the end is "
        "from Glorot's: these saddles guide training that starts small.",
        source=f"{SOURCE}: trajectories are guided by saddles (in words); measured",
        parts=[
            at_most(
                "median for one bucket, small starts",
                float(np.median(ratios[scales[-1]])),
                near,
                len(ratios[scales[-1]]),
            ),
            at_least(
                "median for one bucket, Glorot's",
                float(np.median(ratios[scales[0]])),
                0.5,
                len(ratios[scales[0]]),
            ),
            at_least(
                "share of small starts that pass them in order", float(np.mean(order)), 0.9, cases=len(order)
            ),
            at_most("distance of the end from C-A optimal, n ≤ k/2", ends, 1e-5),
        ],
        computed={"median closest distance over that of the end, by buckets": shown},
    )


@register("copy_average.guided")
def _guided(size: str, progress: Progress) -> Check:
    if size == "quick":
        return check_guided(4, progress=progress)
    return check_guided(50, 7, (2, 3, 5, 6), (1.0, 1e-1, 1e-2, 1e-3), progress=progress)
