"""The truth about a population problem: quadrature in the span of its weights, and natural sizes.

A problem is a list of components (Gaussians with a share and a factor); in each one the units are brought to
standard normal inputs in long double, w̃ = C^½ w and b̃ = b + w·μ. Where the weights span one dimension or
two, L and its derivatives are quadratures; `Truth.error` bounds quadrature and rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.special

import gradflow as gf

from ._fuzz_activations import POLYNOMIAL_NAMES, REFERENCES, evaluate
from ._fuzz_quadrature import EPS, KRONROD, NODES, Units, density, line_edges, line_rule, plane_mean

LD = np.longdouble


def names_of(network) -> list:
    """The names of the hidden units, and None for the constant one of output biases."""
    layer = network.activations[0]
    hidden = layer if isinstance(layer, tuple) else (layer,) * network.sizes[1]
    found = [POLYNOMIAL_NAMES.get(a.name, a.name) for a in hidden]
    return found + [None] * (network.biases[1] is not None)


@dataclass(frozen=True)
class Component:
    """x ~ N(mean, factor²) with a share of the loss; long doubles."""

    share: float
    mean: np.ndarray
    factor: np.ndarray


def components(law, dim: int, degree: int | None) -> list[Component]:
    """The Gaussians of a law; a spherical one is the standard normal with the ratio of moments as its share.

    E|t|^2p of a projection of the law over that of the normal: with Γ functions, from the densities.
    """
    if isinstance(law, gf.Mixture):
        return [
            Component(float(p) * c.share, c.mean, c.factor)
            for p, part in zip(law.weights, law.components)
            for c in components(part, dim, degree)
        ]
    share, mean, factor = 1.0, np.zeros(dim, LD), np.eye(dim, dtype=LD)
    if isinstance(law, gf.Gaussian):
        mean = mean if law.mean is None else law.mean.astype(LD)
        factor = factor if law.cov is None else law.factor.astype(LD)
    elif law is not None:
        assert degree is not None
        share = _moment_ratio(law, dim, degree)
    return [Component(share, mean, factor)]


def _moment_ratio(law, d: int, p: int) -> float:
    ln = scipy.special.gammaln
    if isinstance(law, gf.StudentT):
        return math.exp(p * math.log(law.df / 2) + ln(law.df / 2 - p) - ln(law.df / 2))
    default = d if isinstance(law, gf.Sphere) else d + 2
    square = default if law.radius is None else law.radius**2
    ratio = math.exp(p * math.log(square / 2) + ln(d / 2) - ln(d / 2 + p))
    return ratio if isinstance(law, gf.Sphere) else ratio * d / (d + 2 * p)


class Stacked:
    """Student and teacher as one list of units in one component; the teacher's outputs are negative."""

    def __init__(self, student, teacher, component: Component):
        self.component, self.student = component, student
        dim = student.sizes[0]
        self.names = names_of(student) + names_of(teacher)
        self.hidden = student.sizes[1]
        self.moving = len(names_of(student))
        rows, biases, outputs = [], [], []
        for network, sign in ((student, 1.0), (teacher, -1.0)):
            (W, A), (b, c) = network.weights, network.biases
            extra = int(c is not None)
            rows.append(np.vstack([W, np.zeros((extra, dim))]))
            hidden = np.zeros(W.shape[0]) if b is None else b
            biases.append(np.concatenate([hidden, np.zeros(extra)]))
            outputs.append(sign * (np.column_stack([A, c]) if extra else A))
        raw = np.vstack(rows).astype(LD)
        self.weights = raw @ component.factor
        self.biases = np.concatenate(biases).astype(LD) + raw @ component.mean
        self.outputs = np.hstack(outputs)
        self.norms = np.sqrt((self.weights**2).sum(axis=1)).astype(np.float64)
        terms = np.linalg.norm((np.abs(raw) @ np.abs(component.factor)).astype(np.float64), axis=1)
        # How much larger the terms of C^{1/2}w are than it is: so much of the last bit is in its direction.
        moves = self.norms > 0.0
        self.cancelled = float((terms[moves] / self.norms[moves]).max(initial=1.0))
        # φ(b/r) of a unit that is off changes by (b/r)² last bits with the last bit of its bias.
        off = np.abs(self.biases[moves].astype(np.float64)) / self.norms[moves]
        self.off = float(off[off < 38.0].max(initial=0.0)) ** 2
        self._sizes()

    def _sizes(self) -> None:
        """√E σ², √E σ'²(1 + t²), √E σ''²(1 + t²)² of each unit, with what a kink adds to the last."""
        found = np.zeros((3, len(self.names)))
        for i, name in enumerate(self.names):
            if name is None:
                found[0, i] = 1.0
                continue
            one = Units([name], np.array([[LD(self.norms[i])]]), self.biases[[i]], np.ones((1, 1)), 1,
                        np.zeros(1))  # fmt: skip
            if REFERENCES[name].waves and self.norms[i] > 6.0:
                found[:, i] = np.sqrt([0.5, 1.0, 1.5])  # E cos² of a phase that is all but uniform
                continue
            edges = line_edges(one, one.reach())
            half = 0.5 * np.diff(edges)
            t = ((0.5 * (edges[1:] + edges[:-1]))[:, None] + half[:, None] * NODES).ravel()
            weight = (half[:, None] * KRONROD).ravel() * density(t)
            with np.errstate(over="ignore", invalid="ignore"):
                values = evaluate([name], one.fields(t), 2)
                for k in range(3):
                    found[k, i] = math.sqrt(((values[k][0] * (1.0 + t * t) ** (0.5 * k)) ** 2) @ weight)
            if REFERENCES[name].jump and self.norms[i] > 0.0:
                t0 = float(self.biases[i]) / self.norms[i]
                found[2, i] += abs(REFERENCES[name].jump) * float(density(t0)) * (1 + t0 * t0) / self.norms[i]
        self.value_sizes, self.slope_sizes, self.curve_sizes = found

    def total(self) -> float:
        """Σ_outputs (Σ_i |o_i| √E σ_i²)²: what errors of kernels are relative to."""
        return float(((np.abs(self.outputs) @ self.value_sizes) ** 2).sum())

    def sensitivity(self) -> float:
        """What relative changes of weights and means move in L, per unit of the change."""
        lengths = self.norms * (1.0 + float(np.sqrt((self.component.mean**2).sum())))
        pulls = np.abs(self.outputs).T @ (np.abs(self.outputs) @ self.value_sizes)
        return self.component.share * 2.0 * float(pulls @ (self.slope_sizes * lengths))

    def span(self) -> Units | None:
        """The units in coordinates of their span, if it has one dimension or two, else None."""
        W, norms = self.weights, self.norms
        top = int(np.argmax(norms))
        if norms[top] == 0.0:
            return self._units(np.zeros((len(norms), 1), LD), np.zeros(len(norms)), [np.zeros_like(W[0])])
        best = None
        for k in range(len(norms)):
            if norms[k] < 1e-3 * norms[top]:
                continue
            e = W[k] / np.sqrt((W[k] ** 2).sum())
            rest = W - (W @ e)[:, None] * e
            rest -= (rest @ e)[:, None] * e
            apart = np.sqrt((rest**2).sum(axis=1)).astype(np.float64)
            if best is None or apart.max() < best[0]:
                best = apart.max(), e, rest, apart
        _, e, rest, apart = best
        if (apart <= 16.0 * EPS * norms).all():
            return self._units((W @ e)[:, None], apart, [e])
        with np.errstate(divide="ignore", invalid="ignore"):
            side = int(np.argmax(np.where(norms > 0.0, apart / norms, 0.0)))
        f = rest[side] / np.sqrt((rest[side] ** 2).sum())
        out = rest - (rest @ f)[:, None] * f
        apart = np.sqrt((out**2).sum(axis=1)).astype(np.float64)
        if (apart <= 16.0 * EPS * norms).all():
            return self._units(np.stack([W @ e, rest @ f], axis=1), apart, [e, f])
        return None

    def _units(self, along, slack, axes) -> Units:
        self.axes = axes
        return Units(self.names, along, self.biases, self.outputs, self.moving, slack)


