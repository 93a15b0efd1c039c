"""Copy/average: where the gradient flow ends, over student width n and teacher width k.

Flows start from Glorot-normal students in d = k + 1, with relative tolerance 1e-6, and are followed to a
gradient of 1e-6 before any refinement, so that basins are those of the gradient flow.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import scipy.stats
from scipy.optimize import isotonic_regression
from scipy.special import xlog1py, xlogy

from ...landscape import isotropy, kinds
from ...networks import MLP
from ...run.result import SPECTRUM_SIZE, Result
from ...run.training import train
from ...solvers import BDF, FlowSolver, KenCarp58, KrylovBDF
from ...support.errors import ArgumentError
from ...support.validate import integer
from ...teachers import orthonormal
from ..check import Check, never, seldom
from ..registry import Progress, register
from .configurations import SOURCE, follow, one_neuron
from .index import best_is_stable
from .transition import perturbed_is_stable

__all__ = [
    "CHI_SQUARED",
    "FLOW",
    "LARGE_FLOW",
    "RARE",
    "SAME_LOSS",
    "End",
    "boundaries",
    "check_phase",
    "check_solvers",
    "end",
    "end_at_size",
    "ends",
    "half_way",
    "intervals",
    "label",
    "losses",
    "shares",
    "unseen",
]


def __dir__() -> list[str]:
    return sorted(__all__)


LARGE_FLOW = KrylovBDF(rtol=1e-6, atol=1e-8, gtol=1e-6)
"""How it follows the flow of more than 500 parameters."""

FLOW = KenCarp58(rtol=1e-6, atol=1e-8, gtol=1e-6)
"""How the phase diagram follows the flow."""

SAME_LOSS = 1e-9
"""A refined end has the configuration whose loss is this near; the losses of two differ by far more."""


RARE = ("channel", "unused", "not converged")
"""Ends that the statement about the two configurations leaves out, and counts."""


@dataclasses.dataclass(frozen=True)
class End:
    """Where one start ended.

    Attributes
    ----------
    seed : int
        Of the start.
    configuration : str
        "C-A", "P-n-C", "exact" (n = k: both at once, L = 0); "channel": two neurons on their way to
        infinity with opposite output weights; "unused": C-A optimal of n − 1 neurons, a plateau of the flow
        with one neuron that does nothing; "other": another critical point; "not converged": none of these.
    loss, grad_norm : float
        L and |∇L|_∞.
    smallest : float
        The smallest eigenvalue of ∇²L.
    time : float
        The time of the flow.
    steps : int
        Its steps.

    Examples
    --------
    >>> end(1, 2, seed=0).grad_norm < 1e-12
    True
    """

    seed: int
    configuration: str
    loss: float
    grad_norm: float
    smallest: float
    time: float
    steps: int


@cache
def losses(n: int, k: int) -> dict[str, float]:
    """The losses of the configurations at one width; C-A optimal and P-n-C are "exact" where n = k.

    Parameters
    ----------
    n, k : int
        Students and teachers.

    Returns
    -------
    dict of str to float

    Examples
    --------
    >>> sorted(losses(3, 5))
    ['C-A', 'P-n-C', 'unused']
    """
    unused = {"unused": one_neuron(k - n + 2).loss} if n > 1 else {}
    if n == k:
        return unused | {"exact": 0.0}
    best = unused | {"C-A": one_neuron(k - n + 1).loss}
    return best if n == 1 else best | {"P-n-C": follow([n], k)[0].loss}


def end(n: int, k: int, seed: int, solver: FlowSolver = FLOW) -> End:
    """The end of the flow from one start.

    Parameters
    ----------
    n, k : int
        Students and teachers.
    seed : int
        Of the student.
    solver : FlowSolver, optional
        `FLOW` unless given.

    Returns
    -------
    End

    Examples
    --------
    >>> end(1, 2, seed=0).configuration
    'C-A'
    """
    return label(_run(n, k, seed, solver), n, k, seed)


def _run(n: int, k: int, seed: int, solver: FlowSolver) -> Result:
    student = MLP.random((k + 1, n, 1), "erf", False, seed=seed)
    return train(orthonormal(k, k + 1), student, solver=solver, progress=False)


def label(result: Result, n: int, k: int, seed: int) -> End:
    """What a run has ended at; without matrices beyond 1,500 parameters.

    Parameters
    ----------
    result : Result
        Of a flow from the student of `seed`.
    n, k : int
        Students and teachers.
    seed : int
        As it is to be noted.

    Returns
    -------
    End

    Examples
    --------
    >>> import gradflow as gf
    >>> student = gf.MLP.random((3, 1, 1), "erf", False, seed=0)
    >>> result = gf.train(gf.teachers.orthonormal(2, 3), student, progress=False)
    >>> label(result, 1, 2, seed=0).configuration
    'C-A'
    """
    assert result.flow is not None
    known = losses(n, k)
    name = min(known, key=lambda c: abs(known[c] - result.loss))
    if any(kind == "channel pair" for kind in kinds(result)):
        name = "channel"
    elif not result.converged:
        name = "not converged"
    elif abs(known[name] - result.loss) > SAME_LOSS:
        name = "other"
    large = result.theta.size > SPECTRUM_SIZE
    smallest = result.extremes().smallest[0] if large else result.spectrum().smallest
    return End(
        seed=seed,
        configuration=name,
        loss=result.loss,
        grad_norm=result.grad_norm,
        smallest=float(smallest),
        time=float(result.flow.times[-1]),
        steps=result.flow.accepted,
    )


def end_at_size(n: int, k: int, seed: int) -> tuple[End, dict | None]:
    """`end` for hundreds of teachers, and of an end that is neither configuration what is known of it.

    Parameters
    ----------
    n, k : int
        Student and teacher width.
    seed : int
        Of the student.

    Returns
    -------
    tuple of End and (dict or None)
        The dictionary has the ends of the spectrum, the order of the group of teacher permutations that leave
        the student as it is (its decimal logarithm), and how many neurons copy a teacher.

    Examples
    --------
    >>> found, other = end_at_size(1, 3, seed=0)
    >>> found.configuration, other
    ('C-A', None)
    """
    found = _run(n, k, seed, LARGE_FLOW)
    which = label(found, n, k, seed)
    if which.configuration not in ("other", "not converged"):
        return which, None
    student = found.student
    cosines = student.weights[0][:, :k] / np.linalg.norm(student.weights[0], axis=1)[:, None]
    ends = found.extremes(2)
    return which, {
        "smallest": ends.smallest.tolist(),
        "largest": ends.largest.tolist(),
        "index": str(ends.index_statement),
        "isotropy": _order(isotropy(found.problem, student)),
        "copies": int((np.abs(cosines).max(axis=1) > 0.99).sum()),
    }


def _order(order: int | None) -> float | None:
    """The order of a group of permutations as a decimal logarithm: 100! has 158 digits."""
    return None if order is None else float(math.log10(order))


def ends(
    n: int, k: int, seeds: Iterable[int], *, threads: int = 1, solver: FlowSolver = FLOW
) -> Iterator[End]:
    """The ends of many starts, in the order of the seeds.

    Parameters
    ----------
    n, k : int
        Students and teachers.
    seeds : iterable of int
        Of the students.
    threads : int, default 1
        So many at a time.
    solver : FlowSolver, optional
        `FLOW` unless given.

    Yields
    ------
    End

    Raises
    ------
    ArgumentError
        For n > k.

    Examples
    --------
    >>> [found.seed for found in ends(1, 2, range(2))]
    [0, 1]
    """
    n, k = integer("n", n, 1), integer("k", k, 1)
    if n > k:
        raise ArgumentError("n", n, f"at most k = {k}")
    losses(n, k)
    with ThreadPoolExecutor(integer("threads", threads, 1)) as pool:
        yield from pool.map(lambda seed: end(n, k, seed, solver), seeds)


def shares(found: Iterable[End]) -> dict[str, float]:
    """The share of each configuration among ends.

    Parameters
    ----------
    found : iterable of End
        What `ends` gives.

    Returns
    -------
    dict of str to float

    Examples
    --------
    >>> shares(ends(1, 2, range(2)))
    {'C-A': 1.0}
    """
    names = [e.configuration for e in found]
    return {name: names.count(name) / len(names) for name in sorted(set(names))}


def boundaries(diagram: dict[tuple[int, int], dict[str, float]], k: int) -> tuple[float, float]:
    """γ₁ and γ₂ for one k: between them some starts end at C-A and some do not.

    Parameters
    ----------
    diagram : dict of (int, int) to dict of str to float
        The shares of the ends' names at each (n, k).
    k : int
        The teacher's width.

    Returns
    -------
    tuple of two floats
        The largest n/k up to which every start ends at C-A, and the smallest from which none does; NaN where
        there is none.

    Examples
    --------
    >>> boundaries({(2, 5): {"C-A": 1.0}, (3, 5): {"C-A": 0.5}, (4, 5): {"P-n-C": 1.0}}, 5)
    (0.4, 0.8)
    """
    here = {n: share.get("C-A", 0.0) for (n, width), share in diagram.items() if width == k and n < k}
    pure = [n for n in sorted(here) if all(here[m] == 1.0 for m in here if m <= n)]
    none = [n for n in sorted(here) if all(here[m] == 0.0 for m in here if m >= n)]
    first = max(pure) / k if pure else float("nan")
    return first, (min(none) / k if none else float("nan"))


def half_way(diagram: dict[tuple[int, int], dict[str, float]], k: int) -> float:
    """The n/k at which half of the starts end at C-A, on the straight line between two widths; else NaN.

    Parameters
    ----------
    diagram, k
        As in `boundaries`.

    Returns
    -------
    float

    Examples
    --------
    >>> half_way({(2, 5): {"C-A": 1.0}, (3, 5): {"C-A": 0.5}, (4, 5): {"P-n-C": 1.0}}, 5)
    0.6
    """
    here = {n: share.get("C-A", 0.0) for (n, width), share in diagram.items() if width == k and n < k}
    for n in sorted(here)[:-1]:
        if here[n] >= 0.5 > here[n + 1]:
            return (n + (here[n] - 0.5) / (here[n] - here[n + 1])) / k
    return float("nan")


def intervals(counts: Sequence[tuple[int, int, int]], k: int) -> dict[str, tuple[float, float, float]]:
    """Where the share of starts that end at C-A falls through 95, 50 and 5 %, with 95 % intervals.

    Parameters
    ----------
    counts : sequence of (n, C-A, starts)
        How many of the starts of each width ended at C-A optimal.
    k : int
        Teacher width.

    Returns
    -------
    dict
        "gamma_1" (95 %), "half", "gamma_2" (5 %): the estimate and the two ends of the interval, as n/k; NaN
        where the share does not fall through.

    Notes
    -----
    The shares fall with n; that is all that is assumed. The estimate is read on straight lines between the
    shares of largest likelihood among those that fall (isotonic regression). A gap between two widths is in
    the interval if shares that pass through the level there are not refused by the likelihood ratio,
    2 log Λ ≤ 3.84 (the 95 % point of χ²₁; the limit law for falling curves, of Banerjee & Wellner,
    Annals of Statistics 29 (2001), has 2.27 there, so that the intervals are wide rather than narrow). The
    ends are those of the gaps: between two widths nothing is known.

    Examples
    --------
    >>> from gradflow.theory.copy_average.phase import intervals
    >>> found = intervals([(4, 50, 50), (5, 25, 50), (6, 0, 50)], 10)
    >>> [round(x, 2) for x in found["half"]]
    [0.5, 0.4, 0.6]
    """
    n, hits, starts = np.array(sorted(counts), dtype=float).T
    best = _falling(hits, starts)
    top, result = _likelihood(hits, starts, best), {}
    for name, level in (("gamma_1", 0.95), ("half", 0.5), ("gamma_2", 0.05)):
        through = [_through(hits, starts, i, level) for i in range(1, n.size)]
        lost = np.array([top - _likelihood(hits, starts, share) for share in through])
        gaps = np.flatnonzero(2.0 * lost <= CHI_SQUARED)
        middle = _crossing(n, best, level)
        ends = (n[gaps[0]], n[gaps[-1] + 1]) if gaps.size and math.isfinite(middle) else (math.nan, math.nan)
        result[name] = (middle / k, float(ends[0]) / k, float(ends[1]) / k)
    return result


CHI_SQUARED = float(scipy.stats.chi2.ppf(0.95, 1))
"""2 log of the likelihood ratio up to which a place is in an interval of 95 %."""


def _falling(hits: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The shares of largest likelihood among those that fall."""
    return isotonic_regression(hits / starts, weights=starts, increasing=False).x


