"""Levenberg–Marquardt on the residuals, for losses that can reach zero along curved, narrow valleys."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import numpy as np
import scipy.linalg

from ..objective import Objective
from ..support.errors import ArgumentError
from ..support.limits import Limits
from ..support.progress import Monitor
from ..support.stopping import StopReason
from ..support.validate import integer
from .base import Kept, Refinement, Refiner
from .gram import Descent

EPS = float(np.finfo(np.float64).eps)

WINDOW, GAIN = 50, 0.9
"""L must fall to `GAIN` of itself within so many steps: where it does not, Newton goes on."""

PROMISE = 0.01
"""If the linear model, with any step, can lower L by no more than this fraction, L ends above zero."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LevenbergMarquardt(Refiner):
    """Levenberg–Marquardt whose subproblem is solved on the residuals, not on their linearisation.

    Each step is θ⁺ = argmin |ρ(θ')|² + μ|θ' − θ|² with L = |ρ|², found by Gauss–Newton iterations with the
    Jacobian at θ, factorised once (QR, then the singular values of R), and accelerated by Anderson's
    mixing. In a curved valley the linear model of plain Levenberg–Marquardt is good over a distance of
    L^¼ only; the iterations go on to the valley's floor, and a step may be as long as they converge. The
    damping μ follows their convergence. J is never squared: the flat directions of over-wide students
    have singular values down to 1e-12 of the largest, whose squares Float64 loses in JᵀJ.

    Parameters
    ----------
    memory : int, default 10
        Number of iterates that Anderson's mixing combines.
    inner : int, default 30
        Iterations of one step at most.

    Raises
    ------
    ArgumentError
        For a loss that is no sum of squares.

    Notes
    -----
    Where L does not go to zero, or Newton's method is wanted for the last digits, `TrustRegionNewton`
    goes on from the point reached, within what is left of the limits.

    References
    ----------
    Marquardt, SIAM J. Appl. Math. 11 (1963) 431; Anderson, J. ACM 12 (1965) 547, in the form of Walker &
    Ni, SIAM J. Numer. Anal. 49 (2011) 1715; the combination is derived here.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 2, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, inputs=X, refiner=LevenbergMarquardt(), progress=False).zero_loss
    True
    """

    memory: int = 10
    inner: int = 30

    name: ClassVar[str] = "LevenbergMarquardt"

    def __post_init__(self):
        super().__post_init__()
        integer("memory", self.memory, 1)
        integer("inner", self.inner, 2)

    def refine(self, objective: Objective, theta: np.ndarray, monitor: Monitor) -> Refinement:
        if not objective.sum_of_squares:
            raise ArgumentError(
                "refiner", "LevenbergMarquardt", "a loss that is a sum of squares over samples"
            )
        before = objective.counts()
        run = _Run(self, objective, np.array(theta, dtype=np.float64), monitor)
        reason = run.descend()
        theta, loss, norm, iterations = run.theta, run.loss, run.grad_norm, run.iterations
        if reason is None:
            from .newton import TrustRegionNewton

            left = max(self.max_seconds - run.limits.spent, 1e-3)
            steps = max(self.max_iterations - iterations, 1)
            newton = TrustRegionNewton(gtol=self.gtol, max_iterations=steps, max_seconds=left)
            rest = newton.refine(objective, theta, monitor, run.kept)
            theta, loss, norm, reason = rest.theta, rest.loss, rest.grad_norm, rest.stop_reason
            iterations += rest.iterations
        else:
            theta, loss, norm = run.kept.better(theta, loss, norm)
        return Refinement(
            theta=theta,
            loss=loss,
            grad_norm=norm,
            stop_reason=reason,
            iterations=iterations,
            counts=objective.counts() - before,
            seconds=run.limits.spent,
            settings=self.settings(),
        )

    def descended(self, objective: Objective, theta: np.ndarray, monitor: Monitor) -> Descent:
        """As far as least squares alone go, without Newton's method after them.

        Parameters
        ----------
        objective, theta, monitor
            As in `refine`.

        Returns
        -------
        Descent
        """
        run = _Run(self, objective, np.array(theta, dtype=np.float64), monitor)
        reason = run.descend()
        return Descent(run.theta, run.loss, run.iterations, run.losses, reason or StopReason.NO_PROGRESS)


class _Factors(NamedTuple):
    """J = left · diag(values) · right, (m, k), (k,), (k, P)."""

    left: np.ndarray
    values: np.ndarray
    right: np.ndarray


def factorise(jacobian: np.ndarray) -> _Factors:
    """The singular value decomposition through R: small singular values keep their digits."""
    q, r = scipy.linalg.qr(jacobian, mode="economic", overwrite_a=True, check_finite=False)
    u, values, right = scipy.linalg.svd(r, full_matrices=False, check_finite=False)
    return _Factors(q @ u, values, right)


