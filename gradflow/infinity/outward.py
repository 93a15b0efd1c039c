"""Whether the loss falls from the end of a run towards a limit at infinity, with all else at its best.

The output weights a of the neurons that go to infinity are held at uᵀa = s t, u and t their direction and
size at the end of the run (of steps and hinges their own weights), and everything else is minimised by
Newton's method, at s = 1 and a few s beyond. A finite minimum nearby, which may lie above the limit, shows by
a loss that rises.
"""

from __future__ import annotations

import numpy as np

from ..losses.problem import Problem
from ..objective import Affine
from ..refiners import TrustRegionNewton
from ..support.eigen import newton_step, symmetric_eigen, units_of_curvature, zero_tolerance
from ..support.progress import Monitor
from ..support.stopping import StopReason
from .limit_network import Unit

FACTORS = (1.0, 1.15, 1.3, 1.6)
"""Values of s."""

STEPS, ROUNDS = 100, 3
"""Newton steps at one s, and how often they are given the units of their last point."""

SETTLED = 0.2
"""What Newton's next step would gain, in units of the change of L from one s to the next, at most."""


def falls_outward(
    problem: Problem, theta: np.ndarray, moved: list[tuple[int, Unit]], limit: float, monitor: Monitor
) -> bool:
    """Whether L falls from s to s, and stays above its limit; `moved` are the units and their layers."""
    assert problem.student is not None
    groups = [_places(problem, layer, unit) for layer, unit in moved]
    held = np.zeros((theta.size, len(groups)))
    for n, places in enumerate(groups):
        held[places, n] = theta[places] / np.linalg.norm(theta[places])
    sizes = held.T @ theta
    if np.linalg.matrix_rank(held) < len(groups):
        return False
    free = np.linalg.svd(held, full_matrices=True)[0][:, len(groups) :]
    objective, point = problem.objective, theta
    rounding = 8 * float(np.spacing(abs(problem.loss(theta)))) + objective.loss_floor
    losses, left = [problem.loss(theta)], []
    for s in FACTORS:
        found = _minimised(objective, free, held @ (s * sizes), free.T @ point, monitor)
        if found is None:
            return False
        point, loss, gain = found
        losses.append(loss)
        left.append(gain)
    steps = -np.diff(losses)
    if not steps[0] >= -rounding:
        return False
    if not (steps[1:] > rounding).all() or not (np.array(left[1:]) <= SETTLED * steps[1:]).all():
        return False
    return bool(left[0] <= SETTLED * steps[1] and losses[-1] >= limit - rounding)


def _places(problem: Problem, layer: int, unit: Unit) -> np.ndarray:
    """Where the parameters that are held are in θ."""
    student = problem.student
    assert student is not None
    starts, at = [], 0
    for W, b in zip(student.weights, student.biases):
        starts.append((at, at + W.size))
        at += W.size + (0 if b is None else b.size)
    neurons = list(unit.neurons)
    if unit.kind in ("step", "hinge"):
        W, (begin, after) = student.weights[layer], starts[layer]
        rows = [begin + i * W.shape[1] + np.arange(W.shape[1]) for i in neurons]
        if student.biases[layer] is not None:
            rows.append(after + np.array(neurons))
        return np.concatenate(rows)
    W, (begin, _) = student.weights[layer + 1], starts[layer + 1]
    return np.concatenate([begin + np.arange(W.shape[0]) * W.shape[1] + i for i in neurons])


def _minimised(objective, free: np.ndarray, offset: np.ndarray, phi: np.ndarray, monitor: Monitor):
    """The minimum with the held parameters where they are: θ, L, and what one more step would gain."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for _ in range(ROUNDS):
            base = Affine(objective, free, offset)
            _, gradient, hessian = base.all_derivatives(phi)
            if not np.isfinite(hessian).all():
                return None
            units = units_of_curvature(hessian)
            inner = Affine(objective, free * units, free @ phi + offset)
            end = TrustRegionNewton(max_iterations=STEPS).refine(inner, np.zeros(phi.size), monitor)
            if end.stop_reason in (StopReason.INTERRUPTED, StopReason.NON_FINITE):
                return None
            phi = phi + units * end.theta
            if end.iterations < STEPS:
                break
        loss, gradient, hessian = Affine(objective, free * units, free @ phi + offset).all_derivatives(
            np.zeros(phi.size)
        )
        values, vectors = symmetric_eigen(hessian)
        step = newton_step(values, vectors, gradient, zero_tolerance(values))
    return np.ascontiguousarray(free @ phi + offset), loss, 0.5 * abs(float(gradient @ step))
