"""Gauss–Legendre rules against the roots of their polynomials at 40 digits."""

import mpmath
import pytest

from gradflow.kernels.math.gauss_legendre import gauss_legendre


@pytest.mark.parametrize("count", [2, 8, 24, 32])
def test_nodes_and_weights(count):
    """Within 1.5e-16 relative."""
    with mpmath.workdps(40):
        for x, w in zip(*gauss_legendre(count), strict=True):
            z = mpmath.findroot(lambda y: mpmath.legendre(count, y), mpmath.mpf(float(x)))
            slope = count * mpmath.legendre(count - 1, z) / ((1 - z) * (1 + z))
            assert abs(x - z) <= 1.5e-16 * abs(z)
            assert abs(w * (1 - z * z) * slope**2 / 2 - 1) <= 1.5e-16
