"""Pair kernels as functions of three scalars: K(s, s', q), s = |w|², s' = |w'|², q = w·w'.

    erf   K = (2/π) asin(q/√((1+s)(1+s')))
    relu  K = (√(ss'−q²) + (π−θ) q)/2π, cos θ = q/√(ss')

for x ~ N(0, I). Symmetric points have few different triples (s, s', q) however wide the networks are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..support.errors import ArgumentError

COLLINEAR = 1e-28
"""Below this, sin²θ of a ReLU pair counts as zero: K = q/2 (θ = 0) or 0 (θ = π) to second order."""

Table = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Values (t,), gradients (t, 3) and Hessians (t, 3, 3) with respect to (s, s', q)."""


def erf(s: np.ndarray, t: np.ndarray, q: np.ndarray) -> Table:
    """K, its gradient and its Hessian for erf; D² = (1+s)(1+t) − q²."""
    S, T = 1.0 + s, 1.0 + t
    D = np.sqrt(1.0 + s + t + (s * t - q * q))
    value = (2 / math.pi) * np.arctan2(q, D)
    gradient = np.stack([-q / (math.pi * S * D), -q / (math.pi * T * D), 2 / (math.pi * D)], axis=1)
    cube = math.pi * D**3
    hessian = np.empty((q.size, 3, 3))
    hessian[:, 0, 0] = q / (math.pi * S * S * D) + q * T / (2 * S * cube)
    hessian[:, 1, 1] = q / (math.pi * T * T * D) + q * S / (2 * T * cube)
    hessian[:, 2, 2] = 2 * q / cube
    hessian[:, 0, 1] = hessian[:, 1, 0] = q / (2 * cube)
    hessian[:, 0, 2] = hessian[:, 2, 0] = -T / cube
    hessian[:, 1, 2] = hessian[:, 2, 1] = -S / cube
    return value, gradient, hessian


def relu(s: np.ndarray, t: np.ndarray, q: np.ndarray) -> Table:
    """K, its gradient and its Hessian for relu; Δ² = st − q².

    At a small angle θ Hessians of whole networks lose a factor 1/θ: their error is about ε/θ.
    """
    square = s * t - q * q
    flat = square <= COLLINEAR * s * t
    D = np.sqrt(np.where(flat, 1.0, square))
    s, t = np.where(flat, 1.0, s), np.where(flat, 1.0, t)
    angle = np.where(flat, np.where(q > 0, 0.0, math.pi), np.arctan2(D, q))
    rest = math.pi - angle
    zero = np.zeros_like(q)
    value = (np.where(flat, zero, D) + rest * q) / (2 * math.pi)
    gradient = np.stack([D / (4 * math.pi * s), D / (4 * math.pi * t), rest / (2 * math.pi)], axis=1)
    hessian = np.empty((q.size, 3, 3))
    hessian[:, 0, 0] = t / (8 * math.pi * s * D) - D / (4 * math.pi * s * s)
    hessian[:, 1, 1] = s / (8 * math.pi * t * D) - D / (4 * math.pi * t * t)
    hessian[:, 2, 2] = 1 / (2 * math.pi * D)
    hessian[:, 0, 1] = hessian[:, 1, 0] = 1 / (8 * math.pi * D)
    hessian[:, 0, 2] = hessian[:, 2, 0] = -q / (4 * math.pi * s * D)
    hessian[:, 1, 2] = hessian[:, 2, 1] = -q / (4 * math.pi * t * D)
    gradient[flat, :2] = 0.0
    hessian[flat] = 0.0
    return value, gradient, hessian


def precise_erf(mp, s, t, q) -> tuple:
    """K, K_s, K_t, K_q for erf in the arithmetic of an mpmath context."""
    D = mp.sqrt((1 + s) * (1 + t) - q * q)
    return (
        2 / mp.pi * mp.atan2(q, D),
        -q / (mp.pi * (1 + s) * D),
        -q / (mp.pi * (1 + t) * D),
        2 / (mp.pi * D),
    )


def precise_relu(mp, s, t, q) -> tuple:
    """K, K_s, K_t, K_q for relu in the arithmetic of an mpmath context."""
    square = s * t - q * q
    if square <= mp.mpf(10) ** (4 - mp.dps) * s * t:
        half = mp.mpf(1) / 2 if q > 0 else mp.mpf(0)
        return q * half, mp.mpf(0), mp.mpf(0), half
    D = mp.sqrt(square)
    rest = (mp.pi - mp.atan2(D, q)) / (2 * mp.pi)
    return D / (2 * mp.pi) + rest * q, D / (4 * mp.pi * s), D / (4 * mp.pi * t), rest


FUNCTIONS: dict[str, tuple[Callable[..., Table], Callable[..., tuple]]] = {
    "erf": (erf, precise_erf),
    "relu": (relu, precise_relu),
}


def find(activation: str) -> tuple[Callable[..., Table], Callable[..., tuple]]:
    """The Float64 and the arbitrary-precision function of an activation; else `ArgumentError`."""
    if activation not in FUNCTIONS:
        raise ArgumentError("activation", repr(activation), " or ".join(map(repr, FUNCTIONS)))
    return FUNCTIONS[activation]
