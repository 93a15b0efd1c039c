"""Networks to and from other libraries: parameters bit by bit, outputs to rounding; and without them."""

from __future__ import annotations

import subprocess
import sys

import jax
import numpy as np
import pytest

import gradflow as gf
from gradflow import MLP, ArgumentError

NAMED = list(gf.ACTIVATIONS)
X = np.random.default_rng(3).standard_normal((40, 3))


def network(activation="tanh", bias=True, seed=0, sizes=(3, 4, 5, 2)):
    return MLP.random(sizes, activation, bias, seed=seed, init="normal")


def same(a: MLP, b: MLP) -> None:
    assert a.sizes == b.sizes and a.activations == b.activations
    assert [x is None for x in a.biases] == [x is None for x in b.biases]
    assert (a.flat() == b.flat()).all()


class Linear:
    """As a module of another library looks."""

    def __init__(self, weight, bias=None):
        self.weight, self.bias = weight, bias


class Sequential(list):
    pass


class Dropout:
    pass


def test_modules_are_read_by_what_they_have():
    W = [np.arange(6.0).reshape(3, 2), np.ones((1, 3))]

    def softplus(z):
        return np.logaddexp(0.0, z)

    module = Sequential([Sequential([Linear(W[0], [1.0, 2.0, 3.0]), softplus]), Linear(W[1])])
    same(MLP.from_torch(module), MLP(W, [[1.0, 2.0, 3.0], None], "softplus"))
    # Nothing between two layers is the identity; a last activation is a layer of its own.
    same(MLP.from_torch(Sequential([Linear(W[0]), Linear(W[1])])), MLP(W, None, "identity"))
    closed = MLP.from_torch(Sequential([Linear(W[0]), np.tanh, Linear(W[1]), softplus]))
    same(closed, MLP(W, None, "tanh").with_output("softplus"))
    same(MLP.from_torch(Linear(W[0])), MLP(W[:1]))
    same(MLP.from_torch(Sequential([Linear(W[0]), np.arcsinh, Linear(W[1])]), activation="erf"), MLP(W))


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (
            Sequential([Linear(np.ones((2, 2))), np.arcsinh, Linear(np.ones((1, 2)))]),
            r"module\[1\].*no activation",
        ),
        (Sequential([Linear(np.ones((2, 2))), np.tanh, np.sin, Linear(np.ones((1, 2)))]), "sin after tanh"),
        (
            Sequential([Linear(np.ones((2, 2))), Dropout(), Linear(np.ones((1, 2)))]),
            "Dropout, which is random",
        ),
        (Sequential([np.tanh]), "before the first linear layer"),
        (Sequential([]), "without linear layers"),
        (object(), "order of layers is in its code"),
        (Sequential([Linear(np.ones((2, 2))), np.tanh, Linear(np.ones((1, 3)))]), "columns"),
        (Sequential([Linear(np.full((2, 2), np.nan))]), r"module\[0\].weight: .*nan"),
        ({"0.weight": np.ones((2, 2)), "1.weight": np.ones((1, 2))}, "activation"),
        ({"0.weight": np.ones((2, 2)), "0.running_mean": np.ones(2)}, "running_mean"),
        ({"a": np.ones((2, 2))}, "no mapping has 'weight'"),
    ],
)
def test_what_cannot_be_read_is_said(module, words):
    with pytest.raises(ArgumentError, match=words):
        MLP.from_torch(module)


def test_trees_of_parameters():
    net = network("silu", [True, False, True])
    same(MLP.from_flax(net.to_flax(), "silu"), net)
    # Names sort by their numbers, as of jax.tree.map, which orders "Dense_10" before "Dense_2".
    deep = network("tanh", sizes=(1,) * 13)
    mixed = jax.tree.map(np.asarray, deep.to_flax())
    assert list(mixed["params"])[2] == "Dense_10"
    same(MLP.from_flax(mixed, "tanh"), deep)
    named = {"out": net.to_flax()["params"]["Dense_2"], "in": {"one": net.to_flax()["params"]["Dense_0"]}}
    named["in"]["two"] = net.to_flax()["params"]["Dense_1"]
    same(MLP.from_flax(named, "silu", layers=["one", "two", "out"]), net)
    with pytest.raises(ArgumentError, match="^layers: .*in/one"):
        MLP.from_flax(named, "silu", layers=["one", "out"])
    with pytest.raises(ArgumentError, match=r"^weights\[1\]"):
        MLP.from_flax({"b": named["out"], "a": named["in"]["one"]}, "silu")


