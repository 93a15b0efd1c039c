"""Following a flow: pieces of a fraction of a second of the compiled loop, the accepted steps.

Python comes in between pieces only: it looks at the clock and at Ctrl-C, and copies the accepted steps.
Where the pieces are cut changes nothing in the sequence of steps.
"""

from __future__ import annotations

import time

import numpy as np

from ..objective import Counts, Objective
from ..support.limits import Limits
from ..support.progress import Monitor
from ..support.stopping import StopReason
from .compiled import layout as at
from .compiled_run import Run, pack_settings
from .first_step import first_step
from .flow import Flow, build_flow
from .records import AcceptedSteps, Checkpoint, FlowState

SECONDS_PER_CALL = 0.2
"""Aim for the length of one call of the compiled loop: what Ctrl-C and time limits wait for."""

REASONS = {
    at.GRADIENT_MET: StopReason.GRADIENT,
    at.SADDLE_MET: StopReason.SADDLE,
    at.FLOOR_MET: StopReason.LOSS_FLOOR,
    at.END_MET: StopReason.END_TIME,
    at.UNDERFLOW: StopReason.STEP_UNDERFLOW,
    at.NOT_FINITE: StopReason.NON_FINITE,
    at.NO_PROGRESS: StopReason.NO_PROGRESS,
    at.TOO_STIFF: StopReason.STIFF,
}


