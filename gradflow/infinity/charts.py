"""From a network to the networks at infinity near it, and back: units in place of neurons, neurons for units.

`suggestions` looks at the neurons on the samples and writes down the units that they look like the beginning
of; `realised` puts finite neurons in the place of a unit, at a distance ε from the limit.
"""

from __future__ import annotations

import dataclasses
from itertools import combinations
from typing import NamedTuple

import numpy as np

from ..activations import Activation
from .limit_network import LimitNetwork, Unit

MERGED, CANCELLED = 0.35, 0.7
"""Neurons may be merging where |w_i − w_j| is below the first times |w_i + w_j|, and |a_i + a_j| below the
second times |a_i − a_j|."""

TAIL = 2.0
"""A neuron may be in its tail where |z| is above this on all samples."""

SMALL = 0.7
"""A neuron may become linear where z varies by less than this over the samples."""

STEEP, OPEN = 25.0, 12.0
"""A neuron may become a step or a hinge where some |z| is above the first; where |z| of a sample is below the
second, its value at a step is not yet decided."""

MOST_OPEN = 6
"""No more samples than this are left open at a step."""


class Suggestion(NamedTuple):
    """A network with a unit more at infinity; the smaller the score, the more plausible.

    constant   whether the neurons leave a constant that grows, which the next layer is to take up
    """

    score: float
    network: LimitNetwork
    constant: bool = False


def suggestions(network: LimitNetwork, X: np.ndarray, spread: float) -> list[Suggestion]:
    """What the neurons of all layers may become, the most plausible first; `spread` is that of the targets.

    Where a layer has no constant, neurons whose own constants grow may cancel each other's: two at a time.
    What is left of them is a constant that is free.
    """
    zs = network.forward(X)[0]
    found: list[Suggestion] = []
    for k in range(len(network.layers)):
        unit = spread if k == len(network.layers) - 1 else 1.0
        if network.constants[k + 1]:
            found += _of_layer(network, k, zs[k], unit)
            continue
        granted = _with_constant(network, k + 1)
        every = _of_layer(granted, k, zs[k], unit)
        found += [s._replace(network=_without_constant(s.network, k + 1)) for s in every if not s.constant]
        for first in [s for s in every if s.constant]:
            after = first.network.forward(X)[0][k]
            for second in _of_layer(first.network, k, after, unit):
                if second.constant:
                    found.append(Suggestion(first.score + second.score, second.network))
    return sorted(found, key=lambda entry: entry.score)


def _with_constant(network: LimitNetwork, k: int) -> LimitNetwork:
    weights, constants = list(network.weights), list(network.constants)
    weights[k], constants[k] = np.column_stack([weights[k], np.zeros(len(weights[k]))]), True
    return dataclasses.replace(network, weights=tuple(weights), constants=tuple(constants))


def _without_constant(network: LimitNetwork, k: int) -> LimitNetwork:
    weights, constants = list(network.weights), list(network.constants)
    weights[k], constants[k] = weights[k][:, :-1], False
    return dataclasses.replace(network, weights=tuple(weights), constants=tuple(constants))


def _of_layer(network: LimitNetwork, k: int, zs: np.ndarray, scale: float) -> list[Suggestion]:
    """What the neurons of one layer may become; `scale` is that of what they give to the next."""
    units, starts, places = network.layers[k], network.starts(k), network.places(k)
    after, found = network.weights[k + 1], []
    plain = [i for i, unit in enumerate(units) if unit.kind == "neuron"]
    for i in plain:
        found += _alone(network, k, i, zs[:, starts[i]], after[:, places[i]], scale)
    found += _all_linear(network, k, zs, plain, scale)
    for i, j in combinations(plain, 2):
        if units[i].activation == units[j].activation:
            found += _merging(network, k, i, j)
    for i, unit in enumerate(units):
        if unit.kind == "pair":
            for j in plain:
                if units[j].activation == unit.activation:
                    found += _third_one(network, k, i, j)
    return found


