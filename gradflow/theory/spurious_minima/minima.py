"""Which minima exist: two families of symmetric points, whether random starts reach them or not.

Conventions as in `rates`: k ReLU students on k orthonormal ones, output weights one. All minima that this
project has found, from random starts and within subgroups of the symmetry, have students of two kinds: k − m
close to a teacher each, and m that are permuted along with the m teachers that are left. Those m stand in one
of two ways,

    apart      each faces away from its own teacher and a little towards all others; for m ≪ k, and m = 1 is
               the S_{k−1} family of `spectra`
    together   w_i ≈ −e_i + (2/m) Σ_{j≤m} e_j, the m teachers reflected; for m ≥ 6, and m = k is the type A of
               Arjevani & Field

and are found by Newton's method on the five or six numbers of W = [a b c; b a c; d d e] (m = 1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ...landscape import Ansatz, SymmetricPoint, symmetric_point
from ...support.errors import ArgumentError
from ...support.validate import integer
from ..check import Check, at_least, at_most
from ..registry import Progress, register
from ..soft_committee import soft_committee

__all__ = [
    "DESCENDED",
    "GLOBAL",
    "NEAR",
    "SAME_LOSS",
    "STARTS",
    "Minimum",
    "blocks_ansatz",
    "check_minima",
    "is_minimum",
    "minima",
    "search",
    "standing",
    "subgroups",
    "tally",
    "unknown",
]


def __dir__() -> list[str]:
    return sorted(__all__)


GLOBAL = 1e-9
"""A critical point with a smaller loss is a global minimum: the spurious ones found have L > 1e-5 for
every k ≤ 10⁴, and the rounding of L is below 1e-11 there."""

SAME_LOSS = 1e-13
"""Refined ends and symmetric points whose losses are this near are one class; those of two differ by 1e-4."""

NEAR = 1e-20
"""Largest residual, in 40 digits, of a critical point."""

DESCENDED = {
    8: (0.061834622174271, 0.067731691360437),
    10: (0.066993103946, 0.061271892205),
}
"""½L of rare minima that an independent gradient descent reached from 1,000 starts N(0, 1/k), by k."""

STARTS = {"together": (-0.7, 0.3, -0.02, 0.0), "apart": (-0.75, 0.13, 0.1, 0.15)}
"""Own weight, weights among the m students, theirs on the other teachers, the others' on theirs."""


@dataclasses.dataclass(frozen=True, eq=False)
class Minimum:
    """A local minimum that is not global.

    Attributes
    ----------
    kind : str
        "apart" or "together".
    count : int
        m, the number of students that are not close to a teacher.
    point : SymmetricPoint
        The point, to 40 digits.

    Examples
    --------
    >>> [(found.kind, found.count) for found in minima(6)]
    [('apart', 1), ('together', 6)]
    """

    kind: str
    count: int
    point: SymmetricPoint

    @property
    def loss(self) -> float:
        """L, no ½."""
        return self.point.loss

    def weights(self) -> np.ndarray:
        """W (k, k), the m students last."""
        return self.point.ansatz.student(self.point.x).weights[0]


def blocks_ansatz(sizes: Sequence[float | int]) -> Ansatz:
    """Teachers in blocks, one student per teacher, permuted with it; output weights one.

    Parameters
    ----------
    sizes : sequence of float or int
        Of the blocks.

    Returns
    -------
    Ansatz

    Examples
    --------
    >>> blocks_ansatz([5, 1]).teachers
    (5, 1)
    """
    return Ansatz(tuple(sizes), tuple(range(len(sizes))), activation="relu", train_outputs=False)


