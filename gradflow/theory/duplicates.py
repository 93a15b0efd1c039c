"""Duplicated neurons: a minimum of n neurons becomes a line of critical points of n + 1.

Replace a neuron (w, a) by two, (w, μa) and (w, (1−μ)a). The function stays, and so do L and ∇L = 0, for
every real μ: a line of critical points. Its index (derived; Fukumizu & Amari 2000 and Şimşek et al. 2021
have the statement for one output): with

    B = E (f − f*)(x) σ''(w·x) x xᵀ     (d × d, the part of ∂²L/∂w² that a vanishing residual removes)

the second-order form of L splits into that of the small network, the one of aμ(1−μ)B on the difference of
the two weight vectors, and zero on the line itself (a cross term between differences of weights and of
output weights is E (f − f*) σ'(w·x) x = 0 at a critical point with a ≠ 0). Hence, by Sylvester's law,

    index(μ) = index(small) + number of eigenvalues of aμ(1−μ)B that are < 0.

So a line of minima of the small network is one of minima where aμ(1−μ)B ⪰ 0, 0 < μ < 1 or outside, and
has negative directions on both sides where B is indefinite. L = E(f − f*)², no ½.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from .. import teachers
from .._train import train
from .._validate import integer
from ..errors import ArgumentError
from ..losses.problem import Problem
from ..networks import MLP
from .check import Check
from .registry import Progress, register

SPLITS = (-1.0, -0.3, 0.2, 0.5, 0.9, 1.4)
"""Values of μ that are looked at: inside and outside of (0, 1)."""

ZERO = 1e-8
"""Eigenvalues below this part of the largest count as zero."""


def split(network: MLP, neuron: int, share: float) -> MLP:
    """The network of one hidden layer with `neuron` twice: output weights μa and (1−μ)a, μ = share.

    Raises `ArgumentError` for deeper networks and neurons that do not exist.
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


def erf_kernel(w, v):
    """E σ(w·x)σ(v·x) for σ(z) = erf(z/√2), in JAX."""
    return 2 / jnp.pi * jnp.arcsin((w @ v) / jnp.sqrt((1 + w @ w) * (1 + v @ v)))


def square_kernel(w, v):
    """E (w·x)²(v·x)², in JAX."""
    return (w @ w) * (v @ v) + 2 * (w @ v) ** 2


KERNELS: dict[str, Callable] = {"erf": erf_kernel, "square": square_kernel}


def residual_curvature(student: MLP, teacher: MLP, neuron: int) -> np.ndarray:
    """B (d, d) of a neuron: the second derivative of E (f − f*) σ(u·x) by u at u = w, by JAX."""
    kernel = KERNELS[student.activations[0].name]  # type: ignore[union-attr]

    def overlap(u):
        total = sum(a * kernel(w, u) for w, a in zip(student.weights[0], student.weights[1][0]))
        return total - sum(c * kernel(v, u) for v, c in zip(teacher.weights[0], teacher.weights[1][0]))

    return np.asarray(jax.hessian(overlap)(jnp.asarray(student.weights[0][neuron])))


def _inertia(matrix: np.ndarray, scale: float) -> tuple[int, int]:
    """Eigenvalues below and within the zero tolerance."""
    values = np.linalg.eigvalsh(matrix)
    return int((values < -ZERO * scale).sum()), int((np.abs(values) <= ZERO * scale).sum())


def critical_line(
    student: MLP, teacher: MLP, neuron: int, shares: Iterable[float] = SPLITS, curvature=residual_curvature
) -> Check:
    """Loss, gradient and index along the line that splits one neuron of a critical point `student`."""
    small = Problem(teacher, student)
    loss = small.loss(small.theta0)
    hessian = small.hessian(small.theta0)
    scale = float(np.abs(hessian).max())
    negative, zero = _inertia(hessian, scale)
    a = float(student.weights[1][0, neuron])
    B = curvature(student, teacher, neuron)
    gradient = float(np.abs(small.gradient(small.theta0)).max())
    worst = moved = 0.0
    wrong, found = 0, []
    for share in shares:
        doubled = Problem(teacher, split(student, neuron, share))
        moved = max(moved, abs(doubled.loss(doubled.theta0) - loss))
        worst = max(worst, float(np.abs(doubled.gradient(doubled.theta0)).max()))
        below, null = _inertia(doubled.hessian(doubled.theta0), scale)
        more, flat = _inertia(a * share * (1.0 - share) * B, scale)
        wrong += abs(below - negative - more) + abs(null - zero - flat - 1)
        found.append(below)
    values = np.linalg.eigvalsh(a * B)
    signs = np.where(np.abs(values) <= ZERO * scale, 0, np.sign(values)).astype(int)
    return Check(
        name="duplicates.critical_line",
        statement="Splitting a neuron (w, a) of a critical point into (w, mu a) and (w, (1 - mu) a) gives "
        "a line of "
        "critical points of the same loss, mu any real number; their index is that of the small network "
        "plus the "
        "number of negative eigenvalues of a mu (1 - mu) B, B = E (f - f*) sigma''(w.x) x x^T, and exactly "
        "one zero "
        "mode more (the line) besides those of B.",
        source="Simsek et al. 2021; Fukumizu & Amari 2000; the form with B derived",
        computed={
            "sizes": list(student.sizes),
            "loss": loss,
            "gradient_before": gradient,
            "gradient_after": worst,
            "loss_changed_by": moved,
            "mu": list(shares),
            "index": found,
            "index_before": negative,
            "signs_of_aB": signs,
        },
        residual=max(worst, moved, float(wrong)),
        tolerance=1e-12,
    )


def minimum(teacher: MLP, width: int, seed: int) -> MLP:
    """The end of a flow of `width` students, refined, as a network."""
    student = MLP.random((teacher.sizes[0], width, 1), teacher.activations[0], False, seed=seed)
    return train(teacher, student, progress=False).student


@register("duplicates")
def _duplicates(size: str, progress: Progress) -> Iterator[Check]:
    cases = [("erf", 4, 2, 0), ("square", 3, 1, 1)]
    if size == "full":
        cases += [("erf", k, n, seed) for k, n in ((5, 1), (5, 3), (6, 2), (8, 3)) for seed in range(3)]
    for activation, k, n, seed in cases:
        progress(f"{n} {activation} students of {k} teachers")
        teacher = teachers.orthonormal(k, k + 1, activation)
        student = minimum(teacher, n, seed)
        for neuron in range(n):
            yield critical_line(student, teacher, neuron)
