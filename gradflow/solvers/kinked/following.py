"""Following a flow through its kinks: steps, located events, ends."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import numpy as np

from ...boundaries.corner import Resolver
from ...boundaries.events import BRANCHING, CROSSING, LEAVING, PASSING, RESTING, SLIDING, Events
from ...boundaries.manifold import NONE, Manifold
from ...boundaries.zeros import resting, weights_into
from ...objective import Counts, Objective
from ...support.limits import Limits
from ...support.progress import Monitor
from ...support.stopping import StopReason
from ..compiled import layout as at
from ..compiled.growth import FOLLOWED
from ..compiled.scale import MEMORY, ROUNDING
from ..flow import Flow, build_flow
from ..measure import root_mean_square
from ..modes import dense_modes, longest_step, verdict
from ..records import AcceptedSteps, Checkpoint, FlowState
from .rosenbrock import TABLE, Rosenbrock

EPS = float(np.finfo(np.float64).eps)

SAFETY, GROWTH, SHRINKING = 0.9, 6.0, 0.2
"""The next step aims at this part of the error allowed; limits on the ratio of steps."""

LOCATED = 0.1
"""An event is located when the flow is this far beyond the boundary, in units of the error allowed in θ."""

PASSED, WHOLE = 0.05, 3.0
"""Crossings need not be located where the second-order part of their effect is below this part of the error
allowed, and all of it, which is corrected for, below so many times that."""

PART = 1e-9
"""A fraction of a sliding place counts as outside [0, 1] beyond this."""

WINDOW = 100
"""Steps of each of the two windows that the test of progress compares."""

CLEAR = 10
"""Steps for which the answer holds that no mode limits them."""

AGAIN = 0.4
"""A step that fails again is shortened to this part of itself at most."""

RESTART = 4.0
"""The step behind an event is at most so many times as long as a first step from there would be."""

MET = 0.5
"""Boundaries passed at once are met together where they all are at a point this near, in units of the error
allowed; `MEETING` of them are tried one by one."""

MEETING = 16

CROWD = 4
"""Crossings in one step from which a shorter one that needs none of them located may be the better one."""


class Trial(NamedTuple):
    """The end of a step that may not be accepted: θ, L, ∇L, z and ∂L/∂h there, and what has gone too far.

    places  (m, 2) on the wrong side of their boundary
    beyond  (m,) how far their z is there
    parts   (k,) the fractions of the sliding places
    """

    length: float
    theta: np.ndarray
    loss: float
    gradient: np.ndarray
    z: np.ndarray
    slopes: np.ndarray
    error: float
    places: np.ndarray
    beyond: np.ndarray
    parts: np.ndarray


class Tolerance:
    """The error allowed in every parameter, as `compiled.scale` has it."""

    def __init__(self, solver, objective: Objective, size: int):
        groups = (
            np.zeros((2, size), dtype=np.int64)
            if objective.weight_vectors is None
            else objective.weight_vectors
        )
        names, numbers = np.unique(groups, return_inverse=True)
        self.groups, self.count = numbers.reshape(2, size), names.size
        self.rtol, self.atol = solver.rtol, solver.atol
        self.memory = np.zeros(size)
        self.first = True

    def allowed(self, theta: np.ndarray, moved: np.ndarray | None = None) -> np.ndarray:
        """(P,); `moved` is Δt θ' in the first step."""
        value = np.abs(theta) if moved is None else np.abs(theta) + np.abs(moved)
        sizes = np.zeros(self.count)
        for row in self.groups:
            np.maximum.at(sizes, row, value)
        small, large = np.sort(sizes[self.groups], axis=0)
        if moved is None:
            self.memory = np.maximum(small, MEMORY * self.memory)
            small = self.memory
        return np.maximum(self.rtol * value + self.atol * small + ROUNDING * large, 1e-307)


class _Along(Objective):
    """L along a manifold as a function of the coordinates at one point, for `modes.verdict`."""

    def __init__(self, following: Following):
        self.following, self.size = following, following.manifold.size

    def loss_and_gradient(self, theta):
        manifold, start = self.following.manifold, self.following.theta
        point = manifold.point(start, theta)
        return self.following.pieces.loss_and_gradient(point)[0], manifold.slope(point)

    def all_derivatives(self, theta):
        return *self.loss_and_gradient(theta), self.following.stepper.matrix

    def hvp(self, theta, v):
        return self.following.stepper.matrix @ v

    def counts(self) -> Counts:
        return self.following.counts()


