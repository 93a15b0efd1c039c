"""The interface of a flow solver, and the settings that all of them share."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import ClassVar

import numpy as np

from ..objective import Objective
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.settings import Settings, store_plain
from ..support.validate import integer, number
from .dense_output import Stepper
from .flow import Flow


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowSolver(Settings, abc.ABC):
    """Settings of an integration of dθ/dt = −r ⊙ ∇L(θ) from t = 0.

    rtol, atol   local error per step within rtol·|θ| + atol·s, root mean square over the parameters; s is
                 the size of the weight vector that a parameter belongs to (`networks.MLP.weight_vectors`),
                 the largest entry of θ where there is no network
    t1           end time (dimensionless; may be infinite)
    max_steps    accepted and rejected steps together
    max_seconds  wall-clock limit of the integration, compilation not counted
    gtol         stop when the ∞-norm of ∇L falls below this, but not at a saddle that the flow leaves
                 (`modes.verdict`); by default 1e-9 times the problem's gradient scale, max(s, √s) with
                 s = E|f*|²

    Raises `ArgumentError` for tolerances that are not positive and limits that are negative.
    """

    rtol: float = 1e-7
    atol: float = 1e-7
    t1: float = math.inf
    max_steps: int = 100_000
    max_seconds: float = math.inf
    gtol: float | None = None

    name: ClassVar[str] = ""

    def __post_init__(self):
        values: dict = {
            name: number(name, getattr(self, name), minimum=0.0, exclusive=True)
            for name in ("rtol", "atol", "t1", "max_seconds")
        }
        if not 1e-14 <= values["rtol"] < 1.0:
            raise ArgumentError("rtol", self.rtol, "a number from 1e-14, which Float64 resolves, to below 1")
        if self.gtol is not None:
            values["gtol"] = number("gtol", self.gtol, minimum=0.0)
        values["max_steps"] = integer("max_steps", self.max_steps, 1)
        store_plain(self, values)

    @abc.abstractmethod
    def integrate(self, objective: Objective, theta: np.ndarray, rates: np.ndarray, monitor: Monitor) -> Flow:
        """Follow the flow from `theta` (P,) with rates (P,) > 0; a `Flow` that says why it stopped."""

    @abc.abstractmethod
    def stepper(self, objective: Objective, rates: np.ndarray) -> Stepper | None:
        """What computes points of the path between accepted steps, for `Flow.at`; None: interpolation."""

    def gradient_tolerance(self, objective: Objective) -> float:
        """`gtol`, or the default of the problem."""
        return 1e-9 * objective.gradient_scale if self.gtol is None else self.gtol

    def settings(self) -> dict:
        """The settings as plain numbers, with the solver's name."""
        return {"solver": self.name, **dataclasses.asdict(self)}
