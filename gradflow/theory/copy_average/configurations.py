"""Copy and average (Simsek et al. 2023): the points that the theory is about.

Teacher Σ_{j≤k} σ(v_j·x) with orthonormal v_j, student Σ_{i≤n} a_i σ(w_i·x), n ≤ k, x ~ N(0, I). A
copy-average (CA) point shares the teachers out into n buckets, and each student neuron is the best single
neuron for its bucket. A perturbed-n-copy (P-n-C) point has w_i = α v_i + β Σ_{j≤n, j≠i} v_j + γ Σ_{j>n} v_j
and equal a_i. Here are both, as networks and as symmetric points (`landscape.Ansatz`).

Source: Simsek, Bendjeddou, Gerstner, Brea, Should under-parameterized student networks copy or average
teacher weights?, NeurIPS 2023. The formulas of one neuron are derived (docs/copy-average.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...landscape import Ansatz, SymmetricPoint, symmetric_point
from ...landscape import follow as continued
from ...networks import MLP
from ...support.errors import ArgumentError

__all__ = [
    "OneNeuron",
    "best_ansatz",
    "bucket_ansatz",
    "bucket_student",
    "follow",
    "one_neuron",
    "partitions",
    "perturbed_average",
    "perturbed_copy",
    "perturbed_family",
]


def __dir__() -> list[str]:
    return sorted(__all__)


SOURCE = "Simsek et al., NeurIPS 2023 (copy/average)"


class OneNeuron(NamedTuple):
    """The best single neuron for ℓ orthonormal teachers.

    Attributes
    ----------
    output, norm : float
        a, and |w| along Σ v_j/√ℓ.
    loss : float
        L(ℓ).

    Examples
    --------
    >>> round(one_neuron(3).loss, 10)
    0.0405931773
    """

    output: float
    norm: float
    loss: float


def one_neuron(teachers: int, activation: str = "erf") -> OneNeuron:
    """The optimum of one neuron against ℓ orthonormal teachers, in closed form.

    Parameters
    ----------
    teachers : int
        ℓ.
    activation : str
        "erf" or "relu".

    Returns
    -------
    OneNeuron
        a, |w| (along Σ v_j/√ℓ) and the loss.

    Raises
    ------
    ArgumentError
        For other activations.

    Notes
    -----
    erf    a = ℓ, |w|² = 1/(2ℓ−1), L = ℓ/3 − (2ℓ²/π) asin(1/(2ℓ)), unique up to (−a, −w)
    relu   a|w| = 2ℓ h(1/√ℓ), L = ℓ/2 + ℓ(ℓ−1)/2π − 2ℓ² h(1/√ℓ)², h(cos θ) = (sin θ + (π−θ) cos θ)/2π;
           the scale is free, and fixed here by |w| = a

    Examples
    --------
    >>> from gradflow.theory.copy_average import one_neuron
    >>> one_neuron(2).output, round(one_neuron(2).norm ** 2, 15)  # ℓ and 1/(2ℓ − 1)
    (2, 0.333333333333333)
    >>> round(one_neuron(100).loss / 100, 4)  # → 1/3 − 1/π
    0.015
    """
    l = teachers
    if activation == "erf":
        return OneNeuron(l, (2 * l - 1) ** -0.5, l / 3 - 2 * l * l / math.pi * math.asin(1 / (2 * l)))
    if activation == "relu":
        angle = math.atan2(math.sqrt(l - 1), 1.0)
        h = (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / (2 * math.pi)
        scale = math.sqrt(2 * l * h)
        return OneNeuron(scale, scale, l / 2 + l * (l - 1) / (2 * math.pi) - 2 * (l * h) ** 2)
    raise ArgumentError("activation", repr(activation), "'erf' or 'relu'")


def partitions(k: int, n: int, largest: int | None = None) -> Iterator[tuple[int, ...]]:
    """The partitions of k into n parts ≥ 1, each in descending order.

    Parameters
    ----------
    k, n : int
        Sum and number of the parts.
    largest : int, optional
        No part is larger.

    Yields
    ------
    tuple of int

    Examples
    --------
    >>> list(partitions(5, 2))
    [(4, 1), (3, 2)]
    """
    largest = k if largest is None else largest
    if n == 1:
        if 1 <= k <= largest:
            yield (k,)
        return
    for first in range(min(largest, k - n + 1), 0, -1):
        for rest in partitions(k - first, n - 1, first):
            yield (first, *rest)


def bucket_student(
    sizes: Sequence[int], vectors: np.ndarray, activation: str = "erf", optimum=one_neuron
) -> MLP:
    """The copy-average student of a partition of the teachers.

    Parameters
    ----------
    sizes : sequence of int
        Of the buckets; their sum is k.
    vectors : ndarray (k, d)
        The teachers, orthonormal; each bucket takes the next ones.
    activation : str
        "erf" or "relu".
    optimum : callable
        The best neuron of a bucket, `one_neuron`.

    Returns
    -------
    MLP
        Of one neuron for each bucket; for erf a critical point of the loss.

    Examples
    --------
    >>> import numpy as np
    >>> import gradflow as gf
    >>> from gradflow.theory.copy_average import bucket_student
    >>> student = bucket_student([1, 1, 3], np.eye(5, 6))
    >>> problem = gf.Problem(gf.teachers.orthonormal(5, 6), student)
    >>> bool(abs(problem.gradient(student.flat())).max() < 1e-14)
    True
    """
    rows, outputs, start = [], [], 0
    for size in sizes:
        neuron = optimum(size, activation)
        rows.append(neuron.norm / math.sqrt(size) * vectors[start : start + size].sum(axis=0))
        outputs.append(neuron.output)
        start += size
    return MLP([np.array(rows), np.array(outputs, dtype=np.float64)[None, :]], None, activation)


def bucket_ansatz(sizes: Sequence[int], unused: float | int = 1) -> tuple[Ansatz, np.ndarray]:
    """The CA point of erf for any partition as a symmetric point: one neuron per bucket.

    Parameters
    ----------
    sizes : sequence of int
        Teachers in each bucket.
    unused : float or int, default 1
        Input dimensions without a teacher.

    Returns
    -------
    ansatz : Ansatz
    x : ndarray, shape (p,)

    Examples
    --------
    >>> ansatz, x = bucket_ansatz([1, 2])
    >>> ansatz.student(x).sizes
    (4, 2, 1)
    """
    n = len(sizes)
    ansatz = Ansatz(tuple(sizes), (None,) * n, unused)
    rows = np.zeros((n, n + (unused > 0) + 1))
    for i, size in enumerate(sizes):
        neuron = one_neuron(size)
        rows[i, i], rows[i, -1] = neuron.norm / math.sqrt(size), neuron.output
    return ansatz, ansatz.point(rows.tolist())


def best_ansatz(n: float | int, k: float | int, unused: float | int = 1) -> tuple[Ansatz, np.ndarray]:
    """The best CA point of erf as a symmetric point: n − 1 copies and one average of ℓ = k − n + 1 teachers.

    Parameters
    ----------
    n, k : float or int
        Students and teachers, n ≥ 2; any width, fractions included.
    unused : float or int, default 1
        Input dimensions without a teacher.

    Returns
    -------
    ansatz : Ansatz
    x : ndarray, shape (p,)

    Examples
    --------
    >>> ansatz, x = best_ansatz(3, 5)
    >>> ansatz.teachers, ansatz.groups
    ((2, 3), (0, None))
    """
    l = k - n + 1
    ansatz = Ansatz((n - 1, l), (0, None), unused)
    zero = [0.0] * (unused > 0)
    average = [0.0, (l * (2 * l - 1)) ** -0.5, *zero, l]
    return ansatz, ansatz.point([[(1.0, 0.0), 0.0, *zero, 1.0], average])


def perturbed_family(k: float | int, activation: str = "erf") -> Callable[[float | int], Ansatz]:
    """The ansatz of P-n-C with k teachers as a function of n, 1 < n < k, fractions included.

    Parameters
    ----------
    k : float or int
        Teachers.
    activation : str, default "erf"
        Of both networks.

    Returns
    -------
    callable
        n → `Ansatz`.

    Examples
    --------
    >>> perturbed_family(5)(3).teachers
    (3, 2)
    """
    return lambda n: Ansatz((n, k - n), (0,), 1, activation)


def perturbed_copy(n: float | int, k: float | int, start=None, activation: str = "erf") -> SymmetricPoint:
    """The P-n-C point: a root of the four equations ∂L/∂(α, β, γ, a) = 0.

    Parameters
    ----------
    n, k : float or int
        Widths of student and teacher, 1 < n < k, fractions as well.
    start : ndarray, optional
        x of a point nearby (`SymmetricPoint.x` of another n); by default α = a = 1, β = 0, γ = 1/k, the limit
        for n = k − 1 and large k.
    activation : str
        "erf" or "relu".

    Returns
    -------
    SymmetricPoint
        To 40 digits where its `residual` says so. From far away Newton's method may end elsewhere: `follow`.

    References
    ----------
    Simsek, Bendjeddou, Gerstner & Brea, NeurIPS 2023 (perturbed-n-copy).

    Examples
    --------
    >>> from gradflow.theory.copy_average import perturbed_copy
    >>> point = perturbed_copy(7, 8)
    >>> point.loss_digits[:12], point.spectrum.index
    ('0.0207129768', 0)
    """
    ansatz = perturbed_family(k, activation)(n)
    if start is None:
        start = ansatz.point([[(1.0, 0.0), 1.0 / k, 0.0, 1.0]])
    return symmetric_point(ansatz, np.asarray(start, dtype=np.float64))


def follow(
    widths: Sequence[float | int], k: float | int, activation: str = "erf", ratio: float = 1.04
) -> list[SymmetricPoint]:
    """P-n-C points for widths 1 < n < k, continued from n = k − 1 (`landscape.follow`).

    Parameters
    ----------
    widths : sequence of float or int
        n, descending.
    k : float or int
        Teachers.
    activation : str, default "erf"
        Of both networks.
    ratio : float, default 1.04
        Of the steps between widths, at most.

    Returns
    -------
    list of SymmetricPoint

    Examples
    --------
    >>> [point.residual < 1e-25 for point in follow([4, 3], 5)]
    [True, True]
    """
    first = perturbed_copy(k - 1, k, None, activation)
    family = perturbed_family(k, activation)
    return continued(family, [k - 1, *widths], first.x, ratio)[1:]


def perturbed_average(n: int, k: int, activation: str = "relu") -> SymmetricPoint:
    """The critical point near the best CA point: n − 1 perturbed copies and one average (erf: itself).

    Parameters
    ----------
    n, k : int
        Students and teachers.
    activation : str, default "relu"
        Of both networks.

    Returns
    -------
    SymmetricPoint

    Examples
    --------
    >>> perturbed_average(2, 4).residual < 1e-25
    True
    """
    l = k - n + 1
    neuron = one_neuron(l, activation)
    ansatz = Ansatz((n - 1, l), (0, None), 1, activation)
    average = [0.0, neuron.norm / math.sqrt(l), 0.0, neuron.output]
    return symmetric_point(ansatz, ansatz.point([[(1.0, 0.0), 0.0, 0.0, 1.0], average]))
