"""Ends at infinity with infinitely many inputs: followed outwards at given output weights, and extrapolated.

Neurons whose output weights grow are held at uᵀa = t, u the direction of these weights where the run stopped,
and Newton's method minimises over everything else, in coordinates in which two neurons have a mean and a
difference. That is done for thirteen t over a decade outwards. The losses are to fit
L₀ + h t^{−q} + h₂ t^{−2q} with h > 0, and are extrapolated to t = ∞ (`limits`). One neuron with w → 0 is
linear there, or a corner where σ has a kink; two are σ and z₁σ', or bends. Derived here; q is 1 for a corner,
2 for a pair, ½ or more for others.

A neuron whose bias goes to infinity leaves nothing, or a line: a network with that in its place is a network
of its own, of which Newton's method finds the minimum.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..activations import IDENTITY
from ..losses.problem import Problem
from ..networks import MLP
from ..objective import Affine
from ..refiners import TrustRegionNewton
from ..support.eigen import newton_step, symmetric_eigen, units_of_curvature, zero_tolerance
from ..support.progress import Monitor
from ..support.stopping import StopReason
from .charts import CANCELLED, MERGED, added, replaced
from .limit import LARGE, LARGEST, NEAR, Approach, Limit
from .limit_network import LimitNetwork, Unit
from .limits import limit, scatter

POINTS, FACTORS = 13, (1.0, 8.0)
"""Values of t, over a decade from these times the one at the end of the run."""

STEPS, FINISHING = 150, 6
"""Newton steps at one t."""

POWERS = (2.0, 1.0, 0.5)
"""q that are tried; the one that fits best is taken."""

RESIDUAL = 1e-3
"""Of the fit, in units of the change of L, at most."""

TINY = 0.3
"""|w| of a neuron that may go to zero."""

NEARLY = 1e-10
"""Components of the gradient of a limit, in units of what cancels in them, at most."""

NOTHING = 1e-9
"""Limits below this part of what was to be explained are not told from zero, which may be reached."""

FAR = 3.0
"""|b| in units of |w| beyond which a neuron that turns from line to line may be one of them at infinity."""

DISTANCES = (3.0, 4.0, 5.0, 6.0, 8.0)
"""|b| in units of |w| at which the loss is compared with its limit."""

CRITICAL = 1e-10
"""∞-norm of the gradient in the coordinates at one t, in units of its scale."""


@dataclasses.dataclass(frozen=True)
class _Group:
    """Neurons that go to infinity together, one or two, and where their parameters are in θ.

    signs   of the second one: −1 where it is mirrored
    rows    (neurons, d) places of w and b
    outs    (neurons, outputs) places of the output weights
    """

    neurons: tuple[int, ...]
    sign: float
    rows: np.ndarray
    outs: np.ndarray


def continued(problem: Problem, theta: np.ndarray, monitor: Monitor) -> Limit | None:
    """The limit to which `theta` (P,) leads, for infinitely many inputs and one hidden layer."""
    student = problem.student
    if student is None or len(student.weights) != 2 or problem.inputs is None or theta.size > LARGEST:
        return None
    if problem.inputs.samples is not None or problem.options["weight_decay"]:
        return None
    if problem.options["barrier"] is not None:
        return None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        beyond = _at_infinite_bias(problem, theta, monitor)
        if beyond is not None:
            return beyond
        return _outwards(problem, theta, monitor)


def _outwards(problem: Problem, theta: np.ndarray, monitor: Monitor) -> Limit | None:
    """The limit of neurons whose output weights grow."""
    for group in _groups(problem, theta):
        for factor in FACTORS:
            found = _Outwards(problem, theta, group, monitor).run(factor)
            if found is not None:
                return found
            if monitor.interrupted:
                return None
    return None


def _groups(problem: Problem, theta: np.ndarray) -> list[_Group]:
    """What grows: pairs whose output weights cancel, and single neurons with small weights."""
    student = problem.student
    assert student is not None
    here = student.with_flat(theta)
    inputs, width, outputs = here.sizes
    bias = here.biases[0]
    W = np.array(here.weights[0]) if bias is None else np.column_stack([here.weights[0], bias])
    A, kinds = np.array(here.weights[1]), here.neuron_activations(0)
    last = width * inputs
    first_out = last + (0 if bias is None else width)

    def rows(i: int) -> np.ndarray:
        own = np.arange(i * inputs, (i + 1) * inputs)
        return own if bias is None else np.append(own, last + i)

    def outs(i: int) -> np.ndarray:
        return first_out + np.arange(outputs) * width + i

    sizes = np.linalg.norm(A, axis=0) / problem.objective.spread
    grown = [i for i in np.argsort(-sizes).tolist() if sizes[i] > LARGE / 10]
    found = []
    for n, i in enumerate(grown):
        for j in grown[n + 1 :]:
            if kinds[i] != kinds[j]:
                continue
            sign = -1.0 if kinds[i].symmetry == "odd" and W[i] @ W[j] < 0 else 1.0
            gap, middle = np.linalg.norm(W[i] - sign * W[j]), np.linalg.norm(W[i] + sign * W[j])
            plus, minus = np.linalg.norm(A[:, i] + sign * A[:, j]), np.linalg.norm(A[:, i] - sign * A[:, j])
            if (gap < MERGED * middle or middle < TINY) and plus < CANCELLED * minus:
                places = np.array([rows(i), rows(j)]), np.array([outs(i), outs(j)])
                found.append((float(plus / minus), _Group((i, j), sign, *places)))
    found.sort(key=lambda entry: entry[0])
    singles = [
        _Group((i,), 1.0, np.array([rows(i)]), np.array([outs(i)]))
        for i in grown
        if np.linalg.norm(W[i]) < TINY and sizes[i] > LARGE
    ]
    return [group for _, group in found[:2]] + singles[:2]


class _Outwards:
    """The coordinates φ in which one group is held at t: θ = M φ + t o."""

    def __init__(self, problem: Problem, theta: np.ndarray, group: _Group, monitor: Monitor):
        self.problem, self.theta, self.group, self.monitor = problem, theta, group, monitor
        size, n, d = theta.size, *group.rows.shape
        signs = np.array([1.0, group.sign])[:n]
        out = (theta[group.outs] * signs[:, None]).ravel()
        places = group.outs.ravel()
        turned = np.repeat(signs, group.outs.shape[1])
        self.t0 = float(np.linalg.norm(out))
        u = out / self.t0
        taken = np.concatenate([group.rows.ravel(), places])
        rest = np.setdiff1d(np.arange(size), taken)
        # Orthonormal complement of u: what else the output weights may be.
        across = np.linalg.svd(u[None, :])[2][1:]
        columns = [np.eye(size)[:, rest]]
        block = np.zeros((size, n * d))
        for k in range(d):
            if n == 1:
                block[group.rows[0, k], k] = 1.0
            else:
                for m, side in ((0, 1.0), (1, -1.0)):
                    block[group.rows[m, k], k] = signs[m]
                    block[group.rows[m, k], d + k] = signs[m] * side
        more = np.zeros((size, len(across)))
        more[places] = (across * turned).T
        self.matrix = np.hstack([*columns, block, more])
        self.offset = np.zeros(size)
        self.offset[places] = u * turned
        self.rest, self.d, self.n = rest, d, n
        self.phi = np.linalg.lstsq(self.matrix, theta - self.t0 * self.offset, rcond=None)[0]

    def run(self, factor: float) -> Limit | None:
        """The losses over a decade from `factor` times the present t, and their limit."""
        objective = self.problem.objective
        ts = self.t0 * factor * np.logspace(0.0, 1.0, POINTS)
        phi, losses, points, worst, left = self.phi, [], [], 0.0, []
        wide = slice(self.rest.size, self.rest.size + self.n * self.d)
        before = self.t0
        for t in ts:
            guess = phi.copy()
            # Differences, and single neurons, come closer as 1/t.
            inner_rows = slice(wide.start + (self.d if self.n == 2 else 0), wide.stop)
            guess[inner_rows] *= before / t
            found = self.minimised(t, guess)
            if found is None:
                return None
            phi, loss, gain, norm = found
            before = t
            losses.append(loss)
            left.append(gain)
            points.append(phi)
            worst = max(worst, norm)
        y = np.array(losses)
        noise = max(max(left), objective.loss_error(self.theta), float(np.spacing(y[0])))
        best = None
        for q in POWERS:
            x = (ts / ts[0]) ** -q
            coefficients = np.polynomial.polynomial.polyfit(x, y, 2)
            change = coefficients[1]
            residual = float(np.abs(np.polynomial.polynomial.polyval(x, coefficients) - y).max())
            if change > 32 * noise and residual <= max(RESIDUAL * change, 4 * noise):
                if best is None or residual < best[0]:
                    best = (residual, q, x, float(change))
        if best is None or not (np.diff(y) < 0).all():
            return None
        residual, q, x, change = best
        extrapolated = limit(x, y, max(noise, 3 * scatter(x, y)))
        if not (extrapolated.value < y[-1] and extrapolated.error < 0.5 * (y[0] - y[-1])):
            return None
        network = self.network(points, ts, q)
        label = (
            f"neuron {self.group.neurons[0]}"
            if self.n == 1
            else "neurons {} and {}".format(*self.group.neurons)
        )
        if network is not None:
            label = ", ".join(str(unit) for unit in network.moved if unit.kind != "linear" or self.n == 1)
        distance = np.nan
        if network is not None:
            assert self.problem.student is not None and self.problem.inputs is not None
            X = self.problem.inputs.sample(2000, self.problem.student.sizes[0], np.random.default_rng(0))
            apart = network(X) - np.asarray(self.problem.student.with_flat(self.theta)(X))
            distance = float(np.sqrt(np.mean(np.sum(apart**2, axis=1))))
        if network is None:
            return None
        return Limit(
            network, float(extrapolated.value), float(extrapolated.error), worst, distance,
            (Approach(label, q, change),),
        )  # fmt: skip

    def minimised(self, t: float, phi: np.ndarray):
        """The minimum at one t: φ, L, what one more step would gain, and the gradient."""
        objective = self.problem.objective
        base = Affine(objective, self.matrix, t * self.offset)
        for _ in range(2):
            _, _, hessian = base.all_derivatives(phi)
            if not np.isfinite(hessian).all():
                return None
            units = units_of_curvature(hessian)
            inner = Affine(objective, self.matrix * units, self.matrix @ phi + t * self.offset)
            end = TrustRegionNewton(max_iterations=STEPS).refine(inner, np.zeros(phi.size), self.monitor)
            if end.stop_reason in (StopReason.INTERRUPTED, StopReason.NON_FINITE):
                return None
            phi = phi + units * end.theta
        inner = Affine(objective, self.matrix * units, self.matrix @ phi + t * self.offset)
        best, least, step = np.zeros(phi.size), np.inf, np.zeros(phi.size)
        for _ in range(FINISHING):
            loss, gradient, hessian = inner.all_derivatives(step)
            values, vectors = symmetric_eigen(hessian)
            more = newton_step(values, vectors, gradient, zero_tolerance(values))
            gain = 0.5 * abs(float(gradient @ more))
            if not gain < 0.5 * least:
                break
            best, least, step = step, gain, step + more
        loss, gradient, hessian = inner.all_derivatives(best)
        norm = float(np.abs(gradient).max())
        lowest = float(symmetric_eigen(hessian)[0][0])
        if not (norm <= 1e-8 * np.sqrt(abs(loss)) + CRITICAL * objective.spread and lowest > -1e-7):
            return None
        return phi + units * best, loss, least, norm

    def network(self, points: list[np.ndarray], ts: np.ndarray, q: float) -> LimitNetwork | None:
        """The network at infinity from what the coordinates tend to."""
        student = self.problem.student
        assert student is not None
        sigma = student.neuron_activations(0)[self.group.neurons[0]]
        last, t = points[-1], ts[-1]
        theta = self.matrix @ last + t * self.offset
        begin = LimitNetwork.of(student.with_flat(theta))
        i = self.group.neurons[0]
        W, after = begin.weights[0], begin.weights[1]
        small = np.linalg.norm(W, axis=1) < TINY
        if small[list(self.group.neurons)].all():
            if sigma.record.jump != 0.0:
                return _corner(begin, i) if self.n == 1 else None
            others = np.abs(after[:, : len(W)]).max(axis=0) > LARGE * self.problem.objective.spread
            bent = tuple(np.flatnonzero(small & others).tolist())
            if len(bent) > 1 and q < 1.0:
                return _bends(begin, bent)
            if self.n == 1:
                return _line(begin, i)
        if self.n == 1:
            return None
        j, sign = self.group.neurons[1], self.group.sign
        w, v, a, b = W[i], sign * W[j], after[:, i], sign * after[:, j]
        size = float(np.linalg.norm(a - b))
        unit = Unit("pair", (i, j), sigma)
        rows = [(w + v) / 2, (w - v) / 2 * size]
        return replaced(begin, 0, (i, j), unit, rows, [a + b, (a - b) / size], 0.0 * a)


def _corner(network: LimitNetwork, i: int) -> LimitNetwork | None:
    """With the slopes of σ at 0± in place of a neuron of small weights."""
    sigma, z, out = network.layers[0][i].activation, network.weights[0][i], network.weights[1][:, i]
    value, scale = float(sigma(np.zeros(1))[0]), float(np.linalg.norm(z))
    if value != 0.0 and not network.constants[1]:
        return None
    return replaced(network, 0, (i,), Unit("corner", (i,), sigma), [z / scale], [out * scale], out * value)


def _line(network: LimitNetwork, i: int) -> LimitNetwork | None:
    """With a linear unit in place of a neuron of small weights."""
    sigma, row, out = (
        network.layers[0][i].activation,
        np.array(network.weights[0][i]),
        network.weights[1][:, i],
    )
    base = float(row[-1]) if network.constants[0] else 0.0
    value, slope = (float(s[0]) for s in sigma.derivatives(np.array([base]), 1))
    if slope == 0.0 or (value != 0.0 and not network.constants[1]):
        return None
    if network.constants[0]:
        row[-1] -= base
    scale = float(np.linalg.norm(row))
    unit = Unit("linear", (i,), sigma, base=base)
    return replaced(network, 0, (i,), unit, [row / scale], [out * slope * scale], out * value)


def _bends(network: LimitNetwork, bent: tuple[int, ...]) -> LimitNetwork | None:
    """With second orders, and what is left of their linear parts, in place of neurons of small weights."""
    sigma = network.layers[0][bent[0]].activation
    value, slope = (float(s[0]) for s in sigma.derivatives(np.zeros(1), 1))
    W, after = network.weights[0], network.weights[1]
    rows, outs = W[list(bent)], after[:, list(bent)]
    level = value * outs.sum(axis=1)
    if value != 0.0 and not network.constants[1]:
        return None
    lines = slope * outs @ rows
    for n, i in enumerate(bent):
        place = next(k for k, unit in enumerate(network.layers[0]) if unit.neurons == (i,))
        scale = float(np.linalg.norm(rows[n]))
        unit = Unit("bend", (i,), sigma)
        network = replaced(
            network,
            0,
            (place,),
            unit,
            [rows[n] / scale],
            [outs[:, n] * scale**2],
            level if n == 0 else 0.0 * level,
        )
    for output, row in enumerate(lines):
        unit = Unit("linear", bent, sigma)
        network = added(network, 0, unit, row, np.eye(len(lines))[output])
    return network


def _at_infinite_bias(problem: Problem, theta: np.ndarray, monitor: Monitor) -> Limit | None:
    """Neurons whose bias goes to ±∞, until they are linear or zero at almost all inputs.

    The network with identities in place of those is minimised; L is to come down to its loss L₀ from above as
    the biases of the neurons go to infinity, at |b| of 3 to 8 |w|.
    """
    student, teacher = problem.student, problem.teacher
    assert student is not None and problem.inputs is not None
    here = student.with_flat(theta)
    bias = here.biases[0]
    if bias is None or here.biases[1] is None or not isinstance(teacher, MLP) or not problem.inputs.standard:
        return None
    W, A, kinds = np.array(here.weights[0]), np.array(here.weights[1]), list(here.neuron_activations(0))
    norms = np.linalg.norm(W, axis=1)
    far, slopes = [], {}
    for i, sigma in enumerate(kinds):
        side = 1.0 if bias[i] > 0 else -1.0
        slope = float(np.round(sigma.derivatives(np.array([side * 1e3]), 1)[1][0], 12))
        if not ((sigma.record.jump != 0.0 or sigma.record.turns) and abs(bias[i]) > FAR * norms[i]):
            continue
        far.append(i)
        slopes[i] = slope
    if not far:
        return None
    b, shift = np.array(bias), np.array(here.biases[1])
    for i in far:
        kinds[i] = IDENTITY
        A[:, i] *= slopes[i]
        shift = shift + A[:, i] * b[i]
        b[i] = 0.0
    inner = Problem(teacher, MLP([W, A], [b, shift], [tuple(kinds)]), problem.inputs)
    end = TrustRegionNewton(max_iterations=2 * STEPS).refine(inner.objective, inner.theta0.copy(), monitor)
    if end.stop_reason is StopReason.INTERRUPTED:
        return None
    further: Limit | None = None
    zero = inner.objective.is_zero(end.theta, end.loss)
    if not (zero or inner.objective.is_critical(end.theta, relative=NEARLY)):
        further = _outwards(inner, end.theta, monitor)
        if further is None:
            return None
    limit_student = inner.student.with_flat(end.theta)  # type: ignore[union-attr]
    reached = problem.loss(theta)
    if not end.loss <= reached + problem.objective.loss_error(theta):
        return None
    if not zero and end.loss <= NOTHING * problem.objective.spread**2:  # finite neurons may do as well
        return None
    W, A = np.array(limit_student.weights[0]), np.array(limit_student.weights[1])
    rises = []
    for distance in DISTANCES:
        b, shift = np.array(limit_student.biases[0]), np.array(limit_student.biases[1])
        moved = A.copy()
        for i in far:
            side = 1.0 if bias[i] > 0 else -1.0
            new = side * distance * np.linalg.norm(W[i])
            moved[:, i] = A[:, i] / slopes[i] if slopes[i] != 0.0 else here.weights[1][:, i]
            shift = shift - A[:, i] * (new - b[i])
            b[i] = new
        point = MLP([W, moved], [b, shift], list(student.activations)).flat()
        rises.append(problem.loss(point) - end.loss)
    noise = problem.objective.loss_error(theta) + 4 * float(np.spacing(end.loss))
    if not (np.array(rises) > -noise).all() or not rises[0] > noise or not (np.diff(rises) <= noise).all():
        return None
    network = LimitNetwork.of(limit_student) if further is None else further.network
    units = tuple(
        dataclasses.replace(unit, kind="linear", activation=student.neuron_activations(0)[unit.neurons[0]])
        if unit.neurons[0] in far
        else unit
        for unit in network.layers[0]
    )
    network = dataclasses.replace(network, layers=(units,))
    X = problem.inputs.sample(2000, student.sizes[0], np.random.default_rng(0))
    apart = network(X) - np.asarray(here(X))
    distance = float(np.sqrt(np.mean(np.sum(apart**2, axis=1))))
    if not distance <= NEAR * problem.objective.spread:
        return None
    approaches = tuple(Approach(str(unit), None, 0.0) for unit in units if unit.kind == "linear")
    if further is not None:
        return dataclasses.replace(
            further, network=network, distance=distance, approaches=(*further.approaches, *approaches)
        )
    error = noise + inner.objective.loss_error(end.theta)
    return Limit(network, 0.0 if zero else end.loss, error, end.grad_norm, distance, approaches)
