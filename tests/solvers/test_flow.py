"""The quintic interpolation and the sampling of a path."""

import jax.numpy as jnp
import numpy as np
import pytest

from gradflow.losses.from_jax import JaxLoss
from gradflow.solvers import BDF
from gradflow.solvers.dense_output import Interval, quintic
from gradflow.solvers.flow import sample_times
from gradflow.support.progress import Monitor


def polynomial(t):
    return np.stack([t**5 - 3 * t**4 + t, 2 * t**3 - t**2], axis=1)


def polynomial_first(t):
    return np.stack([5 * t**4 - 12 * t**3 + 1, 6 * t**2 - 2 * t], axis=1)


def polynomial_second(t):
    return np.stack([20 * t**3 - 36 * t**2, 12 * t - 2], axis=1)


def interval(start, end, *functions):
    ends = np.array([start, end])
    return Interval(ends, *(f(ends) for f in functions), stiffness=1.0)


def test_quintic_polynomials_are_reproduced():
    for start, end in ((0.0, 0.3), (0.3, 1.0), (1.0, 2.5)):
        points = np.linspace(start, end, 31)
        values, slopes = quintic(
            interval(start, end, polynomial, polynomial_first, polynomial_second), points
        )
        assert np.abs(values - polynomial(points)).max() < 1e-13
        assert np.abs(slopes - polynomial_first(points)).max() < 1e-12


def test_the_error_is_of_sixth_order():
    errors = []
    for length in (0.2, 0.1, 0.05):
        points = np.linspace(0.3, 0.3 + length, 77)
        data = [lambda t, f=f: f(t)[:, None] for f in (np.sin, np.cos, lambda t: -np.sin(t))]
        errors.append(
            np.abs(quintic(interval(0.3, 0.3 + length, *data), points)[0][:, 0] - np.sin(points)).max()
        )
    assert np.abs(np.log2(np.array(errors[:-1]) / errors[1:]) - 6).max() < 0.2


def test_steps_come_back_bit_by_bit():
    flow = BDF(t1=3.0).integrate(
        JaxLoss(lambda x: jnp.sum(x**4), 2), np.array([1.0, -0.5]), np.ones(2), Monitor(False)
    )
    assert (flow.at(flow.step_times) == flow.step_theta).all()


def test_sample_times_begin_and_end_at_steps():
    steps = np.array([0.0, 1e-3, 0.1, 5.0, 1e7])
    times = sample_times(steps, 100)
    assert times.size == 101
    assert times[0] == 0 and times[1] == 1e-3 and times[-1] == 1e7
    assert np.diff(np.log(times[1:])) == pytest.approx(np.log(1e10) / 99, rel=1e-9)
