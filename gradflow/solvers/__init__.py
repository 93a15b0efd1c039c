"""How θ moves: integrators of the gradient flow. They see an `Objective`, never a network.

A solver is its settings, all keyword; `integrate` follows the flow. The stepping loop is compiled code
of this package; `gradflow.solvers.diffrax` has diffrax's methods behind the same interface.
"""

from . import diffrax
from .base import FlowSolver
from .discrete import SGD, Adam, GradientDescent, Momentum
from .methods import (
    BDF,
    RKC2,
    CompiledSolver,
    Dopri8,
    KenCarp58,
    Kvaerno3,
    Kvaerno4,
    Kvaerno5,
    Rodas5P,
    Tsit5,
)
from .records import Checkpoint, FlowState
from .flow import Flow

__all__ = [
    "BDF",
    "RKC2",
    "SGD",
    "Adam",
    "Checkpoint",
    "CompiledSolver",
    "FlowState",
    "Dopri8",
    "Flow",
    "FlowSolver",
    "GradientDescent",
    "KenCarp58",
    "Kvaerno3",
    "Kvaerno4",
    "Kvaerno5",
    "Momentum",
    "Rodas5P",
    "Tsit5",
    "default_solver",
    "diffrax",
    "from_settings",
    "known_solvers",
]

IMPLICIT_SIZE = 2000
"""Above this many parameters an implicit step's factorisation costs more than it saves."""


def default_solver(size: int) -> FlowSolver:
    """The solver used when none is named: BDF up to 2,000 parameters, RKC2 beyond.

    Measured (`python -m benchmarks solvers`): BDF is the fastest on population and sample problems alike,
    from a few parameters to some hundred, at tolerances from 1e-3 to 1e-10. Where factorisations and Hessians
    are out of the question, RKC2 takes a third of Tsit5's time to t = 100 on 4,401 parameters with
    |λ|_max = 25, and the less the longer the flow.
    """
    return BDF() if size <= IMPLICIT_SIZE else RKC2()


def known_solvers() -> dict[str, type[FlowSolver]]:
    """All solvers by name."""

    def leaves(kind) -> list:
        below = kind.__subclasses__()
        return [leaf for cls in below for leaf in leaves(cls)] if below else [kind]

    return {cls.name: cls for cls in leaves(FlowSolver)}


def from_settings(settings: dict) -> FlowSolver:
    """The solver whose `settings()` these are."""
    values = dict(settings)
    return known_solvers()[values.pop("solver")](**values)
