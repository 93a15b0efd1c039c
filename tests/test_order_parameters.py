"""Order parameters against their definition and against samples."""

import numpy as np
import pytest

import gradflow as gf
from gradflow import ArgumentError


def networks():
    teacher = gf.teachers.random((3, 2, 1), "erf", seed=2)
    return gf.MLP.random((3, 4, 1), "tanh", seed=1, init="normal"), teacher


def test_standard_inputs():
    student, teacher = networks()
    Q, R, T = gf.order_parameters(student, teacher)
    W, V = student.weights[0], teacher.weights[0]
    assert Q.shape == (4, 4) and R.shape == (4, 2) and T.shape == (2, 2)
    for i in range(4):
        assert Q[i, 1] == pytest.approx(W[i] @ W[1], rel=1e-14)
        assert R[i, 1] == pytest.approx(W[i] @ V[1], rel=1e-14)
    assert (Q == Q.T).all() and T[0, 1] == pytest.approx(V[0] @ V[1], rel=1e-14)


@pytest.mark.parametrize(
    "law", [gf.Gaussian([1.0, 2.0, 3.0], np.diag([1.0, 4.0, 0.5])), gf.Ball(3.0), gf.StudentT(12.0)], ids=repr
)
def test_they_are_covariances(law):
    """Of the fields z = Wx, Vx over draws: within five standard errors."""
    student, teacher = networks()
    x = law.sample(200_000, 3, np.random.default_rng(0))
    rows = np.concatenate([student.weights[0], teacher.weights[0]])
    fields = (x - x.mean(axis=0)) @ rows.T
    Q, R, T = gf.order_parameters(student, teacher, law)
    wanted = np.block([[Q, R], [R.T, T]])
    products = fields[:, :, None] * fields[:, None, :]
    scores = (products.mean(axis=0) - wanted) / (products.std(axis=0) / np.sqrt(x.shape[0]))
    assert np.abs(scores).max() < 5


def test_along_a_path(rng):
    student, teacher = networks()
    path = rng.standard_normal((5, student.size))
    Q, R, _ = gf.order_parameters(student, teacher, theta=path)
    assert Q.shape == (5, 4, 4) and R.shape == (5, 4, 2)
    one = gf.order_parameters(student.with_flat(path[3]), teacher)
    np.testing.assert_allclose(Q[3], one.Q, rtol=1e-14)
    np.testing.assert_allclose(R[3], one.R, rtol=1e-13)
    np.testing.assert_array_equal(gf.order_parameters(student, teacher, theta=path[3]).Q, one.Q)


def test_bad_input():
    student, teacher = networks()
    other = gf.MLP.random((2, 2, 1), seed=0)
    for call in (
        lambda: gf.order_parameters(other, teacher),
        lambda: gf.order_parameters(student, np.eye(3)),
        lambda: gf.order_parameters(student, teacher, np.ones((4, 3))),
        lambda: gf.order_parameters(student, teacher, gf.Gaussian(cov=np.eye(2))),
        lambda: gf.order_parameters(student, teacher, theta=np.ones(3)),
    ):
        with pytest.raises(ArgumentError):
            call()
