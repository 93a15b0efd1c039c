"""Ends at infinity of networks on samples: the limit found, refined, and tested before it is believed.

From the end of a run, neurons that look like the beginning of a unit at infinity (`charts`) are replaced by
it, one after the other, and all parameters of the network at infinity are fitted again, until what is left is
a regular critical point. That is the run's end if its loss L₀ is lower than where the run stopped, if the
network at infinity is near the one that the run has reached, and if every unit attracts: with neurons in its
place at a distance ε, L − L₀ = h εᵖ with h > 0 as ε → 0. Derived here.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..losses.problem import Problem
from ..objective import Affine
from ..refiners import LevenbergMarquardt, TrustRegionNewton
from ..refiners.gram import descend
from ..support.eigen import newton_step, symmetric_eigen, zero_tolerance
from ..support.progress import Monitor
from ..support.stopping import StopReason
from .charts import OPEN, STEEP, epsilon_of, finite, in_order, moved_row, realised, scale_of, suggestions
from .limit_network import LimitLoss, LimitNetwork
from .outward import falls_outward

ROUNDS, TRIED, FITS = 5, 3, 14
"""So many units at infinity at most; of so many suggestions one is to be the next; fits in all."""

STEPS, NEWTON = 80, 10
"""Gauss–Newton steps of a fit, and Newton's after them."""

RESCALED, RESOLVED = 2, 1e-9
"""Newton's method is given the units of its last point so many times; eigenvalues below the second times the
largest, in those units, are not resolved by differences."""

AT_REST, CERTAIN, ZERO = 1e-7, 1e-10, 1e-28
"""At a minimum the gradient is below the first times √L in those units, and L is known to the second times
itself; or it is below the third times what was to be explained."""

AGREES = 1.5
"""A run is in the valley of its limit if its loss is above it by what the exponents say, within this."""

THERE = 1e-11
"""A run is at its limit if its loss is above it by less than this part of itself."""

FINISHING = 3
"""Newton's last steps."""

GROWN = 1e4
"""Parameters of a limit are smaller than this, or they are on their way to infinity themselves."""

NEAR = 0.03
"""Root mean square distance of the outputs of the end and of the limit, in units of the targets' spread."""

ON_KINK, ASIDE, AT_KINKS = 1e-8, 1e-6, 3
"""A sample is at the kink of a unit where |z| is below the first times the largest; L is looked at with |z|
the second times as large, and twice that; so many times samples are added."""

WITHIN = np.linspace(-6.0, 6.0, 49)
"""z at which such a sample may be where the hinge is rounded off."""

HALVINGS = 8
"""Distances ε at which a unit is tested: so many, each half of the one before."""

BASES = (-4.0, -2.0, -1.0, -0.3, 0.3, 1.0, 2.0, 4.0)
"""Biases at which a neuron that becomes linear is tested."""

LARGE = 30.0
"""Weights beyond this may be on their way to infinity."""

LARGEST = 300
"""Networks of more parameters are not looked at."""


@dataclasses.dataclass(frozen=True)
class Approach:
    """How the loss comes down to the limit with the neurons of one unit.

    unit       in words
    exponent   p of L − L₀ = h εᵖ, None where the fall is faster than any power that rounding shows
    slope      h, with ε in units in which the neurons are 0.1 to 0.3 from the limit at ε = 1
    """

    unit: str
    exponent: float | None
    slope: float

    def __str__(self) -> str:
        power = (
            "faster than any power of ε"
            if self.exponent is None
            else f"as {self.slope:.3g} ε^{self.exponent:.2f}"
        )
        return f"{self.unit}, L − L₀ falling {power}"


@dataclasses.dataclass(frozen=True, eq=False)
class Limit:
    """The network at infinity that a run on samples leads to.

    Attributes
    ----------
    network : LimitNetwork
        The limit, a function of X.
    loss, loss_error : float
        L₀ and an estimate of its error.
    grad_norm : float
        ∞-norm of the gradient of the limit's loss in its own parameters.
    distance : float
        Root mean square difference of the outputs of the end point and of the limit.
    approaches : tuple of Approach
        One for each unit that is no neuron; all of them attract.

    Examples
    --------
    >>> network = gf.infinity.LimitNetwork.of(gf.MLP([[[1.0, 0.0]], [[2.0]]], activation="relu"))
    >>> limit = Limit(network, loss=0.0, loss_error=0.0, grad_norm=0.0, distance=0.0, approaches=())
    >>> limit(np.array([[3.0, 1.0]]))
    array([[6.]])
    """

    network: LimitNetwork
    loss: float
    loss_error: float
    grad_norm: float
    distance: float
    approaches: tuple[Approach, ...]

    def __call__(self, X) -> np.ndarray:
        return self.network(X)

    def __str__(self) -> str:
        words = "; ".join(approach.unit for approach in self.approaches)
        return f"{words}: limit of the loss {self.loss:.15g} (± {self.loss_error:.0e})"


