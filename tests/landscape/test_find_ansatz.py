"""Found points in few numbers: the ansatz has their loss and spectrum, and finishes them."""

import numpy as np
import pytest

import gradflow as gf
from gradflow.landscape import Ansatz, AnsatzLoss, blocks, find_ansatz, follow, symmetric_point


def check(student, teacher, frozen=False):
    """The ansatz of a student, whose loss and Hessian are those of the full problem there."""
    rates = np.ones(student.size)
    if frozen:
        rates[student.weights[0].size :] = 0.0
    settings = {"solver": None, "refiner": gf.refiners.TrustRegionNewton(target="critical point")}
    result = gf.train(teacher, student, rates=rates, progress=False, **settings)
    ansatz, x = find_ansatz(result)
    assert AnsatzLoss(ansatz).derivatives(x)[0] == pytest.approx(result.loss, abs=1e-13)
    values = np.linalg.eigvalsh(result.hessian())
    found = blocks(ansatz, x).eigenvalues()
    if student.activations[0].name == "relu" and not frozen:  # balancing changes sizes, not signs
        assert found.size == values.size and (found < -1e-10).sum() == (values < -1e-10).sum()
    else:
        assert np.abs(found - values).max() <= 1e-12 * values[-1]
    return ansatz, x


def turned(student, teacher, rng):
    """The same problem with neurons and teachers in another order, other signs and rotated inputs."""
    d, n, k = student.sizes[0], student.sizes[1], teacher.sizes[1]
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    p, q = rng.permutation(n), rng.permutation(k)
    sigma = student.activations[0].name
    s = np.where(rng.random(n) < 0.5, -1.0, 1.0) if sigma == "erf" else np.ones(n)
    W, a = student.weights
    return (
        gf.MLP([(s[:, None] * W @ Q)[p], (s * a)[:, p]], None, sigma),
        gf.MLP([(teacher.weights[0] @ Q)[q], teacher.weights[1][:, q]], None, sigma),
    )


@pytest.mark.parametrize("name", ["erf", "relu"])
@pytest.mark.parametrize("norm", [1e-3, 1.0, 1e3])
def test_the_ansatz_does_not_depend_on_how_neurons_are_written_down(name, norm, rng):
    """(v, c) and (−v, −c) of an erf teacher, (v, c) and (2v, c/2) of a relu one: one ansatz and one loss."""
    ansatz = Ansatz((3, 2), (0, None), 1, name)
    x = ansatz.point([[(1.0, 0.2), 0.3, 0.0, 0.9], [0.4, 0.5, 0.0, 1.3]])
    student, teacher = ansatz.student(x), ansatz.teacher()
    student, teacher = (gf.MLP([norm * n.weights[0], n.weights[1]], None, name) for n in (student, teacher))
    losses = []
    for _ in range(6):
        s, t = rng.choice([-1.0, 1.0], 5), rng.choice([-1.0, 1.0], 4)
        if name == "relu":
            s, t = rng.uniform(0.1, 10, 5), rng.uniform(0.1, 10, 4)
        p, q = rng.permutation(5), rng.permutation(4)
        V, c = (s[:, None] * teacher.weights[0])[p], (teacher.weights[1] / s)[:, p]
        W, a = (t[:, None] * student.weights[0])[q], (student.weights[1] / t)[:, q]
        found, y = find_ansatz((gf.MLP([W, a], None, name), gf.MLP([V, c], None, name)))
        assert sorted(found.teachers) == [2, 3] and None in found.groups
        assert found.neurons(1 - found.groups.index(None)) == 3
        losses.append(AnsatzLoss(found).derivatives(y)[0])
    loss = gf.Problem(teacher, student).loss(student.flat())
    assert losses == pytest.approx([loss] * 6, rel=1e-12)


