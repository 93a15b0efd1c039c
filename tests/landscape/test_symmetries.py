"""When two points are one, and isotropy groups."""

import itertools
import math

import numpy as np
import pytest

import gradflow as gf
from gradflow import landscape


@pytest.mark.parametrize(("activation", "sign", "scale"), [("erf", -1.0, False), ("relu", 1.0, True)])
def test_same_point_divides_symmetries_out(activation, sign, scale, rng, transformed):
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


def cancelling(activation, bias, rng, outputs=1):
    """A network with Σ a_i (w_i, b_i) = 0 over its first `outputs` + 2 neurons; and how many those are."""
    d, m = 4, outputs + 2
    w = rng.standard_normal((m + 3, d + bias))
    A = rng.standard_normal((outputs, m + 3))
    # The w_i of the set, as columns, in the null space of A's columns: combinations of what is left of m.
    null = np.linalg.svd(A[:, :m])[2][outputs:]
    w[:m] = null.T @ rng.standard_normal((len(null), d + bias))
    biases = [w[:, d], rng.standard_normal(outputs)] if bias else None
    return gf.MLP([w[:, :d], A], biases, activation), m


def mirrored(student, chosen, rng, scale=1.0, shift=0.0):
    """The neurons `chosen` mirrored as even ones are (scaled, if asked for), all of them in another order."""
    signs = np.where(np.isin(np.arange(student.sizes[1]), chosen), -1.0, 1.0)
    order = rng.permutation(signs.size)
    W, A = scale * signs[:, None] * student.weights[0], student.weights[1] / scale
    b = [None if v is None else np.array(v) for v in student.biases]
    if b[0] is not None:
        b = [(scale * signs * b[0])[order], b[1] + shift]
    return gf.MLP([W[order], A[:, order]], b, list(student.activations))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "softplus", "gelu", "silu"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_mirrored_sets_whose_linear_terms_cancel(activation, outputs, rng):
    """σ(z) = e(z) + cz/2 with e even: mirroring a set subtracts c Σ a_i z_i, the function 0 here."""
    student, m = cancelling(activation, False, rng, outputs)
    scale = 3.0 if "relu" in activation else 1.0
    image = mirrored(student, range(m), rng, scale)
    X = rng.standard_normal((30, 4))
    assert np.abs(student(X) - image(X)).max() <= 1e-13 * np.abs(student(X)).max()
    match = landscape.same_point(student, image)
    assert match.same and match.distance <= 1e-13
    assert sorted(match.permutation[match.signs < 0]) == sorted(match.permutation[:m])
    back = landscape.arranged(image, match, scaled=False)
    assert np.abs(back.weights[0] - scale * student.weights[0]).max() <= 1e-14
    assert np.abs(back(X) - image(X)).max() <= 1e-13 * np.abs(image(X)).max()
    # A part of the set is another function.
    other = mirrored(student, range(m - 1), rng, scale)
    assert np.abs(student(X) - other(X)).max() > 1e-2
    match = landscape.same_point(student, other)
    assert not match.same and (match.signs == 1).all() and match.distance > 1e-2


@pytest.mark.parametrize("activation", ["relu", "softplus"])
def test_an_output_bias_takes_up_what_mirrored_biases_leave(activation, rng):
    student, m = cancelling(activation, True, rng)
    z = student.weights[1][0, :m] @ student.biases[0][:m]
    student = gf.MLP(student.weights, [student.biases[0] + 1.0, student.biases[1]], activation)
    left = student.weights[1][0, :m] @ student.biases[0][:m]
    assert abs(z) < 1e-13 < 0.1 < abs(left)
    X = rng.standard_normal((30, 4))
    image = mirrored(student, range(m), rng, shift=left)  # σ(−z) = σ(z) − z: the bias gets Σ a_i b_i back
    assert np.abs(student(X) - image(X)).max() <= 1e-13 * np.abs(student(X)).max()
    match = landscape.same_point(student, image)
    assert match.same and match.distance <= 1e-13
    back = landscape.arranged(image, match, scaled=False)
    assert np.abs(back.flat() - student.flat()).max() <= 1e-13
    assert not landscape.same_point(student, mirrored(student, range(m), rng)).same
    # Without an output bias nothing takes it up.
    bare = [gf.MLP(net.weights, [net.biases[0], None], activation) for net in (student, image)]
    assert np.abs(bare[0](X) - bare[1](X)).max() > 0.1 and not landscape.same_point(*bare).same


