"""The stages of a run: the flow, the refinement of its end, and what goes to infinity there."""

from __future__ import annotations

import dataclasses
import time
from functools import cached_property

import jax
import numpy as np

from ..infinity import Infinity, Limit
from ..infinity.channels import ended_at, recognised
from ..infinity.continued import continued
from ..infinity.limit import approached, grown
from ..infinity.recession import separating_direction
from ..infinity.units import Units
from ..refiners import Refinement, Refiner, polish
from ..solvers import Flow
from ..support.memory import memory_errors
from ..support.progress import Monitor
from ..support.stopping import StopReason
from ..support.threads import single_threaded_blas
from .checkpoint import CheckpointFile
from .coordinates import Coordinates
from .frames import Frame
from .kinks import find_kink
from .plan import Plan
from .valleys import further
from .zero import zero_nearby

BROKEN = (StopReason.INTERRUPTED, StopReason.NON_FINITE)
"""After these nothing follows."""

HOPELESS = (*BROKEN, StopReason.UNBOUNDED)
"""After these a Newton step has nothing to start from."""


def carry_out(
    coordinates: Coordinates, plan: Plan, monitor: Monitor, checkpoint: CheckpointFile | None
) -> dict:
    """Flow and refinement in these coordinates; what they give the `Result`."""
    point, frame = coordinates.start, None
    flow: Flow | None = None
    refinement: Refinement | None = None
    channel: Infinity | None = None
    kept = {} if checkpoint is None else {"checkpoint": checkpoint}
    with memory_errors(), single_threaded_blas(), jax.default_device(jax.devices("cpu")[0]):
        if plan.solver is not None:
            frame = Frame.of_solver(coordinates, plan.solver)
            flow = frame.integrate(plan.solver, monitor, **kept)
            point = flow.step_theta[-1] * frame.scales
        theta = np.array(coordinates.point(point))
        if plan.refiner is not None and (flow is None or flow.stop_reason not in BROKEN):
            refining = _Refining(coordinates, plan.refiner, plan.automatic, plan.precision, monitor)
            refinement, channel = refining.run(point, flow is not None)
            theta = np.array(refinement.theta)
        if flow is not None and frame is not None:
            flow = frame.flow(flow)
        loss, grad_norm = coordinates.evaluate(theta)
        if refinement is not None and refinement.extended is not None:
            loss, grad_norm = refinement.loss, refinement.grad_norm
        kink = find_kink(coordinates.problem, theta, coordinates.all_rates)
        if kink is not None:
            grad_norm = kink.grad_norm
    return {
        "theta": theta, "loss": loss, "grad_norm": grad_norm, "flow": flow, "refinement": refinement,
        "channel": channel,
    }  # fmt: skip


UNFINISHED = (StopReason.NO_PROGRESS, StopReason.VALLEY, StopReason.MAX_STEPS, StopReason.UNBOUNDED)
"""Ends of refinements behind which there may be a limit at infinity."""