def test_a_state_dict_says_no_activations():
    net = network("erf")
    state = {}
    for l, (W, b) in enumerate(zip(net.weights, net.biases)):
        state |= {f"net.{2 * l}.weight": W, f"net.{2 * l}.bias": b}
    same(MLP.from_torch(state, "erf"), net)
    same(MLP.from_torch(dict(reversed(state.items())), "erf"), net)


def test_arrays_of_an_npz_file(tmp_path):
    net = network("g", [True, False, False])
    arrays = [a for pair in zip(net.weights, net.biases) for a in pair if a is not None]
    np.savez(tmp_path / "net.npz", *arrays)
    with np.load(tmp_path / "net.npz") as file:
        same(MLP.from_arrays(file, "g"), net)
    same(MLP.from_arrays([a.T for a in arrays], "g", transposed=True), net)


def test_an_activation_on_the_outputs():
    net = network("tanh", sizes=(3, 4, 1)).with_output("sigmoid")
    inner = network("tanh", sizes=(3, 4, 1))
    assert np.abs(net(X) - 1.0 / (1.0 + np.exp(-inner(X)))).max() <= 3e-16
    rates = net.layer_rates(1, 1, 0)
    target = (X[:, :1] > 0).astype(float)
    result = gf.train(target, net, X, rates=rates, solver=gf.solvers.BDF(max_steps=30), refiner=None)
    assert (result.student.weights[-1] == 1.0).all() and result.loss < gf.Problem(target, net, X).loss(
        net.flat()
    )
    # Derivatives against central differences of the definition.
    problem, theta, h = gf.Problem(target, net, X), net.flat(), 1e-6
    for i in (0, 5, 14):
        step = h * np.eye(theta.size)[i]
        up, down = (np.mean((net.with_flat(theta + s)(X) - target) ** 2) for s in (step, -step))
        assert problem.gradient(theta)[i] == pytest.approx((up - down) / (2 * h), rel=1e-7, abs=1e-9)
    with pytest.raises(ArgumentError, match="one hidden layer|hidden layers"):
        gf.Problem(net, net)
    with pytest.raises(ArgumentError, match="one for each layer"):
        net.layer_rates(1, 0)


# --- against the libraries themselves


@pytest.mark.parametrize("name", NAMED)
def test_torch_both_ways(name):
    torch = pytest.importorskip("torch")
    net = network(name, [True, False, True])
    module = net.to_torch()
    same(MLP.from_torch(module), net)
    outputs = module(torch.from_numpy(X)).detach().numpy()
    scale = 1.0 + np.abs(net(X)).max()
    assert np.abs(outputs - net(X)).max() <= 1e-14 * scale
    theirs = torch.nn.Sequential(
        *[torch.nn.Linear(a.in_features, a.out_features) if hasattr(a, "weight") else a for a in module]
    )
    read = MLP.from_torch(theirs)
    assert (read.to_torch(torch.float32)[0].weight == theirs[0].weight).all()
    outputs = theirs.double()(torch.from_numpy(X)).detach().numpy()
    assert np.abs(read(X) - outputs).max() <= 1e-14 * (1.0 + np.abs(outputs).max())


def test_torch_modules_that_are_like_and_not_the_same():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    assert (
        MLP.from_torch(nn.Sequential(nn.Linear(2, 2), nn.Softplus(), nn.Linear(2, 1))).activations[0].name
        == "softplus"
    )
    for other in (
        nn.GELU(approximate="tanh"),
        nn.LeakyReLU(0.2),
        nn.ReLU6(),
        nn.Softplus(beta=2.0),
        nn.ELU(alpha=2.0),
    ):
        with pytest.raises(ArgumentError, match=rf"^module\[1\]: got {type(other).__name__}"):
            MLP.from_torch(nn.Sequential(nn.Linear(2, 2), other, nn.Linear(2, 1)))
    net = network("erf")
    same(MLP.from_torch(net.to_torch().state_dict(), "erf"), net)
    with pytest.raises(ArgumentError, match="dtype"):
        net.to_torch(torch.int32)
    with pytest.raises(ArgumentError, match="one for each layer"):
        MLP([np.ones((2, 1)), np.ones((1, 2))], None, ("erf", "tanh")).to_torch()


