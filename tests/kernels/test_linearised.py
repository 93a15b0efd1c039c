"""The gradient linearised for Krylov methods: L and ∇L as they are, products to 32 bits, on any threads.

Truths: the product kernel in Float64, itself tested against Hessians; the gradient kernel, bit for bit.
"""

import ctypes

import numpy as np
import pytest

import gradflow as gf
from gradflow.kernels.math import abi
from gradflow.kernels.population import geometry


def linearisation(problem, theta):
    """L, ∇L, a function for products at θ, and whether it may be used."""
    objective = problem.objective
    kernel, linear = objective.kernel, objective.kernel.linear()
    memory, loss, gradient = np.zeros(linear.room), np.zeros(1), np.zeros(objective.size)
    arrays = [a.ctypes.data for a in (theta, memory, loss, gradient)]
    abi.callable_from_python(linear.linearise)(kernel.descriptor, *arrays, 0)

    def times(v):
        result = np.zeros(objective.size)
        addresses = (memory.ctypes.data, v.ctypes.data, result.ctypes.data)
        abi.callable_from_python(linear.times)(kernel.descriptor, *addresses, 0, 0)
        return result

    return loss[0], gradient, times, memory.view(np.int64)[0] == 1


def network_problem(activation, n, k, outputs=1, inputs=None):
    generator = np.random.default_rng(3)
    rows = generator.standard_normal((k, k + 1)) / np.sqrt(k + 1)
    teacher = gf.MLP([rows, generator.standard_normal((outputs, k))], [None, None], activation)
    return gf.Problem(teacher, gf.MLP.random((k + 1, n, outputs), activation, False, seed=0), inputs)


@pytest.mark.parametrize(
    "activation, outputs, correlated", [("erf", 1, False), ("relu", 2, True), ("softplus", 1, False)]
)
def test_loss_and_gradient_bit_for_bit_and_products_to_single_precision(activation, outputs, correlated):
    generator = np.random.default_rng(0)
    factor = generator.standard_normal((24, 24)) / 5
    inputs = gf.Gaussian(cov=np.eye(24) + factor @ factor.T) if correlated else None
    problem = network_problem(activation, 22, 23, outputs, inputs)
    theta = problem.theta0.copy()
    loss, gradient, times, valid = linearisation(problem, theta)
    exact_loss, exact_gradient = problem.objective.loss_and_gradient(theta)
    assert valid and loss == exact_loss
    np.testing.assert_array_equal(gradient, exact_gradient)
    for scale in (1.0, 1e-200, 1e200):
        v = scale * generator.standard_normal(problem.size)
        exact = problem.hvp(theta, v)
        for part in (slice(0, 22 * 24), slice(22 * 24, None)):
            error = np.abs(times(v) - exact)[part].max()
            assert error < 1e-6 * np.abs(exact[part]).max()
    assert not times(np.zeros(problem.size)).any()


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_pairs_that_are_nearly_collinear(activation):
    """Copies of teachers at distances from 1e-1 to 1e-12, two equal neurons and two opposite ones."""
    problem = network_problem(activation, 22, 23)
    theta, generator = problem.theta0.copy(), np.random.default_rng(1)
    W = theta[: 22 * 24].reshape(22, 24)
    for i in range(12):
        W[i] = (1 + 0.1 * i) * problem.teacher.weights[0][i]
        W[i] += 10.0 ** -(i + 1) * generator.standard_normal(24)
    W[13], W[15] = W[12], -2.0 * W[14]
    _, gradient, times, valid = linearisation(problem, theta)
    assert valid
    np.testing.assert_array_equal(gradient, problem.gradient(theta))
    v = generator.standard_normal(problem.size)
    exact = problem.hvp(theta, v)
    assert np.abs(times(v) - exact).max() < 1e-6 * np.abs(exact).max()
    # Not only in general directions: along a neuron that copies, everything large cancels.
    v = np.zeros(problem.size)
    v[24 * 8 : 24 * 9] = W[8]
    exact = problem.hvp(theta, v)
    assert np.abs(times(v) - exact).max() < 1e-6 * np.abs(exact).max()


def test_two_threads_give_the_bits_of_one(monkeypatch):
    """At 500 rows there are two blocks; L differs from the gradient kernel's by its order of summation."""
    problem = network_problem("erf", 500, 8)
    theta, v = problem.theta0.copy(), np.random.default_rng(0).standard_normal(problem.size)
    place = ctypes.c_int64.from_address(problem.objective.kernel.descriptor + 8 * geometry.THREADS)
    found = []
    for threads in (1, 2, 2, 2):
        monkeypatch.setenv("GRADFLOW_NUM_THREADS", str(threads))
        loss, gradient, times, valid = linearisation(problem, theta)
        assert place.value == threads
        assert valid
        found.append((loss, gradient, times(v)))
    for loss, gradient, image in found[1:]:
        assert loss == found[0][0]
        np.testing.assert_array_equal(gradient, found[0][1])
        np.testing.assert_array_equal(image, found[0][2])
    exact_loss, exact_gradient = problem.objective.loss_and_gradient(theta)
    assert found[0][0] == pytest.approx(exact_loss, rel=1e-13)
    np.testing.assert_allclose(found[0][1], exact_gradient, rtol=0, atol=1e-13 * np.abs(exact_gradient).max())


def test_what_has_no_linearisation():
    small = network_problem("erf", 5, 6)
    assert small.objective.kernel.linear() is None
    biased = gf.Problem(
        gf.teachers.orthonormal(20, 21, "erf"), gf.MLP.random((21, 30, 1), "erf", True, seed=0)
    )
    assert biased.objective.kernel.linear() is None
    problem = network_problem("erf", 22, 23)
    theta = problem.theta0.copy()
    theta[:24] *= 1e-9
    assert not linearisation(problem, theta)[3]


def test_in_units_with_frozen_parameters():
    from gradflow.objective import Restricted

    problem = network_problem("erf", 22, 23)
    free = np.arange(problem.size) % 7 != 0
    restricted = Restricted(problem.objective, problem.theta0, free, 256.0)
    phi = restricted.part(problem.theta0)
    linear = restricted.kernel.linear()
    memory, loss, gradient, image = np.zeros(linear.room), np.zeros(1), np.zeros(phi.size), np.zeros(phi.size)
    v = np.random.default_rng(0).standard_normal(phi.size)
    abi.callable_from_python(linear.linearise)(
        restricted.kernel.descriptor, *(a.ctypes.data for a in (phi, memory, loss, gradient)), 0
    )
    abi.callable_from_python(linear.times)(
        restricted.kernel.descriptor, *(a.ctypes.data for a in (memory, v, image)), 0, 0
    )
    assert loss[0] == restricted.loss(phi)
    np.testing.assert_array_equal(gradient, restricted.gradient(phi))
    exact = restricted.hvp(phi, v)
    assert np.abs(image - exact).max() < 1e-6 * np.abs(exact).max()
