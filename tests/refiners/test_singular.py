"""Exactly singular directions, flat ones of higher order, and bad conditioning told apart."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.losses.from_jax import JaxLoss
from gradflow.refiners import SmallEigenvalues, TrustRegionNewton
from gradflow.refiners.singular import classify
from gradflow.support.progress import Monitor


@pytest.mark.parametrize(
    ("function", "start", "expected"),
    [
        (lambda x: (x[0] ** 2 + x[1] ** 2 - 1) ** 2 + x[2] ** 2, [0.9, 0.5, 0.1], (1, 0, 0)),
        (lambda x: x[0] ** 2 + 1e-4 * x[1] ** 4 + 2.0, [0.5, 0.0], (0, 1, 0)),
        (lambda x: x[0] ** 2 + 1e-10 * (x[1] - 1) ** 2 + 2.0, [0.5, 0.5], (0, 0, 1)),
        (lambda x: x[0] ** 2 + 3 * x[1] ** 2 + 0 * x[2], [0.5, 0.5, 1.0], (1, 0, 0)),
        (lambda x: jnp.sum(x**2), [0.5, 0.5], (0, 0, 0)),
    ],
)  # fmt: skip
def test_each_kind_is_counted(function, start, expected):
    loss = JaxLoss(function, len(start))
    found = TrustRegionNewton().refine(loss, np.array(start), Monitor(False))
    assert found.small_eigenvalues == SmallEigenvalues(*expected)


def test_a_gradient_that_explodes_off_the_line_is_not_flat():
    """Warnings are errors in tests: the way back overflows, silently."""
    loss = JaxLoss(lambda x: 1e303 * x[0] * x[1], 3)
    found = classify(loss, np.zeros(3), 0.0, np.array([0.0, 1e-14, 1.0]), np.eye(3))
    assert found == SmallEigenvalues(0, 1, 1)


def test_relu_neurons_have_one_exact_zero_each(tmp_path):
    teacher = gf.teachers.orthonormal(3, 4, activation="relu")
    student = gf.MLP.random((4, 2, 1), "relu", False, seed=1)
    result = gf.train(teacher, student, progress=False)
    assert result.converged
    small = result.refinement.small_eigenvalues
    assert small.flat >= 2 and small.flat == result.spectrum().zero - small.higher_order
    assert f"{small.flat} directions exactly singular" in str(result)
    result.save(tmp_path / "run.h5")
    assert gf.load(tmp_path / "run.h5").refinement.small_eigenvalues == small


def test_a_regular_minimum_has_none():
    teacher = gf.teachers.orthonormal(4, 5)
    result = gf.train(teacher, gf.MLP.random((5, 3, 1), "erf", False, seed=0), progress=False)
    assert result.refinement.small_eigenvalues.flat == 0


def test_refinement_stays_where_the_flow_ended_on_a_line_of_minima():
    """Aligned ReLU students may share the teacher's length in any way: the flow says how, Newton must not."""
    start = np.array([[0.5, 0.6], [-0.1, 0.5], [0.3, -0.7]])
    student = gf.MLP([start, np.ones((1, 3))], None, "relu")
    teacher = gf.MLP([np.array([[1.0, 0.0]]), np.ones((1, 1))], None, "relu")
    rates = np.concatenate([np.ones(6), np.zeros(3)])
    result = gf.train(teacher, student, rates=rates, progress=False)
    assert result.grad_norm < 1e-15 and result.flow.grad_norms[-1] > 1e-11
    assert np.abs(result.theta - result.flow.theta[-1]).max() < 1e-4
