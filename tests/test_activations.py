"""The table of activations, a user's own activation, and the road that JAX takes."""

from __future__ import annotations

import copy
import math
import pickle
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import gradflow
from gradflow.activations import ACTIVATIONS, SYMMETRIES, Activation, Polynomial, resolve
from gradflow.support.errors import ArgumentError

NAMES = (
    "erf", "normal_cdf", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "gelu", "silu", "selu", "elu",
    "identity", "square", "cube", "sin", "cos", "exp", "g",
)  # fmt: skip


def sine() -> Activation:
    return Activation(math_sin, math_cos, minus_sin, symmetry="odd", traced=jax_sin)


def math_sin(z):
    return math.sin(z)


def math_cos(z):
    return math.cos(z)


def minus_sin(z):
    return -math.sin(z)


def jax_sin(z):
    return jnp.sin(z)


def test_the_table_is_complete():
    assert tuple(ACTIVATIONS) == NAMES
    assert all(a.name == name and a.symmetry in SYMMETRIES for name, a in ACTIVATIONS.items())


@pytest.mark.parametrize("name", NAMES)
def test_declared_symmetry_holds(name, rng):
    activation, z = ACTIVATIONS[name], rng.uniform(0.1, 6.0, 50)
    plus, minus = activation(z), activation(-z)
    exact = {
        "odd": plus + minus,
        "even": plus - minus,
        "odd+constant": np.diff(plus + minus),
        "even+linear": np.diff((plus - minus) / z),
        "none": 0.0,
    }
    np.testing.assert_allclose(exact.pop(activation.symmetry), 0.0, atol=4e-15)
    if activation.symmetry == "none":  # and nothing better could have been declared
        assert min(np.abs(v).max() for v in exact.values()) > 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_declared_degree_holds(name, rng):
    activation, z, c = ACTIVATIONS[name], rng.uniform(-5.0, 5.0, 50), 1.7
    if activation.degree is None:
        ratios = activation(c * z) / activation(z)
        assert np.ptp(ratios) > 1e-2
    else:
        np.testing.assert_allclose(activation(c * z), c**activation.degree * activation(z), rtol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_jax_twice_differentiated(name, rng):
    activation = ACTIVATIONS[name]
    z = np.concatenate([rng.normal(scale=3.0, size=300), [0.0, 30.0, -30.0, 800.0, -800.0]])
    traced = [activation, jax.grad(activation), jax.grad(jax.grad(activation))]
    for ours, formula in zip(activation.derivatives(z), traced, strict=True):
        theirs = jax.jit(jax.vmap(formula))(jnp.asarray(z))
        assert theirs.dtype == jnp.float64
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=4e-15)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "selu"])
def test_kinks_take_the_left_branch(name):
    below = ACTIVATIONS[name].derivatives(np.array([-1e-300]))
    at = ACTIVATIONS[name].derivatives(np.array([0.0]))
    np.testing.assert_allclose(np.ravel(at), np.ravel(below), atol=1e-299)


def test_shapes_and_types():
    activation = ACTIVATIONS["tanh"]
    z = np.arange(24.0).reshape(4, 6) / 10
    assert activation(z.T[::2]).shape == (3, 4)
    np.testing.assert_array_equal(activation(z.T[::2]), activation(z).T[::2])
    single = z.astype(np.float32)
    np.testing.assert_array_equal(activation(single), activation(single.astype(float)))
    np.testing.assert_allclose(activation([0, 1]), np.tanh([0.0, 1.0]), rtol=1e-15)
    assert activation(0.5).shape == () and activation(0.5).dtype == np.float64
    assert activation(np.empty((0, 3))).shape == (0, 3)
    assert len(activation.derivatives(z, 0)) == 1 and len(activation.derivatives(z, 1)) == 2
    for order in (-1, 3):
        with pytest.raises(ArgumentError, match="order"):
            activation.derivatives(z, order)
    with pytest.raises(ArgumentError, match="real numbers"):
        activation(np.array([1j]))


