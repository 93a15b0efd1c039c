"""How θ moves: integrators of the gradient flow. They see an `Objective`, never a network.

A solver is its settings, all keyword; `integrate` follows the flow. Packages that integrate are
imported at the first solve.
"""

from .base import FlowSolver
from .diffrax_methods import Dopri8, Kvaerno3, Kvaerno4, Kvaerno5, Tsit5
from .trajectory import Flow

__all__ = [
    "Dopri8",
    "Flow",
    "FlowSolver",
    "Kvaerno3",
    "Kvaerno4",
    "Kvaerno5",
    "Tsit5",
    "default_solver",
]

IMPLICIT_SIZE = 2000
"""Above this many parameters an implicit step's factorisation costs more than it saves."""


def default_solver(size: int) -> FlowSolver:
    """The solver used when none is named: Kvaerno5 up to 2,000 parameters, Tsit5 beyond."""
    return Kvaerno5() if size <= IMPLICIT_SIZE else Tsit5()
