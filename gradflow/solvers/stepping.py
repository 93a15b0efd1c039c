"""Driving the compiled loop: arrays for a run, pieces of a fraction of a second, the accepted steps.

The loop and a method are compiled once for all problems and sizes (`compiled/`). Python comes in
between pieces only: it looks at the clock and at Ctrl-C, and copies the accepted steps. Where the pieces
are cut changes nothing in the sequence of steps.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

import numpy as np

from ..kernels import abi
from ..losses.base import Counts, Objective
from ..progress import Monitor
from ..stopping import StopReason
from .compiled import algebra, loop
from .compiled import layout as at
from .path import AcceptedSteps, Checkpoint, FlowState
from .trajectory import Flow, build_flow

CHUNK = 256
"""Accepted steps that one call of the compiled loop can hand back, at most."""

CHUNK_NUMBERS = 2_000_000
"""Numbers in the buffer of accepted steps, at most (but one step at least)."""

SECONDS_PER_CALL = 0.2
"""Aim for the length of one call of the compiled loop: what Ctrl-C and time limits wait for."""

REASONS = {
    at.GRADIENT_MET: StopReason.GRADIENT,
    at.FLOOR_MET: StopReason.LOSS_FLOOR,
    at.END_MET: StopReason.END_TIME,
    at.UNDERFLOW: StopReason.STEP_UNDERFLOW,
    at.NOT_FINITE: StopReason.NON_FINITE,
    at.NO_PROGRESS: StopReason.NO_PROGRESS,
    at.TOO_STIFF: StopReason.STIFF,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Method:
    """A method for the compiled loop: its step function and what that needs (`compiled/layout.py`).

    step            the Python source of the step, with the signature `layout.STEP_FUNCTION`
    tableau         its coefficients, one vector; `stages` their number
    estimate_order  order of the method whose error is estimated: the error is O(Δt^(estimate_order + 1))
    hessian         whether it wants ∇²L at every accepted point, and memory for it and a factorisation
    own_velocity    whether it writes θ' of the new point itself
    own_steps       whether it chooses the length of steps itself
    own_evaluation  whether it hands back L, ∇L and θ'' itself; ∇²L is then its own affair
    stabilised      whether an explicit method adapts to the largest curvature
    vectors, numbers, integers   so many of each are kept for it between steps, and stored in checkpoints
    work            scratch vectors it needs
    """

    step: Callable
    tableau: np.ndarray
    stages: int
    estimate_order: int
    hessian: bool
    own_velocity: bool = False
    own_steps: bool = False
    own_evaluation: bool = False
    stabilised: bool = False
    vectors: int = 0
    numbers: int = 0
    integers: int = 0
    work: int = 0


class Run:
    """The arrays of one run of the compiled loop, and the calls of it.

    `numbers`, `integers` and `vectors` are the whole state: a run with the same settings and a copy of
    them continues with the same bits.
    """

    def __init__(
        self, method: Method, objective: Objective, rates: np.ndarray, settings: np.ndarray, room: int = CHUNK
    ):
        size = rates.size
        self.method, self.objective, self.size = method, objective, size
        self.kernel = objective.kernel
        self.width = at.R_VECTORS + 3 * size
        self.room = int(np.clip(CHUNK_NUMBERS // self.width, 1, room))
        self.numbers = np.zeros(at.OWN_NUMBERS + method.numbers)
        self.integers = np.zeros(at.OWN_INTEGERS + method.integers, dtype=np.int64)
        self.vectors = np.zeros((at.OWN_VECTORS + method.vectors, size))
        self.record = np.empty((self.room, self.width))
        self.fresh = np.zeros((4, size))
        self.settings = settings
        matrix = (size, size) if method.hessian else (1, 1)
        constants = np.array([ord("L"), size, 1, 0, size], dtype=np.int64)
        arrays = {
            at.TABLEAU: np.ascontiguousarray(method.tableau),
            at.SETTINGS: settings,
            at.NUMBERS: self.numbers,
            at.INTEGERS: self.integers,
            at.VECTORS: self.vectors,
            at.FRESH: self.fresh,
            at.WORK: np.zeros((at.OWN_WORK + method.work, size)),
            at.HESSIAN: np.empty(matrix),
            at.FACTOR: np.empty(matrix),
            at.PIVOTS: np.zeros(size, dtype=np.int32),
            at.RATES: rates,
            at.ROOTS: np.sqrt(rates),
            at.RECORD: self.record,
            at.ROUTINES: _routines(),
            at.CONSTANTS: constants,
            at.COUNTERS: self.kernel.counters,
        }
        words = {
            at.SIZE: size,
            at.KERNEL: self.kernel.derivatives,
            at.PRODUCT: self.kernel.product,
            at.DESCRIPTOR: self.kernel.descriptor,
            at.STEP: abi.compile_function(method.step, at.STEP_FUNCTION).address,
            at.STAGES: method.stages,
            at.WANTS_HESSIAN: int(method.hessian and not method.own_evaluation),
            at.OWN_EVALUATION: int(method.own_evaluation),
            at.STABILISED: int(method.hessian or method.stabilised),
            at.OWN_VELOCITY: int(method.own_velocity),
            at.OWN_STEPS: int(method.own_steps),
            at.ROOM: self.room,
            **{word: array.ctypes.data for word, array in arrays.items()},
        }
        self.words = np.array([words[word] for word in range(at.WORDS)], dtype=np.int64)
        self._arrays = arrays
        abi.compile_function(loop.advance, at.STEP_FUNCTION)

    def start(self, t: float, theta, velocity, loss: float, gradient, step: float) -> None:
        """The state of a run that begins at t with a first step of this length."""
        self.numbers[:] = 0.0
        self.integers[:] = 0
        self.vectors[:] = 0.0
        for place, vector in ((at.THETA, theta), (at.VELOCITY, velocity), (at.GRADIENT, gradient)):
            self.vectors[place] = vector
        power = np.cos(np.arange(1.0, self.size + 1.0))  # any vector without symmetry
        self.vectors[at.POWER] = power / np.linalg.norm(power)
        first = {
            at.TIME: t, at.NEXT: step, at.LOSS: loss, at.GRAD_NORM: np.abs(gradient).max(),
            at.GROWTH: loop.LARGEST_GROWTH, at.WINDOW_LOSS: np.inf, at.WINDOW_LOW: np.inf,
            at.BEFORE_LOSS: np.inf, at.BEFORE_LOW: np.inf,
        }  # fmt: skip
        for place, value in first.items():
            self.numbers[place] = value
        self.integers[at.ACCEPTED] = 1

    def attempt(self, step: float) -> bool:
        """One step of the method from the state, not accepted; whether it passes the error test."""
        self.numbers[at.TAKEN] = step
        self._call(loop.attempt, 0)
        return bool(self.numbers[at.ERROR] <= 1.0 and self.integers[at.FAILED] == 0)

    def _call(self, function: Callable, attempts: int) -> None:
        address = abi.compile_function(function, at.STEP_FUNCTION).address
        abi.callable_from_python(address)(self.words.ctypes.data, attempts, 0, 0, 0, 0)
        if self.objective.failure is not None:
            error, self.objective.failure = self.objective.failure, None
            raise error

    def advance(self, attempts: int) -> np.ndarray:
        """Try so many steps; the rows of those accepted (`layout.R_TIME`…), until the next call."""
        before = int(self.integers[at.ACCEPTED_STEPS])
        self._call(loop.advance, attempts)
        return self.record[: int(self.integers[at.ACCEPTED_STEPS]) - before]

    @property
    def time(self) -> float:
        return float(self.numbers[at.TIME])

    @property
    def status(self) -> int:
        return int(self.integers[at.STATUS])

    @property
    def accepted(self) -> int:
        return int(self.integers[at.ACCEPTED_STEPS])

    @property
    def tried(self) -> int:
        """Accepted and rejected steps."""
        return self.accepted + int(self.integers[at.REJECTED_STEPS])


def _routines() -> np.ndarray:
    return np.array([abi.lapack_address(name) for name in algebra.ROUTINES], dtype=np.int64)


def first_step(objective: Objective, rates, theta, velocity, rtol, atol, order: int) -> float:
    """A length for the first step, from the size of θ' and its change over a tiny explicit step.

    Source: E. Hairer, S. P. Nørsett and G. Wanner, Solving ODEs I (1993), section II.4.
    """
    scale = atol + rtol * np.abs(theta)

    @np.errstate(over="ignore", divide="ignore")
    def size(values) -> float:
        return float(np.sqrt(np.mean((values / scale) ** 2)))

    d0, d1 = size(theta), size(velocity)
    h0 = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1
    moved = -rates * objective.loss_and_gradient(theta + h0 * velocity)[1]
    d2 = size(moved - velocity) / h0
    if not math.isfinite(d2):
        return 1e-3 * h0
    largest = max(d1, d2)
    h1 = max(1e-6, 1e-3 * h0) if largest <= 1e-15 else (0.01 / largest) ** (1.0 / (order + 1))
    return min(100 * h0, h1)


def pack_settings(solver, method: Method, gtol: float, floor: float, end: float) -> np.ndarray:
    """The settings of a run as the compiled loop reads them."""
    values = {
        at.RTOL: solver.rtol, at.ATOL: solver.atol, at.END: end, at.GTOL: gtol, at.LOSS_FLOOR: floor,
        at.EXPONENT: 1.0 / (method.estimate_order + 1), at.STEPS_LEFT: float(solver.max_steps),
    }  # fmt: skip
    return np.array([values[place] for place in range(len(values))])


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
        loss, gradient = objective.loss_and_gradient(theta)
        norm = float(np.abs(gradient).max())
        velocity = -rates * gradient
        first = [0.0, loss, norm, 0.0], theta, velocity, -rates * objective.hvp(theta, velocity)
        self.steps = AcceptedSteps(np.concatenate(first)[None], 1)
        if not (np.isfinite(loss) and np.isfinite(norm)):
            return StopReason.NON_FINITE
        if norm <= self.gtol:
            return StopReason.GRADIENT
        if loss <= self.floor:
            return StopReason.LOSS_FLOOR
        run = self.prepare()
        order = solver.method.estimate_order
        step = first_step(objective, rates, theta, velocity, solver.rtol, solver.atol, order)
        run.start(0.0, theta, velocity, loss, gradient, step)
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
        self.before = Counts(*(now - then for now, then in zip(self.objective.counts(), counts)))
        return None if state.finished is None else StopReason[state.finished]

    def counts(self) -> Counts:
        """Evaluations of this flow so far."""
        return Counts(*(now - then for then, now in zip(self.before, self.objective.counts())))

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
        began, earlier = time.monotonic(), self.spent
        attempts = 2
        while True:
            mark = time.monotonic()
            tried = run.tried
            rows = run.advance(min(attempts, solver.max_steps - tried))
            if len(rows):
                self.steps.add(rows)
            now = time.monotonic()
            self.spent = earlier + now - began
            self.monitor.report(
                f"flow ({solver.name})",
                t=run.time,
                loss=float(run.numbers[at.LOSS]),
                grad_norm=float(run.numbers[at.GRAD_NORM]),
                steps=run.accepted,
            )
            # The length of the pieces follows the clock; the sequence of steps does not depend on it.
            tried = run.tried - tried
            attempts = int(np.clip(tried * SECONDS_PER_CALL / max(now - mark, 1e-6), 1, 8 * attempts))
            if run.status != at.RUNNING:
                return REASONS[run.status]
            if run.tried >= solver.max_steps:
                return StopReason.MAX_STEPS
            if self.monitor.interrupted:
                return StopReason.INTERRUPTED
            if now - began >= solver.max_seconds:
                return StopReason.MAX_SECONDS
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
            rows[:, at.R_VECTORS + k * size : at.R_VECTORS + (k + 1) * size].copy() for k in range(3)
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
