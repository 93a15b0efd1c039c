"""The trust-region subproblem in the eigenbasis of the Hessian."""

from __future__ import annotations

import numpy as np

EPS = float(np.finfo(np.float64).eps)


def trust_region_step(values: np.ndarray, coefficients: np.ndarray, radius: float) -> tuple[np.ndarray, bool]:
    """The global minimiser of g·s + ½ s·Λs within |s| ≤ radius, Λ = diag(values) ascending.

    Returns s in the eigenbasis and whether it lies on the boundary. The multiplier μ ≥ max(0, −λ₁)
    solves 1/|s(μ)| = 1/radius by safeguarded Newton; in the hard case (no component of g along the
    lowest eigenvalues) an eigenvector of λ₁ fills the step up to the boundary.
    """
    lowest = values[0]
    scale = max(float(np.abs(values).max()), 1e-300)
    size = float(np.linalg.norm(coefficients))
    if lowest > 1e-14 * scale:
        with np.errstate(over="ignore", invalid="ignore"):
            step = -coefficients / values
            inside = float(np.linalg.norm(step)) <= radius
        if inside:
            return step, False
    floor = max(0.0, -lowest)
    # Hard case: the step at μ = −λ₁ (with the lowest directions left out) stays inside.
    low = values + floor <= 1e-13 * scale
    if low.any() and float(np.linalg.norm(coefficients[low])) <= 1e-14 * max(size, 1e-300):
        inner = np.where(low, 0.0, -coefficients / np.where(low, 1.0, values + floor))
        short = float(np.linalg.norm(inner))
        if short < radius:
            if lowest < -1e-14 * scale:
                inner[0] += np.sqrt(radius**2 - short**2)
                return inner, True
            return inner, False
    lower, upper = floor, floor + size / radius + 1e-300
    multiplier = min(max(floor + 1e-3 * size / radius, lower), upper)
    for _ in range(100):
        shifted = np.maximum(values + multiplier, 1e-300)
        with np.errstate(over="ignore"):  # an infinite length is longer than the radius
            step = -coefficients / shifted
            length = float(np.linalg.norm(step))
        if abs(length - radius) <= 1e-8 * radius:
            break
        if length > radius:
            lower = multiplier
        else:
            upper = multiplier
        with np.errstate(all="ignore"):
            slope = np.sum(coefficients**2 / shifted**3)  # a NumPy number: zero divides without a word
            multiplier += float((length**2 / slope) * (length / radius - 1.0))
        if not lower < multiplier < upper:
            multiplier = 0.5 * (lower + upper)
        if upper - lower <= EPS * upper:
            break
    return step, True
