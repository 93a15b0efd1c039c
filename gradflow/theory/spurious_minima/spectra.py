"""Spectra of k ReLU neurons on k orthonormal ones: the global minimum, and the S_{k−1} family of minima.

Conventions of `spurious_minima`: output weights fixed at one, derivatives with respect to W only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from ...landscape import Ansatz, AnsatzLoss, follow
from ...support.validate import integer
from ..check import Check, at_least, at_most
from ..registry import Progress, register
from ..soft_committee import soft_committee
from .minima import GLOBAL, blocks_ansatz

__all__ = [
    "FAMILY_AT_8",
    "family",
    "family_ansatz",
    "global_hessian",
    "global_spectrum",
]


def __dir__() -> list[str]:
    return sorted(__all__)


FAMILY_AT_8 = (1.001, -0.026, 0.228, 0.160, -0.658)
"""Where Newton starts for the S_{k−1} family at k = 8: the spurious minimum that random starts reach."""


def global_spectrum(width: int, input_dim: int | None = None) -> list[tuple[float, int]]:
    """Eigenvalues of ∇²L with respect to W at the global minimum W = I, with their multiplicities.

    Parameters
    ----------
    width : int
        k ≥ 3.
    input_dim : int, optional
        d ≥ k, k unless given.

    Returns
    -------
    list of (float, int)
        In ascending order; k·d in all.

    Raises
    ------
    ArgumentError
        For k < 3 and d < k.

    Notes
    -----
    There ½L has the second-order form ¼|X|² + ¼Σ_c(Σ_i X_ic)² + (1/2π)[Σ_{i≠j} X_ij X_ji + (tr X)² − Σ X_ii²]
    (derived), which S_k splits. With κ = k/8 and δ = ¼ − 1/2π, for L (twice as much):

        ½ − 1/π                                         k(k−1)/2    antisymmetric, and one of three copies
        ½ + 1/π                                         k(k−3)/2    symmetric, no diagonal, no sums
        ½ + k/4 ± 2√(δ² + (k²−4)/64)                    k−1 each    the other two standard copies
        s ± √(s² − 4p)  of the 2 × 2 block below        1 each      diagonal and off-diagonal constant
        ½ and ½ + k/2                                   (k−1)(d−k), d−k   the dimensions without a teacher

    The 2 × 2 block of ½L is [[½ + (k−1)/2π, ¼√(k−1)], [¼√(k−1), k/4 + 1/2π]]; s is its trace, p its
    determinant. Derived (docs/theorems.md).

    Examples
    --------
    >>> from gradflow.theory.spurious_minima.spectra import global_spectrum
    >>> [(round(value, 6), count) for value, count in global_spectrum(6)][:2]
    [(0.18169, 15), (0.574163, 5)]
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
    W = np.eye(width, dim) if weights is None else weights
    there = soft_committee("relu", W, np.eye(width, dim))
    size = width * dim
    values = np.linalg.eigvalsh(there.hessian(there.theta0)[:size, :size])
    return Check(
        name="spurious_minima.global_hessian",
        statement=f"At w_i = v_i, k = {width} orthonormal ReLU teachers in dimension {dim}, output weights "
        "fixed at one, the Hessian of L has the eigenvalues 1/2 - 1/pi (k(k-1)/2 times), 1/2 + 1/pi "
        "(k(k-3)/2 times), 1/2 + k/4 -+ 2 sqrt((1/4 - 1/2pi)^2 + (k^2 - 4)/64) (k-1 times each), the two of "
        "a 2 x 2 block, and 1/2 ((k-1)(d-k) times), 1/2 + k/2 (d-k times) across the teachers' span.",
        source="derived; the smallest, 1/2 - 1/pi, does not depend on k (blocks: Safran & Shamir 2018)",
        parts=[
            at_most("difference over the largest eigenvalue", np.abs(values - closed) / closed[-1], 1e-14)
        ],
        computed={"width": width, "input_dim": dim, "smallest": values[0], "largest": values[-1]},
    )


def family_ansatz(width: float | int) -> Ansatz:
    """The matrices W = [a b c; b a c; d d e] in blocks of k − 1 and 1, left alone by S_{k−1}.

    Parameters
    ----------
    width : float or int
        k, students and teachers.

    Returns
    -------
    Ansatz
        With x = (a, b, c, d, e).

    Examples
    --------
    >>> family_ansatz(8).teachers
    (7, 1)
    """
    return blocks_ansatz((width - 1, 1))


def family(widths: Iterable[int], dense_up_to: int = 12, shift: float = 0.0) -> Check:
    """The S_{k−1} family from k = 8 on: critical, a minimum, its loss of order 1/k; `shift` moves b."""
    chosen = sorted({8, *widths})
    points = follow(family_ansatz, chosen, FAMILY_AT_8)
    reduced, gradients, dense = [], [], []
    for width, point in zip(chosen, points):
        ansatz, x = point.ansatz, point.x + np.array([0.0, shift, 0.0, 0.0, 0.0])
        slope = AnsatzLoss(ansatz).derivatives(x)[1] / ansatz.sizes
        reduced.append(float(np.abs(slope).max()) / width)
        if width <= dense_up_to:
            there = soft_committee("relu", ansatz.student(x).weights[0], np.eye(width))
            size = width**2
            hessian = there.hessian(there.theta0)[:size, :size]
            apart = np.linalg.eigvalsh(hessian) - point.spectrum.eigenvalues()
            dense.append(float(np.abs(apart).max()) / point.spectrum.largest)
            gradients.append(float(np.abs(there.gradient(there.theta0)[:size]).max()))
    smallest = [point.spectrum.smallest for point in points]
    return Check(
        name="spurious_minima.family",
        statement="The points W = [a b c; b a c; d d e] that S_(k-1) leaves alone (k-1 students close to "
        "their teachers, the last one close to -v_k) are critical points of L over all k^2 weights at any k, "
        "with no negative eigenvalue (all of them, from blocks of size 5, 5, 1, 1) and a positive loss.",
        source="found by this project's random starts at k = 8 and followed in k; such families: "
        "Arjevani & Field 2020",
        parts=[
            at_most("the five equations in 40 digits", [point.residual for point in points], 1e-30),
            at_most("|∇L|_∞/k of the five numbers in Float64", reduced, 1e-15),
            at_most("|∇L|_∞ of the full loss", gradients, 1e-14),
            at_most("blocks less full eigenvalues over the largest", dense, 1e-14),
            at_least("smallest eigenvalue of all", smallest, 0.04),
            at_least("loss", [point.loss for point in points], GLOBAL),
        ],
        computed={
            "widths": chosen,
            "losses_times_width": [point.loss * width for width, point in zip(chosen, points)],
            "entries_at_the_last": points[-1].x,
            "smallest_eigenvalues": smallest,
        },
    )


@register("spurious_minima.global_hessian")
def _global_hessian(size: str, progress: Progress) -> Iterator[Check]:
    for width, dim in (
        [(6, 6), (8, 10)] if size == "quick" else [(6, 6), (8, 10), (12, 12), (20, 20), (30, 34)]
    ):
        yield global_hessian(width, dim)


@register("spurious_minima.family")
def _family(size: str, progress: Progress) -> Check:
    widths = [10, 20, 100, 1000, 10_000]
    return family(
        widths if size == "quick" else [*widths, 15, 50, 200, 500, 100_000], 10 if size == "quick" else 30
    )
