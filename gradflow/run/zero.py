"""The last way to a minimum of loss zero with infinitely many inputs: by least squares on samples of them.

Where L is nearly zero at a degenerate minimum (a student wider than its teacher), Newton's method goes half
or two thirds of the way at each step, while ∇L and ∇²L lose their digits. On samples of the inputs, many more
than there are parameters, the same point has the residuals zero, and Levenberg–Marquardt finds it without
squaring the Jacobian. Whether L is zero there is then asked of the expectations themselves.
"""

from __future__ import annotations

import numpy as np

from ..losses.problem import Problem
from ..networks import MLP
from ..refiners import LevenbergMarquardt
from ..support.progress import Monitor

NEARLY = 1e-6
"""Losses below this part of what was to be explained may be on their way to zero."""

SAMPLES, LEAST = 20, 200
"""Residuals for each parameter, and of samples at least."""

STEPS, LARGEST = 400, 300
"""Steps of Levenberg–Marquardt; more parameters are left alone."""

REACH = 0.3
"""A minimum further away, in units of 1 + |θ|, is another one."""


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
