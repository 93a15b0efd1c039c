"""Channels to infinity: two neurons that merge while their output weights diverge with opposite signs.

As ε → 0 the neurons w ± εv with output weights c/2 ± 1/(2ε) compute c σ(w·x) + (v·x) σ'(w·x). Along such
a channel L = L₀ + ε²h + O(ε⁴): the flow creeps towards ε = 0 for ever, and no minimum is there to be found.
Source: Martinelli et al., Flat channels to infinity in neural loss landscapes (NeurIPS 2025); the
coordinates, in which θ is affine at fixed ε, and the extrapolation are derived here.
"""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from typing import TypeVar

import numpy as np

from ..losses.base import Counts, Objective
from ..losses.problem import Problem
from ..networks import MLP
from ..refiners import Refinement, TrustRegionNewton
from ..support.progress import Monitor
from ..support.stopping import StopReason
from .saturation import Saturation, saturated

R = TypeVar("R", Refinement, None)

LONGEST, POINTS = (3e-2, 3e-3), 9
"""The distances ε|v| at which the channel is visited: so many, over a decade from the first down; where v is
small, that is not yet near the limit, and a decade from the second down is tried."""

STEPS = 200
"""Newton steps at one ε: on samples with an over-wide student up to a hundred are needed."""

SMALL, GOOD = 1e-3, 1e-5
"""Residual of the fit L₀ + ε²h + ε⁴h₂ over a decade, in units of the change of L: the largest that counts,
and one below which the narrower decade is not tried."""

MERGED, CANCELLED, GROWN = 0.1, 0.2, 3.0
"""A pair is looked at where |w_i − w_j| is below the first times |w_i + w_j|, |a_i + a_j| below the second
times |a_i − a_j|, and |a_i|, |a_j| above the third times every other output weight."""

CRITICAL = 1e-10
"""∞-norm, in units of the gradient's scale, of the gradient in (w, c, v, rest) at a point of the channel."""


@dataclasses.dataclass(frozen=True, eq=False)
class Channel:
    """A channel to infinity and its limit.

    pair        the two neurons, the one with a > 0 then first; `signs` has −1 for the one that is mirrored
                (−w, −a, for an odd activation) to bring both into the form above, else 1
    w, v, c     of the limit c σ(w·x) + (v·x) σ'(w·x), extrapolated to ε = 0; with biases w and v have
                one more entry, for the input that is always one
    epsilon     ε|v| = |w_i − w_j|/2 of the end point that the result reports
    loss        L₀, the loss at the end of the channel, and `loss_error`, the change of it when the
                widest point is left out
    slope       h in L = L₀ + h (ε|v|)² > 0: the channel attracts
    residual    largest residual of the fit over a decade of ε, in units of the change of L
    grad_norm   largest ∞-norm of the gradient in (w, c, v, rest) at the points of the fit
    rest        the other parameters in the limit, in the order of θ
    """

    pair: tuple[int, int]
    signs: tuple[int, int]
    w: np.ndarray
    v: np.ndarray
    c: float
    epsilon: float
    loss: float
    loss_error: float
    slope: float
    residual: float
    grad_norm: float
    rest: np.ndarray

    def __str__(self) -> str:
        i, j = self.pair
        return (
            f"neurons {i} and {j} merge while their output weights diverge: in the limit "
            f"c σ(w·x) + (v·x) σ'(w·x), c = {self.c:.6g}, |w| = {np.linalg.norm(self.w):.6g}, "
            f"|v| = {np.linalg.norm(self.v):.6g}, loss {self.loss:.15g} (± {self.loss_error:.0e})"
        )