def standing(kind: str, width: int, count: int) -> SymmetricPoint:
    """The critical point near k − m students close to a teacher and m = `count` that stand apart or together.

    Parameters
    ----------
    kind : str
        "apart" or "together".
    width : int
        k.
    count : int
        m, from 1 to k.

    Returns
    -------
    SymmetricPoint
        Where Newton's method ends: look at its `spectrum` (it may be a saddle) and at its entries (it may be
        of the other kind, or of more symmetry).

    Raises
    ------
    ArgumentError
        For another kind, or a count below one or above k.

    Examples
    --------
    >>> from gradflow.theory.spurious_minima.minima import standing
    >>> point = standing("together", 8, 7)
    >>> point.loss_digits[:17], point.spectrum.index
    ('0.123669244348541', 0)
    """
    if kind not in STARTS:
        raise ArgumentError("kind", repr(kind), " or ".join(map(repr, STARTS)))
    k, m = integer("width", width, 1), integer("count", count, 1, width)
    own, among, outside, from_others = STARTS[kind]
    if m == k:
        ansatz = blocks_ansatz((k,))
        return symmetric_point(ansatz, ansatz.point([[(own, among), 1.0]]), "minimum")
    ansatz = blocks_ansatz((k - m, m))
    start = ansatz.point([[(1.0, 0.0), from_others, 1.0], [outside, (own, among), 1.0]])
    return symmetric_point(ansatz, start, "minimum")


def minima(width: int) -> list[Minimum]:
    """The spurious minima of the two families at one k, by loss.

    Parameters
    ----------
    width : int
        k.

    Returns
    -------
    list of Minimum
        Critical points in 40 digits whose full Hessian has positive eigenvalues only, each once. That there
        are no others is not known; `check_minima` searches for them.

    References
    ----------
    Safran & Shamir, Spurious local minima are common in two-layer ReLU neural networks, ICML 2018; Arjevani &
    Field, Analytic study of families of spurious minima in two-layer ReLU neural networks, NeurIPS 2021.

    Examples
    --------
    >>> from gradflow.theory.spurious_minima.minima import minima
    >>> [(minimum.kind, minimum.count, round(minimum.loss, 8)) for minimum in minima(6)]
    [('apart', 1, 0.05016116), ('together', 6, 0.11133716)]
    """
    found: list[Minimum] = []
    for start in STARTS:
        for count in range(integer("width", width, 1), 0, -1):  # the most symmetric first
            point = standing(start, width, count)
            known = any(abs(point.loss - other.loss) <= SAME_LOSS for other in found)
            if not known and is_minimum(point):
                found.append(Minimum(_kind(point), count, point))
    return sorted(found, key=lambda minimum: minimum.loss)


def _kind(point: SymmetricPoint) -> str:
    """Apart if the m students face towards the other teachers, together if not (or if there are none)."""
    if len(point.ansatz.teachers) == 1:
        return "together"
    return "apart" if point.x[point.ansatz.position(1, 0)] > 0.0 else "together"


def is_minimum(point: SymmetricPoint) -> bool:
    """Whether a point is critical and spurious, with positive eigenvalues of the full Hessian only.

    Parameters
    ----------
    point : SymmetricPoint
        Of relu, as many students as teachers.

    Returns
    -------
    bool

    Examples
    --------
    >>> all(is_minimum(found.point) for found in minima(6))
    True
    """
    return point.residual <= NEAR and point.loss > GLOBAL and point.spectrum.smallest > 0.0


def search(sizes: Sequence[int], starts: int, seed: int) -> Iterator[SymmetricPoint]:
    """Spurious minima from random starts among the points with a symmetry.

    Parameters
    ----------
    sizes : sequence of int
        Of the blocks of teachers.
    starts : int
        Their number.
    seed : int
        Of the starts.

    Yields
    ------
    SymmetricPoint

    Examples
    --------
    >>> len(list(search([5, 1], starts=2, seed=0))) <= 2
    True
    """
    ansatz = blocks_ansatz(sizes)
    rng = np.random.default_rng([*sizes, seed])
    for _ in range(starts):
        x = rng.choice([0.1, 0.3, 1.0]) * rng.standard_normal(len(ansatz.parameters))
        point = symmetric_point(ansatz, x, "minimum")
        if is_minimum(point):
            yield point


