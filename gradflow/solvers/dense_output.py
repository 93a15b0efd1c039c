"""Points of a flow between its accepted steps, as good as the steps.

A one-step method takes a step of its own from the accepted step before them: no interpolant is of its order,
and none damps stiff components. A multistep method has a polynomial, smooth in stiff components as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..objective import Objective
from .compiled import between
from .compiled import layout as at
from .compiled_run import Run, pack_settings

KRYLOV_RESIDUAL, KRYLOV_PRODUCTS = 1e-3, 100
"""Where the solution of a linear system for an interpolated point ends."""


class Interval(NamedTuple):
    """An interval between accepted steps.

    Its ends (2,), θ, θ' and θ'' there, (2, P) each, and Δt·|λ|_max, infinite if steps within it have been
    dropped.
    """

    times: np.ndarray
    theta: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    stiffness: float

    @property
    def whole(self) -> bool:
        """Whether it is one step."""
        return self.stiffness < np.inf

    def mapped(self, point: Callable, velocity: Callable, clock: float = 1.0) -> Interval:
        """In other coordinates, by functions of one θ and of one tangent vector, (P,) → (p,).

        Its time runs `clock` times as fast.
        """
        return self._replace(
            times=self.times * clock,
            theta=np.array([point(theta) for theta in self.theta]),
            velocity=np.array([velocity(v / clock) for v in self.velocity]),
            acceleration=np.array([velocity(v / clock / clock) for v in self.acceleration]),
        )


Stepper = Callable[[Interval, np.ndarray], np.ndarray]
"""θ (m, P) at times (m,) within an interval."""


def by_steps(solver, objective: Objective, rates: np.ndarray) -> Stepper:
    """Each point by one step of the solver from the beginning of the interval; one Hessian for all of them.

    A step that fails its error test (accepted steps may have been dropped to save memory) is replaced by an
    integration to that time.
    """
    method = solver.method
    runs: list[Run] = []

    def path(interval: Interval, times: np.ndarray) -> np.ndarray:
        start, theta, velocity = interval.times[0], interval.theta[0], interval.velocity[0]
        if not runs:
            settings = pack_settings(solver, method, -1.0, -np.inf, np.inf)
            runs.append(Run(method, objective, rates, settings, room=1))
        run = runs[0]
        points = np.empty((times.size, theta.size))
        loss, gradient = objective.loss_and_gradient(np.ascontiguousarray(theta))
        run.start(start, theta, velocity, loss, gradient, 1.0)
        late = []
        for i, t in enumerate(times):
            run.numbers[at.CLEAR_STEP] = np.inf  # no question about growing modes within an accepted step
            if interval.whole and run.attempt(t - start):
                points[i] = run.fresh[at.NEW_THETA]
            else:
                late.append(i)
        for i in late:
            run.start(start, theta, velocity, loss, gradient, times[i] - start)
            run.settings[at.END], run.settings[at.STEPS_LEFT] = times[i], np.inf
            while run.status == at.RUNNING:
                run.advance(1)
            points[i] = run.vectors[at.THETA]
        return points

    return path


Newton = Callable[[np.ndarray, np.ndarray, float], np.ndarray | None]
"""(I + Δt r ⊙ ∇²L(θ))⁻¹ (Δt (v + r ⊙ ∇L(θ))) from θ, a velocity v and Δt; None where the matrix is not
positive definite."""


def krylov_newton(objective: Objective, rates: np.ndarray) -> Newton:
    """By conjugate gradients with products, to a thousandth of the residual."""
    roots = np.sqrt(rates)

    def step(point: np.ndarray, velocity: np.ndarray, length: float) -> np.ndarray | None:
        residual = length * (velocity + rates * objective.gradient(point)) / roots
        found = np.zeros_like(residual)
        direction, square = residual.copy(), float(residual @ residual)
        goal = KRYLOV_RESIDUAL**2 * square
        for _ in range(KRYLOV_PRODUCTS):
            if square <= goal:
                break
            image = direction + length * roots * objective.hvp(point, roots * direction)
            curved = float(direction @ image)
            if not curved > 0.0:
                return None
            found += square / curved * direction
            residual -= square / curved * image
            before, square = square, float(residual @ residual)
            direction = residual + square / before * direction
        return roots * found

    return step


class Steps(NamedTuple):
    """Accepted steps: times (s,), θ, θ' and θ'', (s, P) each, and the stiffness of the intervals (s − 1,)."""

    times: np.ndarray
    theta: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    stiffness: np.ndarray


