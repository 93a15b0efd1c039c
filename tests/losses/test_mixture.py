"""Mixtures of Gaussians and spherically symmetric laws against quadrature, moments and samples."""

import dataclasses
import itertools

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.special

import gradflow as gf
from gradflow import ArgumentError

COVARIANCES = (np.diag([0.5, 2.0]), np.array([[1.0, 0.6], [0.6, 0.8]]))
WEIGHTS = (1.0, 3.0)


def networks(activation, d=2, n=2, k=3):
    student = gf.MLP.random((d, n, 1), activation, bias=False, seed=1, init="normal", gain=0.7)
    return gf.teachers.random((d, k, 1), activation, bias=False, seed=2, gain=0.7), student


def check_derivatives(problem, theta, rng):
    """Gradient and Hessian by central differences; the product by the Hessian."""
    loss, gradient = problem.loss_and_gradient(theta)
    hessian, direction = problem.hessian(theta), rng.standard_normal(theta.size)
    h = 1e-5
    ahead, behind = theta + h * direction, theta - h * direction
    slope = (problem.loss(ahead) - problem.loss(behind)) / (2 * h)
    assert slope == pytest.approx(gradient @ direction, abs=1e-8 * (1 + np.abs(gradient).max()))
    change = (problem.gradient(ahead) - problem.gradient(behind)) / (2 * h)
    np.testing.assert_allclose(change, hessian @ direction, atol=1e-7 * np.abs(hessian).max())
    np.testing.assert_allclose(
        problem.hvp(theta, direction), hessian @ direction, atol=1e-13 * np.abs(hessian).max()
    )
    assert problem.loss(theta) == loss


def test_a_mixture_is_the_weighted_sum(rng):
    """Against the trapezoidal rule in the plane, which converges exponentially for erf."""
    teacher, student = networks("erf")
    law = gf.Mixture([gf.Gaussian(cov=C) for C in COVARIANCES], WEIGHTS)
    problem = gf.Problem(teacher, student, law)
    nodes = np.arange(-12.0, 12.0, 0.1)
    plane = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    measure = 0.01 * np.exp(-0.5 * (plane**2).sum(axis=1)) / (2 * np.pi)
    wanted = 0.0
    for C, p in zip(COVARIANCES, (0.25, 0.75)):
        x = plane @ np.linalg.cholesky(C).T
        wanted += p * (measure @ ((student(x) - teacher(x))[:, 0] ** 2))
    assert problem.loss(student.flat()) == pytest.approx(wanted, rel=1e-12)
    check_derivatives(problem, student.flat(), rng)
    assert problem.objective.loss_floor > 0


def test_components_with_means(rng):
    """relu with biases, by adaptive quadrature over each half-plane's kink: one neuron, one input."""
    teacher = gf.MLP([[[1.2]], [[0.7]]], [[-0.3], [0.1]], "relu")
    student = gf.MLP([[[-0.8], [0.5]], [[1.0, 0.4]]], [[0.2, 0.6], None], "relu")
    laws = [gf.Gaussian([0.5], [[0.8]]), gf.Gaussian([-1.0], [[2.0]])]
    problem = gf.Problem(teacher, student, gf.Mixture(laws, [1.0, 2.0]))
    kinks = [-np.inf, -1.2, 0.25, np.inf]  # −b/w of the neurons
    wanted = 0.0
    for law, p in zip(laws, (1 / 3, 2 / 3)):

        def integrand(x, mean=law.mean[0], variance=law.cov[0, 0]):
            density = np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
            point = np.array([[x]])
            return density * (student(point) - teacher(point)).item() ** 2

        for a, b in itertools.pairwise(kinks):
            wanted += p * scipy.integrate.quad(integrand, a, b, epsabs=1e-14, epsrel=1e-13)[0]
    assert problem.loss(student.flat()) == pytest.approx(wanted, rel=1e-12)
    check_derivatives(problem, student.flat(), rng)


def test_a_dead_neuron_is_one_without_input_in_any_component():
    """With a bias the pre-activation is off the kink, and there is a Hessian."""

    def result(bias, inputs=None):
        student = gf.MLP([np.zeros((1, 2)), [[1.0]]], [bias, None], "relu")
        teacher = gf.MLP([np.ones((1, 2)), [[1.0]]], [[0.5], None], "relu")
        solver = gf.solvers.Kvaerno5(t1=1e-3)
        problem = gf.Problem(teacher, student, inputs)
        run = gf.train(problem, solver=solver, refiner=None, progress=False, rates=[0, 0, 0, 1.0])
        return dataclasses.replace(run, rates=np.ones(4))

    one = result([0.5])
    h = 1e-5
    for i in range(4):
        move = h * np.eye(4)[i]
        change = (one.problem.gradient(one.theta + move) - one.problem.gradient(one.theta - move)) / (2 * h)
        np.testing.assert_allclose(change, one.hessian()[i], atol=1e-8)
    with pytest.raises(gf.HessianUndefinedError, match="neuron 0"):
        result([0.0]).hessian()
    mixture = gf.Mixture([gf.Gaussian(), gf.Gaussian([1.0, 0.0])])
    with pytest.raises(gf.HessianUndefinedError, match="neuron 0"):
        result([0.0], mixture).hessian()


