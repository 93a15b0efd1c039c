"""Teacher networks of the papers, ready made."""

from __future__ import annotations

import numpy as np

from .networks import MLP
from .support.errors import ArgumentError
from .support.threads import single_threaded_blas
from .support.validate import generator, integer, real_array, sequence

__all__ = ["from_arrays", "orthonormal", "parity", "random", "uniform_inputs"]


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

    Raises
    ------
    ArgumentError
        For more neurons than inputs.

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


def uniform_inputs(input_dim: int, samples: int = 30_000, *, seed) -> np.ndarray:
    """Inputs of the parity teachers: uniform in [−√3, √3]^d, so that each has mean zero and variance one.

    Parameters
    ----------
    input_dim : int
        Number d of inputs.
    samples : int, default 30,000
        How many.
    seed : optional
        As in `MLP.random`.

    Returns
    -------
    numpy.ndarray, shape (samples, d)

    Examples
    --------
    >>> uniform_inputs(3, 5, seed=0).shape
    (5, 3)
    """
    input_dim, samples = integer("input_dim", input_dim, 1), integer("samples", samples, 1)
    return generator("seed", seed).uniform(-np.sqrt(3.0), np.sqrt(3.0), (samples, input_dim))


def parity(input_dim: int, width, seed, activation="g", outputs: int = 1) -> MLP:
    """A teacher of Expand-and-Cluster's synthetic tasks: hyperplanes along the diagonals of a cube.

    Parameters
    ----------
    input_dim : int
        Number d of inputs, meant to be uniform in [−√3, √3] (`uniform_inputs`).
    width : int or sequence of int
        Number r of hidden neurons; several for several hidden layers, each on standardised inputs.
    seed : optional
        As in `MLP.random`.
    activation : optional
        As in `MLP`.
    outputs : int, default 1
        How many.

    Returns
    -------
    MLP
        Its outputs have mean zero and variance one over 30,000 inputs drawn with the same seed.

    Raises
    ------
    ArgumentError
        Where there are fewer than r different neurons.

    Notes
    -----
    w ∈ {−1, 0, 1}^d, b ∈ √3 {−2, −1, 0, 1, 2}/3, a ∈ {−1, 1} are drawn until all (w, b) differ; w is
    normalised, then w and b are multiplied by 3, so that |b| is the distance of the hyperplane as drawn
    [1]_ (A.4). A draw w = 0, which is a constant, is repeated. In deep ones the layers above the first are
    drawn in the same way for the standardised outputs of the layer below (A.5).

    References
    ----------
    .. [1] F. Martinelli, B. Şimşek, W. Gerstner and J. Brea, Expand-and-Cluster: Parameter Recovery of
       Neural Networks, ICML 2024.

    Examples
    --------
    >>> parity(8, 4, seed=0)
    MLP(8-4-1, g, biases, 41 parameters)
    >>> parity(8, (4, 2), seed=0).sizes
    (8, 4, 2, 1)
    """
    input_dim = integer("input_dim", input_dim, 1)
    given = (
        [width] if isinstance(width, (int, np.integer)) else sequence("width", width, "an integer or several")
    )
    widths = [integer("width", r, 1) for r in given]
    if not widths:
        raise ArgumentError("width", "an empty list", "one width at least")
    rng = generator("seed", seed)
    H = uniform_inputs(input_dim, seed=rng)
    mean, std = np.zeros(input_dim), np.ones(input_dim)
    weights, biases = [], []
    for r in widths:
        W, b = _diagonals(H.shape[1], r, rng)
        weights.append(W / std)
        biases.append(b - W @ (mean / std))
        H = MLP([weights[-1], np.eye(r)], [biases[-1], None], activation)(H)
        mean, std = H.mean(axis=0), np.maximum(H.std(axis=0), 1e-300)
    A = rng.choice([-1.0, 1.0], (integer("outputs", outputs, 1), widths[-1]))
    answers = H @ A.T
    scale = np.maximum(answers.std(axis=0), 1e-300)
    return MLP([*weights, A / scale[:, None]], [*biases, -answers.mean(axis=0) / scale], activation)


def _diagonals(dim: int, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Different random rows 3w/|w| with entries of w in {−1, 0, 1}, and 3b on the grid of five distances."""
    if dim < 21 and count > 5 * (3**dim - 1):
        raise ArgumentError("width", count, f"at most {5 * (3**dim - 1)} on {dim} inputs")
    rows: dict[tuple, float] = {}
    while len(rows) < count:
        w = rng.integers(-1, 2, dim)
        place = int(rng.integers(-2, 3))
        if w.any():
            rows.setdefault((*w.tolist(), place), place)
    W = np.array([row[:-1] for row in rows], dtype=np.float64)
    b = np.sqrt(3.0) / 3.0 * np.array([row[-1] for row in rows], dtype=np.float64)
    return 3.0 * W / np.linalg.norm(W, axis=1, keepdims=True), 3.0 * b


def from_arrays(arrays, activation="erf", *, transposed: bool = False) -> MLP:
    """A teacher from the arrays of another program: weight matrices, each with its bias after it or without.

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
    >>> from_arrays([[[1.0], [2.0]], [0.5], [[3.0]]], "tanh", transposed=True)
    MLP(2-1-1, tanh, biases [True, False], 4 parameters)
    """
    return MLP.from_arrays(arrays, activation, transposed=transposed)


def _per_neuron(argument: str, given, width: int) -> np.ndarray:
    if given is None:
        return np.ones(width)
    values = real_array(argument, given, 1)
    if values.size != width:
        raise ArgumentError(argument, f"shape {values.shape}", f"shape ({width},), one per neuron")
    return values


def __dir__() -> list[str]:
    return sorted(__all__)
