"""Multilayer perceptrons: weights, biases, activations, and the flat vector θ of their parameters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import jax
import numpy as np

from .activations import Activation, resolve
from .support.errors import ArgumentError
from .support.memory import check_memory
from .support.settings import one_of
from .support.threads import single_threaded_blas
from .support.validate import generator, integer, number, real_array, sequence
from .support.x64 import require_x64

LayerActivation = Activation | tuple[Activation, ...]


@jax.tree_util.register_pytree_node_class
class MLP:
    """A multilayer perceptron with a linear output layer.

    Parameters
    ----------
    weights : sequence of array_like, shape (out, in)
        One matrix per layer.
    biases : sequence of (array_like, shape (out,), or None), optional
        One vector or None per layer; None alone means no biases at all.
    activation : str, Activation, tuple, or list of these, default "erf"
        One for all hidden layers, or a list with one per hidden layer: a name of `ACTIVATIONS` or of a
        `Polynomial`, an `Activation`, or a tuple with one of those per neuron of the layer.

    Attributes
    ----------
    weights, biases : tuple
        As given, NumPy Float64, read-only.
    activations : tuple
        The `Activation` of each hidden layer, or a tuple of them where its neurons differ.

    Raises
    ------
    ArgumentError
        For shapes that do not chain, unknown activations, and what is not a finite real number.

    Notes
    -----
    h_0 = x, h_l = σ_l(W_l h_{l−1} + b_l), and f(x) = W_L h_{L−1} + b_L. Flat θ holds, layer after layer, the
    weights row by row and then the bias if there is one. A network is a JAX pytree with its leaves in the
    same order: `jax.flatten_util.ravel_pytree` gives `flat()`.

    Examples
    --------
    >>> network = MLP([[[1.0, 0.0], [0.0, 2.0]], [[1.0, -1.0]]], activation="relu")
    >>> network
    MLP(2-2-1, relu, no biases, 6 parameters)
    >>> network([[3.0, 1.0], [-3.0, 1.0]])
    array([[ 1.],
           [-2.]])
    >>> network.flat()
    array([ 1.,  0.,  0.,  2.,  1., -1.])
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray | None, ...]
    activations: tuple[LayerActivation, ...]

    def __init__(self, weights: Sequence, biases: Sequence | None = None, activation="erf"):
        weights = sequence("weights", weights, "a list with one (out, in) matrix per layer")
        if len(weights) == 0:
            raise ArgumentError("weights", "an empty list", "one (out, in) matrix per layer")
        self.weights = tuple(_frozen(real_array(f"weights[{i}]", W, 2)) for i, W in enumerate(weights))
        for i, W in enumerate(self.weights):
            if W.size == 0:
                raise ArgumentError(
                    f"weights[{i}]", f"shape {W.shape}", "a matrix (out, in) that is not empty"
                )
            if i and W.shape[1] != self.weights[i - 1].shape[0]:
                raise ArgumentError(
                    f"weights[{i}]",
                    f"shape {W.shape}",
                    f"{self.weights[i - 1].shape[0]} columns, as weights[{i - 1}] has rows",
                )
        if biases is None:
            biases = [None] * len(self.weights)
        biases = sequence("biases", biases, "a list with one vector or None per layer")
        if len(biases) != len(self.weights):
            raise ArgumentError(
                "biases", f"{len(biases)} entries", f"{len(self.weights)}, one per layer (None for none)"
            )
        self.biases = tuple(
            None if b is None else _frozen(real_array(f"biases[{i}]", b, 1)) for i, b in enumerate(biases)
        )
        for i, (W, b) in enumerate(zip(self.weights, self.biases)):
            if b is not None and b.size != W.shape[0]:
                raise ArgumentError(f"biases[{i}]", f"shape {b.shape}", f"shape ({W.shape[0]},)")
        self.activations = _layer_activations(activation, self.sizes)

    @classmethod
    def random(
        cls,
        sizes: Sequence[int],
        activation="erf",
        bias=True,
        *,
        seed,
        init: str = "glorot_normal",
        gain: float = 1.0,
    ) -> MLP:
        """A random network.

        Parameters
        ----------
        sizes : sequence of int
            (in, hidden…, out).
        activation : optional
            As in `MLP`.
        bias : bool, or one per layer, default True
            Which layers have biases.
        seed : int ≥ 0, numpy.random.SeedSequence or numpy.random.Generator
            The same seed gives the same bits.
        init : {"glorot_normal", "glorot_uniform", "normal"}
            The law of the weights, see Notes. Biases start at zero, except for "normal".
        gain : float, default 1
            Multiplies all numbers.

        Returns
        -------
        MLP

        Raises
        ------
        ArgumentError
            For sizes that are no positive integers, unknown laws; `MemoryLimitError` for too many parameters.

        Notes
        -----
        "glorot_normal" draws weights from N(0, 2/(in + out)), "glorot_uniform" uniformly from
        ±√(6/(in + out)) [1]_. "normal", for teachers, draws weights and biases from N(0, 1).

        References
        ----------
        .. [1] X. Glorot and Y. Bengio, Understanding the difficulty of training deep feedforward neural
           networks, AISTATS 2010.

        Examples
        --------
        >>> MLP.random((9, 3, 1), "erf", bias=False, seed=0)
        MLP(9-3-1, erf, no biases, 30 parameters)
        """
        sizes = sequence("sizes", sizes, "a list (in, hidden…, out)")
        sizes = [integer(f"sizes[{i}]", size, 1) for i, size in enumerate(sizes)]
        if len(sizes) < 2:
            raise ArgumentError("sizes", sizes, "at least two: (in, hidden…, out)")
        allowed = f"True, False, or {len(sizes) - 1} of them, one per layer"
        one = isinstance(bias, (bool, np.bool_))
        flags = [bias] * (len(sizes) - 1) if one else sequence("bias", bias, allowed)
        if len(flags) != len(sizes) - 1 or not all(isinstance(flag, (bool, np.bool_)) for flag in flags):
            raise ArgumentError("bias", repr(bias), allowed)
        gain = number("gain", gain)
        if not np.isfinite(gain):
            raise ArgumentError("gain", gain, "a finite number")
        check_memory("sizes", 8 * sum(a * b for a, b in itertools.pairwise(sizes)))
        rng = generator("seed", seed)
        weights, biases = [], []
        for fan_in, fan_out, flag in zip(sizes[:-1], sizes[1:], flags):
            weights.append(gain * _draw(init, fan_in, fan_out, rng))
            start = rng.standard_normal(fan_out) * gain if init == "normal" else np.zeros(fan_out)
            biases.append(start if flag else None)
        return cls(weights, biases, activation)

    @classmethod
    def _of_layers(cls, layers: Any, activation: Any = None) -> MLP:
        """The network of `interchange.Layers`; an activation behind the last one as in `with_output`."""
        weights, biases, behind = layers
        given = behind[:-1] if activation is None else activation
        network = cls(weights, biases, given)
        last = behind[-1]
        return network if last is None or last.record.power == 1 else network.with_output(last)

    @classmethod
    def from_arrays(cls, arrays, activation="erf", *, transposed: bool = False) -> MLP:
        """The network of weight matrices, each with its bias after it or without.

        Parameters
        ----------
        arrays : sequence of array_like, or mapping
            W_1, b_1, W_2, b_2, … in the order of the layers; matrices have two dimensions, biases one. Of a
            mapping, as `numpy.load` of an NPZ file gives, the values in their order.
        activation : optional
            As in `MLP`.
        transposed : bool, default False
            Whether matrices are (in, out), as in Keras and Flax, not (out, in), as here and in PyTorch.

        Returns
        -------
        MLP

        Raises
        ------
        ArgumentError
            For arrays that do not chain.

        Examples
        --------
        >>> MLP.from_arrays([[[1.0], [2.0]], [0.5], [[3.0]]], "tanh", transposed=True)
        MLP(2-1-1, tanh, biases [True, False], 4 parameters)
        """
        from .interchange import from_arrays

        return cls._of_layers(from_arrays(arrays, transposed), activation)

    @classmethod
    def from_torch(cls, module, activation=None, *, layers: Sequence[str] | None = None) -> MLP:
        """The network that a PyTorch module is, with its parameters.

        Parameters
        ----------
        module : torch.nn.Sequential, torch.nn.Linear, or mapping
            Linear modules and activations in a row, nested or not; or a `state_dict`, which does not say what
            the activations are.
        activation : optional
            As in `MLP`: taken for those of the hidden layers instead of what is found there.
        layers : sequence of str, optional
            For a `state_dict`: the names of the layers in order, where that of the dictionary is another.

        Returns
        -------
        MLP
            In Float64: Float32 becomes it exactly. An activation behind the last layer as in `with_output`.

        Raises
        ------
        ArgumentError
            For a module that is no such row, and for activations whose values no activation here has.

        Notes
        -----
        Activations are recognised by their values at some points, to 1e-11.
        `torch.nn.GELU(approximate="tanh")` is none of those here.

        Examples
        --------
        >>> state = {"0.weight": [[1.0, 2.0]], "0.bias": [0.5], "2.weight": [[3.0]]}
        >>> MLP.from_torch(state, activation="tanh")
        MLP(2-1-1, tanh, biases [True, False], 4 parameters)
        """
        from .interchange import read_modules, read_tree

        if not isinstance(module, Mapping):
            return cls._of_layers(read_modules("module", module, activation), activation)
        tree: dict[str, dict] = {}
        for name, values in module.items():
            place, _, kind = str(name).rpartition(".")
            tree.setdefault(place, {})[kind] = values
        found = read_tree("module", tree, "weight", False, layers)
        return cls._of_layers(found, _named(activation, found))

    def to_torch(self, dtype=None):
        """A `torch.nn.Sequential` of linear modules and activations, with these parameters.

        Parameters
        ----------
        dtype : torch.dtype, default torch.float64

        Returns
        -------
        torch.nn.Sequential
            `MLP.from_torch` of it is this network, bit by bit.

        Raises
        ------
        MissingExtraError
            Without PyTorch.
        ArgumentError
            For activations of one's own, and several in one layer.
        """
        from .interchange.torch_modules import write_torch

        return write_torch(self, dtype)

    @classmethod
    def from_equinox(cls, module, activation=None) -> MLP:
        """The network that an `equinox.nn.MLP`, or an `equinox.nn.Sequential` of linear modules, is.

        Parameters
        ----------
        module : equinox.nn.MLP, equinox.nn.Sequential or equinox.nn.Linear
        activation : optional
            As in `MLP`: taken for those of the hidden layers instead of what is found there.

        Returns
        -------
        MLP
            In Float64: Float32 becomes it exactly. A `final_activation` as in `with_output`.

        Raises
        ------
        ArgumentError
            For a module that is no such row, and for activations that JAX cannot trace.

        Notes
        -----
        Activations are recognised by their values, as in `from_torch`; others, as `jax.nn.gelu` with its
        default `approximate=True`, become `Activation`s of their values.

        Examples
        --------
        >>> import equinox, jax
        >>> module = equinox.nn.MLP(2, 1, 4, 1, activation=jax.nn.softplus, key=jax.random.key(0))
        >>> MLP.from_equinox(module)
        MLP(2-4-1, softplus, biases, 17 parameters)
        """
        from .interchange import read_modules

        return cls._of_layers(read_modules("module", module, activation), activation)

    def to_equinox(self):
        """An `equinox.nn.Sequential` of linear modules and `equinox.nn.Lambda`, with these parameters.

        Returns
        -------
        equinox.nn.Sequential
            A function of one input (features,), in Float64; `MLP.from_equinox` of it is this network, bit by
            bit.

        Raises
        ------
        ArgumentError
            For activations without a formula in JAX, and several in one layer.

        Examples
        --------
        >>> network = MLP.random((2, 3, 1), "tanh", seed=0)
        >>> bool((MLP.from_equinox(network.to_equinox()).flat() == network.flat()).all())
        True
        """
        from .interchange.equinox_modules import write_equinox

        return write_equinox(self)

    @classmethod
    def from_flax(cls, params, activation, *, layers: Sequence[str] | None = None) -> MLP:
        """The network of a tree of Flax parameters: `model.init(…)`, or `nnx.state(model, nnx.Param)`.

        Parameters
        ----------
        params : mapping
            Nested mappings; the innermost ones have "kernel" (in, out) and perhaps "bias".
        activation : str, Activation, tuple, or list of these
            As in `MLP`: a tree of parameters does not say.
        layers : sequence of str, optional
            The layers' names in order. Unless given, by the number with which the names end (`Dense_0`, …),
            where all have one; as they come where not.

        Returns
        -------
        MLP
            In Float64: Float32 becomes it exactly.

        Raises
        ------
        ArgumentError
            For a tree with anything but dense layers, or layers that do not chain.

        Examples
        --------
        >>> first = {"kernel": [[1.0, 2.0]], "bias": [0.0, 0.5]}
        >>> MLP.from_flax({"params": {"Dense_0": first, "Dense_1": {"kernel": [[3.0], [4.0]]}}}, "tanh")
        MLP(1-2-1, tanh, biases [True, False], 6 parameters)
        """
        from .interchange import read_tree

        return cls._of_layers(read_tree("params", params, "kernel", True, layers), activation)

    def to_flax(self, name: str = "Dense") -> dict:
        """The parameters as a tree for Flax: {"params": {"Dense_0": {"kernel": (in, out), "bias": …}, …}}.

        Parameters
        ----------
        name : str, default "Dense"
            Of the layers, before their number: "Dense" for `nn.compact` modules, "layers" for `nn.Sequential`
            of dense layers alone.

        Returns
        -------
        dict
            With NumPy arrays in Float64; `MLP.from_flax` of it is this network, bit by bit.

        Examples
        --------
        >>> MLP([[[1.0, 2.0]], [[3.0]]]).to_flax()["params"]["Dense_0"]
        {'kernel': array([[1.],
               [2.]])}
        """
        tree = {}
        for l, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            tree[f"{name}_{l}"] = {"kernel": np.array(W.T)} | ({} if b is None else {"bias": np.array(b)})
        return {"params": tree}

    def to_onnx(self, path: str | PathLike, dtype: str = "float64") -> None:
        """Write an ONNX file: a function from "x" (samples, features) to "y" (samples, outputs).

        Parameters
        ----------
        path : path-like
            Replaced in one step if it exists.
        dtype : {"float64", "float32"}
            Some runtimes have no Float64 for some operators.

        Raises
        ------
        MissingExtraError
            Without the package `onnx`.
        ArgumentError
            For activations of one's own, and several in one layer.
        """
        from .interchange import write_onnx

        write_onnx(self, path, dtype)

    def with_output(self, activation) -> MLP:
        """σ(f(x)): the same network with an activation on its outputs.

        Parameters
        ----------
        activation : str or Activation

        Returns
        -------
        MLP
            With one layer more, the identity matrix, since a network ends linearly here. Its weights stay
            what they are with `rates=network.layer_rates(…, 0)`. For samples: infinitely many inputs,
            recovery and variable projection ask for a linear output.

        Examples
        --------
        >>> network = MLP.random((2, 3, 2), "tanh", seed=0).with_output("sigmoid")
        >>> network
        MLP(2-3-2-2, tanh, sigmoid, biases [True, True, False], 21 parameters)
        >>> float(network.layer_rates(1, 1, 0).sum())
        17.0
        """
        weights = [*self.weights, np.eye(self.sizes[-1])]
        return MLP(weights, [*self.biases, None], [*self.activations, resolve(activation)])

    def layer_rates(self, *rates: float) -> np.ndarray:
        """Rates of the flow, flat (P,), from `rates`, one for each layer; zero freezes it.

        Examples
        --------
        >>> MLP.random((2, 1, 1), bias=False, seed=0).layer_rates(1, 0)
        array([1., 1., 0.])
        """
        if len(rates) != len(self.weights):
            raise ArgumentError("rates", f"{len(rates)} numbers", f"{len(self.weights)}, one for each layer")
        sizes = [W.size + (0 if b is None else b.size) for W, b in zip(self.weights, self.biases)]
        return np.repeat([number(f"rates[{i}]", r, minimum=0.0) for i, r in enumerate(rates)], sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """(in, hidden…, out)."""
        return (self.weights[0].shape[1], *(W.shape[0] for W in self.weights))

    @property
    def size(self) -> int:
        """Number of parameters P."""
        return sum(W.size for W in self.weights) + sum(b.size for b in self.biases if b is not None)

    def flat(self) -> np.ndarray:
        """The flat parameter vector θ, shape (P,): layer by layer, weights row by row, then the bias.

        Examples
        --------
        >>> MLP([[[1, 2], [3, 4]], [[5, 6]]], [[7, 8], None]).flat()
        array([1., 2., 3., 4., 7., 8., 5., 6.])
        """
        leaves = [leaf for layer in zip(self.weights, self.biases) for leaf in layer if leaf is not None]
        if any(isinstance(leaf, jax.Array) for leaf in leaves):
            require_x64()
            return jax.numpy.concatenate([jax.numpy.ravel(leaf) for leaf in leaves])  # type: ignore[return-value]
        return np.concatenate([np.ravel(leaf) for leaf in leaves])

    def with_flat(self, theta) -> MLP:
        """The same network with other parameters.

        Parameters
        ----------
        theta : array_like, shape (P,)
            As `flat` orders them. Traces under JAX: within `jax.jit`, `jax.grad` and their like the
            network has traced parameters.

        Returns
        -------
        MLP

        Raises
        ------
        ArgumentError
            If `theta` has another shape.

        Examples
        --------
        >>> network = MLP.random((2, 3, 1), seed=0)
        >>> float(network.with_flat(0.0 * network.flat())([[1.0, 2.0]])[0, 0])
        0.0
        """
        traced = isinstance(theta, jax.core.Tracer)
        if traced:
            require_x64()
            theta = jax.numpy.asarray(theta, np.float64)
        else:
            theta = _frozen(real_array("theta", theta, 1))
        if theta.shape != (self.size,):
            raise ArgumentError("theta", f"shape {theta.shape}", f"shape ({self.size},)")
        weights, biases, start = [], [], 0
        for W, b in zip(self.weights, self.biases):
            weights.append(theta[start : start + W.size].reshape(W.shape))
            start += W.size
            biases.append(None if b is None else theta[start : start + b.size])
            start += 0 if b is None else b.size
        # Nothing else is left to check: the shapes and the activations are this network's.
        return MLP.tree_unflatten(self.activations, tuple(zip(weights, biases)))

    def neuron_activations(self, layer: int) -> tuple[Activation, ...]:
        """The activation of every neuron of a hidden layer, counted from 0.

        Examples
        --------
        >>> MLP.random((2, 3, 1), "tanh", seed=0).neuron_activations(0)
        (<Activation 'tanh'>, <Activation 'tanh'>, <Activation 'tanh'>)
        """
        entry = self.activations[layer]
        return entry if isinstance(entry, tuple) else (entry,) * self.weights[layer].shape[0]

    def weight_vectors(self) -> np.ndarray:
        """The two vectors that every parameter belongs to, by number, shape (2, P).

        That of all weights into the neuron that it leads to, and that of all weights out of the neuron that
        it comes from. A bias has the first one only; where there is an input or an output instead of a
        neuron, the whole layer counts.
        """
        hidden = sum(self.sizes[1:-1])
        pieces, below = [], 0
        for layer, (W, b) in enumerate(zip(self.weights, self.biases)):
            n, m = W.shape
            whole = 2 * hidden + layer
            last, first = layer == len(self.weights) - 1, layer == 0
            into = np.full(n, whole) if last else below + np.arange(n)
            out = np.full(m, whole) if first else hidden + below - m + np.arange(m)
            pieces.append(np.stack([np.repeat(into, m), np.tile(out, n)]))
            if b is not None:
                pieces.append(np.stack([into, into]))
            below += n
        return np.concatenate(pieces, axis=1)

    def __call__(self, X):
        """Outputs (samples, outputs) for inputs (samples, features); traces for JAX arrays."""
        traced = isinstance(X, jax.Array)
        if not traced:
            X = real_array("X", X, 2)
            if any(isinstance(W, jax.Array) for W in self.weights):
                X, traced = jax.numpy.asarray(X), True
        if X.ndim != 2 or X.shape[1] != self.sizes[0]:
            raise ArgumentError("X", f"shape {X.shape}", f"shape (samples, {self.sizes[0]})")
        if traced:
            require_x64()
            return self._outputs(X)
        with single_threaded_blas():
            return self._outputs(X)

    def _outputs(self, h):
        for i, (W, b) in enumerate(zip(self.weights, self.biases)):
            h = h @ W.T
            if b is not None:
                h = h + b
            if i < len(self.activations):
                h = _activate(self.activations[i], h)
        return h

    def __repr__(self) -> str:
        shape = "-".join(str(size) for size in self.sizes)
        flags = [b is not None for b in self.biases]
        bias = "biases" if all(flags) else "no biases" if not any(flags) else f"biases {flags}"
        names = ", ".join(dict.fromkeys(_name(a) for a in self.activations))
        return f"MLP({shape}, {names or 'linear'}, {bias}, {self.size} parameters)"

    def __setstate__(self, state):
        self.__dict__.update(state)
        for array in (*self.weights, *self.biases):
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    def tree_flatten(self):
        """The leaves and the rest, as JAX's pytrees want them."""
        return tuple(zip(self.weights, self.biases)), self.activations

    @classmethod
    def tree_unflatten(cls, activations, children):
        """A network of these activations with leaves `children` that may be traced: nothing is checked."""
        network = object.__new__(cls)
        network.weights = tuple(W for W, _ in children)
        network.biases = tuple(b for _, b in children)
        network.activations = activations
        return network


def in_units(network: MLP, outputs: float, features: np.ndarray) -> MLP:
    """The network with its output layer times `outputs`, and each column of its first one by `features`."""
    weights, biases = [np.array(W) for W in network.weights], list(network.biases)
    weights[0] *= features
    weights[-1] *= outputs
    if biases[-1] is not None:
        biases[-1] = biases[-1] * outputs
    return MLP(weights, biases, list(network.activations))


def _named(activation: Any, found: Any) -> Any:
    """The activation that must be given for parameters alone, unless there is no hidden layer."""
    if activation is None and len(found.weights) > 1:
        allowed = "a name, an Activation, or a list of these: parameters alone do not say"
        raise ArgumentError("activation", None, allowed)
    return [] if activation is None else activation


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _name(activation: LayerActivation) -> str:
    if isinstance(activation, Activation):
        return activation.name
    return "(" + ", ".join(a.name for a in activation) + ")"


def _layer_activations(given, sizes: tuple[int, ...]) -> tuple[LayerActivation, ...]:
    hidden = sizes[1:-1]
    if isinstance(given, (str, Activation)) or (len(hidden) == 1 and isinstance(given, tuple)):
        given = [given] * len(hidden)
    if not isinstance(given, (list, tuple)) or len(given) != len(hidden):
        raise ArgumentError(
            "activation",
            repr(given),
            f"a name, an Activation, or a list of {len(hidden)}, one per hidden layer",
        )
    result: list[LayerActivation] = []
    for layer, (entry, width) in enumerate(zip(given, hidden)):
        if not isinstance(entry, tuple):
            result.append(resolve(entry))
        elif len(entry) != width:
            raise ArgumentError(f"activation[{layer}]", f"{len(entry)} entries", f"{width}, one per neuron")
        else:
            neurons = tuple(resolve(a) for a in entry)
            result.append(neurons[0] if all(a is neurons[0] for a in neurons) else neurons)
    return tuple(result)


def _activate(activation: LayerActivation, z):
    if isinstance(activation, Activation):
        return activation(z)
    columns = [a(z[:, j]) for j, a in enumerate(activation)]
    return np.stack(columns, axis=1) if isinstance(z, np.ndarray) else jax.numpy.stack(columns, axis=1)


def _draw(init: str, fan_in: int, fan_out: int, rng: np.random.Generator) -> np.ndarray:
    shape = (fan_out, fan_in)
    if init == "glorot_normal":
        return math.sqrt(2.0 / (fan_in + fan_out)) * rng.standard_normal(shape)
    if init == "glorot_uniform":
        return math.sqrt(6.0 / (fan_in + fan_out)) * rng.uniform(-1.0, 1.0, shape)
    if init == "normal":
        return rng.standard_normal(shape)
    raise ArgumentError("init", repr(init), one_of(init, ("glorot_normal", "glorot_uniform", "normal")))
