"""From a setting and a point to a `Proof`: gauges, Krawczyk, index, loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..support.errors import StorageError
from .balls import arb, arb_mat, bounds, exact, from_text, precision, to_text, upper, version
from .inertia import Inertia, inertia
from .isotypic import matrices
from .krawczyk import PRECISIONS, Zero, find_zero
from .proof import Proof, no_proof
from .rotations import regular, rotation_gauge
from .settings import build, hexadecimal, measured, scaling_gauges

LOSS_BITS = 128
"""Precision of the loss at the centre."""

SLACK = 1.25
"""Radii are quoted with this factor, so that other approximate eigenvectors prove the same theorem."""

WITHIN = 1e-8
"""A critical point farther from θ than this is not the one that was meant."""


def prove(
    setting: dict,
    theta: Sequence[float],
    free: Sequence[int] | None = None,
    *,
    within: float = WITHIN,
    precisions: Sequence[int] = PRECISIONS,
    box: float | None = None,
    center: Sequence[str] | None = None,
    loss=None,
) -> Proof:
    """Prove that there is one critical point near θ, and its index.

    Parameters
    ----------
    setting : dict
        Of `settings`.
    theta : sequence of float (P,)
        The point; for an ansatz x.
    free : sequence of int, optional
        The parameters that move, all of them unless given.
    within : float
        No proof for a point farther away than this (∞-norm).
    precisions : sequence of int
        Bits of the working precision, tried in turn.
    box : float, optional
        The radius of the first box.
    center : sequence of str, optional
        The exact centre of an earlier proof: then nothing is polished.
    loss : optional
        `build(setting)`, where it is at hand.
    """
    loss = build(setting) if loss is None else loss
    given = tuple(hexadecimal(list(theta)))
    found, gauges, moving = locate(setting, loss, theta, free, precisions, box, center)
    free = tuple(range(loss.size)) if free is None else tuple(int(i) for i in free)
    held = {i for i, _ in gauges}
    known: dict[str, Any] = {
        "step": found.step, "contraction": found.contraction, "bits": found.bits, "box": found.box,
        "gauges": gauges, "undecided": found.undecided, "center": tuple(map(to_text, found.center)),
        "within": within, "kind": "ansatz" if setting["kind"] == "ansatz" else "point",
        "arithmetic": version(),
    }  # fmt: skip
    if not found.proved:
        return no_proof(found.reason, setting, given, free, **known)
    with precision(found.bits):
        away = [c - t for c, t in zip(found.center, exact(theta))]
        for i, move in zip(moving, found.offset):
            away[i] = away[i] + move
        radius = max((upper(v) for v in away), default=0.0)
    if not measured(setting, theta, away, each=True) <= within:  # a tiny neuron must not become another one
        reason = f"the critical point found is {radius:.3g} away, more than `within` = {within:.3g}"
        return no_proof(reason, setting, given, free, **known)
    ball = loss_at(loss, found, moving)
    if not ball.is_finite():
        return no_proof("the loss has no finite enclosure at the point", setting, given, free, **known)
    signs, blocks = Inertia(found.index, 0, len(moving) - found.index), ()
    if setting["kind"] == "ansatz":
        signs, blocks = _signs_by_blocks(loss, found, moving)
    low, high = bounds(ball)
    unique = 0.0 if found.unique_radius is None else max(0.0, below(found.unique_radius))
    dimension = sum(loss.parameters[i].size for i in held) if setting["kind"] == "ansatz" else len(gauges)
    return Proof(
        exists=True,
        radius=radius * SLACK,
        unique_radius=unique / SLACK,
        **verdict(signs),
        loss=(max(low, 0.0), high),
        loss_text=digits(ball, center is None),
        reason="",
        problem=setting,
        theta=given,
        free=free,
        blocks=blocks,
        dimension=dimension,
        **{name: value for name, value in known.items() if name != "undecided"},
    )


def locate(setting, loss, theta, free, precisions, box, center) -> tuple[Zero, tuple, list[int]]:
    """Krawczyk's test on the slice that the gauges leave: what was found, the gauges, what moves in it."""
    free = range(loss.size) if free is None else free
    start = exact(theta) if center is None else [from_text(text) for text in center]
    if len(start) != loss.size:  # of a file: the merged student's in a family
        raise StorageError(f"a proof with a centre of {len(start)} numbers, not {loss.size}")
    reference = exact(theta)  # the same choice when a proof is checked again from its centre
    gauges = scaling_gauges(setting, reference, free)
    turned, pairs = rotation_gauge(setting, reference, free)
    gauges += [(i, "rotations of the inputs that leave the teachers fixed") for i in turned]
    held = {i for i, _ in gauges}
    moving = [int(i) for i in free if i not in held]

    def gradient(point):
        g = loss.value_and_gradient(point, False)[1]
        return [g[i] for i in moving]

    def hessian(point):
        rows = loss.hessian(point)
        if len(moving) == loss.size:
            return rows
        return [[rows[i][j] for j in moving] for i in moving]

    D = [_scale(setting, theta, i) for i in moving] if setting["activation"] == "relu" else None
    found = find_zero(gradient, hessian, start, moving, precisions, box, center is None, D)
    if found.proved and turned:
        with precision(found.bits):
            point = list(found.center)
            for i, move in zip(moving, found.offset):
                point[i] = point[i] + move
            if not regular(setting, point, turned, pairs):
                found.proved, found.reason = (
                    False,
                    "the tangents of rotations are not regular where they are held",
                )
    return found, tuple(gauges), moving


