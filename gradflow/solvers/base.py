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

    Parameters
    ----------
    rtol, atol : float, default 1e-7
        Local error per step within rtol·|θ| + atol·s, root mean square over the parameters; s is the size
        of the weight vector that a parameter belongs to (`networks.MLP.weight_vectors`), the largest entry
        of θ where there is no network.
    t1 : float, default inf
        End time (dimensionless).
    max_steps : int, default 100,000
        Accepted and rejected steps together.
    max_seconds : float, default inf
        Wall-clock limit of the integration, compilation not counted.
    gtol : float, optional
        Stop when the ∞-norm of ∇L falls below this, but not at a saddle that the flow leaves
        (`modes.verdict`); by default 1e-9 times the problem's gradient scale, max(s, √s) with s = E|f*|².

    Raises
    ------
    ArgumentError
        For tolerances that are not positive and limits that are negative.

    Examples
    --------
    >>> gf.solvers.BDF(rtol=1e-9, t1=10.0).settings()["t1"]
    10.0
    >>> issubclass(gf.solvers.BDF, FlowSolver)
    True
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
        """Follow the flow from t = 0.

        Parameters
        ----------
        objective : Objective
            The loss of the parameters that move.
        theta : ndarray, shape (P,)
            Where it starts.
        rates : ndarray, shape (P,)
            r > 0.
        monitor : Monitor
            Hears of the steps and may interrupt.

        Returns
        -------
        Flow
            Says why it stopped.
        """

    @abc.abstractmethod
    def stepper(self, objective: Objective, rates: np.ndarray) -> Stepper | None:
        """What computes points of the path between accepted steps, for `Flow.at`; None: interpolation.

        For the flow of this `objective` with these `rates`.
        """

    def compile_ahead(self) -> None:
        """Have compiled what `integrate` will call, while something else is compiled."""

    def gradient_tolerance(self, objective: Objective) -> float:
        """`gtol`, or the default for this `objective`."""
        return 1e-9 * objective.gradient_scale if self.gtol is None else self.gtol

    def settings(self) -> dict:
        """The settings as plain numbers, with the solver's name."""
        return {"solver": self.name, **dataclasses.asdict(self)}
