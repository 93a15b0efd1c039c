"""Refinement without Hessians, for networks of more than a thousand parameters."""

from __future__ import annotations

import dataclasses
import time
from typing import ClassVar

import numpy as np

from ..losses.base import Counts, Objective
from ..support.progress import Monitor
from ..support.stopping import StopReason
from ..support.validate import integer
from .base import Kept, Refinement, Refiner, verdict


@dataclasses.dataclass
class _Best:
    theta: np.ndarray
    loss: float
    grad_norm: float


class _Stop(Exception):
    """Leaves SciPy's loop when time is up, the user asks, or the goal is met."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LBFGS(Refiner):
    """Limited-memory BFGS (SciPy's L-BFGS-B), restarted until a restart no longer helps.

    history   number of stored pairs

    SciPy's code is used rather than optimistix's because it has a gradient tolerance and goes on where
    an Armijo search stalls; a restart drops pairs that rounding has spoilt. It ends where differences
    of L drown in rounding, at a gradient of about √ε times the scale of the problem, and says so.
    Source: Zhu, Byrd, Lu & Nocedal, ACM TOMS 23 (1997) 550.
    """

    max_iterations: int = 20_000
    history: int = 30

    name: ClassVar[str] = "LBFGS"

    def __post_init__(self):
        super().__post_init__()
        integer("history", self.history, 1)

    def refine(self, objective: Objective, theta: np.ndarray, monitor: Monitor) -> Refinement:
        import scipy.optimize  # takes a seventh of a second: not at import

        began, before = time.monotonic(), objective.counts()
        theta = np.array(theta, dtype=np.float64)
        loss, gradient = objective.loss_and_gradient(theta)
        best = _Best(theta, loss, float(np.abs(gradient).max()))
        kept = Kept(objective, theta, loss, best.grad_norm)
        reason: StopReason | None = None
        iterations = 0

        def function(x):
            value, slope = objective.loss_and_gradient(np.ascontiguousarray(x))
            norm = float(np.abs(slope).max())
            kept.see(x, value, norm)
            if np.isfinite(value) and (value, norm) < (best.loss, best.grad_norm):
                best.theta, best.loss, best.grad_norm = x.copy(), value, norm
            return value, slope

        def callback(x):
            nonlocal iterations, reason
            iterations += 1
            monitor.report("refine (L-BFGS)", loss=best.loss, grad_norm=best.grad_norm, steps=iterations)
            if best.grad_norm <= self.gtol:
                reason = StopReason.GRADIENT
            elif monitor.interrupted:
                reason = StopReason.INTERRUPTED
            elif iterations >= self.max_iterations:
                reason = StopReason.MAX_STEPS
            elif time.monotonic() - began >= self.max_seconds:
                reason = StopReason.MAX_SECONDS
            if reason is not None:
                raise _Stop

        if not np.isfinite(loss):
            reason = StopReason.NON_FINITE
        elif best.grad_norm <= self.gtol:
            reason = StopReason.GRADIENT
        while reason is None:
            start = best.loss, best.grad_norm
            try:
                scipy.optimize.minimize(
                    function,
                    best.theta,
                    jac=True,
                    method="L-BFGS-B",
                    callback=callback,
                    options={
                        "maxcor": self.history,
                        "ftol": 0.0,
                        "gtol": self.gtol,
                        "maxls": 50,
                        "maxiter": self.max_iterations,
                        "maxfun": 10 * self.max_iterations,
                    },
                )
            except _Stop:
                break
            if not (best.loss < start[0] or best.grad_norm < 0.5 * start[1]):
                reason = verdict(objective, best.theta, best.loss, objective.gradient(best.theta))
        after = objective.counts()
        assert reason is not None
        theta, loss, norm = kept.better(best.theta, best.loss, best.grad_norm)
        return Refinement(
            theta=theta,
            loss=loss,
            grad_norm=norm,
            stop_reason=reason,
            iterations=iterations,
            counts=Counts(*(b - a for a, b in zip(before, after))),
            seconds=time.monotonic() - began,
            settings=self.settings(),
        )
