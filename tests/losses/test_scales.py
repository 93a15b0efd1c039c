"""Sizes of gradients: what cancels in each component, against automatic differentiation and sampling, and the
symmetries that they must have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import ArgumentError
from gradflow.losses.scales import SMALLEST

LAWS = {
    "standard": gf.Gaussian(),
    "shifted": gf.Gaussian(mean=[0.5, -1.0, 0.3], cov=np.diag([1.0, 4.0, 0.2]) + 0.1),
    "mixture": gf.Mixture([gf.Gaussian(), gf.Gaussian(mean=[1.0, 0.0, 0.0])], [0.3, 0.7]),
}


def rescaled(network, alpha):
    """The network whose outputs are alpha times as large."""
    weights, biases = list(network.weights), list(network.biases)
    weights[-1] = alpha * weights[-1]
    biases[-1] = None if biases[-1] is None else alpha * biases[-1]
    return gf.MLP(weights, biases, list(network.activations))


def problems(rng, alpha=1.0):
    """One problem of each kind, the targets and the output layer times alpha."""
    X = rng.standard_normal((120, 3))
    noisy = np.sin(X[:, :1]) + 0.3 * rng.standard_normal((120, 1))
    student = gf.MLP.random((3, 4, 1), "tanh", seed=1)
    plain = gf.MLP.random((3, 2, 1), "erf", False, seed=2)
    made = [(alpha * noisy, rescaled(student, alpha), gf.Samples(X, rng.uniform(0.5, 2.0, 120)))]
    made += [
        (rescaled(gf.teachers.random((3, 3, 1), "erf", False, seed=3), alpha), rescaled(plain, alpha), law)
        for law in LAWS.values()
    ]
    relu = gf.MLP.random((3, 2, 1), "relu", False, seed=4)
    made.append((rescaled(gf.teachers.orthonormal(3, 3, "relu"), alpha), rescaled(relu, alpha), gf.Sphere()))
    return [gf.Problem(*entry) for entry in made]


@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus"])
def test_mean_squares_of_the_jacobian_on_samples(activation, rng):
    X, weights = rng.standard_normal((37, 3)), rng.uniform(size=37)
    student = gf.MLP.random((3, 5, 4, 2), activation, [True, False, True], seed=0, init="normal")
    problem = gf.Problem(rng.standard_normal((37, 2)), student, gf.Samples(X, weights))
    theta = student.flat()
    J = np.asarray(jax.jacobian(lambda t: student.with_flat(t)(jnp.asarray(X)))(jnp.asarray(theta)))
    expected = np.einsum("s,sop->op", weights / weights.sum(), J**2)
    assert problem.objective.jacobian_squares(theta) == pytest.approx(expected, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("activation", ["erf", "relu", "tanh", "sin"])
@pytest.mark.parametrize("gain", [0.3, 30.0])
def test_mean_squares_of_the_jacobian_of_a_population(law, activation, gain):
    student = gf.MLP.random((3, 4, 2), activation, seed=1, init="normal", gain=gain)
    X = LAWS[law].sample(40_000, 3, np.random.default_rng(0))
    theta = student.flat()
    sampled = gf.Problem(np.zeros((len(X), 2)), student, X).objective.jacobian_squares(theta)
    teacher = gf.MLP.random((3, 2, 2), activation, seed=2)
    found = gf.Problem(teacher, student, LAWS[law]).objective.jacobian_squares(theta)
    used = sampled > 0
    assert (found[~used] == 0).all()
    # Sampling is right to a few percent, and to a tenth for steep neurons, whose slope is a narrow peak.
    assert np.abs(found[used] / sampled[used] - 1).max() < (0.1 if gain < 1 else 0.3)


def test_what_is_to_be_explained():
    X = np.linspace(-1.0, 1.0, 50)[:, None]
    y = np.sin(3 * X)
    biased, plain = (gf.MLP.random((1, 3, 1), "tanh", bias, seed=0) for bias in (True, [True, False]))
    for offset in (0.0, 5.0, 1e6):
        spread = gf.Problem(y + offset, biased, X).objective.targets.spread[0]
        assert spread == pytest.approx(y.std(), rel=1e-9)
        uncentred = gf.Problem(y + offset, plain, X).objective.targets.spread[0]
        assert uncentred == pytest.approx(np.sqrt(np.mean((y + offset) ** 2)), rel=1e-14)
    # A teacher with a bias, in closed form: E erf(x/√2)² = (2/π) arcsin(1/2) = 1/3 and an offset.
    teacher = gf.MLP([[[1.0]], [[2.0]]], [None, [7.0]], "erf")
    student = gf.MLP.random((1, 2, 1), "erf", [False, True], seed=0)
    assert gf.Problem(teacher, student).objective.targets.spread[0] == pytest.approx(
        np.sqrt(4 / 3), rel=1e-12
    )
    # Constant targets: what the student's own start is from a constant.
    constant = gf.Problem(np.full((50, 1), 5.0), biased, X).objective.targets.spread[0]
    assert constant == pytest.approx(biased(X).std(), rel=1e-12)
    labels = (X[:, 0] > 0.5).astype(int)
    share = labels.mean()
    classes = gf.Problem(labels, gf.MLP.random((1, 2), seed=0), X, loss="cross_entropy").objective
    assert classes.targets.spread == pytest.approx(np.full(2, np.sqrt(share * (1 - share))), rel=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus", "silu", "g", "erf"])
def test_teachers_that_cancel(activation):
    """f* = Σ c σ(v·x) with every term there twice, with opposite signs: E f*² comes out as ±1e-17."""
    for seed in range(8):
        half = gf.MLP.random((2, 3, 1), activation, False, seed=seed, init="normal")
        W, a = half.weights
        teacher = gf.MLP([np.vstack([W, W]), np.hstack([a, -a])], None, activation)
        problem = gf.Problem(teacher, gf.MLP.random((2, 2, 1), activation, False, seed=seed))
        scale = problem.objective.targets.spread[0]
        assert scale == pytest.approx(np.sqrt(problem.loss(problem.theta0)), rel=1e-6)


@pytest.mark.parametrize("alpha", [2.0**400, 2.0**-400, 1e9, 1e-120, 1e120])
def test_sizes_scale_with_their_components(alpha, rng):
    state = rng.bit_generator.state
    plain = problems(rng)
    rng.bit_generator.state = state
    for one, other in zip(plain, problems(rng, alpha), strict=True):
        width = one.student.weights[-1].size + (one.student.biases[-1] is not None)
        power = np.full(one.size, alpha**2)
        power[-width:] = alpha
        for a, b in zip(
            one.objective.gradient_sizes(one.theta0), other.objective.gradient_sizes(other.theta0)
        ):
            assert b / power == pytest.approx(a, rel=1e-9)
        gradient = other.gradient(other.theta0) / power
        assert gradient == pytest.approx(one.gradient(one.theta0), rel=1e-9, abs=1e-12)


def test_sizes_bound_the_components(rng):
    """Cauchy and Schwarz: no component of the gradient of a student that explains nothing is larger."""
    for problem in problems(rng):
        silent = problem.theta0.copy()
        width = problem.student.weights[-1].size + (problem.student.biases[-1] is not None)
        silent[-width:] = 0.0
        if problem.student.biases[-1] is not None:
            weight = problem.inputs.sample_weight
            silent[-1] = np.average(problem.targets[:, 0], weights=weight)
        size = problem.objective.gradient_sizes(silent).size
        gradient = np.abs(problem.gradient(silent))
        assert (gradient <= 1.05 * size + 1e-14).all() and gradient.max() > 0.01 * size.max()


def test_losses_of_which_only_derivatives_are_known():
    """Adding a constant changes nothing; a factor and other units of the parameters are taken out."""
    units = jnp.asarray([1.0, 1e6, 1e-6])

    def rosenbrock(x):
        return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2 + jnp.cos(x[2] - 0.3)

    start, at = np.array([-1.2, 1.0, 0.5]), np.array([0.7, 0.4, 0.1])
    plain = gf.Problem.from_jax(rosenbrock, start).objective.gradient_sizes(at)
    shifted = gf.Problem.from_jax(lambda x: rosenbrock(x) + 17.0, start).objective.gradient_sizes(at)
    moved = gf.Problem.from_jax(lambda x: 1e3 * rosenbrock(x / units), start * units)
    scaled = moved.objective.gradient_sizes(at * np.asarray(units))
    for a, b, c in zip(plain, shifted, scaled, strict=True):
        assert b == pytest.approx(a, rel=1e-12) and c * np.asarray(units) / 1e3 == pytest.approx(a, rel=1e-12)
    many = gf.Problem.from_jax(lambda x: jnp.sum(x**2 * jnp.arange(1.0, 602.0)), np.ones(601))
    assert many.objective.gradient_sizes(np.ones(601)).size == pytest.approx(
        2 * np.arange(1.0, 602.0), rel=1e-12
    )


def test_targets_beyond_float64_are_refused_before_anything_is_compiled(rng):
    X, student = rng.standard_normal((20, 2)), gf.MLP.random((2, 2, 1), "tanh", seed=0)
    for factor in (1e155, 1e-150):
        with pytest.raises(ArgumentError, match="^teacher: .*Float64"):
            gf.Problem(factor * X[:, :1], student, X)
    assert gf.Problem(0.0 * X[:, :1], student, X).loss(student.flat()) > SMALLEST
    huge = gf.MLP([np.eye(2), 1e155 * np.ones((1, 2))], None, "erf")
    with pytest.raises(ArgumentError, match="^teacher: .*Float64"):
        gf.Problem(huge, gf.MLP.random((2, 2, 1), "erf", False, seed=0))