class Following:
    """A flow through kinks: where it stands, and its steps so far."""

    def __init__(self, solver, objective: Objective, pieces: Any, rates: np.ndarray, monitor: Monitor):
        self.solver, self.objective, self.pieces, self.rates, self.monitor = (
            solver,
            objective,
            pieces,
            rates,
            monitor,
        )
        self.root = np.sqrt(rates)
        self.resolver = Resolver(pieces, self.root)
        self.tolerance = Tolerance(solver, objective, rates.size)
        self.gtol = solver.gradient_tolerance(objective)
        self.floor = objective.loss_floor if objective.nonnegative else -np.inf
        self.before = objective.counts()
        self.t, self.length = 0.0, np.inf
        self.places, self.left = np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
        self.resting, self.held = np.zeros(len(pieces.layers), dtype=bool), NONE
        self.failed = False
        self.events: list[tuple[float, int, int, int]] = []
        self.accepted = self.rejected = 0
        self.watch, self.clear = self.gtol, 0
        self.window = np.array([0.0, np.inf, np.inf, 0.0, np.inf, np.inf, np.inf])
        self.spent = 0.0
        self.steps: AcceptedSteps
        self.spaces: dict = {}

    # Where it stands

    def begin(self, theta: np.ndarray) -> StopReason | None:
        """Start at θ: a reason not to begin, or None."""
        self.theta = np.array(theta, dtype=np.float64)
        pieces = self.pieces
        for _ in range(int(pieces.layers.max()) + 1):
            z = pieces.states(self.theta).z
            pieces.phases[:] = pieces.natural(z)
        states = pieces.states(self.theta)
        self.take(states)
        if not (np.isfinite(states.loss) and np.isfinite(states.gradient).all()):
            self.row_only()
            return StopReason.NON_FINITE
        self.rest(resting(pieces, self.theta, states.z))
        neurons, samples = self._on_boundary(states.z)
        if neurons.size:
            places = np.stack([neurons, samples], axis=1)
            left = pieces.phases[neurons, samples].astype(np.int64)
            self.corner(places, left, np.zeros(len(places)), begin=True)
        else:
            self.renew()
        self.steps = AcceptedSteps(self.row()[None], 1)
        reason = self.stop()
        if reason is not None:
            return reason
        self.length = self.first_length()
        return None

    def _on_boundary(self, z: np.ndarray):
        """Places whose z is a kink, exactly."""
        on = np.zeros(z.shape, dtype=bool)
        for column in range(1, self.pieces.ends.shape[1] - 1):
            on |= z == self.pieces.ends[:, column, None]
        on[self.resting] = False
        return np.nonzero(on)

    def rest(self, neurons: np.ndarray) -> None:
        """Hold the neurons so marked (H,) at zero weights from here on, all samples to the left."""
        self.resting = self.resting | neurons
        self.held = weights_into(self.pieces, self.resting)
        self.pieces.phases[neurons] = 0.0
        kept = ~neurons[self.places[:, 0]]
        self.places, self.left = self.places[kept], self.left[kept]

    def on(self, places: np.ndarray, left: np.ndarray) -> Manifold:
        """The boundaries of places near θ, with the neurons that rest."""
        kinks = self.pieces.ends[places[:, 0], left + 1]
        return Manifold(self.pieces, self.root, self.theta, places, kinks, self.held)

    def take(self, states) -> None:
        """Stand where L, ∇L, z and ∂L/∂h are these."""
        self.loss, self.gradient, self.z, self.slopes = states

    def row_only(self) -> None:
        """The steps so far are the one row where it stands."""
        self.curvature, self.velocity, self.acceleration = (
            0.0,
            -self.rates * self.gradient,
            0.0 * self.gradient,
        )
        self.steps = AcceptedSteps(self.row()[None], 1)

    def limits(self) -> None:
        """The ends of the pieces of all places; the sliding ones have none, nor have pieces without kinks."""
        pieces = self.pieces
        numbers = np.floor(pieces.phases).astype(np.int64)
        self.low = np.take_along_axis(pieces.ends, numbers, axis=1)
        self.high = np.take_along_axis(pieces.ends, numbers + 1, axis=1)
        if len(self.places):
            neurons, samples = self.places.T
            self.low[neurons, samples], self.high[neurons, samples] = -np.inf, np.inf
        self.low[self.resting], self.high[self.resting] = -np.inf, np.inf

    def renew(self) -> None:
        """After a change of place or of phases: the manifold, the fractions on it, and the Hessian."""
        self.limits()
        self.manifold = self.on(self.places, self.left)
        self.refresh()

    def refresh(self) -> None:
        """After a step on the same manifold."""
        if len(self.places) and not self.manifold.flat:
            self.manifold = self.on(self.places, self.left)
        self.hessian = self.pieces.all_derivatives(self.theta)[2]
        self.stepper = Rosenbrock(self.manifold, self.theta, self.gradient, self.hessian, self.spaces)
        slope = self.stepper.first
        self.velocity = -self.root * self.manifold.vector(slope)
        self.acceleration = self.root * self.manifold.vector(self.stepper.matrix @ slope)
        self.curvature = float(np.abs(self.stepper.matrix).sum(axis=0).max(initial=0.0))

    def row(self) -> np.ndarray:
        """The row of an accepted step: t, L, |∇L|_∞, the curvature, θ, θ' and θ''."""
        norm = float(np.abs(self.gradient).max())
        head = [self.t, self.loss, norm, self.curvature]
        return np.concatenate([head, self.theta, self.velocity, self.acceleration])

    def set_parts(self, parts: np.ndarray) -> None:
        """Hold the sliding places at these fractions."""
        neurons, samples = self.places.T
        self.pieces.phases[neurons, samples] = self.left + np.clip(parts, 0.0, 1.0)

    def corner(self, places: np.ndarray, left: np.ndarray, ahead: np.ndarray, begin: bool = False) -> None:
        """Resolve the corner of these places and the sliding ones, and go on behind it."""
        pieces, old = self.pieces, len(self.places)
        everything = np.concatenate([self.places, places])
        sides = np.concatenate([self.left, left])
        entered = np.concatenate([pieces.phases[tuple(self.places.T)] - self.left, ahead]) if old else ahead
        found = self.resolver.resolve(self.theta, everything, sides, entered)
        for k, (neuron, sample) in enumerate(everything):
            if k < old and not found.sliding[k]:
                self.events.append((self.t, neuron, sample, LEAVING))
            elif k >= old and found.sliding[k]:
                self.events.append((self.t, neuron, sample, SLIDING))
            elif k >= old and found.free[k]:
                self.events.append((self.t, neuron, sample, BRANCHING))
            elif k >= old and not begin:
                self.events.append((self.t, neuron, sample, CROSSING))
        kept = found.sliding
        self.places, self.left = everything[kept], sides[kept]
        self.take(pieces.states(self.theta))
        self.renew()
        self.clear = 0

    def cross(self, places: np.ndarray, left: np.ndarray, up: np.ndarray) -> None:
        """Count places as crossed that are still beyond their boundaries; `up` says from which side."""
        neurons, samples = places.T
        z = self.pieces.states(self.theta).z[neurons, samples]
        still = np.where(up, 1.0, -1.0) * (z - self.pieces.ends[neurons, left + 1]) > 0.0
        self.pieces.phases[neurons[still], samples[still]] = (left + up)[still]
        for neuron, sample in places[still]:
            self.events.append((self.t, neuron, sample, CROSSING))

    # Steps

    def first_length(self) -> float:
        """After `first_step.first_step`."""
        speed, change = root_mean_square(self.velocity), root_mean_square(self.acceleration)
        tau = speed / change if 0.0 < change < np.inf else np.inf
        if not 0.0 < tau < np.inf:
            tau = (root_mean_square(self.theta) or 1.0) / (speed or 1.0)
        fresh = tau * self.velocity if self.accepted == 0 else None
        scale = 1.0 / self.tolerance.allowed(self.theta, fresh)
        moved = tau * root_mean_square(self.velocity * scale)
        return tau * min(1.0, (0.01 / moved) ** 0.2) if moved > 0.0 else tau

    def attempt(self, length: float) -> Trial | None:
        """A step of this length, not accepted."""
        with np.errstate(all="ignore"):
            found = self.stepper.step(length)
            if found is None or not np.isfinite(found[0].sum()):
                return None
            theta, error = found
            states = self.pieces.states(theta)
            if not (np.isfinite(states.loss) and np.isfinite(states.gradient.sum())):
                return None
            size = root_mean_square(error * self.scale)
        beyond = np.maximum(states.z - self.high, self.low - states.z)
        neurons, samples = np.nonzero(beyond > 0.0)
        if neurons.size:
            # A neuron asleep on its last boundary does not move; its rounding does not wake it.
            rounding = 4 * EPS * np.abs(states.z).max(axis=1)[neurons]
            moved = np.abs(states.z[neurons, samples] - self.z[neurons, samples])
            kept = (beyond[neurons, samples] > rounding) & (moved > rounding)
            neurons, samples = neurons[kept], samples[kept]
        parts = np.zeros(0)
        if len(self.places):
            normals, dual = self.manifold.normals, self.manifold.dual
            if not self.manifold.flat:
                normals, dual = self.manifold.at(theta), None
            held = self.pieces.phases[tuple(self.places.T)] - self.left
            parts = self.resolver.fractions(
                states.gradient, states.slopes, normals, self.places, self.left, held, dual
            )
        return Trial(
            length, theta, states.loss, states.gradient, states.z, states.slopes, size,
            np.stack([neurons, samples], axis=1), beyond[neurons, samples], parts,
        )  # fmt: skip

    def left_out(self, trial: Trial) -> np.ndarray:
        """How far the fractions of the sliding places are outside [0, 1], those that are."""
        outside = np.maximum(trial.parts - 1.0, -trial.parts)
        return np.where(outside > self.part, outside, 0.0)

    def allowed_beyond(self, trial: Trial) -> np.ndarray:
        """How far z of the places may be beyond their boundaries where an event counts as located."""
        normals = self.pieces.gradients(trial.theta, trial.places) * self.root
        if len(self.places):  # what moves them while it slides
            normals = self.manifold.tangential(normals)
        squares = np.einsum("ij,ij->i", normals, normals)
        scaled = normals * (self.root * self.scale)
        sizes = np.sqrt(np.einsum("ij,ij->i", scaled, scaled) / self.theta.size)
        rounding = 16 * EPS * np.abs(trial.z[trial.places[:, 0]]).max(axis=1)
        return np.maximum(LOCATED * squares / np.maximum(sizes, 1e-300), rounding)

    def locate(self, trial: Trial) -> Trial | None:
        """The trial step shortened to its first event, which it passes by less than the tolerance.

        On each side of the event a step is known; its next length comes from the places' z and the fractions
        at both ends, by the cubic of their slopes or by secants, and always lies between the two.
        """
        low, low_z, low_parts = 0.0, self.z, self.parts_now()
        low_speed: np.ndarray | None = self.velocity
        high = trial
        for round_ in range(60):
            allowed = self.allowed_beyond(high)
            outside = self.left_out(high)
            if (high.beyond <= allowed).all() and (outside <= 100 * self.part).all():
                return high
            gap = high.length - low
            if gap <= 4 * EPS * max(self.t, high.length):
                return high
            wanted = high.length
            normals = self.pieces.gradients(high.theta, high.places)
            if len(high.places):
                neurons, samples = high.places.T
                kinks = np.where(
                    high.z[neurons, samples] > self.high[neurons, samples],
                    self.high[neurons, samples], self.low[neurons, samples],
                )  # fmt: skip
                sign = np.where(high.z[neurons, samples] > kinks, 1.0, -1.0)
                start = sign * (low_z[neurons, samples] - kinks)
                end = high.beyond - 0.4 * allowed  # aim just beyond
                start = np.minimum(start - 0.4 * allowed, 0.0)
                slope_end = sign * (normals @ self.velocity_of(high.gradient))
                slope_start = sign * (normals @ low_speed) if low_speed is not None else None
                for k in range(len(sign)):
                    if high.beyond[k] <= allowed[k]:
                        continue
                    first = None if slope_start is None else slope_start[k] * gap
                    wanted = min(wanted, low + gap * _root(start[k], end[k], first, slope_end[k] * gap))
            for place in np.flatnonzero(outside > 100 * self.part):
                upper = high.parts[place] > 1.0
                end = outside[place] - 10 * self.part
                start = (low_parts[place] - 1.0 if upper else -low_parts[place]) - 10 * self.part
                wanted = min(wanted, low + gap * _root(min(start, 0.0), end, None, None))
            if round_ % 4 == 3:  # a root that is approached from one side only
                wanted = low + 0.5 * gap
            wanted = min(max(wanted, low + 1e-3 * gap), high.length - 1e-3 * gap)
            found = self.attempt(wanted)
            if found is None:
                return None
            if len(found.places) or self.left_out(found).any():
                high = found
            else:
                low, low_z, low_parts = wanted, found.z, found.parts
                low_speed = self.velocity_of(found.gradient)
        return high

    def parts_now(self) -> np.ndarray:
        """The fractions of the sliding places."""
        return self.pieces.phases[tuple(self.places.T)] - self.left if len(self.places) else np.zeros(0)

    def velocity_of(self, gradient: np.ndarray) -> np.ndarray:
        """θ' where ∇L is this, along the boundaries on which it slides."""
        return -self.root * self.manifold.vector(self.manifold.along(self.root * gradient))

    def passing(self, trial: Trial) -> tuple[float, float, np.ndarray] | None:
        """What crossing the boundaries of a trial step does within it, and the correction of θ that says so.

        A place that crosses at a time r before the end of the step changes θ there by
        H⁻¹(1 − e^{−rH}) δ = r δ − ½r²Hδ + …, δ the jump of the gradient. Summed over places that is
        (I + γΔt H)⁻¹ (d₁ + γΔt H d₁ − ½H d₂) to second order, d₁ = Σ r δ and d₂ = Σ r² δ. Returned are the
        sizes of the whole and of its second-order part, in units of the error allowed, and the correction.
        None if a sliding place is left, or where the flow behind one of the boundaries points back at it, and
        it may slide.
        """
        if self.left_out(trial).any() or not len(trial.places):
            return None
        pieces, (neurons, samples) = self.pieces, trial.places.T
        old = pieces.phases[neurons, samples].copy()
        up = trial.z[neurons, samples] > self.high[neurons, samples]
        kinks = np.where(up, self.high[neurons, samples], self.low[neurons, samples])
        sign = np.where(up, 1.0, -1.0)
        start = np.maximum(sign * (kinks - self.z[neurons, samples]), 0.0)
        speed = sign * (pieces.gradients(self.theta, trial.places) @ self.velocity) * trial.length
        when = _parabola(start, speed, start + trial.beyond)
        whole = trial.length
        parts = []
        for weight in (1.0 - when, (1.0 - when) ** 2):
            pieces.phases[neurons, samples] = old + sign * weight
            jump = pieces.loss_and_gradient(trial.theta)[1] - trial.gradient
            parts.append(self.manifold.along(self.root * jump))
        pieces.phases[neurons, samples] = old + sign
        behind = self.velocity_of(pieces.loss_and_gradient(trial.theta)[1])
        pieces.phases[neurons, samples] = old
        if (sign * (pieces.gradients(trial.theta, trial.places) @ behind) < 0.0).any():
            return None
        first, second = whole * parts[0], whole**2 * parts[1]
        curved = self.stepper.matrix @ (TABLE.gamma * whole * first - 0.5 * second)
        change, small = self.stepper.damped(first + curved), self.stepper.damped(curved)
        self.crossed = when, old + sign
        return root_mean_square(change * self.scale), root_mean_square(small * self.scale), change

    def advance(self) -> StopReason | None:
        """One accepted step, or a failed one; a reason to stop, or None."""
        solver = self.solver
        moved = self.length * self.velocity if self.accepted == 0 else None
        allowed = self.tolerance.allowed(self.theta, moved)
        self.scale = 1.0 / allowed
        self.part = max(PART * min(1.0, 1e6 * solver.rtol), 1e-13)
        length = min(self.length, self.growth_limit())
        clipped = self.t + 1.0001 * length >= solver.t1
        if clipped:
            length = solver.t1 - self.t
        elif not length > 16.0 * EPS * self.t + 1e-300:
            return StopReason.STEP_UNDERFLOW
        trial = self.attempt(length)
        if trial is None or not trial.error <= 1.0:
            self.rejected += 1
            factor = 0.25 if trial is None else max(SAFETY * trial.error ** (-1.0 / 5.0), SHRINKING)
            # A fast transient behind an event is not of the method's order in the length of a step.
            self.length = length * min(factor, AGAIN if self.failed else SAFETY)
            self.failed = True
            return None
        self.failed = False
        proposed = length * min(max(SAFETY * max(trial.error, 1e-10) ** (-1.0 / 5.0), SHRINKING), GROWTH)
        event = len(trial.places) > 0 or self.left_out(trial).any()
        if not event:
            self.accept(trial, clipped)
            self.length = proposed
            return self.stop(clipped)
        passed = self.passing(trial)
        if passed is not None:
            whole, second, change = passed
            effect = max(second / PASSED, whole / WHOLE)
            if effect <= 1.0:
                self.pass_over(trial, change, clipped)
                self.length = min(proposed, length * min(2.0, 0.9 * max(effect, 1e-12) ** (-1.0 / 3.0)))
                return self.stop(clipped)
            if len(trial.places) >= CROWD:
                shorter = length * 0.8 * effect ** (-1.0 / 3.0)
                if shorter * len(trial.places) > 3.0 * length:
                    self.rejected += 1
                    self.length = shorter
                    return None
        found = self.locate(trial)
        if found is None:
            self.rejected += 1
            self.length = 0.5 * length
            return None
        self.accept(found, False)
        found = self.reach_zero(found)
        places = found.places
        neurons, samples = places.T
        pieces = self.pieces
        up = found.z[neurons, samples] > self.high[neurons, samples] if len(places) else np.zeros(0, bool)
        left = pieces.phases[neurons, samples].astype(np.int64) - np.where(up, 0, 1)
        met = self.snap(found, left)
        if not met.all():
            self.cross(places[~met], left[~met], up[~met])
        self.corner(places[met], left[met], np.where(up, 1.0, 0.0)[met])
        self.steps.add(self.row()[None])
        self.length = min(proposed, max(self.length, length), RESTART * self.first_length())
        return self.stop()

    def accept(self, trial: Trial, clipped: bool) -> None:
        """Take a step without events within it, or as far as its first."""
        self.t = self.solver.t1 if clipped else self.t + trial.length
        self.theta, self.loss, self.gradient = trial.theta, trial.loss, trial.gradient
        self.z, self.slopes = trial.z, trial.slopes
        if len(self.places):
            self.set_parts(trial.parts)
            self.take(self.pieces.states(self.theta))
        self.refresh()
        self.accepted += 1
        self.steps.add(self.row()[None])

    def pass_over(self, trial: Trial, change: np.ndarray, clipped: bool) -> None:
        """Take a step over boundaries that are crossed with no effect to speak of."""
        when, new = self.crossed
        neurons, samples = trial.places.T
        order = np.argsort(when, kind="stable")
        for k in order:
            self.events.append((self.t + when[k] * trial.length, neurons[k], samples[k], PASSING))
        self.pieces.phases[neurons, samples] = new
        self.t = self.solver.t1 if clipped else self.t + trial.length
        self.theta = trial.theta - change
        if len(self.places):
            self.set_parts(trial.parts)
        self.take(self.pieces.states(self.theta))
        if len(self.places) and not self.manifold.flat:
            self.manifold = self.on(self.places, self.left)
        self.limits()
        self.refresh()
        self.accepted += 1
        self.steps.add(self.row()[None])

    def snap(self, found: Trial, left: np.ndarray) -> np.ndarray:
        """Move θ onto the boundaries just met and those slid along; which of the places (m,) it is on.

        Not onto boundaries that meet far away: those of three samples of a neuron with three weights do where
        it is zero, however near to them it is. Such places are crossed, by less than the tolerance.
        """
        places, met = found.places, np.ones(len(found.places), dtype=bool)
        if self._onto(places, left, MET):
            return met
        met[:] = False
        speed = np.abs(self.pieces.gradients(self.theta, places) @ self.velocity)
        first = np.argsort(-found.beyond / np.maximum(speed, 1e-300), kind="stable")[:MEETING]
        for k in first:
            met[k] = True
            met[k] = self._onto(places[met], left[met], np.inf if k == first[0] else MET)
        return met

    def reach_zero(self, found: Trial) -> Trial:
        """Let neurons rest that are nearer to zero than the tolerance; the trial without their places."""
        gone = np.zeros(len(self.resting), dtype=bool)
        for neuron in np.unique(found.places[:, 0][self.pieces.rests[found.places[:, 0]]]):
            into = self.pieces.into(int(neuron))
            gone[neuron] = np.linalg.norm((self.theta * self.scale)[into]) <= MET * np.sqrt(self.theta.size)
        if not gone.any():
            return found
        theta = self.theta.copy()
        theta[weights_into(self.pieces, gone)] = 0.0
        gone &= resting(self.pieces, theta, self.pieces.states(theta).z)
        for neuron in np.flatnonzero(gone):
            sample = found.places[found.places[:, 0] == neuron][0, 1]
            self.events.append((self.t, int(neuron), int(sample), RESTING))
        self.rest(gone)
        self.theta[self.held] = 0.0
        kept = ~gone[found.places[:, 0]]
        return found._replace(places=found.places[kept], beyond=found.beyond[kept])

    def _onto(self, places: np.ndarray, left: np.ndarray, most: float) -> bool:
        """Move θ onto these boundaries and those slid along, if by less than `most` of the error allowed."""
        everything, sides = np.concatenate([self.places, places]), np.concatenate([self.left, left])
        if not len(everything):
            return True
        moved = self.on(everything, sides).settle(self.theta)
        near = len(places) <= 1 or root_mean_square((moved - self.theta) * self.scale) <= most
        if near:
            self.theta = moved
        return near

    def growth_limit(self) -> float:
        """The longest step that does not outrun a mode that grows (`compiled.growth`)."""
        allowed = FOLLOWED[TABLE.embedded_order]
        if self.clear > 0:
            self.clear -= 1
            return np.inf
        if self.length * self.curvature < allowed:
            return np.inf
        if self.stepper.definite(self.length / allowed if np.isfinite(self.length) else 1.0):
            return np.inf
        modes = self.modes()
        ones = np.ones(self.manifold.size)
        scale = np.ones(self.manifold.size) * root_mean_square(self.root * self.scale)
        limit = longest_step(modes, ones, scale, allowed)
        if limit == np.inf:
            self.clear = CLEAR
        return limit

    def modes(self):
        """The modes of ∇²L within the boundaries on which it slides."""
        ones, start = np.ones(self.manifold.size), self.manifold.along(self.theta / self.root)
        return dense_modes(self.stepper.matrix, ones, start, self.stepper.first)

    # Ends

    def stop(self, clipped: bool = False) -> StopReason | None:
        """Why the flow ends here, or None."""
        norm = float(np.abs(self.gradient).max())
        if not (np.isfinite(norm) and np.isfinite(self.loss)):
            return StopReason.NON_FINITE
        if norm > 2.0 * self.gtol:
            self.watch = self.gtol
        elif norm <= self.watch:
            if not self.manifold.size:
                return StopReason.GRADIENT
            ones, zero = np.ones(self.manifold.size), np.zeros(self.manifold.size)
            reason = verdict(self.modes(), _Along(self), ones, zero, self.gtol)
            self.watch = 0.1 * norm
            if reason is not None:
                return reason
        if self.loss <= self.floor:
            return StopReason.LOSS_FLOOR
        if clipped:
            return StopReason.END_TIME
        return None if self.progress(norm) else StopReason.NO_PROGRESS

    def progress(self, norm: float) -> bool:
        """As `compiled.loop._progress`."""
        count, low_loss, low, high, old_loss, old_low, old_high = self.window
        low_loss, low, high, count = min(low_loss, self.loss), min(low, norm), max(high, norm), count + 1
        if count < WINDOW:
            self.window = np.array([count, low_loss, low, high, old_loss, old_low, old_high])
            return True
        gained = not np.isfinite(old_loss) or old_loss - low_loss > 8.0 * EPS * abs(old_loss)
        moved = low < 0.9 * old_low or high > 1.1 * old_high
        self.window = np.array([0.0, np.inf, np.inf, 0.0, min(low_loss, old_loss), low, high])
        return gained or moved

    # The whole

    def follow(self, checkpoint: Checkpoint | None) -> StopReason:
        """Step until there is a reason to stop."""
        limits, earlier = Limits(self.monitor, self.solver.max_steps, self.solver.max_seconds), self.spent
        while True:
            reason = self.advance() or limits.reason(self.accepted + self.rejected)
            self.spent = earlier + limits.spent
            if self.accepted % 16 == 0:
                norm = float(np.abs(self.gradient).max())
                self.monitor.report(
                    f"flow ({self.solver.name})",
                    t=self.t,
                    loss=self.loss,
                    grad_norm=norm,
                    steps=self.accepted,
                )
            if reason is not None:
                return reason
            if checkpoint is not None and checkpoint.due():
                checkpoint.write(self.state(None))

    def counts(self) -> Counts:
        """Evaluations of this flow so far."""
        return self.objective.counts() - self.before

    def state(self, finished: StopReason | None) -> FlowState:
        """Where the flow stands, for a checkpoint."""
        numbers = np.concatenate([
            [self.t, self.length, self.watch, float(self.failed)], self.window, self.tolerance.memory,
            self.theta, self.pieces.phases.ravel(), np.array(self.events, dtype=np.float64).ravel(),
        ])  # fmt: skip
        integers = np.concatenate([
            [len(self.places), len(self.events), self.accepted, self.rejected, self.clear],
            self.places.ravel(), self.left, self.resting,
        ])  # fmt: skip
        return FlowState(
            numbers, integers.astype(np.int64), np.empty(0), self.steps.rows(), self.steps.count,
            self.steps.stride, self.counts(), self.spent, None if finished is None else finished.name,
        )  # fmt: skip

    def resume(self, state: FlowState) -> StopReason | None:
        """Go on from a checkpoint; the reason why the flow is over, or None."""
        size, phases = self.rates.size, self.pieces.phases
        sliding, events, self.accepted, self.rejected, clear = (int(n) for n in state.integers[:5])
        self.places = state.integers[5 : 5 + 2 * sliding].reshape(-1, 2).copy()
        self.left = state.integers[5 + 2 * sliding : 5 + 3 * sliding].copy()
        self.rest(state.integers[5 + 3 * sliding :].astype(bool))
        cuts = np.cumsum([4, 7, size, size, phases.size])
        head, self.window, self.tolerance.memory, theta, held, rows = np.split(state.numbers, cuts)
        self.t, self.length, self.watch, failed = (float(x) for x in head)
        self.failed = failed != 0.0
        self.theta = theta.copy()
        phases[:] = held.reshape(phases.shape)
        self.events = [(float(t), int(n), int(s), int(c)) for t, n, s, c in rows.reshape(-1, 4)[:events]]
        self.take(self.pieces.states(self.theta))
        self.renew()
        self.clear = clear
        self.steps = AcceptedSteps(state.rows, state.count, state.stride)
        self.spent = state.seconds
        self.before = self.objective.counts() - Counts(*state.counts)
        return None if state.finished is None else StopReason[state.finished]

    def flow(self, reason: StopReason) -> Flow:
        """The `Flow` of what has been done."""
        size, rows = self.rates.size, self.steps.rows()
        times = rows[:, at.R_TIME].copy()
        theta, velocity, acceleration = (
            rows[:, at.R_VECTORS + k * size : at.R_VECTORS + (k + 1) * size] for k in range(3)
        )
        stiffness = np.diff(times) * rows[1:, at.R_CURVATURE]
        if self.steps.stride > 1:
            stiffness[:] = np.inf

        def known(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return rows[place, at.R_LOSS], np.array([
                self.objective.norm(-v / self.rates) for v in velocity[place]
            ])  # fmt: skip

        return build_flow(
            self.objective,
            step_times=times,
            step_theta=theta,
            step_velocity=velocity,
            step_acceleration=acceleration,
            stiffness=stiffness,
            at_steps=True,
            known=known,
            stop_reason=reason,
            accepted=self.accepted,
            rejected=self.rejected,
            counts=self.counts(),
            seconds=self.spent,
            compile_seconds=self.compile_seconds,
            settings=self.solver.settings(),
            stepper=self.solver.stepper(self.objective, self.rates),
            events=Events.of(np.array(self.events, dtype=np.float64), self.pieces.layers),
        )

    compile_seconds = 0.0


def _parabola(start: np.ndarray, speed: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Where in [0, 1] parabolas that go from 0 with these speeds to `whole` reach `start`."""
    bend = whole - speed
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(np.maximum(speed**2 + 4.0 * bend * start, 0.0))
        found = 2.0 * start / (speed + root)
    secant = start / whole
    return np.clip(np.where(np.isfinite(found) & (found >= 0.0) & (found <= 1.0), found, secant), 0.0, 1.0)


def _root(start: float, end: float, first: float | None, last: float | None) -> float:
    """Where in (0, 1) a function with these values, start ≤ 0 < end, and slopes at the ends is zero first.

    The cubic of all four where the slopes are known, a secant where they are not.
    """
    secant = -start / (end - start) if end > start else 0.5
    if first is None or last is None or not math.isfinite(first + last):
        return min(max(secant, 0.0), 1.0)
    c3, c2 = first + last - 2.0 * (end - start), 3.0 * (end - start) - 2.0 * first - last
    low, high = 0.0, 1.0  # values of the cubic there: ≤ 0 and > 0
    # Where the cubic has an extremum at which it is positive before the end, the first zero is before that.
    root = c2 * c2 - 3.0 * c3 * first
    if root > 0.0 and c3 != 0.0:
        for place in sorted([(-c2 - math.sqrt(root)) / (3.0 * c3), (-c2 + math.sqrt(root)) / (3.0 * c3)]):
            if 0.0 < place < high:
                if start + place * (first + place * (c2 + place * c3)) > 0.0:
                    high = place
                    break
                low = place
    x = min(max(secant, low), high)
    for _ in range(60):
        value = start + x * (first + x * (c2 + x * c3))
        low, high = (x, high) if value <= 0.0 else (low, x)
        slope = first + x * (2.0 * c2 + 3.0 * x * c3)
        new = x - value / slope if slope > 0.0 else low
        if not low < new < high:
            new = 0.5 * (low + high)
        if abs(new - x) <= 2.0 * EPS:
            break
        x = new
    return x


def follow(
    solver,
    objective: Objective,
    theta: np.ndarray,
    rates: np.ndarray,
    monitor: Monitor,
    checkpoint: Checkpoint | None,
) -> Flow:
    """Follow the flow of a loss with kinks from θ, or from where a checkpoint stands."""
    began = time.monotonic()
    with monitor.compiling():
        following = Following(solver, objective, objective.pieces(), rates, monitor)
        following.compile_seconds = time.monotonic() - began
    state = None if checkpoint is None else checkpoint.state
    reason = following.begin(theta) if state is None else following.resume(state)
    reason = reason or following.follow(checkpoint)
    if checkpoint is not None:
        stopped = reason in (StopReason.INTERRUPTED, StopReason.MAX_SECONDS)
        checkpoint.write(following.state(None if stopped else reason))
    return following.flow(reason)
