"""Files that claim too much, tiny networks, sentences that go beyond the theorem: none may pass."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("flint")

import gradflow as gf
from gradflow import landscape, proofs
from gradflow.theory.copy_average import bucket_student


@pytest.fixture(scope="module")
def made():
    student = bucket_student([1, 2], np.eye(3))
    return gf.certify(gf.Problem(gf.teachers.orthonormal(3, 3), student), student.flat())


@pytest.fixture(scope="module")
def relu_made():
    teacher = gf.teachers.orthonormal(3, 3, "relu")
    student = gf.MLP.random((3, 2, 1), "relu", False, seed=1)
    return gf.certify(gf.train(teacher, student, progress=False))


def _changed(proof, path, value, tmp_path):
    file = tmp_path / "p.json"
    proof.save(file)
    document = json.loads(file.read_text())
    *inner, last = path.split("/")
    at = document
    for name in inner:
        at = at[name]
    at[last] = value
    file.write_text(json.dumps(document))
    return file


ONE = (1.0).hex()


@pytest.mark.parametrize(
    "path, value",
    [
        ("loss_text", "0.5"), ("contraction", (1e-300).hex()), ("step", "0x0p0"), ("arithmetic", "by hand"),
        ("radius", "nan"), ("index", 7), ("dimension", 1), ("signs", [0, 3]), ("kind", "family"),
        ("kind", "zero loss"), ("unique_radius", "inf"), ("within", "nan"), ("box", "nan"),
    ],
)  # fmt: skip
def test_claims_in_a_file_are_all_checked(path, value, made, tmp_path):
    assert gf.verify_proof(_changed(made, path, value, tmp_path)).holds is False


@pytest.mark.parametrize(
    "path, value",
    [
        ("problem/activation", "tanh"), ("problem/note", "a better theorem"), ("problem/sizes", [3, 3, 1]),
        ("problem/teacher/output", [[ONE] * 3, [ONE] * 3]), ("problem/teacher/weights", [["nan"] * 3] * 3),
        ("problem/cov", [[ONE, "0x0p0", "0x0p0"], ["0x1p1", ONE, "0x0p0"], ["0x0p0", "0x0p0", ONE]]),
        ("kind", "ansatz"), ("kind", 3), ("exists", "yes"), ("reason", "because"), ("bits", 0), ("bits", "x"),
        ("index", True), ("free", "abc"), ("free", [0, 99]), ("free", [0, 0]), ("theta", []),
        ("center", ["zz"]), ("center", ["0x1p0"]), ("loss", ["0x0p0"]), ("loss_text", "much"),
        ("loss_text", "nan"),
    ],
)  # fmt: skip
def test_files_that_say_what_cannot_be_meant(path, value, made, tmp_path):
    with pytest.raises(gf.StorageError):
        gf.verify_proof(_changed(made, path, value, tmp_path))


@pytest.mark.parametrize(
    "path, value", [("problem/mean", [ONE] * 3), ("problem/teacher/bias", [ONE] * 3), ("problem/bias", True)]
)
def test_relu_formulas_know_no_shift(path, value, relu_made, tmp_path):
    """They would be evaluated without it, and the sentence would name it."""
    with pytest.raises(gf.StorageError):
        gf.verify_proof(_changed(relu_made, path, value, tmp_path))


def test_a_centre_of_another_size():
    """In a family it is that of the merged student, whose last entries are its output biases."""
    teacher = gf.MLP([np.eye(2), [[1.0, 0.6]]], [None, [0.3]], "erf")
    start = gf.MLP.random((2, 1, 1), "erf", [False, True], seed=0)
    w, v, a, c = gf.train(teacher, start, progress=False).theta
    problem = gf.Problem(teacher, gf.MLP.random((2, 2, 1), "erf", [False, True], seed=0))
    theta = [w, v, w, v, 0.3 * a, 0.7 * a, c]
    proof = gf.certify(problem, theta)
    assert proof.kind == "family" and proof.exists and gf.verify_proof(proof)
    off = (0.1).hex()
    forged = dataclasses.replace(proof, theta=(*proof.theta[:-1], off), center=(*proof.center, off))
    with pytest.raises(gf.StorageError, match="a centre of 5 numbers, not 4"):
        gf.verify_proof(forged)


def test_what_does_not_move_is_where_it_was_given(made):
    problem = gf.Problem(gf.teachers.orthonormal(3, 3), bucket_student([1, 2], np.eye(3)))
    rates = np.ones(problem.size)
    rates[-2:] = 0.0
    proof = gf.certify(problem, problem.theta0, rates=rates)
    assert gf.verify_proof(proof) and "minimum over the parameters that move" in proof.statement
    moved = dataclasses.replace(proof, center=(*proof.center[:-1], "0x100000001p-32"))
    with pytest.raises(gf.StorageError, match="does not move"):
        gf.verify_proof(moved)


def test_a_saddle_of_an_ansatz_is_no_maximum():
    """The index is that of the full Hessian, the numbers are those of the ansatz: 10 > 6."""
    student = bucket_student([6, 6], np.eye(12))
    w, a = student.weights[0], student.weights[1][0]
    ansatz = landscape.Ansatz((6, 6), (None, None))
    point = landscape.symmetric_point(ansatz, [w[0, 0], w[0, 6], a[0], w[1, 0], w[1, 6], a[1]])
    proof = gf.certify(point)
    assert proof.exists and proof.index == 10 and proof.signs[1] > 0
    assert "saddle" in proof.statement and "maximum" not in proof.statement
    full = gf.certify(gf.Problem(gf.teachers.orthonormal(12, 12), student), student.flat())
    assert full.index == 10


@pytest.mark.parametrize("scale", [1e-4, 1e-6])
def test_a_tiny_saddle_is_not_the_minimum_beside_it(scale):
    """In absolute terms every point of a tiny network is near the zeros of its loss."""
    teacher = gf.MLP([scale * np.eye(2), [[scale, -0.5 * scale]]], None, "erf")
    student = gf.MLP(
        [scale * np.array([[1.0, 0.4], [-0.3, 0.8]]), [[0.4 * scale, -0.2 * scale]]], None, "erf"
    )
    problem = gf.Problem(teacher, student)
    proof = gf.certify(problem, student.flat())
    assert not proof.exists
    exact = gf.certify(problem, teacher.flat())
    assert exact.exists and exact.is_minimum and exact.radius < 1e-6 * scale


def test_numbers_that_no_network_has():
    ansatz = landscape.Ansatz((2,), (None,))
    point = landscape.symmetric_point(ansatz, [0.5, 1.0])
    for x in (np.array([np.nan, 1.0]), np.ones(3)):
        with pytest.raises(gf.ArgumentError, match="result"):
            gf.certify(dataclasses.replace(point, x=x))
    problem = gf.Problem(
        gf.teachers.orthonormal(2, 2, "relu"), gf.MLP.random((2, 1, 1), "relu", False, seed=0)
    )
    assert not gf.certify(problem, [1.7e308, 1.0, 1.0]).exists


def test_weights_of_samples_are_mentioned(rng):
    X, Y = rng.standard_normal((30, 1)), rng.standard_normal((30, 1))
    student = gf.MLP.random((1, 1, 1), "tanh", False, seed=0)
    for law, word in ((X, "= mean |"), (gf.inputs.Samples(X, rng.random(30)), "= weighted mean of |")):
        problem = gf.Problem(Y, student, law)
        assert word in gf.certify(problem, student.flat()).statement


def test_a_sign_that_leaves_the_function_makes_no_other_point(rng):
    """sigmoid(−z) = 1 − sigmoid(z), and the output bias takes what is left over."""
    X = rng.standard_normal((40, 1))
    Y = np.tanh(X) + 0.3 * rng.standard_normal((40, 1))
    student = gf.MLP.random((1, 1, 1), "sigmoid", True, seed=0)
    result = gf.train(Y, student, X, progress=False)
    one = gf.certify(result)
    w, b, a, c = result.theta
    other = gf.certify(result.problem, [-w, -b, -a, c + a])
    assert one.exists and other.exists
    assert not proofs.distinct(one, other)


def test_a_law_that_is_symmetric_up_to_rounding():
    C = np.array([[2.0, 0.5], [0.5 + 1e-13, 1.0]])
    teacher = gf.MLP([[[1.0, 0.3], [-0.2, 1.0]], [[1.0, 0.7]]], None, "erf")
    problem = gf.Problem(teacher, gf.MLP.random((2, 1, 1), "erf", False, seed=0), gf.inputs.Gaussian(cov=C))
    result = gf.train(teacher, problem.student, problem.inputs, progress=False)
    proof = gf.certify(problem, result.theta)
    written = proof.problem["cov"]
    assert written[0][1] == written[1][0]
    assert proof.exists and gf.verify_proof(proof)
