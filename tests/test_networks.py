"""Networks, teachers, inputs: what users describe, and what is refused."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import gradflow as gf
from gradflow import ArgumentError


def reference(network, X):
    h = X
    for i, (W, b) in enumerate(zip(network.weights, network.biases)):
        h = h @ W.T + (0 if b is None else b)
        if i < len(network.weights) - 1:
            h = np.tanh(h)
    return h


def test_outputs_and_flat_parameters(rng):
    network = gf.MLP.random((3, 5, 4, 2), "tanh", [True, False, True], seed=1, init="normal")
    X = rng.standard_normal((7, 3))
    assert network.sizes == (3, 5, 4, 2)
    assert network.size == network.flat().size == 15 + 5 + 20 + 8 + 2
    assert np.abs(network(X) - reference(network, X)).max() < 1e-14
    theta = network.flat()
    assert (theta[:15] == network.weights[0].ravel()).all()
    assert (theta[15:20] == network.biases[0]).all()
    again = network.with_flat(theta)
    assert (again.flat() == theta).all() and again.activations == network.activations


@pytest.mark.parametrize("bias", [True, False, [True, False, True], [False, True, False]])
def test_a_pytree_has_its_leaves_in_the_order_of_flat(bias):
    network = gf.MLP.random((3, 5, 4, 2), "tanh", bias, seed=1, init="normal")
    theta, back = ravel_pytree(network)
    assert np.array_equal(np.asarray(theta), network.flat())
    again = back(2.0 * theta)
    assert isinstance(again, gf.MLP) and np.array_equal(np.asarray(again.flat()), 2.0 * network.flat())
    assert [b is None for b in again.biases] == [b is None for b in network.biases]
    leaves = jax.tree.leaves(network)
    assert np.array_equal(np.concatenate([leaf.ravel() for leaf in leaves]), network.flat())
    assert jax.tree.structure(network) == jax.tree.structure(network.with_flat(2.0 * network.flat()))


@pytest.mark.parametrize("bias", [True, False, [True, False, True]])
def test_with_flat_traces(bias, rng):
    network = gf.MLP.random((3, 5, 4, 2), ["tanh", ("erf", "softplus", "erf", "sin")], bias, seed=1)
    X, Y = rng.standard_normal((7, 3)), rng.standard_normal((7, 2))
    theta = network.flat()

    def loss(theta):
        return jnp.mean(jnp.sum((network.with_flat(theta)(X) - Y) ** 2, axis=1))

    problem = gf.Problem(Y, network, X)  # kernels, not JAX
    value, gradient = jax.jit(jax.value_and_grad(loss))(theta)
    assert abs(float(value) - problem.loss(theta)) <= 1e-15 * float(value)
    scale = np.abs(problem.gradient(theta)).max()
    assert np.abs(np.asarray(gradient) - problem.gradient(theta)).max() <= 2e-15 * scale
    hessian = np.asarray(jax.hessian(loss)(theta))
    assert np.abs(hessian - problem.hessian(theta)).max() <= 1e-14 * np.abs(hessian).max()
    many = jax.vmap(lambda theta: network.with_flat(theta).flat())(jnp.stack([theta, 2.0 * theta]))
    assert np.array_equal(np.asarray(many), np.stack([theta, 2.0 * theta]))
    assert gf.Problem.from_jax(loss, theta).loss(theta) == pytest.approx(problem.loss(theta), rel=1e-15)
    with pytest.raises(ArgumentError, match="^theta:"):
        jax.jit(lambda theta: network.with_flat(theta).flat())(theta[:-1])
    concrete = network.with_flat(jnp.asarray(theta))
    assert all(isinstance(W, np.ndarray) for W in concrete.weights)


def test_activations_neuron_by_neuron():
    network = gf.MLP.random((2, 3, 2, 1), [("relu", "tanh", "erf"), "softplus"], seed=3)
    assert [a.name for a in network.neuron_activations(0)] == ["relu", "tanh", "erf"]
    assert [a.name for a in network.neuron_activations(1)] == ["softplus", "softplus"]


def test_a_network_is_a_pytree_and_traces(rng):
    network = gf.MLP.random((3, 4, 1), "softplus", seed=2)
    X = rng.standard_normal((6, 3))
    traced = jax.jit(lambda net, x: net(x))(jax.tree.map(jnp.asarray, network), jnp.asarray(X))
    assert np.abs(np.asarray(traced) - network(X)).max() < 1e-14
    gradient = jax.grad(lambda net: jnp.sum(net(jnp.asarray(X)) ** 2))(jax.tree.map(jnp.asarray, network))
    assert gradient.weights[0].shape == (4, 3)


def test_weight_vectors_go_into_and_out_of_neurons():
    """Numbers 0 … 4 are the vectors into the hidden neurons, 5 … 9 those out of them, 10 … 12 the layers."""
    network = gf.MLP.random((2, 3, 2, 1), "tanh", [True, False, True], seed=0)
    into, out = network.weight_vectors()
    assert into.tolist() == [0, 0, 1, 1, 2, 2, 0, 1, 2, 3, 3, 3, 4, 4, 4, 12, 12, 12]
    assert out.tolist() == [10] * 6 + [0, 1, 2, 5, 6, 7, 5, 6, 7, 8, 9, 12]
    problem = gf.Problem(np.ones((4, 1)), network, np.ones((4, 2)))
    assert (problem.objective.weight_vectors == network.weight_vectors()).all()
    linear = gf.MLP([np.ones((2, 3))])
    assert (linear.weight_vectors() == 0).all()


def test_per_neuron_and_per_layer_activations(rng):
    layer = ("relu", "tanh", "erf")
    network = gf.MLP.random((2, 3, 2, 1), [layer, "softplus"], seed=3)
    X = rng.standard_normal((5, 2))
    z = X @ network.weights[0].T
    h = np.stack([gf.ACTIVATIONS[name](z[:, j]) for j, name in enumerate(layer)], axis=1)
    expected = gf.ACTIVATIONS["softplus"](h @ network.weights[1].T) @ network.weights[2].T
    assert np.abs(network(X) - expected).max() < 1e-14
    same = gf.MLP.random((2, 2, 1), ("relu", "relu"), seed=0)
    assert same.activations == (gf.ACTIVATIONS["relu"],)


def test_random_networks_repeat_and_have_the_stated_law():
    for init in ("glorot_normal", "glorot_uniform", "normal"):
        a, b = (gf.MLP.random((4, 3, 1), seed=7, init=init) for _ in range(2))
        assert (a.flat() == b.flat()).all()
        assert (a.flat() != gf.MLP.random((4, 3, 1), seed=8, init=init).flat()).any()
    W = gf.MLP.random((300, 200, 1), seed=0).weights[0]
    assert W.std() == pytest.approx(np.sqrt(2 / 500), rel=0.02)
    W = gf.MLP.random((300, 200, 1), seed=0, init="glorot_uniform").weights[0]
    assert np.abs(W).max() <= np.sqrt(6 / 500) and W.std() == pytest.approx(np.sqrt(2 / 500), rel=0.02)
    assert (gf.MLP.random((3, 2, 1), seed=0).biases[0] == 0).all()


def test_float32_and_integers_are_converted_and_arrays_are_read_only():
    network = gf.MLP([np.ones((2, 3), np.float32), [[1, 2]]], None, "relu")
    assert all(W.dtype == np.float64 and not W.flags.writeable for W in network.weights)


def test_networks_survive_pickling():
    network = gf.MLP.random((3, 4, 1), "g", seed=2)
    again = pickle.loads(pickle.dumps(network))
    assert (again.flat() == network.flat()).all() and again.activations == network.activations


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"weights": []}, "weights"),
        ({"weights": None}, "weights"),
        ({"weights": 5}, "weights"),
        ({"weights": [np.ones((1, 2))], "biases": 5}, "biases"),
        ({"weights": [np.ones((2, 3)), np.ones((1, 3))]}, r"weights\[1\]"),
        ({"weights": [np.ones(3)]}, r"weights\[0\]"),
        ({"weights": [np.full((1, 3), np.nan)]}, r"weights\[0\]"),
        ({"weights": [np.ones((1, 3), complex)]}, r"weights\[0\]"),
        ({"weights": [np.ones((0, 3))]}, r"weights\[0\]"),
        ({"weights": [[[1.0, 2.0], [1.0]]]}, r"weights\[0\]"),
        ({"weights": [np.ones((2, 3)), np.ones((1, 2))], "biases": [None]}, "biases"),
        ({"weights": [np.ones((2, 3)), np.ones((1, 2))], "biases": [np.ones(3), None]}, r"biases\[0\]"),
        ({"weights": [np.ones((2, 3)), np.ones((1, 2))], "biases": [np.array([1, np.inf]), None]},
         r"biases\[0\]"),
        ({"weights": [np.ones((2, 3)), np.ones((1, 2))], "activation": "sinus"}, "activation"),
        ({"weights": [np.ones((2, 3)), np.ones((1, 2))], "activation": ["erf", "erf"]}, "activation"),
        ({"weights": [np.ones((2, 3)), np.ones((1, 2))], "activation": [("erf",)]}, "activation"),
        ({"weights": [np.ones((2, 3)), np.ones((1, 2))], "activation": 3}, "activation"),
    ],
)  # fmt: skip
def test_bad_networks_are_refused(arguments, name):
    with pytest.raises(ArgumentError, match=f"^{name}"):
        gf.MLP(**arguments)


@pytest.mark.parametrize(
    ("sizes", "options", "name"),
    [
        ((3,), {}, "sizes"),
        ((3, 0, 1), {}, r"sizes\[1\]"),
        ((3, 2.5, 1), {}, r"sizes\[1\]"),
        ((3, 2, 1), {"seed": -1}, "seed"),
        ((3, 2, 1), {"seed": "x"}, "seed"),
        ((3, 2, 1), {"init": "he"}, "init"),
        ((3, 2, 1), {"bias": [True]}, "bias"),
        ((3, 2, 1), {"gain": np.nan}, "gain"),
        ((3, 2, 1), {"gain": np.inf}, "gain"),
        ((3, 2, 1), {"bias": ["no", "no"]}, "bias"),
        ((3, 2, 1), {"bias": None}, "bias"),
        (None, {}, "sizes"),
        (5, {}, "sizes"),
        ((10**6, 10**6, 1), {}, "sizes"),
    ],
)
def test_bad_random_networks_are_refused(sizes, options, name):
    with pytest.raises(ArgumentError, match=f"^{name}:"):
        gf.MLP.random(sizes, **{"seed": 0, **options})


def test_bad_points_and_inputs_are_refused():
    network = gf.MLP.random((3, 2, 1), seed=0)
    with pytest.raises(ArgumentError, match="^theta:"):
        network.with_flat(np.ones(3))
    with pytest.raises(ArgumentError, match="^X:"):
        network(np.ones((4, 2)))
    with pytest.raises(ArgumentError, match="^X:"):
        network(np.full((4, 3), np.inf))


def test_teachers():
    teacher = gf.teachers.orthonormal(3, 5, norms=[1, 2, 3], output_weights=[1, -1, 2], seed=4)
    V = teacher.weights[0]
    assert np.abs(V @ V.T - np.diag([1.0, 4.0, 9.0])).max() < 1e-14
    assert (teacher.weights[1] == [[1, -1, 2]]).all() and teacher.biases == (None, None)
    assert (gf.teachers.orthonormal(2, 3).weights[0] == np.eye(2, 3)).all()
    assert gf.teachers.random((2, 4, 1), "softplus", seed=0).biases[0].std() > 0
    for arguments, name in [((4, 3), "width"), ((0, 3), "width"), ((2, 0), "input_dim")]:
        with pytest.raises(ArgumentError, match=f"^{name}:"):
            gf.teachers.orthonormal(*arguments)
    with pytest.raises(ArgumentError, match="^norms:"):
        gf.teachers.orthonormal(2, 3, norms=[1.0])


def test_gaussian(rng):
    A = rng.standard_normal((3, 3))
    law = gf.Gaussian(mean=[1.0, 0.0, -1.0], cov=A @ A.T)
    assert np.abs(law.factor @ law.factor - A @ A.T).max() < 1e-13
    X = law.sample(200_000, 3, rng)
    scale = np.sqrt(np.diag(A @ A.T) / 200_000)
    assert (np.abs(X.mean(axis=0) - law.mean) < 5 * scale).all()
    assert np.abs(np.cov(X.T) - A @ A.T).max() < 0.05 * np.abs(A @ A.T).max()
    nearly = np.diag([1.0, 1e-13, 0.0])
    nearly[2, 2] = -1e-13
    assert gf.Gaussian(cov=nearly).factor[2, 2] == 0.0
    for options, name in [
        ({"cov": np.diag([1.0, -1e-6])}, "cov"),
        ({"cov": [[1.0, 0.5], [0.0, 1.0]]}, "cov"),
        ({"cov": np.ones((2, 3))}, "cov"),
        ({"cov": np.zeros((2, 2))}, "cov"),
        ({"cov": np.full((2, 2), np.nan)}, "cov"),
        ({"mean": [1.0], "cov": np.eye(2)}, "mean"),
        ({"mean": [[1.0]]}, "mean"),
    ]:
        with pytest.raises(ArgumentError, match=f"^{name}:"):
            gf.Gaussian(**options)


def test_the_negative_eigenvalue_is_named():
    with pytest.raises(ArgumentError, match="eigenvalue of -0.25"):
        gf.Gaussian(cov=np.diag([1.0, -0.25]))


def test_samples():
    for arguments, name in [
        ((np.ones((0, 3)),), "X"),
        ((np.ones(3),), "X"),
        ((np.full((2, 2), np.nan),), "X"),
        ((np.ones((2, 2)) * 1j,), "X"),
        ((np.ones((2, 2)), [1.0]), "sample_weight"),
        ((np.ones((2, 2)), [1.0, -1.0]), "sample_weight"),
        ((np.ones((2, 2)), [0.0, 0.0]), "sample_weight"),
        ((np.ones((2, 2)), [1e308, 1e308]), "sample_weight"),
    ]:
        with pytest.raises(ArgumentError, match=f"^{name}:"):
            gf.Samples(*arguments)
