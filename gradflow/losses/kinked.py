"""The smooth pieces of a loss on samples whose activations have kinks.

A neuron and a sample are a place; its phase says on which piece the activation is evaluated
(`kernels.empirical.phases`). With all phases held L is smooth, beyond the boundaries of its piece too, and
its derivatives come from the same kernels as those of L itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..activations import Activation
from ..kernels import restricted
from ..kernels.empirical import derivatives as empirical
from ..kernels.empirical import network_blocks as nb
from ..kernels.empirical import phases as words
from ..kernels.empirical.states import states
from ..kernels.math import abi
from ..networks import MLP

if TYPE_CHECKING:
    from .empirical import EmpiricalLoss

NEXT = 1e-300
"""Beside a kink at zero one-sided derivatives are taken here, and at the next number beside others."""


class States(NamedTuple):
    """A point with all phases held: L, ∇L (P,), and z and ∂L/∂h of all places (H, N)."""

    loss: float
    gradient: np.ndarray
    z: np.ndarray
    slopes: np.ndarray


def bends(activation: Activation) -> tuple[float, ...]:
    """Where σ' or σ'' jumps; of one's own activations, where σ' does."""
    if activation.record.is_sum:
        return activation.record.kinks
    return tuple(float(z) for z in activation.kinks)


def one_sided(activation: Activation) -> np.ndarray:
    """σ, σ', σ'' to the left and to the right of every kink, shape (kinks, 2, 3)."""
    rows = []
    for kink in bends(activation):
        left = -NEXT if kink == 0.0 else np.nextafter(kink, -np.inf)
        right = NEXT if kink == 0.0 else np.nextafter(kink, np.inf)
        value, first, second = activation.derivatives(np.array([left, right]))
        at_kink = activation.derivatives(np.array([kink]), 0)[0]
        rows.append(np.stack([np.repeat(at_kink, 2), first, second], axis=1))
        assert value.size == 2
    return np.array(rows).reshape(len(rows), 2, 3)


