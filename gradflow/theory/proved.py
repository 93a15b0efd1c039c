"""Checks of the papers that are proofs in ball arithmetic: `gradflow verify --prove`.

Each point goes through `certify` and its proof through `verify_proof`. A check holds if all points are
proved to exist within 1e-10 of where Newton's method ended, with the index and the order of losses that
the theory says. The balls come from python-flint (extra `prove`); without it the checks say so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..landscape import SymmetricPoint, symmetric_point
from ..losses.problem import Problem
from ..teachers import orthonormal
from .check import Check, at_least, at_most, never
from .copy_average.configurations import SOURCE, best_ansatz, bucket_student, follow, partitions
from .copy_average.index import index as closed_index
from .copy_average.transition import gammas
from .registry import Progress, register
from .spurious_minima.minima import DESCENDED, standing

__all__ = [
    "check_crossing",
    "check_index",
    "check_spurious",
    "check_transitions",
]


def __dir__() -> list[str]:
    return sorted(__all__)


WITHIN = 1e-10
"""How far a proved point may be from the Float64 one: numbers rounded to Float64 are off by rounding times
the condition of the Hessian, 1e5 at k = 20."""


class _Points:
    """Certifies points and keeps count: which were not proved, which did not verify, and the radii."""

    def __init__(self) -> None:
        self.failed: list[bool] = []
        self.radii: list[float] = []
        self.widths: list[float] = []

    def prove(self, point, theta=None):
        from ..proofs import certify, verify_proof

        proof = certify(point) if theta is None else certify(point, theta)
        self.failed.append(not (proof.exists and verify_proof(proof).holds))
        self.radii.append(proof.radius)
        low, high = proof.loss
        self.widths.append((high - low) / high if high > 0.0 and proof.exists else 0.0)
        return proof

    def parts(self) -> list:
        return [
            never("points that are not proved, or whose proof does not verify", self.failed),
            at_most("distance of a proved point from the Float64 one", self.radii, WITHIN),
            at_most("relative width of a loss", self.widths, 1e-15),
        ]


def _best(n: int, k: int) -> SymmetricPoint:
    return symmetric_point(*best_ansatz(n, k))


@register("proved.copy_average.crossing")
def check_crossing(
    size: str, progress: Progress, limits: Callable = gammas, widths: Sequence[int] | None = None
) -> Check:
    """Optimal copy/average against P-n-C: the lower loss, on either side of the crossing."""
    if widths is None:
        widths = (6, 8, 12, 20) if size == "quick" else range(4, 21)
    points, overlap, wrong, rows = _Points(), [], [], {}
    for k in widths:
        crossing = limits(k)["crossing"] * k
        for n in range(2, k):
            if size == "quick" and not abs(n - crossing) < 1.0:
                continue
            progress(f"losses of both points, k = {k}, n = {n}")
            one, other = points.prove(follow([n], k)[0]), points.prove(_best(n, k))
            lower, higher = one.loss[1] < other.loss[0], one.loss[0] > other.loss[1]
            overlap.append(not (lower or higher))
            wrong.append(lower != (n > crossing))
            rows[f"{k}, {n}"] = [one.loss_text[:24], other.loss_text[:24]]
    return Check(
        name="proved.copy_average.crossing",
        statement=(
            "For k ≤ 20 teachers P-n-C has a lower loss than optimal copy/average at all n above the crossing"
            " and a higher one below it: both points exist, with losses in disjoint intervals."
        ),
        source=f"{SOURCE}; proved here",
        parts=[
            *points.parts(),
            never("pairs of losses that overlap", overlap),
            never("pairs in another order than the crossing says", wrong),
        ],
        computed={"k, n: loss of P-n-C, of copy/average": rows},
    )


@register("proved.copy_average.index")
def check_index(
    size: str, progress: Progress, formula: Callable = closed_index, largest: int | None = None
) -> Check:
    """The index of every copy-average point, by the full Hessian."""
    largest = (4 if size == "quick" else 6) if largest is None else largest
    points, wrong, table = _Points(), [], {}
    for k in range(1, largest + 1):
        for n in range(1, k + 1):
            for sizes in partitions(k, n):
                progress(f"index of {'+'.join(map(str, sizes))}")
                student = bucket_student(sizes, np.eye(k, k + 1))
                proof = points.prove(Problem(orthonormal(k, k + 1), student), student.flat())
                wrong.append(proof.index != formula(sizes))
                table["+".join(map(str, sizes))] = -1 if proof.index is None else proof.index
    return Check(
        name="proved.copy_average.index",
        statement=(
            "The index of every copy-average point of k ≤ 6 teachers is that of the closed form, by "
            "Gershgorin's discs of the full Hessian; none of the other eigenvalues is zero."
        ),
        source=f"{SOURCE} for the points; proved here",
        parts=[*points.parts(), never("indices that are not those of the closed form", wrong)],
        computed={"index": table},
    )


@register("proved.copy_average.transitions")
def check_transitions(
    size: str, progress: Progress, limits: Callable = gammas, widths: Sequence[int] | None = None
) -> Check:
    """γ₁ and γ₂ between two neighbouring n: P-n-C becomes a minimum, copy/average ceases to be one."""
    if widths is None:
        widths = (7, 12, 20) if size == "quick" else range(7, 41)
    points, wrong, rows = _Points(), [], {}
    for k in widths:
        found = limits(k)
        for name, minimum_above in (("gamma_1", True), ("gamma_2", False)):
            n = found[name] * k
            if not np.isfinite(n):
                continue
            for beside in sorted({max(2, int(np.floor(n))), min(k - 1, int(np.floor(n)) + 1)}):
                progress(f"{name}, k = {k}, n = {beside}")
                point = follow([beside], k)[0] if minimum_above else _best(beside, k)
                proof = points.prove(point)
                wrong.append(proof.is_minimum != ((beside > n) == minimum_above))
                rows[f"{k}, {beside}, {name}"] = -1 if proof.index is None else proof.index
    return Check(
        name="proved.copy_average.transitions",
        statement=(
            "γ₁k and γ₂k lie between neighbouring integers n: below γ₁k P-n-C is a saddle and above a strict "
            "minimum, below γ₂k optimal copy/average is a strict minimum and above a saddle."
        ),
        source=f"{SOURCE}, open questions; proved here",
        parts=[*points.parts(), never("points that are not what the transition says", wrong)],
        computed={"index at k, n": rows},
    )


@register("proved.spurious_minima")
def check_spurious(
    size: str, progress: Progress, find: Callable = standing, widths: Sequence[int] | None = None
) -> Check:
    """Spurious minima of k ReLU neurons on k orthonormal ones, k from 6 to 20."""
    if widths is None:
        widths = (6, 7, 8, 12, 20) if size == "quick" else range(6, 21)
    points, wrong, at_zero, known, rows = _Points(), [], [], [], {}
    for k in widths:
        for m in (1, 2):  # the types (1, k − 1) and (2, k − 2): students apart from their teachers
            progress(f"({m}, {k - m}), k = {k}")
            proof = points.prove(find("apart", k, m))
            expected = m == 1 or k >= 8
            wrong.append(proof.is_minimum is None or proof.is_minimum != expected)
            at_zero.append(proof.loss[0])
            rows[f"{k}, ({m}, {k - m})"] = [proof.loss_text[:24], -1 if proof.index is None else proof.index]
        for loss in DESCENDED.get(k, ()):
            known += [_distance(loss, points, k, find)]
    parts = [
        *points.parts(),
        never("points that are a minimum or a saddle against the table", wrong),
        at_least("loss of a spurious point", at_zero, 1e-3),
    ]
    if known:
        parts.append(at_most("distance of ½L from what gradient descent reached", known, 1e-11))
    return Check(
        name="proved.spurious_minima",
        statement=(
            "For k ReLU students on k orthonormal teachers, output weights one, there is a spurious strict "
            "minimum of type (1, k−1) for k = 6 … 20, and a critical point of type (2, k−2) that is a saddle "
            "for k = 6, 7 and a strict minimum for k = 8 … 20; their losses to 15 digits."
        ),
        source=(
            "Safran & Shamir, ICML 2018 (minima by computer-assisted proof for k ≤ 20); here within the "
            "ansatz, with the index of the full Hessian by representations"
        ),
        parts=parts,
        computed={"k, type: loss, index": rows},
    )


def _distance(half_loss: float, points: _Points, k: int, find: Callable) -> float:
    """From half of a known loss to the nearest of the proved points of this width."""
    found = np.inf
    for kind in ("apart", "together"):
        for m in range(1, k + 1):
            proof = points.prove(find(kind, k, m))
            found = min(found, abs(0.5 * proof.loss[0] - half_loss))
    return found
