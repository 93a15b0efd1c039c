"""How small is small: what can be explained of the targets, and what cancels in each component of ∇L.

Scaling the targets and the output layer by α multiplies L by α², ∂L/∂(output weight) by α and every other
component of ∇L by α²; an offset of the targets that an output bias takes up changes nothing. Verdicts
must do the same, so each component is measured by itself. With residuals r and J = ∂f/∂θ, by Cauchy–Schwarz,

    |∂_i L| ≤ 2 Σ_o ρ_o J_oi,    ρ_o² = E r_o²,    J_oi² = E (∂f_o/∂θ_i)²,

and with ρ the spread of the targets (what is left to explain once the output bias has done its part) the
right side is the size of the component while nothing has been learned. Its rounding is that of the targets,
a few ε times 2 Σ_o J_oi |y_o|. Weights that cancel each other, M_o = Σ_j J_oj |θ_j| ≫ |y_o|, as they do on
the way to infinity, make J as large as they are; that does not count.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..inputs import Gaussian
from ..networks import MLP
from ..objective import EPS, GradientSizes
from ..support.errors import ArgumentError

CANCELLED = 100.0
"""Ratio M_o/|y_o| beyond which weights cancel."""

LARGEST, SMALLEST = 2.0**480, 2.0**-440
"""Sizes of targets whose squares, sums of squares and rounding errors of these Float64 can hold."""


class Targets(NamedTuple):
    """What a loss says of its targets, output by output, (outputs,) each.

    spread  ρ_o: their distance from what a student without hidden neurons answers at best, root mean square
    size    of the terms whose sum they are
    """

    spread: np.ndarray
    size: np.ndarray

    @property
    def total(self) -> float:
        """The spread of all outputs together."""
        return math.hypot(*self.spread) or math.hypot(*self.size) or 1.0


def sample_targets(student: MLP, targets: np.ndarray, weights: np.ndarray, squared: bool, X) -> Targets:
    """Of targets (samples, outputs), or of class probabilities where the loss is not `squared`.

    Where the spread of an output is zero the student at its starting point has to do, and if that is
    constant, too, the other outputs. X (samples, features) are the inputs.
    """
    bias = student.biases[-1] is not None
    share = weights / weights.sum()

    def spread(values: np.ndarray, uniform: float = 0.0) -> np.ndarray:
        scale = np.abs(values).max(axis=0)
        unit = np.where(scale > 0, scale, 1.0)
        rows = values / unit
        rows = rows - (share @ rows if bias else uniform / unit)
        found = np.sqrt(share @ rows**2)
        return np.where(found > 16 * EPS, found, 0.0) * scale

    if squared:
        found, largest = spread(targets), np.abs(targets).max(axis=0)
        size = largest * np.sqrt(share @ (targets / np.where(largest > 0, largest, 1.0)) ** 2)
    else:
        found, size = spread(targets, 1.0 / targets.shape[1]), np.ones(targets.shape[1])
    if (found == 0).any():
        with np.errstate(over="ignore", invalid="ignore"):
            start = spread(student(X)) if squared else size
        found = np.where((found == 0) & np.isfinite(start), start, found)
        found = np.where(found == 0, math.hypot(*found), found)
    return Targets(found, size)


class Moments(NamedTuple):
    """Of a teacher: E f*_o² and E f*_o (outputs,), and the sizes of the terms of f*_o, Σ_j |c_oj| √K_jj."""

    squares: np.ndarray
    means: np.ndarray
    sizes: np.ndarray


def mixed(parts: list[Moments], shares: np.ndarray) -> Moments:
    """The moments under the law of which these are the parts."""
    squares, means, sizes = (
        shares @ np.array(column) for column in zip(*[(m[0], m[1], m[2] ** 2) for m in parts])
    )
    return Moments(squares, means, np.sqrt(sizes))


def moment_targets(moments: Moments, objective, student: MLP) -> Targets:
    """The targets that a teacher of these moments is.

    Where it is constant, within rounding, what the student's starting point is from the best constant, by
    the `objective`.
    """
    squares, means, sizes = moments
    bias = student.biases[-1] is not None
    variance = squares - means**2 if bias else squares
    # Seen on teachers that cancel: up to 1e-15 of sizes². Below, nothing is left of the digits.
    spread = np.sqrt(np.where(variance > 1e-14 * sizes**2, variance, 0.0))
    if not spread.any():
        loss, gradient = objective.loss_and_gradient(student.flat())
        offset = 0.25 * float(np.sum(gradient[-sizes.size :] ** 2)) if bias else 0.0
        rest = loss - offset
        spread = np.full(sizes.size, math.sqrt(rest / sizes.size) if 0.0 < rest < math.inf else 0.0)
    return Targets(np.where(spread == 0, math.hypot(*spread), spread), sizes)


def check_targets(argument: str, targets: np.ndarray) -> None:
    """`ArgumentError` for targets whose squares leave the range of Float64."""
    largest = float(np.abs(targets).max(initial=0.0))
    if largest >= LARGEST or 0.0 < largest <= SMALLEST:
        allowed = (
            f"targets between {SMALLEST:.0e} and {LARGEST:.0e} in size: Float64 cannot hold other squares"
        )
        raise ArgumentError(
            argument, f"numbers as {'large' if largest > 1 else 'small'} as {largest:g}", allowed
        )


def output_start(student: MLP) -> int:
    """Where the parameters of the output layer begin in θ."""
    return student.size - student.weights[-1].size - (0 if student.biases[-1] is None else student.sizes[-1])


SILENT = 1e-2
"""A neuron that takes no part (zero weights, or none to the outputs) is known to rounding only: its
components of ∇L are in proportion to what is left of its weights, as is J. J counts as no smaller than this
part of the largest in its block, so that what is zero within 1e-14 of the other neurons is zero, and as no
smaller than this part of what it would be with output weights that explain the targets by activations of
1. What takes part is told by J_i |θ_i|, at least this part of the targets: not by J_i, which is small as well
for a neuron of large w and small a."""


class Blocks(NamedTuple):
    """Where the weights of each layer and its biases are within θ, and the output weights among them."""

    every: tuple[slice, ...]
    output: slice


def weight_blocks(student: MLP) -> Blocks:
    """The slices of θ that belong to a layer's weights or its bias, and that of the output layer."""
    blocks, start, output = [], 0, slice(0)
    for W, b in zip(student.weights, student.biases):
        output = slice(start, start + W.size)
        for part in (W, b):
            if part is not None:
                blocks.append(slice(start, start + part.size))
                start += part.size
    return Blocks(tuple(blocks), output)