class Pieces:
    """The loss of a network on samples, piece by piece.

    Parameters
    ----------
    loss : EmpiricalLoss
    student : MLP
        Its network.

    Attributes
    ----------
    phases : numpy.ndarray, shape (H, N)
        The phases at which everything is evaluated, of all hidden neurons, layer by layer, on all samples.
    layers : numpy.ndarray, shape (H,)
        The hidden layer that each neuron is in, from 0.
    kinked : numpy.ndarray, shape (H,)
        Which neurons have kinks.
    ends : numpy.ndarray, shape (H, m + 2)
        −∞, the kinks, and ∞ as often as needed: piece p ends at columns p and p + 1.
    jumps : numpy.ndarray, shape (H, m)
        σ'(k+) − σ'(k−) at the kinks.
    rests : numpy.ndarray, shape (H,)
        Which have no output to the left of their first kink, at zero, as relu: with zero weights they rest.
    """

    def __init__(self, loss: EmpiricalLoss, student: MLP):
        hidden = len(student.weights) - 1
        neurons = [sigma for l in range(hidden) for sigma in student.neuron_activations(l)]
        self.loss, self.student, self.neurons = loss, student, neurons
        self.size, count = student.size, int(loss.descriptor[nb.COUNT])
        self.layers = np.repeat(np.arange(hidden), student.sizes[1:-1])
        kinks = [np.array(bends(sigma)) for sigma in neurons]
        most = max((k.size for k in kinks), default=0)
        self.kinked = np.array([k.size > 0 for k in kinks])
        self.ends = np.full((len(neurons), most + 2), np.inf)
        self.ends[:, 0] = -np.inf
        self.jumps = np.zeros((len(neurons), max(most, 1)))
        self.rests = np.zeros(len(neurons), dtype=bool)
        tables = {sigma: one_sided(sigma) for sigma in set(neurons)}
        self.tables = [tables[sigma] for sigma in neurons]
        for n, (k, table) in enumerate(zip(kinks, self.tables)):
            self.ends[n, 1 : 1 + k.size] = k
            self.jumps[n, : k.size] = table[:, 1, 1] - table[:, 0, 1]
            self.rests[n] = k.size > 0 and k[0] == 0.0 and not table[0, 0].any()
        self.phases = np.zeros((len(neurons), count))
        offsets = np.concatenate([[0], np.cumsum([k.size for k in kinks])]).astype(np.int64)
        flat = np.concatenate([*kinks, np.zeros(1)])
        taylor = np.ascontiguousarray(np.concatenate([*self.tables, np.zeros((1, 2, 3))]))
        held = np.zeros(words.HELD, np.int64)
        held[words.VALUES], held[words.SAMPLES] = self.phases.ctypes.data, count
        held[words.OFFSETS], held[words.KINKS] = offsets.ctypes.data, flat.ctypes.data
        held[words.TAYLOR] = taylor.ctypes.data
        self.descriptor = loss.descriptor.copy()
        self.descriptor[nb.PHASES] = held.ctypes.data
        self._keep = offsets, flat, taylor, held
        self._address = self.descriptor.ctypes.data
        self._derivatives = abi.callable_from_python(abi.compile_function(empirical.derivatives).address)
        self._states = abi.callable_from_python(abi.compile_function(states).address)
        self.X = loss._inputs[:-1, loss._chosen()]
        sizes = [W.size + (0 if b is None else b.size) for W, b in zip(student.weights, student.biases)]
        self._begin = [0, *np.cumsum(sizes).tolist()]
        self._columns = np.arange(student.sizes[0])
        self._rows = np.ascontiguousarray(self.X.T)

    @property
    def kernel(self) -> tuple[int, int]:
        """The addresses of a kernel that writes L and ∇L (`abi.KERNEL`), and of its descriptor."""
        return self.loss.derivatives, self._address

    def count(self, counter: np.ndarray) -> None:
        """Add the gradients that compiled code has counted in the last place, and begin again."""
        self.loss._python_counts[0] += int(counter[-1])
        counter[-1] = 0

    def natural(self, z: np.ndarray) -> np.ndarray:
        """The phases of places with these z (H, N); at a kink the piece to the left of it."""
        found = np.zeros(z.shape)
        for column in range(1, self.ends.shape[1] - 1):
            found += z > self.ends[:, column, None]
        return found

    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """L and ∇L of the piece at θ."""
        result = np.empty(1 + self.size)
        address = result.ctypes.data
        self._derivatives(self._address, theta.ctypes.data, 0, address, address + 8, 0)
        self.loss._python_counts[0] += 1
        return float(result[0]), result[1:]

    def all_derivatives(self, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """L, ∇L and ∇²L of the piece at θ."""
        result, hessian = np.empty(1 + self.size), np.empty((self.size, self.size))
        address = result.ctypes.data
        self._derivatives(self._address, theta.ctypes.data, 0, address, address + 8, hessian.ctypes.data)
        self.loss._python_counts[1] += 1
        return float(result[0]), result[1:], hessian

    def states(self, theta: np.ndarray) -> States:
        """L, ∇L, z and ∂L/∂h at θ (P,)."""
        result, places = np.empty(1 + self.size), np.empty((2, *self.phases.shape))
        address = result.ctypes.data
        self._states(self._address, theta.ctypes.data, 0, address, address + 8, places.ctypes.data)
        self.loss._python_counts[0] += 1
        return States(float(result[0]), result[1:], places[0], places[1])

    def gradients(self, theta: np.ndarray, places: np.ndarray) -> np.ndarray:
        """∂z/∂θ (m, P) of places (m, 2), neuron and sample."""
        rows = np.zeros((len(places), self.size))
        if not len(places):
            return rows
        network, starts = self.student, self._begin
        neurons, inputs, width = places[:, 0], *network.sizes[:2]
        if neurons.max() < width:  # all in the first layer
            number = np.arange(len(rows))
            rows[number[:, None], neurons[:, None] * inputs + self._columns] = self._rows[places[:, 1]]
            if network.biases[0] is not None:
                rows[number, width * inputs + neurons] = 1.0
            return rows
        samples: dict[int, tuple] = {}
        for row, (neuron, sample) in zip(rows, places):
            layer = int(self.layers[neuron])
            if layer == 0:
                h, slopes, weights = [self.X[:, sample]], [], []
            else:
                if sample not in samples:
                    samples[int(sample)] = self._forward(theta, int(sample))
                h, slopes, weights = samples[int(sample)]
            first = int(np.searchsorted(self.layers, layer))
            delta = np.zeros(network.sizes[layer + 1])
            delta[neuron - first] = 1.0
            for l in range(layer, -1, -1):
                start, inputs, outputs = starts[l], network.sizes[l], network.sizes[l + 1]
                row[start : start + inputs * outputs] = np.outer(delta, h[l]).ravel()
                if network.biases[l] is not None:
                    row[start + inputs * outputs : start + (inputs + 1) * outputs] = delta
                if l > 0:
                    delta = (delta @ weights[l]) * slopes[l - 1]
        return rows

    def into(self, neuron: int) -> np.ndarray:
        """The parameters that lead into a hidden neuron, its bias last."""
        layer = int(self.layers[neuron])
        inputs, outputs = self.student.sizes[layer : layer + 2]
        number, start = neuron - int(np.searchsorted(self.layers, layer)), self._begin[layer]
        found = start + number * inputs + np.arange(inputs)
        if self.student.biases[layer] is None:
            return found
        return np.append(found, start + inputs * outputs + number)

    def _forward(self, theta: np.ndarray, sample: int) -> tuple[list, list, list]:
        """Inputs, slopes and weights of the layers on one sample, with the phases held."""
        network, starts = self.student, self._begin
        h, slopes, weights, first = [self.X[:, sample]], [], [], 0
        for l in range(len(network.weights) - 1):
            inputs, outputs = network.sizes[l], network.sizes[l + 1]
            W = theta[starts[l] : starts[l] + inputs * outputs].reshape(outputs, inputs)
            z = W @ h[-1]
            if network.biases[l] is not None:
                z = z + theta[starts[l] + inputs * outputs : starts[l] + (inputs + 1) * outputs]
            pairs = [self._held(first + i, sample, z[i]) for i in range(outputs)]
            weights.append(W)
            h.append(np.array([value for value, _ in pairs]))
            slopes.append(np.array([slope for _, slope in pairs]))
            first += outputs
        return h, slopes, weights

    def _held(self, neuron: int, sample: int, z: float) -> tuple[float, float]:
        """σ and σ' of a place with its phase."""
        phase = self.phases[neuron, sample]
        piece = int(np.floor(phase))
        part, value = phase - piece, np.zeros(2)
        for p, weight in ((piece, 1.0 - part), (piece + 1, part)):
            if weight == 0.0:
                continue
            low, high = self.ends[neuron, p], self.ends[neuron, p + 1]
            if low < z < high:
                inside = self.neurons[neuron].derivatives(np.array([z]), 1)
                value += weight * np.array([inside[0][0], inside[1][0]])
            else:
                kink, side = (p, 0) if z >= high else (p - 1, 1)
                a, b, c = self.tables[neuron][kink, side]
                d = z - self.ends[neuron, kink + 1]
                value += weight * np.array([a + d * (b + 0.5 * d * c), b + d * c])
        return float(value[0]), float(value[1])

    def in_units(
        self, frozen: np.ndarray, free: np.ndarray, scales: np.ndarray, loss_unit: float
    ) -> Pieces | PiecesInUnits:
        """The same pieces of L/U as a function of some of the parameters, in units of their own."""
        if free.size == self.size and loss_unit == 1.0 and (scales == 1.0).all():
            return self
        return PiecesInUnits(self, frozen, free, scales, loss_unit)


class PiecesInUnits:
    """`Pieces` in the coordinates of `objective.Restricted`: θ_i = u_i φ_i for the free i, L/U."""

    def __init__(
        self, inner: Pieces, frozen: np.ndarray, free: np.ndarray, scales: np.ndarray, loss_unit: float
    ):
        self.inner, self.frozen, self.free, self.scales, self.unit = inner, frozen, free, scales, loss_unit
        self.size = free.size
        for name in ("phases", "layers", "kinked", "ends", "jumps", "rests", "natural"):
            setattr(self, name, getattr(inner, name))

        indices = free.astype(np.int64)
        slopes = np.append(scales / loss_unit, 1.0 / loss_unit)
        self._frozen, self._units = np.array(frozen), np.array(scales)
        self.descriptor = np.array(
            [inner.kernel[0], 0, inner.kernel[1], self.size, inner.size, indices.ctypes.data,
             self._frozen.ctypes.data, self._units.ctypes.data, slopes.ctypes.data]
        )  # fmt: skip
        self._keep = indices, slopes
        self.count = inner.count

    @property
    def kernel(self) -> tuple[int, int]:
        """As `Pieces.kernel`."""
        return abi.compile_function(restricted.derivatives).address, self.descriptor.ctypes.data

    def _full(self, theta: np.ndarray) -> np.ndarray:
        full = self.frozen.copy()
        full[self.free] = theta * self.scales
        return full

    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """As `Pieces.loss_and_gradient`, in these units."""
        loss, gradient = self.inner.loss_and_gradient(self._full(theta))
        return loss / self.unit, gradient[self.free] * (self.scales / self.unit)

    def all_derivatives(self, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """As `Pieces.all_derivatives`, in these units."""
        loss, gradient, hessian = self.inner.all_derivatives(self._full(theta))
        slopes = self.scales / self.unit
        matrix = hessian[np.ix_(self.free, self.free)] * slopes[:, None] * self.scales
        return loss / self.unit, gradient[self.free] * slopes, matrix

    def states(self, theta: np.ndarray) -> States:
        """As `Pieces.states`, in these units."""
        found = self.inner.states(self._full(theta))
        gradient = found.gradient[self.free] * (self.scales / self.unit)
        return States(found.loss / self.unit, gradient, found.z, found.slopes / self.unit)

    def gradients(self, theta: np.ndarray, places: np.ndarray) -> np.ndarray:
        """As `Pieces.gradients`, in these units."""
        return self.inner.gradients(self._full(theta), places)[:, self.free] * self.scales

    def into(self, neuron: int) -> np.ndarray:
        """As `Pieces.into`, those of them that move."""
        return np.flatnonzero(np.isin(self.free, self.inner.into(neuron)))
