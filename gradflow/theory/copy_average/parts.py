"""Training by parts (the proposal of the source's text): partition, train each neuron alone, combine, go on.

Orthogonal erf teachers r_j v_j with output weights c_j. Each student neuron is trained on the teachers of its
bucket alone, a problem of one neuron; the neurons together are the student, whose training goes on from
there. For equal teachers the combined point is critical and the best partition is known. For unequal ones
the loss of a partition is (nearly) the sum of its buckets', and the best partition of all is found by
dynamic programming over subsets, exact for any bucket loss, or over runs of sorted teachers, exact where
such a run is best.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy.optimize

from ... import solvers
from ...losses.problem import Problem
from ...networks import MLP
from ...run.training import train
from ...teachers import orthonormal
from ..check import Check, at_least, at_most, never
from ..registry import Progress, register
from .configurations import SOURCE, one_neuron

__all__ = [
    "Partition",
    "best_of_runs",
    "best_of_subsets",
    "bucket_neuron",
    "check_equal",
    "check_unequal",
    "combined",
    "teachers_of",
]


def __dir__() -> list[str]:
    return sorted(__all__)


FLOW = solvers.KenCarp58(rtol=1e-6, atol=1e-8, gtol=1e-6)


class Partition(NamedTuple):
    """Teachers in buckets.

    Attributes
    ----------
    loss : float
        The sum of the buckets'.
    buckets : tuple of tuples of int
        Indices of teachers.

    Examples
    --------
    >>> Partition(0.0, ((0,), (1,))).buckets
    ((0,), (1,))
    """

    loss: float
    buckets: tuple[tuple[int, ...], ...]


def bucket_neuron(
    norms: Sequence[float] | np.ndarray, outputs: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, float, float]:
    """One erf neuron trained on a bucket of orthogonal teachers r_j e_j with output weights c_j.

    Parameters
    ----------
    norms, outputs : sequence of float
        r_j > 0 and c_j.

    Returns
    -------
    w : ndarray, shape (ℓ,)
    a : float
    loss : float
        The lowest of those found from the mean and from each teacher alone.

    Notes
    -----
    a eliminated: L = E f*² − (Σ_j c_j K_j)²/K, K_j = (2/π) asin(w_j r_j/√((1 + |w|²)(1 + r_j²))), K the same
    of w with itself. Minimised over w by BFGS, finished by a root of the gradient.

    Examples
    --------
    >>> w, a, loss = bucket_neuron([1.0, 1.0], [1.0, 1.0])
    >>> bool(abs(loss - one_neuron(2).loss) < 1e-12)
    True
    """
    r, c = np.asarray(norms, dtype=np.float64), np.asarray(outputs, dtype=np.float64)
    size_of_outputs = float(np.abs(c).max())  # the minimiser's tolerances are for outputs of order one
    c = c / size_of_outputs
    scaled = r / np.sqrt(1.0 + r * r)
    total = float(2.0 / math.pi * np.sum(c * c * np.arcsin(scaled * scaled)))
    if r.size == 1:
        return r.copy(), size_of_outputs * float(c[0]), 0.0

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        size = 1.0 + w @ w
        s = w * scaled / math.sqrt(size)
        own = math.asin((size - 1.0) / size)
        cross = float(c @ np.arcsin(s))
        slopes = c / np.sqrt(1.0 - s * s)
        by_w = slopes * scaled / math.sqrt(size) - float(slopes @ s) / size * w
        by_own = 2.0 * w / (size * math.sqrt(2.0 * size - 1.0))
        gradient = -2.0 * cross / own * by_w + (cross / own) ** 2 * by_own
        return total - 2.0 / math.pi * cross**2 / own, 2.0 / math.pi * gradient

    starts = [c * r / (2.0 * np.abs(c * r).sum()), *(np.eye(r.size) * r)]
    ends = [
        scipy.optimize.minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-10})
        for start in starts
    ]
    w = min(ends, key=lambda end: end.fun).x
    # BFGS ends at the rounding of L; the root of the gradient has all digits.
    root = scipy.optimize.root(lambda at: loss(at)[1], w, tol=1e-14).x
    w = root if np.abs(loss(root)[1]).max() < np.abs(loss(w)[1]).max() else w
    size = 1.0 + w @ w
    a = float(c @ np.arcsin(w * scaled / math.sqrt(size))) / math.asin((size - 1.0) / size)
    return w, size_of_outputs * a, size_of_outputs**2 * loss(w)[0]


def teachers_of(norms: Sequence[float] | np.ndarray, outputs: Sequence[float] | np.ndarray) -> MLP:
    """The teacher Σ_j c_j σ(r_j e_j·x) with one input more than nodes.

    Parameters
    ----------
    norms, outputs : sequence of float
        r_j and c_j.

    Returns
    -------
    MLP

    Examples
    --------
    >>> teachers_of([1.0, 2.0], [1.0, 3.0]).sizes
    (3, 2, 1)
    """
    k = len(norms)
    return MLP([np.asarray(norms)[:, None] * np.eye(k, k + 1), [list(outputs)]], None, "erf")


def combined(
    buckets: Sequence[Sequence[int]],
    norms: Sequence[float] | np.ndarray,
    outputs: Sequence[float] | np.ndarray,
) -> MLP:
    """The student whose neurons were trained on one bucket each.

    Parameters
    ----------
    buckets : sequence of sequences of int
        Indices of teachers.
    norms, outputs : sequence of float
        Of all teachers.

    Returns
    -------
    MLP

    Examples
    --------
    >>> combined([[0], [1, 2]], [1.0] * 3, [1.0] * 3).sizes
    (4, 2, 1)
    """
    r, c = np.asarray(norms, dtype=np.float64), np.asarray(outputs, dtype=np.float64)
    W, A = np.zeros((len(buckets), r.size + 1)), np.zeros((1, len(buckets)))
    for i, bucket in enumerate(buckets):
        inside = list(bucket)
        W[i, inside], A[0, i], _ = bucket_neuron(r[inside], c[inside])
    return MLP([W, A], None, "erf")


def best_of_subsets(k: int, n: int, loss: Callable[[tuple[int, ...]], float]) -> Partition:
    """The best partition of k teachers into n buckets, whatever a bucket's loss is.

    By dynamic programming over subsets.

    Parameters
    ----------
    k, n : int
        Teachers and buckets; 3^k n/2 steps.
    loss : callable
        Bucket (indices) → its loss; called once for each subset.

    Returns
    -------
    Partition

    Examples
    --------
    >>> best_of_subsets(4, 2, lambda bucket: (len(bucket) - 2.0) ** 2 + abs(sum(bucket) - 3.0)).buckets
    ((0, 3), (1, 2))
    """
    members = [tuple(j for j in range(k) if mask >> j & 1) for mask in range(1 << k)]
    value = np.array([0.0, *(loss(inside) for inside in members[1:])])
    best = np.full(1 << k, np.inf)
    best[0] = 0.0
    choices = []
    for _ in range(n):
        grown, chosen = np.full(1 << k, np.inf), np.zeros(1 << k, dtype=int)
        for mask in range(1, 1 << k):
            lowest = mask & -mask
            rest = part = mask ^ lowest
            while True:  # all subsets that hold the lowest teacher
                bucket = part | lowest
                total = value[bucket] + best[mask ^ bucket]
                if total < grown[mask]:
                    grown[mask], chosen[mask] = total, bucket
                if part == 0:
                    break
                part = (part - 1) & rest
        best = grown
        choices.append(chosen)
    buckets, mask = [], (1 << k) - 1
    for chosen in reversed(choices):
        buckets.append(members[chosen[mask]])
        mask ^= int(chosen[mask])
    return Partition(float(best[-1]), tuple(sorted(buckets)))


def best_of_runs(k: int, n: int, loss: Callable[[tuple[int, ...]], float]) -> Partition:
    """The best partition of teachers 0 … k − 1 into n runs of neighbours, by dynamic programming.

    Parameters
    ----------
    k, n, loss
        As in `best_of_subsets`; k² n/2 steps, k²/2 bucket losses.

    Returns
    -------
    Partition

    Examples
    --------
    >>> best_of_runs(4, 2, lambda bucket: (len(bucket) - 2.0) ** 2).buckets
    ((0, 1), (2, 3))
    """
    value = {(i, j): loss(tuple(range(i, j))) for i in range(k) for j in range(i + 1, k + 1)}
    best = np.full(k + 1, np.inf)
    best[0] = 0.0
    choices = []
    for _ in range(n):
        totals = [[best[i] + value[i, j] for i in range(j)] or [np.inf] for j in range(k + 1)]
        choices.append([int(np.argmin(row)) for row in totals])
        best = np.array([min(row) for row in totals])
    buckets, end = [], k
    for chosen in reversed(choices):
        buckets.append(tuple(range(chosen[end], end)))
        end = chosen[end]
    return Partition(float(best[k]), tuple(sorted(buckets)))


def check_equal(
    cases: Sequence[tuple[int, int]],
    wholes: int = 3,
    largest: int = 1000,
    progress: Progress | None = None,
    stretch: float = 1.0,
) -> Check:
    """Equal teachers: parts combined against training whole, and the combined point at large k.

    Parameters
    ----------
    cases : sequence of (int, int)
        k and n where the whole is trained too.
    wholes : int, default 3
        Starts of the whole.
    largest : int, default 1000
        k of the largest combined point, n = k/2.
    progress : callable, optional
        Told between cases.
    stretch : float, default 1.0
        Of the neurons' lengths before they are combined.

    Returns
    -------
    Check
    """
    above, gained, times, gradients, losses = [], [], {}, [], []
    for k, n in cases:
        if progress is not None:
            progress(f"{n} neurons for {k} teachers, in parts and whole")
        ones = np.ones(k)
        began = time.process_time()
        buckets = [(j,) for j in range(n - 1)] + [tuple(range(n - 1, k))]
        student = combined(buckets, ones, ones)
        parts_done = time.process_time()
        W = student.weights[0] + 1e-4 * np.random.default_rng(k).standard_normal(student.weights[0].shape)
        tuned = train(
            teachers_of(ones, ones), MLP([W, student.weights[1]], None, "erf"), solver=FLOW, progress=False
        )
        tuned_done = time.process_time()
        found = [
            train(
                orthonormal(k, k + 1),
                MLP.random((k + 1, n, 1), "erf", False, seed=s),
                solver=FLOW,
                progress=False,
            )
            for s in range(wholes)
        ]
        whole_done = time.process_time()
        best = min(result.loss for result in found)
        claimed = (one_neuron(k - n + 1).loss) if n < k else 0.0
        above.append((tuned.loss - best) / claimed)
        gained.append((claimed - tuned.loss) / claimed)
        times[f"{n} of {k}"] = [
            parts_done - began,
            tuned_done - parts_done,
            (whole_done - tuned_done) / wholes,
        ]
    for k in (20, 100, largest):
        n = k // 2
        neuron = one_neuron(k - n + 1)
        W, A = np.eye(n, k), np.ones((1, n))
        W[-1], A[0, -1] = 0.0, neuron.output
        W[-1, n - 1 :] = stretch * neuron.norm / math.sqrt(k - n + 1)
        problem = Problem(orthonormal(k, k), MLP([W, A], None, "erf"))
        loss, slope = problem.loss_and_gradient(problem.theta0)
        gradients.append(float(np.abs(slope).max()) / k)
        losses.append(abs(loss - neuron.loss) / k)
    return Check(
        name="copy_average.parts.equal",
        statement="Equal teachers: neurons trained on their buckets alone and combined are the C-A optimal "
        f"point, whose gradient is rounding up to k = {largest}, n = k/2. Training that goes on from there "
        "(pushed by 1e-4) ends no higher than the best of several trainings of the whole.",
        source=f"{SOURCE}, proposal (combinatorial training); measured",
        parts=[
            at_most("(L by parts − best L of the whole)/L(C-A)", above, 1e-9),
            at_least("what going on has gained over L(C-A)", gained, -1e-9),
            at_most("|∇L|_∞/k of combined points", gradients, 1e-13),
            at_most("|L − L(bucket)|/k of combined points", losses, 1e-13),
        ],
        computed={"seconds: parts, going on, one training of the whole": times, "gained": gained},
    )


def check_unequal(
    seeds: Sequence[int],
    k: int = 6,
    n: int = 3,
    choose: Callable = best_of_subsets,
    progress: Progress | None = None,
) -> Check:
    """Unequal teachers: the best partition, its shape, and training from it.

    Parameters
    ----------
    seeds : sequence of int
        Of norms and output weights.
    k, n : int
        Teachers and neurons.
    choose : callable
        What finds the partition to train from, `best_of_subsets`.
    progress : callable, optional
        Told between cases.

    Returns
    -------
    Check
    """
    gaps, shapes, excess, above, gained = [], [], [], [], []
    for seed in seeds:
        if progress is not None:
            progress(f"unequal teachers, seed {seed}")
        rng = np.random.default_rng([23, seed])
        norms, outputs = rng.uniform(0.5, 1.5, k), rng.uniform(0.5, 1.5, k)
        weight = outputs**2 * np.arcsin(norms**2 / (1 + norms**2))
        order = np.argsort(-weight)  # the strongest first
        norms, outputs = norms[order], outputs[order]

        def loss(bucket: tuple[int, ...], norms=norms, outputs=outputs) -> float:
            return bucket_neuron(norms[list(bucket)], outputs[list(bucket)])[2]

        exact = best_of_subsets(k, n, loss)
        runs = best_of_runs(k, n, loss)
        chosen = choose(k, n, loss)
        gaps.append(runs.loss / exact.loss - 1.0)
        shapes.append(sorted(map(len, exact.buckets)) == [1] * (n - 1) + [k - n + 1])
        teacher, student = teachers_of(norms, outputs), combined(chosen.buckets, norms, outputs)
        problem = Problem(teacher, student)
        together = problem.loss(problem.theta0)
        excess.append(together / chosen.loss - 1.0)
        tuned = train(teacher, student, solver=FLOW, progress=False)
        gained.append(1.0 - tuned.loss / together)
        whole = min(
            train(teacher, MLP.random((k + 1, n, 1), "erf", False, seed=s), solver=FLOW, progress=False).loss
            for s in range(3)
        )
        above.append(tuned.loss / whole - 1.0)
    return Check(
        name="copy_average.parts.unequal",
        statement=f"{k} orthogonal teachers of norms and output weights between 0.5 and 1.5, {n} neurons: "
        "the best of all partitions (dynamic programming over subsets: exact) is n - 1 copies and one "
        "average; runs of teachers sorted by strength come near it; and training from the best partition "
        "ends no higher than the best of three trainings of the whole.",
        source=f"{SOURCE}, open question (combinatorial optimisation); measured",
        parts=[
            never("best partitions that are not n − 1 copies and one average", np.logical_not(shapes)),
            at_most("gap of the best runs over the best partition", gaps, 0.05),
            at_least("the same", gaps, -1e-9),
            at_most(
                "|loss of the combined student over the sum of its buckets, less 1|", np.abs(excess), 0.05
            ),
            at_most("loss of training by parts over the best of the whole, less 1", above, 1e-6),
        ],
        computed={"gaps of runs": gaps, "gained by going on": gained, "against the whole": above},
    )


@register("copy_average.parts")
def _parts(size: str, progress: Progress) -> Iterator[Check]:
    quick = size == "quick"
    yield check_equal(((8, 3), (12, 5)) if quick else ((8, 3), (12, 5), (20, 8), (50, 20)), progress=progress)
    yield check_unequal(range(3 if quick else 20), progress=progress)