def subgroups(width: int) -> list[tuple[int, ...]]:
    """Blocks of teachers with less symmetry than the two families, down to three teachers on their own.

    Parameters
    ----------
    width : int
        Teachers.

    Returns
    -------
    list of tuple of int

    Examples
    --------
    >>> subgroups(6)
    [(5, 1), (4, 2), (4, 1, 1), (3, 3), (3, 2, 1), (3, 1, 1, 1), (2, 4)]
    """
    k = width
    return [(k - 1, 1), (k - 2, 2), (k - 2, 1, 1), (k - 3, 3), (k - 3, 2, 1), (k - 3, 1, 1, 1), (k - 4, 4)]


@register("spurious_minima.exist")
def check_minima(
    size: str,
    progress: Progress,
    known: Callable = minima,
    descended: Mapping[int, tuple[float, ...]] = DESCENDED,
    widths: Sequence[int] | None = None,
    starts: int | None = None,
) -> Check:
    """What exists: the two families, against full Hessians, another program's descent, and a search."""
    if starts is None:
        starts = 20 if size == "quick" else 200
    if widths is None:
        widths = (8,) if size == "quick" else (6, 7, 8, 9, 10, 12)
    gradients, spectra, missed, strangers, smallest, table = [], [], [], [], [], {}
    for k in sorted({*widths, *descended}):
        progress(f"minima of k = {k}")
        found = known(k)
        for minimum in found:
            there = soft_committee("relu", minimum.weights(), np.eye(k))
            gradients.append(float(np.abs(there.gradient(there.theta0)).max()))
            values = np.linalg.eigvalsh(there.hessian(there.theta0)[: k * k, : k * k])
            spectra.append(float(np.abs(values - minimum.point.spectrum.eigenvalues()).max()) / values[-1])
            smallest.append(values[0])
        losses = np.array([minimum.loss for minimum in found])
        table[str(k)] = {f"{m.kind} {m.count}": [m.loss, m.point.spectrum.smallest] for m in found}
        missed += [float(np.abs(0.5 * losses - value).min(initial=np.inf)) for value in descended.get(k, ())]
        for sizes in subgroups(k) if k in widths else ():
            progress(f"random starts for k = {k}, blocks {sizes}")
            ends = search(sizes, starts, 0)
            strangers += [float(np.abs(losses - end.loss).min(initial=np.inf)) for end in ends]
    return Check(
        name="spurious_minima.exist",
        statement="Two families of minima that are not global: k − m students close to a teacher, and m that "
        "each face away from another teacher, or that share m teachers. They are critical points of the full "
        "loss with positive eigenvalues only; rare minima that an independent gradient descent reached are "
        "among them, and so are all that Newton's method finds from random starts within smaller symmetries.",
        source="found by this project; such families: Arjevani & Field 2020",
        parts=[
            at_most("|∇L|_∞ of the full loss", gradients, 3e-14),
            at_most("blocks less full eigenvalues over the largest", spectra, 1e-14),
            at_least("smallest eigenvalue of the full Hessian", smallest, 1e-3),
            at_most("½L less that of an independent descent", missed, 5e-13),
            at_most("L less that of a minimum from a random start", strangers, SAME_LOSS),
        ],
        computed={"kind and m: loss, smallest eigenvalue": table},
    )


def unknown(losses: Sequence[float], found: Sequence[Minimum]) -> list[float]:
    """How far each loss is from that of the nearest minimum.

    Parameters
    ----------
    losses : sequence of float
        Of the ends.
    found : sequence of Minimum
        What exists.

    Returns
    -------
    list of float

    Examples
    --------
    >>> known = minima(6)
    >>> unknown([known[0].point.loss], known)
    [0.0]
    """
    known = np.array([minimum.loss for minimum in found])
    return [float(np.abs(known - loss).min(initial=np.inf)) for loss in losses]


def tally(losses: Sequence[float], found: Sequence[Minimum]) -> list[int]:
    """How many of the losses of spurious ends belong to each minimum.

    Parameters
    ----------
    losses : sequence of float
        Of the ends.
    found : sequence of Minimum
        What exists.

    Returns
    -------
    list of int

    Examples
    --------
    >>> known = minima(6)
    >>> tally([known[0].point.loss, 1.0], known)[0]
    1
    """
    return [sum(abs(loss - minimum.loss) <= SAME_LOSS for loss in losses) for minimum in found]