def network_sizes(
    squares: np.ndarray, theta: np.ndarray, targets: Targets, rounding: float, blocks: Blocks
) -> GradientSizes:
    """From J² (outputs, P) at θ: the formulas above, for squared errors; `rounding` per unit of targets."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        slopes = np.sqrt(squares)
        natural = np.maximum(targets.size, targets.spread)
        spread = targets.spread * np.minimum(CANCELLED * natural / (slopes @ np.abs(theta)), 1.0)
        _with_silent(slopes, theta, targets, blocks)
        return GradientSizes(2.0 * spread @ slopes, 2.0 * rounding * natural @ slopes)


def _with_silent(slopes: np.ndarray, theta: np.ndarray, targets: Targets, blocks: Blocks) -> None:
    """Raise what is too small for neurons that take no part (`SILENT`)."""
    outputs = slopes.shape[0]
    largest = np.abs(theta[blocks.output]).reshape(outputs, -1).max(axis=1, keepdims=True)
    values = np.maximum(slopes[:, blocks.output].max(axis=1, keepdims=True), 1.0)  # √K of the neurons
    for block in blocks.every:
        part = slopes[:, block]
        most = part.max(axis=1, keepdims=True)
        if block == blocks.output:
            most = values
        elif block.start < blocks.output.start:
            # with output weights of the size ρ/√K
            explaining = targets.spread[:, None] / values
            most = np.where(largest > 0.0, most * np.maximum(explaining / largest, 1.0), most)
        # a neuron that takes part, whatever the sizes of w and a that make its share, is not raised
        silent = part * np.abs(theta[block]) < SILENT * targets.spread[:, None]
        slopes[:, block] = np.where(silent, np.maximum(part, SILENT * most), part)


def term_sizes(squares: np.ndarray, theta: np.ndarray, targets: Targets) -> np.ndarray:
    """Sizes of the terms of f_o − f*_o, (outputs,): Σ_j J_oj |θ_j|, and those of the targets."""
    return np.sqrt(squares) @ np.abs(theta) + targets.size


def population_squares(student: MLP, theta: np.ndarray, law: Gaussian) -> np.ndarray:
    """E (∂f_o/∂θ_i)² (outputs, P) of one hidden layer, x ~ N(m, C), to a few percent, by quadrature.

    z = w·x + b = μ + τζ with ζ ~ N(0, 1), and x_k given ζ is normal with mean m_k + κ_k ζ, κ = Cw/τ, and
    variance C_kk − κ_k²: one integral over ζ for each of E σ², E σ'², E σ'²ζ and E σ'²ζ². Its nodes are
    dense about ζ = 0 and, where σ has its features, about z = 0, however steep the neuron.
    """
    here = student.with_flat(theta)
    W, A = here.weights
    d = W.shape[1]
    mean = np.zeros(d) if law.mean is None else law.mean
    shifted = W if law.cov is None else W @ law.cov
    variances = np.ones(d) if law.cov is None else np.diag(law.cov)
    tau = np.sqrt(np.maximum(np.einsum("ij,ij->i", W, shifted), 0.0))
    mu = W @ mean + (0.0 if here.biases[0] is None else here.biases[0])
    kappa = shifted / np.where(tau > 0, tau, 1.0)[:, None]
    if not (np.isfinite(mu).all() and np.isfinite(tau).all()):
        return np.full((A.shape[0], student.size), np.inf)
    zeta, shares = _nodes(mu, tau)
    kinds = student.neuron_activations(0)
    values, slopes = np.empty_like(zeta), np.empty_like(zeta)
    for sigma in set(kinds):
        chosen = np.array([kind == sigma for kind in kinds])
        z = mu[chosen, None] + tau[chosen, None] * zeta[chosen]
        values[chosen], slopes[chosen] = sigma.derivatives(z, 1)
    value = np.sum(shares * values**2, axis=1)
    weighted = shares * slopes**2
    zero, one, two = (np.sum(weighted * zeta**k, axis=1)[:, None] for k in range(3))
    inputs = (
        zero * (mean**2 + np.maximum(variances - kappa**2, 0.0)) + 2 * one * mean * kappa + two * kappa**2
    )
    outputs = A.shape[0]
    parts = [(A**2)[:, :, None] * inputs]
    if here.biases[0] is not None:
        parts.append(A**2 * zero.T)
    parts.append(np.eye(outputs)[:, :, None] * value)
    if here.biases[1] is not None:
        parts.append(np.eye(outputs))
    return np.concatenate([np.maximum(part, 0.0).reshape(outputs, -1) for part in parts], axis=1)


def _nodes(mu: np.ndarray, tau: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ζ (n, m), ascending, and the shares of the normal law that they stand for, (n, m)."""
    around = np.linspace(-9.0, 9.0, 361)
    features = np.sinh(np.linspace(-12.0, 12.0, 161)) * (20.0 / math.sinh(12.0))  # in z, from 1e-4 to 20
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        moved = (features - mu[:, None]) / tau[:, None]
    moved = np.clip(np.where(np.isfinite(moved), moved, 0.0), -9.0, 9.0)
    zeta = np.sort(np.concatenate([np.broadcast_to(around, (mu.size, around.size)), moved], axis=1), axis=1)
    lengths = np.gradient(zeta, axis=1) if zeta.shape[1] > 1 else np.ones_like(zeta)
    density = np.exp(-0.5 * zeta**2) * lengths
    return zeta, density / density.sum(axis=1, keepdims=True)