def _alone(network: LimitNetwork, k: int, i: int, z, out, measure: float) -> list[Suggestion]:
    """What a neuron may become by itself."""
    unit, constant = network.layers[k][i], network.constants[k + 1]
    sigma, row = unit.activation, network.weights[k][network.starts(k)[i]]
    size = float(np.abs(out).max()) / measure
    found = []
    for side, (level, factor, rate) in sigma.record.tails.items():
        least = float((side * z).min())
        if least > TAIL and (level == 0.0 or constant) and network.constants[k]:
            middle = float(z.mean())
            new = np.array(row) * (-side * rate)
            new[-1] -= -side * rate * middle
            scale = factor * np.exp(-side * rate * middle)
            made = replaced(network, k, (i,), dataclasses.replace(unit, kind="exponential", side=side),
                             [new], [out * scale], out * level)  # fmt: skip
            found.append(Suggestion(1.0 / (least * (1.0 + np.log1p(size))), made, level != 0.0))
    low, high = (float(s) for s in np.round(sigma.derivatives(np.array([-1e3, 1e3]), 1)[1], 9))
    if float(np.ptp(z)) < SMALL and size > 3.0 and unit.activation.record.jump == 0.0:
        middle = float(z.mean()) if network.constants[k] else 0.0
        value, slope = (float(s[0]) for s in sigma.derivatives(np.array([middle]), 1))
        if slope != 0.0 and (constant or value == 0.0):
            new = np.array(row)
            if network.constants[k]:
                new[-1] -= middle
            scale = float(np.abs(new).max())
            made = replaced(network, k, (i,), dataclasses.replace(unit, kind="linear", base=middle),
                             [new / scale], [out * slope * scale], out * value)  # fmt: skip
            found.append(Suggestion(float(np.ptp(z)) / (1.0 + size), made, value != 0.0))
    for side, slope in ((-1, low), (1, high)):
        if slope != 0.0 and float((side * z).min()) > TAIL and not sigma.record.is_straight and constant:
            made = replaced(network, k, (i,), dataclasses.replace(unit, kind="linear"),
                             [np.array(row)], [out * slope], 0.0 * out)  # fmt: skip
            found.append(Suggestion(1.0 / float((side * z).min()), made))
    if float(np.abs(z).max()) > STEEP:
        scale = float(np.linalg.norm(row))
        if low != high:
            made = replaced(network, k, (i,), dataclasses.replace(unit, kind="hinge"),
                             [row / scale], [out * scale], 0.0 * out)  # fmt: skip
            found.append(Suggestion(3.0 / float(np.abs(z).max()), made))
        elif low == high == 0.0:
            free = tuple(np.flatnonzero(np.abs(z) < OPEN).tolist())
            if len(free) <= MOST_OPEN:
                step = dataclasses.replace(unit, kind="step", free=free)
                made = replaced(network, k, (i,), step, [row / scale], [out], 0.0 * out, z[list(free)])
                found.append(Suggestion(3.0 / float(np.abs(z).max()), made))
    return found


def _all_linear(network: LimitNetwork, k: int, zs: np.ndarray, plain: list[int], measure) -> list[Suggestion]:
    """All neurons that are nearly linear on the samples, at once."""
    small = [network.layers[k][i] for i in plain if float(np.ptp(zs[:, network.starts(k)[i]])) < SMALL]
    if len(small) < 2:
        return []
    constant, score = False, 0.0
    columns = {unit.neurons: zs[:, network.starts(k)[network.layers[k].index(unit)]] for unit in small}
    for unit in small:
        i, z = network.layers[k].index(unit), columns[unit.neurons]
        out = network.weights[k + 1][:, network.places(k)[i]]
        made = [s for s in _alone(network, k, i, z, out, measure)
                if s.network.layers[k][-1].kind == "linear"]  # fmt: skip
        if not made:
            return []
        network, constant, score = made[0].network, constant or made[0].constant, score + made[0].score
    return [Suggestion(score / len(small), network, constant)]