class _Run:
    """The point, its residuals and factors, and the damping."""

    def __init__(self, settings: LevenbergMarquardt, objective: Objective, theta, monitor: Monitor):
        self.settings, self.objective, self.monitor = settings, objective, monitor
        self.limits = Limits(monitor, settings.max_iterations, settings.max_seconds)
        self.iterations = 0
        self.losses: list[float] = []
        self.linearise(theta)
        self.kept = Kept(objective, theta, self.loss, self.grad_norm)
        self.damping = 1e-6 * self.factors.values[0] ** 2 if np.isfinite(self.loss) else 0.0

    def linearise(self, theta: np.ndarray) -> None:
        self.theta = theta
        self.residuals, jacobian = self.objective.least_squares(theta)
        self.loss = float(self.residuals @ self.residuals)
        gradient = 2.0 * (jacobian.T @ self.residuals)
        self.grad_norm = float(np.abs(gradient).max())
        self.losses.append(self.loss)
        if np.isfinite(jacobian).all():
            self.factors = factorise(jacobian)
        else:
            self.loss = np.nan

    def descend(self) -> StopReason | None:
        """Lower L; None where Newton's method is to go on."""
        settings = self.settings
        while True:
            reason = self.limits.reason(self.iterations, self.loss, self.grad_norm)
            if reason is StopReason.NON_FINITE:
                return reason
            if self.grad_norm <= settings.gtol:
                return StopReason.GRADIENT
            if self.objective.nonnegative and self.loss <= self.objective.loss_floor:
                return StopReason.LOSS_FLOOR
            if reason is not None:
                return reason
            promise = self.factors.left.T @ self.residuals
            if promise @ promise <= PROMISE * self.loss:
                return self.verdict()
            if len(self.losses) > WINDOW and self.loss > GAIN * self.losses[-1 - WINDOW]:
                return self.verdict()
            if not self.step():
                return self.verdict()

    def verdict(self) -> StopReason | None:
        """At loss zero? Else Newton decides."""
        return StopReason.LOSS_FLOOR if self.objective.is_zero(self.theta, self.loss) else None

    def step(self) -> bool:
        """One step; False if no damping gives one that lowers L."""
        largest = 1e4 * self.factors.values[0] ** 2
        while self.damping <= largest:
            if self.limits.reason(self.iterations) is not None:
                return True  # nothing is lost: the loop around stops
            found, count = self.proximal()
            if found is None:
                self.damping *= 8.0
                continue
            self.linearise(found)
            self.kept.see(found, self.loss, self.grad_norm)
            self.iterations += 1
            third = self.settings.inner // 3
            self.damping *= 0.1 if count <= third else 0.5 if count <= 2 * third else 1.0
            self.monitor.report(
                "refine (LM)", loss=self.loss, grad_norm=self.grad_norm, steps=self.iterations
            )
            return True
        return False

    def proximal(self) -> tuple[np.ndarray | None, int]:
        """The minimiser of |ρ|² + μ|step|² if the iterations find one that lowers L, and their number."""
        left, values, right = self.factors
        bottom = values**2 + self.damping
        gain, pull = values / bottom, self.damping / bottom
        step, residuals, last = np.zeros_like(self.theta), self.residuals, np.inf
        steps: list[np.ndarray] = []
        moves: list[np.ndarray] = []
        for count in range(self.settings.inner):
            move = -right.T @ (gain * (left.T @ residuals) + pull * (right @ step))
            size = float(np.linalg.norm(move))
            if not size <= 3.0 * last:
                break
            last = size
            steps, moves = [*steps[-self.settings.memory :], step], [*moves[-self.settings.memory :], move]
            step = step + move - _mixing(steps, moves)
            residuals = self.objective.residual_vector(self.theta + step)
            loss = float(residuals @ residuals)
            if not np.isfinite(loss):
                break
            if count > 0 and size < 0.1 * float(np.linalg.norm(step)) and loss < self.loss * (1 - 1e-13):
                return self.theta + step, count
        return None, self.settings.inner


def _mixing(steps: list[np.ndarray], moves: list[np.ndarray]) -> np.ndarray:
    """What Anderson's mixing takes from step + move: (ΔS + ΔM) γ with γ = argmin |move − ΔM γ|."""
    if len(steps) == 1:
        return np.zeros_like(steps[0])
    of_steps, of_moves = np.diff(np.array(steps), axis=0).T, np.diff(np.array(moves), axis=0).T
    weights = np.linalg.lstsq(of_moves, moves[-1], rcond=1e-10)[0]
    return (of_steps + of_moves) @ weights
