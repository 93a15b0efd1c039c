"""The population loss of whole networks: JAX, Monte Carlo, symmetries, exact identities, bad input."""

import threading

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from gradflow.inputs import Gaussian, Samples
from gradflow.kernels import xla
from gradflow.kernels.math import abi
from gradflow.losses.population import PopulationLoss
from gradflow.networks import MLP
from gradflow.support.errors import ArgumentError

ACTIVATIONS = ("erf", "relu")
SHAPES = (((1, 1, 1), False), ((3, 2, 4), True), ((5, 8, 6), False), ((12, 3, 5), True))


def networks(activation, n, k, d, seed=0):
    student = MLP.random((d, n, 1), activation, bias=False, seed=seed, init="normal")
    teacher = MLP.random((d, k, 1), activation, bias=False, seed=seed + 1, init="normal")
    return student, teacher


def covariance(rng, d):
    root = rng.standard_normal((d, d))
    return root @ root.T


def closed_form(teacher, activation, root):
    """The textbook formula in jax.numpy; its derivatives by JAX are the truth at generic points."""
    outer = np.asarray(teacher.weights[1])[0]
    teacher_rows = np.asarray(teacher.weights[0])

    def kernel(w, v):
        s, t = jnp.sum(w * w, axis=1)[:, None], jnp.sum(v * v, axis=1)[None, :]
        q = w @ v.T
        if activation == "erf":
            return 2 / jnp.pi * jnp.arcsin(q / jnp.sqrt((1 + s) * (1 + t)))
        same = jnp.abs(q * q - s * t) <= 1e-14 * s * t
        cosine = jnp.where(same, 0.0, q / jnp.sqrt(s * t))
        theta = jnp.arccos(cosine)
        bracket = jnp.sqrt(1 - cosine**2) + (jnp.pi - theta) * cosine
        return jnp.where(same, 0.5 * q, jnp.sqrt(s * t) * bracket / (2 * jnp.pi))

    def loss(theta):
        n = theta.size // (teacher_rows.shape[1] + 1)
        rows = jnp.concatenate([theta[:-n].reshape(n, -1), teacher_rows]) @ root
        outputs = jnp.concatenate([theta[-n:], -outer])
        return outputs @ kernel(rows, rows) @ outputs

    return loss


