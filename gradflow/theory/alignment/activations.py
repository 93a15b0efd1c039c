"""For which activations all students align with one teacher neuron, as in `alignment`, and for which not."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ...activations import ACTIVATIONS
from ..check import Check
from ..registry import Progress, register
from .one_teacher import SOURCE, distance, ends, problem

STRAYS = ("cos",)
"""Activations that are not odd up to a constant and whose students need not align."""

ODD = tuple(name for name, sigma in ACTIVATIONS.items() if sigma.symmetry in ("odd", "odd+constant"))
"""Activations that are odd up to a constant."""

ALIGNING = tuple(name for name in ACTIVATIONS if name not in ODD + STRAYS)
"""The others: all their students align at all local minima that were found."""


def cancelling_pair(activation: str, dim: int, seed: int) -> Check:
    """Students v, w and −w: a local minimum without alignment if σ is odd up to a constant."""
    rng = np.random.default_rng(seed)
    v, w = rng.standard_normal((2, dim))
    there = problem(activation, np.stack([v, w, -w]), v)
    size = 3 * dim
    gradient = float(np.abs(there.gradient(there.theta0)[:size]).max())
    values = np.linalg.eigvalsh(there.hessian(there.theta0)[:size, :size])
    # f − f* is the constant 2σ(0) there, and L ≥ (E(f − f*))² = 4σ(0)² for every W: a global minimum.
    constant = float(ACTIVATIONS[activation](np.zeros(1))[0])
    excess = abs(there.loss(there.theta0) - 4.0 * constant**2) / max(1.0, values[-1])
    return Check(
        name=f"alignment.not_for.{activation}",
        statement=f"{activation} is odd up to a constant, so students v, w, -w with any w are a global "
        "minimum, L = (2 sigma(0))^2, in which w is not aligned: nothing like the ReLU theorem holds.",
        source="derived",
        computed={
            "gradient": gradient,
            "excess_loss": excess,
            "smallest_eigenvalue": values[0],
            "distance_from_the_ray": distance(np.stack([v, w, -w]), v),
        },
        residual=max(gradient / max(1.0, values[-1]), excess, -float(values[0]) / values[-1]),
        tolerance=1e-13,
    )


def aligns(
    activation: str,
    starts: int,
    dim: int = 3,
    students: int = 3,
    length: float = 1.0,
    progress: Progress | None = None,
) -> Check:
    """An activation that is not odd up to a constant, by many starts."""
    found = ends(activation, students, dim, starts, length, progress)
    minima = [end for end in found if end.minimum]
    shape = "line" if ACTIVATIONS[activation].symmetry == "even" else "ray"
    rise = min((end.rise() for end in minima), default=0.0)
    farthest = max((end.distance for end in minima), default=math.inf)
    return Check(
        name=f"alignment.for.{activation}",
        statement=f"{students} {activation} students of {dim} inputs, a teacher of length {length:g}, "
        f"{starts} starts: at every local minimum found all students lie on the teacher's {shape}, zero "
        "included. Where L is of fourth order in what is left of a student, a loss of rounding size leaves "
        "the fourth root of it, 1e-4 or so: hence the tolerance. That this is all: stretched to a tenth of "
        "|v|, what is off raises L by 1e-7 at least.",
        source="found by this project; the statement for ReLU: " + SOURCE,
        computed={
            "minima": len(minima),
            "other_ends": len(found) - len(minima),
            "losses": sorted({round(abs(end.loss), 9) for end in minima}),
            "worst_gradient": max(end.grad_norm for end in found),
            "farthest_over_teacher": farthest,
            "smallest_rise": rise,
        },
        residual=farthest if rise > 1e-7 else math.inf,
        tolerance=2e-3,
    )


def strays(
    activation: str, starts: int, dim: int = 3, students: int = 3, progress: Progress | None = None
) -> Check:
    """An activation that is not odd up to a constant and does not align either, by many starts."""
    minima = [
        end
        for end in ends(activation, students, dim, starts, progress=progress)
        if end.minimum and end.grad_norm <= 1e-10
    ]
    # Students beyond |w| = 5 run to infinity, where the cosine averages to nothing: the others count.
    farthest = 0.0
    for end in minima:
        farthest = max(farthest, end.distance_of(np.linalg.norm(end.weights, axis=1) < 5.0))
    return Check(
        name=f"alignment.not_for.{activation}",
        statement=f"{students} {activation} students of {dim} inputs, {starts} starts: flows end, with a "
        "gradient below 1e-10 and no negative curvature, where students of finite length are off the "
        "teacher's line by more than 0.1 (one student runs to infinity there, where L is flat).",
        source="found by this project",
        computed={
            "ends": len(minima),
            "losses": sorted({round(end.loss, 9) for end in minima}),
            "farthest": farthest,
        },
        residual=max(0.0, 0.1 - farthest),
        tolerance=0.0,
    )


@register("alignment.not_for")
def _not_for(size: str, progress: Progress) -> Iterator[Check]:
    for name in ODD:
        yield cancelling_pair(name, 4, seed=0)
    for name in STRAYS:
        yield strays(name, 4 if size == "quick" else 100, progress=progress)


@register("alignment.for")
def _for(size: str, progress: Progress) -> Iterator[Check]:
    for name in ALIGNING:
        if name == "relu":
            continue  # alignment.relu
        if size == "quick":
            yield aligns(name, 4, progress=progress)
            continue
        yield aligns(name, 200, progress=progress)
        for students, dim, length in ((2, 5, 0.3), (5, 3, 1.0), (3, 3, 2.0)):
            yield aligns(name, 30, dim, students, length, progress)
