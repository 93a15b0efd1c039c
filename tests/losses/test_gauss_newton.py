"""The Gauss–Newton matrix 2 E ∂f ∂fᵀ and its products, for infinitely many inputs and for samples.

Truths: Gauss–Hermite quadrature of the Jacobian by automatic differentiation; 2 JᵀJ of the samples' Jacobian.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.objective import Affine, Restricted

MEAN, COVARIANCE = np.array([0.3, -0.2]), np.array([[1.3, 0.2], [0.2, 0.8]])


def by_quadrature(student, theta, mean, covariance, nodes=60):
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    points = np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
    weights = np.outer(w, w).ravel() / w.sum() ** 2
    if covariance is not None:
        points = points @ np.linalg.cholesky(covariance).T
    if mean is not None:
        points = points + mean
    jacobian = jax.jacobian(lambda t: student.with_flat(t)(jnp.asarray(points)))(jnp.asarray(theta))
    return 2 * np.einsum("s,sop,soq->pq", weights, *(np.asarray(jacobian),) * 2)


@pytest.mark.parametrize(
    "activation, bias, outputs, mean, covariance, tolerance",
    [
        ("erf", False, 1, None, None, 1e-10),
        ("erf", True, 2, MEAN, COVARIANCE, 1e-13),
        ("softplus", True, 1, None, None, 1e-12),
        ("tanh", False, 2, None, COVARIANCE, 1e-8),
    ],
)
def test_population_matrix_against_quadrature(activation, bias, outputs, mean, covariance, tolerance):
    teacher = gf.MLP.random((2, 3, outputs), activation, bias, seed=1)
    student = gf.MLP.random((2, 4, outputs), activation, bias, seed=2)
    problem = gf.Problem(teacher, student, inputs=gf.Gaussian(mean=mean, cov=covariance))
    objective, theta = problem.objective, problem.theta0
    loss, gradient, matrix = objective.gauss_newton(theta)
    exact = by_quadrature(student, theta, mean, covariance)
    np.testing.assert_allclose(matrix, exact, rtol=0, atol=tolerance * np.abs(exact).max())
    np.testing.assert_array_equal(matrix, matrix.T)
    assert loss == objective.loss(theta)
    np.testing.assert_array_equal(gradient, objective.gradient(theta))
    v = np.random.default_rng(0).standard_normal(problem.size)
    np.testing.assert_allclose(objective.gauss_newton_product(theta, v), matrix @ v, rtol=0, atol=1e-13)
    # Where the loss is zero it is the Hessian.
    zero = gf.Problem(teacher, teacher, inputs=gf.Gaussian(mean=mean, cov=covariance)).objective
    at = teacher.flat()
    np.testing.assert_allclose(zero.gauss_newton(at)[2], zero.hessian(at), rtol=0, atol=1e-13)


@pytest.mark.parametrize("sizes", [(3, 5, 1), (3, 4, 2), (3, 4, 3, 2)])
def test_samples_against_the_jacobian(sizes):
    generator = np.random.default_rng(0)
    student = gf.MLP.random(sizes, "tanh", True, seed=0)
    inputs, targets = generator.standard_normal((300, 3)), generator.standard_normal((300, sizes[-1]))
    objective = gf.Problem(targets, student, inputs=inputs).objective
    theta, v = student.flat(), generator.standard_normal(student.size)
    loss, gradient, matrix = objective.gauss_newton(theta)
    rho, J = objective.least_squares(theta)
    exact = 2.0 * J.T @ J
    np.testing.assert_allclose(matrix, exact, rtol=0, atol=1e-13 * np.abs(exact).max())
    np.testing.assert_allclose(objective.gauss_newton_product(theta, v), exact @ v, rtol=0, atol=1e-12)
    assert loss == pytest.approx(float(rho @ rho), rel=1e-14)
    np.testing.assert_allclose(gradient, 2.0 * J.T @ rho, rtol=0, atol=1e-14)


def test_in_other_coordinates():
    generator = np.random.default_rng(0)
    student = gf.MLP.random((3, 5, 1), "tanh", True, seed=0)
    inputs, targets = generator.standard_normal((100, 3)), generator.standard_normal((100, 1))
    inner = gf.Problem(targets, student, inputs=inputs).objective
    theta, free = student.flat(), np.arange(student.size) % 3 != 0
    full = inner.gauss_newton(theta)[2]
    restricted = Restricted(inner, theta, free, 4.0)
    phi = restricted.part(theta)
    scaled = full[np.ix_(free, free)] * restricted.scales[:, None] * restricted.scales / 16.0
    np.testing.assert_allclose(restricted.gauss_newton(phi)[2], scaled, rtol=1e-12)
    v = generator.standard_normal(phi.size)
    np.testing.assert_allclose(restricted.gauss_newton_product(phi, v), scaled @ v, rtol=1e-11, atol=1e-13)
    M = generator.standard_normal((student.size, 4))
    affine = Affine(inner, M, theta)
    np.testing.assert_allclose(affine.gauss_newton(np.zeros(4))[2], M.T @ full @ M, rtol=1e-12)
    v = generator.standard_normal(4)
    found = affine.gauss_newton_product(np.zeros(4), v)
    np.testing.assert_allclose(found, M.T @ full @ M @ v, rtol=1e-11, atol=1e-13)
    assert affine.has_gauss_newton and restricted.has_gauss_newton


def test_what_has_none():
    student = gf.MLP.random((3, 5, 3), "tanh", True, seed=0)
    inputs = np.random.default_rng(0).standard_normal((30, 3))
    classes = gf.Problem(np.arange(30) % 3, student, inputs=inputs, loss="cross_entropy").objective
    assert not classes.has_gauss_newton
