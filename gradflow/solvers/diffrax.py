"""diffrax's own methods behind the same interface: an independent test of the compiled ones.

Each is compiled for every number of parameters anew, which takes one to three seconds.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from ..losses.base import Objective
from ..support.progress import Monitor
from ..support.x64 import require_x64
from .base import FlowSolver
from .trajectory import Flow, Stepper

__all__ = ["DiffraxSolver", "Dopri8", "Kvaerno3", "Kvaerno4", "Kvaerno5", "Tsit5"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffraxSolver(FlowSolver):
    """A Runge–Kutta method that diffrax has; `name` is diffrax's, `implicit` decides on Hessians."""

    implicit: ClassVar[bool] = True

    def integrate(self, objective: Objective, theta: np.ndarray, rates: np.ndarray, monitor: Monitor) -> Flow:
        require_x64()
        from .diffrax_stepping import integrate  # diffrax and optimistix take a second to import

        return integrate(self, objective, theta, rates, monitor)

    def stepper(self, objective: Objective, rates: np.ndarray) -> Stepper:
        require_x64()
        from .diffrax_stepping import stepper

        return stepper(self, objective, rates)


class Kvaerno5(DiffraxSolver):
    """Kværnø's ESDIRK 5(4), A–L stable, 7 stages, with the exact Jacobian −r ⊙ ∇²L.

    One Hessian and one factorisation a step. Its error runs 5 to 30 times the tolerance.
    Source: A. Kværnø, BIT Numer. Math. 44 (2004) 489–502.
    """

    name: ClassVar[str] = "diffrax.Kvaerno5"


class Kvaerno4(DiffraxSolver):
    """Kværnø's ESDIRK 4(3), 5 stages; see `Kvaerno5`."""

    name: ClassVar[str] = "diffrax.Kvaerno4"


class Kvaerno3(DiffraxSolver):
    """Kværnø's ESDIRK 3(2), 4 stages; see `Kvaerno5`."""

    name: ClassVar[str] = "diffrax.Kvaerno3"


class Tsit5(DiffraxSolver):
    """Tsitouras' explicit 5(4): gradients only; for problems that are not stiff, or too large for Hessians.

    Source: Ch. Tsitouras, Comput. Math. Appl. 62 (2011) 770–775.
    """

    name: ClassVar[str] = "diffrax.Tsit5"
    implicit: ClassVar[bool] = False


class Dopri8(DiffraxSolver):
    """Dormand and Prince's explicit 8(7), for reference solutions of problems that are not stiff.

    Source: P. J. Prince and J. R. Dormand, J. Comput. Appl. Math. 7 (1981) 67–75.
    """

    name: ClassVar[str] = "diffrax.Dopri8"
    implicit: ClassVar[bool] = False


def __dir__() -> list[str]:
    return sorted(__all__)
