"""The path of θ through time: what an integration returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from .._validate import real_array
from ..errors import ArgumentError
from ..losses.base import Counts, Objective
from ..stopping import StopReason

SAMPLES = 100
"""Number of log-spaced times kept between the first accepted step and the end."""

QUINTIC_LIMIT = 100.0
"""Δt·λ_max beyond which cubic interpolation is used: there the quintic's θ'' carries more noise than it
removes error (measured on erf and softplus flows: the best limit lies between 20 and 1,000)."""

SAMPLE_LIMIT = 5.0
"""An interpolated θ is good to the tolerance and its gradient to λ_max times that, which in a stiff
interval is more than the gradient itself: samples there are computed by a step of the solver."""


@dataclasses.dataclass(frozen=True, eq=False)
class Flow:
    """A solution of dθ/dt = −r ⊙ ∇L(θ): its steps, and about a hundred log-spaced samples of it.

    times        sample times (m,): 0, then log-spaced from the first accepted step to the end
    theta        θ at those times (m, P); `losses` (m,) and `grad_norms` (m,) are evaluated there
    step_times   times of the accepted steps (s,), with θ, θ' and θ'' there, each (s, P)
    stiffness    step length times the largest curvature, Δt·|λ|_max, one per interval (s − 1,)
    stop_reason  why the integration ended; `grad_norm` and `loss` are those of its own end point
    accepted, rejected, counts, seconds, compile_seconds   what it cost

    The end of the flow is `theta[-1]`; the refined point is elsewhere (`Result.theta`).
    """

    times: np.ndarray
    theta: np.ndarray
    losses: np.ndarray
    grad_norms: np.ndarray
    step_times: np.ndarray
    step_theta: np.ndarray
    step_velocity: np.ndarray
    step_acceleration: np.ndarray
    stiffness: np.ndarray
    stop_reason: StopReason
    accepted: int
    rejected: int
    counts: Counts
    seconds: float
    compile_seconds: float
    settings: dict

    @property
    def loss(self) -> float:
        """L at the end of the flow."""
        return float(self.losses[-1])

    @property
    def grad_norm(self) -> float:
        """∞-norm of ∇L at the end of the flow."""
        return float(self.grad_norms[-1])

    @property
    def end_time(self) -> float:
        """The time at which the flow was stopped."""
        return float(self.step_times[-1])

    def at(self, t) -> np.ndarray:
        """θ at time t: shape (P,) for a number, (m, P) for an array (m,).

        Hermite interpolation between accepted steps: quintic, from θ, θ' and θ'' = −r ⊙ ∇²L θ'; cubic,
        from θ and θ' alone, where the step was longer than 100/λ_max and the noise of θ'' would show.
        Between steps the error is up to some hundred tolerances in stiff intervals; at the steps and
        in `theta` it is the solver's own. Times outside [0, end] raise `ArgumentError`.
        """
        points = np.atleast_1d(real_array("t", t, (0, 1)))
        end = self.step_times[-1]
        if points.size and (points.min() < 0 or points.max() > end):
            worst = points.min() if points.min() < 0 else points.max()
            raise ArgumentError("t", worst, f"times between 0 and the end of the flow, {end:g}")
        values = interpolate(
            points,
            self.step_times,
            self.step_theta,
            self.step_velocity,
            self.step_acceleration,
            self.stiffness <= QUINTIC_LIMIT,
        )
        return values[0] if np.ndim(t) == 0 else values


def interpolate(points, times, values, first, second, quintic) -> np.ndarray:
    """Hermite interpolation at `points` (m,) of data (s, P) at increasing `times` (s,).

    Quintic in the intervals flagged so (s − 1,), cubic in the others.
    """
    if times.size == 1:
        return np.repeat(values, points.size, axis=0)
    i = np.clip(np.searchsorted(times, points, side="right") - 1, 0, times.size - 2)
    h = (times[i + 1] - times[i])[:, None]
    s = (points - times[i])[:, None] / h
    jump = values[i + 1] - values[i]
    v0, v1 = h * first[i], h * first[i + 1]
    # The second derivatives that the cubic has at the ends; the quintic's own where it is trusted.
    trusted = quintic[i][:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        a0 = np.where(trusted, h**2 * second[i], 6 * jump - 4 * v0 - 2 * v1)
        a1 = np.where(trusted, h**2 * second[i + 1], -6 * jump + 2 * v0 + 4 * v1)
    c3 = 10 * jump - 6 * v0 - 4 * v1 - 1.5 * a0 + 0.5 * a1
    c4 = -15 * jump + 8 * v0 + 7 * v1 + 1.5 * a0 - a1
    c5 = 6 * jump - 3 * (v0 + v1) - 0.5 * (a0 - a1)
    result = values[i] + s * (v0 + s * (0.5 * a0 + s * (c3 + s * (c4 + s * c5))))
    exact = (s == 1.0).ravel()
    result[exact] = values[i + 1][exact]
    return result


def sample_times(step_times: np.ndarray, count: int = SAMPLES) -> np.ndarray:
    """0, then `count` log-spaced times from the first accepted step to the end, both exactly."""
    if step_times.size < 3:
        return step_times.copy()
    times = np.geomspace(step_times[1], step_times[-1], count)
    times[0], times[-1] = step_times[1], step_times[-1]
    return np.concatenate([[0.0], times])


def build_flow(
    objective: Objective,
    rates: np.ndarray,
    step_times: np.ndarray,
    step_theta: np.ndarray,
    step_velocity: np.ndarray,
    *,
    step_to: Callable[[float, float, np.ndarray], np.ndarray],
    **fields,
) -> Flow:
    """A `Flow` from accepted steps: forms θ'' by Hessian-vector products and samples the path.

    A sample inside a stiff interval is computed by one step of the solver from the accepted step
    before it, `step_to(t, t_from, theta_from)`.
    """
    products = [objective.hvp(x, v) for x, v in zip(step_theta, step_velocity)]
    acceleration = -rates * np.array(products).reshape(step_theta.shape)
    stiffness = np.diff(step_times) * largest_curvatures(objective, rates, step_theta)[1:]
    times = sample_times(step_times)
    theta = interpolate(
        times, step_times, step_theta, step_velocity, acceleration, stiffness <= QUINTIC_LIMIT
    )
    for j, t in enumerate(times):
        i = int(np.searchsorted(step_times, t, side="right")) - 1
        if i < stiffness.size and stiffness[i] > SAMPLE_LIMIT and step_times[i] < t:
            theta[j] = step_to(float(t), float(step_times[i]), step_theta[i])
    evaluations = [objective.loss_and_gradient(np.ascontiguousarray(x)) for x in theta]
    return Flow(
        times=times,
        theta=theta,
        losses=np.array([loss for loss, _ in evaluations]),
        grad_norms=np.array([np.abs(gradient).max() for _, gradient in evaluations]),
        step_times=step_times,
        step_theta=step_theta,
        step_velocity=step_velocity,
        step_acceleration=acceleration,
        stiffness=stiffness,
        **fields,
    )


def largest_curvatures(objective: Objective, rates: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """|λ|_max of r ⊙ ∇²L at the points of a path (s, P), estimated from below to some per cent.

    Power iteration, two products a point, begun with the vector of the point before.
    """
    root = np.sqrt(rates)
    vector = np.cos(np.arange(1.0, rates.size + 1.0))  # any vector without symmetry
    vector /= np.linalg.norm(vector)
    values = np.empty(theta.shape[0])
    for i, point in enumerate(theta):
        for _ in range(2 if i else 20):
            image = root * objective.hvp(point, root * vector)
            length = float(np.linalg.norm(image))
            if length == 0.0 or not np.isfinite(length):
                break
            vector = image / length
        values[i] = length
    return values
