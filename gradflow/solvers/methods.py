"""The methods of the compiled loop: multistep, implicit Runge–Kutta, Rosenbrock, explicit, stabilised.

One class is one method: its name and its `Method`, a compiled step with its coefficients. `known_solvers`
finds a new one by itself, and with it `train(solver="…")`, files and the tests over all methods;
`solvers/__init__` exports it.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from ..objective import Objective
from ..support.progress import Monitor
from . import tableaus
from .base import FlowSolver
from .compiled import bdf_krylov
from .compiled.bdf import bdf_step
from .compiled.chebyshev import rkc_step
from .compiled.esdirk import esdirk_step
from .compiled.explicit import explicit_step
from .compiled.rosenbrock import rosenbrock_step
from .compiled_run import Method
from .dense_output import CompiledPath, Stepper, by_polynomial, by_steps, krylov_newton
from .flow import Flow
from .integration import integrate
from .records import Checkpoint


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompiledSolver(FlowSolver):
    """A method of the compiled loop (`integration`); one compilation serves all problems and sizes.

    Its settings are those of `FlowSolver`.

    Examples
    --------
    >>> [method.name for method in (gf.solvers.BDF, gf.solvers.RKC2) if issubclass(method, CompiledSolver)]
    ['BDF', 'RKC2']
    """

    method: ClassVar[Method]
    implicit: ClassVar[bool] = True

    def integrate(
        self,
        objective: Objective,
        theta: np.ndarray,
        rates: np.ndarray,
        monitor: Monitor,
        checkpoint: Checkpoint | None = None,
    ) -> Flow:
        """Follow the flow.

        Parameters
        ----------
        objective, theta, rates, monitor
            As in `FlowSolver.integrate`.
        checkpoint : Checkpoint, optional
            Where the flow goes on from, if it has a state, and where states are left.

        Returns
        -------
        Flow
        """
        return integrate(self, objective, theta, rates, monitor, checkpoint)

    def compile_ahead(self) -> None:
        self.method.compile_ahead()

    def stepper(self, objective: Objective, rates: np.ndarray) -> Stepper | None:
        return by_steps(self, objective, rates)


def _esdirk(table: tableaus.RungeKutta) -> Method:
    return Method(
        esdirk_step, table.packed(), table.stages, table.embedded_order,
        hessian=True, own_velocity=True, work=table.stages + 4,
    )  # fmt: skip


def _explicit(table: tableaus.RungeKutta) -> Method:
    return Method(
        explicit_step, table.packed(), table.stages, table.embedded_order,
        hessian=False, own_velocity=True, work=table.stages + 2,
    )  # fmt: skip


class KenCarp58(CompiledSolver):
    """Kennedy and Carpenter's ESDIRK 5(4), 8 stages, L-stable, with the exact Jacobian −r ⊙ ∇²L.

    The implicit half of ARK5(4)8L[2]SA₂. One Hessian and one symmetric factorisation a step.

    References
    ----------
    C. A. Kennedy and M. H. Carpenter, Appl. Numer. Math. 136 (2019) 183–205.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, solver=KenCarp58(rtol=1e-9), progress=False).converged
    True
    """

    name: ClassVar[str] = "KenCarp58"
    method: ClassVar[Method] = _esdirk(tableaus.KENCARP58)


class Kvaerno5(CompiledSolver):
    """Kværnø's ESDIRK 5(4), A–L stable, 7 stages; see `KenCarp58`.

    References
    ----------
    A. Kværnø, BIT Numer. Math. 44 (2004) 489–502.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, solver=Kvaerno5(), progress=False).converged
    True
    """

    name: ClassVar[str] = "Kvaerno5"
    method: ClassVar[Method] = _esdirk(tableaus.KVAERNO5)


class Kvaerno4(CompiledSolver):
    """Kværnø's ESDIRK 4(3), 5 stages; see `Kvaerno5`.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, solver=Kvaerno4(), progress=False).converged
    True
    """

    name: ClassVar[str] = "Kvaerno4"
    method: ClassVar[Method] = _esdirk(tableaus.KVAERNO4)


class Kvaerno3(CompiledSolver):
    """Kværnø's ESDIRK 3(2), 4 stages; see `Kvaerno5`.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, solver=Kvaerno3(rtol=1e-5), progress=False).converged
    True
    """

    name: ClassVar[str] = "Kvaerno3"
    method: ClassVar[Method] = _esdirk(tableaus.KVAERNO3)


class Rodas5P(CompiledSolver):
    """Steinebach's Rosenbrock method 5(4), 8 stages, L-stable: one Hessian a step, no Newton iteration.

    References
    ----------
    G. Steinebach, BIT Numer. Math. 63 (2023) 27.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, solver=Rodas5P(), progress=False).converged
    True
    """

    name: ClassVar[str] = "Rodas5P"
    method: ClassVar[Method] = Method(
        rosenbrock_step, tableaus.RODAS5P.packed(), tableaus.RODAS5P.stages, tableaus.RODAS5P.embedded_order,
        hessian=True, work=tableaus.RODAS5P.stages + 2,
    )  # fmt: skip


class Tsit5(CompiledSolver):
    """Tsitouras' explicit 5(4): gradients only; for problems that are not stiff, or too large for Hessians.

    A stiff problem stops it with a reason that says so.

    References
    ----------
    Ch. Tsitouras, Comput. Math. Appl. 62 (2011) 770–775.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> flow = gf.train(teacher, student, solver=Tsit5(t1=10.0), refiner=None, progress=False).flow
    >>> flow.end_time, flow.counts.hessians
    (10.0, 0)
    """

    name: ClassVar[str] = "Tsit5"
    implicit: ClassVar[bool] = False
    method: ClassVar[Method] = _explicit(tableaus.TSIT5)


class Dopri8(CompiledSolver):
    """Prince and Dormand's explicit 8(7), for reference solutions of problems that are not stiff.

    References
    ----------
    P. J. Prince and J. R. Dormand, J. Comput. Appl. Math. 7 (1981) 67–75.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> solver = Dopri8(rtol=1e-12, atol=1e-12, t1=10.0)
    >>> gf.train(teacher, student, solver=solver, refiner=None, progress=False).flow.end_time
    10.0
    """

    name: ClassVar[str] = "Dopri8"
    implicit: ClassVar[bool] = False
    method: ClassVar[Method] = _explicit(tableaus.DOPRI8)


class BDF(CompiledSolver):
    """Backward differentiation of orders 1 to 5 with variable steps: about one gradient a step.

    The Hessian and its factors are kept across steps until Newton's convergence degrades, a few for a
    whole flow. The error runs 3 to 15 times the tolerance. In the form of L. F. Shampine and M. W. Reichelt,
    SIAM J. Sci. Comput. 18 (1997) 1–22 (numerical differentiation formulas, NDF).

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, solver=BDF(rtol=1e-10, atol=1e-10), progress=False).converged
    True
    """

    name: ClassVar[str] = "BDF"
    method: ClassVar[Method] = Method(
        bdf_step, tableaus.differentiation_formulas(), 1, 1, hessian=True, own_velocity=True, own_steps=True,
        own_evaluation=True, vectors=9, numbers=3, integers=4, work=6,
    )  # fmt: skip

    def stepper(self, objective: Objective, rates: np.ndarray) -> Stepper:
        """The quintic of θ' and θ'' as the formula's polynomial has them, for `objective` and `rates`.

        Where steps have been dropped, KenCarp58 at these tolerances.
        """
        dropped = by_steps(KenCarp58(rtol=self.rtol, atol=self.atol), objective, rates)
        return CompiledPath(self, objective, rates, dropped)


class KrylovBDF(CompiledSolver):
    """Backward differentiation of orders 1 to 5 without matrices, for networks too large for Hessians.

    One gradient a step for Newton's iteration and one for each product with ∇²L, about five on the way and a
    dozen near the end, in the method of conjugate gradients. Memory for some thirty vectors. The error runs 5
    to 20 times the tolerance.

    References
    ----------
    P. N. Brown and A. C. Hindmarsh, Appl. Math. Comput. 31 (1989) 40–91.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> result = gf.train(teacher, student, solver=KrylovBDF(), progress=False)
    >>> result.converged, result.flow.counts.hessians
    (True, 0)
    """

    name: ClassVar[str] = "KrylovBDF"
    implicit: ClassVar[bool] = False
    method: ClassVar[Method] = Method(
        bdf_krylov.bdf_krylov_step, np.zeros(1), 1, 1, hessian=False, own_velocity=True, own_steps=True,
        own_evaluation=True, stabilised=True, vectors=bdf_krylov.OWN_VECTORS, numbers=bdf_krylov.OWN_NUMBERS,
        integers=bdf_krylov.OWN_INTEGERS, work=bdf_krylov.OWN_WORK, patience=100, reach=10.0, probe=30,
        linearised=True,
    )  # fmt: skip

    def stepper(self, objective: Objective, rates: np.ndarray) -> Stepper:
        """As `BDF.stepper`, without matrices, for this `objective` and these `rates`.

        Where steps have been dropped, the method itself from the kept step before.
        """
        return by_polynomial(krylov_newton(objective, rates), by_steps(self, objective, rates))


class RKC2(CompiledSolver):
    """Runge–Kutta–Chebyshev of order 2: gradients only, for networks too large for Hessians.

    s gradients carry a step of 0.65 (s² − 1)/|λ|_max, with |λ|_max of r ⊙ ∇²L by power iteration with
    Hessian-vector products. For moderate accuracy: over a flow the error falls as tol^(2/3) only.

    References
    ----------
    B. P. Sommeijer, L. F. Shampine and J. G. Verwer, J. Comput. Appl. Math. 88 (1998) 315–326.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, solver=RKC2(rtol=1e-4, atol=1e-4), progress=False).converged
    True
    """

    name: ClassVar[str] = "RKC2"
    implicit: ClassVar[bool] = False
    method: ClassVar[Method] = Method(
        rkc_step, np.zeros(1), 1, 2, hessian=False, own_velocity=True, own_evaluation=True, stabilised=True,
        integers=1, work=4,
    )  # fmt: skip
