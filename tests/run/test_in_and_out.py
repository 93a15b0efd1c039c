"""What goes in and comes out of a problem: pytrees, labels, frames, quadrature, merging, distances."""

from __future__ import annotations

import jax
import jax.flatten_util
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow import ArgumentError, GradflowError, StorageError

START = {"layers": [np.array([[1.0, -0.5], [0.3, 0.2]]), np.array([0.1, 0.7])], "shift": np.array(0.5)}


def valley(p):
    W, b = p["layers"]
    return (
        jnp.sum((W @ jnp.array([1.0, 2.0]) + b - 1.0) ** 2) + jnp.sum(W**2) + (p["shift"] - jnp.sum(b)) ** 2
    )


def test_a_pytree_goes_in_and_comes_out(tmp_path):
    problem = gf.Problem.from_jax(valley, START)
    flat = jax.flatten_util.ravel_pytree(START)[0]
    assert (problem.theta0 == flat).all()
    expected = jax.flatten_util.ravel_pytree(jax.grad(valley)(START))[0]
    assert np.abs(problem.gradient(problem.theta0) - expected).max() <= 1e-15
    result = gf.train(problem)
    assert result.converged
    found = result.parameters()
    assert jax.tree.structure(found) == jax.tree.structure(START)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found))
    assert (jax.flatten_util.ravel_pytree(found)[0] == result.theta).all()
    # A saved result has the numbers, the structure and a note of the code; none of it runs.
    result.save(tmp_path / "valley.h5")
    again = gf.load(tmp_path / "valley.h5")
    assert (again.theta == result.theta).all() and again.loss == result.loss and again.converged
    assert jax.tree.structure(again.parameters()) == jax.tree.structure(START)
    assert "def valley(p):" in again.problem.source
    assert (again.spectrum().eigenvalues == result.spectrum().eigenvalues).all()
    assert str(again).splitlines()[0] == str(result).splitlines()[0]
    with pytest.raises(GradflowError, match=r"gradflow.load\(path, loss=…\)"):
        again.problem.loss(again.theta)
    whole = gf.load(tmp_path / "valley.h5", loss=valley)
    assert whole.problem.loss(whole.theta) == result.loss
    t = 0.5 * result.flow.end_time
    assert (whole.flow.at(t) == result.flow.at(t)).all()
    with pytest.raises(StorageError, match="not the activations|damaged"):
        gf.load(tmp_path / "valley.h5", loss=lambda p: valley(p) + 1.0)


def test_classes_of_ones_own_are_pytrees(tmp_path):
    eqx = pytest.importorskip("equinox")
    X = np.linspace(-1.0, 1.0, 20)[:, None]
    module = eqx.nn.Linear(1, 1, dtype=jnp.float64, key=jax.random.key(0))
    result = gf.train(gf.Problem.from_jax(lambda m: jnp.mean((jax.vmap(m)(X) - 2 * X + 1) ** 2), module))
    assert isinstance(result.parameters(), eqx.nn.Linear)
    assert float(result.parameters().weight[0, 0]) == pytest.approx(2.0, abs=1e-12)
    result.save(tmp_path / "linear.h5")
    names = gf.load(tmp_path / "linear.h5").parameters()
    assert [value.shape for value in names.values()] == [(1, 1), (1,)]
    assert "weight" in next(iter(names))
    with pytest.raises(ArgumentError, match=r"^theta0.*partition"):
        gf.Problem.from_jax(lambda m: 0.0, eqx.nn.MLP(1, 1, 2, 1, key=jax.random.key(0)))
    network = gf.MLP.random((1, 2, 1), "tanh", seed=0)
    of_network = gf.Problem.from_jax(lambda net: jnp.mean((net(jnp.asarray(X)) - X) ** 2), network)
    same = gf.Problem(X, network, X)
    assert of_network.loss(network.flat()) == pytest.approx(same.loss(network.flat()), rel=1e-14)
    assert isinstance(of_network.parameters(network.flat()), gf.MLP)


