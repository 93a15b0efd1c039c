"""The named primitives at the singular places, in units in the last place against mpmath."""

import math

import mpmath
import numba
import numpy as np
import pytest

from gradflow.kernels.math import angles, errorfree


@numba.njit
def _atan_ratios(y, x):
    result = np.empty(y.size)
    for i in range(y.size):
        result[i] = angles.atan_ratio(y[i], x[i])
    return result


@numba.njit
def _brackets(delta, sine, cosine):
    result = np.empty(delta.size)
    for i in range(delta.size):
        result[i] = angles.sine_minus(delta[i], sine[i], cosine[i])
    return result


def worst_ulp(values, wanted):
    with mpmath.workdps(40):
        return max(abs(float((w - mpmath.mpf(v)) / math.ulp(v))) for v, w in zip(values, wanted))


def test_atan_ratio(rng):
    y, x = np.abs(rng.standard_normal((2, 4000))) * 10.0 ** rng.uniform(-3, 3, (2, 4000))
    edges = np.tan(np.pi / 8 * np.array([1.0, 2.0, 3.0]))
    y = np.concatenate([y, edges, np.nextafter(edges, 0), [0.0, 1.0, 1e-300, 1e-20]])
    x = np.concatenate([x, np.ones(6), [1.0, 0.0, 1.0, 1.0]])
    with mpmath.workdps(40):
        wanted = [mpmath.atan2(mpmath.mpf(float(a)), mpmath.mpf(float(b))) for a, b in zip(y, x)]
    assert worst_ulp(_atan_ratios(y, x), wanted) <= 1.5


def test_sine_minus(rng):
    delta = np.concatenate([rng.uniform(0, np.pi / 2, 2000), 10.0 ** -rng.uniform(0, 30, 500), [0.6, 0.0]])
    with mpmath.workdps(110):
        exact = [mpmath.mpf(float(a)) for a in delta]
        wanted = [mpmath.sin(a) - a * mpmath.cos(a) for a in exact]
    values = _brackets(delta, np.sin(delta), np.cos(delta))
    for a, v, w in zip(delta, values, wanted):
        assert abs(float(w - mpmath.mpf(float(v)))) <= (1e-15 if a < 0.6 else 4e-15) * float(w)


@pytest.mark.parametrize("dim", [2, 3, 100])
def test_residual_sine(rng, dim):
    """Relatively accurate down to the smallest angles that Float64 vectors can make."""
    for exponent in range(0, 17, 2):
        for factor in (1.0, -1.7, 1e-8):
            w = rng.standard_normal(dim)
            v = factor * (w + 10.0**-exponent * rng.standard_normal(dim))
            with mpmath.workdps(60):
                a, b = ([mpmath.mpf(float(x)) for x in u] for u in (w, v))
                s, t, q = (mpmath.fdot(x, y) for x, y in ((a, a), (b, b), (a, b)))
                wanted = float(1 - q * q / (s * t))
            given = angles.residual_sine(w, w @ w, v, v @ v, w @ v)
            assert abs(given - wanted) <= 3e-15 * math.sqrt(dim) * wanted
    assert angles.residual_sine(w, w @ w, 2.0 * w, 4.0 * (w @ w), 2.0 * (w @ w)) == 0.0


def test_error_free_operations():
    a, b = 1.0 + 2.0**-30, 1.0 - 2.0**-30
    product = numba.njit(lambda x, y: errorfree.fma(x, y, -(x * y)))(a, b)
    assert product == -(2.0**-60)
    assert errorfree.two_sum(1.0, 2.0**-80) == (1.0, 2.0**-80)
    assert errorfree.two_sum(2.0**-80, 1.0) == (1.0, 2.0**-80)
