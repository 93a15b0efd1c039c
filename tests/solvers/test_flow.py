"""The quintic interpolation and the sampling of a path."""

import numpy as np
import pytest

from gradflow.solvers.flow import interpolate, sample_times


def quintic(t):
    return np.stack([t**5 - 3 * t**4 + t, 2 * t**3 - t**2], axis=1)


def quintic_first(t):
    return np.stack([5 * t**4 - 12 * t**3 + 1, 6 * t**2 - 2 * t], axis=1)


def quintic_second(t):
    return np.stack([20 * t**3 - 36 * t**2, 12 * t - 2], axis=1)


def test_quintic_polynomials_are_reproduced():
    knots = np.array([0.0, 0.3, 1.0, 2.5])
    points = np.linspace(0.0, 2.5, 101)
    values, slopes = interpolate(points, knots, quintic(knots), quintic_first(knots), quintic_second(knots))
    assert np.abs(values - quintic(points)).max() < 2e-14 * np.abs(quintic(points)).max()
    assert np.abs(slopes - quintic_first(points)).max() < 2e-14 * np.abs(quintic_first(points)).max()


def test_the_error_is_of_sixth_order():
    errors = []
    for count in (11, 21, 41):
        knots = np.linspace(0.0, 2.0, count)
        points = np.linspace(0.0, 2.0, 777)
        data = [f(knots)[:, None] for f in (np.sin, np.cos, lambda t: -np.sin(t))]
        errors.append(np.abs(interpolate(points, knots, *data)[0][:, 0] - np.sin(points)).max())
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.abs(slopes - 6).max() < 0.2


def test_steps_come_back_bit_by_bit(rng):
    knots = np.cumsum(rng.uniform(0.1, 5.0, 20))
    data = [rng.standard_normal((20, 3)) for _ in range(3)]
    assert (interpolate(knots, knots, *data)[0] == data[0]).all()


def test_sample_times_begin_and_end_at_steps():
    steps = np.array([0.0, 1e-3, 0.1, 5.0, 1e7])
    times = sample_times(steps, 100)
    assert times.size == 101
    assert times[0] == 0 and times[1] == 1e-3 and times[-1] == 1e7
    assert np.diff(np.log(times[1:])) == pytest.approx(np.log(1e10) / 99, rel=1e-9)
