"""The stepping loop around diffrax's methods: exact Jacobians, a sound Newton test, short pieces.

diffrax supplies the method (`solver.step`) and the step size (`PIDController.adapt_step_size`). The
loop is ours because it must hand back every accepted step, look at the gradient norm, the clock and
Ctrl-C, and continue without changing the sequence of steps.
"""

from __future__ import annotations

import functools
import time
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx

from ..losses.base import Counts, Objective
from ..support.progress import Monitor
from ..support.stopping import StopReason
from .trajectory import Flow, Interval, Stepper, build_flow

CHUNK = 32
"""Accepted steps that one call of the compiled loop can hand back."""

SECONDS_PER_CALL = 0.2
"""Aim for the length of one call of the compiled loop: what Ctrl-C and time limits wait for."""

STORED_NUMBERS = 30_000_000
"""Parameters times kept steps beyond which every other step is dropped (three arrays of so many)."""

MAX_GROWTH = 10.0
"""A step is at most this many times the one before it."""

_RUNNING, _GRADIENT, _LOSS_FLOOR, _END_TIME, _UNDERFLOW, _NON_FINITE = range(6)
_REASONS = {
    _GRADIENT: StopReason.GRADIENT,
    _LOSS_FLOOR: StopReason.LOSS_FLOOR,
    _END_TIME: StopReason.END_TIME,
    _UNDERFLOW: StopReason.STEP_UNDERFLOW,
    _NON_FINITE: StopReason.NON_FINITE,
}


class _NewtonState(eqx.Module):
    operator: lx.AbstractLinearOperator
    factors: Any
    size: jax.Array
    previous_size: jax.Array
    step: jax.Array


class StageNewton(optx.AbstractRootFinder):
    """Simplified Newton for f = F(y + aΔt f), with the exact matrix I + aΔt r ⊙ ∇²L of the step.

    The increment is measured in θ, as aΔt·|δf| / (atol + rtol·|y|), whatever the size of f: late in a
    flow f is far below atol and Δt is huge. The stage is solved when the increment, or the remaining
    error that its rate of decrease implies, is below `kappa` of the tolerance. An increment below
    `kappa` counts at once, because at round-off it decreases no further.

    This replaces diffrax 0.7.2's `VeryChord`, which with optimistix 0.1.0 gives up after two
    iterations and triples the number of steps (diffrax PR 754, optimistix PR 230).
    """

    rtol: Any
    atol: Any
    norm: Any = optx.rms_norm
    kappa: float = 1e-2

    def init(self, fn, y, args, options, f_struct, aux_struct, tags):
        if "init_state" in options:  # the Jacobian formed at the first implicit stage of the step
            return options["init_state"]
        _, diagonal, _, _, _, base, (oracle, rates), dt = args
        point = base + diagonal * dt * y
        identity = jnp.eye(y.size)

        def matrix():
            return identity + (diagonal * dt) * rates[:, None] * oracle.hessian(point)

        # diffrax also asks with a zero diagonal, before the stages: no Hessian for that.
        operator = lx.MatrixLinearOperator(jax.lax.cond(diagonal == 0, lambda: identity, matrix))
        infinity = jnp.array(jnp.inf)
        return _NewtonState(operator, lx.LU().init(operator, {}), infinity, infinity, jnp.array(0))

    def step(self, fn, y, args, options, state, tags):
        _, diagonal, _, _, _, base, _, dt = args
        residual, aux = fn(y, args)
        increment = lx.linear_solve(state.operator, residual, lx.LU(), state=state.factors, throw=False).value
        size = self.norm(diagonal * dt * increment / (self.atol + self.rtol * jnp.abs(base)))
        new = _NewtonState(state.operator, state.factors, size, state.size, state.step + 1)
        return y - increment, new, aux

    def terminate(self, fn, y, args, options, state, tags):
        rate = state.size / state.previous_size
        second = state.step >= 2
        remaining = state.size * rate / (1 - rate)
        converged = (state.step >= 1) & (
            (state.size < self.kappa) | (second & (rate < 1) & (remaining < self.kappa))
        )
        bad = (state.step >= 1) & ~jnp.isfinite(state.size)
        diverged = bad | (second & (rate >= 2))
        failed = diverged & ~converged
        result = optx.RESULTS.where(failed, optx.RESULTS.nonlinear_divergence, optx.RESULTS.successful)
        return converged | failed, result

    def postprocess(self, fn, y, aux, args, options, state, tags, result):
        return y, aux, {}