def test_errors_of_expansions_are_passed_on():
    """The estimate for a mixture is the worst of its components'."""
    teacher, student = networks("tanh")
    laws = [gf.Gaussian(), gf.Gaussian(cov=9.0 * np.eye(2))]
    errors = [gf.Problem(teacher, student, law).objective.kernel_error(student.flat()) for law in laws]
    mixture = gf.Problem(teacher, student, gf.Mixture(laws))
    assert mixture.objective.kernel_error(student.flat()) == max(errors) > 0


def test_training_on_a_mixture(tmp_path):
    teacher, student = networks("erf")
    result = gf.train(teacher, student, gf.Mixture([gf.Gaussian(cov=C) for C in COVARIANCES]), progress=False)
    assert result.converged
    result.save(tmp_path / "run.h5")
    loaded = gf.load(tmp_path / "run.h5")
    assert loaded.problem.loss(loaded.theta) == result.loss and str(loaded) == str(result)


def kernel(activation, w, v):
    """E σ(w·u)σ(v·u) for u uniform on the unit circle."""
    edges = np.sort(np.concatenate([np.arctan2(-x[0], x[1]) % np.pi + [0, np.pi] for x in (w, v)]))
    points = np.concatenate([[0], edges, [2 * np.pi]])

    def f(t):
        u = np.array([[np.cos(t)], [np.sin(t)]])
        return (activation(w @ u) * activation(v @ u)).item()

    parts = itertools.pairwise(points)
    return sum(scipy.integrate.quad(f, a, b, epsabs=1e-15)[0] for a, b in parts) / (2 * np.pi)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "identity", "square", "cube"])
@pytest.mark.parametrize("law", [gf.Sphere(), gf.Ball(1.5), gf.StudentT(7.5)], ids=repr)
def test_spherical_laws(rng, activation, law):
    """K = E ρ^2p times the average over the circle, by adaptive quadrature between the kinks."""
    teacher, student = networks(activation)
    problem = gf.Problem(teacher, student, law)
    sigma = gf.ACTIVATIONS[activation]
    rows = np.concatenate([student.weights[0], teacher.weights[0]])
    outputs = np.concatenate([student.weights[1][0], -teacher.weights[1][0]])
    wanted = sum(
        a * b * kernel(sigma, w, v) for a, w in zip(outputs, rows) for b, v in zip(outputs, rows)
    ) * law.moment(2 * sigma.degree, 2)
    assert problem.loss(student.flat()) == pytest.approx(wanted, rel=1e-12)
    check_derivatives(problem, student.flat(), rng)


def test_mixtures_of_spherical_laws_and_others(rng):
    """The mean of the losses under each."""
    teacher, student = networks("cube")
    laws, shares = [gf.Sphere(2.0), gf.Gaussian(mean=[0.3, -0.2]), gf.StudentT(14.5)], [0.2, 0.5, 0.3]
    problem = gf.Problem(teacher, student, gf.Mixture(laws, shares))
    theta = student.flat()
    parts = [gf.Problem(teacher, student, law).loss(theta) for law in laws]
    assert problem.loss(theta) == pytest.approx(np.dot(shares, parts), rel=1e-14)
    check_derivatives(problem, theta, rng)


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("power", [2, 4, 6])
def test_radial_moments(dim, power):
    """Against the integral over the density of the radius."""
    df = mpmath.mpf("8.5")

    def density(r):  # of the Student radius, not normalised
        return r ** (dim - 1) * (1 + r * r / df) ** (-(df + dim) / 2)

    def integral(f):
        return mpmath.quad(f, [0, 1, 4, 16, 256, mpmath.inf])

    wanted = integral(lambda r: r**power * density(r)) / integral(density)
    assert gf.StudentT(8.5).moment(power, dim) == pytest.approx(float(wanted), rel=1e-10)
    wanted = mpmath.quad(lambda r: r ** (power + dim - 1) * dim, [0, 1])
    assert gf.Ball(1.0).moment(power, dim) == pytest.approx(float(wanted), rel=1e-14)
    gauss = 2 ** (power / 2) * scipy.special.gamma((dim + power) / 2) / scipy.special.gamma(dim / 2)
    assert gf.Sphere().ratio(power, dim) == pytest.approx(dim ** (power / 2) / gauss, rel=1e-14)


