"""The bivariate normal distribution function, to 1e-15 absolute for any correlation and any arguments.

Source: Genz, Numerical computation of rectangular bivariate and trivariate normal and t probabilities,
Statistics and Computing 14 (2004), after Drezner & Wesolowsky 1990; the correlation enters with the
sine 1 − ρ² beside it, so that nothing is lost as |ρ| → 1. How many nodes an integral gets depends on the
sharpness of its integrand (measured: 1e-15 of the integral, as with more of them).
"""

from __future__ import annotations

import math

import numpy as np

from ..empirical.tiles import lane_sum
from .abi import inner_jit, kernel_jit
from .blas import vector
from .gauss_legendre import gauss_legendre
from .vector_math import exp, polynomial, select

_TWO_PI = 2.0 * math.pi
_ROOT_TWO_PI = math.sqrt(_TWO_PI)
TERMS = 24
"""Doubles of work space."""

# Nodes on [0, 1] and weights of the rules of 8, 16 and 24 nodes, one after the other.
_RULES = tuple(gauss_legendre(8 * k) for k in (1, 2, 3))
_NODES = np.concatenate([0.5 * (1.0 + nodes) for nodes, _ in _RULES])
_WEIGHTS = np.concatenate([0.5 * weights for _, weights in _RULES])
# (sin t − t)/t³ in t² for |t| ≤ 1.13; error 2^-62.
_SIN = tuple((-1.0) ** (k + 1) / math.factorial(2 * k + 3) for k in range(9))


@kernel_jit
def normal_cdf(z):
    """Φ(z)."""
    return 0.5 * math.erfc(-z * 0.7071067811865476)


FAR = 0.19
"""1 − ρ² above which `excess` serves, below which `near_one`."""


@inner_jit
def excess(h, k, angle, memory):
    """P(X ≤ h, Y ≤ k) − Φ(h)Φ(k) for ρ = sin(angle), |ρ| < 0.9 and |h|, |k| ≤ 40, relatively accurate.

    (1/2π) ∫_0^angle exp(−(h² + k² − 2hk sin t)/(2 cos² t)) dt (Plackett) by Gauss–Legendre.
    """
    terms = vector(memory, TERMS)
    size, sharpness = abs(angle), abs(angle) * (1.0 + max(h * h, k * k))
    nodes, first = np.int64(24), np.int64(24)
    if size <= 0.3 and sharpness <= 1.5:
        nodes, first = np.int64(8), np.int64(0)
    elif size <= 0.6 and sharpness <= 20.0:
        nodes, first = np.int64(16), np.int64(8)
    product, half = h * k, 0.5 * (h * h + k * k)
    for i in range(nodes):
        t = angle * _NODES[first + i]
        square = t * t
        sine = t + t * square * polynomial(square, _SIN)
        terms[i] = _WEIGHTS[first + i] * exp((sine * product - half) / (1.0 - sine * sine))
    return lane_sum(memory, nodes) * angle / _TWO_PI


@inner_jit
def near_one(h, k, rho, rest, memory):
    """P(X ≤ h, Y ≤ k) for |ρ| ≥ 0.9: the value at |ρ| = 1 and the integral from there."""
    if rho >= 0.0:
        return normal_cdf(min(h, k)) + _correction(h, k, rest, memory)
    # P(X ≤ h, Y ≤ k; ρ) = P(X ≤ h) − P(X ≤ h, −Y ≤ −k; −ρ)
    if h + k <= 0.0:
        return max(0.0, -_correction(h, -k, rest, memory))
    return max(0.0, normal_cdf(h) - normal_cdf(-k) - _correction(h, -k, rest, memory))


@inner_jit
def _correction(h, k, rest, memory):
    """P(X ≤ h, Y ≤ k; ρ) − Φ(min(h, k)) for ρ ≥ 0: −(1/2π) ∫_0^{√(1−ρ²)} of the density in √(1−ρ²).

    Its singular part is taken out in closed form.
    """
    if not rest > 0.0:
        return 0.0
    hk, gap = h * k, (h - k) * (h - k)
    c, d = (4.0 - hk) / 8.0, (12.0 - hk) / 16.0
    a, total = math.sqrt(rest), 0.0
    exponent = -0.5 * (gap / rest + hk)
    if exponent > -100.0:
        bracket = 1.0 - c * (gap - rest) * (1.0 - d * gap / 5.0) / 3.0 + c * d * rest * rest / 5.0
        total = a * math.exp(exponent) * bracket
    if hk > -100.0:
        b = math.sqrt(gap)
        tail = _ROOT_TWO_PI * normal_cdf(-b / a) * b
        total -= math.exp(-0.5 * hk) * tail * (1.0 - c * gap * (1.0 - d * gap / 5.0) / 3.0)
    terms = vector(memory, TERMS)
    for i in range(TERMS):
        x = a * _NODES[24 + i]
        x *= x
        root = math.sqrt(1.0 - x)
        exponent = -0.5 * (gap / x + hk)
        smooth = exp(-0.5 * hk * x / ((1.0 + root) * (1.0 + root))) / root
        rest_of = smooth - (1.0 + c * x * (1.0 + d * x))
        term = _WEIGHTS[24 + i] * exp(exponent) * rest_of
        terms[i] = select(exponent > -100.0, term, 0.0)
    return -(total + a * lane_sum(memory, np.int64(TERMS))) / _TWO_PI