def _turned(sigma: Activation, constant: bool) -> float | None:
    """c in σ(−z) = c − σ(z), where a constant of size c can be taken up; None where σ is not like that."""
    if sigma.symmetry == "odd":
        return 0.0
    if sigma.symmetry == "odd+constant" and constant:
        return 2.0 * float(sigma(np.zeros(1))[0])
    return None


def _merging(network: LimitNetwork, k: int, i: int, j: int) -> list[Suggestion]:
    """Two neurons as a pair."""
    starts, places = network.starts(k), network.places(k)
    W, after = network.weights[k], network.weights[k + 1]
    w, v, a, b = W[starts[i]], W[starts[j]], after[:, places[i]], after[:, places[j]]
    level = 0.0 * a
    if w @ v < 0:
        turn = _turned(network.layers[k][i].activation, network.constants[k + 1])
        if turn is None:
            return []
        v, level, b = -v, turn * b, -b
    gap, middle = float(np.linalg.norm(w - v)), float(np.linalg.norm(w + v))
    if not (gap < MERGED * middle and np.linalg.norm(a + b) < CANCELLED * np.linalg.norm(a - b)):
        return []
    size = float(np.linalg.norm(a - b))
    unit = Unit("pair", network.layers[k][i].neurons + network.layers[k][j].neurons,
                network.layers[k][i].activation)  # fmt: skip
    rows, outs = [(w + v) / 2, (w - v) / 2 * size], [a + b, (a - b) / size]
    made = replaced(network, k, (i, j), unit, rows, outs, level)
    score = gap / middle * float(np.linalg.norm(a + b) / size + 0.1)
    return [Suggestion(score, made, bool(np.any(level)))]


def _third_one(network: LimitNetwork, k: int, i: int, j: int) -> list[Suggestion]:
    """A pair and a neuron as three that merge."""
    starts, places = network.starts(k), network.places(k)
    W, after = network.weights[k], network.weights[k + 1]
    w0, w1, w = W[starts[i]], W[starts[i] + 1], W[starts[j]]
    c, d, a = after[:, places[i]], after[:, places[i] + 1], after[:, places[j]]
    level = 0.0 * a
    if w0 @ w < 0:
        turn = _turned(network.layers[k][j].activation, network.constants[k + 1])
        if turn is None:
            return []
        w, level, a = -w, turn * a, -a
    gap, middle = float(np.linalg.norm(w - w0)), float(np.linalg.norm(w + w0))
    if not (gap < 2 * MERGED * middle and np.linalg.norm(a + c) < CANCELLED * np.linalg.norm(a - c)):
        return []
    # c σ(z₀) + d z₁σ'(z₀) + a σ(z₀ + δ) = (c + a)σ + (d z₁ + a δ)σ' + ½ a δ²σ''.
    delta = w - w0
    size = float(np.linalg.norm(a))
    root = np.sqrt(size)
    out = a / size
    share = float(d @ out)
    unit = Unit("triple", network.layers[k][i].neurons + network.layers[k][j].neurons,
                network.layers[k][i].activation)  # fmt: skip
    rows = [w0, root * delta, share * w1 + size * delta]
    rest = float(np.linalg.norm(w1)) / max(float(np.linalg.norm(rows[1])), 1e-300)
    outs = [c + a, (d - share * out) * rest, out]
    made = replaced(network, k, (i, j), unit, rows, outs, level)
    return [Suggestion(gap / middle * 0.5, made, bool(np.any(level)))]


def replaced(network: LimitNetwork, k: int, old: tuple[int, ...], unit: Unit, rows, outs, level, values=None):
    """The network with a unit in the place of others, and what they had of a constant in the next layer."""
    units, starts, places = network.layers[k], network.starts(k), network.places(k)
    W, after = network.weights[k], network.weights[k + 1]
    kept = [n for n in range(len(units)) if n not in old]
    new_rows = [W[starts[n] : starts[n] + units[n].rows] for n in kept] + [np.atleast_2d(rows)]
    columns = [after[:, places[n] : places[n] + units[n].outputs] for n in kept] + [np.column_stack(outs)]
    if network.constants[k + 1]:
        columns.append(after[:, -1:] + np.reshape(level, (-1, 1)))
    own = [network.values[k][n] for n in kept] + [np.zeros(0) if values is None else np.asarray(values)]
    layers, weights, inner = list(network.layers), list(network.weights), list(network.values)
    layers[k] = tuple(units[n] for n in kept) + (unit,)
    weights[k], weights[k + 1] = np.vstack(new_rows), np.hstack(columns)
    inner[k] = tuple(own)
    return dataclasses.replace(network, layers=tuple(layers), weights=tuple(weights), values=tuple(inner))


