"""Spectra, neuron labels, symmetry matching, critical-point search, slices and paths."""

import itertools
import math

import numpy as np
import pytest

import gradflow as gf
from gradflow import landscape
from gradflow.landscape.table import Table, table


def trained(activation="erf", width=2, teachers=4, dim=5, seed=0):
    teacher = gf.teachers.orthonormal(teachers, dim, activation)
    student = gf.MLP.random((dim, width, 1), activation, False, seed=seed)
    return gf.train(teacher, student, solver=None, progress=False)


def at(student, teacher):
    """A `Result` at a given student: one refinement step's worth of work, the point as it is."""
    refiner = gf.refiners.TrustRegionNewton(target="critical point", gtol=1e-12)
    return gf.train(teacher, student, solver=None, refiner=refiner, progress=False)


def transformed(student, rng, sign, scale=False):
    W, a = student.weights
    order = rng.permutation(W.shape[0])
    signs = np.where(rng.random(W.shape[0]) < 0.5, sign, 1.0)
    c = rng.uniform(0.5, 2.0, W.shape[0]) if scale else np.ones(W.shape[0])
    return gf.MLP(
        [(signs * c)[:, None] * W[order], (signs / c)[None, :] * a[:, order]], None, student.activations[0]
    )


@pytest.mark.parametrize(("activation", "sign", "scale"), [("erf", -1.0, False), ("relu", 1.0, True)])
def test_same_point_divides_symmetries_out(activation, sign, scale, rng):
    student = gf.MLP.random((5, 6, 1), activation, False, seed=1)
    other = transformed(student, rng, sign, scale)
    match = landscape.same_point(student, other)
    assert match.same and match.distance <= 1e-14
    W, a = (w.copy() for w in other.weights)
    W[2, 1] += 1e-3
    moved = landscape.same_point(student, gf.MLP([W, a], None, activation))
    assert not moved.same and 1e-4 < moved.distance < 2e-3
    assert landscape.same_point(student, gf.MLP([W, a], None, activation), tolerance=1.0).same
    with pytest.raises(gf.ArgumentError, match="b"):
        landscape.same_point(student, gf.MLP.random((5, 5, 1), activation, False, seed=1))


def test_isotropy_order_counts_permutations(rng):
    def brute(matrix):
        rows = sorted(map(tuple, matrix.tolist()))
        k = matrix.shape[1]
        return sum(
            sorted(map(tuple, matrix[:, p].tolist())) == rows for p in itertools.permutations(range(k))
        )

    for _ in range(20):
        matrix = rng.integers(0, 2, (3, 5)).astype(float)
        assert landscape.isotropy_order(matrix) == brute(matrix)
    assert landscape.isotropy_order(np.eye(9)) == math.factorial(9)
    assert landscape.isotropy_order(np.eye(3), np.array([[1.0], [1.0], [2.0]])) == 2


def test_spectrum_groups_eigenvalues_and_tells_symmetry_apart():
    result = trained("erf", 2, 4, 40)
    found = landscape.spectrum(result)
    full = np.linalg.eigvalsh(result.hessian())
    assert found.reduced_dim == 5  # the students lie in the teachers' span
    assert found.eigenvalues.size == full.size
    assert np.abs(found.eigenvalues - full).max() <= 4e-15 * full.max()
    assert sum(group.multiplicity for group in found.groups) == full.size
    assert max(group.multiplicity for group in found.groups) >= 34
    assert found.index == 0 and found.symmetry_zeros == found.other_zeros == 0
    assert found.condition == pytest.approx(full[-1] / full[0], rel=1e-8)
    assert "40" not in str(found).splitlines()[0] and "index 0" in str(found)

    scaled = landscape.spectrum(trained("relu", 1, 4, 5))
    assert scaled.symmetry_zeros == 1 and scaled.other_zeros == 0 and scaled.symmetry_error <= 1e-14