class _State(NamedTuple):
    t: jax.Array
    t_next: jax.Array
    theta: jax.Array
    method_state: Any
    controller_state: Any
    accepted: jax.Array
    rejected: jax.Array
    status: jax.Array
    growth: jax.Array


class _Limits(NamedTuple):
    rtol: jax.Array
    atol: jax.Array
    t1: jax.Array
    gtol: jax.Array
    loss_floor: jax.Array


class _Steps(NamedTuple):
    times: jax.Array
    theta: jax.Array
    velocity: jax.Array
    losses: jax.Array
    grad_norms: jax.Array


def _vector_field(t, theta, args):
    oracle, rates = args
    return -rates * oracle.loss_and_gradient(theta)[1]


_TERM = diffrax.ODETerm(_vector_field)


def _method(name: str, limits: _Limits):
    method = getattr(diffrax, name.removeprefix("diffrax."))
    if issubclass(method, diffrax.AbstractImplicitSolver):
        return method(root_finder=StageNewton(rtol=limits.rtol, atol=limits.atol))
    return method()


def _controller(limits: _Limits) -> diffrax.PIDController:
    return diffrax.PIDController(rtol=limits.rtol, atol=limits.atol)


@functools.partial(jax.jit, static_argnames="name")
def _start(name: str, oracle, rates, limits: _Limits, theta) -> _State:
    method, args = _method(name, limits), (oracle, rates)
    t0 = jnp.zeros((), jnp.float64)
    t_next, controller_state = _controller(limits).init(
        _TERM, t0, limits.t1, theta, None, args, method.func, method.error_order(_TERM)
    )
    t_next = jnp.minimum(t_next, limits.t1)
    method_state = method.init(_TERM, t0, t_next, theta, args)
    zero = jnp.zeros((), jnp.int64)
    as_arrays = functools.partial(jax.tree.map, jnp.asarray)
    return _State(
        t0,
        t_next,
        theta,
        as_arrays(method_state),
        as_arrays(controller_state),
        zero,
        zero,
        zero,
        jnp.full((), MAX_GROWTH),
    )


@functools.partial(jax.jit, static_argnames="name")
def _advance(name: str, oracle, rates, limits: _Limits, state: _State, attempts) -> tuple[_State, _Steps]:
    """At most `attempts` steps, at most CHUNK accepted ones; the accepted ones are handed back."""
    method, controller, args = _method(name, limits), _controller(limits), (oracle, rates)
    first, tried = state.accepted, state.accepted + state.rejected

    def running(carry):
        s, _ = carry
        return (
            (s.status == _RUNNING)
            & (s.accepted - first < CHUNK)
            & (s.accepted + s.rejected - tried < attempts)
        )

    def step(carry):
        s, steps = carry
        theta, error, _, method_state, outcome = method.step(
            _TERM, s.t, s.t_next, s.theta, args, s.method_state, False
        )
        loss, gradient = oracle.loss_and_gradient(theta)
        grad_norm = jnp.abs(gradient).max()
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        # θ' as the last stage solved for it: in stiff directions it is smooth to the tolerance, where
        # −r ⊙ ∇L amplifies the error of θ by the largest curvature.
        velocity = method_state[1] if method_state is not None else -rates * gradient
        error = jnp.where(finite, error, jnp.inf)
        keep, t, t_next, _, controller_state, _ = controller.adapt_step_size(
            s.t, s.t_next, s.theta, theta, args, error, method.error_order(_TERM), s.controller_state
        )
        keep = keep & finite
        # Where Newton, not the error, limits the step, the error estimate asks for a step that fails
        # again. A failed step is halved, and growth is held back and let go slowly after it.
        failed = ~finite | (outcome != diffrax.RESULTS.successful)
        step = s.t_next - s.t
        t = jnp.where(keep, s.t_next, s.t)
        t_next = t + jnp.where(
            keep, jnp.minimum(t_next - t, s.growth * step), jnp.where(failed, 0.5 * step, t_next - s.t)
        )
        growth = jnp.where(failed, 1.0, jnp.where(keep, jnp.minimum(1.05 * s.growth, MAX_GROWTH), s.growth))
        status = jnp.where(
            keep,
            jnp.where(
                grad_norm <= limits.gtol,
                _GRADIENT,
                jnp.where(
                    loss <= limits.loss_floor,
                    _LOSS_FLOOR,
                    jnp.where(t >= limits.t1, _END_TIME, _RUNNING),
                ),
            ),
            jnp.where(
                t_next - t > 16 * jnp.finfo(jnp.float64).eps * t + 1e-300,
                _RUNNING,
                jnp.where(finite, _UNDERFLOW, _NON_FINITE),
            ),
        ).astype(s.status.dtype)
        i = jnp.where(keep, s.accepted - first, CHUNK)  # a rejected step is dropped: out of bounds
        steps = _Steps(
            steps.times.at[i].set(t, mode="drop"),
            steps.theta.at[i].set(theta, mode="drop"),
            steps.velocity.at[i].set(velocity, mode="drop"),
            steps.losses.at[i].set(loss, mode="drop"),
            steps.grad_norms.at[i].set(grad_norm, mode="drop"),
        )
        choose = functools.partial(jax.tree.map, lambda new, old: jnp.where(keep, new, old))
        new = _State(
            t,
            jnp.minimum(t_next, limits.t1),
            jnp.where(keep, theta, s.theta),
            choose(method_state, s.method_state),
            jax.tree.map(jnp.asarray, controller_state),
            s.accepted + keep.astype(s.accepted.dtype),
            s.rejected + (~keep).astype(s.rejected.dtype),
            status,
            growth,
        )
        return new, steps

    size = state.theta.size
    scalars, vectors = jnp.zeros(CHUNK), jnp.zeros((CHUNK, size))
    steps = _Steps(scalars, vectors, vectors, scalars, scalars)
    return jax.lax.while_loop(running, step, (state, steps))


