"""The interface of a refiner, its settings, and what a refinement returns."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import ClassVar, NamedTuple

import numpy as np

from ..objective import Counts, Objective
from ..support.limits import Limits
from ..support.progress import Monitor
from ..support.settings import Settings, store_plain
from ..support.stopping import StopReason
from ..support.validate import integer, number

EPS = float(np.finfo(np.float64).eps)


@dataclasses.dataclass(frozen=True, eq=False)
class Extended:
    """What double-double adds to a refined point.

    Attributes
    ----------
    theta_low : ndarray, shape (P,)
        The low parts of θ: the point is θ + θ_low.
    loss_low, loss_bound : float
        The low part of L, and a bound on the absolute error of L.
    iterations : int
        Newton steps that were taken in double-double.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(3, 4)
    >>> student = gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> result = gf.train(teacher, student, precision="double-double", progress=False)
    >>> extended = result.refinement.extended
    >>> extended.theta_low.shape, extended.loss_bound < 1e-28
    ((10,), True)
    """

    theta_low: np.ndarray
    loss_low: float
    loss_bound: float
    iterations: int


class Stalled(NamedTuple):
    """The last linear system of a refinement that did not succeed, if its products were used up.

    Attributes
    ----------
    residual : float
        |b − H x| relative to |b|, where a thousandth was asked for.
    products : int
        Hessian-vector products spent on it.
    condition : float
        Estimated condition number of H, from below.

    Examples
    --------
    >>> print(Stalled(0.25, 1000, 1e9))
    relative residual 2.5e-01 after 1000 products, condition number 1.0e+09 or more
    """

    residual: float
    products: int
    condition: float

    def __str__(self) -> str:
        return (
            f"relative residual {self.residual:.1e} after {self.products} products, "
            f"condition number {self.condition:.1e} or more"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Refinement:
    """The end point of a refinement, why it stopped there, and what it cost.

    Attributes
    ----------
    theta : ndarray, shape (P,)
        The end point.
    loss, grad_norm : float
        L and the ∞-norm of ∇L there; with precision="double-double" at θ + θ_low.
    stop_reason : StopReason
        Why it stopped.
    iterations : int
        Accepted steps.
    counts : Counts
        Evaluations.
    seconds : float
        Wall-clock time.
    settings : dict
        The refiner's settings, with its name.
    extended : Extended or None
        The low parts, with precision="double-double".
    stalled : Stalled or None
        The linear system that was not solved, where that ended it.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(3, 4)
    >>> student = gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> refinement = gf.train(teacher, student, progress=False).refinement
    >>> refinement.settings["refiner"], refinement.grad_norm < 1e-14
    ('TrustRegionNewton', True)
    """

    theta: np.ndarray
    loss: float
    grad_norm: float
    stop_reason: StopReason
    iterations: int
    counts: Counts
    seconds: float
    settings: dict
    extended: Extended | None = None
    stalled: Stalled | None = None

    def __repr__(self) -> str:
        return (
            f"<Refinement: {self.settings['refiner']}, {self.iterations} steps, "
            f"loss {self.loss:.6g}, |grad| {self.grad_norm:.2g}, {self.stop_reason.value}>"
        )


STOPPED = (
    StopReason.MAX_STEPS,
    StopReason.MAX_SECONDS,
    StopReason.NO_PROGRESS,
    StopReason.KRYLOV,
    StopReason.VALLEY,
    StopReason.UNBOUNDED,
)
"""Reasons to look at what has been reached all the same."""


def verdict(objective: Objective, theta: np.ndarray, loss: float, gradient: np.ndarray) -> StopReason:
    """What the point is at which a refinement gets no further."""
    if objective.is_critical(np.ascontiguousarray(theta), gradient):
        return StopReason.FLOOR
    return StopReason.LOSS_FLOOR if objective.is_zero(theta, loss) else StopReason.NO_PROGRESS


class Kept:
    """What a refinement returns is never worse than what it got, neither in L nor in |∇L|_∞.

    An accepted step may raise the gradient a thousandfold (a curved valley) or, near a saddle, the loss;
    of the points seen the one with the lowest loss is kept among those that are worse in neither.
    """

    def __init__(self, objective: Objective, theta: np.ndarray, loss: float, norm: float):
        self.objective = objective
        self.theta, self.loss, self.norm = np.array(theta), loss, norm
        self.first = loss, norm

    def see(self, theta: np.ndarray, loss: float, norm: float) -> None:
        """Keep a point that is better."""
        if norm <= self.first[1] and loss <= self.first[0] and (loss, norm) < (self.loss, self.norm):
            self.theta, self.loss, self.norm = np.array(theta), loss, norm

    def better(self, theta: np.ndarray, loss: float, norm: float) -> tuple[np.ndarray, float, float]:
        """The point (θ, L, |∇L|_∞) where the refinement ended, or the one kept.

        Within rounding L is the same; and the gradient of a critical point, or at loss zero, is as small as
        it can be.
        """
        rounding = 8 * EPS * abs(self.first[0]) + self.objective.loss_floor
        lowered = self.first[0] - loss > rounding
        if loss - self.first[0] <= rounding:
            if norm <= self.first[1] or (lowered and self.at_end(np.ascontiguousarray(theta), loss)):
                return theta, loss, norm
        return self.theta, self.loss, self.norm

    def at_end(self, theta: np.ndarray, loss: float) -> bool:
        """Whether this is a critical point, or L is zero there."""
        return self.objective.is_zero(theta, loss) or self.objective.is_critical(theta)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refiner(Settings, abc.ABC):
    """Settings of a refinement.

    Parameters
    ----------
    gtol : float, default 0.0
        Stop when the ∞-norm of ∇L is at or below this; 0 goes on to the floor of Float64.
    max_iterations : int, default 1000
        Limit on the number of steps.
    max_seconds : float, default math.inf
        Wall-clock limit.

    Examples
    --------
    >>> gf.refiners.TrustRegionNewton(gtol=1e-10, max_iterations=50).settings()["max_iterations"]
    50
    """

    gtol: float = 0.0
    max_iterations: int = 1000
    max_seconds: float = math.inf

    name: ClassVar[str] = ""

    def __post_init__(self):
        values = {
            "gtol": number("gtol", self.gtol, minimum=0.0),
            "max_iterations": integer("max_iterations", self.max_iterations, 1),
            "max_seconds": number("max_seconds", self.max_seconds, minimum=0.0, exclusive=True),
        }
        store_plain(self, values)

    @abc.abstractmethod
    def refine(self, objective: Objective, theta: np.ndarray, monitor: Monitor) -> Refinement:
        """Refine a point.

        Parameters
        ----------
        objective : Objective
            The loss of the parameters that move.
        theta : ndarray, shape (P,)
            Where to begin.
        monitor : Monitor
            Hears of each step and may interrupt.

        Returns
        -------
        Refinement
            Says why it stopped.
        """

    def settings(self) -> dict:
        """The settings as plain values, with the refiner's name."""
        return {"refiner": self.name, **dataclasses.asdict(self)}


