"""Neurons whose weights reach zero, and boundaries that meet only there."""

import numpy as np
import pytest

import gradflow as gf
from gradflow.boundaries.hull import least_norm, normal_space

X = np.array([[1.0], [2.0], [-1.0], [-0.5]])
Y = np.where(X > 0.0, -X, 0.3 * X)  # a relu with a positive output weight makes it worse on every sample


def relu(weights, outputs):
    return gf.MLP([weights, [outputs]], None, "relu")


def test_a_neuron_reaches_zero_when_it_does_and_rests_there():
    """One weight w > 0 sees x = 1 and 2: with c = 5/2, w' = −c (a w + 1) a and a' = −c (a w + 1) w: in s with
    ds = c (a w + 1) dt a hyperbolic rotation, w = 0 at tanh s = w₀/a₀, a = √(a₀² − w₀²)."""
    result = gf.train(Y, relu([[0.5]], [1.0]), X, progress=False)
    events = result.flow.events
    assert events.kinds == ("resting",) and events.neurons[0] == 0
    end = np.arctanh(0.5)
    s, weights = np.polynomial.legendre.leggauss(60)
    s = 0.5 * end * (s + 1.0)
    w = 0.5 * np.cosh(s) - np.sinh(s)
    a = np.cosh(s) - 0.5 * np.sinh(s)
    time = 0.5 * end * np.sum(weights / (2.5 * (a * w + 1.0)))
    assert abs(events.times[0] - time) < 1e-7 * time
    w, a = result.flow.step_theta[-1]
    assert w == 0.0 and abs(a - np.sqrt(0.75)) < 1e-7
    assert result.loss == pytest.approx(np.mean(Y**2), rel=1e-14)
    assert result.converged and result.end.kind == "kink"
    assert result.kink.minimum is True and result.kink.zero.all() and "zero weights" in str(result.kink)
    assert np.array_equal(result.flow.at(result.flow.end_time), result.flow.step_theta[-1])


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e3])
def test_zero_is_reached_in_any_unit_by_copies_at_once_and_beside_neurons_that_are_zero(unit):
    student = relu([[0.5], [0.5], [-0.4], [0.0]], [1.0, 1.0, 1.5, 0.7])
    result = gf.train(Y * unit**2, student.with_flat(unit * student.flat()), X, progress=False)
    flow = result.flow
    assert flow.events.count("resting") == 3 and flow.stop_reason is gf.StopReason.GRADIENT
    w, a = flow.step_theta[-1][:4] / unit, flow.step_theta[-1][4:] / unit
    assert (w == 0.0).all()
    assert abs(a[0] - a[1]) < 1e-13 and np.abs(a**2 - [0.75, 0.75, 2.09, 0.49]).max() < 1e-6
    assert result.converged and result.end.kind == "kink" and result.kink.minimum is True


def test_a_neuron_at_zero_that_would_do_better_awake_is_no_minimum():
    result = gf.train(-Y, relu([[0.5], [0.0]], [-1.0, 1.0]), X, progress=False)
    assert result.converged and result.kink.minimum is False


def test_boundaries_of_a_neuron_that_meet_only_at_zero_do_not_take_it_there():
    """300 samples, two inputs and a bias, a loose tolerance: three are often met within it."""
    rng = np.random.default_rng(3)
    samples = rng.normal(size=(300, 2))
    y = np.sin(2 * samples[:, :1]) * samples[:, 1:]
    problem = gf.Problem(y, gf.MLP.random((2, 6, 1), "relu", True, seed=2), samples)
    flow = gf.train(
        problem, solver=gf.solvers.Filippov(rtol=1e-3, atol=1e-3), refiner=None, progress=False
    ).flow
    assert flow.stop_reason is gf.StopReason.GRADIENT
    losses = np.array([problem.loss(theta) for theta in flow.step_theta])
    assert (np.diff(losses) <= 1e-3 * losses[:-1]).all()
    tight = gf.train(problem, solver=gf.solvers.Filippov(t1=5.0), refiner=None, progress=False).flow
    assert np.abs(flow.at(5.0) - tight.step_theta[-1]).max() < 1e-2


def test_rounding_does_not_wake_a_neuron_asleep_on_its_last_boundary():
    """It stays where its last sample left it, exactly at the kink: z grows to 1e-17 in a thousand steps, and
    at t = 5255 that sample would have it awake."""
    rng = np.random.default_rng(108)
    samples = rng.normal(size=(80, 1))
    teacher = gf.MLP.random((1, 5, 1), "tanh", True, seed=1008, init="normal")
    y = teacher(samples) + 0.1 * rng.normal(size=(80, 1))
    student = gf.MLP.random((1, 20, 1), "relu", True, seed=8)
    solver = gf.solvers.Filippov(rtol=1e-8, atol=1e-8, t1=5300.0)
    flow = gf.train(y, student, samples, solver=solver, refiner=None, progress=False).flow
    assert flow.events.count("branching") == 0 and flow.events.count("crossing") > 600
    (last,) = np.flatnonzero((flow.events.neurons == 11) & (flow.events.samples == 74))
    asleep = flow.step_times > flow.events.times[last]
    bias, weight = flow.step_theta[asleep, 31], flow.step_theta[asleep, 11]
    assert np.ptp(bias) < 1e-15 and np.ptp(weight) < 1e-15


def test_the_quadratic_program_is_solved():
    """Its conditions: the slope is zero inside, and points outwards at the bounds."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        m, size = rng.integers(2, 9), rng.integers(9, 30)
        edges = rng.normal(size=(m, size)) * 10.0 ** rng.uniform(-4, 1, size=(m, 1))
        base = -rng.uniform(-0.5, 1.5, size=m) @ edges + 0.1 * rng.normal(size=size)
        parts, vector = least_norm(base, edges)
        slope = edges @ vector / np.linalg.norm(edges, axis=1)
        inside = (parts > 0.0) & (parts < 1.0)
        assert (parts >= 0.0).all() and (parts <= 1.0).all()
        small = 1e-12 * np.linalg.norm(base)
        assert np.abs(slope[inside]).max(initial=0.0) < small
        assert (slope[parts == 0.0] > -small).all() and (slope[parts == 1.0] < small).all()


def test_normals_and_what_is_tangential_to_them():
    rng = np.random.default_rng(1)
    normals = rng.normal(size=(5, 12))
    span, rest = normal_space(np.concatenate([normals, normals[:2] @ np.eye(12), 0.0 * normals[:1]]))
    both = np.concatenate([span, rest], axis=1)
    assert span.shape == (12, 5) and np.abs(normals @ rest).max() < 1e-14
    assert np.abs(both.T @ both - np.eye(12)).max() < 1e-14
