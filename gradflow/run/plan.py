"""What a run is asked to do, chosen and checked before anything is compiled: saved, resumed and reported."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..losses.problem import Problem, check_hessian_memory, check_precision
from ..refiners import Refiner, TrustRegionNewton, default_refiner
from ..solvers import FlowSolver, default_solver
from ..support import families
from ..support.errors import ArgumentError
from ..support.settings import one_of
from ..support.validate import integer
from .coordinates import choose_span


@dataclasses.dataclass(frozen=True)
class Plan:
    """The methods of a run, each with its settings.

    solver, refiner   None for a stage that is left out
    automatic         whether the refiner is the default, which the kind of problem decides
    precision         "double" or "double-double"
    seed              recorded on the result
    reduced           whether the run works in the span of the weights (`losses.reduced`)
    """

    solver: FlowSolver | None
    refiner: Refiner | None
    automatic: bool = False
    precision: str = "double"
    seed: int | None = None
    reduced: bool = False

    @classmethod
    def of(
        cls, problem: Problem, rates: np.ndarray, solver, refiner, precision="double", seed=None
    ) -> tuple[Plan, np.ndarray | None]:
        """The plan for arguments of `train`, and the span that it works in, if any.

        `ArgumentError` or `MemoryLimitError` where there is none.
        """
        basis, moving = None, int((rates != 0).sum())
        if precision != "double-double":  # a rotation in Float64 would spoil its digits
            basis, moving = choose_span(problem, rates)
        first = choose(
            "solver", solver, FlowSolver, lambda size: default_solver(size, problem.places), moving
        )
        last = choose("refiner", refiner, Refiner, default_refiner, moving)
        if first is None and last is None:
            raise ArgumentError("refiner", "None, with solver=None", "a refiner, or a solver: one of the two")
        check_precision(precision, problem)
        if precision == "double-double" and last is None:
            raise ArgumentError("refiner", None, "a refiner: precision='double-double' is its last step")
        if getattr(first, "implicit", False) or isinstance(last, TrustRegionNewton):
            check_hessian_memory(problem.size if basis is None else moving)
        automatic = isinstance(refiner, str) and refiner == "auto"
        seed = None if seed is None else integer("seed", seed, 0)
        return cls(first, last, automatic, precision, seed, basis is not None), basis

    def for_kind(self, size: int, sum_of_squares: bool) -> Plan:
        """With the default refiner of this kind of problem, if it is automatic."""
        if not self.automatic:
            return self
        return dataclasses.replace(self, refiner=default_refiner(size, sum_of_squares))

    def settings(self) -> dict:
        """All of it as plain values."""
        methods = {
            name: None if method is None else method.settings()
            for name, method in (("solver", self.solver), ("refiner", self.refiner))
        }
        rest = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return rest | methods

    @classmethod
    def from_settings(cls, values: dict) -> Plan:
        """The plan of `settings`."""
        methods = {
            name: None if values[name] is None else families.from_settings(kind, name, values[name])
            for name, kind in (("solver", FlowSolver), ("refiner", Refiner))
        }
        return cls(**values | methods)


def choose(argument: str, given, kind: type, default, size: int):
    """The solver or refiner that is given as an object, by name, as "auto" or None; else `ArgumentError`."""
    if given is None or isinstance(given, kind):
        return given
    if isinstance(given, str) and given == "auto":
        return default(size)
    known = families.by_name(kind)
    if isinstance(given, str) and given in known:
        return known[given]()
    if isinstance(given, type) and issubclass(given, kind):
        raise ArgumentError(argument, f"the class {given.__name__}", f"an object: {given.__name__}()")
    names = one_of(given, sorted(known))
    raise ArgumentError(argument, repr(given), f"None, 'auto', or by name or with settings {names}")
