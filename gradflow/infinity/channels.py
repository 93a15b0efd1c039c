"""Channels to infinity: two neurons that merge while their output weights diverge with opposite signs.

As ε → 0 the neurons w ± εv with output weights c/2 ± 1/(2ε) compute c σ(w·x) + (v·x) σ'(w·x). Along such
a channel L = L₀ + ε²h + O(ε⁴): the flow creeps towards ε = 0 for ever, and no minimum is there to be found.
Source: Martinelli et al., Flat channels to infinity in neural loss landscapes (NeurIPS 2025); the
coordinates, in which θ is affine at fixed ε, and the extrapolation are derived here.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np

from ..losses.problem import Problem
from ..objective import Affine, Counts, Objective
from ..refiners import Refinement, TrustRegionNewton
from ..support.eigen import newton_step, symmetric_eigen, zero_tolerance
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.stopping import StopReason
from .charts import replaced
from .coordinates import Coordinates
from .limit_network import LimitNetwork, Unit
from .limits import limit, scatter
from .saturation import Saturation, saturated

LONGEST, POINTS = (3e-2, 3e-3), 13
"""The distances ε|v| at which the channel is visited: so many, over a decade from the first down; where v
is small, that is not yet near the limit, and a decade from the second down is tried."""

STEPS = 200
"""Newton steps at one ε: on samples with an over-wide student up to a hundred are needed."""

SMALL, GOOD = 1e-3, 1e-5
"""Residual of the fit L₀ + ε²h + ε⁴h₂ over a decade, in units of the change of L: the largest that counts,
and one below which the narrower decade is not tried."""

MERGED, CANCELLED, GROWN = 0.1, 0.2, 3.0
"""A pair is looked at where |w_i − w_j| is below the first times |w_i + w_j|, |a_i + a_j| below the second
times |a_i − a_j|, and |a_i|, |a_j| above the third times every other output weight."""

FINISHING = 5
"""Newton steps at one ε after the refinement, at most."""

CRITICAL = 1e-10
"""∞-norm, in units of the gradient's scale, of the gradient in (w, c, v, rest) at a point of the channel."""