def moved_row(network: LimitNetwork, row: int, step: np.ndarray) -> LimitNetwork:
    """The network with one row of the first weights changed by a step."""
    first = np.array(network.weights[0])
    first[row] += step
    return dataclasses.replace(network, weights=(first, *network.weights[1:]))


def scale_of(network: LimitNetwork, X: np.ndarray, k: int, i: int) -> float:
    """The ε at which the neurons of a unit are about as far from the limit as they can be taken for."""
    unit, row = network.layers[k][i], network.starts(k)[i]
    z = network.forward(X)[0][k][:, row : row + unit.rows]
    if unit.kind == "pair":
        return 0.3 / max(float(np.abs(z[:, 1]).max()), 1e-300)
    if unit.kind == "triple":
        return 0.3 / max(float(np.abs(z[:, 1]).max()), float(np.sqrt(np.abs(z[:, 2]).max())), 1e-300)
    if unit.kind == "exponential":
        return 0.1 * float(np.exp(-z[:, 0].max()))
    if unit.kind == "linear":
        return 0.1 / max(float(np.abs(z[:, 0]).max()), 1e-300)
    return 0.3 * max(float(np.abs(z[:, 0]).max()), 1e-300) / STEEP


def epsilon_of(network: LimitNetwork, k: int, i: int, weights: np.ndarray) -> float:
    """The ε at which the neurons of a unit have the output weights (outputs, neurons) that are given."""
    unit, place = network.layers[k][i], network.places(k)[i]
    outs = network.weights[k + 1][:, place : place + unit.outputs]
    size = float(np.linalg.norm(weights))
    if unit.kind == "pair":
        plus, minus = (float(np.linalg.norm(weights[:, 0] + s * weights[:, 1])) for s in (1, -1))
        return float(np.linalg.norm(outs[:, 1])) / max(plus, minus)
    if unit.kind == "triple":
        return float(np.sqrt(np.linalg.norm(outs[:, 2]) / np.linalg.norm(weights, axis=0).max()))
    out = float(np.linalg.norm(outs[:, 0]))
    if unit.kind == "exponential":
        return out / (abs(unit.activation.record.tails[unit.side][1]) * size)
    if unit.kind == "linear":
        return out / (abs(float(unit.activation.derivatives(np.array([unit.base]), 1)[1][0])) * size)
    return size / out