class Integration:
    """One flow: the run of the compiled loop and the accepted steps so far."""

    def __init__(self, solver, objective: Objective, rates: np.ndarray, monitor: Monitor):
        self.solver, self.objective, self.rates, self.monitor = solver, objective, rates, monitor
        self.gtol = solver.gradient_tolerance(objective)
        self.floor = objective.loss_floor if objective.nonnegative else -np.inf
        self.before = objective.counts()
        self.run: Run | None = None
        self.steps: AcceptedSteps
        self.spent = self.compile_seconds = 0.0

    def prepare(self) -> Run:
        """Compile what is not yet compiled, and the arrays of the run."""
        began = time.monotonic()
        with self.monitor.compiling():
            settings = pack_settings(self.solver, self.solver.method, self.gtol, self.floor, self.solver.t1)
            self.run = Run(self.solver.method, self.objective, self.rates, settings)
        self.compile_seconds = time.monotonic() - began
        return self.run

    def begin(self, theta: np.ndarray) -> StopReason | None:
        """A reason not to begin, or None and the compiled loop is ready."""
        objective, rates, solver = self.objective, self.rates, self.solver
        hessian = None
        if solver.method.hessian:  # no kernel of products is compiled for a single one
            loss, gradient, hessian = objective.all_derivatives(theta)
            velocity = -rates * gradient
            with np.errstate(all="ignore"):
                curved = np.einsum("ij,j->i", hessian, velocity)
        else:
            loss, gradient = objective.loss_and_gradient(theta)
            velocity = -rates * gradient
            curved = objective.hvp(theta, velocity)
        norm = float(np.abs(gradient).max())
        acceleration = -rates * curved
        first = [0.0, loss, norm, 0.0], theta, velocity, acceleration
        self.steps = AcceptedSteps(np.concatenate(first)[None], 1)
        if not (np.isfinite(loss) and np.isfinite(norm)):
            return StopReason.NON_FINITE
        run = self.prepare()
        run.start(0.0, theta, velocity, loss, gradient, 1.0)
        if hessian is not None:
            run.take_hessian(hessian)
        if norm <= self.gtol:
            reason = run.end()
            if reason is not None:
                return reason
        if loss <= self.floor:
            return StopReason.LOSS_FLOOR
        run.numbers[at.NEXT] = first_step(run, theta, velocity, acceleration, solver.method.estimate_order)
        return None

    def resume(self, state: FlowState) -> StopReason | None:
        """The reason why the flow of a checkpoint is over, or None and it can go on."""
        self.steps = AcceptedSteps(state.rows, state.count, state.stride)
        self.spent = state.seconds
        counts = list(state.counts)
        if state.numbers.size:
            run = self.prepare()
            run.numbers[:], run.integers[:], run.vectors[:] = state.numbers, state.integers, state.vectors
            if run.integers[at.HESSIAN_READY] and state.finished is None:
                # It is formed again, to the same bits, and not counted twice.
                run.integers[at.HESSIAN_READY] = 0
                counts[1] -= 1
        self.before = self.objective.counts() - Counts(*counts)
        return None if state.finished is None else StopReason[state.finished]

    def counts(self) -> Counts:
        """Evaluations of this flow so far."""
        return self.objective.counts() - self.before

    def state(self, finished: StopReason | None) -> FlowState:
        """Where the flow stands, for a checkpoint."""
        run, none = self.run, np.empty(0)
        return FlowState(
            run.numbers if run else none,
            run.integers if run else none.astype(np.int64),
            run.vectors if run else none,
            self.steps.rows(),
            self.steps.count,
            self.steps.stride,
            self.counts(),
            self.spent,
            None if finished is None else finished.name,
        )

    def follow(self, checkpoint: Checkpoint | None) -> StopReason:
        """Step until there is a reason to stop."""
        run, solver = self.run, self.solver
        assert run is not None
        limits, earlier = Limits(self.monitor, solver.max_steps, solver.max_seconds), self.spent
        attempts = 2
        while True:
            mark, tried = limits.spent, run.tried
            rows = run.advance(min(attempts, limits.left(tried)))
            if len(rows):
                self.steps.add(rows)
            now = limits.spent
            self.spent = earlier + now
            self.monitor.report(
                f"flow ({solver.name})",
                t=run.time,
                loss=float(run.numbers[at.LOSS]),
                grad_norm=float(run.numbers[at.GRAD_NORM]),
                steps=run.accepted,
            )
            # The length of the pieces follows the clock; the sequence of steps does not depend on it.
            per_second = (run.tried - tried) / max(now - mark, 1e-6)
            attempts = int(np.clip(per_second * SECONDS_PER_CALL, 1, 8 * attempts))
            reason = REASONS.get(run.status) or limits.reason(run.tried)
            if reason is not None:
                return reason
            if checkpoint is not None and checkpoint.due():
                checkpoint.write(self.state(None))

    def _is_finite(self, theta: np.ndarray) -> bool:
        loss, gradient = self.objective.loss_and_gradient(theta.copy())
        return bool(np.isfinite(loss) and np.isfinite(gradient).all())

    def flow(self, reason: StopReason) -> Flow:
        """The `Flow` of what has been done."""
        size = self.rates.size
        counts, rows = self.counts(), self.steps.rows()
        if (
            reason is StopReason.NON_FINITE
        ):  # a multistep method has not evaluated L at its last points itself
            while len(rows) > 1 and not self._is_finite(rows[-1, at.R_VECTORS : at.R_VECTORS + size]):
                rows = rows[:-1]
        times = rows[:, at.R_TIME].copy()
        theta, velocity, acceleration = (
            rows[:, at.R_VECTORS + k * size : at.R_VECTORS + (k + 1) * size] for k in range(3)
        )
        stiffness = np.diff(times) * rows[1:, at.R_CURVATURE]
        if self.steps.stride > 1:  # steps have been dropped: points between are integrated anew
            stiffness[:] = np.inf
        return build_flow(
            self.objective,
            times,
            theta,
            velocity,
            acceleration,
            stiffness,
            at_steps=self.solver.method.stabilised,
            stepper=self.solver.stepper(self.objective, self.rates),
            stop_reason=reason,
            accepted=self.run.accepted if self.run else 0,
            rejected=self.run.tried - self.run.accepted if self.run else 0,
            counts=counts,
            seconds=self.spent,
            compile_seconds=self.compile_seconds,
            settings=self.solver.settings(),
        )


def integrate(
    solver, objective: Objective, theta, rates: np.ndarray, monitor: Monitor, checkpoint: Checkpoint | None
) -> Flow:
    """Follow the flow with the method `solver.method`; the body of `FlowSolver.integrate`."""
    integration = Integration(solver, objective, rates, monitor)
    state = None if checkpoint is None else checkpoint.state
    reason = integration.begin(theta) if state is None else integration.resume(state)
    reason = reason or integration.follow(checkpoint)
    if checkpoint is not None:
        stopped = reason in (StopReason.INTERRUPTED, StopReason.MAX_SECONDS)
        checkpoint.write(integration.state(None if stopped else reason))
    return integration.flow(reason)
