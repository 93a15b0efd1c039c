"""Limits at ε = 0 and the errors that are claimed for them: true, and not much too large."""

import numpy as np
import pytest

from gradflow.infinity.channels import POINTS
from gradflow.infinity.limits import limit

SQUARES = 10.0 ** -np.linspace(0.0, 2.0, POINTS)


@pytest.mark.parametrize("noise", [0.0, 1e-15, 1e-12, 1e-9, 1e-6])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("reach", [0.03, 0.3, 0.8])
def test_the_claimed_error_is_one(noise, known, reach, rng):
    """Functions of x = ε² with a pole at −1/reach, values with noise: error and claim over many of them."""
    ratios = []
    for _ in range(200):
        a, b = rng.uniform(0.5, 2.0, 2)
        values = a / (1 + reach * SQUARES) + b * np.exp(-reach * SQUARES) - a - b
        values = values + noise * rng.standard_normal(POINTS)
        found = limit(SQUARES, values, 3 * noise + 4e-16 if known else None)
        ratios.append((abs(found.value), found.error))
        assert found.value == pytest.approx(found.weights @ values, abs=1e-15)
    errors, claims = np.array(ratios).T
    # Where the noise is told from six degrees of freedom one claim in a hundred may be too small.
    assert (errors <= claims).mean() >= (1.0 if known else 0.99)
    assert np.median(claims) <= 100 * np.median(errors)


def test_a_polynomial_is_met_exactly():
    values = 3.0 - 2.0 * SQUARES + 0.5 * SQUARES**2
    found = limit(SQUARES, values, 0.0)
    assert found.value == pytest.approx(3.0, abs=1e-13) and found.error <= 1e-12
    assert found.weights.sum() == pytest.approx(1.0, abs=1e-12)  # a constant is its own limit