class CompiledPath:
    """`by_polynomial` with factorisations, in compiled code: a stepper that can do all intervals at once.

    dropped   what computes the points of intervals that have lost steps
    """

    def __init__(self, solver, objective: Objective, rates: np.ndarray, dropped: Stepper):
        self.solver, self.objective, self.rates, self.dropped = solver, objective, rates, dropped

    def along(self, steps: Steps, places: np.ndarray, times: np.ndarray) -> np.ndarray:
        """θ (m, P) at times (m,), each within the whole interval of that number (m,)."""
        settings = pack_settings(self.solver, self.solver.method, -1.0, -np.inf, np.inf)
        run = Run(self.solver.method, self.objective, self.rates, settings, room=1)
        points = np.empty((times.size, self.rates.size))
        rows = [row if row.strides[1] == 8 else np.ascontiguousarray(row) for row in steps[1:4]]
        ends = [np.ascontiguousarray(x) for x in (steps.times, steps.stiffness)]
        where, wanted = np.ascontiguousarray(places, dtype=np.int64), np.ascontiguousarray(times)
        words = np.array(
            [ends[0].ctypes.data, *(word for row in rows for word in (row.ctypes.data, row.strides[0])),
             ends[1].ctypes.data, where.ctypes.data],
            dtype=np.int64,
        )  # fmt: skip
        run.call(between.between_steps, words.ctypes.data, wanted.ctypes.data, points.ctypes.data, times.size)
        return points

    def __call__(self, interval: Interval, times: np.ndarray) -> np.ndarray:
        if not interval.whole:
            return self.dropped(interval, times)
        steps = Steps(*interval[:4], np.array([interval.stiffness]))
        return self.along(steps, np.zeros(times.size, dtype=np.int64), times)


def by_polynomial(newton: Newton, dropped: Stepper) -> Stepper:
    """Each point by the quintic p through θ, θ' and θ'', in stiff intervals with one Newton step from it:

    θ = p − (I + Δt r ⊙ ∇²L)⁻¹ Δt (p' + r ⊙ ∇L(p)): along stiff directions r ⊙ ∇L(θ) = −p', so that ∇L has no
    error of λ_max times that of p; along the others p moves by less than its own error. Derived. Where the
    matrix is not positive definite, as on leaving a saddle, the interpolant stands.

    dropped   what computes the points of intervals that have lost steps
    """

    def path(interval: Interval, times: np.ndarray) -> np.ndarray:
        if not interval.whole:
            return dropped(interval, times)
        points, slopes = quintic(interval, times)
        if interval.stiffness <= between.QUINTIC_LIMIT:
            return points
        length = float(interval.times[1] - interval.times[0])
        for point, slope in zip(points, slopes):
            step = newton(point, slope, length)
            if step is not None:
                point -= step
        return points

    return path


def by_lines(interval: Interval, times: np.ndarray) -> np.ndarray:
    """On straight lines from step to step."""
    return interval.theta[0] + (times - interval.times[0])[:, None] * interval.velocity[0]


def quintic(interval: Interval, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quintic Hermite interpolation of θ, and of θ', at times (m,): (m, P) each."""
    h = interval.times[1] - interval.times[0]
    s = (times - interval.times[0])[:, None] / h
    jump = interval.theta[1] - interval.theta[0]
    v0, v1 = h * interval.velocity
    with np.errstate(over="ignore", invalid="ignore"):
        a0, a1 = h**2 * interval.acceleration
        c3 = 10 * jump - 6 * v0 - 4 * v1 - 1.5 * a0 + 0.5 * a1
        c4 = -15 * jump + 8 * v0 + 7 * v1 + 1.5 * a0 - a1
        c5 = 6 * jump - 3 * (v0 + v1) - 0.5 * (a0 - a1)
        values = interval.theta[0] + s * (v0 + s * (0.5 * a0 + s * (c3 + s * (c4 + s * c5))))
        slopes = (v0 + s * (a0 + s * (3 * c3 + s * (4 * c4 + s * 5 * c5)))) / h
    return values, slopes


def mapped_stepper(inner: Stepper, point: Callable, back: Callable, clock: float = 1.0) -> Stepper:
    """A stepper in other coordinates and another time (`Flow.mapped`)."""

    def path(interval: Interval, times: np.ndarray) -> np.ndarray:
        return point(inner(interval.mapped(back, back, clock), times * clock))

    return path
