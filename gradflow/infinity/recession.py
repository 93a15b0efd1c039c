"""No minimum at all: the loss falls along a direction to infinity, towards a value that it never takes.

Cross-entropy of classes that the last hidden layer separates: with margins (V_y − V_k)·h_s ≥ m > 0 for
all samples s and all other classes k, L(θ + tV) ≤ C e^{−mt} → 0, while L > 0 everywhere. Among all such
directions of the output layer the one of the largest margin at norm one is that of the support vector
machine, and for a student without hidden layers it is where the flow goes: θ(t)/|θ(t)| → V (Soudry et al.,
JMLR 19 (2018) 70). Any other loss is followed along Newton's step: at a minimum it rises before long.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.optimize

from ..inputs import Samples
from ..losses.problem import Problem
from ..networks import MLP
from ..objective import Objective
from ..support.eigen import symmetric_eigen

EPS = float(np.finfo(np.float64).eps)

DOUBLINGS = 9
"""Newton's step is followed to 2⁹ times its length, …"""

FALLEN, ROUNDED = 1e-3, 1e-6
"""… where |∇L| must have fallen to this part of what it was; and what L and its slope may rise meanwhile."""

FAR = 10.0
"""Parameters that have grown by this factor in a refinement are looked at where they were half-way."""

DENSE = 1500
"""Up to so many parameters Newton's step is taken from the Hessian; beyond, the gradient is followed."""


@dataclasses.dataclass(frozen=True, eq=False)
class Recession:
    """A direction along which L falls for ever.

    Attributes
    ----------
    direction : ndarray, shape (P,)
        Of norm one.
    loss : float
        The limit of L along it, or where the fall is slow the least L that was seen.
    margin : float or None
        With classes: the smallest difference of the outputs of a sample's own class and of another along the
        direction, at distance one.

    Examples
    --------
    >>> print(Recession(np.array([0.6, -0.8]), 0.0))
    no minimum: the loss falls to 0 along this direction: -0.8 in θ[1], +0.6 in θ[0]
    """

    direction: np.ndarray
    loss: float
    margin: float | None = None

    def __str__(self) -> str:
        text = f"no minimum: the loss falls to {self.loss:.6g} along this direction"
        if self.margin is not None:
            return f"{text}: the output layer separates the classes, margin {self.margin:.6g} at norm 1"
        largest = np.argsort(-np.abs(self.direction))[:3]
        return f"{text}: " + ", ".join(f"{self.direction[i]:+.3g} in θ[{i}]" for i in largest)


def separates(problem: Problem, theta: np.ndarray) -> bool:
    """Whether the loss is the cross-entropy of labels, without penalties, and θ has every sample right."""
    options = problem.options
    if (
        options.get("loss") != "cross_entropy"
        or options["weight_decay"] > 0
        or options["barrier"] is not None
        or options.get("merge")
    ):
        return False
    assert problem.student is not None and isinstance(problem.inputs, Samples)
    labels, counted = _labels(problem)
    if labels is None:
        return False
    outputs = np.asarray(problem.student.with_flat(theta)(problem.inputs.X))[counted]
    own = outputs[np.arange(labels.size), labels].copy()
    outputs[np.arange(labels.size), labels] = -np.inf
    return bool((own > outputs.max(axis=1)).all())


def separating_direction(problem: Problem, theta: np.ndarray, rates: np.ndarray) -> Recession | None:
    """The direction of the largest margin in the output layer of θ, if `separates`; None if there is none.

    rates (P,) are those of the flow: the norm is that of θ_i/√r_i, in which it is a gradient flow.
    """
    if not separates(problem, theta):
        return None
    assert problem.student is not None and isinstance(problem.inputs, Samples)
    labels, counted = _labels(problem)
    assert labels is not None
    here = problem.student.with_flat(theta)
    features = _last_layer(here, problem.inputs.X)[counted]
    bias = here.biases[-1] is not None
    if bias:
        features = np.column_stack([features, np.ones(labels.size)])
    classes, width = here.weights[-1].shape[0], features.shape[1]
    places = _output_places(here, classes, width, bias)
    roots = np.sqrt(rates[places])
    rows = []
    for other in range(classes):
        chosen = labels != other
        block = np.zeros((int(chosen.sum()), classes, width))
        block[np.arange(len(block)), labels[chosen]] = features[chosen]
        block[:, other] -= features[chosen]
        rows.append(block.reshape(len(block), -1))
    separator = largest_margin(np.concatenate(rows) * roots)
    if separator is None:
        return None
    direction = np.zeros(theta.size)
    direction[places] = separator * roots
    size = float(np.linalg.norm(direction))
    return Recession(direction / size, 0.0, 1.0 / size)


