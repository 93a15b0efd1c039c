"""Population losses with hidden and output biases and a mean: derivatives, samples, limits, symmetries."""

import numpy as np
import pytest

import gradflow as gf
from gradflow.losses.population import PopulationLoss

MEAN = np.array([0.5, -1.0, 0.3])
COV = 0.3 * np.array([[1.0, 0.3, 0.0], [0.3, 0.5, 0.1], [0.0, 0.1, 2.0]])
LAWS = {
    "standard": gf.Gaussian(),
    "mean": gf.Gaussian(mean=MEAN),
    "mean and covariance": gf.Gaussian(mean=MEAN, cov=COV),
}
MIXED = ("erf", "relu", "normal_cdf", "leaky_relu")
CUBIC = gf.Polynomial([0.3, -1.0, 0.5, 0.2])
NETWORKS = [
    ("relu", "relu", True, True),
    ("erf", "erf", True, True),
    ("normal_cdf", "normal_cdf", True, False),
    ("leaky_relu", "identity", [False, True], True),
    (MIXED, ("identity", "relu", "erf"), True, True),
    (MIXED, ("normal_cdf", "leaky_relu", "erf"), [True, False], True),
    (("elu", "selu", "gelu", "sin"), ("relu", "erf", "sin"), True, True),
    (("sin", "relu", "exp", "normal_cdf"), ("elu", CUBIC, "exp"), True, True),
    (("leaky_relu", "cos", CUBIC, "identity"), ("gelu", "selu", "cos"), True, False),
    (("elu", "cos", CUBIC, "cube"), ("gelu", "selu", "sin"), [False, True], False),
]


def network(rng, width, outputs, activation, bias):
    """Weights of norm about 1, so that e^u and cubes have moments that samples can see."""
    return gf.MLP.random((3, width, outputs), activation, bias, seed=rng, init="normal", gain=0.6)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("activation", "others", "bias", "teacher_bias"), NETWORKS)
def test_derivatives(rng, activation, others, bias, teacher_bias, law):
    """Gradient, Hessian and product against differences; symmetric and equal bit by bit."""
    student, teacher = network(rng, 4, 2, activation, bias), network(rng, 3, 2, others, teacher_bias)
    loss = PopulationLoss(student, teacher, LAWS[law])
    theta, step = student.flat(), 1e-5
    value, gradient, hessian = loss.all_derivatives(theta)
    assert (hessian == hessian.T).all()
    assert loss.loss(theta) == value
    np.testing.assert_array_equal(loss.gradient(theta), gradient)
    moves = step * np.eye(theta.size)
    slopes = [(loss.loss(theta + u) - loss.loss(theta - u)) / (2 * step) for u in moves]
    np.testing.assert_allclose(gradient, slopes, atol=1e-9 * np.abs(gradient).max(), rtol=0)
    curves = [(loss.gradient(theta + u) - loss.gradient(theta - u)) / (2 * step) for u in moves]
    np.testing.assert_allclose(hessian, curves, atol=1e-9 * np.abs(hessian).max(), rtol=0)
    v = rng.standard_normal(theta.size)
    np.testing.assert_allclose(loss.hvp(theta, v), hessian @ v, atol=4e-15 * np.abs(hessian).max(), rtol=0)


@pytest.mark.parametrize(("activation", "others", "bias", "teacher_bias"), NETWORKS)
def test_samples(rng, activation, others, bias, teacher_bias):
    """z-score of the empirical loss on 200,000 draws."""
    student, teacher = network(rng, 4, 2, activation, bias), network(rng, 3, 2, others, teacher_bias)
    law = LAWS["mean and covariance"]
    value = PopulationLoss(student, teacher, law).loss(student.flat())
    X = law.sample(200_000, 3, rng)
    terms = ((student(X) - teacher(X)) ** 2).sum(axis=1)
    assert abs(terms.mean() - value) < 4.0 * terms.std() / np.sqrt(terms.size)


@pytest.mark.parametrize("activation", ["erf", "relu", "leaky_relu", "normal_cdf", MIXED])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_biases_that_are_zero(rng, activation, scale):
    """The loss without biases, to rounding: aligned, opposite and zero vectors included."""
    W, V = scale * rng.standard_normal((4, 3)), scale * rng.standard_normal((3, 3))
    W[1], W[2] = V[0], -V[1]
    if activation != "relu":
        W[3] = 0.0
    a, c = rng.standard_normal((1, 4)), rng.standard_normal((1, 3))
    others = activation[:3] if isinstance(activation, tuple) else activation
    plain = gf.MLP([W, a], activation=activation)
    biased = gf.MLP([W, a], [np.zeros(4), [0.0]], activation=activation)
    first = PopulationLoss(plain, gf.MLP([V, c], activation=others), gf.Gaussian())
    teacher = gf.MLP([V, c], [np.zeros(3), [0.0]], activation=others)
    second = PopulationLoss(biased, teacher, gf.Gaussian())
    value, gradient, hessian = first.all_derivatives(plain.flat())
    found = second.all_derivatives(biased.flat())
    here = np.r_[0:12, 16:20]
    assert abs(found[0] - value) <= max(first.loss_floor, 1e-15 * value)
    for part in (np.arange(12), np.arange(12, 16)):
        limit = 1e-15 * np.abs(gradient[part]).max()
        np.testing.assert_allclose(found[1][here][part], gradient[part], atol=limit, rtol=0)
    np.testing.assert_allclose(found[2][np.ix_(here, here)], hessian, atol=3e-15 * np.abs(hessian).max())