@pytest.mark.parametrize("dim", [4, 9])
@pytest.mark.parametrize("law", [gf.Gaussian(), gf.Sphere(), gf.Gaussian(cov=2.0 * np.eye(9))])
def test_frozen_parameters_take_symmetries_away(dim, law):
    """With frozen output weights scaling a ReLU neuron is no symmetry; rotations still are one."""
    if isinstance(law, gf.Gaussian) and law.cov is not None and dim == 4:
        law = gf.Gaussian(cov=2.0 * np.eye(4))
    teacher = gf.teachers.orthonormal(2, dim, "relu")
    start = gf.MLP.random((dim, 2, 1), "relu", False, seed=0)
    start = gf.MLP([start.weights[0], [[1.0, 1.0]]], None, "relu")
    rates = np.concatenate([np.ones(2 * dim), np.zeros(2)])
    result = gf.train(teacher, start, law, rates=rates, progress=False)
    found, plain = landscape.spectrum(result), np.linalg.eigvalsh(result.hessian())
    assert np.abs(found.eigenvalues - plain).max() <= 1e-14 * plain.max()
    assert np.abs(result.spectrum().eigenvalues - plain).max() <= 1e-14 * plain.max()
    assert found.symmetry_zeros == found.other_zeros == found.index == 0
    free = landscape.spectrum(gf.train(teacher, result.student, law, solver=None, progress=False))
    assert free.symmetry_zeros == 2 and free.other_zeros == 0 and free.symmetry_error <= 1e-14


def test_spectrum_at_saddles_and_degenerate_points():
    # A dead neuron's output weight and the sum of two equal neurons' are free.
    teacher = gf.teachers.orthonormal(2, 4)
    W = np.array([[1.0, 0, 0, 0], [1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 0]])
    student = gf.MLP([W, [[0.25, 0.75, 1.0, 0.3]]], None, "erf")
    found = landscape.spectrum(at(student, teacher))
    # One output weight of the dead neuron and one shift between the two equal ones.
    assert found.symmetry_zeros == 2 and found.symmetry_error <= 1e-14
    # With a = 0 and w orthogonal to the teacher the point is critical, and w can be rotated.
    for dim in (4, 30):
        W = np.eye(dim)[[2]] * 0.7
        flat = gf.MLP([W, [[0.0]]], None, "erf")
        found = landscape.spectrum(at(flat, gf.teachers.orthonormal(1, dim)))
        assert found.symmetry_zeros == dim - 2 and found.symmetry_error <= 1e-14
        assert found.eigenvalues.size == dim + 1 and found.index == 1


