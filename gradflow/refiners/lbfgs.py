"""Refinement without Hessians, for networks of more than a thousand parameters."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from ..objective import Objective
from ..support.progress import Monitor
from ..support.validate import integer
from .base import Refinement, Refiner, Stop, Watch


@dataclasses.dataclass(frozen=True, kw_only=True)
class LBFGS(Refiner):
    """Limited-memory BFGS (SciPy's L-BFGS-B), restarted until a restart no longer helps.

    Parameters
    ----------
    history : int, default 30
        Number of stored pairs.

    Notes
    -----
    SciPy's code is used rather than optimistix's because it has a gradient tolerance and goes on where
    an Armijo search stalls; a restart drops pairs that rounding has spoilt. It ends where differences
    of L drown in rounding, at a gradient of about √ε times the scale of the problem, and says so.

    References
    ----------
    Zhu, Byrd, Lu & Nocedal, ACM TOMS 23 (1997) 550.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 1, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, solver=None, refiner=LBFGS(), progress=False).grad_norm < 1e-6
    True
    """

    max_iterations: int = 20_000
    history: int = 30

    name: ClassVar[str] = "LBFGS"

    def __post_init__(self):
        super().__post_init__()
        integer("history", self.history, 1)

    def refine(self, objective: Objective, theta: np.ndarray, monitor: Monitor) -> Refinement:
        import scipy.optimize  # takes a seventh of a second: not at import

        watch = Watch(self, objective, theta, monitor)

        def function(x):
            value, slope = objective.loss_and_gradient(np.ascontiguousarray(x))
            watch.see(x, value, slope)
            return value, slope

        while watch.reason is None:
            start = watch.loss, watch.norm
            try:
                scipy.optimize.minimize(
                    function,
                    watch.theta,
                    jac=True,
                    method="L-BFGS-B",
                    callback=lambda _: watch.iteration(),
                    options={
                        "maxcor": self.history,
                        "ftol": 0.0,
                        "gtol": self.gtol,
                        "maxls": 50,
                        "maxiter": self.max_iterations,
                        "maxfun": 10 * self.max_iterations,
                    },
                )
            except Stop:
                break
            if not (watch.loss < start[0] or watch.norm < 0.5 * start[1]):
                break
        return watch.result()
