"""Copy/average: the index of every copy-average point, in closed form.

The mode x, a sum to zero over the teachers of bucket b, moves every neuron along x. The Hessian on it is
(diag δ_m + 4 u uᵀ)/π over the neurons m, u_m² = ℓ_m(2ℓ_m − 1)/2, with 4u_m²/δ_m = `influence(ℓ_m)` for
the others and −1 − `resistance(ℓ_b)` for the neuron of the bucket itself: one negative entry and a positive
matrix of rank one. It has a negative eigenvalue if and only if Σ_{m≠b} influence(ℓ_m) > resistance(ℓ_b).
Derived: docs/copy-average.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.optimize import brentq

from ...landscape import blocks
from ...losses.problem import Problem
from ..check import Check, at_most, never
from ..registry import Progress, register
from .configurations import SOURCE, best_ansatz, bucket_ansatz, bucket_student, partitions

__all__ = [
    "BUCKET_LIMIT",
    "best_is_stable",
    "check_all",
    "check_best",
    "critical_bucket",
    "index",
    "influence",
    "resistance",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def influence(l: float | int) -> float:
    """How much a bucket pushes the others to split: 1/((1−z)^{−1/2} − 1), z = 1/4ℓ².

    Parameters
    ----------
    l : float or int
        ℓ ≥ 1, its teachers.

    Returns
    -------
    float

    Examples
    --------
    >>> round(influence(1), 6)
    6.464102
    """
    return 1 / math.expm1(-0.5 * math.log1p(-0.25 / l**2))


def resistance(l: float | int) -> float:
    """What a bucket bears before it splits: 1/((1−z)^{3/2}/(1−2z) − 1), z = 1/4ℓ².

    Smaller than `influence(l)`, as (1+1/resistance)/(1+1/influence) = 1 + z²/(1−2z); both grow like 8ℓ².

    Parameters
    ----------
    l : float or int
        ℓ ≥ 2, its teachers.

    Returns
    -------
    float

    Examples
    --------
    >>> resistance(3) < influence(3)
    True
    """
    z = 0.25 / l**2
    return 1 / math.expm1(1.5 * math.log1p(-z) - math.log1p(-2 * z))


def index(sizes: Sequence[int]) -> int:
    """The number of negative eigenvalues of the Hessian at a copy-average point (erf).

    Parameters
    ----------
    sizes : sequence of int
        Of the buckets.

    Returns
    -------
    int
        Σ_b (ℓ_b − 1) over the buckets with Σ_{m≠b} influence(ℓ_m) > resistance(ℓ_b).

    Examples
    --------
    >>> from gradflow.theory.copy_average.index import index
    >>> index([1, 1, 4]), index([3, 3]), index([1] * 10 + [2])
    (0, 4, 1)
    """
    total = math.fsum(map(influence, sizes))
    return sum(l - 1 for l in sizes if l > 1 and total - influence(l) > resistance(l))


def best_is_stable(n: float | int, k: float | int) -> bool:
    """Whether C-A optimal, n − 1 copies and one average, is a local minimum.

    Parameters
    ----------
    n, k : float or int
        Students and teachers, 1 ≤ n < k.

    Returns
    -------
    bool

    Examples
    --------
    >>> best_is_stable(4, 10), best_is_stable(9, 10)
    (True, False)
    """
    return (n - 1) * influence(1) < resistance(k - n + 1)


def critical_bucket(k: float | int) -> float:
    """The size ℓ of the average below which C-A optimal is no minimum.

    Parameters
    ----------
    k : float or int
        Teachers.

    Returns
    -------
    float
        A fraction > 2; NaN if there is none.

    Notes
    -----
    The root of (k − ℓ) influence(1) = resistance(ℓ); ℓ_c/√k → `BUCKET_LIMIT`.

    Examples
    --------
    >>> round(critical_bucket(100), 6)
    8.632053
    """
    if best_is_stable(k - 1, k):
        return math.nan
    return float(brentq(lambda l: (k - l) * influence(1) - resistance(l), 2.0, float(k), xtol=1e-12))


BUCKET_LIMIT = math.sqrt((3 + 2 * math.sqrt(3)) / 8)
"""The limit of ℓ_c/√k for large k, 0.89890: influence(1) = 3 + 2√3."""


def _cases(size: str) -> Iterator[tuple[int, ...]]:
    """All partitions of small k, and random ones of larger k."""
    top, samples, largest = (7, 4, 12) if size == "quick" else (10, 60, 24)
    for k in range(1, top + 1):
        for n in range(1, k + 1):
            yield from partitions(k, n)
    rng = np.random.default_rng(10)
    for _ in range(samples):
        k = int(rng.integers(top + 1, largest + 1))
        n = int(rng.integers(2, k))
        cuts = np.sort(rng.choice(np.arange(1, k), n - 1, replace=False))
        yield tuple(sorted(np.diff([0, *cuts, k]).tolist(), reverse=True))


def check_all(size: str, progress: Progress, formula: Callable = index) -> Check:
    """The index of every CA point: closed form, full Hessian, blocks; two averages make a saddle."""
    table: dict[str, int] = {}
    wrong, not_saddles = [], []
    for sizes in _cases(size):
        progress(f"index of {'+'.join(map(str, sizes))}")
        k = sum(sizes)
        student = bucket_student(sizes, np.eye(k, k + 1))
        ansatz, x = bucket_ansatz(sizes)
        problem = Problem(ansatz.teacher(), student)
        values = np.linalg.eigvalsh(problem.hessian(student.flat()))
        cut = 64 * values.size * np.finfo(float).eps * values[-1]
        found = {int((values < -cut).sum()), formula(sizes)}
        if len(sizes) <= 6:
            found.add(int(blocks(ansatz, x).index))
        table["+".join(map(str, sizes))] = int(formula(sizes))
        wrong.append(len(found) > 1)
        if sum(l > 1 for l in sizes) > 1:
            not_saddles.append(not min(found) > 0)
    return Check(
        name="copy_average.index.all",
        statement=(
            "The index of a copy-average point (erf) is Σ (ℓ−1) over its buckets with "
            "Σ_{others} influence > resistance (closed forms in ℓ); those with two or more averages are "
            "saddles. All partitions of small k and sampled ones beyond: closed form against the full "
            "Hessian (and, up to six neurons, its blocks)."
        ),
        source=f"{SOURCE} for the points; their indices are derived here",
        parts=[
            never("points where the indices disagree", wrong),
            never("points of two averages that are no saddle", not_saddles),
        ],
        computed={"index": table},
    )


def check_best(size: str, progress: Progress, formula: Callable = index) -> Check:
    """C-A optimal on both sides of its limit of stability, any k."""
    wrong, zeros, rows = [], [], {}
    for k in (7, 8, 12, 20, 50, 100) if size == "quick" else (*range(7, 101), 300, 10**3, 10**4, 10**5):
        progress(f"limit of stability of C-A optimal, k = {k}")
        critical = critical_bucket(k)
        below, above = math.floor(critical), math.floor(critical) + 1
        for l in {max(2, below), above}:
            n = k - l + 1
            ansatz, x = best_ansatz(n, k)
            # A bucket tuple of 10⁵ ones is short enough for the closed form.
            wrong.append(int(blocks(ansatz, x).index) != formula((*[1] * (n - 1), l)))
        # As a fraction the limit is where the smallest eigenvalue over the splitting modes vanishes.
        ansatz, x = best_ansatz(k - critical + 1, k)
        values = blocks(ansatz, x).of("standard(1)")
        rows[str(k)] = [critical / math.sqrt(k), float(values.min())]
        zeros.append(abs(values.min()) / max(1.0, values.max()))
    return Check(
        name="copy_average.index.best",
        statement=(
            "C-A optimal is a local minimum if and only if (n−1)(3+2√3) < resistance(k−n+1), an average of "
            "ℓ > ℓ_c(k), ℓ_c/√k → √((3+2√3)/8) = 0.8989: the index by blocks of the full Hessian on both "
            "sides of ℓ_c, and the eigenvalue that vanishes at it relative to the largest of its kind."
        ),
        source="derived",
        parts=[
            never("buckets beside the limit with another index", wrong),
            at_most("eigenvalue at the limit", zeros, 1e-14),
        ],
        computed={"bucket over sqrt k, eigenvalue there": rows, "limit": BUCKET_LIMIT},
    )


@register("copy_average.index")
def _index(size: str, progress: Progress) -> Iterator[Check]:
    yield check_all(size, progress)
    yield check_best(size, progress)