def _through(hits: np.ndarray, starts: np.ndarray, i: int, level: float) -> np.ndarray:
    """The same among those that are at least `level` before place i and at most `level` from it on."""
    before, after = _falling(hits[:i], starts[:i]), _falling(hits[i:], starts[i:])
    return np.concatenate([np.maximum(before, level), np.minimum(after, level)])


def _likelihood(hits: np.ndarray, starts: np.ndarray, share: np.ndarray) -> float:
    """The log-likelihood of binomial counts."""
    return float(np.sum(xlogy(hits, share) + xlog1py(starts - hits, -share)))


def _crossing(n: np.ndarray, share: np.ndarray, level: float) -> float:
    """The n at which falling shares pass through a level, or NaN."""
    below = np.flatnonzero(share < level)
    if not below.size or below[0] == 0:
        return math.nan
    i = int(below[0])
    return float(n[i - 1] + (share[i - 1] - level) / (share[i - 1] - share[i]) * (n[i] - n[i - 1]))


def unseen(starts: int) -> float:
    """The share that an end not seen in so many starts has at most, with 95 % confidence.

    Parameters
    ----------
    starts : int
        Their number.

    Returns
    -------
    float

    Examples
    --------
    >>> round(unseen(100), 4)
    0.0295
    """
    return 1 - 0.05 ** (1 / starts)


