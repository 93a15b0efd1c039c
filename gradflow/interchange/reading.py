"""Reading what other libraries hold: modules with their layers in order, and trees of parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..support.errors import ArgumentError
from ..support.validate import real_array
from .layers import Layers
from .recognise import recognise


def read_modules(argument: str, module: Any, activation: Any = None) -> Layers:
    """The layers of a chain of modules: `Sequential` of PyTorch and Equinox, `equinox.nn.MLP`.

    Parameters
    ----------
    argument : str
        What errors call the module.
    module : module
        Linear layers and activations.
    activation : Activation, str or list, optional
        Taken instead of what is found between the layers: one, or a list with one for each.

    Returns
    -------
    Layers

    Raises
    ------
    ArgumentError
        For other modules.

    Examples
    --------
    >>> import equinox, jax
    >>> module = equinox.nn.MLP(2, 1, 3, depth=1, key=jax.random.key(0))
    >>> [W.shape for W in read_modules("module", module).weights]
    [(3, 2), (1, 3)]
    """
    found = Layers.empty()
    for name, part in _parts(argument, module):
        if _is_linear(part):
            if found.weights and found.activations[-1] is None and activation is None:
                found.activations[-1] = recognise(argument, "identity")
            bias = getattr(part, "bias", None)
            weight = real_array(f"{argument}{name}.weight", part.weight, 2)
            found.add(weight, None if bias is None else real_array(f"{argument}{name}.bias", bias, 1))
        elif not found.weights:
            given = f"{type(part).__name__} before the first linear layer"
            raise ArgumentError(f"{argument}{name}", given, "a linear layer first")
        elif activation is None:
            _behind(found, f"{argument}{name}", recognise(f"{argument}{name}", part))
    if not found.weights:
        raise ArgumentError(argument, f"{type(module).__name__} without linear layers", "one at least")
    return found


def _behind(found: Layers, argument: str, sigma) -> None:
    """Put an activation behind the last layer; the identity may come with another."""
    if found.activations[-1] is None or found.activations[-1].name == "identity":
        found.activations[-1] = sigma
    elif sigma.name != "identity":
        given = f"{sigma.name} after {found.activations[-1].name}"
        raise ArgumentError(argument, given, "one activation between two linear layers")


def _is_linear(part: Any) -> bool:
    """Whether it has a weight matrix and is not something else that has one."""
    weight = getattr(part, "weight", None)
    return weight is not None and len(np.shape(weight)) == 2 and type(part).__name__.endswith("Linear")


def _parts(argument: str, module: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The modules of a chain in the order in which they are applied, with their places."""
    if _is_linear(module):
        yield prefix, module
    elif hasattr(module, "final_activation") and hasattr(module, "layers"):  # equinox.nn.MLP
        for i, part in enumerate(module.layers):
            yield f"{prefix}.layers[{i}]", part
            if i + 1 < len(module.layers):
                yield f"{prefix}.activation", module.activation
        if module.final_activation is not None:
            yield f"{prefix}.final_activation", module.final_activation
    elif type(module).__name__ in ("Sequential", "list", "tuple"):
        parts = getattr(module, "layers", module)
        for i, part in enumerate(parts):
            yield from _parts(argument, part, f"{prefix}[{i}]")
    elif type(module).__name__ == "Lambda" and hasattr(module, "fn"):  # equinox.nn.Lambda
        yield prefix, module.fn
    elif type(module).__name__ == "Dropout":
        given = "Dropout, which is random"
        raise ArgumentError(f"{argument}{prefix}", given, "a network without: its flow has no noise")
    elif prefix:
        yield prefix, module
    else:
        raise ArgumentError(
            argument,
            f"{type(module).__name__}, whose order of layers is in its code",
            "a Sequential of linear layers and activations; or MLP.from_arrays([W_1, b_1, …], activation)",
        )


def read_tree(argument: str, tree: Any, kernel: str, transposed: bool, layers: Any = None) -> Layers:
    """The layers of a tree of parameters, mappings whose innermost ones hold a matrix and perhaps a bias.

    Parameters
    ----------
    argument : str
        What errors call the tree.
    tree : mapping
        As `model.init(…)["params"]` of Flax.
    kernel : str
        The key of the matrices.
    transposed : bool
        Whether they are (in, out).
    layers : sequence of str, optional
        The places of the layers in order, "a/b"; else by the number with which their names end, where all
        have one, as they come where not.

    Returns
    -------
    Layers

    Raises
    ------
    ArgumentError
        For trees without matrices, layers that are not dense, other names.

    Examples
    --------
    >>> tree = {"Dense_1": {"kernel": [[1.0]]}, "Dense_0": {"kernel": [[2.0], [3.0]], "bias": [0.5]}}
    >>> [W.tolist() for W in read_tree("params", tree, "kernel", transposed=True).weights]
    [[[2.0, 3.0]], [[1.0]]]
    """
    places: dict[str, Mapping] = {}
    _collect(tree, "", kernel, places)
    if not places:
        given = f"{type(tree).__name__} in which no mapping has {kernel!r}"
        raise ArgumentError(argument, given, "a tree of parameters, as model.init(…)['params']")
    names = _order(argument, list(places), layers)
    found = Layers.empty()
    for name in names:
        leaf = places[name]
        unknown = [key for key in leaf if key not in (kernel, "bias")]
        if unknown:
            given = f"{name} with {unknown[0]!r}"
            raise ArgumentError(argument, given, f"dense layers, of {kernel!r} and 'bias' alone")
        matrix = real_array(f"{argument}[{name!r}][{kernel!r}]", _value(leaf[kernel]), 2)
        bias = leaf.get("bias")
        found.add(
            matrix.T if transposed else matrix,
            None if bias is None else real_array(f"{argument}[{name!r}]['bias']", _value(bias), 1),
        )
    return found


def _collect(tree: Any, place: str, kernel: str, places: dict[str, Mapping]) -> None:
    if not isinstance(tree, Mapping):
        return
    if kernel in tree:
        places[place] = tree
        return
    for key, branch in tree.items():
        _collect(branch, f"{place}/{key}" if place else str(key), kernel, places)


def _order(argument: str, names: list[str], layers: Any) -> list[str]:
    if layers is not None:
        wanted = [str(name) for name in layers]
        chosen = [[name for name in names if name == w or name.endswith(f"/{w}")] for w in wanted]
        if len(wanted) != len(names) or any(len(c) != 1 for c in chosen):
            raise ArgumentError("layers", repr(layers), f"these, in order: {', '.join(names)}")
        return [c[0] for c in chosen]
    numbers = [re.search(r"(\d+)$", name) for name in names]
    stems = {re.sub(r"\d+$", "", name) for name in names}
    if len(names) > 1 and all(numbers) and len(stems) == 1:
        return sorted(names, key=lambda name: int(re.search(r"(\d+)$", name).group()))  # type: ignore[union-attr]
    return names


def _value(leaf: Any) -> Any:
    """The array of a leaf: itself, or what a variable of Flax NNX holds."""
    return leaf.get_value() if hasattr(leaf, "get_value") else leaf
