"""Reference solutions of gradient flows: collocation of high order, checked by a second method.

`gauss` and `radau` are collocation at s Gauss–Legendre or Radau IIA points, of order 2s and 2s − 1.
Their stage equations are solved by simplified Newton in the eigenbasis of the step's Hessian, where they
fall apart into P systems of size s. Sources: E. Hairer and G. Wanner, Solving Ordinary Differential
Equations II (1996), sections IV.5 and IV.8; the use of the eigenbasis is derived.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import scipy.integrate
from numpy.polynomial import legendre


class Collocation:
    """Collocation at nodes c (s,) in (0, 1]: stages Z = h A F(y + Z), increment dᵀZ."""

    def __init__(self, nodes: np.ndarray):
        s = nodes.size
        x = 2 * nodes - 1
        basis = legendre.legvander(x, s)
        integral = np.empty((s, s))  # ∫₀^c P_k(2τ − 1) dτ
        integral[:, 0] = nodes
        for k in range(1, s):
            integral[:, k] = (basis[:, k + 1] - basis[:, k - 1]) / (2 * (2 * k + 1))
        self.nodes = nodes
        self.to_coefficients = np.linalg.inv(basis[:, :s])
        self.matrix = integral @ self.to_coefficients
        weights = self.to_coefficients[0]  # ∫₀¹ of the interpolating polynomial
        self.increment = np.linalg.solve(self.matrix.T, weights)

    def extrapolate(self, stages: np.ndarray, ratio: float) -> np.ndarray:
        """Stages of the next step, `ratio` times as long, from the polynomial through 0 and the stages."""
        s = self.nodes.size
        old = legendre.legvander(np.r_[-1.0, 2 * self.nodes - 1], s)
        ahead = legendre.legvander(np.r_[1.0, 2 * (1 + ratio * self.nodes) - 1], s)
        values = ahead @ np.linalg.solve(old, np.vstack([np.zeros(stages.shape[1]), stages]))
        return values[1:] - values[0]


@cache
def gauss(stages: int) -> Collocation:
    """Gauss–Legendre, order 2s."""
    return Collocation(0.5 * (legendre.leggauss(stages)[0] + 1))


@cache
def radau(stages: int) -> Collocation:
    """Radau IIA, order 2s − 1: the zeros of P_s − P_{s−1} on [0, 1], the last of which is 1."""
    coefficients = np.zeros(stages + 1)
    coefficients[stages - 1 :] = -1.0, 1.0
    nodes = 0.5 * (np.sort(legendre.legroots(coefficients).real) + 1)
    nodes[-1] = 1.0
    return Collocation(nodes)


def follow(objective, theta: np.ndarray, t: float, method: Collocation, resolution: float) -> np.ndarray:
    """θ(t) of dθ/dt = −∇L by collocation.

    A step is kept when the last Legendre coefficient of h θ' on it is below `resolution`; at the ends
    of steps the error is, by superconvergence, far smaller than that.
    """
    gradient, hessian = objective.gradient, objective.hessian
    s = method.nodes.size
    y, now, h, guess = np.array(theta), 0.0, 1e-3, np.zeros((s, theta.size))
    while now < t:
        h = min(h, t - now)
        curvatures, vectors = np.linalg.eigh(hessian(y))
        systems = np.eye(s) + h * curvatures[:, None, None] * method.matrix
        stages, previous, solved = guess, np.inf, False
        for _ in range(40):
            slopes = np.array([-gradient(np.ascontiguousarray(y + z)) for z in stages])
            if not np.isfinite(slopes).all():
                break
            residual = (stages - h * method.matrix @ slopes) @ vectors
            change = np.linalg.solve(systems, residual.T[:, :, None])[:, :, 0].T @ vectors.T
            stages = stages - change
            size = np.abs(change).max()
            if size < 1e-14 or (size < 1e-12 and size > 0.3 * previous):  # at round-off
                solved = True
                break
            if size > 2 * previous or not np.isfinite(size):
                break
            previous = size
        tail = np.abs(h * (method.to_coefficients @ slopes)[-1]).max() if solved else np.inf
        if not tail <= resolution:
            h *= 0.4 if not solved else max(0.2, 0.8 * (resolution / tail) ** (1 / s))
            guess = np.zeros_like(guess)
            if h <= 1e-14 * (1 + now):
                raise RuntimeError(f"no solution beyond t = {now:g}")
            continue
        ratio = float(np.clip(0.9 * (resolution / max(tail, 1e-300)) ** (1 / s), 0.3, 2.0))
        ratio = min(ratio, (t - now - h) / h) if now + h < t else 1.0
        y = y + method.increment @ stages
        guess = method.extrapolate(stages, ratio)
        now, h = (t if t - now <= h * (1 + 1e-12) else now + h), h * ratio
    return y


def explicit(objective, theta: np.ndarray, t: float) -> np.ndarray:
    """θ(t) by SciPy's DOP853 at its tightest tolerance."""
    solution = scipy.integrate.solve_ivp(
        lambda _, y: -objective.gradient(np.ascontiguousarray(y)),
        (0.0, t),
        theta,
        method="DOP853",
        rtol=2.5e-14,
        atol=1e-14,
        t_eval=[t],
    )
    return solution.y[:, -1]


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The measure of all errors here: root mean square of (a − b) / (1 + |b|)."""
    return float(np.sqrt(np.mean(((a - b) / (1 + np.abs(b))) ** 2)))


def reference(
    objective, theta: np.ndarray, t: float, second: Callable | None = None
) -> tuple[np.ndarray, float]:
    """θ(t) by Radau IIA of order 13, and its distance to what the second method finds.

    The second method is Gauss collocation of order 16 with other steps, unless one is handed in.
    """
    first = follow(objective, theta, t, radau(7), 1e-8)
    other = follow(objective, theta, t, gauss(8), 3e-9) if second is None else second(objective, theta, t)
    return first, difference(other, first)
