"""The stages of a run: the flow, the refinement of its end, and what goes to infinity there."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from ..infinity import Infinity
from ..infinity.channels import ended_at, recognised
from ..infinity.recession import separating_direction
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
            channel, end = recognised(problem, theta, None, monitor)
            if end is not None:
                return end, channel
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
            gone = (
                recognised(problem, end.theta, end, monitor)
                if lost
                else recognised(problem, end.theta, None, monitor)
            )
            if gone[0] is not None and gone[1] is not None:
                return gone[1], gone[0]
        infimum = separating_direction(problem, end.theta, coordinates.all_rates)
        infimum = infimum or frame.recession(begin, inner.theta)
        if infimum is None:
            return end, None
        return dataclasses.replace(end, stop_reason=StopReason.INFIMUM), infimum
