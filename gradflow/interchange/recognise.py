"""Which activation a function of another library is, by its values."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..activations import ACTIVATIONS, Activation, resolve
from ..support.errors import ArgumentError

# Irrational, on both sides of 0 and of the corners at which libraries clip (6) or change formula (20).
_POINTS = np.pi * np.array(
    [-9.0, -2.1, -1.3, -0.7, -0.31, -0.11, -0.013, 0.017, 0.13, 0.29, 0.73, 1.1, 2.3, 9.0]
)

AGREES = 1e-11
"""How closely values agree, relative to 1 + |σ|. (`torch.nn.Softplus` leaves out up to 2e-9 above its
threshold of 20, and is taken for what it approximates.)"""


_JAX = ("jax", "jaxlib", "equinox", "functools")


def _is_jax(function: Any) -> bool:
    homes = (type(function).__module__, getattr(function, "__module__", None) or "")
    return any(home.partition(".")[0] in _JAX for home in homes)


def recognise(argument: str, function: Any) -> Activation:
    """The activation of the table whose values a function of arrays has.

    Parameters
    ----------
    argument : str
        What errors call the function.
    function : callable, module or str
        Of arrays.

    Returns
    -------
    Activation

    Raises
    ------
    ArgumentError
        If there is none.

    Examples
    --------
    >>> recognise("activation", np.tanh)
    <Activation 'tanh'>
    """
    if isinstance(function, (str, Activation)):
        return resolve(function)
    own = getattr(function, "activation", None)
    if isinstance(own, Activation):  # a module that was written by `to_torch`
        return own
    described = f"{type(function).__name__} {getattr(function, '__name__', '')}".strip()
    allowed = "one of ACTIVATIONS by its values; or name it: activation=…, one for each hidden layer"
    if not callable(function):
        raise ArgumentError(argument, described, allowed)
    values = _values(argument, function, described, allowed)
    for sigma in ACTIVATIONS.values():
        with np.errstate(over="ignore"):
            exact = sigma(_POINTS)
        slack = np.where(np.abs(_POINTS) > 20.0, 2e-9, AGREES)
        if (np.abs(values - exact) <= slack * (1.0 + np.abs(exact))).all():
            return sigma
    if _is_jax(function):
        return Activation(function)  # from its value alone
    raise ArgumentError(argument, f"{described}, which has the values of no activation here", allowed)


def _values(argument: str, function: Callable, described: str, allowed: str) -> np.ndarray:
    torch = sys.modules.get("torch")
    try:
        if torch is not None and isinstance(function, torch.nn.Module):
            with torch.no_grad():
                return function(torch.from_numpy(_POINTS.copy())).numpy()
        if _is_jax(function):
            import jax.numpy as jnp

            return np.asarray(function(jnp.asarray(_POINTS)), dtype=np.float64)
        return np.asarray(function(_POINTS.copy()), dtype=np.float64).reshape(_POINTS.shape)
    except Exception as error:  # whatever the other library's code raises
        given = f"{described}, which fails on an array ({type(error).__name__}: {error})"
        raise ArgumentError(argument, given, allowed) from error
