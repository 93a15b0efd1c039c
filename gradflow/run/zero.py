"""The last way to a minimum of loss zero with infinitely many inputs: by least squares on samples of them.

Where L is nearly zero at a degenerate minimum (a student wider than its teacher), Newton's method goes half
or two thirds of the way at each step, while ∇L and ∇²L lose their digits. On samples of the inputs, many more
than there are parameters, the same point has the residuals zero, and Levenberg–Marquardt finds it without
squaring the Jacobian. Whether L is zero there is then asked of the expectations themselves.
"""

from __future__ import annotations

import numpy as np

from ..activations import Activation
from ..losses.problem import Problem
from ..networks import MLP
from ..objective import Restricted
from ..refiners import LevenbergMarquardt, TrustRegionNewton
from ..support.progress import Monitor

NEARLY = 1e-6
"""Losses below this part of what was to be explained may be on their way to zero."""

SAMPLES, LEAST = 20, 200
"""Residuals for each parameter, and of samples at least."""

STEPS, LARGEST = 400, 300
"""Steps of Levenberg–Marquardt; more parameters are left alone."""

REACH = 0.3
"""A minimum further away, in units of 1 + |θ|, is another one."""

FAR = 4.0
"""A neuron with a kink at |b| > FAR |w| has one side for all but 6e-5 of standard inputs."""

FINISHING = 60
"""Newton steps once such neurons are where the teacher has them."""


def zero_nearby(problem: Problem, theta: np.ndarray, loss: float, monitor: Monitor) -> np.ndarray | None:
    """A point (P,) near θ at which L is zero within its error; None where none is found."""
    student, teacher, objective = problem.student, problem.teacher, problem.objective
    if student is None or not isinstance(teacher, MLP) or problem.inputs is None:
        return None
    if problem.inputs.samples is not None or theta.size > LARGEST:
        return None
    if problem.options["weight_decay"] or problem.options["barrier"] is not None:
        return None
    if not 0.0 <= abs(loss) <= NEARLY * objective.spread**2:
        return None
    found = _with_far_neurons_of_the_teacher(problem, theta, monitor)
    if found is not None:
        return found
    count = max(LEAST, SAMPLES * theta.size // student.sizes[-1])
    X = problem.inputs.sample(count, student.sizes[0], np.random.default_rng(0))
    sampled = Problem(teacher, student.with_flat(theta), X)
    found = LevenbergMarquardt(max_iterations=STEPS).refine(sampled.objective, theta.copy(), monitor).theta
    found = np.ascontiguousarray(found)
    if not np.isfinite(found).all():
        return None
    if np.linalg.norm(found - theta) > REACH * (1.0 + np.linalg.norm(theta)):
        return None
    return found if objective.is_zero(found, objective.loss(found)) else None


def _with_far_neurons_of_the_teacher(
    problem: Problem, theta: np.ndarray, monitor: Monitor
) -> np.ndarray | None:
    """A zero at which neurons with a far kink are the teacher's, or silent; None where there is none.

    What such a kink is good for is below the rounding of L: Newton's method cannot place it.
    """
    student, teacher = problem.student, problem.teacher
    assert student is not None and isinstance(teacher, MLP) and problem.inputs is not None
    if len(student.weights) != 2 or len(teacher.weights) != 2 or not problem.inputs.standard:
        return None
    here = student.with_flat(theta)
    own, theirs = _far(here), _far(teacher)
    if not own or here.biases[1] is None:
        return None
    W, b, A, c = (np.array(value) for value in (*_layer(here, 0), *_layer(here, 1)))
    V, d, B, _ = (np.array(value) for value in (*_layer(teacher, 0), *_layer(teacher, 1)))
    kinds, others = here.neuron_activations(0), teacher.neuron_activations(0)
    lines = A[:, own] @ np.diag([_slope(kinds[i], b[i]) for i in own])
    before, left = (lines @ W[own], lines @ b[own]), list(own)
    after = np.zeros_like(before[0]), np.zeros_like(before[1])
    for j in theirs:
        alike = [i for i in left if kinds[i] == others[j]]
        if not alike:
            return None
        i = max(alike, key=lambda n: float(np.sign(b[n] * d[j]) * (1.0 + W[n] @ V[j])))
        left.remove(i)
        W[i], b[i], A[:, i] = V[j], d[j], B[:, j]
        slope = _slope(kinds[i], b[i])
        after = after[0] + slope * np.outer(A[:, i], W[i]), after[1] + slope * A[:, i] * b[i]
    A[:, left] = 0.0
    c += before[1] - after[1]
    if np.abs(before[0] - after[0]).max() > NEARLY**0.25 * max(float(np.abs(before[0]).max()), 1e-300):
        return None
    point = MLP([W, A], [b, c], list(here.activations)).flat()
    held = np.ones(point.size, dtype=bool)
    names = here.with_flat(np.arange(point.size, dtype=float))
    for value in (names.weights[0][own], _layer(names, 0)[1][own], names.weights[1][:, own]):
        held[value.astype(int).ravel()] = False
    objective = problem.objective
    inner = Restricted(objective, point, held)
    end = TrustRegionNewton(max_iterations=FINISHING).refine(inner, inner.part(point), monitor)
    found = np.ascontiguousarray(inner.full(end.theta))
    return found if objective.is_zero(found, objective.loss(found)) else None


def _far(network: MLP) -> list[int]:
    """The neurons with a kink, or a bend, that hardly any input sees."""
    bias = network.biases[0]
    if bias is None:
        return []
    sizes, kinds = np.linalg.norm(network.weights[0], axis=1), network.neuron_activations(0)
    bent = [sigma.record.is_straight and sigma.record.jump != 0.0 for sigma in kinds]
    return [i for i in range(len(kinds)) if bent[i] and abs(bias[i]) > FAR * sizes[i]]


def _layer(network: MLP, k: int) -> tuple[np.ndarray, np.ndarray]:
    W, b = network.weights[k], network.biases[k]
    return np.asarray(W), np.zeros(len(W)) if b is None else np.asarray(b)


def _slope(sigma: Activation, side: float) -> float:
    return float(sigma.record.slopes[1 if side > 0 else 0])