@dataclasses.dataclass(frozen=True, eq=False)
class Channel:
    """A channel to infinity and its limit c σ(w·x) + (v·x) σ'(w·x).

    Attributes
    ----------
    pair : tuple of two ints
        The two neurons, the one with a > 0 then first.
    signs : tuple of two ints
        −1 for the one that is mirrored (−w, −a, for an odd activation) to bring both into that form, else 1.
    w, v : ndarray, shape (d,)
        Of the limit, extrapolated to ε = 0; with biases one more entry, for the input that is always one.
    c : float
        Of the limit.
    epsilon : float
        ε|v| = |w_i − w_j|/2 of the end point that the result reports.
    loss, loss_error : float
        L₀, the loss at the end of the channel, and a bound on its error (`limits`).
    slope : float
        h in L = L₀ + h (ε|v|)² > 0: the channel attracts.
    residual : float
        Largest residual of the fit over a decade of ε, in units of the change of L.
    grad_norm : float
        Largest ∞-norm of the gradient in (w, c, v, rest) at the points of the fit.
    rest : ndarray
        The other parameters in the limit, in the order of θ.

    Examples
    --------
    >>> w, v = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    >>> channel = Channel((0, 1), (1, 1), w, v, 2.0, 1e-6, 0.1, 1e-15, 0.5, 1e-9, 1e-14, np.zeros(0))
    >>> str(channel).split(':')[0]
    'neurons 0 and 1 merge while their output weights diverge'
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

    def network(self, problem: Problem) -> LimitNetwork:
        """The limit as a function of the inputs, for the `problem` of which it is."""
        assert problem.student is not None
        coordinates = Coordinates(problem.student, self.pair, self.signs)
        theta = np.zeros(coordinates.size)
        theta[coordinates.rest] = self.rest
        begin = LimitNetwork.of(problem.student.with_flat(theta))
        unit = Unit("pair", self.pair, problem.student.neuron_activations(0)[self.pair[0]])
        outs = [np.array([self.c]), np.array([1.0])]
        return replaced(begin, 0, self.pair, unit, [self.w, self.v], outs, np.zeros(1))

    def __str__(self) -> str:
        i, j = self.pair
        return (
            f"neurons {i} and {j} merge while their output weights diverge: in the limit "
            f"c σ(w·x) + (v·x) σ'(w·x), c = {self.c:.6g}, |w| = {np.linalg.norm(self.w):.6g}, "
            f"|v| = {np.linalg.norm(self.v):.6g}, loss {self.loss:.15g} (± {self.loss_error:.0e})"
        )


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
            if i == j or kinds[i] != kinds[j] or kinds[i].record.is_straight:
                continue
            sign = -1 if kinds[i].symmetry == "odd" and rows[i] @ rows[j] < 0 else 1
            # A mirrored pair has output weights of one sign: the neuron is turned that gives it both.
            signs = (1, 1) if sign == 1 else (1, -1) if a[i] > 0 else (-1, 1)
            if not signs[0] * a[i] > 0 > signs[1] * a[j]:
                continue
            if sign == -1 and i > j:  # the same pair the other way round
                continue
            gap, middle = np.linalg.norm(rows[i] - sign * rows[j]), np.linalg.norm(rows[i] + sign * rows[j])
            others = np.abs(np.delete(a, [i, j])).max(initial=0.0)
            grown = min(abs(a[i]), abs(a[j])) > GROWN * others
            if (
                gap < MERGED * middle
                and abs(a[i] + sign * a[j]) < CANCELLED * abs(a[i] - sign * a[j])
                and grown
            ):
                found.append((gap / middle, (i, j), signs))
    return [(pair, signs) for _, pair, signs in sorted(found)]


def recognised(
    problem: Problem, theta: np.ndarray, refined: bool, monitor: Monitor
) -> tuple[Channel | Saturation, np.ndarray] | None:
    """What goes to infinity at `theta` (P,), and the point where a run ends there.

    A neuron by itself is looked for after a refinement only: a flow that has come near its limit is not yet
    at the minimum of the rest.
    """
    found: tuple[Channel | Saturation, np.ndarray] | None = recognise(problem, theta, monitor)
    return saturated(problem, theta, monitor) if found is None and refined else found


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

    At fixed ε Newton's method in (w, c, v, rest) finds the floor of the channel, at thirteen ε over a
    decade; the losses there are to fit L₀ + ε²h + ε⁴h₂, and are extrapolated to ε = 0 (`limits`).
    """
    for pair, signs in candidates(problem, theta):
        found = _follow(problem, theta, pair, signs, monitor)
        if found is not None:
            return found
    return None


def _follow(problem: Problem, theta, pair, signs, monitor: Monitor):
    assert problem.student is not None
    plain = Coordinates(problem.student, pair, signs)
    size = float(np.linalg.norm(plain.parts(plain.of(theta)[0])[2]))
    coordinates = Coordinates(problem.student, pair, signs, size)
    phi, _ = coordinates.of(theta)
    best = None
    for longest in LONGEST:
        found = _decade(problem.objective, coordinates, phi, longest, pair, monitor)
        if found is not None and (best is None or found[0].residual < best[0].residual):
            best = found
        if monitor.interrupted or (best is not None and best[0].residual <= GOOD):
            break
    return best


