"""The bivariate normal distribution function, to 1e-15 absolute for any correlation and any arguments.

Source: Genz, Numerical computation of rectangular bivariate and trivariate normal and t probabilities,
Statistics and Computing 14 (2004), after Drezner & Wesolowsky 1990; the correlation enters with the
sine 1 − ρ² beside it, so that nothing is lost as |ρ| → 1.
"""

from __future__ import annotations

import math

import numpy as np

from .abi import kernel_jit

_TWO_PI = 2.0 * math.pi
_ROOT_TWO_PI = math.sqrt(_TWO_PI)
_HALF_NODES, _HALF_WEIGHTS = np.polynomial.legendre.leggauss(24)


@kernel_jit
def normal_cdf(z):
    """Φ(z)."""
    return 0.5 * math.erfc(-z * 0.7071067811865476)


@kernel_jit
def bivariate_cdf(h, k, rho, rest):
    """P(X ≤ h, Y ≤ k) for standard normal X, Y of correlation ρ; `rest` is 1 − ρ², given accurately."""
    return excess(h, k, rho, rest)[0]


@kernel_jit
def excess(h, k, rho, rest):
    """(P, P − Φ(h)Φ(k)) for P = P(X ≤ h, Y ≤ k); the difference is relatively accurate for |ρ| < 0.9.

    |ρ| < 0.9: P − Φ(h)Φ(k) = (1/2π) ∫_0^{asin ρ} exp(−(h² + k² − 2hk sin t)/(2 cos² t)) dt (Plackett) by
    Gauss–Legendre. Beyond: the value at |ρ| = 1 and the integral from there, its singular part taken out
    in closed form.
    """
    h, k = max(-40.0, min(40.0, h)), max(-40.0, min(40.0, k))  # Φ(−40) is below 1e-349
    product = normal_cdf(h) * normal_cdf(k)
    if rest > 0.19:
        angle = math.atan2(rho, math.sqrt(rest))
        total = 0.0
        for i in range(_HALF_NODES.size):
            sine = math.sin(0.5 * angle * (_HALF_NODES[i] + 1.0))
            total += _HALF_WEIGHTS[i] * math.exp((sine * h * k - 0.5 * (h * h + k * k)) / (1.0 - sine * sine))
        difference = total * angle / (2.0 * _TWO_PI)
        return product + difference, difference
    if rho < 0.0:  # P(X ≤ h, Y ≤ k; ρ) = P(X ≤ h) − P(X ≤ h, −Y ≤ −k; −ρ)
        value = 0.0
        if h + k <= 0.0:
            value = max(0.0, -_correction(h, -k, rest))
        elif h > -k:
            value = max(0.0, normal_cdf(h) - normal_cdf(-k) - _correction(h, -k, rest))
    else:
        value = normal_cdf(min(h, k)) + _correction(h, k, rest)
    return value, value - product


@kernel_jit
def _correction(h, k, rest):
    """P(X ≤ h, Y ≤ k; ρ) − Φ(min(h, k)) for ρ ≥ 0: −(1/2π) ∫_0^{√(1−ρ²)} of the density in √(1−ρ²)."""
    hk, gap = h * k, (h - k) * (h - k)
    c, d = (4.0 - hk) / 8.0, (12.0 - hk) / 16.0
    a = math.sqrt(max(rest, 0.0))
    total = 0.0
    if a > 0.0:
        exponent = -0.5 * (gap / rest + hk)
        if exponent > -100.0:
            bracket = 1.0 - c * (gap - rest) * (1.0 - d * gap / 5.0) / 3.0 + c * d * rest * rest / 5.0
            total = a * math.exp(exponent) * bracket
        if hk > -100.0:
            b = math.sqrt(gap)
            tail = _ROOT_TWO_PI * normal_cdf(-b / a) * b
            total -= math.exp(-0.5 * hk) * tail * (1.0 - c * gap * (1.0 - d * gap / 5.0) / 3.0)
        for i in range(_HALF_NODES.size):
            x = 0.5 * a * (_HALF_NODES[i] + 1.0)
            x *= x
            root = math.sqrt(1.0 - x)
            exponent = -0.5 * (gap / x + hk)
            if exponent > -100.0:
                smooth = math.exp(-0.5 * hk * x / ((1.0 + root) * (1.0 + root))) / root
                rest_of = smooth - (1.0 + c * x * (1.0 + d * x))
                total += 0.5 * a * _HALF_WEIGHTS[i] * math.exp(exponent) * rest_of
    return -total / _TWO_PI
