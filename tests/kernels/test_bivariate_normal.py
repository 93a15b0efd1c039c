"""The bivariate normal distribution function against mpmath quadrature, exact values and symmetries."""

import math

import mpmath
import pytest

from gradflow.kernels.math.abi import kernel_jit
from gradflow.kernels.math.bivariate_normal import FAR, TERMS, excess, near_one, normal_cdf
from gradflow.kernels.math.memory import scratch


@kernel_jit
def bivariate_cdf(h, k, rho, rest):
    """P(X ≤ h, Y ≤ k) for standard normal X, Y of correlation ρ; `rest` is 1 − ρ², given accurately."""
    h, k = max(-40.0, min(40.0, h)), max(-40.0, min(40.0, k))  # Φ(−40) is below 1e-349
    memory = scratch(TERMS)
    if rest > FAR:
        angle = math.atan2(rho, math.sqrt(rest))
        value = normal_cdf(h) * normal_cdf(k) + excess(h, k, angle, memory)
    else:
        value = near_one(h, k, rho, rest, memory)
    return value


def rest_of(rho):
    return float((1 - mpmath.mpf(rho)) * (1 + mpmath.mpf(rho)))


def truth(h, k, rho):
    """∫_{−∞}^h φ(x) Φ((k − ρx)/√(1−ρ²)) dx, split around the step of the integrand."""
    with mpmath.workdps(25):
        h, k, rho = map(mpmath.mpf, (h, k, rho))
        root = mpmath.sqrt((1 - rho) * (1 + rho))
        points = [mpmath.mpf(-14), mpmath.mpf(-5), mpmath.mpf(0), mpmath.mpf(3)]
        points += [(k + m * root) / rho for m in (-12, -6, -3, -1, 0, 1, 3, 6, 12)]
        points = sorted(p for p in points if -14 <= p < h) + [h]
        if h <= -14:
            return 0.0
        return float(mpmath.quad(lambda x: mpmath.npdf(x) * mpmath.ncdf((k - rho * x) / root), points))


@pytest.mark.parametrize("kind", ["any", "near one", "near the diagonal", "at the change", "tails"])
def test_against_quadrature(rng, kind):
    """Within 2.5e-16 absolute: 700 random cases showed 1.5e-16."""
    for _ in range(25):
        h, k = rng.choice([0.3, 1.0, 3.0]) * rng.standard_normal(2)
        sign = rng.choice([-1.0, 1.0])
        rho = rng.uniform(-1, 1)
        if kind == "near one":
            rho = sign * (1 - 10 ** rng.uniform(-15, -1))
        elif kind == "near the diagonal":
            rho = sign * (1 - 10 ** rng.uniform(-6, -1))
            k = rho * h + math.sqrt(rest_of(rho)) * rng.standard_normal()
        elif kind == "at the change":
            rho = sign * rng.uniform(0.88, 0.92)
        elif kind == "tails":
            h, k = rng.uniform(-8, 8, 2)
        assert abs(bivariate_cdf(h, k, rho, rest_of(rho)) - truth(h, k, rho)) <= 2.5e-16


def test_exact_values():
    """P(X ≤ 0, Y ≤ 0) = 1/4 + asin(ρ)/2π; independence; ρ = ±1; arguments far out."""
    for rho in (-0.999999, -0.95, -0.5, 0.0, 0.3, 0.9, 0.95, 1 - 1e-12):
        with mpmath.workdps(30):
            wanted = float(mpmath.mpf(1) / 4 + mpmath.asin(mpmath.mpf(rho)) / (2 * mpmath.pi))
        assert abs(bivariate_cdf(0.0, 0.0, rho, rest_of(rho)) - wanted) <= 1.5e-16
    assert bivariate_cdf(0.3, -1.2, 0.0, 1.0) == normal_cdf(0.3) * normal_cdf(-1.2)
    assert bivariate_cdf(0.3, -1.2, 1.0, 0.0) == normal_cdf(-1.2)
    assert bivariate_cdf(0.3, -1.2, -1.0, 0.0) == 0.0
    assert abs(bivariate_cdf(0.3, 1.2, -1.0, 0.0) - (normal_cdf(0.3) - normal_cdf(-1.2))) <= 1e-16
    for rho in (-0.999, -0.3, 0.5, 0.99999):
        for far in (40.0, 1e8, 1e150, math.inf):
            assert abs(bivariate_cdf(far, 0.7, rho, rest_of(rho)) - normal_cdf(0.7)) <= 2e-16
            assert bivariate_cdf(-far, 0.7, rho, rest_of(rho)) <= 1e-16
            assert abs(bivariate_cdf(far, far, rho, rest_of(rho)) - 1.0) <= 2e-16


def test_symmetries(rng):
    for _ in range(200):
        h, k = 2 * rng.standard_normal(2)
        rho = rng.choice([rng.uniform(-1, 1), 1 - 10 ** rng.uniform(-9, -2)])
        rest = rest_of(rho)
        value = bivariate_cdf(h, k, rho, rest)
        assert abs(value - bivariate_cdf(k, h, rho, rest)) <= 3e-16
        assert abs(value + bivariate_cdf(h, -k, -rho, rest) - normal_cdf(h)) <= 4e-16