def test_many_leaves_keep_their_order(tmp_path):
    start = tuple(np.full(1, float(i)) for i in range(12))
    problem = gf.Problem.from_jax(lambda p: sum(jnp.sum((x - i) ** 2) for i, x in enumerate(p)), start)
    result = gf.train(problem, solver=None)
    result.save(tmp_path / "many.h5")
    assert [float(x[0]) for x in gf.load(tmp_path / "many.h5").parameters()] == list(range(12))
    for wrong in ({"a": "text"}, {"a": np.array([np.nan])}, {}, object()):
        with pytest.raises(ArgumentError, match="^theta0"):
            gf.Problem.from_jax(lambda p: 0.0, wrong)


def test_labels_may_be_text(tmp_path, rng):
    X = rng.standard_normal((30, 2))
    names = np.array(["versicolor", "setosa", "virginica"])
    y = names[np.argmax(X @ rng.standard_normal((2, 3)), axis=1)]
    student = gf.MLP.random((2, 3, 3), "tanh", seed=0)
    options = {"loss": "cross_entropy", "weight_decay": 1e-2}
    problem = gf.Problem(y, student, X, **options)
    assert problem.classes_.tolist() == sorted(names)
    numbers = np.unique(y, return_inverse=True)[1]
    plain = gf.Problem(numbers, student, X, **options)
    assert plain.classes_.tolist() == [0, 1, 2]
    assert problem.loss(student.flat()) == plain.loss(student.flat())
    result = gf.train(problem, solver=gf.solvers.BDF(max_steps=40))
    share = (result.predict(X) == y).mean()
    assert share > 0.8
    result.save(tmp_path / "labels.h5")
    again = gf.load(tmp_path / "labels.h5")
    assert (again.predict(X) == result.predict(X)).all() and again.problem.classes_.tolist() == sorted(names)


def test_frames(rng):
    pandas = pytest.importorskip("pandas")
    X = rng.standard_normal((30, 2))
    frame = pandas.DataFrame(X, columns=["height", "width"])
    y = pandas.Series(np.where(X[:, 0] > 0, "yes", "no"))
    student = gf.MLP.random((2, 2, 2), "tanh", seed=0)
    problem = gf.Problem(y, student, frame, loss="cross_entropy", weight_decay=0.1)
    assert problem.classes_.tolist() == ["no", "yes"]
    categories = gf.Problem(y.astype("category"), student, frame, loss="cross_entropy", weight_decay=0.1)
    assert categories.loss(student.flat()) == problem.loss(student.flat())
    regression = gf.Problem(frame[["width"]], gf.MLP.random((2, 2, 1), "tanh", seed=0), frame)
    assert (regression.targets == X[:, 1:]).all()
    frame["name"] = "a"
    with pytest.raises(ArgumentError, match="^inputs: got text"):
        gf.Problem(y, student, frame, loss="cross_entropy")


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gauss_hermite_nodes(dim):
    samples = gf.Samples.gauss_hermite(dim, 12)
    assert samples.X.shape == (12**dim, dim) and samples.sample_weight.sum() == pytest.approx(1.0, abs=1e-15)
    moment = samples.sample_weight @ np.prod(samples.X**4, axis=1)
    assert moment == pytest.approx(3.0**dim, rel=1e-13)
    # E tanh(1 + x)² by mpmath, for a deep network of that in each dimension
    exact = mpmath.quad(lambda x: mpmath.tanh(1 + x) ** 2 * mpmath.npdf(x), [-12, -3, 0, 3, 12])
    fine = gf.Samples.gauss_hermite(dim, 60 if dim < 3 else 40)
    assert fine.sample_weight @ np.tanh(1 + fine.X[:, -1]) ** 2 == pytest.approx(
        float(exact), rel=1e-9 if dim < 3 else 3e-7
    )
    for wrong in ((0, 3), (1, 0), (1.5, 3), (1, 200)):
        with pytest.raises(ArgumentError):
            gf.Samples.gauss_hermite(*wrong)
    with pytest.raises(gf.MemoryLimitError):
        gf.Samples.gauss_hermite(12, 100)


def test_quadrature_and_closed_forms_agree():
    teacher, student = gf.teachers.orthonormal(2, 2), gf.MLP.random((2, 2, 1), "erf", False, seed=0)
    closed = gf.Problem(teacher, student)
    nodes = gf.Problem(teacher, student, gf.Samples.gauss_hermite(2, 60))
    assert nodes.loss(student.flat()) == pytest.approx(closed.loss(student.flat()), rel=1e-11)