def realised(
    network: LimitNetwork, k: int, i: int, epsilon: float, base: float | None = None
) -> LimitNetwork:
    """The network with neurons in place of a unit, at a distance ε from the limit.

    base   of a unit that is linear: the z at which the neuron is, its own unless given
    """
    unit, row, place = network.layers[k][i], network.starts(k)[i], network.places(k)[i]
    W, after = network.weights[k], network.weights[k + 1]
    rows = W[row : row + unit.rows]
    outs = [after[:, place + n] for n in range(unit.outputs)]
    neuron = dataclasses.replace(unit, kind="neuron", side=0, base=0.0, free=())
    level, sigma = 0.0 * outs[0], unit.activation
    if unit.kind == "pair":
        new = [(rows[0] + e * epsilon * rows[1], outs[0] / 2 + e * outs[1] / (2 * epsilon)) for e in (1, -1)]
    elif unit.kind == "triple":
        bent = outs[2] / (2 * epsilon**2)
        new = [
            (rows[0] + e * epsilon * rows[1] + epsilon**2 * rows[2], bent + e * outs[1] / (2 * epsilon))
            for e in (1, -1)
        ]
        new.append((rows[0], outs[0] - 2 * bent))
    elif unit.kind == "exponential":
        constant, factor, rate = sigma.record.tails[unit.side]
        moved = rows[0] / (-unit.side * rate)
        moved[-1] += unit.side * -np.log(epsilon) / rate
        out = outs[0] / (factor * epsilon)
        new, level = [(moved, out)], -constant * out
    elif unit.kind == "linear":
        base = unit.base if base is None else base
        value, slope = (float(s[0]) for s in sigma.derivatives(np.array([base]), 1))
        row = epsilon * rows[0]
        if network.constants[k]:
            row[-1] += base
        out = outs[0] / (slope * epsilon)
        new, level = [(row, out)], -value * out
    elif unit.kind == "hinge":
        new = [(rows[0] / epsilon, outs[0] * epsilon)]
    else:
        new = [(rows[0] / epsilon, outs[0])]
    own = [dataclasses.replace(neuron, neurons=(number,)) for number in unit.neurons]
    made = replaced(network, k, (i,), own[0], [new[0][0]], [new[0][1]], level)
    for single, (more, out) in zip(own[1:], new[1:]):
        made = added(made, k, single, more, out)
    return made


def added(network: LimitNetwork, k: int, unit: Unit, row, out) -> LimitNetwork:
    """The network with one neuron more."""
    layers, weights, values = list(network.layers), list(network.weights), list(network.values)
    after = weights[k + 1]
    width = sum(u.outputs for u in layers[k])
    layers[k] = (*layers[k], unit)
    weights[k] = np.vstack([weights[k], row])
    weights[k + 1] = np.hstack([after[:, :width], np.reshape(out, (-1, 1)), after[:, width:]])
    values[k] = (*values[k], np.zeros(0))
    return dataclasses.replace(network, layers=tuple(layers), weights=tuple(weights), values=tuple(values))


def finite(network: LimitNetwork, X: np.ndarray) -> LimitNetwork | None:
    """The same function on the samples with neurons only, where units allow that; None where one does not.

    A linear unit is a neuron of a σ with a straight side, far enough on it for all samples (elu, z > 0).
    """
    while network.moved:
        zs = network.forward(X)[0]
        k = next(k for k, units in enumerate(network.layers) if any(u.kind != "neuron" for u in units))
        units = network.layers[k]
        i = next(i for i, unit in enumerate(units) if unit.kind != "neuron")
        unit, row, place = units[i], network.starts(k)[i], network.places(k)[i]
        if unit.kind != "linear" or not (network.constants[k] and network.constants[k + 1]):
            return None
        least = float(zs[k][:, row].min())
        value, slope, bend = (float(s[0]) for s in unit.activation.derivatives(np.array([1.0])))
        beyond = unit.activation(np.array([1e3]))[0]
        if bend != 0.0 or abs(beyond - (value + 999.0 * slope)) > 1e-9 * abs(beyond):
            return None
        shift, moved = 1.0 - least, np.array(network.weights[k][row])
        moved[-1] += shift
        out = network.weights[k + 1][:, place] / slope
        neuron = dataclasses.replace(unit, kind="neuron", base=0.0)
        level = -(value - slope * 1.0 + slope * shift) * out
        network = replaced(network, k, (i,), neuron, [moved], [out], level)
    return network


def in_order(network: LimitNetwork) -> np.ndarray:
    """θ of a network of neurons only, in the order of their numbers."""
    weights = list(network.weights)
    for k, units in enumerate(network.layers):
        order = np.argsort([unit.neurons[0] for unit in units])
        weights[k] = weights[k][order]
        after = weights[k + 1]
        width = len(units)
        weights[k + 1] = np.hstack([after[:, :width][:, order], after[:, width:]])
    pieces = []
    for W, constant in zip(weights, network.constants):
        pieces += [W[:, :-1].ravel(), W[:, -1]] if constant else [W.ravel()]
    return np.concatenate(pieces)
