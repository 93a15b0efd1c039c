"""Points of a flow between its accepted steps, where an interpolant is not good enough."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from ..losses.base import Objective
from .compiled import layout as at
from .runs import Run, pack_settings
from .trajectory import Interval, Stepper


def stepper(solver, objective: Objective, rates: np.ndarray) -> Stepper:
    """Points of the path, each by one step of the solver from the accepted step before it.

    The points of one interval share the Hessian at its beginning. A step that fails its error test
    (accepted steps may have been dropped to save memory) is replaced by an integration to that time.
    """
    method = solver.method
    runs: list[Run] = []

    def path(interval: Interval, times: np.ndarray) -> np.ndarray:
        t_from, theta, velocity = interval.time, interval.theta, interval.velocity
        if not runs:
            settings = pack_settings(solver, method, -1.0, -np.inf, np.inf)
            runs.append(Run(method, objective, rates, settings, room=1))
        run = runs[0]
        points = np.empty((times.size, theta.size))
        loss, gradient = objective.loss_and_gradient(np.ascontiguousarray(theta))
        run.start(t_from, theta, velocity, loss, gradient, 1.0)
        late = []
        for i, t in enumerate(times):
            if run.attempt(t - t_from):
                points[i] = run.fresh[at.NEW_THETA]
            else:
                late.append(i)
        for i in late:
            run.start(t_from, theta, velocity, loss, gradient, times[i] - t_from)
            run.settings[at.END], run.settings[at.STEPS_LEFT] = times[i], np.inf
            while run.status == at.RUNNING:
                run.advance(1)
            points[i] = run.vectors[at.THETA]
        return points

    return path


def settler(objective: Objective, rates: np.ndarray, whole: Stepper) -> Stepper:
    """Points of the path by one Newton step each from the interpolant p, for steps with smooth θ'.

    θ = p − (I + Δt r ⊙ ∇²L)⁻¹ Δt (p' + r ⊙ ∇L(p)): along stiff directions r ⊙ ∇L(θ) = −p', so that ∇L has no
    error of λ_max times that of p; along the others p moves by less than its own error. Derived.

    whole   what computes the points of intervals that have lost steps
    """
    roots = np.sqrt(rates)

    def path(interval: Interval, times: np.ndarray) -> np.ndarray:
        length = interval.length
        if not length < np.inf:
            return whole(interval, times)
        points = interval.guess.copy()
        for point, slope in zip(points, interval.slope):
            _, gradient, hessian = objective.all_derivatives(point)
            matrix = np.eye(point.size) + length * roots[:, None] * hessian * roots
            residual = length * (slope + rates * gradient)
            try:
                factors = scipy.linalg.cho_factor(matrix, lower=True, check_finite=False)
            except np.linalg.LinAlgError:  # leaving a saddle: the interpolant stands
                continue
            point -= roots * scipy.linalg.cho_solve(factors, residual / roots, check_finite=False)
        return points

    return path
