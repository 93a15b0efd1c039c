"""Levenberg–Marquardt on the Gram matrix JᵀJ: cheap steps for searches that are given up when they stall."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import scipy.linalg

from ..objective import Objective
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.stopping import StopReason
from ..support.threads import single_threaded_blas
from ..support.validate import integer, number
from .base import Course, Refinement, Refiner

TRIALS = 12
"""So many dampings are tried before a point counts as the end."""

FINISH_DAMPINGS = (0.0, 1e-24, 1e-20, 1e-16, 1e-12, 1e-8)
"""Dampings of a QR step in units of the largest squared singular value, the least that works being taken."""

Linearise = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Residuals = Callable[[np.ndarray], np.ndarray]


class Damping:
    """The damping μ of a Levenberg–Marquardt iteration, by Nielsen's rule.

    A step is accepted where it lowers L; then μ is multiplied by max(1/5, 1 − (2ρ − 1)³), ρ the fall of L in
    units of that of the linear model. After the k-th refusal in a row μ is multiplied by 2^k.
    Source: H. B. Nielsen, Damping parameter in Marquardt's method, IMM-REP-1999-05.
    """

    def __init__(self, value: float):
        self.value, self.factor = value, 2.0

    def accepted(self, fall: float, promise: float) -> None:
        """After a step in which L fell by `fall`, the linear model promised `promise`."""
        gain = fall / max(promise, 1e-300)
        self.value *= max(0.2, 1.0 - (2.0 * gain - 1.0) ** 3) if gain > 0.0 else 1.0
        self.factor = 2.0

    def refused(self) -> None:
        """After a step that was not taken."""
        self.value *= self.factor
        self.factor *= 2.0


def damped_step(gram: np.ndarray, diagonal: np.ndarray, slope: np.ndarray, damping: float):
    """The step −(G + μ)⁻¹ g by Cholesky, or None where G + μ is not positive definite in Float64.

    `gram` is overwritten on its diagonal only; `diagonal` keeps that of G.
    """
    gram[np.diag_indices(diagonal.size)] = diagonal + damping
    factor, failed = scipy.linalg.lapack.dpotrf(gram, lower=1)
    if failed:
        return None
    return -scipy.linalg.lapack.dpotrs(factor, slope, lower=1)[0]


class Descent(NamedTuple):
    """Where `descend` or `finish` ended: θ, L = |ρ|², accepted steps, L after each, and why."""

    theta: np.ndarray
    loss: float
    iterations: int
    losses: list[float]
    reason: StopReason


class Normal(Protocol):
    """A sum of squares L at a point that moves, for `damped_descent`."""

    loss: float

    def equations(self) -> tuple[np.ndarray, np.ndarray]:
        """The Gauss–Newton matrix (P, P), to be written into, and the slope Jᵀρ (P,)."""
        ...

    def attempt(self, step: np.ndarray) -> float:
        """L after a step; not finite where it cannot be said."""
        ...

    def accept(self) -> None:
        """Move by the last step attempted."""
        ...


def damped_descent(
    normal: Normal,
    iterations: int,
    goal: float,
    window: int,
    gain: float,
    damping: float,
    interrupted: Callable[[], bool],
) -> tuple[list[float], StopReason]:
    """Levenberg–Marquardt steps −(G + μ)⁻¹ g by Cholesky: L after each accepted one, and why it ended."""
    losses, mu = [normal.loss], None
    reason = StopReason.MAX_STEPS
    for _ in range(iterations):
        loss = losses[-1]
        if not np.isfinite(loss):
            reason = StopReason.NON_FINITE
            break
        if loss <= goal:
            break
        if interrupted():
            reason = StopReason.INTERRUPTED
            break
        if len(losses) > window and loss > gain * losses[-1 - window]:
            reason = StopReason.NO_PROGRESS
            break
        gram, slope = normal.equations()
        diagonal = gram.diagonal().copy()
        if mu is None:
            mu = Damping(damping * float(diagonal.max()))
        for _ in range(TRIALS):
            step = damped_step(gram, diagonal, slope, mu.value)
            if step is None:
                mu.value *= 4.0
                continue
            lower = normal.attempt(step)
            if np.isfinite(lower) and lower < loss:
                mu.accepted(loss - lower, float(mu.value * (step @ step) - step @ slope))
                normal.accept()
                losses.append(lower)
                break
            mu.refused()
        else:
            reason = StopReason.NO_PROGRESS
            break
    return losses, StopReason.LOSS_FLOOR if losses[-1] <= goal else reason


class _Linearised:
    """ρ and J at θ."""

    def __init__(self, linearise: Linearise, residuals: Residuals, theta: np.ndarray):
        self.linearise, self.residuals = linearise, residuals
        self.theta = self.tried = theta
        self.rho, self.J = linearise(theta)
        self.loss = float(self.rho @ self.rho)

    def equations(self) -> tuple[np.ndarray, np.ndarray]:
        return self.J.T @ self.J, self.J.T @ self.rho

    def attempt(self, step: np.ndarray) -> float:
        self.tried = self.theta + step
        trial = self.residuals(self.tried)
        return float(trial @ trial)

    def accept(self) -> None:
        self.theta = self.tried
        self.rho, self.J = self.linearise(self.theta)


def descend(
    linearise: Linearise,
    residuals: Residuals,
    theta: np.ndarray,
    *,
    iterations: int,
    goal: float = 0.0,
    window: int = 30,
    gain: float = 0.8,
    damping: float = 1e-2,
    interrupted: Callable[[], bool] = lambda: False,
) -> Descent:
    """Levenberg–Marquardt steps −(JᵀJ + μ)⁻¹ Jᵀρ by Cholesky until L ≤ goal, a stall, or the limit.

    linearise   θ → ρ (m,) and J (m, P)
    residuals   θ → ρ
    goal        L at or below which the search is over
    window, gain   given up where L has not fallen to `gain` of itself within `window` steps
    damping     first μ in units of the largest diagonal entry of JᵀJ
    """
    normal = _Linearised(linearise, residuals, theta)
    losses, reason = damped_descent(normal, iterations, goal, window, gain, damping, interrupted)
    return Descent(normal.theta, losses[-1], len(losses) - 1, losses, reason)


def finish(linearise: Linearise, residuals: Residuals, theta: np.ndarray, *, iterations: int = 10) -> Descent:
    """Levenberg–Marquardt steps by QR and an SVD of R, as long as they lower L: the last digits.

    JᵀJ has the square of J's condition number, and a step from it is wrong by ε κ²; here it is by ε κ.
    Directions whose singular value is below 1e-13 of the largest (scale of a ReLU neuron against its output
    weight, features that are constant) are left alone.
    """
    rho, J = linearise(theta)
    loss = float(rho @ rho)
    losses = [loss]
    for _ in range(iterations):
        scale = np.linalg.norm(J, axis=0)
        scale[scale == 0.0] = 1.0
        R = np.array(np.linalg.qr(np.column_stack([J / scale, rho]), mode="r"))
        u, values, right = np.linalg.svd(R[:-1, :-1], full_matrices=False)
        push, moved = u.T @ R[:-1, -1], False
        for damping in FINISH_DAMPINGS:
            bottom = values**2 + damping * values[0] ** 2
            inverse = np.where(values > 1e-13 * values[0], values / np.maximum(bottom, 1e-300), 0.0)
            step = -(right.T @ (inverse * push)) / scale
            trial = residuals(theta + step)
            lower = float(trial @ trial)
            if np.isfinite(lower) and lower < (1.0 if damping == 0.0 else 0.9) * loss:
                theta, loss, moved = theta + step, lower, True
                break
        if not moved:
            break
        losses.append(loss)
        rho, J = linearise(theta)
    return Descent(theta, loss, len(losses) - 1, losses, StopReason.FLOOR)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search(Refiner):
    """A refiner that is given up where it stalls; its settings are those of `GramLevenbergMarquardt`."""

    window: int = 30
    gain: float = 0.8
    damping: float = 1e-2

    def __post_init__(self):
        super().__post_init__()
        integer("window", self.window, 1)
        number("damping", self.damping, minimum=0.0, exclusive=True)
        if not 0.0 < number("gain", self.gain) <= 1.0:
            raise ArgumentError("gain", self.gain, "a number in (0, 1]")

    def bounds(self, objective: Objective, stop: Callable[[], bool]) -> dict:
        """Where the loop of a search ends, as `descend` takes it."""
        return {
            "iterations": self.max_iterations, "goal": objective.loss_floor, "window": self.window,
            "gain": self.gain, "damping": self.damping, "interrupted": stop,
        }  # fmt: skip


class SearchCourse(Course):
    """The course of a search whose loop knows nothing of clocks and users: it asks `stop`."""

    def stop(self) -> bool:
        """Whether a limit is met."""
        return self.limits.reason(0) is not None

    def ended(self, theta, loss: float, norm: float, iterations: int, reason: StopReason) -> Refinement:
        """The refinement: a gradient below `gtol` counts first, and who stopped the loop is said."""
        if norm <= self.settings.gtol:
            reason = StopReason.GRADIENT
        elif reason is StopReason.INTERRUPTED and not self.monitor.interrupted:
            reason = StopReason.MAX_SECONDS
        self.reason, self.iterations = reason, iterations
        return self.refinement(theta, loss, norm)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GramLevenbergMarquardt(Search):
    """Levenberg–Marquardt by Cholesky of JᵀJ + μ, then QR steps near the floor.

    A step costs the product JᵀJ and a Cholesky factorisation, a tenth of the decomposition that
    `LevenbergMarquardt` makes for each of its own; and it gives up where L stalls, without handing over to
    Newton. For many starts of which some reach zero, not for the bottom of one narrow valley: JᵀJ loses the
    singular values of J below 1e-8 of the largest. The last digits come from QR steps once L is below
    1e-16 of its first value.

    Parameters
    ----------
    window : int, default 30
        Given up where L has not fallen to `gain` of itself within so many steps.
    gain : float, default 0.8
        See `window`.
    damping : float, default 0.01
        First μ in units of the largest diagonal entry of JᵀJ.

    Raises
    ------
    ArgumentError
        For a loss that is no sum of squares.

    References
    ----------
    Marquardt, SIAM J. Appl. Math. 11 (1963) 431; Nielsen, IMM-REP-1999-05 (the damping).

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 2, 1), bias=False, seed=0)
    >>> refiner = GramLevenbergMarquardt()
    >>> gf.train(teacher, student, inputs=X, refiner=refiner, progress=False).zero_loss
    True
    """

    name: ClassVar[str] = "GramLevenbergMarquardt"

    def refine(self, objective: Objective, theta: np.ndarray, monitor: Monitor) -> Refinement:
        if not objective.sum_of_squares:
            raise ArgumentError("refiner", self.name, "a loss that is a sum of squares over samples")
        course = SearchCourse(self, objective, monitor)

        def linearise(point):
            rho, J = objective.least_squares(point)
            monitor.report("refine (Gram LM)", loss=float(rho @ rho), grad_norm=np.nan, steps=0)
            return rho, J

        with single_threaded_blas():
            start = np.array(theta, dtype=np.float64)
            bounds = self.bounds(objective, course.stop)
            end = descend(linearise, objective.residual_vector, start, **bounds)
            steps, reason = end.iterations, end.reason
            deep = end.loss <= 1e-16 * end.losses[0] and reason is not StopReason.LOSS_FLOOR
            if deep and not course.stop():
                last = finish(linearise, objective.residual_vector, end.theta)
                steps += last.iterations
                end, reason = last, last.reason
            rho, J = objective.least_squares(end.theta)
            norm = float(2.0 * np.abs(J.T @ rho).max())
        return course.ended(end.theta, end.loss, norm, steps, reason)
