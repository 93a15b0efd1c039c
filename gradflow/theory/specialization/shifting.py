"""Tian 2020, section 5.3: focus shifting, found in trajectories (figures 11 and 12 of the paper).

A student node shifts its focus if it turns towards one teacher node, leaves it before it is there for good,
and ends specialised to another one. The paper's account: what it leaves is covered by other students by then,
and what it takes is weaker. Correlations as in `dynamics`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.stats

from ... import solvers
from ...networks import MLP
from ...run.training import train
from ..check import Check, at_least
from ..registry import Progress, register
from .dynamics import SUCCESS, correlation, networks
from .gradients import PAPER

__all__ = [
    "CLEAR",
    "COVERED",
    "Shift",
    "correlations",
    "focus_shifting",
    "shifts",
]


def __dir__() -> list[str]:
    return sorted(__all__)


CLEAR = 0.1
"""By so much the correlation with the teacher that is left must have risen, and fall again."""

COVERED = 0.8
"""A teacher node with a correlation above it to another student is covered."""


@dataclasses.dataclass(frozen=True)
class Shift:
    """One student that left a teacher for another.

    Attributes
    ----------
    student, left, taken : int
        The student, the teacher that it was nearest to at `time`, and the one it ends with.
    time : float
        When it was nearest to what it left.
    peak : float
        The correlation then.
    covered : float
        The best correlation of another student with what it left, at the first look at which it is nearer
        to the teacher that it takes.

    Examples
    --------
    >>> Shift(0, 0, 1, 2.0, 0.7, 0.9).taken
    1
    """

    student: int
    left: int
    taken: int
    time: float
    peak: float
    covered: float


def correlations(student: MLP, teacher: MLP, t1: float) -> tuple[np.ndarray, np.ndarray]:
    """Correlations of all students with all teachers along the population flow.

    Parameters
    ----------
    student, teacher : MLP
        Of ReLU, one hidden layer.
    t1 : float
        The end.

    Returns
    -------
    times : ndarray, shape (looks,)
    found : ndarray, shape (looks, students, teachers)

    Examples
    --------
    >>> times, found = correlations(*networks(2, 2, 4, 3, 1.0, 0), t1=1.0)
    >>> found.shape[1:]
    (4, 2)
    """
    solver = solvers.RKC2(rtol=1e-3, atol=1e-5, t1=t1, gtol=1e-8)
    flow = train(teacher, student, solver=solver, refiner=None, progress=False).flow
    assert flow is not None
    V = teacher.weights[0]
    found = [correlation(student.with_flat(theta).weights[0], V) for theta in flow.step_theta]
    return np.asarray(flow.step_times), np.array(found)


def shifts(times: np.ndarray, found: np.ndarray) -> list[Shift]:
    """The focus shifts of one run.

    Parameters
    ----------
    times : ndarray, shape (looks,)
        Of the looks.
    found : ndarray, shape (looks, students, teachers)
        The correlations.

    Returns
    -------
    list of Shift

    Notes
    -----
    Of a student that ends above `SUCCESS` with teacher j: the largest correlation with another teacher i on
    the way counts if i was its nearest then, and it had risen and falls again by `CLEAR`.

    Examples
    --------
    >>> one, other = [0.1, 0.7, 0.5, 0.1], [0.0, 0.2, 0.6, 0.99]
    >>> found = np.array([[list(pair), [0.9, 0.0]] for pair in zip(one, other)])
    >>> shifts(np.arange(4.0), found)
    [Shift(student=0, left=0, taken=1, time=1.0, peak=0.7, covered=0.9)]
    """
    seen = []
    for k in range(found.shape[1]):
        mine = found[:, k]
        taken = int(mine[-1].argmax())
        others = mine.copy()
        others[:, taken] = -np.inf
        look, left = np.unravel_index(others.argmax(), others.shape)
        peak = float(mine[look, left])
        rose, falls = peak - mine[0, left], peak - mine[-1, left]
        if mine[-1, taken] <= SUCCESS or mine[look].argmax() != left or min(rose, falls) <= CLEAR:
            continue
        leaves = look + int((mine[look:, taken] > mine[look:, left]).argmax())
        cover = np.delete(found[leaves, :, left], k).max(initial=-1.0)
        seen.append(Shift(k, int(left), taken, float(times[look]), peak, float(cover)))
    return seen


def _share(flags: Sequence[bool]) -> float:
    """The lower end of the 95 % interval (Clopper and Pearson) of a share."""
    return (
        float(scipy.stats.binomtest(int(np.sum(flags)), len(flags)).proportion_ci(0.95).low) if flags else 0.0
    )


def focus_shifting(
    seeds: int,
    size: tuple[int, int, int] = (5, 15, 10),
    factors: Sequence[int] = (1, 2, 5),
    polarities: Sequence[float] = (1.0, 2.0),
    t1: float = 400.0,
    order: int = 1,
    progress: Progress | None = None,
) -> Check:
    """Focus shifts in the flows of many starts: how many, and whether they are what the paper says.

    Parameters
    ----------
    seeds : int
        Starts for each factor and polarity.
    size : tuple of three int, default (5, 15, 10)
        Teachers, inputs and outputs.
    factors, polarities : sequence
        Students per teacher, and p.
    t1 : float, default 400
        The end.
    order : int, default 1
        1: what is taken is claimed to be weaker; −1: stronger.
    progress : callable, optional
        Told between runs.

    Returns
    -------
    Check
    """
    width, dim, outputs = size
    seen, counts = [], {}
    for factor in factors:
        for polarity in polarities:
            before = len(seen)
            for seed in range(seeds):
                if progress is not None:
                    progress(
                        f"focus shifts, {factor} times as many students, polarity {polarity:g}, seed {seed}"
                    )
                pair = networks(width, factor, dim, outputs, polarity, seed)
                seen += shifts(*correlations(*pair, t1))
            counts[f"{factor}x, p = {polarity:g}"] = (len(seen) - before) / seeds
    weaker = [order * (shift.taken - shift.left) > 0 for shift in seen]
    covered = [shift.covered > COVERED for shift in seen]
    runs = seeds * len(factors) * len(polarities)
    return Check(
        name="specialization.shifting",
        statement="Students that turn towards one teacher node, leave it and end specialised to another "
        "one occur along the flow, and nearly always what they leave is covered by another student by then "
        f"(correlation > {COVERED:g}) and what they take is weaker. The bounds are for the lower ends of 95 "
        "% intervals.",
        source=f"{PAPER}, section 5.3 and figures 11, 12 (experiment); the criteria are this project's",
        parts=[
            at_least("shifts per run", len(seen) / runs, 0.3, cases=len(seen)),
            at_least("share of shifts to a weaker teacher, lower end", _share(weaker), 0.7, cases=len(seen)),
            at_least("share that leaves a covered teacher, lower end", _share(covered), 0.7, cases=len(seen)),
        ],
        computed={
            "shifts per run": counts,
            "share to a weaker teacher": float(np.mean(weaker)) if seen else 0.0,
            "share that leaves a covered teacher": float(np.mean(covered)) if seen else 0.0,
            "median peak": float(np.median([shift.peak for shift in seen])) if seen else 0.0,
        },
    )


@register("specialization.shifting")
def _shifting(size: str, progress: Progress) -> Check:
    if size == "quick":
        return focus_shifting(8, progress=progress)
    return focus_shifting(32, (10, 100, 50), (1, 2, 5, 10), t1=312.5, progress=progress)