def _scale(setting: dict, theta: Sequence[float], i: int) -> float:
    """A power of two near the size of the vector that a relu parameter belongs to: scales do not matter."""
    if setting["kind"] == "ansatz":
        return 1.0
    d, n, o = setting["sizes"]
    if i < n * d:
        size = max(abs(v) for v in theta[i // d * d : i // d * d + d])
    elif i < n * (d + o):
        size = max(abs(theta[n * d + r * n + (i - n * d) % n]) for r in range(o))
    else:
        size = 1.0
    return 2.0 ** min(1023, round(math.log2(size))) if size > 0.0 else 1.0


def below(ball) -> float:
    """A float below the ball: its lower bound, one float nearer to zero."""
    value = bounds(ball)[0]
    return float(np.nextafter(value, 0.0))


def loss_at(loss, found: Zero, moving):
    """L(θ*) = L(m') + ∇L(m')·δ + ½ δ·Jδ, m' the centre after a Newton step, δ the rest of the offset."""
    with precision(max(found.bits, LOSS_BITS)):
        point = list(found.center)
        rest = []
        for i, move in zip(moving, found.offset):
            point[i] = (point[i] + move.mid()).mid()
            rest.append(found.center[i] + move - point[i])
        value, gradient = loss.value_and_gradient(point)
        delta = arb_mat(len(moving), 1, rest)
        linear = sum((gradient[i] * d for i, d in zip(moving, rest)), arb(0))
        curved = (delta.transpose() * (arb_mat(found.hessian) * delta))[0, 0]
        return value + linear + curved / 2


def digits(ball, first: bool) -> str:
    """L in decimal digits; at first with four times its radius, for the sake of other eigenvectors."""
    with precision(256):
        return (ball + arb(0, 3 * ball.rad())).str(30) if first else ball.str(60, more=True)


def verdict(signs: Inertia) -> dict[str, Any]:
    """What `Proof` says of the signs of the eigenvalues."""
    decided = signs.undecided == 0
    return {
        "index": signs.negative if decided else None,
        "is_minimum": signs.negative == 0 if decided or signs.negative else None,
        "undecided": signs.undecided,
        "signs": (signs.negative, signs.positive),
    }


def _signs_by_blocks(loss, found: Zero, moving):
    """The inertia of the full Hessian at a point of an ansatz, and the negative part by representation."""
    point = list(found.center)
    with precision(found.bits):
        for i, move in zip(moving, found.offset):
            point[i] = point[i] + move
        negative, undecided, positive = found.index, 0, len(moving) - found.index
        blocks = [("trivial", 1, found.index)]
        seen = len(moving)
        for name, multiplicity, rows in matrices(loss, point):
            part = inertia(rows)
            negative += multiplicity * part.negative
            undecided += multiplicity * part.undecided
            positive += multiplicity * part.positive
            seen += multiplicity * len(rows)
            blocks.append((name, multiplicity, part.negative))
    # The representations must account for every direction but those of the scales that are held.
    held = len(point) - len(moving)
    neurons = sum(p.size for p in loss.parameters if p.block < 0) if held else 0
    everything = sum(p.size for p in loss.parameters) - neurons
    if seen != everything:
        undecided += abs(everything - seen)
    return Inertia(negative, undecided, positive), tuple(blocks)