def _decade(objective: Objective, coordinates: Coordinates, phi, longest: float, pair, monitor: Monitor):
    """The channel from a decade of ε, and its point with the smallest; None if the form does not fit."""
    largest = longest / float(np.linalg.norm(coordinates.parts(phi)[2]))
    epsilons = largest * 10.0 ** -np.linspace(0.0, 1.0, POINTS)
    points, losses, norms = [], _Losses(objective), []
    for epsilon in epsilons:
        inner = Affine(objective, *coordinates.affine(epsilon))
        end = TrustRegionNewton(max_iterations=STEPS).refine(inner, phi, monitor)
        if end.stop_reason is StopReason.INTERRUPTED:
            return None
        if not end.grad_norm <= CRITICAL * objective.gradient_scale * float(coordinates.units.max()):
            return None
        phi, left = _finished(inner, end.theta)
        losses.add(inner, phi, left)
        points.append(phi)
        norms.append(end.grad_norm)
    squares = (epsilons / largest) ** 2
    fit = partial(np.polynomial.polynomial.polyfit, deg=2)
    _, change, second = coefficients = fit(squares, losses.differences)
    modelled = np.polynomial.polynomial.polyval(squares, coefficients)
    residual = float(np.abs(losses.differences - modelled).max() / abs(change))
    if not (change > 8 * objective.loss_floor and residual <= SMALL and abs(second) <= 0.1 * change):
        return None
    found = limit(squares, losses.differences, losses.noise(squares))
    w, c, v, rest = coordinates.parts(found.weights @ np.array(points))
    matrix, offset = coordinates.affine(epsilons[-1])
    channel = Channel(
        pair=pair,
        signs=coordinates.signs,
        w=w,
        v=v,
        c=c,
        epsilon=float(epsilons[-1] * np.linalg.norm(coordinates.parts(points[-1])[2])),
        loss=losses.beyond(found.value),
        loss_error=found.error + float(np.spacing(losses.beyond(found.value))),
        slope=float(change / (largest * np.linalg.norm(v)) ** 2),
        residual=residual,
        grad_norm=float(max(norms)),
        rest=rest,
    )
    # Newton's last steps lead along the valley, where the gradient is larger than at its floor.
    return channel, matrix @ end.theta + offset


def _finished(inner: Affine, phi: np.ndarray) -> tuple[np.ndarray, float]:
    """Newton's last steps at one ε, in all directions that Float64 resolves, and what one more would gain.

    Directions of weak curvature, which the refiner leaves alone, move the limit of the other parameters.
    """
    best, least = phi, np.inf
    for _ in range(FINISHING):
        _, gradient, hessian = inner.all_derivatives(phi)
        values, vectors = symmetric_eigen(hessian)
        step = newton_step(values, vectors, gradient, zero_tolerance(values))
        left = 0.5 * abs(float(gradient @ step))
        if not left < 0.5 * least:
            break
        best, least, phi = phi, left, phi + step
    return best, least


class _Losses:
    """The losses at the points of a channel, as differences from the first one.

    In double-double where the objective has it: with output weights ±1/2ε the terms of L are 1/ε² times as
    large as L, and Float64 loses as much.
    """

    def __init__(self, objective: Objective):
        self.objective, self.values, self.errors = objective, [], []
        self.bounded = True

    def add(self, inner: Affine, phi: np.ndarray, left: float) -> None:
        """The loss at a point of the floor, which is lower by `left`."""
        theta = np.ascontiguousarray(inner.matrix @ phi + inner.offset)
        try:
            extended = self.objective.double_double(theta)
        except ArgumentError:
            self.bounded = False
            self.values.append((self.objective.loss(theta), 0.0))
            self.errors.append(left)
        else:
            self.values.append((extended.loss, extended.loss_low))
            self.errors.append(extended.bound + left)

    def beyond(self, difference: float) -> float:
        """The loss that differs from the first one by so much."""
        high, low = self.values[0]
        return high + (low + difference)

    @property
    def differences(self) -> np.ndarray:
        high, low = np.array(self.values).T
        return (high - high[0]) + (low - low[0])

    def noise(self, squares: np.ndarray) -> float:
        """The absolute error of the differences: bounded, or what a smooth function does not explain."""
        known = max(self.errors) + float(np.spacing(np.abs(self.differences).max()))
        return known if self.bounded else max(known, 3 * scatter(squares, self.differences))