@dataclass
class Truth:
    """L, a bound on the error of this number, and derivatives where they were computed."""

    loss: float = 0.0
    error: float = 0.0
    dimensions: int = 0
    gradient: np.ndarray | None = None
    hessian: np.ndarray | None = None


def truth(problem: list[Stacked], claim: float, budget: float) -> Truth | None:
    """The truth by quadrature with an error well below `claim`, or None where that is out of reach.

    budget   evaluations of activations that a quadrature in the plane may take
    """
    total = Truth(gradient=np.zeros(problem[0].student.size))
    spans = [stacked.span() for stacked in problem]
    if any(units is None for units in spans):
        return None
    for stacked, units in zip(problem, spans):
        share = stacked.component.share
        with np.errstate(all="ignore"):
            if units.along.shape[1] == 1:
                part = _line(stacked, units, 0.02 * claim / share)
            else:
                part = _plane(stacked, units, 0.02 * claim / share, budget)
        if part is None or not math.isfinite(part.loss):
            return None
        total.loss += share * part.loss
        total.error += share * part.error
        if part.gradient is None or total.gradient is None:
            total.gradient = None
        else:
            total.gradient += share * part.gradient
        total.dimensions = max(total.dimensions, units.along.shape[1])
        if part.hessian is None:
            total.hessian = None
        elif stacked is problem[0]:
            total.hessian = share * part.hessian
        elif total.hessian is not None:
            total.hessian += share * part.hessian
    return total


