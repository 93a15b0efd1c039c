"""The units in which solvers and refiners work: targets and output layers of every size are one problem.

With a unit Y of the targets and θ_i = u_i φ_i, u_i = Y for the output layer and 1 elsewhere, L = Y² L̂, L̂ the
loss of targets divided by Y. In the time t = t̂/τ the flow dθ/dt = −r ⊙ ∇L is that of φ with the rates
r_i Y²/(u_i² τ); τ = max(Y², 1) keeps them at most r.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ..infinity.recession import Recession, falls_for_ever
from ..objective import Objective, Restricted
from ..refiners import Refinement, Refiner
from ..refiners.kinked import refine_along_kinks
from ..solvers import Flow, FlowSolver, from_settings
from ..solvers.dense_output import mapped_stepper
from ..solvers.discrete import DiscreteDynamics
from ..support.progress import Monitor, Rescaled
from .coordinates import Coordinates

STEP_NUMBERS = 5_000_000
"""Numbers of a reduced flow's steps in full coordinates, at most: θ at so many steps times P."""


class Frame:
    """The moving coordinates in units: what a solver or a refiner gets, and what it gives in all parameters.

    `objective`, `start` and `rates` (p,) are in these units.
    """

    def __init__(self, coordinates: Coordinates, unit: float = 1.0):
        inner, free = coordinates.objective, coordinates.free
        self.coordinates = coordinates
        self.objective: Objective = inner
        self.scales = np.ones(coordinates.size)
        if unit != 1.0 or not free.all():
            self.objective = Restricted(inner, coordinates.theta, free, unit)
            self.scales = self.objective.scales
        self.loss_unit, self.clock = unit**2, max(unit**2, 1.0)
        self.gradient_unit = max(unit**2, unit)
        self.start = coordinates.start / self.scales
        self.rates = coordinates.rates * (self.loss_unit / self.clock / self.scales**2)

    @classmethod
    def of_solver(cls, coordinates: Coordinates, solver: FlowSolver) -> Frame:
        """For flows the power of 256 nearest to the spread of the targets (1 from 1/16 to 16): no rounding.

        Discrete dynamics are no flow: they stay in the parameters themselves.
        """
        plain = isinstance(solver, DiscreteDynamics) or not coordinates.objective.scalable
        return cls(coordinates, 1.0 if plain else _power(coordinates.objective.spread))

    @classmethod
    def of_refiner(cls, coordinates: Coordinates, precision: str) -> Frame:
        """For refinements the spread itself, so that their course is the same whatever it is.

        Not where digits beyond Float64 are wanted: there the power of 256.
        """
        objective = coordinates.objective
        if not objective.scalable:
            return cls(coordinates)
        return cls(coordinates, objective.spread if precision == "double" else _power(objective.spread))

    def integrate(self, solver: FlowSolver, monitor: Monitor, **kept) -> Flow:
        """The flow in these units; its settings are those of the solver as it was given."""
        gtol = None if solver.gtol is None else solver.gtol / self.gradient_unit
        inner = dataclasses.replace(solver, t1=solver.t1 * self.clock, gtol=gtol)
        flow = inner.integrate(self.objective, self.start, self.rates, self._monitor(monitor), **kept)
        return dataclasses.replace(flow, settings=solver.settings())

    def refine(self, refiner: Refiner, point: np.ndarray, monitor: Monitor) -> Refinement:
        """The refinement in these units; its settings are those of the refiner as it was given."""
        inner = dataclasses.replace(refiner, gtol=refiner.gtol / self.gradient_unit)
        end = inner.refine(self.objective, np.ascontiguousarray(point), self._monitor(monitor))
        return dataclasses.replace(end, settings=refiner.settings())

    def refine_along_kinks(
        self, refiner: Refiner, point: np.ndarray, monitor: Monitor, at_kinks: bool
    ) -> Refinement | None:
        """The refinement on a point's piece and along its boundaries; None where it leaves these."""
        inner = dataclasses.replace(refiner, gtol=refiner.gtol / self.gradient_unit)
        return refine_along_kinks(inner, self.objective, point, self._monitor(monitor), at_kinks)

    def recession(self, start: np.ndarray, end: np.ndarray) -> Recession | None:
        """A direction in which the loss falls for ever at the end of a refinement, in all parameters."""
        found = falls_for_ever(self.objective, np.ascontiguousarray(start), np.ascontiguousarray(end))
        if found is None:
            return None
        direction = self.velocity(found.direction)
        return Recession(direction / np.linalg.norm(direction), found.loss * self.loss_unit)

    def point(self, rows: np.ndarray) -> np.ndarray:
        """Points in these units, (p,) or (m, p), as flat θ."""
        return self.coordinates.point(rows * self.scales)

    def velocity(self, rows: np.ndarray) -> np.ndarray:
        """Tangent vectors in these units, (p,) or (m, p), as ones of all parameters."""
        return self.coordinates.velocity(rows * self.scales)

    def back(self, vector: np.ndarray) -> np.ndarray:
        """A flat θ or velocity (P,) in these units, (p,)."""
        return self.coordinates.back(vector) / self.scales

    def flow(self, flow: Flow) -> Flow:
        """The same flow as one of all parameters; where the axes change, norms are taken again."""
        reduced = self.coordinates.reduced is not None
        if reduced:
            flow = _thinned(flow, self.coordinates.problem.size)
        with np.errstate(over="ignore"):
            full = flow.mapped(self.point, self.velocity, self.back, self.clock)
        full = _finite(dataclasses.replace(full, losses=full.losses * self.loss_unit))
        if reduced:
            full.theta[0] = full.step_theta[0] = self.coordinates.problem.theta0
            norms = self.coordinates.norms(full.theta)
            full = dataclasses.replace(full, grad_norms=norms)
        return full

    def refinement(self, refinement: Refinement) -> Refinement:
        """The same refinement with its end point in all parameters."""
        extended, theta = refinement.extended, self.point(refinement.theta)
        loss, grad_norm = refinement.loss * self.loss_unit, refinement.grad_norm
        if extended is not None:
            extended = dataclasses.replace(
                extended,
                theta_low=self.velocity(extended.theta_low),
                loss_low=extended.loss_low * self.loss_unit,
                loss_bound=extended.loss_bound * self.loss_unit,
            )
        elif self.coordinates.reduced is not None or self.loss_unit != 1.0:
            loss, grad_norm = self.coordinates.evaluate(theta)
        return dataclasses.replace(refinement, theta=theta, loss=loss, grad_norm=grad_norm, extended=extended)

    def _monitor(self, monitor: Monitor) -> Monitor:
        if self.loss_unit == 1.0:
            return monitor
        return Rescaled(monitor, self.loss_unit, self.gradient_unit, 1.0 / self.clock)


