"""For which activations all students align with one teacher neuron, as in `alignment`, and for which not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ...activations import ACTIVATIONS
from ..check import Check, at_least, at_most
from ..registry import Progress, register
from ..soft_committee import soft_committee
from .one_teacher import CRITICAL, SOURCE, End, distance, ends

__all__ = [
    "ALIGNING",
    "GRADIENTS",
    "ODD",
    "STRAYS",
    "aligns",
    "cancelling_pair",
    "order",
    "strays",
]


def __dir__() -> list[str]:
    return sorted(__all__)


STRAYS = ("cos",)
"""Activations that are not odd up to a constant and whose students need not align."""

ODD = tuple(name for name, sigma in ACTIVATIONS.items() if sigma.symmetry in ("odd", "odd+constant"))
"""Activations that are odd up to a constant."""

ALIGNING = tuple(name for name in ACTIVATIONS if name not in ODD + STRAYS)
"""The others: all their students align at all local minima that were found."""


def order(activation: str) -> int:
    """The exponent q by which a gradient g at a minimum leaves a distance of order g^{1/q} from the ray.

    1 where a student that is off raises L at second order: σ(0) ≠ 0, or a kink at 0 that tells σ from a
    positively homogeneous function. 2 for relu and leaky_relu: students that share the teacher's length and
    turn by angles φ that cancel in the sum raise L by φ³. 3 where σ(0) = 0 and σ is smooth: what is left of
    a student that goes to zero raises L at fourth order.

    Parameters
    ----------
    activation : str
        A name of the table.

    Returns
    -------
    int
        1, 2 or 3.

    Examples
    --------
    >>> order("softplus"), order("relu"), order("tanh")
    (1, 2, 3)
    """
    sigma = ACTIVATIONS[activation]
    at = {z: float(sigma(np.array([z]))[0]) for z in (-2.0, -1.0, -1e-8, 0.0, 1e-8, 1.0, 2.0)}
    if at[0.0] != 0.0:
        return 1
    if abs(at[1e-8] + at[-1e-8]) <= 1e-12:
        return 3
    return 2 if at[2.0] == 2.0 * at[1.0] and at[-2.0] == 2.0 * at[-1.0] else 1


GRADIENTS = {1: 1e-13, 2: 1e-13, 3: CRITICAL}
"""By `order`: the largest gradient at a minimum. At a minimum of fourth order it falls slowly."""


def cancelling_pair(
    activation: str, cases: Sequence[tuple[int, int]] = ((2, 0), (4, 1), (10, 2)), mirror: float = -1.0
) -> Check:
    """Students v, w and −w: a global minimum without alignment if σ is odd up to a constant.

    Parameters
    ----------
    activation : str
        σ.
    cases : sequence of (int, int)
        Numbers of inputs and seeds of v and w.
    mirror : float
        The third student over w, −1 in the claim.

    Returns
    -------
    Check
        That these points are minima, L = 4σ(0)², and w is off the ray.

    Examples
    --------
    >>> from gradflow.theory.alignment.activations import cancelling_pair
    >>> cancelling_pair("tanh").holds, cancelling_pair("relu").holds
    (True, False)
    """
    gradients, excess, curvatures, distances = [], [], [], []
    for dim, seed in cases:
        v, w = np.random.default_rng(seed).standard_normal((2, dim)) / math.sqrt(dim)
        students = np.stack([v, w, mirror * w])
        there = soft_committee(activation, students, v[None])
        values = np.linalg.eigvalsh(there.hessian(there.theta0)[: 3 * dim, : 3 * dim])
        gradients.append(float(np.abs(there.gradient(there.theta0)[: 3 * dim]).max()) / max(1.0, values[-1]))
        # f − f* is the constant 2σ(0) there, and L ≥ (E(f − f*))² = 4σ(0)² for every W: a global minimum.
        constant = float(ACTIVATIONS[activation](np.zeros(1))[0])
        excess.append(abs(there.loss(there.theta0) - 4.0 * constant**2) / max(1.0, values[-1]))
        curvatures.append(-values[0] / values[-1])
        distances.append(distance(students, v))
    return Check(
        name=f"alignment.not_for.{activation}",
        statement=f"{activation} is odd up to a constant, so students v, w, -w with any w are a global "
        "minimum, L = (2 sigma(0))^2, in which w is not aligned: nothing like the ReLU theorem holds.",
        source="derived",
        parts=[
            at_most("|∇L|_∞ over the largest eigenvalue", gradients, 1e-14),
            at_most("|L − 4σ(0)²| over the largest eigenvalue", excess, 1e-14),
            at_most("negative curvature over the largest", curvatures, 1e-14),
            at_least("distance of w from the ray over |v|", distances, 0.1),
        ],
        computed={"inputs": [dim for dim, _ in cases]},
    )


def aligns(found: Sequence[End]) -> Check:
    """An activation that is not odd up to a constant: all students align.

    Parameters
    ----------
    found : sequence of End
        Where many starts have ended, by `one_teacher.ends`.

    Returns
    -------
    Check
        That they end at minima, aligned as far as their gradients say so (`order`), and at no valley.

    Examples
    --------
    >>> from gradflow.theory.alignment import activations, one_teacher
    >>> activations.aligns(one_teacher.ends("relu", students=3, dim=3, starts=2)).holds
    True
    """
    activation, teacher = found[0].activation, found[0].teacher
    (students, dim), length = found[0].weights.shape, float(np.linalg.norm(teacher))
    minima = [end for end in found if end.minimum]
    shape = "line" if ACTIVATIONS[activation].symmetry == "even" else "ray"
    q = order(activation)
    scaled = [end.distance / max(end.grad_norm, 1e-16) ** (1 / q) for end in minima]
    parts = [
        at_least("share of starts that end at a minimum", len(minima) / len(found), 0.95, cases=len(found)),
        at_most("|∇L|_∞ there", [end.grad_norm for end in minima], GRADIENTS[q]),
        at_most(f"distance from the {shape} over |v| and |∇L|^(1/{q})", scaled, 100.0 if q == 1 else 10.0),
        at_least("rise of L over its scale at |v|/10 off", [end.rise() / end.scale for end in minima], 3e-5),
    ]
    if q > 1:
        parts.append(at_most("|L| over its scale", [abs(end.loss) / end.scale for end in minima], 1e-14))
    return Check(
        name="alignment.relu" if activation == "relu" else f"alignment.for.{activation}",
        statement=f"{students} {activation} students of {dim} inputs, a teacher of length {length:g}, "
        f"{len(found)} starts: at every local minimum found all students lie on the teacher's {shape}, zero "
        f"included, as far as a gradient g says so, which leaves a distance of order g^(1/{q}). That this is "
        "all: stretched to a tenth of |v|, what is off raises L.",
        source=SOURCE if activation == "relu" else f"found by this project; the statement for ReLU: {SOURCE}",
        parts=parts,
        computed={
            "losses": sorted({round(abs(end.loss), 9) for end in minima}),
            "farthest_over_teacher": max((end.distance for end in minima), default=math.nan),
            "worst_gradient_of_all": max(end.grad_norm for end in found),
        },
    )


def strays(found: Sequence[End]) -> Check:
    """An activation that is not odd up to a constant and does not align either, as `aligns`."""
    activation, (students, dim) = found[0].activation, found[0].weights.shape
    minima = [end for end in found if end.minimum and end.grad_norm <= 1e-10]
    # Students beyond |w| = 5 run to infinity, where the cosine averages to nothing: the others count.
    off = [end.distance_of(np.linalg.norm(end.weights, axis=1) < 5.0) for end in minima]
    return Check(
        name=f"alignment.not_for.{activation}",
        statement=f"{students} {activation} students of {dim} inputs, {len(found)} starts: flows end, with a "
        "gradient below 1e-10 and no negative curvature, where students of finite length are off the "
        "teacher's line by more than 0.3 (one student runs to infinity there, where L is flat).",
        source="found by this project",
        parts=[
            at_least("largest distance from the line over |v|", max(off, default=0.0), 0.3, cases=len(off)),
        ],
        computed={"losses": sorted({round(end.loss, 9) for end in minima})},
    )


@register("alignment.not_for")
def _not_for(size: str, progress: Progress) -> Iterator[Check]:
    for name in ODD:
        yield cancelling_pair(name)
    for name in STRAYS:
        yield strays(ends(name, 3, 3, 4 if size == "quick" else 100, progress=progress))


@register("alignment.relu")
def _relu(size: str, progress: Progress) -> Iterator[Check]:
    cases = [(3, 3, 20)] if size == "quick" else [(m, d, 200) for m in (1, 2, 3, 5) for d in (2, 3, 10)]
    for students, dim, starts in cases:
        yield aligns(ends("relu", students, dim, starts, progress=progress))


@register("alignment.for")
def _for(size: str, progress: Progress) -> Iterator[Check]:
    for name in ALIGNING:
        if name == "relu":
            continue  # alignment.relu
        if size == "quick":
            yield aligns(ends(name, 3, 3, 4, progress=progress))
            continue
        yield aligns(ends(name, 3, 3, 200, progress=progress))
        for students, dim, length in ((2, 5, 0.3), (5, 3, 1.0), (3, 3, 2.0)):
            yield aligns(ends(name, students, dim, 30, length, progress))
