"""Theorem 5 of Tian 2020: the exponents."""

from __future__ import annotations

import math

import numpy as np

from gradflow.theory.specialization import noisy


def test_exponents():
    checks = list(noisy.theorem_5(3, 1))
    assert [check.holds for check in checks] == [True, True] and checks[0].cases == 7


def test_nothing_shows_without_a_kink():
    """Free neurons of a smooth activation absorb the error: there is no exponent, and no check holds."""
    smooth = list(noisy.theorem_5(12, 0, activation=lambda z: z * z))
    assert all(math.isnan(check.parts[0].worst) for check in smooth)


def test_interval_of_an_exponent(rng):
    """A line with known noise: the slope within its interval, and the interval of the size it has to be."""
    x = np.logspace(-6, -1, 30)
    y = 3.0 * x**0.7 * np.exp(0.01 * rng.standard_normal(30))
    slope, half = noisy.exponent(x, y)
    spread = np.log(x).std() * np.sqrt(30)
    assert abs(slope - 0.7) < half and 0.5 < half / (3.67 * 0.01 / spread) < 2.0