@pytest.mark.parametrize("name", NAMED)
def test_equinox_both_ways(name):
    pytest.importorskip("equinox")
    net = network(name, [True, False, True])
    module = net.to_equinox()
    same(MLP.from_equinox(module), net)
    outputs = jax.vmap(module)(X)
    assert np.abs(outputs - net(X)).max() <= 1e-14 * (1.0 + np.abs(net(X)).max())


def test_equinox_mlps():
    eqx = pytest.importorskip("equinox")
    key = jax.random.key(0)
    for function, name in (
        (jax.nn.relu, "relu"),
        (jax.nn.silu, "silu"),
        (jax.numpy.tanh, "tanh"),
        (jax.nn.selu, "selu"),
    ):
        module = eqx.nn.MLP(3, 2, 4, 2, activation=function, key=key)
        net = MLP.from_equinox(module)
        assert [a.name for a in net.activations] == [name, name]
        assert np.abs(np.asarray(jax.vmap(module)(X)) - net(X)).max() <= 1e-13
    closed = eqx.nn.MLP(3, 2, 4, 1, final_activation=jax.nn.sigmoid, key=key)
    assert MLP.from_equinox(closed).sizes == (3, 4, 2, 2)
    approximate = eqx.nn.MLP(3, 2, 4, 1, activation=jax.nn.gelu, dtype=np.float64, key=key)
    net = MLP.from_equinox(approximate)
    assert net.activations[0].name not in gf.ACTIVATIONS
    assert np.abs(np.asarray(jax.vmap(approximate)(X)) - net(X)).max() <= 1e-14
    softsign = gf.Activation(
        lambda z: z / (1 + z * z) ** 0.5,
        lambda z: (1 + z * z) ** -1.5,
        lambda z: -3 * z * (1 + z * z) ** -2.5,
    )
    with pytest.raises(ArgumentError, match="jax.numpy formula"):
        network(softsign).to_equinox()


def test_flax_both_ways():
    linen = pytest.importorskip("flax.linen")

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            for width in (4, 5):
                x = linen.silu(linen.Dense(width, param_dtype=np.float64)(x))
            return linen.Dense(2, param_dtype=np.float64)(x)

    net = network("silu")
    params = Net().init(jax.random.key(0), X)
    read = MLP.from_flax(params, "silu")
    assert np.abs(np.asarray(Net().apply(params, X)) - read(X)).max() <= 1e-14
    assert np.abs(np.asarray(Net().apply(net.to_flax(), X)) - net(X)).max() <= 1e-13
    for a, b in zip(jax.tree.leaves(read.to_flax()), jax.tree.leaves(params), strict=True):
        assert (a == b).all()

    from flax import nnx

    class Module(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, 4, rngs=rngs)
            self.last = nnx.Linear(4, 1, rngs=rngs)

        def __call__(self, x):
            return self.last(nnx.tanh(self.first(x)))

    module = Module(nnx.Rngs(0))
    read = MLP.from_flax(nnx.state(module, nnx.Param), "tanh", layers=["first", "last"])
    assert np.abs(np.asarray(module(X.astype(np.float32))) - read(X)).max() <= 1e-5


@pytest.mark.parametrize("name", [*NAMED, "polynomial(0.5, -1.0, 0.25)"])
def test_onnx(name, tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    net = network(name, [True, False, True])
    net.to_onnx(tmp_path / "net.onnx")
    outputs = ReferenceEvaluator(onnx.load(tmp_path / "net.onnx")).run(None, {"x": X})[0]
    bound = 1e-7 if name in ("erf", "normal_cdf", "gelu") else 1e-14  # this evaluator's Erf is Float32
    assert np.abs(outputs - net(X)).max() <= bound * (1.0 + np.abs(net(X)).max())


def test_without_the_libraries():
    code = """
import sys
for name in ("torch", "onnx", "flax"):
    sys.modules[name] = None
import numpy as np, gradflow as gf
net = gf.MLP.random((2, 3, 1), "tanh", seed=0)
assert (gf.MLP.from_flax(net.to_flax(), "tanh").flat() == net.flat()).all()
state = {"0.weight": net.weights[0], "2.weight": net.weights[1]}
assert (gf.MLP.from_torch(state, "tanh").weights[1] == net.weights[1]).all()
for call, package in ((net.to_torch, "torch"), (lambda: net.to_onnx("a.onnx"), "onnx")):
    try:
        call()
    except gf.MissingExtraError as error:
        assert f"pip install 'gradflow[{package}]'" in str(error), error
    else:
        raise AssertionError(package)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