def test_neurons_of_a_copy_average_point():
    rows = [[0, 0, 1, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 1, 0.4], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    W = np.array(rows, dtype=float)
    W[1] /= math.sqrt(2 * 3)
    student = gf.MLP([W, [[1.0, 2.0, 1.3, 0.5, 0.7]]], None, "erf")
    teacher = gf.teachers.orthonormal(4, 5)
    rows = landscape.neurons((student, teacher))
    kinds = [row["kind"] for row in rows] if isinstance(rows, list) else list(rows["kind"])
    assert kinds == ["copy", "average", "perturbed copy", "duplicate", "dead"]
    teachers = [row["teachers"] for row in rows] if isinstance(rows, list) else list(rows["teachers"])
    assert teachers[0] == (2,) and teachers[1] == (0, 1) and teachers[2] == (3,)
    # Moved by more than the tolerance, exact labels go; with a smaller `loose`, perturbed ones too.
    W[0, 0] += 1e-3
    moved = landscape.neurons((gf.MLP([W, student.weights[1]], None, "erf"), teacher), loose=1e-4)
    kinds = [row["kind"] for row in moved] if isinstance(moved, list) else list(moved["kind"])
    assert kinds[0] == "other" and kinds[2] == "other"
    with pytest.raises(gf.ArgumentError, match="tolerance"):
        landscape.neurons((student, teacher), tolerance=-1.0)


E = np.eye(3, 4)
BIASED = [[0.5, -0.3, 0.0]]
LABELS = [
    # activation, rows of w, biases, a, teacher's biases, kinds
    ("erf", E * [[1], [-1], [1]], [0.5, 0.3, 0.0], [1, -1, 1], BIASED[0], ["copy"] * 3),
    ("erf", E, [2.5, -0.3, 0.0], [1, 1, 1], BIASED[0], ["perturbed copy", "copy", "copy"]),
    ("erf", E, [0.0, 0.0, 1.0], [1, 1, 1], None, ["copy", "copy", "perturbed copy"]),
    ("erf", [0.4 * (E[0] + E[1])], [5.0], [2], BIASED[0], ["perturbed average"]),
    ("erf", [E[0], 0 * E[0], 0 * E[0]], [0.5, 1.0, 0.0], [1, 1, 1], BIASED[0], ["copy", "constant", "dead"]),
    ("softplus", [0 * E[0], -E[1], E[2]], None, [1, 1, 1], None, ["constant", "other", "copy"]),
    ("relu", [3 * E[0], -E[1], 2 * E[0]], None, [1 / 3, 1, 0.2], None, ["copy", "other", "duplicate"]),
    ("relu", [1e-9 * E[0], 1e9 * E[1], 1e-9 * E[2]], None, [1e9, 1e-9, 1], None, ["copy", "copy", "dead"]),
    ("relu", [E[0] + E[1], E[0] - E[1]], None, [1, 1], None, ["average", "other"]),
    ("erf", [0.4 * (E[0] - E[1]), -0.4 * (E[0] + E[1])], None, [2, -2], None, ["other", "average"]),
    ("erf", [E[0], -E[0]], None, [0.5, -0.5], None, ["perturbed copy", "duplicate"]),
    ("erf", [E[0], 0.7 * E[1]], None, [-1, 1e8], None, ["other", "perturbed copy"]),
    ("square", [-E[0], E[1]], None, [1, -1], None, ["copy", "other"]),
]


@pytest.mark.parametrize(("activation", "W", "b", "a", "theirs", "expected"), LABELS)
def test_labels_respect_biases_signs_and_scales(activation, W, b, a, theirs, expected):
    student = gf.MLP([W, [a]], None if b is None else [b, None], activation)
    teacher = gf.MLP([E, np.ones((1, 3))], None if theirs is None else [theirs, None], activation)
    assert landscape.kinds((student, teacher)) == expected


def test_labels_with_several_outputs_and_dependent_teachers(rng):
    A, order = rng.standard_normal((2, 3)), [2, 0, 1]
    teacher = gf.MLP([E, A], None, "erf")
    assert landscape.kinds((gf.MLP([E[order], A[:, order]], None, "erf"), teacher)) == ["copy"] * 3
    assert landscape.kinds((gf.MLP([E, -A], None, "erf"), teacher)) == ["other"] * 3
    V = rng.standard_normal((6, 3))
    teacher = gf.MLP([V, np.ones((1, 6))], None, "erf")
    student = gf.MLP([np.vstack([1.1 * V, V[:1] + V[1:2]]), np.ones((1, 7))], None, "erf")
    assert landscape.kinds((student, teacher)) == ["perturbed copy"] * 6 + ["average"]


def test_a_relu_that_no_sample_activates_is_dead(rng):
    X = rng.standard_normal((50, 3))
    student = gf.MLP([np.eye(2, 3), [[1.0, 1.0]]], [[0.0, -20.0], None], "relu")
    teacher = gf.MLP([np.eye(2, 3), [[1.0, 1.0]]], [[0.0, 0.0], None], "relu")
    result = gf.train(teacher, student, gf.Samples(X), solver=None, progress=False)
    assert landscape.kinds(result)[1] == "dead"


@pytest.mark.parametrize("activation", ["erf", "square", "sigmoid", "relu", "softplus", "cube"])
@pytest.mark.parametrize("bias", [False, True])
def test_same_point_in_every_symmetry_class(activation, bias, rng):
    student = gf.MLP.random((4, 5, 2), activation, bias, seed=3, init="normal")
    sigma = student.activations[0]
    x = rng.standard_normal((4, 20))

    def function(net):
        b, c = (0 if v is None else v[:, None] for v in net.biases)
        return net.weights[1] @ sigma(net.weights[0] @ x + b) + c

    match = landscape.same_point(student, gf.MLP(student.weights, student.biases, activation))
    assert match.same and match.distance == 0.0 and (match.signs == 1).all()
    signs = np.array([-1.0, 1, -1, -1, 1])
    order = rng.permutation(5)
    W, A = signs[:, None] * student.weights[0], student.weights[1].copy()
    odd = sigma.symmetry in ("odd", "odd+constant")
    A = A * signs if odd else A
    b = [v if v is None else np.array(v) for v in student.biases]
    if bias:
        b[0] = (b[0] * signs)[order]
        b[1] = b[1] - float(sigma(np.zeros(1))[0]) * (A - student.weights[1]).sum(axis=1)
    image = gf.MLP([W[order], A[:, order]], b, activation)
    match = landscape.same_point(student, image)
    equal = np.abs(function(student) - function(image)).max() <= 1e-12 * np.abs(function(student)).max()
    assert match.same == equal
    # Two equal neurons and exact ties leave the distance alone.
    twice = gf.MLP(
        [student.weights[0][[0, 0, 1, 2, 3]], student.weights[1][:, [0, 0, 1, 2, 3]]], b, activation
    )
    assert landscape.same_point(twice, twice).distance == 0.0


def test_networks_with_and_without_biases_are_not_compared():
    one, two = (gf.MLP.random((3, 2, 1), "erf", bias, seed=0) for bias in (True, False))
    with pytest.raises(gf.ArgumentError, match="biases"):
        landscape.same_point(one, two)


def test_channel_pairs_are_seen(rng):
    w = rng.standard_normal(5)
    W = np.stack([w, w + 1e-3 * rng.standard_normal(5)])
    student = gf.MLP([W, [[200.0, -199.5]]], None, "softplus")
    rows = landscape.neurons((student, None))
    kinds = [row["kind"] for row in rows] if isinstance(rows, list) else list(rows["kind"])
    assert kinds == ["channel pair", "channel pair"]


def test_tables_print_without_pandas(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    rows = table([{"a": 1.5, "b": (1, 2), "c": None}])
    assert isinstance(rows, Table) and "1+2" in str(rows) and "a" in str(rows)
    assert str(Table()) == "(no rows)"


def test_critical_points_of_a_small_problem():
    teacher = gf.teachers.orthonormal(3, 3)
    problem = gf.Problem(teacher, gf.MLP.random((3, 2, 1), "erf", False, seed=0))
    found = landscape.critical_points(problem, 12, seed=3)
    assert found.ended <= found.runs and found[0].index == 0
    # The best copy-average point: its loss in closed form, and the two teachers it averages exchanged.
    best = 2 / 3 - (8 / math.pi) * math.asin(0.25)
    assert found[0].loss == pytest.approx(best, abs=1e-14) and found[0].isotropy == 2
    assert [p.loss for p in found] == sorted(p.loss for p in found)
    for point in found:
        theta = point.student.flat()
        assert np.abs(problem.gradient(theta)).max() <= 1e-12
        assert (np.linalg.eigvalsh(problem.hessian(theta)) < -1e-9).sum() == point.index
    assert any(point.index for point in found)
    again = landscape.critical_points(problem, 12, seed=3)
    assert [p.loss for p in again] == [p.loss for p in found]
    single = landscape.critical_points(problem, 12, seed=3, methods=["minimum"], images=False)
    assert len(single) >= 2 and sum(sum(p.hits.values()) for p in single) == single.ended
    assert len(found.table()) == len(found)
    with pytest.raises(gf.ArgumentError, match="methods"):
        landscape.critical_points(problem, 1, seed=0, methods=["guessing"])


def test_planes_and_their_complements():
    result = trained()
    problem = result.problem
    origin, directions = landscape.plane([result.theta, problem.theta0, np.ones(problem.size)])
    grid = np.array([-0.4, 0.0, 0.4])
    plain = landscape.slice_plane(problem, origin, directions, grid, grid)
    assert plain.losses[1, 1] == pytest.approx(result.loss, abs=1e-15)
    point = origin + 0.4 * directions[0] - 0.4 * directions[1]
    assert plain.losses[2, 0] == pytest.approx(problem.loss(point), abs=1e-14)
    least = landscape.slice_plane(problem, origin, directions, grid, grid, minimised=True)
    assert (least.losses <= plain.losses + 1e-14).all() and least.grad_norms.max() <= 1e-10
    assert least.losses.min() >= result.loss - 1e-12
    with pytest.raises(gf.ArgumentError, match="line"):
        landscape.plane([np.zeros(3), np.ones(3), 2 * np.ones(3)])


def test_matching_removes_the_barrier_between_images(rng):
    result = trained()
    image = transformed(result.student, rng, -1.0)
    while landscape.same_point(result, image).signs.min() == 1:
        image = transformed(image, rng, -1.0)
    matched = landscape.connectivity(result.problem, result, image)
    direct = landscape.connectivity(result.problem, result, image, matched=False)
    assert matched.barrier <= 1e-14 and matched.distance <= 1e-13
    assert direct.barrier > 0.1 and direct.losses[0] == pytest.approx(result.loss, abs=1e-14)


NET = gf.MLP.random((2, 2, 1), "erf", False, seed=0)
BAD = {
    "result": [
        lambda: landscape.spectrum(NET),
        lambda: landscape.neurons((NET, 3)),
        lambda: landscape.neurons((NET, NET, NET)),
    ],
    "point": [lambda: landscape.neurons(3), lambda: landscape.same_point(NET, 3)],
    "tolerance": [lambda: landscape.same_point(NET, NET, tolerance=-1.0)],
    "problem": [
        lambda: landscape.connectivity(None, NET, NET),
        lambda: landscape.slice_plane(None, [0.0], [[0.0]], [0.0], [0.0]),
    ],
    "points": [lambda: landscape.plane([np.zeros(2)])],
    "matrix": [lambda: landscape.isotropy_order(np.zeros(3))],
}


@pytest.mark.parametrize("argument", BAD)
def test_bad_arguments(argument):
    for call in BAD[argument]:
        with pytest.raises(gf.ArgumentError, match=argument):
            call()