def approached(problem: Problem, theta: np.ndarray, monitor: Monitor) -> Limit | np.ndarray | None:
    """The network at infinity to which `theta` (P,) leads, where one passes all tests.

    Where neurons can be that network without going to infinity, their θ (P,).
    """
    student = problem.student
    samples = None if problem.inputs is None else problem.inputs.samples
    if student is None or samples is None or theta.size > LARGEST or problem.options["loss"] != "squared":
        return None
    if problem.options["weight_decay"] or problem.options["barrier"] is not None:
        return None
    if any(sigma.record.jump != 0.0 for k in range(len(student.weights) - 1)
           for sigma in student.neuron_activations(k)):  # fmt: skip
        return None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return _Search(problem, theta, monitor).run()


def grown(problem: Problem, theta: np.ndarray) -> bool:
    """Whether parameters are so large that θ may be near a limit at infinity, or there to rounding.

    That is so where one is beyond 30, those of the output layer in units of the targets' spread; or where a
    neuron is on both of its sides and far from the middle at most samples.
    """
    student = problem.student
    samples = None if problem.inputs is None else problem.inputs.samples
    if student is None or samples is None:
        return False
    units = np.where(problem.objective.output_parameters, problem.objective.spread, 1.0)
    if (np.abs(theta) > LARGE * units).any():
        return True
    network = LimitNetwork.of(student.with_flat(theta))
    for zs in network.forward(samples.X)[0][:-1]:
        far = (np.abs(zs) > STEEP).any(axis=0) & (zs > 0).any(axis=0) & (zs < 0).any(axis=0)
        if (far & (np.median(np.abs(zs), axis=0) > OPEN)).any():
            return True
    return False


@dataclasses.dataclass
class _Fitted:
    network: LimitNetwork
    loss: float
    critical: bool
    error: float
    grad_norm: float
    lowest: float
    rest: float = np.inf
    pinned: dict[int, np.ndarray] | None = None


