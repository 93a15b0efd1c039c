"""SGD of a ReLU network on a teacher's outputs: fresh batches of standard Gaussian inputs, or a stored set.

Loss of a batch: the mean of ½|f − f*|², so that a step of rate η is a time η/2 of the flow of E|f − f*|².
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...networks import MLP
from ...support.threads import single_threaded_blas

__all__ = [
    "layers",
    "sgd",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def layers(weights: Sequence, biases: Sequence, X: np.ndarray) -> list[np.ndarray]:
    """The inputs and the output of every layer: ReLU, the last one linear.

    Parameters
    ----------
    weights, biases : sequence of ndarray
        Of the layers.
    X : ndarray, shape (samples, d)
        The inputs.

    Returns
    -------
    list of ndarray, shape (samples, nodes)

    Examples
    --------
    >>> layers([np.array([[1.0], [-1.0]]), np.array([[1.0, 1.0]])], [None, None], np.array([[2.0]]))[1]
    array([[2., 0.]])
    """
    found = [X]
    for l, (W, b) in enumerate(zip(weights, biases)):
        z = found[-1] @ W.T
        if b is not None:
            z += b
        found.append(z if l == len(weights) - 1 else np.maximum(z, 0.0, out=z))
    return found


def sgd(
    student: MLP,
    teacher: MLP,
    rate: float,
    batch: int,
    steps: int,
    seed: int,
    looks: int = 200,
    samples: int | None = None,
) -> Iterator[tuple[int, MLP]]:
    """The student at the start, some times on the way, and at the end.

    Parameters
    ----------
    student, teacher : MLP
        Of ReLU.
    rate : float
        Step size.
    batch, steps : int
        Samples per step, and steps.
    seed : int
        Of the samples.
    looks : int, default 200
        About so many times on the way.
    samples : int, optional
        A stored set of so many, gone through in a new order in each epoch; a fresh batch at each step unless
        given.

    Yields
    ------
    step : int
    network : MLP

    Examples
    --------
    >>> student, teacher = (gf.MLP.random((2, 2, 1), "relu", seed=seed) for seed in (0, 1))
    >>> [step for step, network in sgd(student, teacher, 0.01, 4, 10, seed=0, looks=2)]
    [0, 5, 10]
    """
    rng = np.random.default_rng([1, seed])
    weights = [np.array(W) for W in student.weights]
    biases = [None if b is None else np.array(b) for b in student.biases]
    X = np.empty((batch, student.sizes[0]))
    stored = None if samples is None else rng.standard_normal((samples, student.sizes[0]))
    order = np.empty(0, dtype=int)
    every = max(1, steps // looks)
    for first in range(0, steps, every):
        yield first, MLP(weights, biases, student.activations[0])
        with single_threaded_blas():
            for _ in range(first, min(first + every, steps)):
                if stored is None:
                    rng.standard_normal(out=X)
                else:
                    order = rng.permutation(len(stored)) if order.size < batch else order
                    X, order = stored[order[:batch]], order[batch:]
                _step(weights, biases, X, layers(teacher.weights, teacher.biases, X)[-1], rate)
    yield steps, MLP(weights, biases, student.activations[0])


def _step(weights: list, biases: list, X: np.ndarray, target: np.ndarray, rate: float) -> None:
    """One step of gradient descent on the mean over X of ½|f − target|², in place."""
    seen = layers(weights, biases, X)
    error = (seen[-1] - target) * (rate / len(X))
    for l in range(len(weights) - 1, -1, -1):
        below = (error @ weights[l]) * (seen[l] > 0) if l else error
        weights[l] -= error.T @ seen[l]
        if biases[l] is not None:
            biases[l] -= error.sum(axis=0)
        error = below
