"""PyTorch modules of a network. Importing this module imports torch where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..activations import Activation
from ..support.errors import ArgumentError, MissingExtraError

try:
    import torch
except ImportError:  # `write_torch` says so
    torch = None
_Base: Any = object if torch is None else torch.nn.Module

_MODULES: dict[str, Callable] = {
    "relu": lambda: torch.nn.ReLU(),
    "leaky_relu": lambda: torch.nn.LeakyReLU(),  # slope 0.01, as here
    "tanh": lambda: torch.nn.Tanh(),
    "sigmoid": lambda: torch.nn.Sigmoid(),
    "softplus": lambda: torch.nn.Softplus(threshold=40.0),  # above its threshold it leaves e^−z out
    "gelu": lambda: torch.nn.GELU(),
    "silu": lambda: torch.nn.SiLU(),
    "selu": lambda: torch.nn.SELU(),
    "elu": lambda: torch.nn.ELU(),
    "identity": lambda: torch.nn.Identity(),
}

_FUNCTIONS: dict[str, Callable] = {
    "erf": lambda z: torch.erf(z * 0.5**0.5),
    "normal_cdf": lambda z: 0.5 * torch.erfc(-z * 0.5**0.5),
    "square": lambda z: z * z,
    "cube": lambda z: z * z * z,
    "sin": lambda z: torch.sin(z),
    "cos": lambda z: torch.cos(z),
    "exp": lambda z: torch.exp(z),
    "g": lambda z: torch.sigmoid(4.0 * z) + torch.nn.functional.softplus(z, threshold=40.0),
}


class Elementwise(_Base):
    """An activation that PyTorch has no module for."""

    def __init__(self, activation: Activation):
        super().__init__()
        self.activation = activation

    def forward(self, z):
        """σ(z)."""
        sigma = self.activation
        if sigma.name in _FUNCTIONS:
            return _FUNCTIONS[sigma.name](z)
        total = torch.zeros_like(z)
        for c in sigma.coefficients[::-1]:  # type: ignore[attr-defined] # a polynomial, by Horner's rule
            total = total * z + float(c)
        return total

    def extra_repr(self) -> str:
        """The name of σ."""
        return self.activation.name


def write_torch(network, dtype=None):
    """Linear modules and activations in a row, a `torch.nn.Sequential`."""
    if torch is None:
        raise MissingExtraError("torch", "torch", "MLP.to_torch")
    dtype = torch.float64 if dtype is None else dtype
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ArgumentError("dtype", repr(dtype), "a torch dtype of floating point, as torch.float64")
    parts: list[Any] = []
    for l, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        linear = torch.nn.Linear(W.shape[1], W.shape[0], bias=b is not None, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(np.array(W)))
            if b is not None:
                linear.bias.copy_(torch.from_numpy(np.array(b)))
        parts.append(linear)
        if l < len(network.activations):
            parts.append(_module(network.activations[l]))
    return torch.nn.Sequential(*parts)


def _module(sigma) -> Any:
    if isinstance(sigma, tuple):
        raise ArgumentError(
            "activation", "several in one layer", "one for each layer: PyTorch's modules have one"
        )
    if sigma.name in _MODULES:
        return _MODULES[sigma.name]()
    if sigma.name in _FUNCTIONS or hasattr(sigma, "coefficients"):
        return Elementwise(sigma)
    raise ArgumentError("activation", repr(sigma), "one of ACTIVATIONS or a Polynomial: others are code")
