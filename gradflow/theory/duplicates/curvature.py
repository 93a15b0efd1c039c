"""The matrix B = E (f − f*)(x) σ''(w·x) x xᵀ of a neuron: it decides what duplicates do to the index."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ...activations import Activation
from ...inputs import as_inputs
from ...networks import MLP
from ...support.errors import ArgumentError
from ..quadrature import gaussian_grid

__all__ = ["PAIRS", "activation_of", "residual_curvature"]


def __dir__() -> list[str]:
    return sorted(__all__)


PAIRS: dict[str, Callable] = {}
"""∂²/∂u² of E σ(u·x)σ(w·x), x ~ N(0, I), as functions of u and w (d,), by activation."""


def activation_of(student: MLP) -> Activation:
    """The one activation of the hidden neurons.

    Parameters
    ----------
    student : MLP
        One hidden layer.

    Returns
    -------
    Activation

    Raises
    ------
    ArgumentError
        Where they have several.

    Examples
    --------
    >>> activation_of(gf.MLP.random((2, 3, 1), "tanh", seed=0))
    <Activation 'tanh'>
    """
    sigma = student.activations[0]
    if isinstance(sigma, tuple):
        raise ArgumentError("student", "neurons of several activations", "one activation")
    return sigma


def _erf_pair(u, w):
    return 2 / jnp.pi * jnp.arcsin((w @ u) / jnp.sqrt((1 + w @ w) * (1 + u @ u)))


def _square_pair(u, w):
    return (w @ w) * (u @ u) + 2 * (w @ u) ** 2


def _relu_curvature(u: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(sin θ |w|/2π|u|)(I − ûûᵀ + n̂n̂ᵀ), n the part of ŵ across u; zero where they are parallel."""
    unit = u / np.linalg.norm(u)
    across = w - (w @ unit) * unit
    size = float(np.linalg.norm(across))
    if size <= 1e-15 * np.linalg.norm(w):
        return np.zeros((u.size, u.size))
    n = across / size
    plane = np.eye(u.size) - np.outer(unit, unit) + np.outer(n, n)
    return size / (2 * np.pi * np.linalg.norm(u)) * plane


PAIRS["erf"] = jax.hessian(_erf_pair)
PAIRS["square"] = jax.hessian(_square_pair)
PAIRS["relu"] = _relu_curvature


def residual_curvature(student: MLP, teacher: MLP, neuron: int, inputs=None) -> np.ndarray:
    """B of a neuron: over samples directly; over N(0, I) by `PAIRS`, else on a `gaussian_grid`.

    Parameters
    ----------
    student, teacher : MLP
        Of one hidden layer and one output.
    neuron : int
        Of the student.
    inputs : optional
        None for x ~ N(0, I), or samples.

    Returns
    -------
    ndarray (d, d)
        B = E (f − f*)(x) σ''(w·x) x xᵀ; (d + 1, d + 1) with biases.

    Raises
    ------
    ArgumentError
        For other laws, and for populations in more than two dimensions without a pair formula.

    Examples
    --------
    >>> teacher = gf.MLP.random((2, 2, 1), "tanh", bias=False, seed=0)
    >>> bool(np.abs(residual_curvature(teacher, teacher, 0)).max() < 1e-15)
    True
    """
    law = as_inputs(inputs)
    sigma = activation_of(student)
    W, b = student.weights[0], student.biases[0]
    samples = law.samples
    if samples is None:
        if inputs is not None:
            raise ArgumentError("inputs", type(law).__name__, "None (standard Gaussian) or samples")
        if sigma.name in PAIRS and b is None and teacher.biases[0] is None:
            pair = PAIRS[sigma.name]
            terms = [a * np.asarray(pair(W[neuron], w)) for w, a in zip(W, student.weights[1][0])]
            terms += [
                -c * np.asarray(pair(W[neuron], v)) for v, c in zip(teacher.weights[0], teacher.weights[1][0])
            ]
            return np.sum(terms, axis=0)
        if student.sizes[0] > 2:
            raise ArgumentError("student", f"{student.sizes[0]} inputs", "at most two for this activation")
        samples = gaussian_grid(student.sizes[0])
    X = samples.X
    weight = np.ones(len(X)) if samples.sample_weight is None else samples.sample_weight
    z = X @ W[neuron] + (0.0 if b is None else b[neuron])
    second = sigma.derivatives(z)[2]
    factor = weight / weight.sum() * (student(X) - teacher(X))[:, 0] * second
    extended = X if b is None else np.column_stack([X, np.ones(len(X))])
    return extended.T @ (factor[:, None] * extended)