@register("copy_average.phase")
def check_phase(
    size: str,
    progress: Progress,
    stable_best=best_is_stable,
    stable_perturbed=perturbed_is_stable,
    widths: Sequence[int] | None = None,
) -> Check:
    """Every flow ends at a configuration that is a local minimum there."""
    starts = 6 if size == "quick" else 50
    if widths is None:
        widths = (4, 6, 8) if size == "quick" else range(4, 13)
    diagram: dict[tuple[int, int], dict[str, float]] = {}
    elsewhere, rare = [], []
    for k in widths:
        for n in range(1, k + 1):
            progress(f"phase diagram: k {k}, n {n}")
            found = list(ends(n, k, range(starts), threads=2))
            diagram[n, k] = shares(found)
            allowed = {"exact"} if n == k else {"C-A"} if n == 1 else set()
            if 1 < n < k:
                allowed |= {"C-A"} if stable_best(n, k) else set()
                allowed |= {"P-n-C"} if stable_perturbed(n, k) else set()
            rare += [e.configuration in RARE for e in found]
            elsewhere += [e.configuration not in allowed for e in found if e.configuration not in RARE]
    gammas = {str(k): [*boundaries(diagram, k), half_way(diagram, k)] for k in widths}
    return Check(
        name="copy_average.phase",
        statement=(
            "Every gradient flow that ends at a critical point ends at C-A optimal or at P-n-C, and only "
            "where that is a local minimum by the blocks of its Hessian. Left out, and fewer than one in "
            "fifty: channels to infinity, plateaus with an unused neuron."
        ),
        source=f"{SOURCE}, experiment; stability is computed here",
        parts=[
            never("flows that end elsewhere", elsewhere),
            seldom(f"flows that end as {', '.join(RARE)}", rare, 0.02),
        ],
        computed={"shares": {f"{n}/{k}": share for (n, k), share in diagram.items()}}
        | {"n/k to which all, from which none, half of the starts end at C-A": gammas}
        | {"share that may hide behind none, 95 %": unseen(starts)},
    )


