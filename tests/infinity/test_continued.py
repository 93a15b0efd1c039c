"""Ends at infinity with infinitely many inputs."""

import numpy as np
import pytest

import gradflow as gf
from gradflow.infinity.continued import continued
from gradflow.support.progress import Monitor


def test_a_selu_neuron_becomes_the_corner_at_zero(tmp_path):
    """A teacher that is a corner with the slopes of selu at 0±, which two relu units are."""
    low, high = 1.0507009873554805 * 1.6732632423543772, 1.0507009873554805
    teacher = gf.MLP([np.array([[0.6, 0.3], [-0.6, -0.3]]), np.array([[high, -low]])], None, "relu")
    student = gf.MLP([[[0.06, 0.03]], [[10.0]]], None, "selu")
    result = gf.train(teacher, student, progress=False)
    assert result.end.kind == "infinity" and not result.converged
    assert result.channel.approaches[0].exponent in (1.0, 2.0)
    assert abs(result.channel.loss) <= max(result.channel.loss_error, 1e-9)
    X = np.random.default_rng(0).standard_normal((50, 2))
    np.testing.assert_allclose(result.limit(X), teacher(X), atol=1e-3)
    result.save(tmp_path / "run.h5")
    assert gf.load(tmp_path / "run.h5").channel.loss == result.channel.loss


def test_a_neuron_whose_bias_goes_to_infinity_is_linear():
    """One leaky relu, which is convex, on a line and a small concave hinge: the best line, by quadrature."""
    teacher = gf.MLP([[[1.0], [1.0]], [[1.0, -0.02]]], [[12.0, -2.0], [0.0]], "relu")
    student = gf.MLP([[[1.0]], [[1.0]]], [[3.5], [8.0]], "leaky_relu")
    problem = gf.Problem(teacher, student)
    found = gf.train(problem, progress=False)
    # The best line leaves Var r of what is not linear, by fine quadrature.
    z = np.linspace(-12, 12, 400_001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    f = teacher(z[:, None])[:, 0]
    mean, slope = density @ f, density @ (f * z)
    left = density @ (f - mean - slope * z) ** 2
    assert found.end.kind == "infinity" and "linear" in str(found.end)
    assert found.channel.loss == pytest.approx(left, rel=1e-6)


def test_finite_minima_are_not_continued():
    for seed in range(4):
        teacher = gf.teachers.random((2, 2, 1), "tanh", seed=seed)
        problem = gf.Problem(teacher, gf.MLP.random((2, 1, 1), "tanh", seed=seed))
        result = gf.train(problem, progress=False)
        if result.converged:
            assert continued(problem, result.theta, Monitor(False)) is None
