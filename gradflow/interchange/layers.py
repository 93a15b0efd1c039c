"""What every library's network is turned into: matrices, biases, and an activation behind each layer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..activations import Activation
from ..support.errors import ArgumentError
from ..support.validate import real_array, sequence


class Layers(NamedTuple):
    """A chain of linear layers.

    Attributes
    ----------
    weights : list of ndarray, shape (out, in)
        Of each layer.
    biases : list of ndarray, shape (out,), or None
        Of each layer.
    activations : list of Activation or None
        What follows each layer; None where nothing does.

    Examples
    --------
    >>> layers = Layers.empty()
    >>> layers.add(np.eye(2), None)
    >>> layers.activations
    [None]
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray | None]
    activations: list[Activation | None]

    def add(self, weight: np.ndarray, bias: np.ndarray | None) -> None:
        """One layer more, of this `weight` and `bias`, with nothing behind it yet."""
        self.weights.append(weight)
        self.biases.append(bias)
        self.activations.append(None)

    @classmethod
    def empty(cls) -> Layers:
        """No layers yet."""
        return cls([], [], [])


def from_arrays(arrays, transposed: bool = False) -> Layers:
    """The layers of a list of arrays: matrices, each with its bias after it or without.

    Parameters
    ----------
    arrays : sequence of array_like, or mapping
        Of a mapping the values in their order.
    transposed : bool, default False
        Whether matrices are (in, out).

    Returns
    -------
    Layers

    Raises
    ------
    ArgumentError
        For arrays in another order.

    Examples
    --------
    >>> from_arrays([[[1.0], [2.0]], [0.5]], transposed=True).weights
    [array([[1., 2.]])]
    """
    if hasattr(arrays, "keys"):
        arrays = [arrays[name] for name in arrays.keys()]
    found = Layers.empty()
    for i, given in enumerate(sequence("arrays", arrays, "W_1, b_1, W_2, b_2, … in order")):
        array = real_array(f"arrays[{i}]", given, (1, 2))
        if array.ndim == 2:
            found.add(array.T if transposed else array, None)
        elif found.weights and found.biases[-1] is None:
            found.biases[-1] = array
        else:
            raise ArgumentError(f"arrays[{i}]", f"shape {array.shape}", "a bias after its weight matrix")
    return found