CASES = {
    "P-n-C": Ansatz((4, 3), (0,), 1),
    "tied and single": Ansatz((3, 2, 1), (0, None, 1), 2, teacher_outputs=(1.0, 2.0, 0.5)),
    "two copies": Ansatz((4, 1), (0, 0), 0, "relu"),
    "frozen": Ansatz((5, 1), (0, 1), 0, "relu", train_outputs=False),
    "singles": Ansatz((2, 3), (None, None), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_the_ansatz_of_a_symmetric_point_is_found_again(name, rng):
    ansatz = CASES[name]
    x = rng.uniform(0.2, 1.0, len(ansatz.parameters))
    if ansatz.unused:  # weights in the teachers' span
        x[[p.block == len(ansatz.teachers) for p in ansatz.parameters]] = 0.0
    student, teacher = turned(ansatz.student(x), ansatz.teacher(), rng)
    found, y = find_ansatz((student, teacher))
    assert sorted(found.teachers) == sorted(ansatz.teachers) and found.unused == ansatz.unused
    sizes = [found.neurons(g) for g in range(len(found.groups))]
    assert sorted(sizes) == sorted(ansatz.neurons(g) for g in range(len(ansatz.groups)))
    if ansatz.train_outputs:
        assert y.size == x.size
    problem = gf.Problem(teacher, student)
    loss = problem.loss(student.flat())
    assert AnsatzLoss(found).derivatives(y)[0] == pytest.approx(loss, abs=1e-13 * (1 + loss))


def test_a_trained_student_is_finished_to_thirty_digits_and_followed(rng):
    teacher = gf.teachers.orthonormal(8, 9)
    result = gf.train(teacher, gf.MLP.random((9, 6, 1), "erf", False, seed=5), solver=None, progress=False)
    ansatz, x = find_ansatz(result)
    point = symmetric_point(ansatz, x)
    assert point.residual <= 1e-30 and abs(point.loss - result.loss) <= 1e-14
    assert ansatz.teachers == (2, 6) and ansatz.groups == (1,)  # P-n-C
    # The same kind of point at a million teachers.
    far = follow(lambda m: Ansatz((2 * m, 6 * m), (1,), 1), [1, 125_000], x)[-1]
    assert far.residual <= 1e-28 and far.spectrum.size == 750_000 * 1_000_002


def test_spurious_minima_have_their_numbers(rng):
    family = Ansatz((7, 1), (0, 1), activation="relu", train_outputs=False)
    point = symmetric_point(family, [1.0, -0.03, 0.23, 0.16, -0.66])
    student, teacher = turned(family.student(point.x), family.teacher(), rng)
    ansatz, x = check(student, teacher, frozen=True)
    assert sorted(ansatz.teachers) == [1, 7] and sorted(x) == pytest.approx(sorted(point.x), abs=1e-12)
    assert symmetric_point(ansatz, x).residual <= 1e-30


def test_points_with_other_symmetries_get_a_smaller_ansatz(rng):
    """Down to single teachers for a student without any."""
    teacher = gf.teachers.orthonormal(4, 4)
    W = np.array([[1.0, 1, 0, 0], [0, 0, 1, 1]]) / 6**0.5
    ansatz, x = check(gf.MLP([W, [[2.0, 2.0]]], None, "erf"), teacher)
    assert ansatz.teachers == (2, 2) and ansatz.groups == (None, None) and blocks(ansatz, x).index == 2
    # All pairs of three teachers: every neuron has two weights of its own among four.
    W = np.array([[1.0, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]])
    ansatz, x = find_ansatz((gf.MLP([W, np.ones((1, 6))], None, "erf"), teacher))
    assert ansatz.teachers == (1, 1, 1, 1) and ansatz.groups == (None,) * 6
    # A neuron for every pair of one teacher of three and one of two.
    W = np.array([np.concatenate([np.eye(3)[i], np.eye(2)[j]]) for i in range(3) for j in range(2)])
    teacher = gf.teachers.orthonormal(5, 5)
    student = gf.MLP([W, np.ones((1, 6))], None, "erf")
    ansatz, x = find_ansatz((student, teacher))
    assert ansatz.teachers == (3, 1, 1) and ansatz.groups == (0, 0)
    loss = gf.Problem(teacher, student).loss(student.flat())
    assert AnsatzLoss(ansatz).derivatives(x)[0] == pytest.approx(loss, abs=1e-13)
    random = gf.MLP(rng.standard_normal((3, 5))[None].tolist() + [np.ones((1, 3))], None, "erf")
    assert find_ansatz((random, teacher))[0].teachers == (1,) * 5


NET, TEACHER = gf.MLP.random((3, 2, 1), "erf", False, seed=0), gf.teachers.orthonormal(3, 3)


@pytest.mark.parametrize(
    "given",
    [
        NET,
        (NET, NET),
        (NET, 3),
        (NET, gf.teachers.orthonormal(2, 3)),
        (NET, gf.teachers.orthonormal(3, 4)),
        (NET, gf.teachers.orthonormal(3, 3, "relu")),
        (gf.MLP.random((3, 2, 1), "tanh", False, seed=0), gf.teachers.orthonormal(3, 3, "tanh")),
        (gf.MLP.random((3, 2, 1), "erf", True, seed=0), TEACHER),
        (gf.MLP.random((3, 2, 2), "erf", False, seed=0), TEACHER),
        gf.train(TEACHER, NET, gf.Gaussian(cov=2 * np.eye(3)), solver=None, progress=False),
        gf.train(TEACHER, NET, solver=None, rates=[1] * 7 + [0], progress=False),
    ],
)
def test_other_problems_are_refused(given):
    with pytest.raises(gf.ArgumentError, match="^result: "):
        find_ansatz(given)