def test_near_points_are_as_far_as_their_parameters_when_nothing_cancels(rng):
    """w_0 ≈ −w_1 with the same a: mirroring brings rows nearer, but it would change the function."""
    a, b = np.array([[1.0, 0.2], [0.1, 2.0]]), np.array([[-1.0, -0.2], [0.1, 2.0]])
    one, two = (gf.MLP([w, [[1.0, 1.0]]], None, "softplus") for w in (a, b))
    match = landscape.same_point(one, two)
    assert match.distance == pytest.approx(np.linalg.norm(a - b)) and (match.signs == 1).all()
    assert landscape.same_point(two, one).distance == pytest.approx(match.distance)


def images(net, X):
    """Networks of the same function made by signs and permutations, found by their values at X alone."""
    count, (W, A), (b, c) = net.sizes[1], net.weights, net.biases
    for signs in itertools.product((1.0, -1.0), repeat=count):
        s = np.array(signs)
        for outputs in (A, A * s):
            hidden = None if b is None else s * b
            other = gf.MLP([s[:, None] * W, outputs], [hidden, c], net.activations[0])
            apart = net(X) - other(X)
            shift = apart.mean(axis=0) if c is not None else np.zeros(len(A))
            if np.abs(apart - shift).max() < 1e-10:
                for order in map(list, itertools.permutations(range(count))):
                    biases = [None if b is None else hidden[order], None if c is None else c + shift]
                    yield gf.MLP([(s[:, None] * W)[order], outputs[:, order]], biases, net.activations[0])


@pytest.mark.parametrize("activation", ["erf", "sigmoid", "cos", "softplus", "gelu", "silu", "elu"])
@pytest.mark.parametrize("bias", [False, True])
def test_distances_are_the_smallest_over_all_images(activation, bias, rng):
    """Whole numbers as weights, some neurons opposite ones: many images, with ties and cancelling sets."""
    X = rng.standard_normal((20, 2))
    for _ in range(12):
        W = rng.integers(1, 4, (3, 2)) * rng.choice([-1.0, 1.0], (3, 2))
        A = rng.integers(1, 3, (1, 3)) * rng.choice([-1.0, 1.0], (1, 3))
        if rng.random() < 0.5:
            W[1], A[0, 1] = -W[0], A[0, 0]
        biases = [rng.integers(-1, 2, 3).astype(float), rng.standard_normal(1)] if bias else None
        one = gf.MLP([W, A], biases, activation)
        found = list(images(one, X))
        other = found[rng.integers(len(found))]
        assert landscape.same_point(one, other).same
        moved = other.with_flat(other.flat() + rng.choice([1e-4, 0.1]) * rng.standard_normal(other.size))
        match = landscape.same_point(one, moved)
        best = min(np.linalg.norm(one.flat() - image.flat()) for image in images(moved, X))
        assert match.distance == pytest.approx(best, rel=1e-10)
        np.testing.assert_allclose(landscape.arranged(other, landscape.same_point(one, other))(X), one(X))


@pytest.mark.parametrize("activation", ["erf", "square", "relu", "softplus", "elu"])
def test_isotropy_against_all_permutations(activation, rng):
    """A permutation of the student's columns counts if `same_point` finds the old student."""
    k = 4
    teacher = gf.teachers.orthonormal(k, k + 1, activation if activation in ("erf", "relu") else "erf")
    M = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, -1], [2, 2, 2, 2], [0, 0, -1, 1]], dtype=float)
    for W, a in (
        (M, [1, 1, 1, 0.5, 1]),
        (M, [1, 1, 1, 0, -1]),
        (np.eye(4), [1, 1, 1, 2]),
        (np.vstack([np.eye(4)[:2], -np.eye(4)[:2]]), [1.0, -1, 1, -1]),
        (rng.integers(-1, 2, (5, 4)).astype(float), [1.0, 1, -1, -1, 0]),
    ):
        student = gf.MLP([np.pad(W, ((0, 0), (0, 1))), [a]], None, activation)
        problem = gf.Problem(gf.MLP(teacher.weights, None, teacher.activations[0]), student, np.eye(k + 1))
        images = [W[:, list(p)] for p in itertools.permutations(range(k))]
        count = sum(
            landscape.same_point(student, gf.MLP([np.pad(V, ((0, 0), (0, 1))), [a]], None, activation)).same
            for V in images
        )
        assert landscape.isotropy(problem, student) == count