LAWS = [
    gf.Sphere(),
    gf.Sphere(2.0),
    gf.Ball(),
    gf.StudentT(9.0),
    gf.Mixture([gf.Gaussian(), gf.Gaussian(cov=np.diag([4.0, 1.0, 0.25]))], [0.3, 0.7]),
]


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_samples_follow_the_law(law):
    """The loss as the mean over draws: within 4 standard errors, for relu."""
    teacher, student = networks("relu", d=3)
    x = law.sample(200_000, 3, np.random.default_rng(5))
    errors = (student(x) - teacher(x))[:, 0] ** 2
    score = (errors.mean() - gf.Problem(teacher, student, law).loss(student.flat())) / errors.std()
    assert abs(score) * np.sqrt(x.shape[0]) < 4
    assert (x == law.sample(200_000, 3, np.random.default_rng(5))).all()


@pytest.mark.parametrize("law", LAWS[:4], ids=repr)
def test_training_and_files(tmp_path, law):
    teacher, student = networks("relu", d=4)
    result = gf.train(teacher, student, law, progress=False)
    assert result.converged
    result.save(tmp_path / "run.h5")
    loaded = gf.load(tmp_path / "run.h5")
    assert type(loaded.problem.inputs) is type(law) and loaded.problem.inputs.parameters == law.parameters
    assert str(loaded) == str(result)
    # The end point is critical for the Gaussian too: its loss is a multiple.
    gauss = gf.Problem(teacher, student)
    assert np.abs(gauss.gradient(result.theta)).max() < 1e-13
    ratio = law.ratio(2, 4)
    assert gauss.loss(result.theta) * ratio == pytest.approx(result.loss, rel=1e-13)


def test_a_law_of_ones_own_is_not_stored(tmp_path):
    class Shell(gf.Sphere):
        """A law of one's own."""

    teacher, student = networks("relu")
    result = gf.train(teacher, student, Shell(1.0), solver=None, progress=False)
    with pytest.raises(gf.StorageError, match="'Shell'"):
        result.save(tmp_path / "run.h5")


def test_bad_input():
    relu, erf, square = (networks(name) for name in ("relu", "erf", "square"))
    mixed = gf.MLP.random((2, 2, 1), [("relu", "square")], bias=False, seed=0)
    cases = [
        (lambda: gf.Problem(*erf, gf.Sphere()), "activation 'erf'"),
        (lambda: gf.Problem(*square, gf.StudentT(4.0)), r"E\|x\|\^4 is inf"),
        (lambda: gf.Problem(*relu, gf.StudentT(2.0)), r"E\|x\|\^2 is inf"),
        (lambda: gf.Problem(relu[0], square[1], gf.Ball()), "different degrees"),
        (lambda: gf.Problem(relu[0], mixed, gf.Ball()), "different degrees"),
        (lambda: gf.Problem(relu[0], gf.MLP.random((2, 2, 1), "relu", seed=0), gf.Ball()), "biases"),
        (lambda: gf.Problem(relu[0], gf.MLP.random((2, 2, 2, 1), "relu", seed=0), gf.Ball()), "2 hidden"),
        (lambda: gf.Problem(*erf, gf.Mixture([gf.Gaussian(cov=np.eye(3))])), "dimension 3"),
        (lambda: gf.Mixture([]), "empty"),
        (lambda: gf.Mixture(gf.Gaussian()), "a list"),
        (lambda: gf.Mixture([gf.Samples([[1.0]])]), "Samples"),
        (lambda: gf.Mixture([gf.Gaussian(cov=np.eye(2)), gf.Gaussian(cov=np.eye(3))]), "dimensions"),
        (lambda: gf.Mixture([gf.Gaussian()], [1.0, 2.0]), "one per component"),
        (lambda: gf.Mixture([gf.Gaussian()] * 2, [1.0, 0.0]), "weights > 0"),
        (lambda: gf.Mixture([gf.Gaussian()], [np.nan]), "finite"),
        (lambda: gf.Sphere(0.0), "radius"),
        (lambda: gf.Ball(np.inf), "radius"),
        (lambda: gf.StudentT(-1.0), "df"),
        (lambda: gf.StudentT(np.inf), "Gaussian"),
        (lambda: gf.train(*erf, gf.Mixture([gf.Gaussian()]), precision="double-double"), "Mixture"),
    ]
    for call, message in cases:
        with pytest.raises(ArgumentError, match=message):
            call()