def test_resolve():
    assert resolve("erf") is ACTIVATIONS["erf"]
    own = sine()
    assert resolve(own) is own
    for bad in ("gelu_tanh", 3, None, math.tanh):
        with pytest.raises(ArgumentError, match=r"activation: got .*softplus") as caught:
            resolve(bad)
        assert caught.value.argument == "activation"


def test_identity_and_pickling():
    for activation in ACTIVATIONS.values():
        assert pickle.loads(pickle.dumps(activation)) is activation
        assert copy.deepcopy(activation) is activation
    assert ACTIVATIONS["erf"] == resolve("erf") != ACTIVATIONS["tanh"]
    assert len({*ACTIVATIONS.values(), resolve("g")}) == len(NAMES)
    own, other = sine(), sine()
    assert own == own and own != other and len({own, other}) == 2
    sent = pickle.loads(pickle.dumps(own))
    assert (sent.name, sent.symmetry) == ("math_sin", "odd")
    np.testing.assert_array_equal(sent([0.3, -2.0]), own([0.3, -2.0]))


def test_a_users_own(rng):
    own, z = sine(), rng.normal(size=33)
    value, first, second = own.derivatives(z)
    np.testing.assert_allclose(value, np.sin(z), rtol=1e-15)
    np.testing.assert_allclose(first, np.cos(z), rtol=1e-15)
    np.testing.assert_allclose(second, -np.sin(z), rtol=1e-15)
    np.testing.assert_allclose(own(jnp.asarray(z)), value, rtol=1e-15)
    assert own.degree is None and isinstance(own.address, int) and own.address == own.address


def test_a_users_own_without_a_formula_refuses_jax():
    own = Activation(math_sin, math_cos, minus_sin, name="plain")
    with pytest.raises(ArgumentError, match="traced="):
        own(jnp.ones(3))
    with pytest.raises(ArgumentError, match="traced="):
        jax.jit(own)(jnp.ones(3))


LEGITIMATE = {
    "fast": (
        lambda z: math.sin(300 * z),
        lambda z: 300 * math.cos(300 * z),
        lambda z: -9e4 * math.sin(300 * z),
    ),
    "dyadic period": (
        lambda z: math.sin(64 * math.pi * z),
        lambda z: 64 * math.pi * math.cos(64 * math.pi * z),
        lambda z: -4096 * math.pi**2 * math.sin(64 * math.pi * z),
    ),
    "steep": (
        lambda z: math.tanh(100 * z),
        lambda z: 100 / math.cosh(100 * z) ** 2,
        lambda z: -2e4 * math.tanh(100 * z) / math.cosh(100 * z) ** 2,
    ),
    "kinked": (lambda z: min(max(z, -0.5), 0.5), lambda z: 1.0 if abs(z) < 0.5 else 0.0, lambda z: 0.0),
    "step": (lambda z: 1 if z > 0 else 0, lambda z: 0, lambda z: 0),
    "kinked slope": (lambda z: z * abs(z), lambda z: 2 * abs(z), lambda z: 2 * np.sign(z)),
    "growing": (
        lambda z: np.exp(z * z),
        lambda z: 2 * z * np.exp(z * z),
        lambda z: (2 + 4 * z * z) * np.exp(z * z),
    ),
    "tiny": (lambda z: 1e-20 * z**3, lambda z: 3e-20 * z * z, lambda z: 6e-20 * z),
}


@pytest.mark.parametrize("case", LEGITIMATE)
def test_legitimate_functions_pass_the_check(case):
    assert Activation(*LEGITIMATE[case]).name == "custom"