class Course:
    """What every refinement keeps of its course: its limits, how far it came and what it cost."""

    def __init__(self, settings: Refiner, objective: Objective, monitor: Monitor):
        self.settings, self.objective, self.monitor = settings, objective, monitor
        self.limits = Limits(monitor, settings.max_iterations, settings.max_seconds)
        self.before = objective.counts()
        self.iterations = 0
        self.reason: StopReason | None = None

    def refinement(self, theta: np.ndarray, loss: float, grad_norm: float) -> Refinement:
        """The refinement that ends at this point."""
        assert self.reason is not None
        return Refinement(
            theta=theta,
            loss=loss,
            grad_norm=grad_norm,
            stop_reason=self.reason,
            iterations=self.iterations,
            counts=self.objective.counts() - self.before,
            seconds=self.limits.spent,
            settings=self.settings.settings(),
        )


class Stop(Exception):
    """Leaves a package's loop when time is up, the user asks, or the goal is met."""


class Watch(Course):
    """The best point of a refinement that another package carries out, and the reasons to leave it."""

    def __init__(self, settings: Refiner, objective: Objective, theta: np.ndarray, monitor: Monitor):
        super().__init__(settings, objective, monitor)
        self.theta = np.array(theta, dtype=np.float64)
        self.loss, gradient = objective.loss_and_gradient(self.theta)
        self.norm = float(np.abs(gradient).max())
        self.kept = Kept(objective, self.theta, self.loss, self.norm)
        self.reason = self.limits.reason(0, self.loss, self.norm)
        if self.reason is None and self.norm <= settings.gtol:
            self.reason = StopReason.GRADIENT

    def see(self, theta: np.ndarray, loss: float, gradient: np.ndarray) -> None:
        """Keep a point that is better."""
        norm = float(np.abs(gradient).max())
        self.kept.see(theta, loss, norm)
        if np.isfinite(norm) and (loss, norm) < (self.loss, self.norm):
            self.theta, self.loss, self.norm = np.array(theta), loss, norm

    def iteration(self) -> None:
        """Count a step and look at the limits; `Stop` where one is met."""
        self.iterations += 1
        settings = self.settings
        self.monitor.report(
            f"refine ({settings.name})", loss=self.loss, grad_norm=self.norm, steps=self.iterations
        )
        if self.norm <= settings.gtol:
            self.reason = StopReason.GRADIENT
        else:
            self.reason = self.limits.reason(self.iterations)
        if self.reason is not None:
            raise Stop

    def result(self) -> Refinement:
        """The refinement that ends at the best point."""
        if self.reason is None:
            gradient = self.objective.gradient(self.theta)
            self.reason = verdict(self.objective, self.theta, self.loss, gradient)
        theta, loss, norm = self.kept.better(self.theta, self.loss, self.norm)
        return self.refinement(theta, loss, norm)
