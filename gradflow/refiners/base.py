"""The interface of a refiner, its settings, and what a refinement returns."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import ClassVar

import numpy as np

from ..losses.base import Counts, Objective
from ..support.progress import Monitor
from ..support.settings import Settings, store_plain
from ..support.stopping import StopReason
from ..support.validate import integer, number


@dataclasses.dataclass(frozen=True, eq=False)
class Extended:
    """What double-double adds to a refined point: the low parts of θ (P,) and of L, a bound on the
    absolute error of L, and the number of Newton steps that were taken in double-double."""

    theta_low: np.ndarray
    loss_low: float
    loss_bound: float
    iterations: int


@dataclasses.dataclass(frozen=True, eq=False)
class Refinement:
    """The end point of a refinement, why it stopped there, and what it cost.

    theta (P,), loss, grad_norm (∞-norm of ∇L); `iterations` counts accepted steps. With
    precision="double-double" `extended` has the low parts, and loss and grad_norm hold at θ + θ_low.
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

    def __repr__(self) -> str:
        return (
            f"<Refinement: {self.settings['refiner']}, {self.iterations} steps, "
            f"loss {self.loss:.6g}, |grad| {self.grad_norm:.2g}, {self.stop_reason.value}>"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refiner(Settings, abc.ABC):
    """Settings of a refinement.

    gtol            stop when the ∞-norm of ∇L is at or below this; 0 goes on to the floor of Float64
    max_iterations  limit on the number of steps
    max_seconds     wall-clock limit
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
        """Refine `theta` (P,); a `Refinement` that says why it stopped."""

    def settings(self) -> dict:
        """The settings as plain values, with the refiner's name."""
        return {"refiner": self.name, **dataclasses.asdict(self)}