def test_teachers_that_differ_are_not_exchanged():
    student = gf.MLP([np.eye(3), np.ones((1, 3))], None, "erf")
    problems = [
        gf.Problem(gf.teachers.orthonormal(3, 3, **settings), student)
        for settings in ({}, {"norms": [1, 1, 2]}, {"output_weights": [1, 2, 3]})
    ]
    assert [landscape.isotropy(problem, student) for problem in problems] == [6, 2, 1]
    slanted = gf.MLP([[[1.0, 0.1, 0], [0, 1, 0], [0, 0, 1]], np.ones((1, 3))], None, "erf")
    assert landscape.isotropy(gf.Problem(slanted, student), student) is None


@pytest.mark.parametrize("activation", ["erf", "tanh", "relu", "softplus"])
@pytest.mark.parametrize("norm", [1e-8, 1.0, 1e3])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e3])
def test_points_are_compared_neuron_by_neuron_in_function_space(activation, norm, scale, rng, transformed):
    """One neuron of five moved by 1e-7 or 1e-4 of its direction: the outputs decide, whatever the sizes."""
    student = gf.MLP.random((4, 5, 1), activation, False, seed=2)
    W, a = norm * student.weights[0], scale * student.weights[1]
    odd = activation in ("erf", "tanh")
    for size, expected in ((0.0, True), (1e-8, True), (1e-4, False)):
        moved = W.copy()
        moved[1] += size * np.linalg.norm(W[1]) * np.array([1.0, -1, 1, -1]) / 2
        for outputs in (a, a * (1 + size * np.eye(5)[2])):
            other = transformed(gf.MLP([moved, outputs], None, activation), rng, -1.0 if odd else 1.0)
            match = landscape.same_point(gf.MLP([W, a], None, activation), other)
            # At 1e-8 softplus neurons are constants to eight digits, whatever their weights are.
            constant = activation == "softplus" and norm == 1e-8 and (outputs == a).all()
            assert match.same == (match.apart <= 1e-6) == (expected or constant)


def test_outputs_that_differ_are_not_the_same_at_large_weights():
    W = 1e4 * np.array([[1.0, 0.0], [0.0, 1.0]])
    one = gf.MLP([W, [[1.0, 1.0]]], None, "erf")
    assert not landscape.same_point(one, gf.MLP([W, [[1.01, 1.0]]], None, "erf")).same
    assert not landscape.same_point(one, gf.MLP([W + [[0, 0.01], [0, 0]], [[1.0, 1.0]]], None, "erf")).same
    assert landscape.same_point(one, gf.MLP([W + [[0, 1e-7], [0, 0]], [[1.0, 1.0]]], None, "erf")).same


def test_silent_neurons_are_compared_by_what_they_would_add():
    """a = 0: two points on one hypersurface of critical points, with Hessians of their own."""
    W = np.eye(2, 3)
    one = gf.MLP([W, [[1.0, 0.0]]], None, "erf")
    assert not landscape.same_point(
        one, gf.MLP([W + [[0, 0, 0], [0, 0, 0.1]], [[1.0, 0.0]]], None, "erf")
    ).same
    assert landscape.same_point(one, gf.MLP([-W, [[-1.0, 0.0]]], None, "erf")).same


