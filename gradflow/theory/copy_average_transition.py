"""Copy/average: where P-n-C exists, where the two losses cross, where each loses stability; indices.

All from symmetric points, whose full Hessian comes in blocks: any k, and n may be a fraction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from ..landscape import SymmetricPoint, blocks
from ..losses.problem import Problem
from .check import Check
from .copy_average import (
    SOURCE,
    best_ansatz,
    bucket_ansatz,
    follow,
    partitions,
    perturbed_copy,
)
from .registry import Progress, register

QUICK_WIDTHS = (6, 12)
FULL_WIDTHS = (4, 5, 6, 8, 10, 12, 16, 20, 30, 50, 100, 300, 10**3, 3000, 10**4, 3 * 10**4, 10**5)
"""Teacher widths k of the transition table."""


def best_margin(n: float | int, k: float | int) -> float:
    """The smallest eigenvalue of the C-A optimal point over its modes that split the average.

    Those are sums to zero over the bucket of ℓ = k − n + 1 ≥ 2 teachers ("standard(1)"); the other modes
    do not become negative (their signs are part of `copy_average.index`).
    """
    ansatz, x = best_ansatz(n, k)
    return float(blocks(ansatz, x).of("standard(1)").min())


def best_is_stable(n: int, k: int) -> bool:
    """Whether the C-A optimal point is a local minimum, 1 < n < k."""
    ansatz, x = best_ansatz(n, k)
    return blocks(ansatz, x).index == 0


@cache
def _perturbed(n: float | int, k: float | int) -> SymmetricPoint:
    return follow([n], k)[0]


def perturbed_is_stable(n: int, k: int) -> bool:
    """Whether P-n-C is a local minimum, 1 < n < k."""
    return _perturbed(n, k).spectrum.index == 0


def perturbed_margin(point: SymmetricPoint) -> float:
    """The smallest eigenvalue of a P-n-C point."""
    return point.spectrum.smallest


def loss_gap(point: SymmetricPoint) -> float:
    """L(P-n-C) − L(C-A optimal) at the same width, to the digits of the point."""
    from mpmath import mp

    rest = point.ansatz.teachers[1]
    with mp.workdps(40):
        l = mp.mpf(rest) + 1
        return float(mp.mpf(point.loss_digits) - l / 3 + 2 * l * l / mp.pi * mp.asin(1 / (2 * l)))


def crossing(k: float | int, function: Callable[[SymmetricPoint], float], digits: float = 1e-9) -> float:
    """The largest width n < k − 1, a fraction, at which a function of the P-n-C point changes its sign.

    NaN where it keeps its sign down to n = 2.
    """
    sign, step = None, 0.04
    n, point = float(k) - 1.0, perturbed_copy(float(k) - 1.0, k)
    before = None
    while n > 2.0:
        to = max(2.0, n * math.exp(-step))
        start = None if len(point.x) != 5 else point.x
        if start is not None and before is not None:
            start = start + (to - n) / (n - before[0]) * (start - before[1])
        found = perturbed_copy(to, k, start)
        here = function(point) > 0
        if sign is not None and here != sign:
            raise AssertionError("the sign was seen to change before")
        if (function(found) > 0) != here:
            return _bisect(k, function, (n, point), (to, found), digits)
        before = (n, point.x) if len(point.x) == 5 else None
        n, point, sign = to, found, here
    return math.nan


def _bisect(k, function, upper, lower, digits: float) -> float:
    """The width between two P-n-C points at which the function vanishes (secant, kept inside)."""
    (n, point), (m, other) = upper, lower
    f, g = function(point), function(other)
    x = point.x if len(point.x) == 5 else other.x
    for _ in range(60):
        middle = m - g * (m - n) / (g - f)
        inside = min(n, m) + 0.05 * abs(n - m), max(n, m) - 0.05 * abs(n - m)
        middle = min(max(middle, inside[0]), inside[1])
        found = perturbed_copy(middle, k, x)
        h, x = function(found), found.x
        if (h > 0) == (f > 0):
            n, f = middle, h
        else:
            m, g = middle, h
        if abs(n - m) <= digits * k or h == 0.0:
            break
    return middle


def critical_bucket(k: int) -> float:
    """The size ℓ of the average bucket, a fraction > 2, below which C-A optimal is no minimum; NaN if none.

    The smallest eigenvalue over the modes that split the average is negative for 2 ≤ ℓ < ℓ_c.
    """
    if best_margin(k - 1, k) > 0:
        return math.nan
    low, high = 2.0, 3.0
    while best_margin(k - high + 1, k) < 0:
        low, high = high, 1.5 * high
        if high >= k - 1:
            return math.nan
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if best_margin(k - middle + 1, k) < 0 else (low, middle)
    return 0.5 * (low + high)


@register("copy_average.index")
def check_index(
    size: str, progress: Progress, saddle: Callable = lambda sizes: sum(l > 1 for l in sizes) > 1
) -> Check:
    """The index of every CA point, by blocks and by the full Hessian; two averages make a saddle."""
    top, dense = (7, 5) if size == "quick" else (10, 8)
    table, wrong, compared = {}, 0, 0
    for k in range(2, top + 1):
        progress(f"index of CA points, k = {k}")
        for n in range(1, k + 1):
            for sizes in partitions(k, n):
                ansatz, x = bucket_ansatz(sizes)
                found = blocks(ansatz, x)
                table["+".join(map(str, sizes))] = int(found.index)
                averages = [l for l in sizes if l > 1]
                if saddle(sizes):
                    wrong += not found.index > 0
                elif len(averages) == 1 and n > 1:
                    unstable = best_margin(n, k) < 0
                    wrong += int(found.index) != (averages[0] - 1) * unstable
                else:
                    wrong += found.index != 0
                if k <= dense:
                    student = ansatz.student(x)
                    hessian = Problem(ansatz.teacher(), student).hessian(student.flat())
                    values = np.linalg.eigvalsh(hessian)
                    compared += 1
                    wrong += int((values < -found.tolerance).sum()) != found.index
    return Check(
        name="copy_average.index",
        statement=(
            "Among copy-average points (erf, d = k + 1) those with two or more averages are saddles; the one "
            "with a single average of ℓ teachers beside copies has index 0 or ℓ − 1, the latter where "
            "splitting the average lowers the loss. Indices by blocks and by the full Hessian agree "
            "(disagreements)."
        ),
        source=f"{SOURCE} for the points; their indices are computed here",
        computed={"index": table, "compared with the full Hessian": compared},
        residual=float(wrong),
        tolerance=0.0,
    )


@register("copy_average.perturbed")
def check_perturbed(size: str, progress: Progress, shift: float = 0.0) -> Check:
    """P-n-C points, roots of four equations, are critical points of the full loss."""
    widths = (4, 8, 16, 40) if size == "quick" else (4, 6, 8, 12, 20, 50, 100)
    worst, rounded, count = 0.0, 0.0, 0
    for k in widths:
        progress(f"P-n-C points, k = {k}")
        chosen = sorted({max(2, round(f * k)) for f in (0.3, 0.5, 0.75, 0.9)} - {k}, reverse=True)
        for point in follow(chosen, k):
            student = point.ansatz.student(point.x + shift)
            slope = Problem(point.ansatz.teacher(), student).gradient(student.flat())
            rounded = max(rounded, point.residual)
            worst = max(worst, float(np.abs(slope).max()))
            count += 1
    return Check(
        name="copy_average.perturbed",
        statement=(
            "w_i = α v_i + β Σ_{j≤n, j≠i} v_j + γ Σ_{j>n} v_j, a_i = a with (α, β, γ, a) a root of four "
            "equations is a critical point of the full loss (largest |∇L|_∞ there, the four rounded to "
            "Float64)."
        ),
        source=f"{SOURCE}; the reduction is by symmetry",
        computed={"points": count, "widths k": list(widths), "residual in 40 digits": rounded},
        residual=max(worst, rounded),
        tolerance=2e-13,
    )


@register("copy_average.transition")
def check_transition(
    size: str, progress: Progress, gap: Callable = loss_gap, widths: Sequence[int] | None = None
) -> Check:
    """n/k at which P-n-C becomes a minimum, the losses cross, and C-A optimal ceases to be one."""
    if widths is None:
        widths = QUICK_WIDTHS if size == "quick" else FULL_WIDTHS
    rows, wrong = {}, 0
    for k in widths:
        progress(f"transitions, k = {k}")
        stable, cross = crossing(k, perturbed_margin), crossing(k, gap)
        bucket = critical_bucket(k)
        rows[str(k)] = {
            "P-n-C minimum above n/k": stable / k,
            "losses cross at n/k": cross / k,
            "C-A minimum below n/k": 1 - (bucket - 1) / k,
            "bucket over sqrt k": bucket / math.sqrt(k),
        }
        # The order of the three, where they exist, and P-n-C lower to the right of the crossing.
        ordered = [v for v in (stable, cross, k - bucket + 1) if not math.isnan(v)]
        wrong += ordered != sorted(ordered)
        if not math.isnan(cross):
            wrong += not loss_gap(follow([min(k - 1.0, cross * 1.02)], k)[0]) < 0
            wrong += not loss_gap(follow([cross * 0.98], k)[0]) > 0
    return Check(
        name="copy_average.transition",
        statement=(
            "With growing n/k, first P-n-C becomes a local minimum, then its loss falls below that of C-A "
            "optimal, then C-A optimal ceases to be a local minimum (when the average of ℓ < ℓ_c teachers "
            "splits): the three widths by blocks of the full Hessian, n continuous (violations of the order)."
        ),
        source=f"{SOURCE}, open questions; computed here",
        computed=rows,
        residual=float(wrong),
        tolerance=0.0,
    )
