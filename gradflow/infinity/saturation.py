"""Neurons at infinity: a bias that grows without bound until the neuron is linear, or constant.

On samples, softplus(w·x + b) → w·x + b as b → ∞: a student that would rather have a linear term drifts
there, ever more slowly, its loss falling like e^{−b}. Sigmoids saturate in the same way. Derived here.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..losses.problem import Problem
from ..objective import Restricted
from ..refiners import TrustRegionNewton
from ..support.progress import Monitor
from ..support.stopping import StopReason

NEAR, FAR, BEYOND = 3.0, 6.0, 40.0
"""Smallest |z| over the samples: from the first on a neuron is looked at; at the second L must still be above
its limit; at the third e^{−|z|} is below rounding and the limit is reached."""


@dataclasses.dataclass(frozen=True, eq=False)
class Saturation:
    """A neuron whose bias goes to infinity and the limit, which Float64 reaches at a finite bias.

    Attributes
    ----------
    neuron, side : int
        Its number; +1 for b → +∞, −1 for b → −∞.
    slope : float
        dσ/dz there: 1 for a neuron that becomes linear, 0 for one that becomes a constant.
    loss : float
        The limit.
    excess : float
        The loss above it with the neuron at |z| ≥ 6 on all samples.
    grad_norm : float
        ∞-norm of ∇L over all parameters at the end point, where the limit is reached.

    Examples
    --------
    >>> print(Saturation(neuron=1, side=1, slope=0.0, loss=0.1, excess=1e-16, grad_norm=1e-15))
    the bias of neuron 1 goes to +∞, where the neuron is constant on all samples: limit of the loss 0.1
    """

    neuron: int
    side: int
    slope: float
    loss: float
    excess: float
    grad_norm: float

    def __str__(self) -> str:
        shape = "constant" if self.slope == 0.0 else "linear"
        sign = "+" if self.side > 0 else "−"
        return (
            f"the bias of neuron {self.neuron} goes to {sign}∞, where the neuron is {shape} on all samples: "
            f"limit of the loss {self.loss:.15g}"
        )


def saturated(problem: Problem, theta: np.ndarray, monitor: Monitor) -> tuple[Saturation, np.ndarray] | None:
    """The neuron at infinity to which `theta` (P,) leads, and a point where its limit is reached.

    For a neuron with z of one sign on all samples: its bias is moved out and the output bias with it, and
    with both scale and bias of the neuron held, Newton's method minimises over the rest. That must be
    critical in all parameters, no worse than θ, and better than the same with the neuron nearer.
    """
    student = problem.student
    samples = None if problem.inputs is None else problem.inputs.samples
    if student is None or samples is None or len(student.weights) != 2:
        return None
    if student.sizes[-1] != 1 or any(b is None for b in student.biases):
        return None
    here = student.with_flat(theta)
    bias = here.biases[0]
    assert bias is not None
    z = samples.X @ here.weights[0].T + bias
    kinds = here.neuron_activations(0)
    loss = problem.loss(theta)
    for i in np.argsort(-np.abs(z).min(axis=0)):
        side = 1 if z[0, i] > 0 else -1
        if (side * z[:, i]).min() < NEAR:
            break
        sigma = kinds[i]
        slope = float(np.round(sigma.derivatives(np.array([side * BEYOND]), order=1)[1][0], 12))
        if slope not in (0.0, 1.0) or sigma.record.is_straight:
            continue
        ends = []
        for distance in (FAR, BEYOND):
            point = _moved(problem, theta, int(i), side, distance, z[:, i], sigma)
            ends.append(_minimised(problem, point, int(i), monitor))
        (near, _), (limit, point) = ends
        gradient = problem.gradient(point)
        if not problem.objective.is_critical(point, gradient):
            continue
        rounding = 1e-13 * abs(loss) + problem.objective.loss_floor
        if limit <= loss + rounding and near > limit + rounding:
            norm = float(np.abs(gradient).max())
            return Saturation(int(i), side, slope, limit, near - limit, norm), point
    return None


def _places(problem: Problem, i: int) -> tuple[int, int]:
    """Where the neuron's bias and its output weight are in θ."""
    assert problem.student is not None
    inputs, width = problem.student.sizes[:2]
    return width * inputs + i, width * (inputs + 1) + i


def _moved(problem: Problem, theta, i: int, side: int, distance: float, z, sigma) -> np.ndarray:
    """θ with |z_i| ≥ distance on all samples, the mean output kept by the output bias."""
    shift = side * max(distance - float((side * z).min()), 0.0)
    bias, output = _places(problem, i)
    point = theta.copy()
    point[bias] += shift
    point[-1] -= theta[output] * float(np.mean(sigma(z + shift) - sigma(z)))
    return point


def _minimised(problem: Problem, theta, i: int, monitor: Monitor) -> tuple[float, np.ndarray]:
    """The minimum with the neuron's bias and output weight held."""
    free = np.ones(theta.size, dtype=bool)
    free[list(_places(problem, i))] = False
    restricted = Restricted(problem.objective, theta, free)
    end = TrustRegionNewton(max_iterations=200).refine(restricted, theta[free], monitor)
    if end.stop_reason is StopReason.INTERRUPTED:
        return np.inf, theta
    return end.loss, restricted.full(end.theta)