class _Integration:
    """One run: the compiled loop, its state, and the accepted steps so far."""

    def __init__(self, solver, objective: Objective, theta: np.ndarray, rates: np.ndarray, monitor: Monitor):
        self.solver, self.objective, self.rates, self.monitor = solver, objective, rates, monitor
        self.loss, gradient = objective.loss_and_gradient(theta)
        self.grad_norm = float(np.abs(gradient).max())
        self.times, self.theta, self.velocity = [np.zeros(1)], [theta[None]], [-rates[None] * gradient]
        self.accepted = self.rejected = self.stored = 0
        self.compile_seconds = 0.0
        self.gtol = solver.gradient_tolerance(objective)
        self.loss_floor = objective.loss_floor if objective.nonnegative else -np.inf

    def start(self) -> StopReason | None:
        """A reason not to begin, or None and the compiled loop is ready."""
        if not (np.isfinite(self.loss) and np.isfinite(self.grad_norm)):
            return StopReason.NON_FINITE
        if self.grad_norm <= self.gtol:
            return StopReason.GRADIENT
        if self.loss <= self.loss_floor:
            return StopReason.LOSS_FLOOR
        self.monitor.message(f"{self.solver.name}: compiling for {self.rates.size} parameters")
        began = time.monotonic()
        with self.monitor.compiling():
            self.compile()
        self.compile_seconds = time.monotonic() - began
        return None

    def compile(self) -> None:
        """Compile the loop for this number of parameters, unless that has been done."""
        solver = self.solver
        numbers = (solver.rtol, solver.atol, float(solver.t1), self.gtol, self.loss_floor)
        # NumPy scalars, not Python numbers: those are weakly typed and would compile the loop again.
        self.limits = _Limits(*(jnp.asarray(np.float64(number)) for number in numbers))
        self.program = solver.name, self.objective.oracle, jnp.asarray(self.rates), self.limits
        self.state = self.initial = _start(*self.program, jnp.asarray(self.theta[0][0]))
        jax.block_until_ready(_advance(*self.program, self.state, np.int64(0)))

    def follow(self) -> StopReason:
        """Step until there is a reason to stop."""
        began = time.monotonic()
        attempts = 2
        while True:
            mark = time.monotonic()
            left = self.solver.max_steps - self.accepted - self.rejected
            tried = self.advance(min(attempts, left))
            now = time.monotonic()
            self.monitor.report(
                f"flow ({self.solver.name})",
                t=float(self.state.t),
                loss=self.loss,
                grad_norm=self.grad_norm,
                steps=self.accepted,
            )
            # The length of the pieces follows the clock; the sequence of steps does not depend on it.
            attempts = int(np.clip(tried * SECONDS_PER_CALL / max(now - mark, 1e-6), 1, 8 * attempts))
            if int(self.state.status) != _RUNNING:
                return _REASONS[int(self.state.status)]
            if self.monitor.interrupted:
                return StopReason.INTERRUPTED
            if self.accepted + self.rejected >= self.solver.max_steps:
                return StopReason.MAX_STEPS
            if now - began >= self.solver.max_seconds:
                return StopReason.MAX_SECONDS

    def advance(self, attempts: int) -> int:
        """One call of the compiled loop; the number of steps it tried."""
        self.state, steps = _advance(*self.program, self.state, np.int64(attempts))
        accepted, rejected = int(self.state.accepted), int(self.state.rejected)
        count = accepted - self.accepted
        tried = count + rejected - self.rejected
        self.accepted, self.rejected = accepted, rejected
        if count:
            # To NumPy before slicing: JAX would compile a slice for every count.
            times, theta, velocity, losses, grad_norms = map(np.asarray, steps)
            self.times.append(times[:count].copy())
            self.theta.append(theta[:count].copy())
            self.velocity.append(velocity[:count].copy())
            self.loss, self.grad_norm = float(losses[count - 1]), float(grad_norms[count - 1])
            self.stored += count
            if self.stored * self.rates.size > STORED_NUMBERS and self.stored > 1000:
                self.thin()
        return tried

    def thin(self) -> None:
        """Drop every other accepted step but the last from what is kept for `Flow.at`."""
        for pieces in (self.times, self.theta, self.velocity):
            whole = np.concatenate(pieces)
            pieces[:] = [np.concatenate([whole[:-1:2], whole[-1:]])]
        self.stored = self.times[0].size

    def step_to(self, t: float, t_from: float, theta: np.ndarray) -> np.ndarray:
        """θ at time t by one step of the same method from an earlier accepted step, (t_from, theta)."""
        if not hasattr(self, "initial"):
            self.compile()
        state = self.initial._replace(
            t=jnp.asarray(np.float64(t_from)), t_next=jnp.asarray(np.float64(t)), theta=jnp.asarray(theta)
        )
        for _ in range(100):  # one step, unless the error test cuts it in two
            state, _ = _advance(*self.program, state, np.int64(1))
            if float(state.t) >= t:
                break
            state = state._replace(
                t_next=jnp.minimum(state.t_next, np.float64(t)), status=jnp.zeros_like(state.status)
            )
        return np.array(state.theta)


