"""diffrax's own methods in the loop of the compiled ones: an independent test of their steps.

Each is compiled for every number of parameters anew, which takes one to three seconds.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from ..support.x64 import require_x64
from .compiled import layout as at
from .compiled_run import Method, Run
from .flow import Flow
from .methods import CompiledSolver

__all__ = ["DiffraxSolver", "Dopri8", "Kvaerno3", "Kvaerno4", "Kvaerno5", "Tsit5"]


def _no_step(*_) -> None:
    """In the place of a step function in Numba."""


@dataclasses.dataclass(frozen=True, eq=False)
class DiffraxMethod(Method):
    """A class of diffrax, by name, as a step function of the compiled loop: a call back into Python."""

    name: str = ""

    def address(self, run: Run) -> int:
        require_x64()
        from .diffrax_step import prepared  # diffrax and optimistix take a second to import

        program = prepared(self.name, run.objective, run.rates)

        def step(_) -> None:
            new, velocity, error, failed = program(
                run.vectors[at.THETA],
                run.vectors[at.VELOCITY],
                run.arrays[at.HESSIAN] if self.hessian else None,
                run.arrays[at.WORK][at.SCALE],
                run.numbers[at.TAKEN],
            )
            run.fresh[at.NEW_THETA], run.fresh[at.NEW_VELOCITY] = new, velocity
            run.numbers[at.ERROR], run.integers[at.FAILED] = error, failed
            if not np.isfinite(error):
                run.integers[at.NON_FINITE] = 1

        return run.called_back(step)


def _method(name: str, order: int, implicit: bool = True) -> DiffraxMethod:
    return DiffraxMethod(_no_step, np.zeros(1), 1, order - 1, hessian=implicit, own_velocity=True, name=name)


class DiffraxSolver(CompiledSolver):
    """A method of diffrax as a step of the compiled loop; `name` says which.

    Its settings are those of `FlowSolver`.

    Examples
    --------
    >>> sorted(name for name in gf.solvers.known_solvers() if name.startswith("diffrax."))
    ['diffrax.Dopri8', 'diffrax.Kvaerno3', 'diffrax.Kvaerno4', 'diffrax.Kvaerno5', 'diffrax.Tsit5']
    """

    def integrate(self, objective, theta, rates, monitor, checkpoint=None) -> Flow:
        monitor.message(f"{self.name}: compiling for {rates.size} parameters")
        return super().integrate(objective, theta, rates, monitor, checkpoint)


class Kvaerno5(DiffraxSolver):
    """Kværnø's ESDIRK 5(4), A–L stable, 7 stages, with the exact Jacobian −r ⊙ ∇²L.

    One Hessian and one factorisation a step. Its error runs 5 to 30 times the tolerance.

    References
    ----------
    A. Kværnø, BIT Numer. Math. 44 (2004) 489–502.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 1, 1), bias=False, seed=0)
    >>> solver = gf.solvers.diffrax.Kvaerno5(rtol=1e-4, atol=1e-4, t1=1.0)
    >>> gf.train(teacher, student, solver=solver, refiner=None, progress=False).flow.end_time
    1.0
    """

    name: ClassVar[str] = "diffrax.Kvaerno5"
    method: ClassVar[Method] = _method("Kvaerno5", 5)


class Kvaerno4(DiffraxSolver):
    """Kværnø's ESDIRK 4(3), 5 stages; see `Kvaerno5`.

    Examples
    --------
    >>> gf.solvers.diffrax.Kvaerno4(rtol=1e-4).settings()["rtol"]
    0.0001
    """

    name: ClassVar[str] = "diffrax.Kvaerno4"
    method: ClassVar[Method] = _method("Kvaerno4", 4)


class Kvaerno3(DiffraxSolver):
    """Kværnø's ESDIRK 3(2), 4 stages; see `Kvaerno5`.

    Examples
    --------
    >>> gf.solvers.diffrax.Kvaerno3(rtol=1e-4).settings()["rtol"]
    0.0001
    """

    name: ClassVar[str] = "diffrax.Kvaerno3"
    method: ClassVar[Method] = _method("Kvaerno3", 3)


class Tsit5(DiffraxSolver):
    """Tsitouras' explicit 5(4): gradients only; for problems that are not stiff, or too large for Hessians.

    It is not told when a problem is stiff.

    References
    ----------
    Ch. Tsitouras, Comput. Math. Appl. 62 (2011) 770–775.

    Examples
    --------
    >>> gf.solvers.diffrax.Tsit5(rtol=1e-4).implicit
    False
    """

    name: ClassVar[str] = "diffrax.Tsit5"
    implicit: ClassVar[bool] = False
    method: ClassVar[Method] = _method("Tsit5", 5, implicit=False)


class Dopri8(DiffraxSolver):
    """Dormand and Prince's explicit 8(7), for reference solutions of problems that are not stiff.

    References
    ----------
    P. J. Prince and J. R. Dormand, J. Comput. Appl. Math. 7 (1981) 67–75.

    Examples
    --------
    >>> gf.solvers.diffrax.Dopri8(rtol=1e-10).implicit
    False
    """

    name: ClassVar[str] = "diffrax.Dopri8"
    implicit: ClassVar[bool] = False
    method: ClassVar[Method] = _method("Dopri8", 8, implicit=False)


def __dir__() -> list[str]:
    return sorted(__all__)