def _line(stacked: Stacked, units: Units, atol: float) -> Truth:
    t, w, loss, error = line_rule(units, atol)
    values = evaluate(units.names, units.fields(t), 2)
    output = units.outputs @ values[0]
    rounding = units.rounding(values, t)
    square = (output**2).sum(axis=0)
    error += float(((2.0 * np.abs(output) * rounding + rounding**2).sum(axis=0) + 4.0 * EPS * square) @ w)
    m = units.moving
    mine = units.outputs[:, :m]
    pulls = mine.T @ output  # Σ_o D_o a_oi, (moving, N)
    slopes, curves = values[1][:m], values[2][:m]
    powers = [np.ones_like(t), t, t * t]
    outputs = (output * w) @ values[0][:m].T
    fields = np.stack([(pulls * slopes) @ (w * s) for s in powers])

    # E of the second derivatives in z_i, z_j times 1, t, t²
    blocks = np.stack([(mine.T @ mine) * ((slopes * (w * s)) @ slopes.T) for s in powers])
    diagonal = np.stack([(pulls * curves) @ (w * s) for s in powers])
    for i in range(stacked.hidden):
        jump = REFERENCES[units.names[i]].jump
        slope = abs(float(units.along[i, 0]))
        if jump and slope > 0.0:
            t0 = -units.biases[i] / units.along[i, 0]
            if density(float(t0)) == 0.0:  # whatever the others are there
                continue
            at = evaluate(units.names, units.fields(np.array([float(t0)])), 0)[0][:, 0]
            weight = jump * float(mine[:, i] @ (units.outputs @ at)) * float(density(float(t0))) / slope
            diagonal[:, i] += weight * float(t0) ** np.arange(3)
    blocks[:, range(m), range(m)] += diagonal
    mixed = np.stack([(slopes * (w * s)) @ values[0][:m].T for s in powers[:2]])
    turned = np.stack([(output * (w * s)) @ slopes.T for s in powers[:2]])  # E D_o σ_i'
    own = (values[0][:m] * w) @ values[0][:m].T

    found = Truth(loss, error, 1)
    layout = _Layout(stacked)
    found.gradient = layout.gradient(outputs, fields[:2])
    found.hessian = layout.hessian(blocks, mixed, turned, own)
    return found