WRONG = {
    "first": (math_sin, lambda z: 1.00001 * math.cos(z), minus_sin),
    "second": (math_sin, math_cos, math_sin),
    "value": (lambda z: sorted(z).index(z), math_cos, minus_sin),
    "value ": (lambda z: math.log(z), lambda z: 1 / z, lambda z: -1 / z**2),
    "value  ": (lambda z: z * 1j, math_cos, minus_sin),
    "value   ": (3.0, math_cos, minus_sin),
    "first ": (math_sin, lambda z: None, minus_sin),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_functions_are_named(case):
    with pytest.raises(ArgumentError) as caught:
        Activation(*WRONG[case])
    assert caught.value.argument == case.strip()


@pytest.mark.parametrize(
    ("argument", "given"), [("symmetry", "even"), ("symmetry", "left"), ("name", "relu"), ("traced", 1)]
)
def test_wrong_settings_are_named(argument, given):
    with pytest.raises(ArgumentError) as caught:
        Activation(math_sin, math_cos, minus_sin, **{argument: given})
    assert caught.value.argument == argument


def test_functions_of_math_and_numpy_themselves():
    sine = Activation(math.sin, np.cos, lambda z: -math.sin(z), symmetry="odd", name="sine")
    z = np.linspace(-3, 3, 11)
    assert np.abs(sine(z) - np.sin(z)).max() < 1e-15


def test_polynomials(rng):
    """σ, σ', σ'' of NumPy's polynomials; names, pickles and equality; samples of a network with them."""
    z = rng.standard_normal(33)
    for coefficients, symmetry, degree in (
        ([0.5, -1.0, 0.0, 2.0], "odd+constant", None),
        ([0.0, 0.0, 1.5], "even", 2),
        ([0.0, 1.0, -1.0, 0.0, 0.25], "even+linear", None),
        ([1.0, 0.1, 0.2, 0.3, 0.0], "none", None),
    ):
        sigma = Polynomial(coefficients)
        assert (sigma.symmetry, sigma.degree) == (symmetry, degree)
        exact = np.polynomial.Polynomial(coefficients)
        for mine, true in zip(sigma.derivatives(z), (exact(z), exact.deriv()(z), exact.deriv(2)(z))):
            np.testing.assert_allclose(mine, true, rtol=0, atol=4e-15 * (1 + np.abs(true).max()))
        np.testing.assert_allclose(np.asarray(sigma(jnp.asarray(z))), exact(z), atol=1e-14)
        assert resolve(sigma.name) == sigma == pickle.loads(pickle.dumps(sigma))
    for bad in ([], [0.0, 0.0], [np.nan], np.ones(22), "cubic"):
        with pytest.raises(ArgumentError, match="coefficients"):
            Polynomial(bad)
    with pytest.raises(ArgumentError, match="activation"):
        resolve("polynomial(a, b)")


LEAK = 0.125


def branching(z):
    if z > 1.0:
        return 1.0 + LEAK * (z - 1.0)
    return max(z, -0.5)


def of_helpers(z):
    return helper(z) + math.pi


def helper(z):
    return np.tanh(2.0 * z)


SECH2 = lambda z: np.cosh(z) ** -2.0  # noqa: E731
ALONE = {
    "math": (
        lambda z: math.exp(-z * z),
        lambda z: -2 * z * np.exp(-z * z),
        lambda z: (4 * z * z - 2) * np.exp(-z * z),
        [],
    ),
    "numpy": (
        lambda z: np.log1p(np.exp(z)),
        lambda z: 1 / (1 + np.exp(-z)),
        lambda z: 0.25 * SECH2(z / 2),
        [],
    ),
    "jax": (jax.nn.softplus, lambda z: 1 / (1 + np.exp(-z)), lambda z: 0.25 * SECH2(z / 2), []),
    "special": (
        lambda z: scipy.special.erf(z) + math.erfc(z / 2),
        lambda z: (2 * np.exp(-z * z) - np.exp(-z * z / 4)) / math.sqrt(math.pi),
        None,
        [],
    ),
    "branches": (
        branching,
        lambda z: np.where(z > 1, LEAK, np.where(z > -0.5, 1.0, 0.0)),
        lambda z: 0 * z,
        [-0.5, 1.0],
    ),
    "no NaN beside": (
        lambda z: math.sqrt(z) if z > 0.25 else z + 0.25,
        lambda z: np.where(z > 0.25, 0.5 / np.sqrt(np.abs(z)), 1.0),
        lambda z: np.where(z > 0.25, -0.25 * np.abs(z) ** -1.5, 0.0),
        [],
    ),
    "helpers": (of_helpers, lambda z: 2 * SECH2(2 * z), lambda z: -8 * np.tanh(2 * z) * SECH2(2 * z), []),
    "powers": (lambda z: z**3 - 1 / (1 + z**2), lambda z: 3 * z**2 + 2 * z / (1 + z**2) ** 2, None, []),
    "softsign": (lambda z: z / (1 + abs(z)), lambda z: (1 + abs(z)) ** -2, None, []),
    "where": (
        lambda z: np.where(z < -2, 0.0, np.maximum(z, 0.2)),
        lambda z: 1.0 * (z > 0.2),
        lambda z: 0 * z,
        [-2.0, 0.2],
    ),
}


@pytest.mark.parametrize("case", ALONE)
def test_a_value_alone_is_enough(case):
    value, first, second, kinks = ALONE[case]
    sigma = Activation(value)
    z = np.linspace(-3.0, 3.0, 41) + 0.011
    found = sigma.derivatives(z)
    for mine, true in zip(found, (np.vectorize(value), first, second)):
        if true is not None:
            exact = np.asarray(true(z), dtype=float)
            assert np.abs(mine - exact).max() <= 4e-15 * (1.0 + np.abs(exact).max())
    assert np.abs(sigma.kinks - kinks).max(initial=0.0) <= 1e-12 and sigma.kinks.size == len(kinks)
    # The same in JAX, forwards, backwards and twice.
    for mine, function in zip(found, (sigma, jax.grad(sigma), jax.grad(jax.grad(sigma)))):
        assert np.abs(np.asarray(jax.vmap(function)(jnp.asarray(z))) - mine).max() <= 4e-15 * (
            1 + np.abs(mine).max()
        )


def test_a_network_of_a_value_alone(tmp_path):
    bump = Activation(lambda z: math.exp(-z * z / 2), symmetry="even", name="bump")
    teacher = gradflow.MLP.random((2, 2, 1), bump, seed=1)
    student = gradflow.MLP.random((2, 3, 1), bump, seed=0)
    problem = gradflow.Problem(teacher, student)  # infinitely many inputs
    # E σ(w·x) σ(v·x) of e^(−z²/2) without biases: ((1 + |w|²)(1 + |v|²) − (w·v)²)^(−1/2)
    plain = [net.with_flat(net.flat() * 1.0) for net in (teacher, student)]
    W = np.vstack([net.weights[0] for net in plain])
    G = W @ W.T
    d = 1.0 + np.diag(G)
    K = 1.0 / np.sqrt(np.outer(d, d) - G**2)
    a = np.concatenate([-teacher.weights[1][0], student.weights[1][0]])
    assert problem.loss(student.flat()) == pytest.approx(float(a @ K @ a), rel=1e-11)
    sent = pickle.loads(pickle.dumps(Activation(branching, kinks=[-0.5, 1.0])))
    assert sent.kinks.tolist() == [-0.5, 1.0] and sent.derivatives([0.5])[1] == 1.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Activation(lambda z: [z]), "^value: .*cannot be traced"),
        (lambda: Activation(lambda z: z.foo), "^value: .*cannot be traced.*first= and second="),
        (lambda: Activation(lambda z: time.perf_counter() * z), r"^value: .*when traced"),
        (lambda: Activation(3.0), "^value: got 3.0"),
        (lambda: Activation(math.log), "^value: got nan"),
        (lambda: Activation(math_sin, None, minus_sin), "^first: .*second is given"),
        (lambda: Activation(math_sin, minus_sin), "^first: .*finite differences"),
        (lambda: Activation(branching, kinks=[1.0]), "^kinks: .*a kink at -0.5"),
        (lambda: Activation(branching, kinks=[-0.5, 0.0, 1.0]), "^kinks: .*no kink at 0"),
        (lambda: Activation(lambda z: jnp.sum(jnp.arange(3.0) * z)), "^value: .*cannot be traced"),
    ],
)
def test_what_cannot_be_derived_is_said(make, words):
    with pytest.raises(ArgumentError, match=words):
        make()


def test_the_second_derivative_alone_is_derived():
    sigma = Activation(math_sin, math_cos)
    z = np.linspace(-3.0, 3.0, 7)
    assert np.abs(sigma.derivatives(z)[2] + np.sin(z)).max() <= 1e-15