def stepper(solver, objective: Objective, rates: np.ndarray) -> Stepper:
    """Points of the path by steps of the method from accepted steps."""
    runs: list[_Integration] = []

    def path(interval: Interval, times: np.ndarray) -> np.ndarray:
        if not runs:
            runs.append(_Integration(solver, objective, interval.theta, rates, Monitor(False)))
        return np.array([runs[0].step_to(float(t), interval.time, interval.theta) for t in times])

    return path


def largest_curvatures(objective: Objective, rates: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """|λ|_max of r ⊙ ∇²L at the points of a path (s, P), estimated from below to some per cent.

    Power iteration, two products a point, begun with the vector of the point before.
    """
    root = np.sqrt(rates)
    vector = np.cos(np.arange(1.0, rates.size + 1.0))  # any vector without symmetry
    vector /= np.linalg.norm(vector)
    values = np.empty(theta.shape[0])
    for i, point in enumerate(theta):
        for _ in range(2 if i else 20):
            image = root * objective.hvp(point, root * vector)
            length = float(np.linalg.norm(image))
            if length == 0.0 or not np.isfinite(length):
                break
            vector = image / length
        values[i] = length
    return values


def integrate(solver, objective: Objective, theta: np.ndarray, rates: np.ndarray, monitor: Monitor) -> Flow:
    """Follow the flow with diffrax's method `solver.name`; the body of `FlowSolver.integrate`."""
    before = objective.counts()
    began = time.monotonic()
    run = _Integration(solver, objective, theta, rates, monitor)
    reason = run.start() or run.follow()
    seconds = time.monotonic() - began - run.compile_seconds
    counts = Counts(*(b - a for a, b in zip(before, objective.counts())))
    times, points, velocity = (np.concatenate(p) for p in (run.times, run.theta, run.velocity))
    products = [objective.hvp(x, v) for x, v in zip(points, velocity)]
    return build_flow(
        objective,
        times,
        points,
        velocity,
        -rates * np.array(products).reshape(points.shape),
        np.diff(times) * largest_curvatures(objective, rates, points)[1:],
        stepper=stepper(solver, objective, rates),
        stop_reason=reason,
        accepted=run.accepted,
        rejected=run.rejected,
        counts=counts,
        seconds=seconds,
        compile_seconds=run.compile_seconds,
        settings=solver.settings(),
    )
