"""Equinox modules of a network."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from ..activations import Activation
from ..support.errors import ArgumentError
from ..support.x64 import require_x64


def write_equinox(network) -> eqx.nn.Sequential:
    """Linear modules and `Lambda`s in a row, in Float64."""
    require_x64()
    parts: list = []
    for l, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        linear = eqx.nn.Linear(
            W.shape[1], W.shape[0], use_bias=b is not None, dtype=jnp.float64, key=jax.random.key(0)
        )
        linear = eqx.tree_at(lambda part: part.weight, linear, jnp.asarray(W))
        if b is not None:
            linear = eqx.tree_at(lambda part: part.bias, linear, jnp.asarray(b))
        parts.append(linear)
        if l < len(network.activations):
            sigma = network.activations[l]
            if not isinstance(sigma, Activation):
                raise ArgumentError("activation", "several in one layer", "one for each layer")
            sigma(jnp.zeros(1))  # without a formula in JAX: said now
            parts.append(eqx.nn.Lambda(sigma))
    return eqx.nn.Sequential(parts)