def attach(coordinates: Coordinates, flow: Flow) -> Flow:
    """A flow of all parameters that comes from a file or another process, with a stepper again."""
    solver = from_settings(flow.settings)
    frame = Frame.of_solver(coordinates, solver)
    inner = solver.stepper(frame.objective, frame.rates)
    if inner is None:
        return flow
    return dataclasses.replace(flow, stepper=mapped_stepper(inner, frame.point, frame.back, frame.clock))


def _power(spread: float) -> float:
    return 2.0 ** (8 * round(math.log2(spread) / 8))


def _finite(flow: Flow) -> Flow:
    """Without the θ'' that Float64 does not hold (targets beyond 1e75): `Flow.at` integrates there."""
    lost = ~np.isfinite(flow.step_acceleration).all(axis=1)
    if not lost.any():
        return flow
    return dataclasses.replace(
        flow,
        step_acceleration=np.where(lost[:, None], 0.0, flow.step_acceleration),
        stiffness=np.where(lost[:-1] | lost[1:], np.inf, flow.stiffness),
    )


def _thinned(flow: Flow, size: int) -> Flow:
    """The flow without some of its steps where they would fill the memory as vectors of this size.

    An interval that has lost steps gets an infinite stiffness: there `Flow.at` integrates from the step
    before t instead of interpolating, and the path is the same.
    """
    count = flow.step_times.size
    stride = -(-count * size // STEP_NUMBERS)
    if stride == 1:
        return flow
    kept = np.unique(np.append(np.arange(0, count, stride), count - 1))
    return dataclasses.replace(
        flow,
        step_times=flow.step_times[kept],
        step_theta=flow.step_theta[kept],
        step_velocity=flow.step_velocity[kept],
        step_acceleration=flow.step_acceleration[kept],
        stiffness=np.where(np.diff(kept) > 1, np.inf, flow.stiffness[kept[:-1]]),
    )
