"""Teacher networks of the papers, ready made."""

from __future__ import annotations

import numpy as np

from .networks import MLP
from .support.errors import ArgumentError
from .support.threads import single_threaded_blas
from .support.validate import generator, integer, real_array

__all__ = ["orthonormal", "random"]


def orthonormal(
    width: int, input_dim: int, activation="erf", *, norms=None, output_weights=None, seed=None
) -> MLP:
    """A teacher with orthonormal input weights: f*(x) = Σ_j c_j σ(r_j v_j·x), no biases, one output.

    Parameters
    ----------
    width : int
        Number k of neurons, at most `input_dim`.
    input_dim : int
        Number d of inputs.
    activation : optional
        As in `MLP`.
    norms : array_like, shape (k,), optional
        r_j; one each unless given.
    output_weights : array_like, shape (k,), optional
        c_j; one each unless given.
    seed : optional
        The v_j are the first k unit vectors, or, with a seed, k orthonormal vectors drawn uniformly (QR of a
        Gaussian matrix with the signs of R's diagonal taken out [1]_).

    Returns
    -------
    MLP

    References
    ----------
    .. [1] F. Mezzadri, How to generate random matrices from the classical compact groups, Notices of the AMS
       54 (2007) 592–604.

    Examples
    --------
    >>> orthonormal(2, 3, norms=[1.0, 2.0]).weights[0]
    array([[1., 0., 0.],
           [0., 2., 0.]])
    """
    width = integer("width", width, 1)
    input_dim = integer("input_dim", input_dim, 1)
    if width > input_dim:
        raise ArgumentError("width", width, f"at most input_dim = {input_dim}")
    scales = _per_neuron("norms", norms, width)
    outputs = _per_neuron("output_weights", output_weights, width)
    V = np.eye(width, input_dim)
    if seed is not None:
        with single_threaded_blas():
            Q, R = np.linalg.qr(generator("seed", seed).standard_normal((input_dim, width)))
        V = (Q * np.sign(np.diag(R))).T
    return MLP([scales[:, None] * V, outputs[None, :]], None, activation)


def random(sizes, activation="erf", bias=True, *, seed, init: str = "normal", gain: float = 1.0) -> MLP:
    """A teacher with random parameters: `MLP.random` with N(0, 1) weights and biases unless `init` differs.

    Parameters
    ----------
    sizes : sequence of int
        (in, hidden…, out).
    activation, bias, seed, init, gain
        As in `MLP.random`.

    Returns
    -------
    MLP

    Examples
    --------
    >>> random((2, 4, 1), "softplus", seed=0)
    MLP(2-4-1, softplus, biases, 17 parameters)
    """
    return MLP.random(sizes, activation, bias, seed=seed, init=init, gain=gain)


def _per_neuron(argument: str, given, width: int) -> np.ndarray:
    if given is None:
        return np.ones(width)
    values = real_array(argument, given, 1)
    if values.size != width:
        raise ArgumentError(argument, f"shape {values.shape}", f"shape ({width},), one per neuron")
    return values


def __dir__() -> list[str]:
    return sorted(__all__)
