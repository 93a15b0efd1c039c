"""Tian 2020, section 6: strong teachers are learned first, and what over-realisation does.

Two-layer ReLU networks without biases on standard Gaussian inputs (the paper sets biases so that half of
the inputs activate a node: for centred inputs that is zero). A node's "correlation" with a teacher node is
Pearson's of their activations, at angle θ: ρ = (sin θ + (π−θ) cos θ − 1)/(π − 1); success means ρ > 0.95.
Polarity p: the outgoing weights of teacher node j have norm 1/j^p. Times are those of the flow of
L = E|f − f*|²; a step of SGD of rate η on ½|f − f*|² takes η/2 of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from ... import solvers
from ...networks import MLP
from ...run.training import train
from ...support.errors import ArgumentError
from ..check import Check, at_least, at_most
from ..geometry import angles, arc_cosine
from ..registry import Progress, register
from .gradients import PAPER
from .online_sgd import sgd

__all__ = [
    "FULL",
    "POLARITIES",
    "QUICK",
    "SUCCESS",
    "Learning",
    "Size",
    "correlation",
    "harder",
    "learn_by_flow",
    "learn_by_sgd",
    "learning",
    "networks",
    "overrealisation",
    "passing_on",
    "strong_first",
]


def __dir__() -> list[str]:
    return sorted(__all__)


SUCCESS = 0.95
"""Correlation above which a teacher node counts as learned."""


def correlation(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the activations of ReLU nodes without biases, x ~ N(0, I).

    Parameters
    ----------
    student, teacher : ndarray (students, d), (teachers, d)
        Their weights.

    Returns
    -------
    ndarray (students, teachers)
        ρ = (sin θ + (π−θ) cos θ − 1)/(π − 1).

    Examples
    --------
    >>> import numpy as np
    >>> from gradflow.theory.specialization.dynamics import correlation
    >>> correlation(np.eye(2), np.array([[3.0, 0.0]])).round(12).tolist()
    [[1.0], [0.0]]
    """
    return (arc_cosine(angles(student, teacher)) - 1.0) / (math.pi - 1.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Learning:
    """One run, looked at on its way.

    Attributes
    ----------
    times : ndarray, shape (teachers,)
        When each teacher node was learned; infinite where it was not.
    correlations : ndarray, shape (teachers,)
        The last best ρ of each teacher node.
    students : ndarray, shape (students,)
        The last best ρ of each student node.
    passed_on : ndarray, shape (students,)
        |w_i||v_i| of each student node at the end.

    Examples
    --------
    >>> student, teacher = networks(1, 2, dim=3, outputs=2, polarity=0.0, seed=0)
    >>> learn_by_flow(student, teacher, t1=1.0).times.shape
    (1,)
    """

    times: np.ndarray
    correlations: np.ndarray
    students: np.ndarray
    passed_on: np.ndarray

    @property
    def success(self) -> float:
        """The share of teacher nodes that were learned."""
        return float(np.isfinite(self.times).mean())


def networks(width: int, factor: int, dim: int, outputs: int, polarity: float, seed: int) -> tuple[MLP, MLP]:
    """A student, and a teacher with nodes of outgoing norms 1/j^p.

    The student's weights are uniform in ±1/√(number of inputs of the layer). It matters: with outgoing
    weights that are smaller from the start, wide students move later than narrow ones.

    Parameters
    ----------
    width, factor : int
        Teacher nodes, and student nodes per teacher node.
    dim, outputs : int
        Inputs and outputs.
    polarity : float
        p.
    seed : int
        Of both.

    Returns
    -------
    student, teacher : MLP

    Examples
    --------
    >>> [network.sizes for network in networks(2, 3, dim=4, outputs=2, polarity=1.0, seed=0)]
    [(4, 6, 2), (4, 2, 2)]
    """
    rng = np.random.default_rng([seed, width])
    V = rng.standard_normal((width, dim))
    V /= np.linalg.norm(V, axis=1, keepdims=True)
    C = rng.standard_normal((outputs, width))
    C *= np.arange(1, width + 1) ** -polarity / np.linalg.norm(C, axis=0)
    nodes = factor * width
    W = rng.uniform(-1.0, 1.0, (nodes, dim)) / math.sqrt(dim)
    A = rng.uniform(-1.0, 1.0, (outputs, nodes)) / math.sqrt(nodes)
    return MLP([W, A], None, "relu"), MLP([V, C], None, "relu")


def learning(times: Iterable[float], path: Iterable[tuple], teacher: MLP) -> Learning:
    """What a path of weights has learned of a teacher.

    Parameters
    ----------
    times : iterable of float
        Where it was looked at.
    path : iterable of tuple
        The weights (W, A) there.
    teacher : MLP
        One hidden layer.

    Returns
    -------
    Learning

    Examples
    --------
    >>> student, teacher = networks(1, 2, dim=3, outputs=2, polarity=0.0, seed=0)
    >>> learning([0.0], [tuple(teacher.weights)], teacher).times
    array([0.])
    """
    V = teacher.weights[0]
    first = np.full(len(V), np.inf)
    for t, weights in zip(times, path):
        W, A = weights
        found = correlation(W, V)
        first = np.where(np.isinf(first) & (found.max(axis=0) > SUCCESS), t, first)
    passed_on = np.linalg.norm(W, axis=1) * np.linalg.norm(A, axis=0)
    return Learning(first, found.max(axis=0), found.max(axis=1), passed_on)


def learn_by_flow(student: MLP, teacher: MLP, t1: float) -> Learning:
    """The population gradient flow, looked at on its way.

    Parameters
    ----------
    student, teacher : MLP
        Of ReLU, one hidden layer.
    t1 : float
        The end.

    Returns
    -------
    Learning

    Examples
    --------
    >>> student, teacher = networks(1, 2, dim=3, outputs=2, polarity=0.0, seed=0)
    >>> learn_by_flow(student, teacher, t1=1.0).correlations.shape
    (1,)
    """
    solver = solvers.RKC2(rtol=1e-3, atol=1e-5, t1=t1, gtol=1e-8)
    flow = train(teacher, student, solver=solver, refiner=None, progress=False).flow
    assert flow is not None
    path = (student.with_flat(theta).weights for theta in flow.step_theta)
    return learning(flow.step_times, path, teacher)


def learn_by_sgd(student: MLP, teacher: MLP, rate: float, batch: int, steps: int, seed: int) -> Learning:
    """SGD on ½|f − f*|², looked at 200 times on the way.

    Parameters
    ----------
    student, teacher : MLP
        Of ReLU, one hidden layer.
    rate : float
        Step size.
    batch, steps : int
        Samples per step, and steps.
    seed : int
        Of the samples.

    Returns
    -------
    Learning

    Examples
    --------
    >>> student, teacher = networks(1, 2, dim=3, outputs=2, polarity=0.0, seed=0)
    >>> learn_by_sgd(student, teacher, rate=0.01, batch=4, steps=20, seed=0).students.shape
    (2,)
    """
    times, path = [], []
    for step, there in sgd(student, teacher, rate, batch, steps, seed):
        times.append(0.5 * rate * step)
        path.append(there.weights)
    return learning(times, path, teacher)


def strong_first(runs: Sequence[Learning], how: str, polarity: float) -> Check:
    """Of all pairs of teacher nodes of one run: how often the stronger one was learned first."""
    stronger = pairs = 0
    for run in runs:
        for i in range(run.times.size):
            for j in range(i + 1, run.times.size):
                if run.times[i] != run.times[j]:
                    pairs += 1
                    stronger += bool(run.times[i] < run.times[j])
    share = stronger / pairs if pairs else math.nan
    return Check(
        name=f"specialization.dynamics.{how}.strong_first",
        statement=f"With outgoing norms 1/j^{polarity:g} stronger teacher nodes are learned (correlation "
        "> 0.95) before weaker ones: in at least 85 % of the pairs of nodes of a run that are not "
        "learned at the same time.",
        source=f"{PAPER}, sections 5.3 and 6 (experiment); the bound is this project's",
        parts=[at_least("share of pairs with the stronger one first", share, 0.85, cases=pairs)],
        computed={
            "runs": len(runs),
            "teachers": runs[0].times.size,
            "median_times": np.median([run.times for run in runs], axis=0),
        },
    )


def overrealisation(runs: Mapping[int, Sequence[Learning]], how: str, polarity: float) -> Check:
    """Students of 1× as many nodes against those of more, by the mean best correlation at the same time."""
    factors = sorted(runs)
    if len(factors) < 2 or factors[0] != 1:
        raise ArgumentError("runs", factors, "factors 1 and larger ones")
    found = {f: np.array([run.correlations.mean() for run in runs[f]]) for f in factors}
    gains = {f: found[f] - found[1] for f in factors[1:]}  # seed by seed: the teachers are the same
    errors = [
        float(gain.std(ddof=1) / math.sqrt(gain.size)) if gain.size > 1 else 0.0 for gain in gains.values()
    ]
    return Check(
        name=f"specialization.dynamics.{how}.overrealisation",
        statement=f"At polarity {polarity:g} students with more nodes than the teacher cover it better in "
        "the same time than students with as many: the mean over teacher nodes and seeds of the best "
        "correlation is higher for each factor above 1. (That it rises with the factor "
        "is not claimed: early on 2x can be ahead of 5x.)",
        source=f"{PAPER}, sections 5.3 and 6 (experiment)",
        parts=[
            at_least(f"gain of {f} times as many", float(gain.mean()), 0.05, cases=gain.size)
            for f, gain in gains.items()
        ],
        computed={
            "factors": factors,
            "seeds": len(runs[1]),
            "mean_best_correlation": [found[f].mean() for f in factors],
            "standard_error_of_the_gain": errors,
            "success": [float(np.mean([run.success for run in runs[f]])) for f in factors],
            "success_by_teacher": [
                np.mean([np.isfinite(run.times) for run in runs[f]], axis=0) for f in factors
            ],
        },
    )


def passing_on(runs: Sequence[Learning], how: str, polarity: float) -> Check:
    """Student nodes that specialised to nothing pass on less than those that did."""
    best = np.concatenate([run.students for run in runs])
    size = np.concatenate([run.passed_on for run in runs])
    special, other = size[best > SUCCESS], size[best < 0.8]
    ratio = float(np.median(other) / np.median(special)) if special.size and other.size else float("nan")
    return Check(
        name=f"specialization.dynamics.{how}.unspecialised",
        statement=f"At polarity {polarity:g}, students whose best correlation with a teacher node is "
        "below 0.8 at the end pass on, |w||v|, at most half as much as those above 0.95, in the median.",
        source=f"{PAPER}, section 6 and figure 7 (experiment, after Theorem 3); the bound is this project's",
        parts=[at_most("ratio of the medians", ratio, 0.5, cases=min(special.size, other.size))],
        computed={"specialised": special.size, "unspecialised": other.size},
    )


def harder(runs: Mapping[float, Sequence[Learning]], how: str) -> Check:
    """The share of teacher nodes that are learned, by polarity, for students of equal sizes."""
    polarities = sorted(runs)
    success = [float(np.mean([run.success for run in runs[p]])) for p in polarities]
    return Check(
        name=f"specialization.dynamics.{how}.polarity",
        statement="The more the outgoing norms 1/j^p differ, the fewer teacher nodes are learned in the "
        "same time by students of the teacher's size, by a tenth of them at least from one p to the next.",
        source=f"{PAPER}, section 6 and figure 7 (experiment)",
        parts=[
            at_most(f"share learned at {q:g} less that at {p:g}", b - a, -0.1, cases=len(runs[p]))
            for p, q, a, b in zip(polarities, polarities[1:], success, success[1:])
        ],
        computed={"polarities": polarities, "success": success},
    )


@dataclasses.dataclass(frozen=True)
class Size:
    """Sizes of the experiments: the paper's d = 100, 50 outputs, batch 16 and rate 0.01 in the full one.

    Attributes
    ----------
    cases : tuple of (int, tuple of float)
        Numbers of teacher nodes, each with the polarities to look at.
    dim, outputs : int
        Inputs and outputs.
    factors : tuple of int
        Student nodes per teacher node.
    seeds : int
        Runs of each case.
    rate : float
        Of SGD.
    steps : int
        Of SGD.

    Notes
    -----
    100 epochs of 10,000 samples are 62,500 steps; the flow goes on for as long as SGD, rate·steps/2.

    Examples
    --------
    >>> FULL.dim, FULL.outputs, FULL.steps
    (100, 50, 62500)
    """

    cases: tuple[tuple[int, tuple[float, ...]], ...]
    dim: int
    outputs: int
    factors: tuple[int, ...]
    seeds: int
    rate: float
    steps: int

    def learn(self, how: str, width: int, factor: int, polarity: float, progress: Progress) -> list[Learning]:
        """One run per seed, `how` "flow" or "sgd"; `progress` is told between them.

        Of teachers of this `width` and `polarity`, and students of `factor` nodes for each of theirs.
        """
        runs = []
        for seed in range(self.seeds):
            progress(f"{width} teachers, {factor} times as many students, polarity {polarity:g}, seed {seed}")
            pair = networks(width, factor, self.dim, self.outputs, polarity, seed)
            if how == "flow":
                runs.append(learn_by_flow(*pair, t1=0.5 * self.rate * self.steps))
            else:
                runs.append(learn_by_sgd(*pair, self.rate, 16, self.steps, seed))
        return runs

    def checks(self, how: str, progress: Progress) -> Iterator[Check]:
        """Strong nodes first, over-realisation, what students pass on; and all polarities together.

        `how` is "flow" or "sgd"; `progress` is told between runs.
        """
        for width, polarities in self.cases:
            narrow = {}
            for polarity in polarities:
                runs = {f: self.learn(how, width, f, polarity, progress) for f in self.factors}
                narrow[polarity] = runs[1]
                if polarity > 0:
                    yield strong_first(runs[2], how, polarity)
                    yield overrealisation(runs, how, polarity)
                    yield passing_on(runs[max(runs)], how, polarity)
            if len(narrow) > 1:
                yield harder(narrow, how)


POLARITIES = (0.0, 1.0, 2.0)
QUICK = Size(((5, POLARITIES),), 15, 10, (1, 2, 5), seeds=8, rate=0.05, steps=2000)
FULL = Size(((10, POLARITIES),), 100, 50, (1, 2, 5, 10), seeds=32, rate=0.01, steps=62_500)


@register("specialization.dynamics.flow")
def _flow(size: str, progress: Progress) -> Iterator[Check]:
    both = (*FULL.cases, (20, (1.0,)))
    yield from (QUICK if size == "quick" else dataclasses.replace(FULL, cases=both)).checks("flow", progress)


@register("specialization.dynamics.sgd")
def _sgd(size: str, progress: Progress) -> Iterator[Check]:
    yield from (QUICK if size == "quick" else FULL).checks("sgd", progress)
