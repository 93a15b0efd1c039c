"""The length of the first step."""

from __future__ import annotations

import math

import numpy as np

from .compiled_run import Run
from .measure import root_mean_square


def first_step(
    run: Run, theta: np.ndarray, velocity: np.ndarray, acceleration: np.ndarray, order: int
) -> float:
    """A length for the first step, from the time τ = |θ'|/|θ''| in which θ' changes.

    The error is taken as τ|θ'| (Δt/τ)^(order + 1), in units of the tolerance, and Δt such that it is a
    hundredth: the same in all units of θ and t. After E. Hairer, S. P. Nørsett and G. Wanner, Solving ODEs I
    (1993), section II.4.
    """

    def time(weights: np.ndarray | float = 1.0) -> float:
        speed, change = root_mean_square(velocity * weights), root_mean_square(acceleration * weights)
        return speed / change if 0.0 < change < math.inf else math.inf

    tau = time()
    if not 0.0 < tau < math.inf:  # a loss that is linear here
        tau = (root_mean_square(theta) or 1.0) / (root_mean_square(velocity) or 1.0)
    scale = run.weigh(tau)
    tau = min(tau, time(scale))
    moved = tau * root_mean_square(velocity * scale)
    return tau * min(1.0, (0.01 / moved) ** (1.0 / (order + 1))) if moved > 0.0 else tau
