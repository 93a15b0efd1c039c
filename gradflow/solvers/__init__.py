"""How θ moves: integrators of the gradient flow. They see an `Objective`, never a network.

A solver is its settings, all keyword; `integrate` follows the flow. The loop is compiled code of this
package; `gradflow.solvers.diffrax` has diffrax's methods as steps of it.

base          the interface, and the settings that all solvers share
methods       one class per method of the loop; `tableaus` has their coefficients, `compiled` their steps
discrete      gradient descent and its relatives, which do not follow the flow
integration   following a flow: pieces of the loop, limits, checkpoints
compiled_run  the arrays of one run of the loop, and the calls of it; `first_step` its beginning
filippov      the solver of flows with kinks, on samples; `kinked` is how it works
modes         what grows along a flow, and whether a point with a small gradient is its end
flow          the path of θ through time that comes back; `dense_output` its points between steps
records       what is kept of the steps, and the state from which a flow continues
"""

from ..boundaries.events import Events
from ..support import families
from . import diffrax
from .base import FlowSolver
from .discrete import SGD, Adam, GradientDescent, Momentum
from .filippov import Filippov
from .flow import Flow
from .methods import (
    BDF,
    RKC2,
    CompiledSolver,
    Dopri8,
    KenCarp58,
    KrylovBDF,
    Kvaerno3,
    Kvaerno4,
    Kvaerno5,
    Rodas5P,
    Tsit5,
)
from .records import Checkpoint, FlowState

__all__ = [
    "BDF",
    "RKC2",
    "SGD",
    "Adam",
    "Checkpoint",
    "CompiledSolver",
    "Dopri8",
    "Events",
    "Filippov",
    "Flow",
    "FlowSolver",
    "FlowState",
    "GradientDescent",
    "KenCarp58",
    "KrylovBDF",
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

KINK_PLACES = 1_000_000
"""Neurons with kinks times samples up to which kinks are followed by default."""

IMPLICIT_SIZE = 500
"""Above this many parameters Hessians and factorisations cost more than conjugate gradients."""


def default_solver(size: int, places: int = 0) -> FlowSolver:
    """The solver used when none is named: BDF up to 500 parameters, KrylovBDF beyond; Filippov at kinks.

    places   neurons with kinks times samples: with any, but not more than a million, and up to 500
    parameters,
             it is Filippov. Beyond, a flow with kinks is taken for a smooth one

    Parameters
    ----------
    size : int
        Number of moving parameters.

    Returns
    -------
    FlowSolver

    Notes
    -----
    Measured (`python -m benchmarks solvers`): of the methods with Hessians BDF is the fastest on population
    and sample problems alike, at tolerances from 1e-3 to 1e-10. At rtol 1e-6 and the same end KrylovBDF takes
    of its time: at 374 parameters 0.27 (erf), 0.33 (relu), 0.6 (softplus); at 660 0.06 (erf) and 0.11 (relu);
    with samples 0.7 (401 parameters, N = 5,000), 0.36 (563, N = 2,000) and 0.32 (721, N = 1,000).

    Examples
    --------
    >>> default_solver(50).name, default_solver(5000).name
    ('BDF', 'KrylovBDF')
    """
    if 0 < places <= KINK_PLACES and size <= IMPLICIT_SIZE:
        return Filippov()
    return BDF() if size <= IMPLICIT_SIZE else KrylovBDF()


def known_solvers() -> dict[str, type[FlowSolver]]:
    """All solvers by name.

    Returns
    -------
    dict of str to type

    Examples
    --------
    >>> known_solvers()["BDF"]
    <class 'gradflow.solvers.methods.BDF'>
    """
    return families.by_name(FlowSolver)


def from_settings(settings: dict) -> FlowSolver:
    """The solver whose settings these are.

    Parameters
    ----------
    settings : dict
        What `FlowSolver.settings` gave.

    Returns
    -------
    FlowSolver

    Raises
    ------
    ArgumentError
        For settings of no known solver.

    Examples
    --------
    >>> from_settings(gf.solvers.RKC2(rtol=1e-5).settings()).rtol
    1e-05
    """
    return families.from_settings(FlowSolver, "solver", settings)


def __dir__() -> list[str]:
    return sorted(__all__)