@register("copy_average.phase_solvers")
def check_solvers(
    size: str,
    progress: Progress,
    others: dict[str, FlowSolver] | None = None,
    cells: Sequence[tuple[int, int]] | None = None,
) -> Check:
    """Whether another solver, or a tighter tolerance, ends where `FLOW` does, start by start."""
    if others is None:
        others = {"BDF 1e-6": BDF(rtol=1e-6, atol=1e-8, gtol=1e-6)}
        others |= {"KenCarp58 1e-9": KenCarp58(rtol=1e-9, atol=1e-11, gtol=1e-6)}
    if cells is None:
        cells = ((4, 5),) if size == "quick" else ((6, 8), (8, 10), (9, 12))
    starts = 20 if size == "quick" else 200
    rows, elsewhere = {}, []
    for n, k in cells:
        progress(f"{starts} flows by {1 + len(others)} solvers, n {n}, k {k}")
        first = list(ends(n, k, range(starts), threads=2))
        rows[f"{n}/{k}"] = {"KenCarp58 1e-6": shares(first)}
        for name, solver in others.items():
            found = list(ends(n, k, range(starts), threads=2, solver=solver))
            other = [a.configuration != b.configuration for a, b in zip(first, found)]
            rows[f"{n}/{k}"][name] = shares(found) | {"ends elsewhere": sum(other)}
            elsewhere += other
    return Check(
        name="copy_average.phase_solvers",
        statement=(
            "In mixed cells of the phase diagram the same starts end at the same configuration with another "
            "solver (BDF, the default of `train`) and with a tolerance of 1e-9, all but one in a hundred "
            "(near the border of two basins)."
        ),
        source="measured",
        parts=[seldom("starts that end elsewhere", elsewhere, 0.01)],
        computed={"starts": starts, "shares": rows},
    )
