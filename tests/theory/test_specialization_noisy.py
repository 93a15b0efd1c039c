"""Theorem 5 of Tian 2020: the exponents, and the checks with their claims broken."""

from __future__ import annotations

import numpy as np

from gradflow.theory.specialization import noisy


def test_exponents_and_a_smooth_activation():
    """Another exponent fails; without a kink free neurons absorb the error, and nothing can be measured."""
    assert all(check.holds for check in noisy.theorem_5(3, 0))
    assert not any(check.holds for check in noisy.theorem_5(3, 0, expected=0.5))
    smooth = list(noisy.theorem_5(12, 0, activation=lambda z: z * z))
    assert not any(check.holds for check in smooth)


def test_interval_of_an_exponent(rng):
    """A line with known noise: the slope within its interval, and the interval of the size it has to be."""
    x = np.logspace(-6, -1, 30)
    y = 3.0 * x**0.7 * np.exp(0.01 * rng.standard_normal(30))
    slope, half = noisy.exponent(x, y)
    spread = np.log(x).std() * np.sqrt(30)
    assert abs(slope - 0.7) < half and 0.5 < half / (3.67 * 0.01 / spread) < 2.0
