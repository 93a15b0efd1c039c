"""Minimisers of SciPy and optimistix behind the interface of a refiner, by name, for comparisons."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from ..objective import Objective
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.stopping import StopReason
from ..support.validate import integer
from .base import Refinement, Refiner, Stop, Watch

HESSIANS = ("Newton-CG", "dogleg", "trust-ncg", "trust-exact", "trust-krylov")
GRADIENTS = ("CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP")
VALUES = ("Nelder-Mead", "Powell")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SciPy(Refiner):
    """`scipy.optimize.minimize` by the name of its method, with exact gradients, Hessians or products.

    Parameters
    ----------
    method : str, default "SLSQP"
        "SLSQP", "trust-exact", "L-BFGS-B", "BFGS", "Newton-CG", ….
    options : dict, default {}
        Handed to SciPy over this class's own, which ask for the last digit.

    Raises
    ------
    ArgumentError
        For an unknown method, or options that are no dict.

    Notes
    -----
    It runs once and is believed in nothing: the best point seen is returned, and why it stopped.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 1, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, refiner=SciPy(method="trust-exact"), progress=False).grad_norm < 1e-6
    True
    """

    method: str = "SLSQP"
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    max_iterations: int = 20_000

    name: ClassVar[str] = "SciPy"

    def __post_init__(self):
        super().__post_init__()
        known = (*GRADIENTS, *HESSIANS, *VALUES)
        if self.method not in known:
            raise ArgumentError("method", repr(self.method), ", ".join(known))
        if not isinstance(self.options, dict):
            raise ArgumentError("options", repr(self.options), "a dict of SciPy's options for the method")

    def refine(self, objective: Objective, theta: np.ndarray, monitor: Monitor) -> Refinement:
        import scipy.optimize  # takes a seventh of a second: not at import

        watch = Watch(self, objective, theta, monitor)
        gradients = self.method not in VALUES

        def function(x):
            value, slope = objective.loss_and_gradient(np.ascontiguousarray(x))
            watch.see(x, value, slope)
            return (value, slope) if gradients else value

        def callback(x, *more):
            watch.iteration()

        derivatives: dict = {"jac": True} if gradients else {}
        if self.method in ("Newton-CG", "trust-ncg", "trust-krylov"):
            derivatives["hessp"] = lambda x, v: objective.hvp(
                np.ascontiguousarray(x), np.ascontiguousarray(v)
            )
        elif self.method in HESSIANS:
            derivatives["hess"] = lambda x: objective.hessian(np.ascontiguousarray(x))
        if watch.reason is None:
            try:
                # At the last digit SciPy divides zero by zero (trust-krylov); what it returns is not used.
                with np.errstate(all="ignore"):
                    scipy.optimize.minimize(
                        function,
                        watch.theta,
                        method=self.method,
                        callback=callback,
                        options=self._options(),
                        **derivatives,
                    )
            except Stop:
                pass
            except (ValueError, np.linalg.LinAlgError):
                # SciPy's own complaints: a Hessian that is not positive (dogleg), or not finite.
                watch.reason = StopReason.NO_PROGRESS
        return watch.result()

    def _options(self) -> dict:
        own: dict = {"maxiter": self.max_iterations}
        if self.method in (
            "CG",
            "BFGS",
            "L-BFGS-B",
            "TNC",
            "trust-ncg",
            "trust-exact",
            "trust-krylov",
            "dogleg",
        ):
            own["gtol"] = self.gtol
        if self.method in ("L-BFGS-B", "TNC"):
            own["ftol"] = 0.0
        if self.method == "L-BFGS-B":
            own["maxfun"] = 10 * self.max_iterations
        if self.method == "TNC":
            own["maxfun"] = own.pop("maxiter")
        if self.method == "SLSQP":
            own["ftol"] = 1e-300
        if self.method == "Newton-CG":
            own["xtol"] = 1e-300
        return {**own, **self.options}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BFGS(Refiner):
    """optimistix's BFGS, or with a `history` its L-BFGS, step by step under this package's stopping rules.

    Parameters
    ----------
    history : int, optional
        Number of stored pairs; None for BFGS with its dense matrix.

    Notes
    -----
    Its line search (Armijo) stalls at gradients of 1e-8 to 1e-10 and it calls that success at any tolerance;
    here a stalled run starts afresh from its best point until that helps no more.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 1, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, solver=None, refiner=BFGS(), progress=False).grad_norm < 1e-6
    True
    """

    history: int | None = None
    max_iterations: int = 20_000

    name: ClassVar[str] = "BFGS"

    def __post_init__(self):
        super().__post_init__()
        if self.history is not None:
            integer("history", self.history, 1)

    def refine(self, objective: Objective, theta: np.ndarray, monitor: Monitor) -> Refinement:
        from .optimistix_loop import stalls

        watch = Watch(self, objective, theta, monitor)
        try:
            while watch.reason is None:
                start = watch.loss, watch.norm
                for point in stalls(objective, watch.theta, self.history, monitor):
                    watch.see(point, *objective.loss_and_gradient(point))
                    watch.iteration()
                if not (watch.loss < start[0] or watch.norm < 0.5 * start[1]):
                    break
        except Stop:
            pass
        return watch.result()