def largest_margin(rows: np.ndarray) -> np.ndarray | None:
    """The shortest w with A w ≥ 1 for the rows of A (m, n): 1/|w| is the largest margin. None without any.

    Least distance programming by non-negative least squares: u ≥ 0 that minimises |Aᵀu|² + (1ᵀu − 1)² has
    the residual r with w = −r_{1…n}/r_{n+1}. Source: Lawson & Hanson, Solving Least Squares Problems (1974),
    chapter 23.
    """
    scale = float(np.linalg.norm(rows, axis=1).max(initial=0.0))
    if scale == 0.0:
        return None
    matrix = np.vstack([rows.T / scale, np.ones(len(rows))])
    target = np.append(np.zeros(rows.shape[1]), 1.0)
    try:
        multipliers = scipy.optimize.nnls(matrix, target, maxiter=30 * len(target) + 3 * len(rows))[0]
    except RuntimeError:  # too many iterations: nothing is claimed
        return None
    residual = matrix @ multipliers - target
    if not residual[-1] < 0.0:
        return None
    separator = -residual[:-1] / residual[-1] / scale
    return separator if (rows @ separator >= 1.0 - 1e-6).all() else None


HALVINGS = 40
"""Of the way back to the start, at most."""


def falls_for_ever(objective: Objective, start: np.ndarray, end: np.ndarray) -> Recession | None:
    """The direction in which L falls for ever at the end of a refinement from `start`, if there is one.

    Looked at are the end and points half-way to it, a quarter …, because on the way to infinity ∇L and ∇²L
    underflow; where ∇L is small at the end, but not all 0, only if it is far from the start.
    """
    far = float(np.linalg.norm(end - start)) > FAR * (1.0 + float(np.linalg.norm(start)))
    gradient = objective.gradient(np.ascontiguousarray(end))
    if gradient.any() and not far and objective.is_critical(end, gradient):
        return None
    looked = 0
    for k in range(HALVINGS):
        point = np.ascontiguousarray(end + (1.0 - 2.0**-k) * (start - end))
        gradient = objective.gradient(point)
        if k > 0 and not gradient.any():
            continue
        found = _along_newton(objective, point)
        looked += 1
        if found is not None or looked == 3:
            return found
    return None


def _along_newton(objective: Objective, theta: np.ndarray) -> Recession | None:
    if objective.size <= DENSE:
        loss, gradient, hessian = objective.all_derivatives(theta)
        if not np.isfinite(hessian).all():
            return None
        values, vectors = symmetric_eigen(hessian)
        sizes = np.abs(values)
        used = sizes > sizes.size * EPS * sizes.max(initial=0.0)
        step = -vectors @ np.where(used, (vectors.T @ gradient) / np.where(used, sizes, 1.0), 0.0)
    else:
        loss, gradient = objective.loss_and_gradient(theta)
        step = -gradient / max(float(np.abs(gradient).max()), 1e-300) * (1.0 + float(np.abs(theta).max()))
    if not step.any() or not np.isfinite(step).all():
        return None
    lowest, first, slope = loss, float(np.abs(gradient).max()), float(gradient @ step)
    for k in range(DOUBLINGS + 1):
        now, gradient = objective.loss_and_gradient(theta + 2.0**k * step)
        rises = now > lowest + ROUNDED * (loss - lowest) or float(gradient @ step) > -ROUNDED * slope
        if not np.isfinite(gradient).all() or rises:
            return None
        lowest = min(now, lowest)
    if not (lowest < loss and float(np.abs(gradient).max()) <= FALLEN * first):
        return None
    limit = 0.0 if abs(lowest) <= 1e-9 * (loss - lowest) else lowest
    return Recession(step / float(np.linalg.norm(step)), limit)


def _labels(problem: Problem) -> tuple[np.ndarray | None, np.ndarray]:
    """The label of every sample that has weight, None for probabilities; and which samples these are."""
    assert isinstance(problem.inputs, Samples) and problem.targets is not None
    weight = problem.inputs.sample_weight
    counted = np.ones(len(problem.targets), dtype=bool) if weight is None else weight > 0
    targets = problem.targets[counted]
    if targets.ndim == 1:
        return targets.astype(np.int64), counted
    hard = bool(((targets == 0) | (targets == 1)).all() and (targets.sum(axis=1) == 1).all())
    return (targets.argmax(axis=1) if hard else None), counted


def _last_layer(network: MLP, X: np.ndarray) -> np.ndarray:
    """The activities of the last hidden layer, (samples, neurons); X without one."""
    if len(network.weights) == 1:
        return X
    shown = np.eye(network.weights[-1].shape[1])
    return MLP([*network.weights[:-1], shown], [*network.biases[:-1], None], list(network.activations))(X)


def _output_places(network: MLP, classes: int, width: int, bias: bool) -> np.ndarray:
    """Where [W b] of the output layer, row by row, is in θ."""
    first = network.size - classes * width
    if not bias:
        return first + np.arange(classes * width)
    weights = first + np.arange(classes * (width - 1)).reshape(classes, width - 1)
    biases = network.size - classes + np.arange(classes)
    return np.column_stack([weights, biases]).ravel()
