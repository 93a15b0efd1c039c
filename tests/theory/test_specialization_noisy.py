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


def test_a_quarter_of_the_error():
    """The best line for relu(t) on |t| < η is off by η/4, however many students there are."""
    for error in (1e-5, 1e-2):
        for multiples in ((1.0,), (1.0, 3.0, 7.0)):
            rows = noisy.adversaries(error, "biases", (0.0,), multiples)
            assert abs(noisy.smallest_gradient(error, rows) / error - 0.25) < 1e-7
            assert abs(noisy.smallest_gradient(error, rows, alpha=-1e-3) / error - 0.25e-3) < 1e-9
    one_sided = noisy.adversaries(1e-3, "biases")[:1]
    assert noisy.smallest_gradient(1e-3, one_sided) > 0.49e-3  # a student on one side only does worse


def test_an_aligned_student_needs_no_gradient():
    rows = np.vstack([noisy.adversaries(1e-3, "weights"), noisy.TEACHER])
    assert abs(noisy.smallest_gradient(1e-3, rows)) < 1e-12


def test_interval_of_an_exponent(rng):
    """A line with known noise: the slope within its interval, and the interval of the size it has to be."""
    x = np.logspace(-6, -1, 30)
    y = 3.0 * x**0.7 * np.exp(0.01 * rng.standard_normal(30))
    slope, half = noisy.exponent(x, y)
    spread = np.log(x).std() * np.sqrt(30)
    assert abs(slope - 0.7) < half and 0.5 < half / (3.67 * 0.01 / spread) < 2.0
