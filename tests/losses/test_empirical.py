"""The empirical loss against automatic differentiation, 50-digit arithmetic and its own identities."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from gradflow.activations import ACTIVATIONS
from gradflow.kernels import xla
from gradflow.losses.empirical import EmpiricalLoss
from gradflow.networks import MLP
from gradflow.support.errors import ArgumentError

NETWORKS = {
    "linear": ((3, 2), [], True),
    "linear, no bias": ((3, 1), [], False),
    "one hidden layer": ((2, 5, 1), "softplus", True),
    "mixed biases": ((2, 5, 1), "tanh", [False, True]),
    "several outputs": ((3, 4, 3), "erf", [True, False]),
    "two hidden layers": ((2, 4, 5, 1), "tanh", [True, False, True]),
    "two hidden layers, two outputs": ((3, 4, 5, 2), ["erf", "softplus"], False),
    "three hidden layers": ((2, 3, 4, 3, 2), "g", True),
    "four hidden layers, per neuron": (
        (2, 3, 4, 5, 3, 1),
        ["tanh", "g", ("erf", "erf", "tanh", "tanh", "erf"), "silu"],
        [True, False, True, True, False],
    ),
}


def forward(student, theta, X):
    """The network on flat θ in JAX, written anew."""
    h, start = X, 0
    for i, (W, b) in enumerate(zip(student.weights, student.biases, strict=True)):
        h = h @ theta[start : start + W.size].reshape(W.shape).T
        start += W.size
        if b is not None:
            h = h + theta[start : start + b.size]
            start += b.size
        if i < len(student.activations):
            a = student.activations[i]
            columns = [s(h[:, j]) for j, s in enumerate(a)] if isinstance(a, tuple) else None
            h = a(h) if columns is None else jnp.stack(columns, axis=1)
    return h


def cross_entropy(student, X, Y, w):
    X, Y, w = jnp.asarray(X), jnp.asarray(Y), jnp.asarray(w)

    def loss(theta):
        surprise = -(Y * jax.nn.log_softmax(forward(student, theta, X))).sum(axis=1)
        return (w * surprise).sum() / w.sum()

    return loss


def squared_loss(student, X, Y, w):
    X, Y, w = jnp.asarray(X), jnp.asarray(Y), jnp.asarray(w)
    return lambda theta: (w * ((forward(student, theta, X) - Y) ** 2).sum(axis=1)).sum() / w.sum()


def case(rng, sizes, activation, bias, count):
    student = MLP.random(sizes, activation, bias=bias, seed=1, init="normal")
    X, Y = rng.normal(size=(count, sizes[0])), rng.normal(size=(count, sizes[-1]))
    return student, X, Y, rng.uniform(size=count)


def distance(a, b):
    """Largest difference relative to the largest entry of the truth."""
    return np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max()


def automatic(student, X, Y, w, make=squared_loss):
    """Value, gradient and Hessian by JAX, compiled once."""
    loss, theta = make(student, X, Y, w), student.flat()
    return jax.jit(lambda t: (*jax.value_and_grad(loss)(t), jax.hessian(loss)(t)))(theta)


@pytest.mark.parametrize("name", NETWORKS)
def test_derivatives_agree_with_automatic_differentiation(name, rng):
    student, X, Y, w = case(rng, *NETWORKS[name], 67)
    loss = EmpiricalLoss(student, X, Y, w)
    theta, v = student.flat(), rng.normal(size=student.size)
    value, gradient, hessian = loss.all_derivatives(theta)
    truth, slope, H = automatic(student, X, Y, w)
    assert distance(value, truth) < 1e-14
    assert distance(loss.loss(theta), truth) < 1e-14
    assert distance(gradient, slope) < 2e-14
    assert distance(loss.loss_and_gradient(theta)[1], gradient) < 1e-14
    assert distance(hessian, H) < 2e-14
    assert distance(loss.hvp(theta, v), H @ v) < 2e-14
    assert np.array_equal(hessian, hessian.T)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(name, rng):
    student, X, Y, w = case(rng, (2, 3, 3, 2), name, True, 40)
    _, gradient, hessian = EmpiricalLoss(student, X, Y, w).all_derivatives(student.flat())
    _, slope, H = automatic(student, X, Y, w)
    assert distance(gradient, slope) < 1e-13
    assert distance(hessian, H) < 1e-13


def test_two_hidden_layers_against_fifty_digits():
    """Achieved here: about 2e-16 of the largest entry."""
    rng = np.random.default_rng(3)
    student, X, Y, w = case(rng, (1, 2, 2, 1), "erf", True, 3)
    loss, theta = EmpiricalLoss(student, X, Y, w), student.flat()
    _, gradient, hessian = loss.all_derivatives(theta)
    v = rng.normal(size=theta.size)
    with mpmath.workdps(50):
        outcome = mp_derivatives(student, theta, X, Y, w)
    truth_gradient, truth_hessian = outcome
    assert distance(gradient, truth_gradient) < 1e-14
    assert distance(hessian, truth_hessian) < 1e-14
    assert distance(loss.hvp(theta, v), truth_hessian @ v) < 1e-14


def mp_derivatives(student, theta, X, Y, w):
    """∇L and ∇²L by central differences in 50 digits with step 1e-12: errors near 1e-23."""
    mp, h = mpmath.mp, mpmath.mpf(10) ** -12
    start = [mp.mpf(float(t)) for t in theta]
    size = len(start)

    def value(t):
        total, weight = mp.mpf(0), mp.mpf(0)
        for x, y, ws in zip(X, Y, w, strict=True):
            a, k = [mp.mpf(float(u)) for u in x], 0
            for i, (W, b) in enumerate(zip(student.weights, student.biases, strict=True)):
                rows, columns = W.shape
                bias = t[k + rows * columns : k + rows * columns + rows] if b is not None else [0] * rows
                a = [
                    sum((t[k + r * columns + c] * a[c] for c in range(columns)), mp.mpf(0)) + bias[r]
                    for r in range(rows)
                ]
                k += rows * columns + (rows if b is not None else 0)
                if i + 1 < len(student.weights):
                    a = [mp.erf(u / mp.sqrt(2)) for u in a]
            total += mp.mpf(float(ws)) * sum((u - mp.mpf(float(v))) ** 2 for u, v in zip(a, y, strict=True))
            weight += mp.mpf(float(ws))
        return total / weight

    def moved(*steps):
        t = list(start)
        for p, s in steps:
            t[p] += s
        return value(t)

    center, plus = value(start), [moved((p, h)) for p in range(size)]
    minus = [moved((p, -h)) for p in range(size)]
    gradient = np.array([float((a - b) / (2 * h)) for a, b in zip(plus, minus, strict=True)])
    hessian = np.empty((size, size))
    for p in range(size):
        for q in range(p + 1):
            mixed = moved((p, h), (q, h)) + moved((p, -h), (q, -h))
            mixed += 2 * center - plus[p] - minus[p] - plus[q] - minus[q]
            hessian[p, q] = hessian[q, p] = float(mixed / (2 * h * h))
    return gradient, hessian


@pytest.mark.parametrize("name", NETWORKS)
def test_a_set_is_the_mean_of_its_parts(name, rng):
    """Long sets, of several blocks and chunks, against sets of one sample and of what is left."""
    student, X, Y, w = case(rng, *NETWORKS[name], 1203)
    theta, v = student.flat(), rng.normal(size=student.size)

    def everything(part):
        loss = EmpiricalLoss(student, X[part], Y[part], w[part])
        return [*loss.all_derivatives(theta), loss.hvp(theta, v)]

    parts = [slice(0, 1), slice(1, 20), slice(20, 1203)]
    pieces = [everything(part) for part in parts]
    shares = [w[part].sum() / w.sum() for part in parts]
    for whole, *split in zip(everything(slice(None)), *pieces, strict=True):
        assert distance(whole, sum(s * piece for s, piece in zip(shares, split, strict=True))) < 1e-13


def test_losses_at_every_remainder():
    """Sums over samples have no tail that is forgotten or counted twice, at and around the block size."""
    rng = np.random.default_rng(0)
    student = MLP.random((3, 5, 2), "tanh", seed=2)
    X, Y = rng.normal(size=(1100, 3)), rng.normal(size=(1100, 2))
    errors = ((student(X) - Y) ** 2).sum(axis=1)
    theta = student.flat()
    counts = [*range(1, 50), *range(112, 130), *range(240, 260), *range(495, 515), *range(1000, 1020)]
    for count in counts:
        loss = EmpiricalLoss(student, X[:count], Y[:count])
        mean = errors[:count].mean()
        assert abs(loss.loss(theta) - mean) <= 1e-14 * mean
        assert abs(loss.loss_and_gradient(theta)[0] - mean) <= 1e-14 * mean
        assert abs(loss.all_derivatives(theta)[0] - mean) <= 1e-14 * mean


def test_permuting_neurons_permutes_derivatives(rng):
    student, X, Y, w = case(rng, (3, 6, 1), "softplus", True, 100)
    order = rng.permutation(6)
    index = np.arange(student.size)
    W, b, a = index[:18].reshape(6, 3), index[18:24], index[24:30]
    permutation = np.concatenate([W[order].ravel(), b[order], a[order], index[30:]])
    loss, theta = EmpiricalLoss(student, X, Y, w), student.flat()
    _, gradient, hessian = loss.all_derivatives(theta)
    value, gradient_p, hessian_p = loss.all_derivatives(theta[permutation])
    assert distance(gradient_p, gradient[permutation]) < 1e-14
    assert distance(hessian_p, hessian[np.ix_(permutation, permutation)]) < 1e-14
    shuffled = rng.permutation(100)
    assert distance(EmpiricalLoss(student, X[shuffled], Y[shuffled], w[shuffled]).loss(theta), value) < 1e-14


def test_same_bits_twice(rng):
    student, X, Y, w = case(rng, (4, 7, 6, 2), "tanh", True, 999)
    theta, v = student.flat(), rng.normal(size=student.size)
    one, two = EmpiricalLoss(student, X, Y, w), EmpiricalLoss(student, X, Y, w)
    for a, b in zip(one.all_derivatives(theta), two.all_derivatives(theta), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(one.hvp(theta, v), two.hvp(theta, v))


def test_inside_jax(rng):
    student, X, Y, w = case(rng, (2, 5, 1), "g", True, 333)
    loss, theta, v = EmpiricalLoss(student, X, Y, w), student.flat(), rng.normal(size=student.size)
    derivatives = np.array([loss.derivatives, loss.descriptor.ctypes.data, 0])
    product = np.array([loss.product, loss.descriptor.ctypes.data, 0])
    value, gradient, hessian = loss.all_derivatives(theta)
    traced = jax.jit(xla.loss_and_gradient)(derivatives, theta)
    assert traced[0] == value
    assert np.allclose(traced[1], gradient, rtol=1e-13)
    assert np.array_equal(jax.jit(xla.hessian)(derivatives, theta), hessian)
    assert np.array_equal(jax.jit(xla.product)(product, theta, v), loss.hvp(theta, v))
    slope = jax.jit(jax.jacfwd(lambda t: xla.loss_and_gradient(derivatives, t)[1]))(theta)
    assert distance(slope, hessian) < 1e-14


def test_relu_has_no_curvature_at_the_kink():
    student = MLP([[[1.0], [-1.0]], [[1.0, 1.0]]], activation="relu")
    loss = EmpiricalLoss(student, [[0.0], [1.0]], [0.0, 0.0])
    value, gradient, hessian = loss.all_derivatives(student.flat())
    assert value == 0.5
    assert np.array_equal(gradient, [1.0, 0.0, 1.0, 0.0])
    assert np.array_equal(hessian, [[1, 0, 2, 0], [0, 0, 0, 0], [2, 0, 1, 0], [0, 0, 0, 0]])


def test_zero_weight_samples_do_not_count(rng):
    student, X, Y, _ = case(rng, (2, 5, 1), "tanh", True, 60)
    theta, half = student.flat(), np.repeat([1.0, 0.0], 30)
    weighted = EmpiricalLoss(student, X, Y, half).all_derivatives(theta)
    for a, b in zip(weighted, EmpiricalLoss(student, X[:30], Y[:30]).all_derivatives(theta), strict=True):
        assert distance(a, b) < 1e-14


@pytest.mark.parametrize("sizes", [(3, 4), (3, 5, 4), (3, 5, 4, 3)])
def test_cross_entropy(sizes, rng):
    student, X, _, w = case(rng, sizes, "tanh", True, 57)
    labels = rng.integers(sizes[-1], size=57)
    one_hot = np.eye(sizes[-1])[labels]
    loss, theta = EmpiricalLoss(student, X, labels, w, loss="cross_entropy"), student.flat()
    value, gradient, hessian = loss.all_derivatives(theta)
    truth, slope, H = automatic(student, X, one_hot, w, cross_entropy)
    assert distance(value, truth) < 1e-14
    assert distance(gradient, slope) < 1e-14
    assert distance(hessian, H) < 1e-14
    v = rng.normal(size=theta.size)
    assert distance(loss.hvp(theta, v), H @ v) < 1e-14
    same = EmpiricalLoss(student, X, one_hot, w, loss="cross_entropy")
    assert np.array_equal(same.hessian(theta), hessian)
    soft = rng.dirichlet(np.ones(sizes[-1]), size=57)
    mixed = EmpiricalLoss(student, X, soft, w, loss="cross_entropy").loss_and_gradient(theta)
    truth, slope, _ = automatic(student, X, soft, w, cross_entropy)
    assert distance(mixed[0], truth) < 1e-14
    assert distance(mixed[1], slope) < 1e-14


def test_cross_entropy_of_huge_outputs():
    """No overflow: the loss is the difference of the outputs."""
    loss = EmpiricalLoss(MLP([[[1.0], [-1.0]]]), [[800.0], [1.0]], [1, 0], [1.0, 0.0], loss="cross_entropy")
    assert loss.loss(np.array([1.0, -1.0])) == 1600.0


@pytest.mark.parametrize("scale, inside", [(1.0, False), (0.2, True)])
def test_penalties(scale, inside, rng):
    student, X, Y, w = case(rng, (2, 4, 1), "tanh", True, 30)
    theta, v = scale * student.flat(), rng.normal(size=student.size)
    decay, corner, size = 0.03, 0.1, theta.size
    assert (theta @ theta / (2 * size) < corner) == inside

    def penalty(t):
        return decay * t @ t + jnp.maximum(t @ t / (2 * size) - corner, 0.0) ** 3 / 3

    plain = EmpiricalLoss(student, X, Y, w)
    loss = EmpiricalLoss(student, X, Y, w, weight_decay=decay, barrier=corner)
    value, gradient, hessian = loss.all_derivatives(theta)
    value_0, gradient_0, hessian_0 = plain.all_derivatives(theta)
    H = hessian_0 + jax.hessian(penalty)(theta)
    assert distance(value, value_0 + penalty(theta)) < 1e-14
    assert distance(gradient, gradient_0 + jax.grad(penalty)(theta)) < 1e-14
    assert distance(hessian, H) < 1e-14
    assert distance(loss.hvp(theta, v), H @ v) < 1e-13
    assert np.array_equal(hessian, hessian.T)


@pytest.mark.parametrize("kind", ["squared", "cross_entropy"])
def test_gauss_newton_and_single_samples(kind, rng):
    student, X, Y, w = case(rng, (3, 5, 4, 3), "softplus", [True, False, True], 83)
    if kind == "cross_entropy":
        Y = rng.dirichlet(np.ones(3), size=83)
    loss, theta, v = EmpiricalLoss(student, X, Y, w, loss=kind), student.flat(), rng.normal(size=student.size)
    f = student(X)
    J = np.asarray(jax.jacfwd(lambda t: forward(student, t, jnp.asarray(X)))(theta))
    p = np.asarray(jax.nn.softmax(f))
    if kind == "squared":
        A = np.broadcast_to(2 * np.eye(3), (83, 3, 3))
        residuals, slopes = f - Y, 2 * (f - Y)
    else:
        A = p[:, :, None] * (np.eye(3) - p[:, None, :])
        residuals = slopes = p - Y
    truth = np.einsum("s,sop,sok,skq,q->p", w, J, A, J, v) / w.sum()
    assert distance(loss.gauss_newton_product(theta, v), truth) < 1e-13
    assert distance(loss.outputs(theta), f) < 1e-14
    assert distance(loss.residuals(theta), residuals) < 1e-14
    single = loss.per_sample_gradients(theta)
    assert distance(single, np.einsum("so,sop->sp", slopes, J)) < 1e-13
    assert distance(w @ single / w.sum(), loss.gradient(theta)) < 1e-13


@pytest.mark.parametrize(
    "selection", [range(3, 700), range(1000, 1001), [5, 3, 3, 1100], list(range(0, 1100, 3))]
)
def test_batches(selection, rng):
    student, X, Y, w = case(rng, (3, 5, 4, 2), "tanh", True, 1101)
    theta, v = student.flat(), rng.normal(size=student.size)
    whole = EmpiricalLoss(student, X, Y, w)
    assert whole.kernel.descriptor == whole.descriptor.ctypes.data
    part, rows = whole.batch(selection), np.array(selection)
    assert part.kernel.descriptor == part.descriptor.ctypes.data
    alone = EmpiricalLoss(student, X[rows], Y[rows], w[rows])
    for a, b in zip(part.all_derivatives(theta), alone.all_derivatives(theta), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(part.hvp(theta, v), alone.hvp(theta, v))
    assert np.array_equal(part.residuals(theta), alone.residuals(theta))
    assert np.array_equal(part.per_sample_gradients(theta), alone.per_sample_gradients(theta))


@pytest.mark.parametrize("sizes", [(2, 8, 1), (2, 100, 1), (10, 15, 15, 3)])
def test_same_bits_for_any_number_of_threads(sizes, rng):
    student, X, Y, w = case(rng, sizes, "softplus", True, 20_000)
    theta, v = student.flat(), rng.normal(size=student.size)

    def everything(threads):
        loss = EmpiricalLoss(student, X, Y, w, threads=threads)
        return [*loss.loss_and_gradient(theta), *loss.all_derivatives(theta), loss.hvp(theta, v)]

    one = everything(1)
    for threads in (2, 5):
        for a, b in zip(one, everything(threads), strict=True):
            assert np.array_equal(a, b)


def test_several_callers_at_once(rng):
    student, X, Y, w = case(rng, (2, 20, 1), "softplus", True, 10_000)
    loss, theta = EmpiricalLoss(student, X, Y, w, threads=2), student.flat()
    alone = loss.all_derivatives(theta)
    with ThreadPoolExecutor(4) as pool:
        for outcome in pool.map(loss.all_derivatives, [theta] * 16):
            for a, b in zip(outcome, alone, strict=True):
                assert np.array_equal(a, b)


def test_the_number_of_threads_from_the_environment(monkeypatch):
    monkeypatch.setenv("GRADFLOW_NUM_THREADS", "none")
    with pytest.raises(ArgumentError, match="GRADFLOW_NUM_THREADS"):
        EmpiricalLoss(MLP.random((2, 3, 1), seed=0), np.zeros((5, 2)), np.zeros(5))


@pytest.mark.parametrize(
    "change, argument",
    [
        ({"X": np.zeros((5, 3))}, "X"),
        ({"X": np.zeros((0, 2))}, "X"),
        ({"targets": np.zeros((5, 2))}, "targets"),
        ({"targets": np.full(5, np.nan)}, "targets"),
        ({"sample_weight": np.ones(4)}, "sample_weight"),
        ({"sample_weight": -np.ones(5)}, "sample_weight"),
        ({"loss": "hinge"}, "loss"),
        ({"loss": "cross_entropy"}, "student"),
        ({"loss": "cross_entropy", "student": 2, "targets": np.full(5, 0.5)}, "targets"),
        ({"loss": "cross_entropy", "student": 2, "targets": np.full((5, 2), 0.4)}, "targets"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"barrier": -1.0}, "barrier"),
        ({"threads": 0}, "threads"),
    ],
)
def test_bad_input_is_named(change, argument):
    given = {"X": np.zeros((5, 2)), "targets": np.zeros(5), "sample_weight": None} | change
    student = MLP.random((2, 3, given.pop("student", 1)), seed=0)
    with pytest.raises(ArgumentError, match=argument) as caught:
        EmpiricalLoss(student, **given)
    assert caught.value.argument == argument


@pytest.mark.parametrize("selection", [[], [5], [-1], [0.5], range(0, 6), range(2, 2), [[1]]])
def test_bad_batches_are_named(selection):
    loss = EmpiricalLoss(MLP.random((2, 3, 1), seed=0), np.zeros((5, 2)), np.zeros(5))
    with pytest.raises(ArgumentError, match="selection"):
        loss.batch(selection)
