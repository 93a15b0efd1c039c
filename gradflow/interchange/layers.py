"""What every library's network is turned into: matrices, biases, and an activation behind each layer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..activations import Activation
from ..support.errors import ArgumentError
from ..support.validate import real_array, sequence


class Layers(NamedTuple):
    """A chain of linear layers.

    weights       (out, in) each
    biases        (out,) each, or None
    activations   what follows each layer; None where nothing does
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray | None]
    activations: list[Activation | None]

    def add(self, weight: np.ndarray, bias: np.ndarray | None) -> None:
        """One layer more, with nothing behind it yet."""
        self.weights.append(weight)
        self.biases.append(bias)
        self.activations.append(None)

    @classmethod
    def empty(cls) -> Layers:
        return cls([], [], [])


def from_arrays(arrays, transposed: bool = False) -> Layers:
    """Matrices, each with its bias after it or without; of a mapping the values in their order."""
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
