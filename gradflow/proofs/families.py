"""Critical points in families: neurons that copy one another, and neurons that are silent.

Merge the copies (w_i = f_i w with f_i > 0 for relu, ±1 for odd activations, else 1) into one neuron with
the output Σ f_i a_i and leave out the silent ones (a_i = 0): a smaller student, whose critical point is
proved as any other. Then, at the full student,

    copies    with a_i = τ_i A, A = Σ f_i a_i ≠ 0 and Σ τ_i f_i = 1, are critical however A is shared
              out: ∂L/∂a_i is f_i ∂L/∂A and ∂L/∂w_i a multiple of ∂L/∂w; m − 1 dimensions, for relu m scales
              more. (Of several outputs only A·E[r σ'(w·x) x] vanishes: a_i must be parallel to A.)
    silent    ∂L/∂w_i = 0 as a_i = 0, and ∂L/∂a_i = 2 E r σ(w_i·x) = 0 on a surface of (w_i, b_i), as many
              equations as outputs, reached along as many coordinates by an interval Newton step

These tangents T are in the kernel of the Hessian, since every point of the family is critical. Coordinates
on which T is regular are held, named; the other coordinate vectors with T are a basis, so the inertia is that
of the Hessian on the others, by Gershgorin's discs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .balls import arb, arb_mat, bounds, exact, midpoint, precision, to_text, upper, version
from .inertia import inertia
from .krawczyk import PRECISIONS
from .proof import Proof, no_proof
from .prove import SLACK, WITHIN, below, digits, locate, loss_at, verdict
from .rotations import pivots
from .settings import build, floats, hexadecimal, measured
from .zero_loss import copy_of, is_silent

ODD = ("erf", "tanh")


def prove_family(
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
    """Prove a critical point with copies or silent neurons; arguments as `prove.prove`.

    center   that of the smaller student
    """
    given = tuple(hexadecimal(list(theta)))
    loss = build(setting) if loss is None else loss
    free = tuple(range(loss.size)) if free is None else tuple(free)
    if setting["kind"] == "ansatz" or len(free) != loss.size:
        return no_proof("families are proved with all parameters of a network free", setting, given, free)
    shape = _Shape(setting, np.array(theta, dtype=np.float64))
    groups, silent = shape.parts(within)
    if not silent and all(len(group) == 1 for group in groups):
        return no_proof("no neurons copy one another, and none is silent", setting, given, free)
    if silent and shape.o > len(shape.row(0)):
        return no_proof("a silent neuron has more equations than weights", setting, given, free)
    known: dict[str, Any] = {"kind": "family", "arithmetic": version(), "within": within}
    found = base = None
    if groups:
        smaller, start = shape.merged(groups)
        base = build(smaller)
        found, gauges, moving = locate(smaller, base, start, None, precisions, box, center)
        known |= {
            "step": found.step, "contraction": found.contraction, "bits": found.bits, "box": found.box,
            "center": tuple(map(to_text, found.center)),
        }  # fmt: skip
        if any("rotations" in why for _, why in gauges):
            return no_proof("copies outside the span of the teachers: not decided", setting, given, free)
        if not found.proved:
            return no_proof(f"merged: {found.reason}", setting, given, free, **known)
    else:  # f = 0: there is nothing to solve for
        known |= {"step": 0.0, "contraction": 0.0, "bits": 128, "box": 0.0, "center": ()}
    with precision(128 if found is None else max(128, found.bits)):
        point = []
        if found is not None:
            point = list(found.center)
            for i, move in zip(moving, found.offset):
                point[i] = point[i] + move
        full = shape.spread(groups, point)
        if found is None and setting["output_bias"]:  # L is a parabola in c, of second derivative 2
            full[-shape.o :] = exact(shape.theta[-shape.o :])
            slopes = loss.value_and_gradient(full, False)[1][-shape.o :]
            full[-shape.o :] = [c - slope / 2 for c, slope in zip(full[-shape.o :], slopes)]
        held = shape.held(groups)
        for g, group in enumerate(groups):
            if len(group) > 1 and all(point[at].contains(0) for at in shape.output(g, len(groups))):
                return no_proof("copies whose outputs cancel", setting, given, free, **known)
        for i in silent:
            columns = _on_surface(loss, full, shape, i)
            if columns is None:
                reason = f"no w near that of the silent neuron {i} is proved to be critical"
                return no_proof(reason, setting, given, free, **known)
            others = [at for at in shape.row(i) if at not in columns]
            held += [(at, f"neuron {i} is silent: its surface") for at in others]
        radius = max(upper(a - b) for a, b in zip(full, exact(theta)))
        if not measured(setting, theta, [a - b for a, b in zip(full, exact(theta))]) <= within:
            reason = f"the critical point found is {radius:.3g} away, more than `within` = {within:.3g}"
            return no_proof(reason, setting, given, free, **known)
        if any(full[at].contains(0) for at, why in held if "silent" not in why):
            return no_proof(
                "the tangents of copies are not proved to be regular", setting, given, free, **known
            )
        rows = loss.hessian(full)
        out = {i for i, _ in held}
        kept = [i for i in range(loss.size) if i not in out]
        signs = inertia([[rows[i][j] for j in kept] for i in kept])
        ball = loss.value_and_gradient(full)[0] if found is None else loss_at(base, found, moving)
    if not ball.is_finite():
        return no_proof("the loss has no finite enclosure at the point", setting, given, free, **known)
    low, high = bounds(ball)
    unique = 0.0 if found is None or found.unique_radius is None else max(0.0, below(found.unique_radius))
    return Proof(
        exists=True, radius=radius * SLACK, unique_radius=unique / SLACK, **verdict(signs),
        loss=(max(low, 0.0), high), loss_text=digits(ball, center is None),
        gauges=tuple(held), reason="", problem=setting, theta=given, free=free,
        dimension=len(held), structure=shape.structure(groups, silent), **known,
    )  # fmt: skip


class _Shape:
    """Where the numbers of a network are in flat θ, and what its neurons are."""

    def __init__(self, setting: dict, theta: np.ndarray):
        self.setting, self.theta = setting, theta
        self.d, self.n, self.o = setting["sizes"]
        self.bias = int(setting["bias"])
        self.relu = setting["activation"] == "relu"
        self.rows = np.array([theta[self.row(i)] for i in range(self.n)])
        self.outputs = np.array([theta[self.output(i)] for i in range(self.n)])

    def row(self, i: int, n: int | None = None) -> list[int]:
        """The positions of w_i and b_i."""
        n = self.n if n is None else n
        return [*range(i * self.d, (i + 1) * self.d), *([n * self.d + i] if self.bias else [])]

    def output(self, i: int, n: int | None = None) -> list[int]:
        """The positions of a_i."""
        n = self.n if n is None else n
        return [n * (self.d + self.bias) + r * n + i for r in range(self.o)]

    def parts(self, within: float) -> tuple[list[list[tuple[int, float]]], list[int]]:
        """Groups of copies as (neuron, factor), the largest output first, and the silent neurons."""
        # Networks smaller than one are measured by their own size; relu neurons always are.
        near = quiet = within
        if not self.relu:
            A, V = np.abs(self.outputs).max(), np.abs(self.rows).max()
            if self.setting["kind"] == "population":
                C = np.abs(np.array(floats(self.setting["teacher"]["output"]))).max()
                A = max(A, C) if C > 0 else 1.0
            near, quiet = within * min(1.0, float(V)), within * min(1.0, float(A))
        order = sorted(range(self.n), key=lambda i: -float(np.abs(self.outputs[i]).max()))
        groups: list[list[tuple[int, float]]] = []
        silent = []
        for i in order:
            for group in groups:
                apart, factor = self._copy(self.rows[i], self.rows[group[0][0]])
                if apart <= near:
                    group.append((i, factor))
                    break
            else:
                if is_silent(self.outputs[i], self.rows[i], self.relu, quiet):
                    silent.append(i)
                else:
                    groups.append([(i, 1.0)])
        return sorted(groups), sorted(silent)

    def _copy(self, row: np.ndarray, target: np.ndarray) -> tuple[float, float]:
        if self.relu or self.setting["activation"] in ODD:
            return copy_of(row, target, self.relu)
        return float(np.abs(row - target).max()), 1.0

    def merged(self, groups) -> tuple[dict, list[float]]:
        """The smaller problem and its θ."""
        n = len(groups)
        theta = np.zeros(n * (self.d + self.bias + self.o) + self.o * self.setting["output_bias"])
        for g, group in enumerate(groups):
            theta[self.row(g, n)] = self.rows[group[0][0]]
            theta[self.output(g, n)] = sum(factor * self.outputs[i] for i, factor in group)
        if self.setting["output_bias"]:
            theta[-self.o :] = self.theta[-self.o :]
        return self.setting | {"sizes": [self.d, n, self.o]}, theta.tolist()

    def spread(self, groups, point: list) -> list:
        """θ of the full network from the balls of the smaller one, outputs of groups shared out as given."""
        n = len(groups)
        full = exact(self.theta)
        for i in range(self.n):  # silent ones keep w
            for at in self.output(i):
                full[at] = arb(0)
        for g, group in enumerate(groups):
            total = [point[at] for at in self.output(g, n)]
            A = np.array([midpoint(v) for v in total])
            left = arb(1)
            for i, factor in reversed(group):  # the first one takes the rest
                for at, source in zip(self.row(i), self.row(g, n)):
                    full[at] = point[source] * arb(factor)
                if i != group[0][0]:
                    share = arb(float(self.outputs[i] @ A / (A @ A)))
                    left = left - share * arb(factor)
                else:
                    share = left / arb(factor)
                for at, value in zip(self.output(i), total):
                    full[at] = share * value
        if self.setting["output_bias"] and point:
            full[-self.o :] = point[-self.o :]
        return full

    def held(self, groups) -> list[tuple[int, str]]:
        """Coordinates on which the tangents of copies and scales are regular."""
        found = []
        for group in groups:
            first = group[0][0]
            for i, _ in group:
                if i != first:
                    at = max(self.output(i), key=lambda p: abs(self.theta[p]))
                    found.append((at, f"neuron {i} copies neuron {first}"))
                if self.relu:
                    if i == first:
                        at = max(self.output(i), key=lambda p: abs(self.theta[p]))
                    else:
                        at = max(self.row(i), key=lambda p: abs(self.theta[p]))
                    found.append((at, f"positive scaling of neuron {i}"))
        return sorted(found)

    def structure(self, groups, silent) -> tuple[tuple[int, str], ...]:
        """What every neuron is that is not on its own."""
        words = [(i, "is silent, a = 0") for i in silent]
        for group in groups:
            words += [(i, f"copies neuron {group[0][0]}") for i, _ in group[1:]]
        return tuple(sorted(words))


def _on_surface(loss, full: list, shape: _Shape, i: int) -> list[int] | None:
    """Move some weights of a silent neuron to where ∂L/∂a_i = 0; which, or None if that is not proved."""
    outputs, o = shape.output(i), shape.o

    def values():
        gradient = loss.value_and_gradient(full, False)[1]
        return arb_mat(o, 1, [gradient[at] for at in outputs])

    def slopes(point, columns):
        rows = loss.hessian(point)
        return [[rows[at][column] for column in columns] for at in outputs]

    middle = np.array([[midpoint(v) for v in row] for row in slopes(full, shape.row(i))])
    if not np.isfinite(middle).all() or np.linalg.matrix_rank(middle) < o:
        return None
    columns = [shape.row(i)[c] for c in pivots(middle, o)]
    try:
        for _ in range(20):
            step = arb_mat(slopes(full, columns)).solve(values()).entries()
            for column, move in zip(columns, step):
                full[column] = (full[column] - move.mid()).mid()
            if max(upper(move.mid()) for move in step) < 2.0**-90:
                break
        value = values()
        first = arb_mat(slopes(full, columns)).solve(value).entries()
        size = 4 * max(upper(move) for move in first) + 2.0**-90
        boxed = list(full)
        for column in columns:
            boxed[column] = full[column] + arb(0, size)
        newton = arb_mat(slopes(boxed, columns)).solve(value).entries()
    except ZeroDivisionError:
        return None
    if not max(upper(move) for move in newton) < size:
        return None
    for column, move in zip(columns, newton):
        full[column] = full[column] - move
    return columns
