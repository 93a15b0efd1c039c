"""The line of critical points that splits a neuron, and its Hessian."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ... import teachers
from ...losses.problem import Problem
from ...networks import MLP
from ...run.training import train
from ...support.errors import ArgumentError
from ...support.validate import integer
from ..check import Check, at_least, at_most, never
from ..registry import Progress, register
from .curvature import activation_of, residual_curvature

__all__ = ["SPLITS", "ZERO", "coordinates", "critical_line", "minimum", "split"]


def __dir__() -> list[str]:
    return sorted(__all__)


SPLITS = (-1.0, -0.3, 0.2, 0.5, 0.9, 1.4)
"""Values of μ that are looked at: inside and outside of (0, 1)."""

ZERO = 1e-12
"""Eigenvalues below this part of the largest entry of the Hessian count as zero: a few hundred roundings.

Congruent forms have eigenvalues of the same signs, not of the same sizes: a coarser cut would take small
ones of one form for zeros and not those of the other."""


def split(network: MLP, neuron: int, share: float) -> MLP:
    """The network with a neuron (w, a) twice: (w, μa) and (w, (1−μ)a). It computes the same function.

    Parameters
    ----------
    network : MLP
        Of one hidden layer.
    neuron : int
        Which one; the other is appended.
    share : float
        μ, any real number.

    Returns
    -------
    MLP
        Of one neuron more.

    Raises
    ------
    ArgumentError
        For deeper networks and neurons that do not exist.

    Examples
    --------
    >>> import numpy as np
    >>> import gradflow as gf
    >>> from gradflow.theory.duplicates import split
    >>> network = gf.MLP.random((3, 2, 1), "tanh", seed=0)
    >>> X = np.ones((1, 3))
    >>> bool(abs(split(network, 1, share=-0.5)(X) - network(X)) < 1e-15)
    True
    """
    if len(network.weights) != 2:
        raise ArgumentError("network", f"{len(network.weights) - 1} hidden layers", "one hidden layer")
    if not 0 <= integer("neuron", neuron, 0) < network.sizes[1]:
        raise ArgumentError("neuron", neuron, f"an index below {network.sizes[1]}")
    W, A = network.weights
    hidden, last = network.biases
    outgoing = np.column_stack([A, (1.0 - share) * A[:, neuron]])
    outgoing[:, neuron] *= share
    bias = None if hidden is None else np.append(hidden, hidden[neuron])
    return MLP([np.vstack([W, W[neuron]]), outgoing], [bias, last], network.activations[0])


def coordinates(network: MLP, neuron: int, share: float) -> np.ndarray:
    """The matrix T with d(parameters of the split network) = T d(θ, ξ, t); its columns in this order.

    Parameters
    ----------
    network : MLP
        Before the split.
    neuron : int
        That is split.
    share : float
        Of its output weight that one of the two gets.

    Returns
    -------
    ndarray, shape (P', P')

    Examples
    --------
    >>> coordinates(gf.MLP.random((2, 1, 1), "tanh", bias=False, seed=0), 0, 0.25).shape
    (6, 6)
    """
    has_bias = network.biases[0] is not None
    size, inputs = network.flat().size, network.sizes[0] + has_bias
    columns = np.zeros((size + inputs + 1, size + inputs + 1))
    for j in range(size + inputs + 1):
        unit = np.zeros(size + inputs + 1)
        unit[j] = 1.0
        there = split(network.with_flat(unit[:size]), neuron, share)
        (W, A), hidden = [np.array(weights) for weights in there.weights], there.biases[0]
        rows = W if hidden is None else np.column_stack([W, hidden])
        rows[neuron] += (1.0 - share) * unit[size : size + inputs]
        rows[-1] -= share * unit[size : size + inputs]
        A[0, neuron] += unit[-1]
        A[0, -1] -= unit[-1]
        bias = rows[:, -1] if has_bias else None
        weights = rows[:, : network.sizes[0]]
        columns[:, j] = MLP([weights, A], [bias, there.biases[1]], network.activations[0]).flat()
    return columns


def _inertia(matrix: np.ndarray, scale: float) -> tuple[int, int]:
    """Eigenvalues below and within the zero tolerance."""
    values = np.linalg.eigvalsh(matrix)
    return int((values < -ZERO * scale).sum()), int((np.abs(values) <= ZERO * scale).sum())


def critical_line(
    student: MLP,
    teacher: MLP,
    neuron: int,
    inputs=None,
    shares: Iterable[float] = SPLITS,
    curvature: Callable = residual_curvature,
) -> Check:
    """Loss, gradient, Hessian and index along the line that splits a neuron of a critical point.

    Parameters
    ----------
    student, teacher : MLP
        The critical point, and what it learns.
    neuron : int
        The one that is split.
    inputs : optional
        None for x ~ N(0, I), or samples.
    shares : iterable of float
        Values of μ.
    curvature : callable
        B, `residual_curvature`.

    Returns
    -------
    Check
        That all points of the line are critical, of one loss, with the Hessian of the module's docstring.

    Raises
    ------
    ArgumentError
        For more than one output: E (f − f*)σ'x need not vanish output by output there.

    Examples
    --------
    >>> import numpy as np
    >>> import gradflow as gf
    >>> from gradflow.theory.duplicates import critical_line
    >>> w = np.append(np.ones(4), 0.0) / np.sqrt(28)  # the best erf neuron for four teachers
    >>> optimum = gf.MLP([w[None], [[4.0]]], None, "erf")
    >>> critical_line(optimum, gf.teachers.orthonormal(4, 5, "erf"), 0).computed["index"]
    [0, 0, 3, 3, 3, 0]
    """
    if student.sizes[-1] != 1:
        raise ArgumentError("student", f"{student.sizes[-1]} outputs", "one output")
    small = Problem(teacher, student, inputs)
    loss = small.loss(small.theta0)
    hessian = small.hessian(small.theta0)
    scale = float(np.abs(hessian).max())
    negative, zero = _inertia(hessian, scale)
    a = float(student.weights[1][0, neuron])
    B = curvature(student, teacher, neuron, inputs)
    gradient = float(np.abs(small.gradient(small.theta0)).max())
    size = hessian.shape[0]
    gradients, moved, off, wrong, found = [], [], [], [], []
    for share in shares:
        doubled = Problem(teacher, split(student, neuron, share), inputs)
        moved.append(abs(doubled.loss(doubled.theta0) - loss) / max(1.0, loss))
        gradients.append(float(np.abs(doubled.gradient(doubled.theta0)).max()) / scale)
        large = doubled.hessian(doubled.theta0)
        T = coordinates(student, neuron, share)
        blocks = np.zeros_like(large)
        blocks[:size, :size] = hessian
        blocks[size:-1, size:-1] = 2.0 * a * share * (1.0 - share) * B
        off.append(float(np.abs(T.T @ large @ T - blocks).max()) / scale)
        below, null = _inertia(large, scale)
        more, flat = _inertia(2.0 * a * share * (1.0 - share) * B, scale)
        wrong += [below != negative + more, null != zero + flat + 1]
        found.append(below)
    values = np.linalg.eigvalsh(a * B)
    signs = np.where(np.abs(values) <= ZERO * scale, 0, np.sign(values)).astype(int)
    return Check(
        name="duplicates.critical_line",
        statement="Splitting a neuron (w, a) of a critical point into (w, mu a) and (w, (1 - mu) a) gives "
        "a line of critical points of the same loss, mu any real number. Its Hessian is congruent to that of "
        "the small network, 2 a mu (1 - mu) B with B = E (f - f*) sigma''(w.x) x x^T, and a zero (the line): "
        "the index is that of the small network plus the number of negative eigenvalues of a mu (1 - mu) B.",
        source="Simsek et al. 2021; Fukumizu & Amari 2000; the form with B derived",
        parts=[
            at_most("|∇L|_∞ on the line over the largest entry of ∇²L", gradients, 3e-14),
            at_most("change of the loss", moved, 3e-15),
            at_most("difference of the blocks over the largest entry of ∇²L", off, 1e-13),
            never("counts of negative and zero eigenvalues that differ", wrong),
            at_least("loss of the small network", loss, 1e-6),
        ],
        computed={
            "activation": activation_of(student).name,
            "sizes": list(student.sizes),
            "inputs": repr(small.inputs),
            "loss": loss,
            "gradient_before": gradient,
            "mu": list(shares),
            "index": found,
            "index_before": negative,
            "eigenvalues_of_aB": values,
            "signs_of_aB": signs,
        },
    )


def minimum(teacher: MLP, width: int, seed: int, inputs=None, attempts: int = 10) -> MLP:
    """The refined end of a flow, as a network with biases where the teacher has them.

    A start that goes to infinity or stops above the rounding of the gradient is followed by another one.

    Parameters
    ----------
    teacher : MLP
        One hidden layer.
    width : int
        Of the student.
    seed : int
        Of the starts.
    inputs : optional
        As in `train`.
    attempts : int, default 10
        Starts at most.

    Returns
    -------
    MLP

    Examples
    --------
    >>> minimum(gf.teachers.orthonormal(2, 2), 1, seed=0).sizes
    (2, 1, 1)
    """
    bias = teacher.biases[0] is not None
    for attempt in range(attempts):
        start = np.random.SeedSequence([seed, attempt])
        student = MLP.random((teacher.sizes[0], width, 1), teacher.activations[0], bias, seed=start)
        result = train(teacher, student, inputs, progress=False)
        if result.grad_norm <= 1e-14 * (1.0 + float(np.abs(result.hessian()).max())):
            break
    return result.student


def _population(size: str) -> Iterator[tuple]:
    """(teacher, students, seed, inputs) of the cases with infinitely many inputs."""
    cases = [("erf", 4, 5, 2, 0), ("square", 3, 4, 1, 1), ("relu", 4, 5, 2, 0), ("tanh", 2, 2, 1, 0)]
    if size == "full":
        pairs = itertools.product(("erf", "relu"), ((5, 1), (5, 3), (6, 2), (8, 3)), range(3))
        cases += [(name, k, k + 1, n, seed) for name, (k, n), seed in pairs]
        cases += [(name, 2, 2, 1, 0) for name in ("softplus", "sigmoid", "silu", "g")]
    for name, k, dim, n, seed in cases:
        yield teachers.orthonormal(k, dim, name), n, seed, None


def _samples(size: str) -> Iterator[tuple]:
    """The same on samples, with biases."""
    names = ("softplus",) if size == "quick" else ("softplus", "tanh", "erf", "gelu", "silu", "g")
    for name, seed in itertools.product(names, range(1 if size == "quick" else 3)):
        X = np.random.default_rng(seed).standard_normal((200, 2))
        yield teachers.random((2, 4, 1), name, seed=seed), 2, seed, X


@register("duplicates")
def _duplicates(size: str, progress: Progress) -> Iterator[Check]:
    for teacher, n, seed, inputs in itertools.chain(_population(size), _samples(size)):
        law = "infinite data" if inputs is None else "samples"
        progress(f"{n} {teacher.activations[0].name} students of {teacher.sizes[1]} teachers, {law}")
        student = minimum(teacher, n, seed, inputs)
        for neuron in range(n):
            yield critical_line(student, teacher, neuron, inputs)
