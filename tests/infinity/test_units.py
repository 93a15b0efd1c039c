"""Ends at infinity are the same for targets and features of every size."""

import numpy as np
import pytest

import gradflow as gf
from gradflow.infinity.units import Units

from .test_networks_at_infinity import X1, X2, derivative_teacher, merged, noise


def scaled(network, outputs, features):
    """The network on features times `features`, with outputs times `outputs`."""
    weights, biases = [np.array(W) for W in network.weights], list(network.biases)
    weights[0] = weights[0] / features
    weights[-1] = outputs * weights[-1]
    biases[-1] = None if biases[-1] is None else outputs * biases[-1]
    return gf.MLP(weights, biases, list(network.activations))


@pytest.mark.parametrize("outputs", [1e-30, 3.0, 2.0**40, 1e30])
def test_the_problem_in_units_is_the_problem(outputs):
    features = np.array([1e-5, 1e7])
    y = derivative_teacher(1, 4)[1][:, None]
    start = gf.MLP.random((2, 3, 2, 1), "tanh", seed=0)
    problem = gf.Problem(outputs * y, scaled(start, outputs, features), X2 * features)
    units = Units(problem)
    assert 0.7 <= units.problem.objective.spread <= 1.5
    assert np.sqrt(np.mean(units.problem.inputs.samples.X**2, axis=0)) == pytest.approx([1, 1], abs=0.5)
    phi = units.of(problem.theta0)
    np.testing.assert_array_equal(units.back(phi), problem.theta0)
    inside = units.problem.loss(phi) * units.outputs * units.outputs
    assert inside == pytest.approx(problem.loss(problem.theta0), rel=1e-13)


@pytest.mark.parametrize(("outputs", "feature"), [(1e9, 1.0), (1e-9, 1e6), (1e30, 1e-6), (1e-30, 1.0)])
def test_a_limit_on_samples_does_not_depend_on_units(outputs, feature):
    """From the end of a run in other units: how a refinement goes does depend on those of the features."""
    y = (np.exp(0.7 * X1[:, 0]) + noise(60, 0.05))[:, None]
    start = gf.MLP([[[0.6]], [[20.0]]], [[-3.0], [0.0]], "sigmoid")
    plain = gf.train(y, start, X1, solver=None, progress=False)
    there = scaled(plain.student, outputs, feature)
    other = gf.train(outputs * y, there, X1 * feature, solver=None, progress=False)
    assert plain.end.kind == other.end.kind == "infinity"
    assert other.channel.loss / outputs / outputs == pytest.approx(plain.channel.loss, rel=1e-12)
    assert other.channel.loss_error < 1e-9 * other.channel.loss
    np.testing.assert_allclose(other.limit(X1 * feature), outputs * plain.limit(X1), rtol=1e-8)
    assert [a.unit for a in other.channel.approaches] == [a.unit for a in plain.channel.approaches]


@pytest.mark.parametrize("outputs", [1e9, 1e-30])
def test_a_channel_does_not_depend_on_units(outputs):
    features = np.array([1e3, 1e-2])
    y = derivative_teacher(1, 4)[1][:, None]
    plain = gf.train(y, merged(1, 0.3), X2, solver=None, progress=False)
    start = scaled(plain.student, outputs, features)
    other = gf.train(outputs * y, start, X2 * features, solver=None, progress=False)
    assert plain.end.kind == other.end.kind == "infinity"
    one, two = plain.channel, other.channel
    assert two.loss / outputs / outputs == pytest.approx(one.loss, rel=1e-12)
    assert two.c == pytest.approx(outputs * one.c, rel=1e-6)
    np.testing.assert_allclose(two.w * features, one.w, rtol=1e-6)
    np.testing.assert_allclose(two.v * features, outputs * one.v, rtol=1e-6)
    np.testing.assert_allclose(other.limit(X2 * features), outputs * plain.limit(X2), rtol=1e-6, atol=0)
