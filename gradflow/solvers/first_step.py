"""The length of the first step."""

from __future__ import annotations

import math

import numpy as np

from .compiled_run import Run


def first_step(run: Run, theta, velocity, acceleration, order: int) -> float:
    """A length for the first step, from the time τ = |θ'|/|θ''| in which θ' changes.

    The error of a method of this order is taken as τ|θ'| (Δt/τ)^(order + 1), in units of the tolerance, and the
    step's as a hundredth of it: the same in all units of θ and t. After E. Hairer, S. P. Nørsett and G. Wanner,
    Solving ODEs I (1993), section II.4.
    """

    def size(values, weights=1.0) -> float:
        largest = np.abs(values * weights).max(initial=0.0)
        return float(largest * np.sqrt(np.mean((values * weights / largest) ** 2))) if largest > 0.0 else 0.0

    def time(weights=1.0) -> float:
        speed, change = size(velocity, weights), size(acceleration, weights)
        return speed / change if change > 0.0 and math.isfinite(speed / change) else math.inf

    tau = time()
    if not math.isfinite(tau):  # a loss that is linear here
        tau = (size(theta) or 1.0) / (size(velocity) or 1.0)
    scale = run.weigh(tau)
    tau = min(tau, time(scale))
    moved = tau * size(velocity, scale)
    return tau * min(1.0, (0.01 / moved) ** (1.0 / (order + 1))) if moved > 0.0 else tau