class _Search:
    """The samples, the end of the run, and the fits from there."""

    def __init__(self, problem: Problem, theta: np.ndarray, monitor: Monitor):
        assert problem.student is not None and problem.inputs is not None and problem.targets is not None
        self.problem, self.theta, self.monitor = problem, theta, monitor
        samples = problem.inputs.samples
        assert samples is not None
        weight = samples.sample_weight
        self.X, self.Y = samples.X, problem.targets
        count = len(self.X)
        self.share = np.full(count, 1.0 / count) if weight is None else weight / weight.sum()
        self.spread = problem.objective.spread
        self.loss = problem.loss(theta)
        self.begin = LimitNetwork.of(problem.student.with_flat(theta))
        self.outputs = self.begin.forward(self.X)[0][-1]

    def run(self) -> Limit | np.ndarray | None:
        network, reached, fits = self.begin, self.loss, 0
        for _ in range(ROUNDS):
            options = suggestions(network, self.X, self.spread)[:TRIED]
            best: _Fitted | None = None
            for option in options:
                fits += 1
                if self.monitor.interrupted or fits > FITS:
                    return None
                fitted = self.fit(option.network)
                if fitted is None or not self.near(fitted.network):
                    continue
                if not fitted.critical:
                    fitted = self.at_kinks(fitted)
                if fitted.critical:
                    here = finite(fitted.network, self.X)
                    if here is not None and fitted.loss <= self.loss:
                        return in_order(here)
                    if fitted.loss <= ZERO * self.spread**2:
                        exact = self.zero_beside(fitted.network)
                        if exact is not None:
                            return exact
                    found = self.tested(fitted)
                    if found is not None:
                        return found
                elif fitted.loss <= reached * (1 + 1e-6) and (best is None or fitted.loss < best.loss):
                    best = fitted
            if best is None:
                return None
            network, reached = best.network, max(best.loss, 0.0)
        return None

    def zero_beside(self, network: LimitNetwork) -> np.ndarray | None:
        """A finite θ of loss zero near a limit of loss zero: Levenberg–Marquardt from neurons beside it."""
        while network.moved:
            k = next(k for k, units in enumerate(network.layers) if any(u.kind != "neuron" for u in units))
            i = next(i for i, unit in enumerate(network.layers[k]) if unit.kind != "neuron")
            if network.layers[k][i].kind == "step":
                return None
            network = realised(network, k, i, 0.3 * scale_of(network, self.X, k, i))
        theta = in_order(network)
        if theta.size != self.problem.theta0.size:
            return None
        objective = self.problem.objective
        end = LevenbergMarquardt(max_iterations=4 * STEPS).refine(objective, theta, self.monitor)
        return end.theta if objective.is_zero(end.theta, end.loss) else None

    def at_kinks(self, fitted: _Fitted) -> _Fitted:
        """The minimum at which samples stay where a unit has a kink, if L rises to both sides of it.

        A hinge has one, and z₁σ'(z₀) at z₀ = 0 where σ'' jumps there (elu).
        """
        network, pinned, found = fitted.network, {}, fitted
        for _ in range(AT_KINKS):
            before = sum(samples.size for samples in pinned.values())
            pinned = self.on_kinks(found.network, pinned)
            if sum(samples.size for samples in pinned.values()) == before:
                return fitted
            fit = self.fit(network, pinned)
            if fit is None:
                return fitted
            found = fit
            if found.critical:
                break
        if not found.critical:
            return fitted
        for row, samples in pinned.items():
            size = float(np.abs(found.network.forward(self.X)[0][0][:, row]).max())
            for direction in self.across(network, samples):
                for sign in (1.0, -1.0):
                    rises = [
                        self.loss_of(moved_row(found.network, row, sign * part * size * direction))
                        - found.loss
                        for part in (ASIDE, 2 * ASIDE)
                    ]
                    if not (rises[0] > 1e-12 * found.loss and 1.8 < rises[1] / rises[0] < 2.2):
                        return fitted
        found.pinned = pinned
        return found

    def on_kinks(self, network: LimitNetwork, pinned: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Samples at the kinks of units of the first layer, by the number of z; those that were stay."""
        found = {}
        for unit, row in zip(network.layers[0], network.starts(0)):
            if unit.kind == "hinge" or (unit.kind == "pair" and unit.activation.record.turns):
                z = np.abs(network.forward(self.X)[0][0][:, row])
                near = np.union1d(np.flatnonzero(z <= ON_KINK * z.max()), pinned.get(row, [])).astype(int)
                if 0 < near.size < network.weights[0].shape[1]:
                    found[row] = near
        return found

    def across(self, network: LimitNetwork, samples: np.ndarray) -> np.ndarray:
        """Changes of a row of the first weights that move z of one of these samples by one, (m, columns)."""
        below = self.X[samples]
        if network.constants[0]:
            below = np.column_stack([below, np.ones(len(below))])
        return np.linalg.pinv(below).T

    def loss_of(self, network: LimitNetwork) -> float:
        return network.loss_and_gradient(self.X, self.Y, self.share)[0]

    def objective(self, network: LimitNetwork, pinned: dict | None = None) -> LimitLoss:
        return LimitLoss(network, self.X, self.Y, self.share, self.spread, pinned)

    def fit(self, network: LimitNetwork, pinned: dict | None = None) -> _Fitted | None:
        """The least-squares fit of all parameters of a network at infinity, to the floor."""
        objective = self.objective(network, pinned)
        start = objective.start
        if not np.isfinite(objective.loss(start)):
            return None
        end = descend(
            objective.least_squares, objective.residual_vector, start, iterations=STEPS, window=40,
            gain=1.0 - 1e-9, damping=1e-4, interrupted=lambda: self.monitor.interrupted,
        )  # fmt: skip
        phi, loss = end.theta, end.loss
        if not np.isfinite(loss):
            return None
        if loss > self.loss * (1 + 1e-5):  # nowhere near
            return _Fitted(objective.at(phi), loss, False, np.inf, np.inf, 0.0)
        for _ in range(RESCALED):
            units = self.units(objective, phi)
            inner = Affine(objective, np.diag(units), phi)
            newton = TrustRegionNewton(max_iterations=NEWTON).refine(
                inner, np.zeros(phi.size), Monitor(False)
            )
            if newton.stop_reason is StopReason.NON_FINITE or newton.loss > loss * (1 + 1e-12):
                break
            phi = phi + units * newton.theta
            found = self.examined(objective, phi)
            if found.critical or found.loss > (1 - 1e-9) * loss:
                return found
            loss = found.loss
        return self.examined(objective, self.finished(objective, phi))

    def finished(self, objective: LimitLoss, phi: np.ndarray) -> np.ndarray:
        """Newton's last steps, as long as they lower the gradient."""
        for _ in range(FINISHING):
            units = self.units(objective, phi)
            inner = Affine(objective, np.diag(units), phi)
            _, gradient, hessian = inner.all_derivatives(np.zeros(phi.size))
            if not np.isfinite(hessian).all():
                return phi
            values, vectors = symmetric_eigen(hessian)
            tolerance = max(zero_tolerance(values), RESOLVED * float(np.abs(values).max()))
            step = newton_step(values, vectors, gradient, tolerance)
            after = np.abs(inner.gradient(step)).max()
            if not after < 0.5 * np.abs(gradient).max():
                return phi
            phi = phi + units * step
        return phi

    def units(self, objective: LimitLoss, phi: np.ndarray) -> np.ndarray:
        """The parameters' units, in which a change of one moves the outputs by about one."""
        sizes = np.linalg.norm(objective.least_squares(phi)[1], axis=0)
        return 1.0 / np.maximum(sizes, 1e-10 * max(float(sizes.max(initial=0.0)), 1e-300))

    def examined(self, objective: LimitLoss, phi: np.ndarray) -> _Fitted:
        """Whether the fit has ended at a minimum, and how far from it the loss may be."""
        units = self.units(objective, phi)
        loss, gradient, hessian = Affine(objective, np.diag(units), phi).all_derivatives(np.zeros(phi.size))
        network = objective.at(phi)
        norm = float(np.abs(gradient / units).max())
        if not np.isfinite(hessian).all():
            return _Fitted(network, loss, False, np.inf, np.inf, -np.inf)
        values, vectors = symmetric_eigen(hessian)
        largest = float(np.abs(values).max())
        tolerance = max(zero_tolerance(values), RESOLVED * largest)
        step = newton_step(values, vectors, gradient, tolerance)
        # Along directions that are not resolved a unit's way, which changes the outputs by about one.
        weak = vectors[:, np.abs(values) <= tolerance]
        error = 0.5 * abs(float(gradient @ step)) + float(np.linalg.norm(weak.T @ gradient))
        size = max(np.sqrt(loss), 1e-15 * self.spread)
        at_zero = loss <= ZERO * self.spread**2
        at_rest = np.abs(gradient).max() <= AT_REST * size and error <= CERTAIN * loss
        scales = np.ones(objective.base.size)
        scales[: sum(W.size for W in network.weights)][-network.weights[-1].size :] = self.spread
        full = np.abs(objective.full(phi))
        finite_yet = bool((full < GROWN * scales)[objective.free].all())
        critical = bool((at_zero or at_rest) and finite_yet)
        return _Fitted(
            network,
            loss,
            critical,
            error,
            norm,
            float(values[0] / largest),
            float(np.abs(gradient).max() / size),
        )

    def near(self, network: LimitNetwork) -> bool:
        return self.distance(network) <= NEAR * self.spread

    def distance(self, network: LimitNetwork) -> float:
        difference = network.forward(self.X)[0][-1] - self.outputs
        return float(np.sqrt(self.share @ np.sum(difference**2, axis=1)))

    def tested(self, fitted: _Fitted) -> Limit | None:
        """The limit, if it is lower than the end of the run and every unit of it attracts."""
        rounding = 8 * np.finfo(float).eps * self.loss
        if fitted.loss > self.loss + rounding or fitted.lowest < -1e-7:
            return None
        approaches = []
        for k, units in enumerate(fitted.network.layers):
            for i, unit in enumerate(units):
                if unit.kind != "neuron":
                    found = self.approach(fitted, k, i)
                    if found is None:
                        return None
                    approaches.append(found)
        if not approaches or not self.outward(fitted):
            return None
        error = fitted.error + 16 * np.finfo(float).eps * fitted.loss
        return Limit(
            fitted.network,
            fitted.loss,
            error,
            fitted.grad_norm,
            self.distance(fitted.network),
            tuple(approaches),
        )

    def outward(self, fitted: _Fitted) -> bool:
        """Whether the loss falls from the end of the run on its way to the limit, or is there to rounding."""
        if self.loss - fitted.loss <= THERE * self.loss or fitted.loss <= ZERO * self.spread**2:
            return True
        if 1.0 / AGREES <= self.agreement(fitted) <= AGREES:
            return True
        moved = [
            (k, unit)
            for k, units in enumerate(fitted.network.layers)
            for unit in units
            if unit.kind != "neuron"
        ]
        return falls_outward(self.problem, self.theta, moved, fitted.loss, self.monitor)

    def agreement(self, fitted: _Fitted) -> float:
        """What the loss at the end of the run is above the limit, in units of what the exponents predict.

        About one where the run's end lies on the floor of the valley that leads to the limit.
        """
        network = fitted.network
        limit, predicted = network.forward(self.X)[0][-1], 0.0
        for k, units in enumerate(network.layers):
            W = self.begin.weights[k + 1]
            for i, unit in enumerate(units):
                if unit.kind == "step":
                    return np.inf
                if unit.kind != "neuron":
                    epsilon = epsilon_of(network, k, i, W[:, list(unit.neurons)])
                    if not epsilon <= scale_of(network, self.X, k, i):
                        return np.inf
                    change = realised(network, k, i, epsilon).forward(self.X)[0][-1] - limit
                    predicted += float(self.share @ np.sum(2 * (limit - self.Y) * change, axis=1))
        return (self.loss - fitted.loss) / predicted if predicted > 0.0 else np.inf

    def approach(self, fitted: _Fitted, k: int, i: int) -> Approach | None:
        """How L comes down to L₀ with neurons in the place of one unit; None where it does not."""
        network, unit = fitted.network, fitted.network.layers[k][i]
        largest, label = scale_of(network, self.X, k, i), str(unit)
        if unit.kind == "step":
            return Approach(label, None, 0.0)
        row = network.starts(k)[i]
        if k == 0 and unit.kind == "hinge" and fitted.pinned and row in fitted.pinned:
            return self.at_hinge(fitted, i, fitted.pinned[row], largest, label)
        if unit.kind == "linear" and network.constants[k]:
            # Its bias is free to move, and does: no base may have the loss below the limit.
            for base in BASES:
                slope = float(unit.activation.derivatives(np.array([base]), 1)[1][0])
                if abs(slope) > 1e-3 and self.along(fitted, k, i, largest, base, label) is None:
                    return None
        return self.along(fitted, k, i, largest, None, label)

    def at_hinge(
        self, fitted: _Fitted, i: int, samples: np.ndarray, largest: float, label: str
    ) -> Approach | None:
        """How L comes down to L₀ where a sample is on the hinge.

        Finite neurons round the kink off over a width of ε. Where in it the sample is, is theirs to choose:
        at no place of it may L be below the limit.
        """
        network, row, above = fitted.network, fitted.network.starts(0)[i], []
        directions = self.across(network, samples)
        if len(directions) > 1:
            return None
        epsilons = largest * 0.5 ** np.arange(HALVINGS)
        for epsilon in epsilons:
            losses = [
                self.loss_of(realised(moved_row(network, row, u * epsilon * directions[0]), 0, i, epsilon))
                for u in WITHIN
            ]
            above.append(min(losses) - fitted.loss)
        if not min(above) > 1e-12 * fitted.loss:
            return None
        exponent = float(np.polyfit(np.log(epsilons[-4:]), np.log(above[-4:]), 1)[0])
        return Approach(label, exponent, float(above[-1] / 0.5 ** ((HALVINGS - 1) * exponent)))

    def along(self, fitted: _Fitted, k: int, i: int, largest: float, base, label: str) -> Approach | None:
        network = fitted.network
        limit = network.forward(self.X)[0][-1]
        residual = limit - self.Y
        epsilons, changes = [], []
        for n in range(HALVINGS):
            epsilon = largest * 0.5**n
            change = realised(network, k, i, epsilon, base).forward(self.X)[0][-1] - limit
            if not np.isfinite(change).all():
                continue
            first = float(self.share @ np.sum(2 * residual * change, axis=1))
            second = float(self.share @ np.sum(change**2, axis=1))
            epsilons.append(0.5**n)
            changes.append((first, second))
        if len(changes) < 4:
            return None
        # Of first order in the change; all else is second order, and less once the rest has followed.
        totals = np.array([first for first, _ in changes])
        rounding = 4e-16 * np.array([1.0 / max(epsilon, 1e-300) for epsilon in epsilons])
        noise = 1e-13 * max(fitted.loss, 1e-6 * self.spread**2) + 0.0 * rounding
        clear = np.abs(totals) > 10 * noise
        if clear.sum() < 3:
            return Approach(label, None, 0.0) if (totals > -10 * noise).all() else None
        late = np.flatnonzero(clear)[-4:]
        if (totals[late] <= 0).any():
            return None
        exponent = float(np.polyfit(np.log(np.array(epsilons)[late]), np.log(totals[late]), 1)[0])
        return Approach(label, exponent, float(totals[late[-1]] / epsilons[late[-1]] ** exponent))
