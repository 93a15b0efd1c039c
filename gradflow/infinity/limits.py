"""Limits of functions that are even in ε, from values at several ε > 0, with an error that is meant.

A polynomial of degree p in x = ε² is fitted by least squares and taken at 0: v_p = Σ_j l_j y_j. Its error is
what the next degree changes, |v_{p+1} − v_p|, as long as degrees bring anything, and the noise of the values
times (Σ l_j²)^½ from there on. The degree with the smallest sum is taken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DEGREES = (2, 3, 4, 5)
"""Degrees in ε² that are tried."""

SAFETY = 3.0
"""Factor of the error: |v_{p+1} − v_p| is a little less than the error where v_{p+1} is not much better."""


class Limit(NamedTuple):
    """The limit, the bound on its error, and the weights (points,) of the values in it."""

    value: float
    error: float
    weights: np.ndarray


def limit(squares: np.ndarray, values: np.ndarray, noise: float | None = None) -> Limit:
    """The limit at ε = 0 of values (points,) at ε² = `squares`.

    noise   absolute error of the values; None where it is not known: then what the polynomial of the
            highest degree leaves is taken for it
    """
    rows = [_weights(squares, degree) for degree in (*DEGREES, DEGREES[-1] + 1)]
    if noise is None:
        noise = 3 * scatter(squares, values)
    found = [float(row @ values) for row in rows]
    errors = [
        SAFETY * (abs(after - here) + noise * float(np.linalg.norm(row)))
        for here, after, row in zip(found, found[1:], rows)
    ]
    best = int(np.argmin(errors))
    return Limit(found[best], errors[best], rows[best])


def scatter(squares: np.ndarray, values: np.ndarray) -> float:
    """Standard deviation of the values about the polynomial of the highest degree."""
    left = values - np.vander(squares, DEGREES[-1] + 2) @ _solver(squares, DEGREES[-1] + 1) @ values
    return float(np.linalg.norm(left) / (values.size - DEGREES[-1] - 2) ** 0.5)


def _solver(squares: np.ndarray, degree: int) -> np.ndarray:
    """The coefficients of the fit, highest power first, as a matrix acting on the values."""
    return np.linalg.pinv(np.vander(squares, degree + 1))


def _weights(squares: np.ndarray, degree: int) -> np.ndarray:
    return _solver(squares, degree)[-1]