@pytest.mark.parametrize("bias", [True, False])
def test_merging_draws_two_neurons_together(bias, rng, tmp_path):
    X, mu = rng.standard_normal((50, 3)), 0.7
    Y = np.sin(X[:, :1])
    student = gf.MLP.random((3, 4, 1), "tanh", bias, seed=1, init="normal")
    plain, merged = gf.Problem(Y, student, X), gf.Problem(Y, student, X, merge=(1, 3, mu))

    def penalty(theta):
        network = student.with_flat(theta)
        W, b = network.weights[0], network.biases[0]
        apart = jnp.sum((W[1] - W[3]) ** 2)
        return 0.5 * mu * (apart + (0.0 if b is None else (b[1] - b[3]) ** 2))

    theta = student.flat()
    v = rng.standard_normal(theta.size)
    assert merged.loss(theta) - plain.loss(theta) == pytest.approx(float(penalty(theta)), rel=1e-13)
    gradient, hessian = jax.grad(penalty)(theta), jax.hessian(penalty)(theta)
    assert np.abs(merged.gradient(theta) - plain.gradient(theta) - gradient).max() <= 1e-14
    assert np.abs(merged.hessian(theta) - plain.hessian(theta) - hessian).max() <= 1e-14
    assert np.abs(merged.hvp(theta, v) - plain.hvp(theta, v) - hessian @ v).max() <= 1e-14
    residuals, jacobian = merged.objective.least_squares(theta)
    assert residuals @ residuals == pytest.approx(merged.loss(theta), rel=1e-14)
    assert np.abs(2 * jacobian.T @ residuals - merged.gradient(theta)).max() <= 1e-14
    assert (merged.objective.residual_vector(theta) == residuals).all()
    assert merged.objective.batch(range(10)).loss(theta) == pytest.approx(
        plain.objective.batch(range(10)).loss(theta) + float(penalty(theta)), rel=1e-13
    )
    strong = gf.train(gf.Problem(Y, student, X, merge=(1, 3, 1e3), weight_decay=1e-3))
    assert strong.converged
    W = strong.student.weights[0]
    assert np.abs(W[1] - W[3]).max() <= 1e-3
    strong.save(tmp_path / "merged.h5")
    assert list(gf.load(tmp_path / "merged.h5").problem.options["merge"]) == [1, 3, 1e3]


@pytest.mark.parametrize("merge", [(1, 1, 0.5), (0, 4, 0.5), (0, 1), (0, 1, -1.0), 3, (0, 1, np.inf)])
def test_what_cannot_be_merged(merge, rng):
    student = gf.MLP.random((3, 4, 1), "tanh", seed=1)
    with pytest.raises(ArgumentError, match="^merge"):
        gf.Problem(np.zeros((5, 1)), student, np.ones((5, 3)), merge=merge)
    with pytest.raises(ArgumentError, match="^merge: .*without samples"):
        gf.Problem(
            gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 2, 1), bias=False, seed=0), merge=(0, 1, 1.0)
        )


def test_distances_of_trajectories():
    teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), "erf", False, seed=0)

    def run(rates, **settings):
        solver = gf.solvers.BDF(**settings)
        return gf.train(teacher, student, solver=solver, refiner=None, rates=rates)

    whole, twice = run(np.ones(student.size), t1=4.0), run(np.full(student.size, 2.0), t1=2.0)
    by_time = gf.trajectory_distance(whole, twice)
    assert by_time.times[-1] == 2.0 and by_time.distances[0] == 0.0 and by_time.largest > 1e-2
    # Twice as fast is the same way: θ_b(t/2) = θ_a(t).
    by_path = gf.trajectory_distance(whole, twice, matched="path")
    assert by_path.largest <= 1e-5
    inner = (by_path.times > 0.1) & (by_path.times < 3.9)
    assert np.abs(by_path.others - by_path.times / 2)[inner].max() <= 1e-3
    for wrong in (
        lambda: gf.trajectory_distance(whole, 3),
        lambda: gf.trajectory_distance(whole, whole, matched="x"),
    ):
        with pytest.raises(ArgumentError):
            wrong()
