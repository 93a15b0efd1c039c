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
    """f*(x) = Σ_j c_j σ(r_j v_j·x) with v_j orthonormal: width k ≤ input_dim, no biases, one output.

    norms           r_j, shape (k,); one each unless given
    output_weights  c_j, shape (k,); one each unless given
    seed            v_j are the first k unit vectors, or, with a seed, k orthonormal vectors drawn
                    uniformly (QR of a Gaussian matrix with the signs of R's diagonal taken out)
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
    """A teacher with random parameters, standard normal unless `init` says otherwise; see `MLP.random`."""
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
