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

from .. import teachers
from .._train import train
from .._validate import integer
from ..landscape import Ansatz, ReducedLoss, follow
from ..losses.problem import Problem
from ..networks import MLP
from ..result import Result
from ..solvers import FlowSolver, default_solver
from .check import Check
from .registry import Progress, register

GLOBAL = 1e-9
"""A critical point with a smaller loss is a global minimum: the spurious ones found have L > 1e-5 for
every k ≤ 10⁴, and the rounding of L is below 1e-11 there."""

FAMILY_AT_8 = (1.001, -0.026, 0.228, 0.160, -0.658)
"""Where Newton starts for the S_{k−1} family at k = 8: the spurious minimum that random starts reach."""


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
    """Outcomes grouped by loss and by the sorted entries of W, both up to `tolerance`; by loss."""
    groups: list[list[Outcome]] = []
    keys: list[tuple[float, np.ndarray]] = []
    for outcome in found:
        entries = np.sort(outcome.weights, axis=None)
        for group, (loss, key) in zip(groups, keys):
            if abs(loss - outcome.loss) <= tolerance and np.abs(key - entries).max() <= tolerance:
                group.append(outcome)
                break
        else:
            groups.append([outcome])
            keys.append((outcome.loss, entries))
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


def global_spectrum(width: int, input_dim: int | None = None) -> list[tuple[float, int]]:
    """Eigenvalues of ∇²L with respect to W at W = I (k teachers in d ≥ k dimensions), with multiplicities.

    There ½L has the second-order form ¼|X|² + ¼Σ_c(Σ_i X_ic)² + (1/2π)[Σ_{i≠j} X_ij X_ji + (tr X)² − Σ X_ii²]
    (derived), which S_k splits. With κ = k/8 and δ = ¼ − 1/2π, for L (twice as much):

        ½ − 1/π                                         k(k−1)/2    antisymmetric, and one of three copies
        ½ + 1/π                                         k(k−3)/2    symmetric, no diagonal, no sums
        ½ + k/4 ± 2√(δ² + (k²−4)/64)                    k−1 each    the other two standard copies
        s ± √(s² − 4p)  of the 2 × 2 block below        1 each      diagonal and off-diagonal constant
        ½ and ½ + k/2                                   (k−1)(d−k), d−k   the dimensions without a teacher

    The 2 × 2 block of ½L is [[½ + (k−1)/2π, ¼√(k−1)], [¼√(k−1), k/4 + 1/2π]]; s is its trace, p its
    determinant. Source: derived. Raises `ArgumentError` for k < 3 and d < k.
    """
    k = integer("width", width, 3)
    extra = integer("input_dim", k if input_dim is None else input_dim, k) - k
    root = 2 * math.sqrt((0.25 - 0.5 / math.pi) ** 2 + (k * k - 4) / 64)
    first, second, off = 0.5 + (k - 1) / (2 * math.pi), k / 4 + 0.5 / math.pi, 0.25 * math.sqrt(k - 1)
    trace, split = first + second, math.hypot(first - second, 2 * off)
    pieces = [
        (0.5 - 1 / math.pi, k * (k - 1) // 2),
        (0.5 + 1 / math.pi, k * (k - 3) // 2),
        (0.5 + k / 4 - root, k - 1),
        (0.5 + k / 4 + root, k - 1),
        (trace - split, 1),
        (trace + split, 1),
        (0.5, (k - 1) * extra),
        (0.5 + k / 2, extra),
    ]
    return sorted((value, count) for value, count in pieces if count > 0)


def global_hessian(width: int, input_dim: int | None = None, weights: np.ndarray | None = None) -> Check:
    """The spectrum at the global minimum (or at `weights`) against its closed form."""
    dim = width if input_dim is None else input_dim
    closed = np.concatenate([np.full(count, value) for value, count in global_spectrum(width, dim)])
    teacher = teachers.orthonormal(width, dim, "relu")
    W = np.eye(width, dim) if weights is None else weights
    there = Problem(teacher, MLP([W, np.ones((1, width))], None, "relu"))
    size = width * dim
    values = np.linalg.eigvalsh(there.hessian(there.theta0)[:size, :size])
    return Check(
        name="spurious_minima.global_hessian",
        statement=f"At w_i = v_i, k = {width} orthonormal ReLU teachers in dimension {dim}, output weights "
        "fixed at one, the Hessian of L has the eigenvalues 1/2 - 1/pi (k(k-1)/2 times), 1/2 + 1/pi "
        "(k(k-3)/2 times), 1/2 + k/4 -+ 2 sqrt((1/4 - 1/2pi)^2 + (k^2 - 4)/64) (k-1 times each), the two of "
        "a 2 x 2 block, and 1/2 ((k-1)(d-k) times), 1/2 + k/2 (d-k times) across the teachers' span.",
        source="derived; the smallest, 1/2 - 1/pi, does not depend on k (blocks: Safran & Shamir 2018)",
        computed={"width": width, "input_dim": dim, "smallest": values[0], "largest": values[-1]},
        residual=np.abs(values - closed).max() / closed[-1],
        tolerance=1e-14 * math.sqrt(size),
    )


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


def family_ansatz(width: float | int) -> Ansatz:
    """W = [a b c; b a c; d d e] in blocks of k − 1 and 1, left alone by S_{k−1}; x = (a, b, c, d, e)."""
    return Ansatz((width - 1, 1), (0, 1), activation="relu", train_outputs=False)


def family(widths: Iterable[int], dense_up_to: int = 12, shift: float = 0.0) -> Check:
    """The S_{k−1} family from k = 8 on: critical, a minimum, its loss of order 1/k; `shift` moves b."""
    chosen = sorted({8, *widths})
    points = follow(family_ansatz, chosen, FAMILY_AT_8)
    gradient = dense = 0.0
    for width, point in zip(chosen, points):
        ansatz, x = point.ansatz, point.x + np.array([0.0, shift, 0.0, 0.0, 0.0])
        slope = ReducedLoss(ansatz).derivatives(x)[1] / ansatz.sizes
        gradient = max(gradient, float(np.abs(slope).max()))
        if width <= dense_up_to:
            there = problem(width, ansatz.student(x).weights[0])
            size = width**2
            hessian = there.hessian(there.theta0)[:size, :size]
            apart = np.linalg.eigvalsh(hessian) - point.spectrum.eigenvalues()
            dense = max(dense, float(np.abs(apart).max()))
            gradient = max(gradient, float(np.abs(there.gradient(there.theta0)[:size]).max()))
    smallest = [point.spectrum.smallest for point in points]
    not_minimum = sum(point.spectrum.index + (point.loss <= GLOBAL) for point in points)
    return Check(
        name="spurious_minima.family",
        statement="The points W = [a b c; b a c; d d e] that S_(k-1) leaves alone (k-1 students close to "
        "their teachers, the last one close to -v_k) are critical points of L over all k^2 weights at any k, "
        "with no negative eigenvalue (all of them, from blocks of size 5, 5, 1, 1) and a positive loss.",
        source="found by this project's random starts at k = 8 and followed in k; such families: "
        "Arjevani & Field 2020",
        computed={
            "widths": chosen,
            "losses": [point.loss for point in points],
            "losses_times_width": [point.loss * width for width, point in zip(chosen, points)],
            "entries_at_the_last": points[-1].x,
            "smallest_eigenvalues": smallest,
            "residual in 40 digits": max(point.residual for point in points),
            "worst_gradient": gradient,
            "blocks_against_full_hessians": dense,
        },
        residual=max(gradient, dense, float(not_minimum)),
        tolerance=5e-12,
    )


def rates(starts: int, threads: int = 1, hard: int = 12, progress: Progress | None = None) -> Check:
    """How often the flow ends at spurious minima: hardly ever for k = 6, in most runs for k = 12."""
    rows = {}
    gradients, smallest = [], []
    for width in (6, hard):
        if progress is not None:
            progress(f"{starts} starts at k = {width}")
        found = list(outcomes(width, range(starts), threads=threads))
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


@register("spurious_minima.global_hessian")
def _global_hessian(size: str, progress: Progress) -> Iterator[Check]:
    for width, dim in (
        [(6, 6), (8, 10)] if size == "quick" else [(6, 6), (8, 10), (12, 12), (20, 20), (30, 34)]
    ):
        yield global_hessian(width, dim)


@register("spurious_minima.frozen_weights")
def _frozen_weights(size: str, progress: Progress) -> Iterator[Check]:
    for width in (6, 12):
        yield frozen_weights(width, seed=0)


@register("spurious_minima.family")
def _family(size: str, progress: Progress) -> Check:
    widths = [10, 20, 100, 1000, 10_000]
    return family(
        widths if size == "quick" else [*widths, 15, 50, 200, 500, 100_000], 10 if size == "quick" else 30
    )


@register("spurious_minima.rates")
def _rates(size: str, progress: Progress) -> Check:
    return rates(40 if size == "quick" else 1000, progress=progress)
