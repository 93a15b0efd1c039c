"""Networks at infinity: layers of units that are limits of neurons, as functions of finite parameters.

A unit is a function of one or more affine functions z₀, z₁, … of the layer below and has one or more outputs:

    neuron        σ(z₀)
    pair          σ(z₀), z₁σ'(z₀): two neurons that merge
    triple        σ(z₀), z₁σ'(z₀), z₂σ'(z₀) + ½z₁²σ''(z₀): three, dᵏσ(γ(t)·x)/dtᵏ/k! at t = 0 along a curve γ
    linear        z₀: w → 0 and a → ∞, or b → ∞
    exponential   e^{z₀}: b → −∞ and a → ∞, the tail of σ
    hinge         s₊ max(z₀, 0) + s₋ min(z₀, 0): |w| → ∞ and a → 0
    corner        s₊ max(z₀, 0) + s₋ min(z₀, 0) with the slopes of σ at 0±: w → 0 and a → ∞ where σ has a kink
    bend          ½z₀²σ''(0±): what is left of neurons with w → 0 whose linear parts cancel
    step          σ(±∞) by the sign of z₀, except at samples whose z stays finite: |w| → ∞

Derived here; pairs are those of Martinelli et al. (NeurIPS 2025), and m neurons that merge along a curve γ
compute divided differences of σ(γ(t)·x), whose limits are its derivatives.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property

import jax
import numpy as np
import scipy.linalg

from ..activations import Activation
from ..networks import MLP
from ..objective import Counts, Objective

SIZES = {
    "neuron": 1, "pair": 2, "triple": 3, "linear": 1, "exponential": 1, "hinge": 1, "corner": 1, "bend": 1,
    "step": 1,
}  # fmt: skip
"""Affine functions of each kind of unit, and as many outputs."""

DIFFERENCE = 1e-5
"""Distance of the gradients whose difference is a row of ∇²L, in units of 1 + |φ_i|."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """A unit of a layer.

    kind         a key of `SIZES`
    neurons      the numbers of the neurons whose limit it is
    activation   their σ
    side         −1 or +1: the tail of an exponential unit, 0 elsewhere
    base         of a linear unit that comes from w → 0: its z there
    free         of a step: samples whose z stays finite; their values are parameters
    """

    kind: str
    neurons: tuple[int, ...]
    activation: Activation
    side: int = 0
    base: float = 0.0
    free: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """How many affine functions it depends on."""
        return SIZES[self.kind]

    @property
    def outputs(self) -> int:
        """How many outputs it has."""
        return SIZES[self.kind]

    @cached_property
    def ends(self) -> tuple[float, float]:
        """σ(−∞) and σ(+∞) of a bounded σ; the slopes there of another."""
        sigma = self.activation
        if self.kind == "corner":
            return sigma.record.slopes
        if self.kind == "bend":
            low, high = sigma.derivatives(np.array([-1e-12, 1e-12]), 2)[2]
            return float(low), float(high)
        if self.kind == "hinge":
            low, high = np.round(sigma.derivatives(np.array([-1e3, 1e3]), 1)[1], 9)
        else:
            low, high = sigma(np.array([-1e3, 1e3]))
        return float(low), float(high)

    def __str__(self) -> str:
        who = " and ".join(str(i) for i in self.neurons)
        name = f"neuron {who}" if len(self.neurons) == 1 else f"neurons {who}"
        return {
            "neuron": f"{name}: σ(z)",
            "pair": f"{name} merge to σ(z) and z₁σ'(z)",
            "triple": f"{name} merge to σ(z), z₁σ'(z) and z₂σ'(z) + z₁²σ''(z)/2",
            "linear": f"{name} becomes linear",
            "exponential": f"{name} becomes an exponential",
            "hinge": f"{name} becomes a hinge",
            "corner": f"{name} becomes the corner of σ at 0",
            "bend": f"{name} becomes the second order of σ at 0",
            "step": f"{name} becomes a step",
        }[self.kind]


def derivatives(sigma: Activation, z: np.ndarray, order: int) -> list[np.ndarray]:
    """σ and its derivatives up to the third."""
    found = list(sigma.derivatives(z, min(order, 2)))
    if order == 3:
        try:
            found.append(np.asarray(_third(sigma)(_padded(z)))[: z.size].reshape(z.shape))
        except Exception:  # a σ without a formula that traces: central differences of σ''
            h = 1e-4
            ahead, behind = sigma.derivatives(z + h, 2)[2], sigma.derivatives(z - h, 2)[2]
            found.append((ahead - behind) / (2 * h))
    return found


def _padded(z: np.ndarray) -> np.ndarray:
    """The values flat, in an array of one of few lengths, so that little is compiled."""
    length = max(1024, 1 << (max(z.size, 1) - 1).bit_length())
    padded = np.zeros(length)
    padded[: z.size] = z.ravel()
    return padded


_compiled: dict[str, object] = {}


def _third(sigma: Activation):
    def slope(f):
        return lambda z: jax.jvp(f, (z,), (jax.numpy.ones_like(z),))[1]

    if sigma.name not in _compiled:
        _compiled[sigma.name] = jax.jit(slope(slope(slope(sigma))))
    return _compiled[sigma.name]


@dataclasses.dataclass(frozen=True, eq=False)
class LimitNetwork:
    """A network at infinity: units layer by layer, and the affine maps between them.

    Called with inputs X (samples, features) it gives its outputs (samples, outputs).

    Attributes
    ----------
    layers : tuple of tuples of Unit
        The units of each hidden layer.
    weights : tuple of arrays
        For each layer the map from the outputs below to the z of its units, the last one to the outputs of
        the network; a last column for the constant where `constants` says so.
    constants : tuple of bool
    values : tuple of tuples of arrays
        Of each step the z of its free samples.

    Examples
    --------
    >>> network = LimitNetwork.of(gf.MLP([[[1.0, 0.0]], [[2.0]]], activation="relu"))
    >>> network(np.array([[3.0, 1.0], [-1.0, 0.0]]))
    array([[6.],
           [0.]])
    """

    layers: tuple[tuple[Unit, ...], ...]
    weights: tuple[np.ndarray, ...]
    constants: tuple[bool, ...]
    values: tuple[tuple[np.ndarray, ...], ...] = ()

    @classmethod
    def of(cls, student: MLP) -> LimitNetwork:
        """The network `student` itself: every unit a neuron."""
        layers = tuple(
            tuple(Unit("neuron", (i,), sigma) for i, sigma in enumerate(student.neuron_activations(k)))
            for k in range(len(student.weights) - 1)
        )
        weights = tuple(
            np.array(W) if b is None else np.column_stack([W, b])
            for W, b in zip(student.weights, student.biases)
        )
        values = tuple(tuple(np.zeros(0) for _ in layer) for layer in layers)
        return cls(layers, weights, tuple(b is not None for b in student.biases), values)

    @property
    def moved(self) -> list[Unit]:
        """The units that are no plain neurons."""
        return [unit for layer in self.layers for unit in layer if unit.kind != "neuron"]

    def __call__(self, X) -> np.ndarray:
        return self.forward(np.asarray(X, dtype=np.float64), sampled=False)[0][-1]

    def flat(self) -> np.ndarray:
        """φ: the weights row by row, then the values of free samples."""
        rest = [value for layer in self.values for value in layer]
        return np.concatenate([*(W.ravel() for W in self.weights), *rest])

    def with_flat(self, phi: np.ndarray) -> LimitNetwork:
        """The network of another φ, the flat vector `phi`."""
        weights, values, at = [], [], 0
        for W in self.weights:
            weights.append(phi[at : at + W.size].reshape(W.shape))
            at += W.size
        for layer in self.values:
            found = []
            for value in layer:
                found.append(phi[at : at + value.size])
                at += value.size
            values.append(tuple(found))
        return dataclasses.replace(self, weights=tuple(weights), values=tuple(values))

    def frozen(self) -> np.ndarray:
        """Which entries of φ a step does not depend on: its own weights."""
        masks = []
        for k, W in enumerate(self.weights):
            mask = np.zeros(W.shape, dtype=bool)
            if k < len(self.layers):
                for unit, row in zip(self.layers[k], self.starts(k)):
                    mask[row : row + unit.rows] = unit.kind == "step"
            masks.append(mask.ravel())
        rest = sum(value.size for layer in self.values for value in layer)
        return np.concatenate([*masks, np.zeros(rest, dtype=bool)])

    def starts(self, layer: int) -> list[int]:
        """The first z of every unit of a layer."""
        return np.cumsum([0, *(unit.rows for unit in self.layers[layer])])[:-1].tolist()

    def places(self, layer: int) -> list[int]:
        """The first output of every unit of a layer."""
        return np.cumsum([0, *(unit.outputs for unit in self.layers[layer])])[:-1].tolist()

    def forward(self, X: np.ndarray, sampled: bool = True, slopes: bool = False):
        """z of every layer (the last one the outputs), and with `slopes` ∂outputs/∂φ (samples, outputs, P).

        sampled   whether X are the samples of the fit, of which some have a value of their own at a step
        """
        count, size = len(X), self.flat().size
        H, dH, zs, at = X, None, [], 0
        extra = sum(W.size for W in self.weights)
        for k, W in enumerate(self.weights):
            below = np.column_stack([H, np.ones(count)]) if self.constants[k] else H
            Z = below @ W.T
            zs.append(Z)
            dZ = None
            if slopes:
                dZ = np.zeros((W.shape[0], count, size))
                if dH is not None:
                    used = at
                    flat = dH[:, :, :used].reshape(len(dH), -1)
                    dZ[:, :, :used] = (W[:, : len(dH)] @ flat).reshape(W.shape[0], count, used)
                    rest = sum(V.size for V in self.weights)
                    if rest < size:  # values of free samples
                        more = dH[:, :, rest:].reshape(len(dH), -1)
                        dZ[:, :, rest:] = (W[:, : len(dH)] @ more).reshape(W.shape[0], count, size - rest)
                for row in range(W.shape[0]):
                    dZ[row, :, at : at + W.shape[1]] = below
                    at += W.shape[1]
            if k == len(self.layers):
                return (zs, dZ.transpose(1, 0, 2)) if dZ is not None else (zs, None)
            pieces, changes = [], []
            for unit, row, value in zip(self.layers[k], self.starts(k), self.values[k]):
                outputs, partials = _outputs(unit, Z[:, row : row + unit.rows], slopes)
                own = None
                if unit.kind == "step" and sampled and unit.free:
                    places = list(unit.free)
                    there = unit.activation.derivatives(value, 1)
                    outputs[0][places] = there[0]
                    own = (places, extra, there[1])
                pieces += outputs
                if dZ is not None:
                    for partial in partials:
                        change = np.zeros((count, size))
                        for n, (r, factor) in enumerate(partial.items()):
                            if n == 0:
                                np.multiply(factor[:, None], dZ[row + r], out=change)
                            else:
                                change += factor[:, None] * dZ[row + r]
                        if own is not None:
                            change[own[0], own[1] + np.arange(len(own[0]))] = own[2]
                        changes.append(change)
                extra += value.size
            H = np.column_stack(pieces)
            dH = np.stack(changes) if slopes else None
        raise AssertionError("a network ends with its outputs")

    def loss_and_gradient(self, X: np.ndarray, Y: np.ndarray, share: np.ndarray) -> tuple[float, np.ndarray]:
        """L = Σ_s share_s |f(x_s) − y_s|² and ∇L by φ, (P,), backwards through the layers.

        `X` (samples, features), `Y` (samples, outputs) and `share` (samples,).
        """
        H, belows, steps = X, [], []
        extra = sum(W.size for W in self.weights)
        for k, W in enumerate(self.weights):
            below = np.column_stack([H, np.ones(len(X))]) if self.constants[k] else H
            belows.append(below)
            Z = below @ W.T
            if k == len(self.layers):
                break
            pieces: list[np.ndarray] = []
            moves: list[dict] = []
            own = []
            for unit, row, value in zip(self.layers[k], self.starts(k), self.values[k]):
                outputs, slopes = _outputs(unit, Z[:, row : row + unit.rows], True)
                if unit.free:
                    there = unit.activation.derivatives(value, 1)
                    outputs[0][list(unit.free)] = there[0]
                    own.append((len(pieces), list(unit.free), extra, there[1]))
                pieces += outputs
                moves += [{row + r: factor for r, factor in slope.items()} for slope in slopes]
                extra += value.size
            steps.append((moves, own))
            H = np.column_stack(pieces)
        difference = Z - Y
        loss = float(share @ np.sum(difference**2, axis=1))
        back = 2.0 * share[:, None] * difference
        gradient = np.zeros(self.flat().size)
        ends = np.cumsum([W.size for W in self.weights])
        for k in range(len(self.weights) - 1, -1, -1):
            W = self.weights[k]
            gradient[ends[k] - W.size : ends[k]] = (back.T @ belows[k]).ravel()
            if k == 0:
                break
            down = back @ W[:, : W.shape[1] - self.constants[k]]
            moves, own = steps[k - 1]
            for place, samples, at, slope in own:
                gradient[at : at + slope.size] = down[samples, place] * slope
            back = np.zeros((len(X), self.weights[k - 1].shape[0]))
            for place, move in enumerate(moves):
                for row, factor in move.items():
                    back[:, row] += down[:, place] * factor
        return loss, gradient


def _outputs(unit: Unit, z: np.ndarray, slopes: bool) -> tuple[list[np.ndarray], list[dict]]:
    """The outputs (samples,) of a unit and, for each, its derivatives by the z it depends on."""
    kind, z0 = unit.kind, z[:, 0]
    if kind == "neuron":
        s = derivatives(unit.activation, z0, 1)
        return [s[0]], [{0: s[1]}]
    if kind == "linear":
        return [z0.copy()], [{0: np.ones_like(z0)}]
    if kind == "exponential":
        with np.errstate(over="ignore"):
            e = np.exp(z0)
        return [e], [{0: e}]
    if kind in ("hinge", "step", "corner"):
        low, high = unit.ends
        if kind == "step":
            return [np.where(z0 > 0, high, low)], [{}]
        slope = np.where(z0 > 0, high, low)
        return [slope * z0], [{0: slope}]
    if kind == "bend":
        low, high = unit.ends
        bend = np.where(z0 > 0, high, low)
        return [0.5 * bend * z0**2], [{0: bend * z0}]
    if kind == "pair":
        s = derivatives(unit.activation, z0, 2)
        return [s[0], z[:, 1] * s[1]], [{0: s[1]}, {0: z[:, 1] * s[2], 1: s[1]}]
    s = derivatives(unit.activation, z0, 3 if slopes else 2)
    z1, z2 = z[:, 1], z[:, 2]
    outputs = [s[0], z1 * s[1], z2 * s[1] + 0.5 * z1**2 * s[2]]
    if not slopes:
        return outputs, []
    last = {0: z2 * s[2] + 0.5 * z1**2 * s[3], 1: z1 * s[2], 2: s[1]}
    return outputs, [{0: s[1]}, {0: z1 * s[2], 1: s[1]}, last]


class LimitLoss(Objective):
    """The loss of a network at infinity on samples, as a function of the φ that are free.

    Gradients and residuals are exact; ∇²L is 2JᵀJ and differences of what is left of the gradient.

    pinned   z (by number) of the first layer that are zero on some samples, and stay so
    """

    sum_of_squares = True

    def __init__(
        self, network: LimitNetwork, X: np.ndarray, Y: np.ndarray, share: np.ndarray, spread: float,
        pinned: dict[int, np.ndarray] | None = None,
    ):  # fmt: skip
        self.network, self.X, self.Y, self.spread = network, X, Y, spread
        self.root = np.sqrt(share)[:, None]
        self.base = network.flat()
        self.free = ~network.frozen()
        self.basis: np.ndarray | None = None
        if pinned:
            self._pin(pinned)
        self.size = int(self.free.sum()) if self.basis is None else self.basis.shape[1]
        self.start: np.ndarray = self._down(self.base)
        self.loss_floor = 0.0
        self._counts = [0, 0, 0]

    def _pin(self, pinned: dict[int, np.ndarray]) -> None:
        """Coordinates in which these z stay zero: orthonormal columns, and a base where they are."""
        width = self.network.weights[0].shape[1]
        basis, kept = np.eye(self.base.size), self.free.copy()
        columns = []
        for row, samples in pinned.items():
            at = np.arange(row * width, (row + 1) * width)
            below = self.X[samples]
            if self.network.constants[0]:
                below = np.column_stack([below, np.ones(len(below))])
            self.base[at] -= np.linalg.pinv(below) @ (below @ self.base[at])
            kept[at] = False
            columns.append(basis[:, at] @ scipy.linalg.null_space(below))
        self.basis = np.hstack([basis[:, kept], *columns])

    def _down(self, phi: np.ndarray) -> np.ndarray:
        """A gradient, or a φ, by the free coordinates."""
        return phi[self.free].copy() if self.basis is None else self.basis.T @ phi

    def full(self, theta: np.ndarray) -> np.ndarray:
        """φ with the free coordinates given."""
        if self.basis is not None:
            return self.base + self.basis @ (theta - self.start)
        phi = self.base.copy()
        phi[self.free] = theta
        return phi

    def at(self, theta: np.ndarray) -> LimitNetwork:
        """The network there."""
        return self.network.with_flat(self.full(theta))

    def residual_vector(self, theta):
        outputs = self.at(theta).forward(self.X)[0][-1]
        return ((outputs - self.Y) * self.root).ravel()

    def least_squares(self, theta):
        self._counts[0] += 1
        zs, slopes = self.at(theta).forward(self.X, slopes=True)
        residuals = ((zs[-1] - self.Y) * self.root).ravel()
        jacobian = (slopes * self.root[:, :, None]).reshape(residuals.size, -1)
        jacobian = jacobian[:, self.free] if self.basis is None else jacobian @ self.basis
        return residuals, np.asfortranarray(jacobian)

    def loss(self, theta):
        residuals = self.residual_vector(theta)
        return float(residuals @ residuals)

    def loss_and_gradient(self, theta):
        loss, gradient = self.at(theta).loss_and_gradient(self.X, self.Y, self.root[:, 0] ** 2)
        return loss, self._down(gradient)

    def all_derivatives(self, theta):
        self._counts[1] += 1
        loss, gradient = self.loss_and_gradient(theta)
        hessian = np.empty((self.size, self.size))
        for i in range(self.size):
            step = np.zeros(self.size)
            step[i] = DIFFERENCE * (1.0 + abs(theta[i]))
            ahead, behind = self.gradient(theta + step), self.gradient(theta - step)
            hessian[i] = (ahead - behind) / (2.0 * step[i])
        return loss, gradient, 0.5 * (hessian + hessian.T)

    def hvp(self, theta, v):
        self._counts[2] += 1
        length = DIFFERENCE * (1.0 + float(np.abs(theta).max())) / max(float(np.abs(v).max()), 1e-300)
        return (self.gradient(theta + length * v) - self.gradient(theta - length * v)) / (2.0 * length)

    def counts(self) -> Counts:
        return Counts(*self._counts)