@dataclasses.dataclass
class _Refining:
    """A refinement in coordinates, as asked for."""

    coordinates: Coordinates
    refiner: Refiner
    automatic: bool
    precision: str
    monitor: Monitor

    def run(self, point: np.ndarray, flowed: bool) -> tuple[Refinement, Infinity | None]:
        """The refinement from a point (p,), the end of a flow if `flowed`, and what goes to infinity there.

        Where that is seen before, nothing is refined. Far out in a channel ∇L is below its rounding: pairs
        of neurons are looked at even where the refinement has ended at what it takes for a critical point.
        """
        coordinates, monitor = self.coordinates, self.monitor
        problem, theta = coordinates.problem, np.array(coordinates.point(point))
        if flowed:
            found = separating_direction(problem, theta, coordinates.all_rates)
            if found is not None:
                return ended_at(problem, theta, StopReason.INFIMUM, "separable classes"), found
        if coordinates.whole and self.automatic:
            gone = self.recognised(theta, None)
            if gone is not None:
                return gone
        frame = Frame.of_refiner(coordinates, self.precision)
        begin = point / frame.scales
        along = frame.refine_along_kinks(self.refiner, begin, monitor, not (flowed and self.automatic))
        if along is not None:
            return dataclasses.replace(frame.refinement(along), grad_norm=along.grad_norm), None
        inner = frame.refine(self.refiner, begin, monitor)
        if self.precision == "double-double" and inner.stop_reason not in HOPELESS:
            inner = polish(frame.objective, inner, monitor)
        end = frame.refinement(inner)
        if end.stop_reason in BROKEN:
            return end, None
        if coordinates.whole:
            lost = not problem.objective.is_critical(end.theta)
            gone = self.recognised(end.theta, end if lost else None)
            if gone is not None:
                return gone
        infimum = separating_direction(problem, end.theta, coordinates.all_rates)
        infimum = infimum or frame.recession(begin, inner.theta)
        if infimum is not None:
            return dataclasses.replace(end, stop_reason=StopReason.INFIMUM), infimum
        if not (coordinates.whole and self.automatic):
            return end, None
        end, limit = self.beyond(end)
        if limit is None and end.stop_reason in UNFINISHED:
            end = self.further(end)
            end, limit = self.beyond(end)
        return end, limit

    def further(self, end: Refinement) -> Refinement:
        """The refinement that goes on in turns (`valleys`), and from there by itself."""
        units = self.units
        begin = units.of(end.theta)
        found = further(units.problem.objective, begin, self.monitor)
        return end if found is begin else self.refined_again(end, units.back(found))

    def beyond(self, end: Refinement) -> tuple[Refinement, Limit | None]:
        """The end of a refinement, or one behind it: at loss zero, at a limit at infinity, or finite."""
        end = self.at_zero(end)
        limit = self.limit(end)
        if isinstance(limit, np.ndarray):
            return self.refined_again(end, limit), None
        if limit is not None:
            return dataclasses.replace(end, stop_reason=StopReason.CHANNEL), limit
        return end, None

    @cached_property
    def units(self) -> Units:
        """Those in which the search for limits knows sizes of about one only."""
        return Units(self.coordinates.problem)

    def recognised(self, theta: np.ndarray, end: Refinement | None) -> tuple[Refinement, Infinity] | None:
        """What goes to infinity at a point (P,), the `end` of a refinement unless None."""
        units, problem = self.units, self.coordinates.problem
        began, before = time.monotonic(), problem.objective.counts()
        found = recognised(units.problem, units.of(theta), end is not None, self.monitor)
        if found is None:
            return None
        channel, point = found
        after = None if end is None else end.settings
        last = ended_at(problem, units.back(point), StopReason.CHANNEL, "channel", after)
        last = dataclasses.replace(
            last,
            iterations=0 if end is None else end.iterations,
            counts=problem.objective.counts() - before,
            seconds=time.monotonic() - began + (0.0 if end is None else end.seconds),
        )
        return last, units.found(channel)

    def at_zero(self, end: Refinement) -> Refinement:
        """The refinement, ended at a minimum of loss zero nearby where there is one."""
        problem = self.coordinates.problem
        if end.stop_reason not in UNFINISHED or problem.objective.is_zero(end.theta, end.loss):
            return end
        units = self.units
        loss = end.loss / units.outputs**2
        found = zero_nearby(units.problem, units.of(end.theta), loss, self.monitor)
        if found is None:
            return end
        found = units.back(found)
        loss, grad_norm = self.coordinates.evaluate(found)
        return dataclasses.replace(
            end, theta=found, loss=loss, grad_norm=grad_norm, stop_reason=StopReason.LOSS_FLOOR
        )

    def refined_again(self, end: Refinement, theta: np.ndarray) -> Refinement:
        """The refinement that goes on from another point, as a part of the one that there was."""
        frame = Frame.of_refiner(self.coordinates, self.precision)
        inner = frame.refine(self.refiner, self.coordinates.back(theta) / frame.scales, self.monitor)
        after = frame.refinement(inner)
        if not after.loss <= end.loss:
            return end
        return dataclasses.replace(
            after,
            iterations=end.iterations + after.iterations,
            seconds=end.seconds + after.seconds,
            counts=type(end.counts)(*(a + b for a, b in zip(end.counts, after.counts))),
        )

    def limit(self, end: Refinement) -> Limit | np.ndarray | None:
        """The network at infinity behind the end of a refinement.

        Some are reached in Float64: ∇L is zero there as it is at a critical point.
        """
        problem, theta = self.coordinates.problem, end.theta
        if not np.isfinite(theta).all() or problem.objective.is_zero(theta, end.loss):
            return None
        units, critical = self.units, problem.objective.is_critical(theta)
        inner, point = units.problem, units.of(theta)
        if not (grown(inner, point) if critical else end.stop_reason in UNFINISHED):
            return None
        found = approached(inner, point, self.monitor)
        if found is None and not critical:
            found = continued(inner, point, self.monitor)
        if isinstance(found, np.ndarray):
            return units.back(found)
        return None if found is None else units.found(found)
