"""Gradient descent and its relatives behind the interface of a flow solver, for comparisons.

They do not follow the flow; time is t = steps · rate. The loops are NumPy around compiled gradients.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np

from ..objective import Objective
from ..support.errors import ArgumentError
from ..support.limits import Limits
from ..support.progress import Monitor
from ..support.settings import store_plain
from ..support.stopping import StopReason
from ..support.validate import integer, number
from .base import FlowSolver
from .dense_output import Stepper, by_lines
from .flow import Flow, build_flow
from .modes import PRODUCTS, lanczos_modes, verdict

SPACING = 1.01
"""Of the iterates those are kept whose numbers grow by this factor at least: 1,600 of ten million."""

Update = Callable[[np.ndarray], np.ndarray]
"""The step, without the rate, for a gradient r ⊙ ∇L."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscreteDynamics(FlowSolver):
    """θ ← θ − rate · u(r ⊙ ∇L): iterates kept at numbers that grow geometrically, straight lines between.

    Parameters
    ----------
    rate : float, default 0.01
        Step size η; `t1`, `max_steps` (a million here), `max_seconds` and `gtol` as in every solver; `rtol`
        and `atol` mean nothing here.

    Notes
    -----
    L and ∇L are tested at the iterates that are kept; which these are depends on their numbers alone.
    """

    rate: float = 0.01
    max_steps: int = 1_000_000

    implicit: ClassVar[bool] = False

    def __post_init__(self):
        super().__post_init__()
        store_plain(self, {"rate": number("rate", self.rate, minimum=0.0, exclusive=True)})

    @abc.abstractmethod
    def update(self, size: int) -> Update:
        """The rule of this method with a fresh memory."""

    def batches(self, objective: Objective) -> Iterator[Objective] | None:
        """What each step takes its gradient of, or None for the whole loss."""
        return None

    def stepper(self, objective: Objective, rates: np.ndarray) -> Stepper:
        return by_lines

    def integrate(self, objective: Objective, theta: np.ndarray, rates: np.ndarray, monitor: Monitor) -> Flow:
        limits, before = Limits(monitor, self.max_steps, self.max_seconds), objective.counts()
        floor = objective.loss_floor if objective.nonnegative else -math.inf
        update, batches = self.update(theta.size), self.batches(objective)
        theta = np.array(theta, dtype=np.float64)
        times, points = [0.0], [theta]
        steps, keep = 0, 1
        loss, gradient = objective.loss_and_gradient(theta)
        with np.errstate(over="ignore", invalid="ignore"):
            reason = self._end(objective, rates, theta, loss, gradient, floor)
            while reason is None:
                reason = self._limit(limits, steps, loss)
                if reason is not None:
                    break
                if batches is not None:
                    gradient = next(batches).gradient(theta)
                candidate = theta - self.rate * update(rates * gradient)
                if batches is None or steps + 1 == keep:
                    loss, gradient = objective.loss_and_gradient(candidate)
                if not (np.isfinite(candidate).all() and np.isfinite(loss)):
                    reason = StopReason.NON_FINITE
                    break
                theta, steps = candidate, steps + 1
                if steps == keep:
                    times.append(steps * self.rate)
                    points.append(theta)
                    keep = max(steps + 1, math.ceil(SPACING * steps))
                    reason = self._end(objective, rates, theta, loss, gradient, floor)
                    norm = float(np.abs(gradient).max())
                    monitor.report(self.name, t=times[-1], loss=loss, grad_norm=norm, steps=steps)
        if steps * self.rate > times[-1]:
            times.append(steps * self.rate)
            points.append(theta)
        at, path = np.array(times), np.array(points)
        velocity = np.zeros_like(path)
        velocity[:-1] = np.diff(path, axis=0) / np.diff(at)[:, None]
        return build_flow(
            objective,
            at,
            path,
            velocity,
            np.zeros_like(path),
            np.full(at.size - 1, np.inf),
            stop_reason=reason,
            accepted=steps,
            rejected=0,
            counts=objective.counts() - before,
            seconds=limits.spent,
            compile_seconds=0.0,
            settings=self.settings(),
            stepper=by_lines,
        )

    def _end(self, objective: Objective, rates, theta, loss, gradient, floor: float) -> StopReason | None:
        """Why a kept iterate is the end, by the size of L and ∇L."""
        norm, gtol = np.abs(gradient).max(), self.gradient_tolerance(objective)
        if norm <= gtol:
            modes = lanczos_modes(objective, rates, theta, gradient, PRODUCTS)
            reason = verdict(modes, objective, rates, theta, gtol)
            if reason is not None:
                return reason
        return StopReason.LOSS_FLOOR if loss <= floor else None

    def _limit(self, limits: Limits, steps: int, loss: float) -> StopReason | None:
        reason = limits.reason(steps, loss)
        at_end = steps * self.rate >= self.t1 and reason is not StopReason.NON_FINITE
        return StopReason.END_TIME if at_end else reason


