"""Gauss–Kronrod quadrature for the fuzz run: adaptive and vectorised, in one and in two dimensions.

Units σ_i(z_i), z = p t + b (or p x + q y + b) with t, x, y standard normal, and the mean of |Σ_i o_i σ_i|²:
the square is integrated, so that a small loss is known relatively. Kinks are edges of panels, and panels
shrink geometrically towards the steep places.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ._fuzz_activations import REFERENCES, evaluate

# QUADPACK's dqk21: nodes, weights of the 21-point rule, and of the 10-point rule at every second node.
_X = (0.995657163025808080735527280689003, 0.973906528517171720077964012084452,
      0.930157491355708226001207180059508, 0.865063366688984510732096688423493,
      0.780817726586416897063717578345042, 0.679409568299024406234327365114874,
      0.562757134668604683339000099272694, 0.433395394129247190799265943165784,
      0.294392862701460198131126603103866, 0.148874338981631210884826001129720)  # fmt: skip
_K = (0.011694638867371874278064396062192, 0.032558162307964727478818972459390,
      0.054755896574351996031381300244580, 0.075039674810919952767043140916190,
      0.093125454583697605535465065483366, 0.109387158802297641899210590325805,
      0.123491976262065851077958109831074, 0.134709217311473325928054001771707,
      0.142775938577060080797094273138717, 0.147739104901338491374841515972068)  # fmt: skip
_G = (0.066671344308688137593568809893332, 0.149451349150580593145776339657697,
      0.219086362515982043995534934228163, 0.269266719309996355091226921569469,
      0.295524224714752870173892994651338)  # fmt: skip
_G_FULL = np.zeros(10)
_G_FULL[1::2] = _G
NODES = np.array([*(-x for x in _X), 0.0, *reversed(_X)])
KRONROD = np.array([*_K, 0.149445554002916905664936468389821, *reversed(_K)])
GAUSS = np.array([*_G_FULL, 0.0, *reversed(_G_FULL)])

EPS = 2.0**-52
_TWO_PI = 8 * np.arctan(np.longdouble(1))


@dataclass(frozen=True)
class Units:
    """Units in the coordinates of their span.

    names    of the activations; None is the constant 1
    along    (units, 1 or 2), long doubles: coefficients of t, or of x and y
    biases   (units,), long doubles
    outputs  (outputs, units): Σ_i outputs_i σ_i is what is squared
    moving   the first so many are the student's; derivatives are with respect to these
    slack    (units,): how much of a weight vector lies outside of the span
    """

    names: list
    along: np.ndarray
    biases: np.ndarray
    outputs: np.ndarray
    moving: int
    slack: np.ndarray

    def fields(self, *coordinates: np.ndarray) -> np.ndarray:
        """z (units, …) in Float64; those of waves modulo 2π, reduced in long double."""
        shape = (-1, *(1,) * coordinates[0].ndim)
        along, biases = self.along.astype(np.float64), self.biases.astype(np.float64)
        z = sum(along[:, k].reshape(shape) * x for k, x in enumerate(coordinates)) + biases.reshape(shape)
        for i, name in enumerate(self.names):
            if name is not None and REFERENCES[name].waves and abs(along[i]).max() > 3.0:
                exact = sum(self.along[i, k] * x for k, x in enumerate(coordinates)) + self.biases[i]
                z[i] = np.remainder(exact, _TWO_PI)
        return z

    def rounding(self, values: list, *coordinates: np.ndarray) -> np.ndarray:
        """A bound on the rounding error of Σ_i outputs_i σ_i as computed here, (outputs, …)."""
        shape = (-1, *(1,) * coordinates[0].ndim)
        fine = np.array([name is not None and REFERENCES[name].waves for name in self.names])
        eps = np.where(fine, 4e-19, 1.5 * EPS).reshape(shape)
        along, biases = np.abs(self.along.astype(np.float64)), np.abs(self.biases.astype(np.float64))
        z = sum(along[:, k].reshape(shape) * abs(x) for k, x in enumerate(coordinates)) + biases.reshape(
            shape
        )
        moved = eps * z + 2.0 * self.slack.reshape(shape)
        error = 2.0 * EPS * np.abs(values[0]) + np.abs(values[1]) * moved
        return np.tensordot(np.abs(self.outputs), error, axes=1)

    def reach(self) -> float:
        """Beyond ± this the standard normal density times what is integrated is below rounding."""
        sizes = np.sqrt((self.along.astype(np.float64) ** 2).sum(axis=1))
        growths = [0.0 if name is None else REFERENCES[name].growth for name in self.names]
        if math.inf in growths:  # e^(2rt) times the density is a density around 2r
            return 11.0 + 2.0 * min(max(s for s, g in zip(sizes, growths) if math.isinf(g)), 20.0)
        biases = np.abs(self.biases.astype(np.float64))[sizes > 0.0]
        # a unit that is off but for a tail has its derivatives there
        tail = 4.5 + min(36.0, float((biases / sizes[sizes > 0.0]).max(initial=0.0)))
        return max(10.5, tail) + 0.8 * max([g for g in growths if g > 1], default=0.0)


def adaptive(function, edges: np.ndarray, atol: np.ndarray, rtol: float, limit: int):
    """∫ function over [edges[0], edges[-1]]: integrals (C,), errors (C,), and the panels, lo and hi.

    function   x (N,) -> (C, N)
    atol       (C,); an integral is done where its error is below atol + rtol ∫|function|
    limit      panels at most; where it is met the errors say so
    """
    new = edges[:-1], edges[1:]
    lo = hi = np.empty(0)
    values = errors = sizes = np.empty((len(atol), 0))
    while True:
        found = _panels(function, *new)
        lo, hi = np.concatenate([lo, new[0]]), np.concatenate([hi, new[1]])
        values, errors, sizes = (
            np.concatenate([old, fresh], axis=1) for old, fresh in zip((values, errors, sizes), found)
        )
        wanted = atol + rtol * sizes.sum(axis=1)
        totals = errors.sum(axis=1)
        share = np.where(totals > wanted, 0.5 * wanted / lo.size, np.inf)
        bad = ~(errors <= share[:, None]).all(axis=0) & (hi - lo > 1e-13 * (1.0 + np.abs(lo)))
        if not bad.any() or lo.size + bad.sum() > limit:
            order = np.argsort(lo)
            return values.sum(axis=1), totals, lo[order], hi[order]
        middle = 0.5 * (lo[bad] + hi[bad])
        new = np.concatenate([lo[bad], middle]), np.concatenate([middle, hi[bad]])
        lo, hi = lo[~bad], hi[~bad]
        values, errors, sizes = values[:, ~bad], errors[:, ~bad], sizes[:, ~bad]


def _panels(function, lo, hi):
    """Integrals, error estimates (QUADPACK's) and integrals of |function| of each panel."""
    half = 0.5 * (hi - lo)
    x = (0.5 * (lo + hi))[:, None] + half[:, None] * NODES
    f = function(x.ravel()).reshape(-1, lo.size, NODES.size)
    kronrod, gauss = (f @ KRONROD) * half, (f @ GAUSS) * half
    size = (np.abs(f) @ KRONROD) * half
    spread = (np.abs(f - (0.5 * (f @ KRONROD))[..., None]) @ KRONROD) * half
    error = _estimate(np.abs(kronrod - gauss), spread)
    return kronrod, np.where(np.isfinite(kronrod), error, np.inf), size


def _estimate(difference: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """QUADPACK's error of the longer rule from its difference to the shorter one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        error = spread * np.minimum(1.0, (200.0 * difference / spread) ** 1.5)
    return np.where(spread > 0.0, error, difference)


def _offsets(name, slope: float, reach: float) -> np.ndarray:
    """Where panels end on either side of a unit's transition; the transition itself at a kink."""
    reference = REFERENCES[name]
    steps = [0.0] if reference.pieces or slope * reach > 1.0 else []
    step = reference.width / slope if slope > 0.0 else math.inf
    while step < 2.0 * reach and not reference.waves and reference.degree is None:
        steps += [-step, step]
        step *= 3.5
    return np.array(steps)


def _base(units: Units, reach: float, axis: int) -> np.ndarray:
    """Even panels: of length two for the density, a few periods for waves."""
    speeds = [
        abs(float(units.along[i, axis]))
        for i, name in enumerate(units.names)
        if name is not None and REFERENCES[name].waves
    ]
    count = max(math.ceil(reach), math.ceil(2.0 * reach * max(speeds, default=0.0) / 8.0))
    return np.linspace(-reach, reach, count + 1)


def line_edges(units: Units, reach: float) -> np.ndarray:
    """Where panels end along one axis."""
    edges = [_base(units, reach, 0)]
    for i, name in enumerate(units.names):
        slope = float(units.along[i, 0])
        if name is not None and slope != 0.0:
            edges.append(-float(units.biases[i] / units.along[i, 0]) + _offsets(name, abs(slope), reach))
    return _merged(np.concatenate(edges), reach)


def _merged(edges: np.ndarray, reach: float) -> np.ndarray:
    edges = np.sort(np.clip(edges, -reach, reach))
    return edges[np.concatenate([[True], np.diff(edges) > 1e-14 * reach])]


def density(t: np.ndarray) -> np.ndarray:
    """The standard normal density."""
    return np.exp(-0.5 * t * t) / math.sqrt(2.0 * math.pi)


def line_rule(units: Units, atol: float, limit: int = 6000) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Nodes, weights (the density included), and the mean square with its quadrature error.

    The panels also resolve (σ''(1 + t²))² of every unit to 1e-13, so that derivatives can be summed on them.
    """
    reach = units.reach()

    def function(t):
        values = evaluate(units.names, units.fields(t), 2)
        square = ((units.outputs @ values[0]) ** 2).sum(axis=0)
        probes = (values[2] * (1.0 + t * t)) ** 2
        return np.vstack([square, probes]) * density(t)

    tolerances = np.concatenate([[atol], np.full(len(units.names), 1e-290)])
    loss, errors, lo, hi = adaptive(function, line_edges(units, reach), tolerances, 1e-14, limit)
    half = 0.5 * (hi - lo)
    nodes = ((0.5 * (lo + hi))[:, None] + half[:, None] * NODES).ravel()
    weights = (half[:, None] * KRONROD).ravel() * density(nodes)
    return nodes, weights, float(loss[0]), float(errors[0])


def plane_mean(units: Units, atol: float, output_atol: np.ndarray, gradient_atol: np.ndarray, budget: float):
    """The mean square, its error, and the gradient, by nested quadrature; None beyond the budget.

    output_atol     (outputs, moving) for the derivatives with respect to the output weights
    gradient_atol   (moving,) for those with respect to z_i; None is returned for a gradient that misses them
    budget          evaluations of activations at most

    The gradient is a dictionary: "outputs" (outputs, moving) of E D σ_i, and "fields" (3, moving) of
    E (D·o_i) σ_i' times 1, x and y; both without the factor two. The integral along a line is checked
    once for each panel of heights, against panels half as long.
    """
    reach = units.reach()
    p, q = units.along.astype(np.float64).T
    b = units.biases.astype(np.float64)
    hidden = [i for i, name in enumerate(units.names) if name is not None]
    inner = [(i, _offsets(units.names[i], abs(p[i]), reach)) for i in hidden if p[i] != 0.0]
    inner = [(i, offsets) for i, offsets in inner if offsets.size]
    base = _base(units, reach, 0)
    panels = base.size - 1 + sum(offsets.size for _, offsets in inner)
    cost = panels * NODES.size * len(hidden)

    edges = [_base(units, reach, 1)]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for n, i in enumerate(hidden):
            edges.append(np.array([-b[i] / q[i]]))
            for j in hidden[:n]:
                edges.append(np.array([-(b[i] * p[j] - b[j] * p[i]) / (q[i] * p[j] - q[j] * p[i])]))
    outer = np.concatenate(edges)
    outer = _merged(outer[np.isfinite(outer)], reach)
    limit = int(budget / (cost * NODES.size))
    if outer.size > limit:
        return None
    count, moving = units.outputs.shape[0], units.moving
    mine = units.outputs[:, :moving]

    def along(y: np.ndarray, halved: bool) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and weights (y, nodes) along the lines at these heights."""
        ends = [np.broadcast_to(base, (y.size, base.size))]
        ends += [(-(q[i] * y + b[i]) / p[i])[:, None] + offsets for i, offsets in inner]
        ends = np.sort(np.clip(np.concatenate(ends, axis=1), -reach, reach), axis=1)
        if halved:
            ends = np.sort(np.concatenate([ends, 0.5 * (ends[:, 1:] + ends[:, :-1])], axis=1), axis=1)
        half = 0.5 * np.diff(ends, axis=1)[:, :, None]
        x = 0.5 * (ends[:, 1:] + ends[:, :-1])[:, :, None] + half * NODES
        return x.reshape(y.size, -1), (half * KRONROD * density(x)).reshape(y.size, -1)

    def means(y: np.ndarray, halved: bool = False) -> np.ndarray:
        x, weight = along(y, halved)
        height = np.broadcast_to(y[:, None], x.shape)
        values = evaluate(units.names, units.fields(x, height), 2)
        output = np.tensordot(units.outputs, values[0], axes=1)
        error = units.rounding(values, x, height)
        square = (output**2).sum(axis=0)
        rounded = (2.0 * np.abs(output) * error + error**2).sum(axis=0) + 4.0 * EPS * square
        loss = (square * weight).sum(axis=1)
        weighted = output * weight
        outputs = np.einsum("oyx,iyx->oiy", weighted, values[0][:moving])
        slopes = np.tensordot(mine.T, weighted, axes=1) * values[1][:moving]
        fields = np.stack([slopes.sum(axis=2), (slopes * x).sum(axis=2), slopes.sum(axis=2) * y])
        rows = [loss[None], (rounded * weight).sum(axis=1)[None]]
        rows += [outputs.reshape(-1, y.size), fields.reshape(-1, y.size)]
        return np.concatenate(rows) * density(y)

    step = max(1, int(4e4 / cost))

    def in_blocks(y: np.ndarray, halved: bool = False) -> np.ndarray:
        return np.concatenate([means(y[s : s + step], halved) for s in range(0, y.size, step)], axis=1)

    derivatives = 2 + count * moving
    tolerances = np.full(derivatives + 3 * moving, np.inf)
    tolerances[0] = atol
    tolerances[2:derivatives] = output_atol.ravel()
    tolerances[derivatives:] = np.tile(gradient_atol, 3)
    values, errors, lo, hi = adaptive(in_blocks, outer, tolerances, 1e-15, limit)
    # what is wrong along the lines: panels half as long, once on each panel of heights
    middle = 0.5 * (lo + hi)
    changes = np.abs(in_blocks(middle, True)[0] - in_blocks(middle)[0])
    error = errors[0] + values[1] + float(changes @ (hi - lo))
    gradient = {
        "outputs": values[2:derivatives].reshape(count, moving),
        "fields": values[derivatives:].reshape(3, moving),
    }
    missed = bool((errors[2:] > 10.0 * tolerances[2:]).any())
    return float(values[0]), float(error), None if missed else gradient