@pytest.mark.parametrize("shape,with_covariance", SHAPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_derivatives_against_jax(rng, activation, shape, with_covariance):
    n, k, d = shape
    student, teacher = networks(activation, n, k, d)
    inputs = Gaussian(cov=covariance(rng, d)) if with_covariance else Gaussian()
    loss = PopulationLoss(student, teacher, inputs)
    theta = student.flat()
    root = inputs.factor if with_covariance else np.eye(d)
    reference = closed_form(teacher, activation, root)
    value, gradient, hessian = loss.all_derivatives(theta)
    size = 1 + np.abs(theta[n * d :]).sum() ** 2 + np.abs(teacher.weights[1]).sum() ** 2
    assert abs(value - reference(theta)) <= 2e-15 * size * np.trace(root @ root)
    wanted = np.asarray(jax.jit(jax.grad(reference))(theta))
    np.testing.assert_allclose(gradient, wanted, atol=2e-14 * np.abs(wanted).max(), rtol=0)
    wanted = np.asarray(jax.jit(jax.hessian(reference))(theta))
    np.testing.assert_allclose(hessian, wanted, atol=4e-13 * np.abs(wanted).max(), rtol=0)
    assert (hessian == hessian.T).all()
    assert loss.loss(theta) == value
    assert loss.loss_and_gradient(theta)[0] == value
    np.testing.assert_array_equal(loss.loss_and_gradient(theta)[1], gradient)
    for v in np.vstack([rng.standard_normal((2, theta.size)), np.eye(theta.size)[-1:]]):
        product = hessian @ v
        np.testing.assert_allclose(
            loss.hvp(theta, v), product, atol=5e-15 * np.abs(hessian).max() * np.abs(v).sum(), rtol=0
        )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_monte_carlo(rng, activation):
    """z-scores of the loss and of the gradient's projections on two directions."""
    student, teacher = networks(activation, 3, 4, 3)
    inputs = Gaussian(cov=covariance(rng, 3))
    loss = PopulationLoss(student, teacher, inputs)
    X = inputs.sample(400_000, 3, rng)
    residual = (student(X) - teacher(X))[:, 0]
    theta = student.flat()
    value, gradient = loss.loss_and_gradient(theta)
    samples = [residual**2]
    wanted = [value]
    for v in rng.standard_normal((2, theta.size)):
        W, a = student.weights
        dW, da = v[:-3].reshape(3, 3), v[-3:]
        z = X @ W.T
        first, slope = student.activations[0].derivatives(z, 1)
        samples.append(2 * residual * (first @ da + (slope * (X @ dW.T)) @ np.asarray(a)[0]))
        wanted.append(gradient @ v)
    for sample, value in zip(samples, wanted):
        z_score = (sample.mean() - value) / (sample.std() / np.sqrt(sample.size))
        assert abs(z_score) < 4.0


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_symmetries(rng, activation):
    """Permutation, rotation, and what the activation allows: sign flips (erf), scaling (relu)."""
    n, k, d = 4, 5, 3
    student, teacher = networks(activation, n, k, d)
    W, a = np.array(student.weights[0]), np.array(student.weights[1])
    value = PopulationLoss(student, teacher, Gaussian()).loss(student.flat())
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    order = rng.permutation(n)
    rotated_teacher = MLP([teacher.weights[0] @ rotation, teacher.weights[1]], activation=activation)
    variants = [((W @ rotation, a), rotated_teacher), ((W[order], a[:, order]), teacher)]
    if activation == "erf":
        signs = rng.choice([-1.0, 1.0], n)
        variants.append(((signs[:, None] * W, signs * a), teacher))
    else:
        factors = rng.uniform(0.1, 10.0, n)
        variants.append(((factors[:, None] * W, a / factors), teacher))
    for weights, other in variants:
        moved = MLP(weights, activation=activation)
        assert abs(PopulationLoss(moved, other, Gaussian()).loss(moved.flat()) - value) <= 4e-15 * (1 + value)


@pytest.mark.parametrize("with_covariance", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_teacher_is_a_global_minimum(rng, activation, with_covariance):
    """L and ∇L vanish at student = teacher (duplicates and padding included) to rounding."""
    _, teacher = networks(activation, 1, 6, 8)
    inputs = Gaussian(cov=covariance(rng, 8)) if with_covariance else Gaussian()
    V, c = teacher.weights
    split = MLP([np.vstack([V, V[:1], V[:1]]), np.hstack([c, -c[:, :1], c[:, :1]])], activation=activation)
    for student in (teacher, split):
        loss = PopulationLoss(student, teacher, inputs)
        theta = student.flat()
        value, gradient, hessian = loss.all_derivatives(theta)
        padding = np.abs(theta[-student.sizes[1] :]).sum() / np.abs(c).sum()
        assert abs(value) <= loss.loss_floor * padding**2
        assert np.abs(gradient).max() <= 2 * loss.loss_floor * padding**2
        assert np.isfinite(hessian).all() and (hessian == hessian.T).all()
        assert np.linalg.eigvalsh(hessian)[0] >= -1e-14 * np.abs(hessian).max() * len(theta)


def test_scaling_of_relu(rng):
    """L is homogeneous of degree 2 in (W, V): exact for powers of two, to 1e±150."""
    student, teacher = networks("relu", 3, 4, 5)
    value, gradient = PopulationLoss(student, teacher, Gaussian()).loss_and_gradient(student.flat())
    for exponent in (-490, -3, 490):
        factor = 2.0**exponent
        moved = MLP([factor * student.weights[0], student.weights[1]], activation="relu")
        other = MLP([factor * teacher.weights[0], teacher.weights[1]], activation="relu")
        scaled, slopes = PopulationLoss(moved, other, Gaussian()).loss_and_gradient(moved.flat())
        assert abs(scaled / factor / factor - value) <= 2e-15 * value
        np.testing.assert_allclose(slopes[:-3] / factor, gradient[:-3], rtol=1e-13)


def test_hessian_table_of_relu():
    """The blocks of Safran & Shamir (doubled: no ½) at a = 1, V = I."""
    n = d = 4
    rng = np.random.default_rng(3)
    W = rng.standard_normal((n, d))
    student = MLP([W, np.ones((1, n))], activation="relu")
    teacher = MLP([np.eye(d), np.ones((1, d))], activation="relu")
    hessian = PopulationLoss(student, teacher, Gaussian()).all_derivatives(student.flat())[2]

    def parts(w, v):
        w_unit, v_unit = w / np.linalg.norm(w), v / np.linalg.norm(v)
        cosine = w_unit @ v_unit
        normal = v_unit - cosine * w_unit
        return w_unit, normal / np.linalg.norm(normal), np.arccos(cosine)

    def h1(w, v):
        unit, normal, theta = parts(w, v)
        factor = np.sin(theta) * np.linalg.norm(v) / (2 * np.pi * np.linalg.norm(w))
        return factor * (np.eye(d) - np.outer(unit, unit) + np.outer(normal, normal))

    for i in range(n):
        block = 0.5 * np.eye(d) - sum(h1(W[i], v) for v in np.eye(d))
        block = block + sum(h1(W[i], W[j]) for j in range(n) if j != i)
        np.testing.assert_allclose(hessian[i * d : (i + 1) * d, i * d : (i + 1) * d], 2 * block, atol=1e-14)
        for j in range(n):
            if j != i:
                unit, normal, theta = parts(W[i], W[j])
                other_unit, other_normal, _ = parts(W[j], W[i])
                block = (
                    (np.pi - theta) * np.eye(d) + np.outer(normal, unit) + np.outer(other_normal, other_unit)
                )
                np.testing.assert_allclose(
                    hessian[i * d : (i + 1) * d, j * d : (j + 1) * d], block / np.pi, atol=1e-14
                )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_degenerate_neurons(activation):
    """Duplicated, antiparallel, collinear and zero weight vectors: finite, symmetric, hvp agrees."""
    u = np.array([0.3, -1.0, 0.8])
    W = np.array([u, u, -u, 3.0 * u, np.zeros(3), [0.0, 1.0, 0.0]])
    student = MLP([W, [[1.0, -2.0, 0.5, 1.0, 3.0, 1.0]]], activation=activation)
    teacher = MLP([[u, [0.0, -1.0, 0.0], [0.0, 0.0, 0.0]], [[1.0, 1.0, 1.0]]], activation=activation)
    loss = PopulationLoss(student, teacher, Gaussian())
    theta = student.flat()
    value, gradient, hessian = loss.all_derivatives(theta)
    assert np.isfinite(value) and np.isfinite(gradient).all() and np.isfinite(hessian).all()
    assert (hessian == hessian.T).all()
    v = np.linspace(-1.0, 1.0, theta.size)
    np.testing.assert_allclose(loss.hvp(theta, v), hessian @ v, atol=1e-13)
    zero = [*range(12, 15), 22]
    if activation == "relu":  # the convention at a zero vector: value and derivatives zero
        assert not gradient[zero].any() and not hessian[zero].any()
    else:
        assert gradient[zero[:3]].any()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_many_sizes(activation):
    """Sizes around the vector width and the block sizes of BLAS, with gradients against differences."""
    for n, k, d in [(n, 17 - n, 1 + n % 5) for n in range(1, 17)] + [(33, 70, 129)]:
        student, teacher = networks(activation, n, k, d, seed=n)
        loss = PopulationLoss(student, teacher, Gaussian())
        theta, step = student.flat(), 1e-5
        v = np.random.default_rng(n).standard_normal(theta.size)
        v /= np.linalg.norm(v)
        slope = (loss.loss(theta + step * v) - loss.loss(theta - step * v)) / (2 * step)
        gradient = loss.gradient(theta)
        assert abs(slope - gradient @ v) <= 2e-9 * (1 + loss.loss(theta) + np.linalg.norm(gradient))
        curve = (loss.gradient(theta + step * v) - loss.gradient(theta - step * v)) / (2 * step)
        product = loss.hvp(theta, v)
        assert np.abs(curve - product).max() <= 1e-8 * (1 + np.abs(product).max() + np.abs(gradient).max())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_inside_jit(activation):
    student, teacher = networks(activation, 3, 4, 5)
    loss = PopulationLoss(student, teacher, Gaussian())
    theta = student.flat()
    value, gradient, hessian = loss.all_derivatives(theta)
    traced = jax.jit(lambda oracle, t: (*oracle.loss_and_gradient(t), oracle.hessian(t)))
    for mine, theirs in zip((value, gradient, hessian), traced(loss.oracle, theta)):
        np.testing.assert_array_equal(mine, np.asarray(theirs))
    jacobian = jax.jit(jax.jacfwd(lambda t: loss.oracle.loss_and_gradient(t)[1]))(theta)
    np.testing.assert_allclose(np.asarray(jacobian), hessian, atol=1e-13)
    assert xla.register() is None


@pytest.mark.parametrize("with_covariance", [False, True])
@pytest.mark.parametrize("activation", [*ACTIVATIONS, ("erf", "relu", "gelu")])
def test_several_outputs(rng, activation, with_covariance):
    """The loss is the sum over outputs of the losses of one-output networks, derivatives likewise."""
    n, k, d, o = 3, 4, 5, 3
    W, A = rng.standard_normal((n, d)), rng.standard_normal((o, n))
    V, C = rng.standard_normal((k, d)), rng.standard_normal((o, k))
    inputs = Gaussian(cov=covariance(rng, d)) if with_covariance else Gaussian()
    student = MLP([W, A], activation=activation)
    teacher_activation = activation if isinstance(activation, str) else "leaky_relu"
    loss = PopulationLoss(student, MLP([V, C], activation=teacher_activation), inputs)
    theta = student.flat()
    value, gradient, hessian = loss.all_derivatives(theta)
    again = np.full((theta.size, theta.size), np.nan)  # every entry is written
    address = loss.descriptor.ctypes.data
    abi.callable_from_python(loss.derivatives)(address, theta.ctypes.data, 0, 0, 0, again.ctypes.data)
    np.testing.assert_array_equal(again, hessian)
    total, slopes, curvature = 0.0, np.zeros(theta.size), np.zeros((theta.size, theta.size))
    for p in range(o):
        part = MLP([W, A[p : p + 1]], activation=activation)
        alone = PopulationLoss(part, MLP([V, C[p : p + 1]], activation=teacher_activation), inputs)
        own = alone.all_derivatives(part.flat())
        where = np.concatenate([np.arange(n * d), n * d + p * n + np.arange(n)])
        total += own[0]
        slopes[where] += own[1]
        curvature[np.ix_(where, where)] += own[2]
    assert abs(value - total) <= 4e-15 * total + loss.loss_floor
    np.testing.assert_allclose(gradient, slopes, atol=1e-14 * np.abs(slopes).max(), rtol=0)
    np.testing.assert_allclose(hessian, curvature, atol=1e-14 * np.abs(curvature).max(), rtol=0)
    assert (hessian == hessian.T).all()
    np.testing.assert_array_equal(loss.loss_and_gradient(theta)[1], gradient)
    v = rng.standard_normal(theta.size)
    np.testing.assert_allclose(loss.hvp(theta, v), hessian @ v, atol=1e-13 * np.abs(hessian).max(), rtol=0)


def test_threads():
    """The kernels share nothing: four threads at once give the bits of one."""
    student, teacher = networks("erf", 20, 20, 30)
    loss = PopulationLoss(student, teacher, Gaussian())
    points = [student.flat() * (1 + 0.1 * i) for i in range(4)]
    alone = [loss.all_derivatives(p) for p in points]
    found = [None] * 4

    def work(i):
        for _ in range(20):
            found[i] = loss.all_derivatives(points[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for mine, theirs in zip(alone, found):
        for a, b in zip(mine, theirs):
            np.testing.assert_array_equal(a, b)


def test_bad_input():
    good = MLP.random((3, 2, 1), "erf", bias=False, seed=0)
    cases = [
        ("student", MLP.random((3, 2, 2, 1), "erf", bias=False, seed=0), good, Gaussian()),
        ("student", MLP.random((3, 1), "erf", bias=False, seed=0), good, Gaussian()),
        ("teacher", good, MLP.random((3, 2, 2), "erf", bias=False, seed=0), Gaussian()),
        ("teacher", good, MLP.random((4, 2, 1), "erf", bias=False, seed=0), Gaussian()),
        ("student", "a network", good, Gaussian()),
        ("inputs", good, good, Gaussian(cov=np.eye(4))),
        ("inputs", good, good, Samples(np.ones((5, 3)))),
    ]
    for argument, student, teacher, inputs in cases:
        with pytest.raises(ArgumentError) as caught:
            PopulationLoss(student, teacher, inputs)
        assert caught.value.argument == argument
    with pytest.raises(ArgumentError, match="inputs=X"):
        PopulationLoss(cases[0][1], good, Gaussian())
    PopulationLoss(good, good, Gaussian(mean=np.zeros(3)))
    mixed = MLP.random((3, 2, 1), ("erf", "relu"), bias=False, seed=0)
    wide = MLP.random((3, 2, 2), "erf", bias=False, seed=0)
    with pytest.raises(ArgumentError, match="several outputs"):
        PopulationLoss(wide, wide, Gaussian()).double_double(wide.flat())
    with pytest.raises(ArgumentError, match="double-double"):
        PopulationLoss(mixed, good, Gaussian()).double_double(mixed.flat())


@pytest.mark.parametrize("norm", [1.0, 3.0, 6.0, 9.0])
def test_claims_of_exponentials_count_their_exponents(norm):
    """E e^(w·x) e^(v·x) = e^(|w+v|²/2): the last bit of an exponent of hundreds is an error of as many."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        w, v = (norm * u / np.linalg.norm(u) for u in rng.standard_normal((2, 3)))
        teacher, student = (MLP([[u], [[1.0]]], None, "exp") for u in (w, v))
        problem = PopulationLoss(student, teacher, Gaussian())
        with mpmath.workdps(40):
            pairs = [(a, b) for a in (w, v) for b in (w, v)]
            sums = [sum((mpmath.mpf(x) + mpmath.mpf(y)) ** 2 for x, y in zip(a, b)) for a, b in pairs]
            terms = [mpmath.exp(total / 2) for total in sums]
            error = abs(problem.loss(student.flat()) - (terms[0] - terms[1] - terms[2] + terms[3]))
        claim = problem.loss_error(student.flat())
        assert error <= claim <= 1e3 * 2.3e-16 * norm**2 * float(terms[0])