class GradientDescent(DiscreteDynamics):
    """θ ← θ − η r ⊙ ∇L, the explicit Euler method of the flow with step η = rate.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 1, 1), bias=False, seed=0)
    >>> solver = GradientDescent(rate=0.1, t1=5.0)
    >>> gf.train(teacher, student, solver=solver, refiner=None, progress=False).flow.accepted
    50
    """

    name: ClassVar[str] = "GradientDescent"

    def update(self, size: int) -> Update:
        return lambda gradient: gradient


@dataclasses.dataclass(frozen=True, kw_only=True)
class SGD(DiscreteDynamics):
    """Gradient descent on minibatches, drawn without replacement and shuffled anew in every epoch.

    Parameters
    ----------
    batch_size : int, default 32
        Samples per step; the last batch of an epoch may be smaller.
    momentum : float, default 0.0
        μ of the heavy ball m ← μ m + ∇L, θ ← θ − η m; 0 is plain SGD.
    seed : int, default 0
        Of the shuffling.

    Notes
    -----
    The whole loss and gradient are looked at where iterates are kept. Needs samples.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((64, 3))
    >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 2, 1), bias=False, seed=0)
    >>> solver = SGD(rate=0.1, batch_size=16, max_steps=100)
    >>> gf.train(teacher, student, inputs=X, solver=solver, refiner=None, progress=False).flow.accepted
    100
    """

    batch_size: int = 32
    momentum: float = 0.0
    seed: int = 0

    name: ClassVar[str] = "SGD"

    def __post_init__(self):
        super().__post_init__()
        integer("batch_size", self.batch_size, 1)
        integer("seed", self.seed, 0)
        store_plain(self, {"momentum": _fraction("momentum", self.momentum)})

    def update(self, size: int) -> Update:
        return _heavy_ball(size, self.momentum)

    def batches(self, objective: Objective) -> Iterator[Objective]:
        if objective.sample_count == 0:
            raise ArgumentError("solver", "SGD", "a loss over samples: minibatches need some")
        return self._shuffled(objective)

    def _shuffled(self, objective: Objective) -> Iterator[Objective]:
        rng = np.random.default_rng(self.seed)
        while True:
            order = rng.permutation(objective.sample_count)
            for first in range(0, order.size, self.batch_size):
                yield objective.batch(order[first : first + self.batch_size])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Momentum(DiscreteDynamics):
    """The heavy ball: m ← μ m + r ⊙ ∇L, θ ← θ − η m.

    Parameters
    ----------
    momentum : float, default 0.9
        μ, from 0 to below 1.

    References
    ----------
    B. T. Polyak, USSR Comput. Math. Math. Phys. 4 (1964) 1–17.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 1, 1), bias=False, seed=0)
    >>> solver = Momentum(rate=0.1, momentum=0.5, max_steps=50)
    >>> gf.train(teacher, student, solver=solver, refiner=None, progress=False).flow.accepted
    50
    """

    momentum: float = 0.9

    name: ClassVar[str] = "Momentum"

    def __post_init__(self):
        super().__post_init__()
        store_plain(self, {"momentum": _fraction("momentum", self.momentum)})

    def update(self, size: int) -> Update:
        return _heavy_ball(size, self.momentum)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam(DiscreteDynamics):
    """Adam: θ ← θ − η m̂/(√v̂ + ε), m and v averages of ∇L and its square, corrected for their start.

    Parameters
    ----------
    rate : float, default 0.001
        Step size η.
    beta1, beta2 : float, default 0.9 and 0.999
        Weights of the past in m and v, from 0 to below 1.
    epsilon : float, default 1e-8
        ε > 0.

    References
    ----------
    D. P. Kingma and J. Ba, Adam: a method for stochastic optimization, ICLR 2015, Algorithm 1.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 1, 1), bias=False, seed=0)
    >>> solver = Adam(rate=0.01, max_steps=50)
    >>> gf.train(teacher, student, solver=solver, refiner=None, progress=False).flow.accepted
    50
    """

    rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    name: ClassVar[str] = "Adam"

    def __post_init__(self):
        super().__post_init__()
        values = {name: _fraction(name, getattr(self, name)) for name in ("beta1", "beta2")}
        values["epsilon"] = number("epsilon", self.epsilon, minimum=0.0, exclusive=True)
        store_plain(self, values)

    def update(self, size: int) -> Update:
        first, second = np.zeros(size), np.zeros(size)
        count = 0

        def step(gradient: np.ndarray) -> np.ndarray:
            nonlocal first, second, count
            count += 1
            first = self.beta1 * first + (1 - self.beta1) * gradient
            second = self.beta2 * second + (1 - self.beta2) * gradient**2
            mean, square = first / (1 - self.beta1**count), second / (1 - self.beta2**count)
            return mean / (np.sqrt(square) + self.epsilon)

        return step


def _heavy_ball(size: int, momentum: float) -> Update:
    memory = np.zeros(size)

    def step(gradient: np.ndarray) -> np.ndarray:
        nonlocal memory
        memory = momentum * memory + gradient
        return memory

    return step


def _fraction(argument: str, given) -> float:
    value = number(argument, given, minimum=0.0)
    if value >= 1.0:
        raise ArgumentError(argument, given, "a number ≥ 0 and below 1")
    return value
