"""Copy/average for ReLU: what is different, and what takes the place of copy-average points.

Orthogonal ReLU neurons interact (h(0) = 1/2π), so that the erf theory does not hold; perturbed copies and
averages are found by the same symmetric reduction. A scale per neuron, (cw, a/c), is free throughout.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from ...losses.problem import Problem
from ...networks import MLP
from ...run.training import train
from ...teachers import orthonormal
from ..check import Check, at_least, at_most, never, seldom
from ..registry import Progress, register
from .configurations import (
    SOURCE,
    bucket_student,
    one_neuron,
    partitions,
    perturbed_average,
    perturbed_copy,
)
from .phase import FLOW, SAME_LOSS

__all__ = [
    "check_convex",
    "check_ends",
    "check_not_critical",
    "configurations",
    "excess",
]


def __dir__() -> list[str]:
    return sorted(__all__)


@register("copy_average.relu_convex")
def check_convex(size: str, progress: Progress, loss: Callable | None = None) -> Check:
    """L(ℓ) of the best ReLU neuron is discrete convex, in 60 digits: the opposite of erf."""
    from mpmath import mp

    progress("second differences of L for relu")
    counts = [*range(2, 301 if size == "quick" else 10_001), *(10**e for e in range(5, 10))]

    def relu_loss(l):
        c = 1 / mp.sqrt(l)
        h = (mp.sqrt(1 - c * c) + (mp.pi - mp.atan2(mp.sqrt(1 - c * c), c)) * c) / (2 * mp.pi)
        return l / 2 + l * (l - 1) / (2 * mp.pi) - 2 * (l * h) ** 2

    loss = loss or relu_loss
    with mp.workdps(60):
        second = [loss(mp.mpf(l + 1)) - 2 * loss(mp.mpf(l)) + loss(mp.mpf(l - 1)) for l in counts]
        limit = 1 / mp.pi - 1 / mp.pi**2
        # L(ℓ) = (1/2π − 1/2π²) ℓ² − ℓ^{3/2}/2π + …: the second differences of the two leading terms.
        rest = [
            float(abs(value - limit + 3 / (8 * mp.pi * mp.sqrt(l))) * l**1.5)
            for value, l in zip(second, counts)
        ]
    return Check(
        name="copy_average.relu_convex",
        statement=(
            "For ReLU L(ℓ) = ℓ/2 + ℓ(ℓ−1)/2π − 2ℓ² h(1/√ℓ)² is discrete convex: its second differences are "
            "positive and rise to 1/π − 1/π² as 1/π − 1/π² − 3/(8π√ℓ) + O(ℓ^{−3/2})."
        ),
        source="derived",
        parts=[
            at_least("second difference", [float(value) for value in second], 0.1),
            at_least("its rise", [float(b - a) for a, b in itertools.pairwise(second)], 0.0),
            at_most("ℓ^{3/2} times what is left of the expansion", rest, 0.1),
        ],
        computed={"at ℓ = 2": float(second[0]), "limit": float(limit), "largest ℓ": counts[-1]},
    )


def excess(sizes: Sequence[int]) -> float:
    """L − Σ L(ℓ) at a CA point of ReLU: Σ_{b≠c} m_b m_c.

    m = (2ℓ h(1/√ℓ) − ℓ)/√(2π) is the mean error of a bucket; the errors of different buckets are
    independent. A copy has none: with one average the loss is additive.

    Parameters
    ----------
    sizes : sequence of int
        ℓ of each bucket.

    Returns
    -------
    float

    Examples
    --------
    >>> abs(excess([1, 3])) < 1e-14, excess([2, 2]) > 0.01
    (True, True)
    """
    means = [(one_neuron(l, "relu").output ** 2 - l) / math.sqrt(2 * math.pi) for l in sizes]
    return math.fsum(means) ** 2 - math.fsum(m * m for m in means)


@register("copy_average.relu_critical")
def check_not_critical(
    size: str, progress: Progress, activation: str = "relu", excess: Callable = excess
) -> Check:
    """For ReLU no CA point of 1 < n < k neurons is critical, nor the loss additive with two averages."""
    slopes, gaps, differences = [], [], []
    for k in range(3, 8 if size == "quick" else 11):
        progress(f"CA points of relu, k = {k}")
        teacher = orthonormal(k, k + 1, activation)
        for sizes in (p for n in range(2, k) for p in partitions(k, n)):
            student = bucket_student(sizes, teacher.weights[0], activation)
            loss, slope = Problem(teacher, student).loss_and_gradient(student.flat())
            slopes.append(float(np.abs(slope).max()))
            differences.append(loss - math.fsum(one_neuron(l, activation).loss for l in sizes))
            gaps.append(abs(differences[-1] - excess(sizes)))
    return Check(
        name="copy_average.relu_critical",
        statement=(
            "For ReLU none of the copy-average points with 1 < n < k (|w| = a) is critical: |∇L|_∞ ≥ 0.1557 "
            "at all partitions, the smallest at (2, 1). The loss exceeds Σ L(ℓ) by Σ_{b≠c} m_b m_c, "
            "m = (2ℓ h(1/√ℓ) − ℓ)/√(2π): it is additive only with fewer than two averages."
        ),
        source="derived",
        parts=[
            at_least("|∇L|_∞", slopes, 0.1557),
            at_most("|L − Σ L(ℓ) − Σ m_b m_c|", gaps, 3e-14),
        ],
        computed={"largest excess of the loss": max(differences)},
    )


def configurations(n: int, k: int) -> dict[str, tuple[float, float, int]]:
    """Loss, residual and index of the perturbed C-A and P-n-C points of ReLU.

    Parameters
    ----------
    n, k : int
        Students and teachers, 1 < n < k.

    Returns
    -------
    dict of str to (float, float, int)

    Examples
    --------
    >>> sorted(configurations(2, 4))
    ['C-A', 'P-n-C']
    """
    points = {"C-A": perturbed_average(n, k), "P-n-C": perturbed_copy(n, k, None, "relu")}
    return {name: (p.loss, p.residual, int(p.spectrum.index)) for name, p in points.items()}


@register("copy_average.relu_ends")
def check_ends(
    size: str,
    progress: Progress,
    names: Sequence[str] = ("C-A", "P-n-C"),
    widths: Sequence[int] | None = None,
) -> Check:
    """Flows of ReLU students end at perturbed C-A or P-m-C points, m ≤ n neurons doing the work."""
    k, starts = 6, (4 if size == "quick" else 50)
    teacher = orthonormal(k, k + 1, "relu")
    known = {"one neuron": one_neuron(k, "relu").loss}
    rows: dict[str, dict] = {}
    other, lost, critical = [], [], []
    for n in range(2, k):
        progress(f"points and flows of relu, n = {n} of k = {k}")
        found = configurations(n, k)
        critical += [residual for _, residual, _ in found.values()]
        known |= {f"{name} {n}": found[name][0] for name in names}
        ends = []
        if widths is None or n in widths:
            for seed in range(starts):
                start = MLP.random((k + 1, n, 1), "relu", False, seed=seed)
                result = train(teacher, start, solver=FLOW, progress=False)
                same = (name for name, loss in known.items() if abs(loss - result.loss) <= SAME_LOSS)
                ends.append(next(same, "other") if result.converged else "not converged")
        rows[f"n = {n}"] = {name: f"L {v[0]:.10f}, index {v[2]}" for name, v in found.items()}
        rows[f"n = {n}"] |= {name: ends.count(name) / len(ends) for name in sorted(set(ends))}
        other += [name == "other" for name in ends if name != "not converged"]
        lost += [name == "not converged" for name in ends]
    return Check(
        name="copy_average.relu_ends",
        statement=(
            "ReLU students (k = 6) end at the critical points that symmetry finds beside n − 1 copies and "
            "one average (C-A n), or beside n copies (P-n-C), or at those of fewer neurons with duplicates; "
            "one in ten does not converge (a neuron dies)."
        ),
        source=f"{SOURCE} for the two kinds; computed here",
        parts=[
            never("converged runs that end elsewhere", other),
            seldom("runs that do not converge", lost, 0.1),
            at_most("|∇L| of the points in 40 digits", critical, 1e-30),
        ],
        computed=rows,
    )
