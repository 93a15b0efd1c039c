"""Duplicated neurons: the index along the critical line."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradflow as gf
from gradflow.theory import duplicates


@pytest.fixture(scope="module")
def teacher():
    return gf.teachers.orthonormal(4, 5, "erf")


@pytest.fixture(scope="module")
def optimum():
    """One erf neuron on four orthonormal teachers: a = k, |w|² = 1/(2k−1), along Σ v_j."""
    w = np.append(np.ones(4), 0.0) / math.sqrt(4 * 7)
    return gf.MLP([w[None], np.array([[4.0]])], None, "erf")


def test_line_of_critical_points_and_its_index(optimum, teacher):
    check = duplicates.critical_line(optimum, teacher, 0)
    assert check.holds
    index = dict(zip(check.computed["mu"], check.computed["index"]))
    signs = check.computed["signs_of_aB"]
    assert index[0.5] == signs.count(-1)
    assert index[1.4] == signs.count(1)


def test_ends_of_the_line(optimum, teacher):
    """μ = 0 and 1: one of the two has no output weight, and ξ is free to second order."""
    check = duplicates.critical_line(optimum, teacher, 0, shares=(0.0, 1.0))
    assert check.holds and check.computed["index"] == [0, 0]


@pytest.mark.parametrize("activation", ["softplus", "g"])
def test_samples_with_biases(activation):
    X = np.random.default_rng(0).standard_normal((100, 2))
    teacher = gf.teachers.random((2, 4, 1), activation, seed=0)
    student = duplicates.minimum(teacher, 2, 0, X)
    check = duplicates.critical_line(student, teacher, 1, X)
    assert check.holds and check.computed["loss"] > 1e-6 and len(check.computed["signs_of_aB"]) == 3
    assert not duplicates.critical_line(student, teacher, 1, X[:-1]).holds  # not critical for fewer samples


def test_relu_on_infinite_data():
    teacher = gf.teachers.orthonormal(4, 5, "relu")
    student = duplicates.minimum(teacher, 2, 0)
    check = duplicates.critical_line(student, teacher, 0)
    assert check.holds and 0 in check.computed["signs_of_aB"]  # along w itself there is no kink to move


@pytest.mark.parametrize("activation", ["erf", "relu", "square"])
def test_pair_formulas_against_differences(activation, rng):
    """∂²/∂u² of E σ(u·x)σ(w·x), from the gradient of a problem with these two neurons."""
    u, w = rng.standard_normal((2, 3))

    def gradient(u):
        student = gf.MLP([u[None], np.ones((1, 1))], None, activation)
        problem = gf.Problem(gf.MLP([w[None], np.ones((1, 1))], None, activation), student)
        alone = gf.Problem(gf.MLP([w[None], np.zeros((1, 1))], None, activation), student)
        return 0.5 * (alone.gradient(alone.theta0) - problem.gradient(problem.theta0))[:3]

    step = 1e-5
    found = [(gradient(u + step * e) - gradient(u - step * e)) / (2 * step) for e in np.eye(3)]
    np.testing.assert_allclose(duplicates.PAIRS[activation](u, w), found, atol=2e-9)


def test_arguments(optimum, teacher):
    with pytest.raises(gf.ArgumentError, match="one output"):
        duplicates.critical_line(gf.MLP.random((5, 1, 2), "erf", False, seed=0), teacher, 0)
    with pytest.raises(gf.ArgumentError, match="at most two"):
        tanh = gf.MLP.random((5, 1, 1), "tanh", False, seed=0)
        duplicates.residual_curvature(tanh, gf.teachers.orthonormal(4, 5, "tanh"), 0)
    with pytest.raises(gf.ArgumentError, match="inputs"):
        duplicates.residual_curvature(optimum, teacher, 0, gf.Gaussian(mean=np.ones(5)))


def test_curvature_of_square_neurons_by_hand():
    """B = E (f − f*) 2 x xᵀ = 2 (tr M I + 2 M), f − f* = xᵀ M x."""
    student = gf.MLP([np.array([[0.5, -0.2, 0.1]]), np.array([[0.7]])], None, "square")
    teacher = gf.teachers.orthonormal(2, 3, "square")
    M = 0.7 * np.outer(*2 * [student.weights[0][0]]) - np.diag([1.0, 1.0, 0.0])
    expected = 2 * (np.trace(M) * np.eye(3) + 2 * M)
    np.testing.assert_allclose(duplicates.residual_curvature(student, teacher, 0), expected, atol=1e-14)


def test_split_keeps_the_function(rng):
    network = gf.MLP.random((3, 2, 2), "erf", seed=0)
    X = rng.standard_normal((20, 3))
    np.testing.assert_allclose(duplicates.split(network, 1, -0.7)(X), network(X), atol=1e-14)
    with pytest.raises(gf.ArgumentError, match="neuron"):
        duplicates.split(network, 2, 0.5)
    with pytest.raises(gf.ArgumentError, match="hidden layers"):
        duplicates.split(gf.MLP.random((3, 2, 2, 1), seed=0), 0, 0.5)