def test_zero_weights_with_a_bias():
    """σ(b) is a constant there: an ordinary point for every activation; ReLU at w = b = 0 is dead."""
    student = gf.MLP([[[0.0, 0, 0], [1, 2, 3]], [[1.0, 2]]], [[0.7, 0.2], [0.1]], activation="relu")
    W = [[0.0, 0, 0], [1, 2, 0], [0, 0, 0]]
    teacher = gf.MLP([W, [[1.0, 2, 1]]], [[-0.7, 0.2, 0], [0.1]], activation=("relu", "erf", "leaky_relu"))
    loss = PopulationLoss(student, teacher, gf.Gaussian())
    theta, step = student.flat(), 1e-5
    _, gradient, hessian = loss.all_derivatives(theta)
    moves = step * np.eye(theta.size)
    slopes = [(loss.loss(theta + u) - loss.loss(theta - u)) / (2 * step) for u in moves]
    np.testing.assert_allclose(gradient, slopes, atol=2e-8)
    curves = [(loss.gradient(theta + u) - loss.gradient(theta - u)) / (2 * step) for u in moves]
    np.testing.assert_allclose(hessian, curves, atol=2e-8)
    theta[6] = 0.0
    _, gradient, hessian = loss.all_derivatives(theta)
    dead = [0, 1, 2, 6, 8]
    assert not gradient[dead].any() and not hessian[dead].any()
    assert np.isfinite(hessian).all()


def test_mean_without_biases(rng):
    """A mean is a bias w·μ; b is then no parameter: the chain rule through the biased problem."""
    W, V, a, c = (rng.standard_normal(s) for s in ((4, 3), (2, 3), (1, 4), (1, 2)))
    plain, teacher = gf.MLP([W, a], activation="relu"), gf.MLP([V, c], activation="erf")
    value, gradient, hessian = PopulationLoss(plain, teacher, LAWS["mean"]).all_derivatives(plain.flat())
    biased = gf.MLP([W, a], [W @ MEAN, None], activation="relu")
    shifted = gf.MLP([V, c], [V @ MEAN, None], activation="erf")
    there = PopulationLoss(biased, shifted, gf.Gaussian()).all_derivatives(biased.flat())
    chain = np.zeros((20, 16))
    chain[:12, :12], chain[16:, 12:], chain[12:16, :12] = np.eye(12), np.eye(4), np.kron(np.eye(4), MEAN)
    assert abs(there[0] - value) <= 1e-15 * value
    np.testing.assert_allclose(gradient, chain.T @ there[1], atol=1e-14 * np.abs(gradient).max())
    np.testing.assert_allclose(hessian, chain.T @ there[2] @ chain, atol=1e-14 * np.abs(hessian).max())


@pytest.mark.parametrize("activation", ["erf", "relu", MIXED])
def test_symmetries(rng, activation):
    """Permuted neurons, rotated inputs, and the sign flip of odd activations."""
    student, teacher = network(rng, 4, 1, activation, True), network(rng, 3, 1, "relu", True)
    value = PopulationLoss(student, teacher, gf.Gaussian()).loss(student.flat())
    (W, a), (b, c) = student.weights, student.biases
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    order = rng.permutation(4)
    names = tuple(np.array(activation)[order]) if isinstance(activation, tuple) else activation
    names = tuple(map(str, names)) if isinstance(names, tuple) else names
    moved = [gf.MLP([W[order], a[:, order]], [b[order], c], activation=names)]
    if activation == "erf":
        moved.append(gf.MLP([-W, -a], [-b, c], activation="erf"))
    for other in moved:
        assert abs(PopulationLoss(other, teacher, gf.Gaussian()).loss(other.flat()) - value) <= 4e-15 * value
    turned = gf.MLP([W @ rotation, a], [b, c], activation=activation)
    there = gf.MLP([teacher.weights[0] @ rotation, teacher.weights[1]], teacher.biases, activation="relu")
    assert abs(PopulationLoss(turned, there, gf.Gaussian()).loss(turned.flat()) - value) <= 4e-15 * value


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_teacher_is_a_global_minimum(rng, activation, law):
    teacher = network(rng, 3, 1, activation, True)
    loss = PopulationLoss(teacher, teacher, LAWS[law])
    value, gradient, hessian = loss.all_derivatives(teacher.flat())
    assert abs(value) <= loss.loss_floor
    assert np.abs(gradient).max() <= 4 * loss.loss_floor
    assert np.linalg.eigvalsh(hessian)[0] >= -1e-14 * np.abs(hessian).max()


def test_overflow():
    """E e^{2u} = e^{2|w|²} leaves Float64 at |w| = 19: an error for a teacher, inf or NaN for a student."""
    small, large = (gf.MLP([[[r, 0.0]], [[1.0]]], activation="exp") for r in (0.3, 20.0))
    with pytest.raises(gf.ArgumentError, match=r"teacher.*beyond Float64"):
        gf.Problem(large, small)
    assert not np.isfinite(gf.Problem(small, large).objective.loss(large.flat()))


def test_a_zero_vector_of_elu_has_the_slope_at_zero():
    """E elu'(0) τ(v·x) x, elu'(0) = 1: the gradient of the identity there, polynomials among the partners."""
    mean = np.array([-0.4, 0.7])
    gradients = []
    for activation in ("elu", "identity"):
        student = gf.MLP([np.zeros((1, 2)), np.ones((1, 1))], [np.zeros(1), None], activation=activation)
        teacher = gf.MLP([np.array([[0.5, -1.0]]), np.ones((1, 1))], [None, np.ones(1)], activation="square")
        gradients.append(PopulationLoss(student, teacher, gf.Gaussian(mean=mean)).gradient(student.flat()))
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-14)
