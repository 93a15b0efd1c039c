"""Levenberg–Marquardt on the Gauss–Newton matrix: zero loss, dense and by products.

Truths: a teacher within reach has loss zero; its residuals are evaluated by another road, on samples.
"""

import numpy as np
import pytest

import gradflow as gf
from gradflow.refiners import GaussNewton
from gradflow.refiners.gauss_newton import conjugate_gradients
from gradflow.support.errors import ArgumentError
from gradflow.support.progress import Monitor
from gradflow.support.stopping import StopReason


def refine(problem, **settings):
    return GaussNewton(**settings).refine(problem.objective, problem.theta0.copy(), Monitor(False))


@pytest.mark.parametrize("n, k, d", [(6, 3, 5), (12, 4, 6), (30, 10, 11)])
def test_over_wide_population_students_reach_the_floor_of_the_gradient(n, k, d):
    """From random starts to a manifold of minima whose soft directions are flat to fourth order."""
    teacher = gf.teachers.orthonormal(k, d, "erf")
    inputs = np.random.default_rng(0).standard_normal((500, d))
    for seed in range(3):
        student = gf.MLP.random((d, n, 1), "erf", False, seed=seed)
        end = refine(gf.Problem(teacher, student))
        assert end.stop_reason is StopReason.LOSS_FLOOR
        assert end.grad_norm < 1e-14 and end.iterations < 120
        # The loss itself is rounding there; residuals of samples are not.
        rest = student.with_flat(end.theta)(inputs) - teacher(inputs)
        assert np.abs(rest).max() < 1e-7


def sample_problem(outputs=1):
    X = np.random.default_rng(1).standard_normal((400, 3))
    teacher = gf.MLP.random((3, 3, outputs), "tanh", True, seed=5)
    return gf.Problem(teacher, gf.MLP.random((3, 6, outputs), "tanh", True, seed=0), inputs=X)


@pytest.mark.parametrize("outputs", [1, 2])
def test_samples_with_a_matrix_and_with_products(outputs):
    problem = sample_problem(outputs)
    dense = refine(problem, max_iterations=300, window=300)
    assert dense.loss < 1e-18
    by_products = refine(problem, max_iterations=300, window=300, dense=0, products=400)
    assert by_products.loss < 1e-14
    assert by_products.counts.hessians == 0 and by_products.counts.products > 1000


def test_a_search_is_given_up_and_another_run_goes_on():
    X = np.random.default_rng(1).standard_normal((200, 3))
    teacher = gf.MLP.random((3, 3, 1), "tanh", True, seed=5)
    y = teacher(X) + 0.01 * np.random.default_rng(2).standard_normal((200, 1))
    near = teacher.flat() + 0.3 * np.random.default_rng(3).standard_normal(teacher.size)
    problem = gf.Problem(y, teacher.with_flat(near), inputs=X)
    given_up = refine(problem, window=4, gain=0.5)
    assert given_up.stop_reason is StopReason.NO_PROGRESS and given_up.loss > 5e-5
    finished = refine(problem, window=4, gain=0.5, search=False)
    assert finished.stop_reason is StopReason.FLOOR
    assert finished.grad_norm < 1e-13 and finished.loss <= given_up.loss
    assert finished.settings["refiner"] == "GaussNewton"


def test_same_bits_and_bad_input():
    problem = sample_problem()
    first, second = (refine(problem, max_iterations=20) for _ in range(2))
    np.testing.assert_array_equal(first.theta, second.theta)
    for settings in ({"dense": -1}, {"products": 0}):
        with pytest.raises(ArgumentError):
            GaussNewton(**settings)
    student = gf.MLP.random((3, 4, 3), "tanh", True, seed=0)
    inputs = np.random.default_rng(0).standard_normal((30, 3))
    classes = gf.Problem(np.arange(30) % 3, student, inputs=inputs, loss="cross_entropy")
    with pytest.raises(ArgumentError, match="mean of squares"):
        refine(classes)


def test_conjugate_gradients():
    generator = np.random.default_rng(0)
    root = generator.standard_normal((40, 40))
    A, b = root @ root.T + np.eye(40), generator.standard_normal(40)
    x = conjugate_gradients(lambda v: A @ v, b, A.diagonal().copy(), 1e-12, 200)
    np.testing.assert_allclose(x, np.linalg.solve(A, b), rtol=1e-8)
    early = conjugate_gradients(lambda v: A @ v, b, A.diagonal().copy(), 1e-12, 3)
    assert early @ b > 0
    assert conjugate_gradients(lambda v: -v, b, np.ones(40), 1e-12, 3) is None
