"""Spurious minima of k ReLU neurons that learn k orthonormal ReLU neurons, output weights fixed at one.

f = Σ_i relu(w_i·x), f* = Σ_j relu(e_j·x), x ~ N(0, I_k), L = E(f − f*)², no ½. The flow starts from
W = randn/√k and moves W only (rates zero on the output weights, which are left out of the refinement and
of the spectrum too). Sources: Safran & Shamir, ICML 2018; Arjevani & Field 2020–2023.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.stats

from ...landscape.permuted import permuted
from ...run.result import Result
from ...run.training import train
from ...solvers import FlowSolver, default_solver
from ...support.validate import integer
from ..check import Check, at_least, at_most, never
from ..registry import Progress, register
from ..soft_committee import frozen_outputs, soft_committee
from .minima import GLOBAL, SAME_LOSS, minima, tally, unknown

__all__ = [
    "FALSE_ALARM",
    "PUBLISHED",
    "PUBLISHED_STARTS",
    "MinimumClass",
    "Outcome",
    "check_rates",
    "classes",
    "descend",
    "frozen_weights",
    "outcomes",
    "same_rate",
]


def __dir__() -> list[str]:
    return sorted(__all__)


PUBLISHED = {6: 3, 7: 55, 8: 126, 9: 218, 10: 346, 11: 455, 12: 585}
"""Spurious ends of gradient descent from 1,000 starts each, by k (Safran & Shamir 2018)."""

PUBLISHED_STARTS = 1000

FALSE_ALARM = 1e-3
"""With this probability at most the comparison of all rates fails though they are the same."""


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """The end of one start, with all output weights one.

    Attributes
    ----------
    seed : int
        Of the start.
    weights : ndarray, shape (k, k)
        W.
    loss, grad_norm : float
        L and |∇L|_∞.
    smallest : float
        The smallest eigenvalue of ∇²L.

    Examples
    --------
    >>> outcome = next(outcomes(2, [0]))
    >>> outcome.weights.shape, outcome.grad_norm < 1e-12
    ((2, 2), True)
    """

    seed: int
    weights: np.ndarray
    loss: float
    grad_norm: float
    smallest: float

    @property
    def spurious(self) -> bool:
        """A local minimum that is not global."""
        return self.loss > GLOBAL and self.smallest > 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class MinimumClass:
    """Outcomes that are one point up to permutations of students and of teachers.

    Attributes
    ----------
    hits : int
        Their number.
    example : Outcome
        The one of smallest gradient.
    row_classes : tuple of int
        The sizes of the sets of students with the same entries, (k−1, 1) for the S_{k−1} family.

    Examples
    --------
    >>> classes(outcomes(2, range(2)))[0].hits
    2
    """

    hits: int
    example: Outcome
    row_classes: tuple[int, ...]


def descend(width: int, seed: int, solver: FlowSolver | None = None) -> Result:
    """One flow from W = randn/√k and its refinement.

    Parameters
    ----------
    width : int
        k.
    seed : int
        Of W.
    solver : FlowSolver, optional
        The package's own at rtol = atol = gtol = 1e-6 unless given.

    Returns
    -------
    Result
        With output weights at one, left out of its spectrum.

    Examples
    --------
    >>> from gradflow.theory.spurious_minima.rates import descend
    >>> result = descend(6, 835)  # one of three of 1,000 starts that end at a spurious minimum
    >>> round(result.loss, 10), bool(result.spectrum().smallest > 0)
    (0.050161162, True)
    """
    width = integer("width", width, 1)
    rng = np.random.default_rng([width, integer("seed", seed, 0)])
    start = rng.standard_normal((width, width)) / math.sqrt(width)
    if solver is None:
        solver = type(default_solver(width * width))(rtol=1e-6, atol=1e-6, gtol=1e-6)
    there = soft_committee("relu", start, np.eye(width))
    return train(there, rates=frozen_outputs(start), solver=solver, progress=False)


def outcomes(
    width: int, seeds: Iterable[int], solver: FlowSolver | None = None, threads: int = 1
) -> Iterator[Outcome]:
    """The ends of many starts, in the order of the seeds.

    Parameters
    ----------
    width : int
        k, students and teachers.
    seeds : iterable of int
        Of the starts.
    solver : FlowSolver, optional
        As in `descend`.
    threads : int, default 1
        So many at a time.

    Yields
    ------
    Outcome

    Examples
    --------
    >>> [outcome.seed for outcome in outcomes(2, range(2))]
    [0, 1]
    """

    def one(seed: int) -> Outcome:
        result = descend(width, seed, solver)
        weights = result.student.weights[0]
        return Outcome(seed, weights, result.loss, result.grad_norm, result.spectrum().smallest)

    if threads == 1:
        yield from map(one, seeds)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(one, seeds)


def classes(found: Iterable[Outcome], tolerance: float = 1e-6) -> list[MinimumClass]:
    """Outcomes that are one point up to permutations of students and of teachers.

    Parameters
    ----------
    found : iterable of Outcome
        Refined ends of one k.
    tolerance : float
        Weights and losses within it of each other are equal.

    Returns
    -------
    list of MinimumClass
        By loss.

    Notes
    -----
    Two matrices are one point if rows and columns of the one can be permuted to the other
    (`landscape.permuted`): equal losses or equal sorted entries do not make a point.

    Examples
    --------
    >>> [found.hits for found in classes(outcomes(2, range(3)))]
    [3]
    """
    groups: list[list[Outcome]] = []
    for outcome in found:
        for group in groups:
            near = abs(group[0].loss - outcome.loss) <= tolerance
            if near and permuted(group[0].weights, outcome.weights, tolerance) is not None:
                group.append(outcome)
                break
        else:
            groups.append([outcome])
    result = []
    for group in groups:
        best = min(group, key=lambda outcome: outcome.grad_norm)
        result.append(MinimumClass(len(group), best, _row_classes(best.weights, tolerance)))
    return sorted(result, key=lambda c: c.example.loss)


def _row_classes(weights: np.ndarray, tolerance: float) -> tuple[int, ...]:
    rows = np.sort(weights, axis=1)
    sizes: list[int] = []
    left = np.ones(len(rows), dtype=bool)
    for i in range(len(rows)):
        if left[i]:
            same = left & (np.abs(rows - rows[i]).max(axis=1) <= tolerance)
            sizes.append(int(same.sum()))
            left &= ~same
    return tuple(sorted(sizes, reverse=True))


def frozen_weights(width: int, seed: int, rates: np.ndarray | None = None) -> Check:
    """Output weights of rate zero stay at one, and are left out of the spectrum; nothing is lost by it."""
    rng = np.random.default_rng([width, seed])
    start = rng.standard_normal((width, width)) / math.sqrt(width)
    there = soft_committee("relu", start, np.eye(width))
    solver = type(default_solver(width * width))(rtol=1e-6, atol=1e-6, gtol=1e-6)
    given = frozen_outputs(start) if rates is None else rates
    result = train(there, rates=given, solver=solver, progress=False)
    assert result.flow is not None
    moved = np.abs(np.vstack([result.flow.theta, result.theta])[:, width * width :] - 1.0)
    frozen = result.spectrum()
    # ReLU is homogeneous: w·∂_w L = a ∂_a L, so a frozen critical point is a critical point, and freeing
    # the k output weights adds exactly k zero modes, the scalings (w, a) → (λw, a/λ).
    free = np.linalg.eigvalsh(there.hessian(result.theta))
    zeros = int((np.abs(free) <= 1e-10 * free[-1]).sum())
    negative = int((free < -1e-10 * free[-1]).sum())
    wrong = [zeros != width + frozen.zero, negative != frozen.negative]
    wrong.append(frozen.eigenvalues.size != width * width)
    return Check(
        name="spurious_minima.frozen_weights",
        statement="With rate zero the output weights are exactly one along the flow, after the refinement "
        "and out of the spectrum (k^2 eigenvalues). The point is critical in them too, and freeing them adds "
        "k zero modes (the scalings of ReLU) and changes no sign.",
        source="derived from w.dL/dw = a dL/da",
        parts=[
            at_most("what output weights have moved by", moved, 0.0),
            at_most("|dL/da|", np.abs(there.gradient(result.theta)[width * width :]), 2e-15 * width),
            never("counts of all, negative and zero eigenvalues that differ", wrong),
        ],
        computed={
            "width": width,
            "loss": result.loss,
            "eigenvalues": frozen.eigenvalues.size,
            "negative": frozen.negative,
            "zero_modes_when_freed": zeros,
        },
    )


def same_rate(spurious: int, starts: int, published: int) -> float:
    """The p-value of Fisher's exact test that two samples have one rate.

    Parameters
    ----------
    spurious, starts : int
        Spurious ends, of so many.
    published : int
        Spurious ends of 1,000.

    Returns
    -------
    float

    Examples
    --------
    >>> round(same_rate(3, 1000, 3), 6)
    1.0
    """
    rest = [starts - spurious, PUBLISHED_STARTS - published]
    return float(scipy.stats.fisher_exact([[spurious, published], rest]).pvalue)


def check_rates(
    starts: int,
    threads: int = 1,
    published: Mapping[int, int] = PUBLISHED,
    known: Callable = minima,
    progress: Progress | None = None,
) -> Check:
    """How often the flow ends at spurious minima, against published counts, and at which minima.

    Parameters
    ----------
    starts, threads : int
        For each k, and how many at a time.
    published : mapping of int to int
        Spurious ends of 1,000 runs by k.
    known : callable
        The minima that exist at k, `minima`.
    progress : callable, optional
        Told between starts.

    Returns
    -------
    Check
        With the smallest p-value of Fisher's exact tests, Bonferroni's bound for all of them together.
    """
    rows, p_values, gradients, apart = {}, [], [], []
    for width, count in published.items():
        found = []
        for outcome in outcomes(width, range(starts), threads=threads):
            found.append(outcome)
            if progress is not None:
                progress(f"{len(found)} of {starts} starts at k = {width}")
        losses = [outcome.loss for outcome in found if outcome.spurious]
        gradients += [outcome.grad_norm for outcome in found]
        exist = known(width)
        apart += unknown([outcome.loss for outcome in found if outcome.loss > GLOBAL], exist)
        p_values.append(same_rate(len(losses), starts, count))
        hits = {f"{m.kind} {m.count}": n for m, n in zip(exist, tally(losses, exist))}
        rows[str(width)] = {"spurious": len(losses), "p": p_values[-1], "hits": hits}
    return Check(
        name="spurious_minima.rates",
        statement="From W = randn/sqrt(k) as large a share of flows ends at a spurious minimum as of 1,000 "
        f"published runs of gradient descent, for each k (two-sample tests; a false alarm in {FALSE_ALARM:g} "
        "of such checks). Every end is critical; every one that is not global is one of `minima`(k).",
        source="Safran & Shamir 2018 (experiment); the minima: this project",
        parts=[
            at_least("p-value of a rate", p_values, FALSE_ALARM / max(1, len(p_values))),
            at_most("|∇L|_∞ at an end", gradients, 3e-14),
            at_most("L less that of the nearest minimum in 40 digits", apart, SAME_LOSS),
        ],
        computed={"starts": starts, "by k": rows, "published": dict(published)},
    )


@register("spurious_minima.frozen_weights")
def _frozen_weights(size: str, progress: Progress) -> Iterator[Check]:
    for width in (6, 12):
        yield frozen_weights(width, seed=0)


@register("spurious_minima.rates")
def _rates(size: str, progress: Progress) -> Check:
    return check_rates(60 if size == "quick" else 1000, progress=progress)