class _Coordinates:
    """θ as an affine function of φ = (w, c, v, rest) at fixed ε: θ = M(ε) φ + o(ε)."""

    def __init__(self, student: MLP, pair: tuple[int, int], signs: tuple[int, int]):
        inputs, width = student.sizes[:2]
        bias, last = student.biases[0] is not None, width * inputs

        def places(i: int) -> np.ndarray:
            row = np.arange(i * inputs, (i + 1) * inputs)
            return np.append(row, last + i) if bias else row

        outputs = last + (width if bias else 0)
        self.size, self.signs = student.size, signs
        self.first, self.second = places(pair[0]), places(pair[1])
        self.outputs = outputs + pair[0], outputs + pair[1]
        taken = np.concatenate([self.first, self.second, self.outputs])
        self.rest = np.setdiff1d(np.arange(self.size), taken)
        self.dim = self.first.size

    def of(self, theta: np.ndarray) -> tuple[np.ndarray, float]:
        """φ and ε of a point; a_i − a_j = 1/ε > 0 after the mirrored neuron is turned back."""
        one, two = self.signs[0] * theta[self.first], self.signs[1] * theta[self.second]
        a, b = self.signs[0] * theta[self.outputs[0]], self.signs[1] * theta[self.outputs[1]]
        epsilon = 1.0 / (a - b)
        phi = np.concatenate([(one + two) / 2, [a + b], (one - two) / (2 * epsilon), theta[self.rest]])
        return phi, epsilon

    def affine(self, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
        """M (P, P − 1) and o (P,)."""
        d, identity = self.dim, np.eye(self.dim)
        matrix, offset = np.zeros((self.size, self.size - 1)), np.zeros(self.size)
        for places, output, side, sign in (
            (self.first, self.outputs[0], 1.0, self.signs[0]),
            (self.second, self.outputs[1], -1.0, self.signs[1]),
        ):
            matrix[places, :d] = sign * identity
            matrix[places, d + 1 : 2 * d + 1] = sign * side * epsilon * identity
            matrix[output, d] = 0.5 * sign
            offset[output] = sign * side / (2 * epsilon)
        matrix[self.rest, np.arange(2 * d + 1, self.size - 1)] = 1.0
        return matrix, offset


class _Affine(Objective):
    """An objective of φ with θ = M φ + o."""

    def __init__(self, inner: Objective, matrix: np.ndarray, offset: np.ndarray):
        self.inner, self.matrix, self.offset = inner, matrix, offset
        self.size = matrix.shape[1]
        self.loss_floor, self.gradient_scale = inner.loss_floor, inner.gradient_scale
        self.nonnegative = inner.nonnegative

    def loss_and_gradient(self, theta):
        loss, gradient = self.inner.loss_and_gradient(self.matrix @ theta + self.offset)
        with np.errstate(invalid="ignore", over="ignore"):  # non-finite trial points are refused later
            return loss, self.matrix.T @ gradient

    def all_derivatives(self, theta):
        loss, gradient, hessian = self.inner.all_derivatives(self.matrix @ theta + self.offset)
        with np.errstate(invalid="ignore", over="ignore"):
            return loss, self.matrix.T @ gradient, self.matrix.T @ hessian @ self.matrix

    def hvp(self, theta, v):
        return self.matrix.T @ self.inner.hvp(self.matrix @ theta + self.offset, self.matrix @ v)

    def loss_error(self, theta):
        return self.inner.loss_error(self.matrix @ theta + self.offset)

    @property
    def oracle(self):
        raise NotImplementedError("only refiners see channel coordinates")

    def counts(self) -> Counts:
        return self.inner.counts()


def candidates(problem: Problem, theta: np.ndarray) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs ((i, j), (s, t)) that look like a channel, s·a_i > 0 > t·a_j, the most merged one first.

    One hidden layer and one output; ReLU-like neurons have no σ' that a channel could end in.
    """
    student = problem.student
    if student is None or len(student.weights) != 2 or student.sizes[-1] != 1 or student.sizes[1] < 2:
        return []
    kinds, (W, A) = student.neuron_activations(0), student.with_flat(theta).weights
    bias = student.with_flat(theta).biases[0]
    rows, a = (W if bias is None else np.column_stack([W, bias])), A[0]
    found = []
    for i in range(a.size):
        for j in range(a.size):
            if i == j or kinds[i] != kinds[j] or kinds[i].name in ("relu", "leaky_relu", "identity"):
                continue
            sign = -1 if kinds[i].symmetry == "odd" and rows[i] @ rows[j] < 0 else 1
            # A mirrored pair has output weights of one sign: the neuron is turned that gives it both.
            signs = (1, 1) if sign == 1 else (1, -1) if a[i] > 0 else (-1, 1)
            if not signs[0] * a[i] > 0 > signs[1] * a[j]:
                continue
            if sign == -1 and i > j:  # the same pair the other way round
                continue
            gap, middle = np.linalg.norm(rows[i] - sign * rows[j]), np.linalg.norm(rows[i] + sign * rows[j])
            others = np.abs(np.delete(a, [i, j])).max(initial=0.1)
            grown = min(abs(a[i]), abs(a[j])) > GROWN * others
            if (
                gap < MERGED * middle
                and abs(a[i] + sign * a[j]) < CANCELLED * abs(a[i] - sign * a[j])
                and grown
            ):
                found.append((gap / middle, (i, j), signs))
    return [(pair, signs) for _, pair, signs in sorted(found)]


def recognised(
    problem: Problem, theta: np.ndarray, refinement: R, monitor: Monitor
) -> tuple[Channel | Saturation | None, Refinement | R]:
    """What goes to infinity as a stage of a run: the channel or neuron, and the refinement that ends there;
    or None and the refinement that there was. A neuron is looked for after a refinement only: a flow that
    has come near its limit is not yet at the minimum of the rest."""
    began, before = time.monotonic(), problem.objective.counts()
    found: tuple[Channel | Saturation, np.ndarray] | None = recognise(problem, theta, monitor)
    if found is None and refinement is not None:
        found = saturated(problem, theta, monitor)
    if found is None:
        return None, refinement
    channel, point = found
    after = None if refinement is None else refinement.settings
    end = ended_at(problem, point, StopReason.CHANNEL, "channel", after)
    return channel, dataclasses.replace(
        end,
        iterations=0 if refinement is None else refinement.iterations,
        counts=Counts(*(b - a for a, b in zip(before, problem.objective.counts()))),
        seconds=time.monotonic() - began + (0.0 if refinement is None else refinement.seconds),
    )


def ended_at(problem: Problem, theta: np.ndarray, reason: StopReason, name: str, after=None) -> Refinement:
    """A refinement that ends at θ because there is no minimum to go on to."""
    loss, gradient = problem.objective.loss_and_gradient(theta)
    return Refinement(
        theta=theta,
        loss=loss,
        grad_norm=float(np.abs(gradient).max()),
        stop_reason=reason,
        iterations=0,
        counts=Counts(0, 0, 0),
        seconds=0.0,
        settings={"refiner": name, "after": after},
    )


def recognise(problem: Problem, theta: np.ndarray, monitor: Monitor) -> tuple[Channel, np.ndarray] | None:
    """The channel that `theta` (P,) lies in, if its form fits, and the point of it with the smallest ε.

    At fixed ε Newton's method in (w, c, v, rest) finds the floor of the channel, at nine ε over a
    decade; the losses there are fitted by L₀ + ε²h + ε⁴h₂ and extrapolated to ε = 0.
    """
    for pair, signs in candidates(problem, theta):
        found = _follow(problem, theta, pair, signs, monitor)
        if found is not None:
            return found
    return None


def _follow(problem: Problem, theta, pair, signs, monitor: Monitor):
    assert problem.student is not None
    coordinates = _Coordinates(problem.student, pair, signs)
    phi, _ = coordinates.of(theta)
    best = None
    for longest in LONGEST:
        found = _decade(problem.objective, coordinates, phi, longest, pair, monitor)
        if found is not None and (best is None or found[0].residual < best[0].residual):
            best = found
        if monitor.interrupted or (best is not None and best[0].residual <= GOOD):
            break
    return best


def _decade(objective: Objective, coordinates: _Coordinates, phi, longest: float, pair, monitor: Monitor):
    """The channel from a decade of ε, and its point with the smallest; None if the form does not fit."""
    v = phi[coordinates.dim + 1 : 2 * coordinates.dim + 1]
    largest = longest / float(np.linalg.norm(v))
    epsilons = largest * 10.0 ** -np.linspace(0.0, 1.0, POINTS)
    points, losses, norms = [], [], []
    for epsilon in epsilons:
        inner = _Affine(objective, *coordinates.affine(epsilon))
        end = TrustRegionNewton(max_iterations=STEPS).refine(inner, phi, monitor)
        if end.stop_reason is StopReason.INTERRUPTED:
            return None
        if not end.grad_norm <= CRITICAL * objective.gradient_scale:
            return None
        phi = end.theta
        points.append(phi)
        losses.append(end.loss)
        norms.append(end.grad_norm)
    squares = (epsilons / largest) ** 2
    fit = partial(np.polynomial.polynomial.polyfit, deg=2)
    loss, change, second = fit(squares, losses)
    modelled = np.polynomial.polynomial.polyval(squares, (loss, change, second))
    residual = float(np.abs(np.array(losses) - modelled).max() / abs(change))
    if not (change > 8 * objective.loss_floor and residual <= SMALL and abs(second) <= 0.1 * change):
        return None
    limit, d = fit(squares, np.array(points))[0], coordinates.dim
    narrower = fit(squares[1:], losses[1:])[0]
    v = limit[d + 1 : 2 * d + 1]
    matrix, offset = coordinates.affine(epsilons[-1])
    channel = Channel(
        pair=pair,
        signs=coordinates.signs,
        w=limit[:d],
        v=v,
        c=float(limit[d]),
        epsilon=float(epsilons[-1] * np.linalg.norm(points[-1][d + 1 : 2 * d + 1])),
        loss=float(loss),
        loss_error=float(abs(loss - narrower)) + objective.loss_floor,
        slope=float(change / (largest * np.linalg.norm(v)) ** 2),
        residual=residual,
        grad_norm=float(max(norms)),
        rest=limit[2 * d + 1 :],
    )
    return channel, matrix @ points[-1] + offset