def isotropy_images(activation, rng):
    """The same teachers and the same student, written down in other ways."""
    e = np.eye(4, 5)
    M = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]], dtype=float) @ e
    teacher, c = e.copy(), np.ones(4)
    a = np.array([1.0, 1.0, 0.3])
    for _ in range(4):
        if activation in ("erf", "tanh"):  # (v, c) and (−v, −c), (w, a) and (−w, −a)
            s, t = rng.choice([-1.0, 1.0], 4), rng.choice([-1.0, 1.0], 3)
            teacher, c, M, a = s[:, None] * teacher, s * c, t[:, None] * M, t * a
        if activation == "relu":
            s, t = rng.uniform(0.1, 10, 4), rng.uniform(0.1, 10, 3)
            teacher, c, M, a = s[:, None] * teacher, c / s, t[:, None] * M, a / t
        if activation == "square":
            s, t = rng.choice([-1.0, 1.0], 4), rng.choice([-1.0, 1.0], 3)
            teacher, M = s[:, None] * teacher, t[:, None] * M
        p, q, turn = rng.permutation(4), rng.permutation(3), np.linalg.qr(rng.standard_normal((5, 5)))[0]
        teacher, c, M, a = (teacher @ turn)[p], c[p], (M @ turn)[q], a[q]
        yield gf.MLP([teacher, [c]], None, activation), gf.MLP([M, [a]], None, activation)


@pytest.mark.parametrize(("activation", "order"), [("erf", 8), ("tanh", 8), ("relu", 8), ("square", 16)])
def test_isotropy_does_not_depend_on_how_neurons_are_written_down(activation, order, rng):
    """Two pairs of teachers: each exchanged, and the pairs; of squares −1 on all four weights as well."""
    for teacher, student in isotropy_images(activation, rng):
        problem = gf.Problem(teacher, student)
        for scale in (1e-8, 1.0, 1e3):
            scaled = gf.MLP([student.weights[0], scale * student.weights[1]], None, activation)
            assert landscape.isotropy(problem, scaled) == order
        W = student.weights[0].copy()
        W[0] += 1e-3 * teacher.weights[0][0] / np.linalg.norm(teacher.weights[0][0])
        moved = landscape.isotropy(problem, gf.MLP([W, student.weights[1]], None, activation))
        assert moved < order


@pytest.mark.parametrize("norm", [1e-8, 1e-3, 1.0, 1e3])
def test_isotropy_at_any_norm(norm):
    """A copy of every teacher, and one of two; weights of any size."""
    teacher = gf.teachers.orthonormal(3, 3, norms=[norm] * 3)
    student = gf.MLP([norm * np.eye(3), [[1.0, 1.0, 1.0]]], None, "erf")
    assert landscape.isotropy(gf.Problem(teacher, student), student) == 6
    student = gf.MLP([norm * np.eye(3), [[1.0, 1.0, 1.01]]], None, "erf")
    assert landscape.isotropy(gf.Problem(teacher, student), student) == 2
    W = norm * np.eye(3)
    W[0, 0] *= 1.001
    assert landscape.isotropy(gf.Problem(teacher, student), gf.MLP([W, np.ones((1, 3))], None, "erf")) == 2


NET = gf.MLP.random((2, 2, 1), "erf", False, seed=0)
DEEP = gf.MLP.random((2, 2, 2, 1), "erf", False, seed=0)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("a", lambda: landscape.same_point(3, NET)),
        ("b", lambda: landscape.same_point(NET, None)),
        ("b", lambda: landscape.same_point(NET, DEEP)),
        ("b", lambda: landscape.same_point(NET, gf.MLP(NET.weights, None, "tanh"))),
        ("tolerance", lambda: landscape.same_point(NET, NET, tolerance=-1.0)),
        ("matrix", lambda: landscape.isotropy_order(np.zeros(3))),
        ("rows", lambda: landscape.isotropy_order(np.zeros((3, 2)), np.zeros((2, 1)))),
        ("problem", lambda: landscape.isotropy(NET, NET)),
        ("student", lambda: landscape.isotropy(gf.Problem(NET, NET), np.eye(2))),
    ],
)
def test_bad_arguments(argument, call):
    with pytest.raises(gf.ArgumentError, match=f"^{argument}: "):
        call()
