"""Copy/average: P-n-C as a function of n/k: where it exists, is a minimum, and has the lower loss.

All from symmetric points, whose full Hessian comes in blocks: any k, and n may be a fraction.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from scipy.linalg import LinAlgError, cholesky
from scipy.optimize import brentq

from ...landscape import SymmetricPoint, blocks
from ...losses.problem import Problem
from ...support.threads import single_threaded_blas
from ..check import Check, at_least, at_most, never
from ..registry import Progress, register
from .configurations import SOURCE, best_ansatz, follow, perturbed_copy
from .index import BUCKET_LIMIT, best_is_stable, critical_bucket, influence

__all__ = [
    "CROSSING_LIMIT",
    "FULL_WIDTHS",
    "NOT_CRITICAL",
    "QUICK_WIDTHS",
    "between",
    "bracketed",
    "branch",
    "check_branch",
    "check_full_hessian",
    "check_perturbed",
    "check_transition",
    "crossing",
    "gammas",
    "loss_gap",
    "perturbed_is_stable",
    "perturbed_margin",
]


def __dir__() -> list[str]:
    return sorted(__all__)


QUICK_WIDTHS = (6, 12)
FULL_WIDTHS = (4, 5, 6, 8, 10, 12, 16, 20, 30, 50, 100, 300, 10**3, 3000, 10**4, 3 * 10**4, 10**5)
"""Teacher widths k of the transition table."""

NOT_CRITICAL = 1e-20
"""Largest residual, in 40 digits, with which a point still counts as critical."""

CROSSING_LIMIT = (1 / influence(1)) / (1 / influence(1) + math.pi / 3 - 1)
"""The limit for large k of the n/k at which the losses cross, 0.76623 (derived: docs/copy-average.md)."""


@cache
def branch(k: int) -> tuple[SymmetricPoint, ...]:
    """P-n-C points of descending n, from k − 1 in steps of 4 % to min(k/4, 3√k), beyond all transitions.

    Parameters
    ----------
    k : int
        Teachers.

    Returns
    -------
    tuple of SymmetricPoint

    Examples
    --------
    >>> max(point.residual for point in branch(5)) < 1e-25
    True
    """
    lowest = max(2.0, min(0.25 * k, 3.0 * math.sqrt(k)))
    count = max(1, math.ceil(math.log((k - 1) / lowest) / 0.04))
    found = follow([*np.geomspace(k - 1, lowest, count + 1).tolist()], k)
    for point in found:
        if not point.residual <= NOT_CRITICAL:
            raise AssertionError(f"P-n-C of k = {k} lost at n = {point.ansatz.teachers[0]}")
    return tuple(found)


def between(n: float, upper: SymmetricPoint, lower: SymmetricPoint) -> SymmetricPoint:
    """The P-n-C point at a width between those of two near ones.

    Parameters
    ----------
    n : float
        The width.
    upper, lower : SymmetricPoint
        The two near ones.

    Returns
    -------
    SymmetricPoint

    Examples
    --------
    >>> upper, lower = branch(5)[:2]
    >>> widths = [point.ansatz.teachers[0] for point in (upper, lower)]
    >>> between(sum(widths) / 2, upper, lower).residual < 1e-25
    True
    """
    top, bottom = upper.ansatz.teachers[0], lower.ansatz.teachers[0]
    share = (n - bottom) / (top - bottom)
    return perturbed_copy(n, sum(upper.ansatz.teachers), share * upper.x + (1 - share) * lower.x)


def perturbed_is_stable(n: int, k: int) -> bool:
    """Whether P-n-C is a local minimum.

    Parameters
    ----------
    n, k : int
        Students and teachers, 1 < n < k.

    Returns
    -------
    bool

    Examples
    --------
    >>> perturbed_is_stable(3, 8), perturbed_is_stable(7, 8)
    (False, True)
    """
    return follow([n], k)[0].spectrum.index == 0


def perturbed_margin(point: SymmetricPoint) -> float:
    """The smallest eigenvalue of a P-n-C point.

    Parameters
    ----------
    point : SymmetricPoint
        A P-n-C point.

    Returns
    -------
    float

    Examples
    --------
    >>> perturbed_margin(branch(5)[0]) > 0
    True
    """
    return point.spectrum.smallest


def loss_gap(point: SymmetricPoint) -> float:
    """L(P-n-C) − L(C-A optimal) at the same width, to the digits of the point.

    Parameters
    ----------
    point : SymmetricPoint
        A P-n-C point.

    Returns
    -------
    float

    Examples
    --------
    >>> near, *_, far = branch(8)
    >>> loss_gap(near) < 0 < loss_gap(far)
    True
    """
    from mpmath import mp

    rest = point.ansatz.teachers[1]
    with mp.workdps(40):
        l = mp.mpf(rest) + 1
        return float(mp.mpf(point.loss_digits) - l / 3 + 2 * l * l / mp.pi * mp.asin(1 / (2 * l)))


def crossing(k: int, function: Callable[[SymmetricPoint], float]) -> float:
    """The largest width n < k − 1, a fraction, at which a function of the P-n-C point changes its sign.

    Parameters
    ----------
    k : int
        Teachers.
    function : callable
        SymmetricPoint → float.

    Returns
    -------
    float
        NaN where it keeps its sign along the whole `branch`; n to 1e-12 k, and what the rounding of the
        function allows.

    Raises
    ------
    AssertionError
        Where a point on the way is not critical in 40 digits.

    Examples
    --------
    >>> round(crossing(8, loss_gap) / 8, 4)
    0.7748
    """
    points = branch(k)
    for upper, lower in itertools.pairwise(points):
        if (function(upper) > 0) != (function(lower) > 0):
            break
    else:
        return math.nan

    def inside(n: float) -> float:
        point = between(n, upper, lower)
        if not point.residual <= NOT_CRITICAL:
            raise AssertionError(f"no P-n-C found at n = {n}, k = {k}")
        return function(point)

    ends = lower.ansatz.teachers[0], upper.ansatz.teachers[0]
    return float(brentq(inside, *ends, xtol=1e-12 * k, rtol=1e-14))


@register("copy_average.perturbed")
def check_perturbed(size: str, progress: Progress, shift: float = 0.0) -> Check:
    """P-n-C points, roots of four equations, are critical points of the full loss."""
    widths = (4, 8, 16, 40) if size == "quick" else (4, 6, 8, 12, 20, 50, 100)
    worst, rounded = [], []
    for k in widths:
        progress(f"P-n-C points, k = {k}")
        chosen = sorted({max(2, round(f * k)) for f in (0.3, 0.5, 0.75, 0.9)} - {k}, reverse=True)
        for point in follow(chosen, k):
            student = point.ansatz.student(point.x + shift)
            slope = Problem(point.ansatz.teacher(), student).gradient(student.flat())
            rounded.append(point.residual)
            worst.append(float(np.abs(slope).max()) / k)
    return Check(
        name="copy_average.perturbed",
        statement=(
            "w_i = α v_i + β Σ_{j≤n, j≠i} v_j + γ Σ_{j>n} v_j, a_i = a with (α, β, γ, a) a root of four "
            "equations is a critical point of the full loss, the four rounded to Float64."
        ),
        source=f"{SOURCE}; the reduction is by symmetry",
        parts=[
            at_most("|∇L|_∞/k of the full loss", worst, 1e-14),
            at_most("the four equations in 40 digits", rounded, 1e-30),
        ],
        computed={"widths k": list(widths)},
    )


@register("copy_average.branch")
def check_branch(
    size: str, progress: Progress, follow: Callable = follow, widths: Sequence[int] | None = None
) -> Check:
    """P-n-C is not born in a fold: one branch, a minimum within its symmetry, from n = k − 1 down to 2."""
    if widths is None:
        widths = (4, 8) if size == "quick" else (4, 5, 6, 7, 8, 10, 12)
    residuals, curvatures, jumps, rows = [], [], [], {}
    for k in widths:
        progress(f"P-n-C down to n = 2, k = {k}")
        sizes = np.geomspace(k - 1, 2.0, round(25 * math.log(k)))
        points = follow(sizes.tolist(), k)
        residuals += [point.residual for point in points]
        here = [float(point.spectrum.of("trivial").min()) for point in points]
        path = np.array([point.x for point in points])
        steps = np.abs(np.diff(path, axis=0)).max(axis=1) / -np.diff(np.log(sizes))
        curvatures.append(min(here) * k**5)  # at n = 2, where the neurons become alike
        jumps += (steps / k).tolist()
        rows[str(k)] = [path[0, -1], path[-1, -1], min(here), steps.max()]
    return Check(
        name="copy_average.branch",
        statement=(
            "Continued from n = k − 1 to n = 2, n a fraction, P-n-C is one smooth branch: at every step the "
            "four numbers are a non-degenerate minimum of the loss among points of their symmetry and move "
            "by little: there is no fold. It is not born, it becomes a minimum of the full loss."
        ),
        source=f"{SOURCE}, open questions; computed here",
        parts=[
            at_most("the four equations in 40 digits", residuals, 1e-30),
            at_least("k⁵ times the smallest eigenvalue within the symmetry", curvatures, 2.0),
            at_most("largest |dx/d ln n|/k between two steps", jumps, 1.0),
        ],
        computed={"a at n = k − 1, at n = 2, smallest eigenvalue, largest slope": rows},
    )


def gammas(k: int) -> dict[str, float]:
    """The three n/k of k teachers, by local stability and loss, with n continuous.

    Parameters
    ----------
    k : int
        The number of teachers.

    Returns
    -------
    dict of str to float
        "gamma_1", "crossing", "gamma_2"; NaN where there is none.

    Notes
    -----
    γ₁  P-n-C is a local minimum to the right
    crossing  P-n-C has the lower loss to the right
    γ₂  C-A optimal is a local minimum to the left, in closed form

    Examples
    --------
    >>> from gradflow.theory.copy_average.transition import gammas
    >>> [round(value, 4) for value in gammas(8).values()]
    [0.6017, 0.7748, 0.8379]
    """
    return {
        "gamma_1": crossing(k, perturbed_margin) / k,
        "crossing": crossing(k, loss_gap) / k,
        "gamma_2": 1 - (critical_bucket(k) - 1) / k,
    }


@register("copy_average.transition")
def check_transition(
    size: str, progress: Progress, limits: Callable = gammas, widths: Sequence[int] | None = None
) -> Check:
    """γ₁, the crossing and γ₂ by local stability, their order, and where they tend to."""
    if widths is None:
        widths = QUICK_WIDTHS if size == "quick" else FULL_WIDTHS
    rows, disordered, wrong_side, far = {}, [], [], []
    for k in widths:
        progress(f"transitions, k = {k}")
        found = limits(k)
        rows[str(k)] = found | {"n_1 over sqrt k": found["gamma_1"] * math.sqrt(k)}
        rows[str(k)]["bucket over sqrt k"] = ((1 - found["gamma_2"]) * k + 1) / math.sqrt(k)
        # The order of the three, where they exist, and P-n-C lower to the right of the crossing.
        ordered = [v for v in found.values() if not math.isnan(v)]
        disordered += [a > b for a, b in itertools.pairwise(ordered)]
        n = k * found["crossing"]
        if not math.isnan(n):
            right, left = follow([min(k - 1.0, n + 1e-6 * k), n - 1e-6 * k], k)
            wrong_side += [not loss_gap(right) < 0, not loss_gap(left) > 0]
            far.append((found["crossing"] - CROSSING_LIMIT) * k)
    return Check(
        name="copy_average.transition",
        statement=(
            "With growing n/k, first (γ₁) P-n-C becomes a local minimum, then its loss falls below that of "
            "C-A optimal, then (γ₂) C-A optimal ceases to be a local minimum, by blocks of the full Hessian "
            "with n continuous. At 10⁻⁶k on either side of the crossing the difference of the losses has its "
            "sign. The crossing is within 1.5/k of its limit (2/√3−1)/(2/√3+π/3−2) = 0.76623."
        ),
        source=f"{SOURCE}, open questions; computed here, the limits derived",
        parts=[
            never("neighbours out of order", disordered),
            never("sides of the crossing with the wrong sign", wrong_side),
            at_most("k |crossing − its limit|", np.abs(far), 1.5),
        ],
        computed=rows
        | {"limit of the crossing": CROSSING_LIMIT, "distance times k": far}
        | {"limit of the bucket over sqrt k": BUCKET_LIMIT},
    )


def bracketed(ansatz, x: np.ndarray, value: float, width: float) -> bool:
    """Whether the full Hessian's smallest eigenvalue is near a value.

    Two Cholesky factorisations of H − value ± width, (P, P), one that must succeed and one that must fail.

    Parameters
    ----------
    ansatz : Ansatz
        Of the point.
    x : ndarray, shape (p,)
        The point.
    value, width : float
        The eigenvalue, and how near.

    Returns
    -------
    bool

    Examples
    --------
    >>> ansatz, x = best_ansatz(2, 3)
    >>> bracketed(ansatz, x, blocks(ansatz, x).smallest, 1e-12)
    True
    """
    student = ansatz.student(x)
    hessian = Problem(ansatz.teacher(), student).hessian(student.flat())
    outcome = []
    with single_threaded_blas():
        for shift in (value - width, value + width):
            shifted = hessian.copy()
            shifted[np.diag_indices_from(shifted)] -= shift
            try:
                cholesky(shifted, lower=True, overwrite_a=True, check_finite=False)
                outcome.append(True)
            except LinAlgError:
                outcome.append(False)
    return outcome == [True, False]


@register("copy_average.full_hessian")
def check_full_hessian(
    size: str, progress: Progress, limits: Callable = gammas, widths: Sequence[int] | None = None
) -> Check:
    """The transitions at integer n by the full Hessian and the full loss, not by symmetry."""
    if widths is None:
        widths = (6, 12) if size == "quick" else (*range(4, 41), 50, 60, 70, 80, 90, 100)
    wrong_sign, apart, wrong_order, largest = [], [], [], 0
    for k in widths:
        progress(f"full Hessians beside the transitions, k = {k}")
        found = limits(k)
        cases = [(n, "P-n-C") for n in _beside(found["gamma_1"] * k, k)]
        cases += [(n, "C-A") for n in _beside(found["gamma_2"] * k, k)]
        for n, name in cases:
            if name == "P-n-C":
                point = follow([n], k)[0]
                ansatz, x, spectrum = point.ansatz, point.x, point.spectrum
                wrong_sign.append((n > found["gamma_1"] * k) != (spectrum.index == 0))
            else:
                ansatz, x = best_ansatz(n, k)
                spectrum = blocks(ansatz, x)
                wrong_sign.append(best_is_stable(n, k) != (spectrum.index == 0))
            apart.append(not bracketed(ansatz, x, spectrum.smallest, 1e-12 * spectrum.largest))
            largest = max(largest, int(spectrum.size))
        for n in _beside(found["crossing"] * k, k):
            one, other = follow([n], k)[0], best_ansatz(n, k)
            losses = []
            for ansatz, x in ((one.ansatz, one.x), other):
                student = ansatz.student(x)
                losses.append(Problem(ansatz.teacher(), student).loss(student.flat()))
            wrong_order.append((n > found["crossing"] * k) != (losses[0] < losses[1]))
    return Check(
        name="copy_average.full_hessian",
        statement=(
            "At the integers n on both sides of each transition, k to 100, the full Hessian has the smallest "
            "eigenvalue that its blocks give, to 10⁻¹² of the largest (by Cholesky factors of the shifted "
            "matrix), with the sign that the transition says; the full losses are in the order that the "
            "crossing says."
        ),
        source="derived",
        parts=[
            never("points whose stability is another", wrong_sign),
            never("points whose smallest eigenvalue is another", apart),
            never("widths at which the losses are in another order", wrong_order),
        ],
        computed={"widths k": list(widths), "largest Hessian": largest},
    )


def _beside(n: float, k: int) -> list[int]:
    """The integers on both sides of a width, from 2 to k − 1."""
    return [] if math.isnan(n) else sorted({max(2, math.floor(n)), min(k - 1, math.floor(n) + 1)})