def _plane(stacked: Stacked, units: Units, atol: float, budget: float) -> Truth | None:
    pull = np.abs(stacked.outputs) @ stacked.value_sizes
    scale = (np.abs(stacked.outputs[:, : units.moving]).T @ pull) * stacked.slope_sizes[: units.moving]
    sizes = np.outer(pull, stacked.value_sizes[: units.moving])
    found = plane_mean(units, atol, 1e-14 * sizes + 1e-300, 1e-14 * scale + 1e-300, budget)
    if found is None:
        return None
    loss, error, parts = found
    gradient = None if parts is None else _Layout(stacked).gradient(parts["outputs"], parts["fields"])
    return Truth(loss, error, 2, gradient)


class _Layout:
    """From derivatives in the coordinates of the span to those of flat θ, as `MLP.flat` has it."""

    def __init__(self, stacked: Stacked):
        student, component = stacked.student, stacked.component
        self.n, self.m = stacked.hidden, stacked.moving
        self.dim, self.width, self.size = student.sizes[0], student.sizes[2], student.size
        self.mine = stacked.outputs[:, : self.m]
        self.mean = component.mean.astype(np.float64)
        self.factor = component.factor.astype(np.float64)
        self.axes = [(component.factor @ e).astype(np.float64) for e in stacked.axes]
        start = self.n * self.dim
        self.weights = np.arange(start).reshape(self.n, self.dim)
        self.biases = None
        if student.biases[0] is not None:
            self.biases = np.arange(start, start + self.n)
            start += self.n
        self.outputs = np.arange(start, start + self.n * self.width).reshape(self.width, self.n)
        start += self.n * self.width
        if student.biases[1] is not None:
            self.outputs = np.column_stack([self.outputs, np.arange(start, start + self.width)])

    def gradient(self, outputs: np.ndarray, fields: np.ndarray) -> np.ndarray:
        """outputs (outputs, moving), fields (1 + axes, moving)."""
        result = np.zeros(self.size)
        result[self.outputs] = 2.0 * outputs
        along = fields[:, : self.n]
        result[self.weights] = 2.0 * (
            along[0][:, None] * self.mean + sum(a[:, None] * e for a, e in zip(along[1:], self.axes))
        )
        if self.biases is not None:
            result[self.biases] = 2.0 * along[0]
        return result

    def hessian(self, blocks, mixed, turned, own) -> np.ndarray:
        """blocks (3, m, m), mixed (2, m, m), turned (2, outputs, m), own (m, m): see `_line`."""
        n, mean, axis = self.n, self.mean, self.axes[0]
        result = np.zeros((self.size, self.size))
        m0, m1, m2 = 2.0 * blocks[:, :n, :n]
        plain, along = self.factor @ self.factor, np.outer(axis, axis)
        crossed = np.outer(axis, mean)
        second = (
            np.multiply.outer(m2, along)
            + np.multiply.outer(m0, plain - along + np.outer(mean, mean))
            + np.multiply.outer(m1, crossed + crossed.T)
        )
        w = self.weights
        result[w[:, None, :, None], w[None, :, None, :]] = second
        first = np.multiply.outer(m0, mean) + np.multiply.outer(m1, axis)  # (i of w, j of b, dim)
        if self.biases is not None:
            b = self.biases
            result[w[:, None, :], b[None, :, None]] = first
            result[b[None, :, None], w[:, None, :]] = first
            result[np.ix_(b, b)] = m0
        for o in range(self.width):
            a = self.outputs[o]
            parts = []
            for k in range(2):
                part = 2.0 * self.mine[o, :n, None] * mixed[k][:n]
                part[range(n), range(n)] += 2.0 * turned[k][o, :n]
                parts.append(part)
            first = np.multiply.outer(parts[0], mean) + np.multiply.outer(parts[1], axis)
            result[w[:, None, :], a[None, :, None]] = first
            result[a[None, :, None], w[:, None, :]] = first
            if self.biases is not None:
                result[np.ix_(self.biases, a)] = parts[0]
                result[np.ix_(a, self.biases)] = parts[0].T
            result[np.ix_(a, a)] = 2.0 * own
        return result
