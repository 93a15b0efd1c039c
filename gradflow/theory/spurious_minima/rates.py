"""Spurious minima of k ReLU neurons that learn k orthonormal ReLU neurons, output weights fixed at one.

f = Σ_i relu(w_i·x), f* = Σ_j relu(e_j·x), x ~ N(0, I_k), L = E(f − f*)², no ½. The flow starts from
W = randn/√k and moves W only (rates zero on the output weights, which are left out of the refinement and
of the spectrum too). Sources: Safran & Shamir, ICML 2018; Arjevani & Field 2020–2023.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.stats

from ... import teachers
from ...landscape.permuted import permuted
from ...losses.problem import Problem
from ...networks import MLP
from ...run.result import Result
from ...run.training import train
from ...solvers import FlowSolver, default_solver
from ...support.validate import integer
from ..check import Check
from ..registry import Progress, register

GLOBAL = 1e-9
"""A critical point with a smaller loss is a global minimum: the spurious ones found have L > 1e-5 for
every k ≤ 10⁴, and the rounding of L is below 1e-11 there."""


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """The end of one start: its seed, W (k, k), L, |∇L|_∞ and the smallest eigenvalue, all with a = 1."""

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

    hits counts them; `example` is the one of smallest gradient; row_classes are the sizes of the sets of
    students with the same entries, (k−1, 1) for the S_{k−1} family.
    """

    hits: int
    example: Outcome
    row_classes: tuple[int, ...]


def problem(width: int, weights: np.ndarray) -> Problem:
    """The population problem of k students on k teachers, with the given starting W (k, k)."""
    teacher = teachers.orthonormal(width, width, "relu")
    return Problem(teacher, MLP([weights, np.ones((1, width))], None, "relu"))


def frozen_rates(width: int) -> np.ndarray:
    """Rates (P,): one for W, zero for the output weights."""
    return np.concatenate([np.ones(width * width), np.zeros(width)])


def descend(width: int, seed: int, solver: FlowSolver | None = None) -> Result:
    """One flow from W = randn/√k and its refinement; the solver by default the package's own at 1e-6."""
    width = integer("width", width, 1)
    rng = np.random.default_rng([width, integer("seed", seed, 0)])
    start = rng.standard_normal((width, width)) / math.sqrt(width)
    if solver is None:
        solver = type(default_solver(width * width))(rtol=1e-6, atol=1e-6, gtol=1e-6)
    return train(problem(width, start), rates=frozen_rates(width), solver=solver, progress=False)


def outcomes(
    width: int, seeds: Iterable[int], solver: FlowSolver | None = None, threads: int = 1
) -> Iterator[Outcome]:
    """The ends of many starts, in the order of the seeds, `threads` of them at a time."""

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
    """Outcomes that are one point up to permutations of rows and columns of W (`permuted`); by loss."""
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
    there = problem(width, rng.standard_normal((width, width)) / math.sqrt(width))
    solver = type(default_solver(width * width))(rtol=1e-6, atol=1e-6, gtol=1e-6)
    given = frozen_rates(width) if rates is None else rates
    result = train(there, rates=given, solver=solver, progress=False)
    assert result.flow is not None
    moved = np.abs(result.flow.theta[:, width * width :] - 1.0).max()
    moved = max(moved, float(np.abs(result.theta[width * width :] - 1.0).max()))
    frozen = result.spectrum()
    # ReLU is homogeneous: w·∂_w L = a ∂_a L, so a frozen critical point is a critical point, and freeing
    # the k output weights adds exactly k zero modes, the scalings (w, a) → (λw, a/λ).
    free = np.linalg.eigvalsh(there.hessian(result.theta))
    gradient = float(np.abs(there.gradient(result.theta)[width * width :]).max())
    zeros = int((np.abs(free) <= 1e-10 * free[-1]).sum())
    negative = int((free < -1e-10 * free[-1]).sum())
    mismatch = abs(zeros - width - frozen.zero) + abs(negative - frozen.negative)
    mismatch += abs(frozen.eigenvalues.size - width * width)
    return Check(
        name="spurious_minima.frozen_weights",
        statement="With rate zero the output weights are exactly one along the flow, after the refinement "
        "and out of the spectrum (k^2 eigenvalues). The point is critical in them too, and freeing them adds "
        "k zero modes (the scalings of ReLU) and changes no sign.",
        source="derived from w.dL/dw = a dL/da",
        computed={
            "width": width,
            "loss": result.loss,
            "output_weights_moved_by": moved,
            "gradient_in_output_weights": gradient,
            "eigenvalues": frozen.eigenvalues.size,
            "negative": frozen.negative,
            "zero_modes_when_freed": zeros,
        },
        residual=max(moved, gradient, float(mismatch)),
        tolerance=1e-13 * width,
    )


def rates(starts: int, threads: int = 1, hard: int = 12, progress: Progress | None = None) -> Check:
    """How often the flow ends at spurious minima: hardly ever for k = 6, in most runs for k = 12."""
    rows = {}
    gradients, smallest = [], []
    for width in (6, hard):
        found = []
        for outcome in outcomes(width, range(starts), threads=threads):
            found.append(outcome)
            if progress is not None:
                progress(f"{len(found)} of {starts} starts at k = {width}")
        spurious = [outcome for outcome in found if outcome.spurious]
        interval = scipy.stats.binomtest(len(spurious), starts).proportion_ci(0.999)
        rows[width] = (len(spurious), interval.low, interval.high)
        gradients += [outcome.grad_norm for outcome in found]
        smallest += [outcome.smallest for outcome in spurious]
    (few, low, _), (many, _, high) = rows[6], rows[hard]
    return Check(
        name="spurious_minima.rates",
        statement="From W = randn/sqrt(k), at most 2 % of the flows end at a spurious minimum for k = 6, "
        f"and more than half of them for k = {hard} (Clopper-Pearson, 99.9 %); every end is a critical "
        "point, and every spurious one has a positive smallest eigenvalue.",
        source="Safran & Shamir 2018 (experiment); the bounds are this project's",
        computed={
            "starts": starts,
            "spurious_at_6": few,
            f"spurious_at_{hard}": many,
            "interval_at_6": rows[6][1:],
            f"interval_at_{hard}": rows[hard][1:],
            "worst_gradient": max(gradients),
            "smallest_eigenvalue_of_spurious": min(smallest, default=math.nan),
        },
        residual=max(low - 0.02, 0.5 - high, max(gradients) - 1e-11, 0.0),
        tolerance=0.0,
    )


@register("spurious_minima.frozen_weights")
def _frozen_weights(size: str, progress: Progress) -> Iterator[Check]:
    for width in (6, 12):
        yield frozen_weights(width, seed=0)


@register("spurious_minima.rates")
def _rates(size: str, progress: Progress) -> Check:
    return rates(40 if size == "quick" else 1000, progress=progress)
