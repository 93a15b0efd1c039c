"""`certify` and `verify_proof`: what must be proved, and what must not."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flint")

import gradflow as gf
from gradflow import landscape, proofs
from gradflow.proofs import population
from gradflow.proofs.prove import prove
from gradflow.proofs.results import setting_of
from gradflow.theory.copy_average import bucket_student, one_neuron
from gradflow.theory.copy_average.index import index as closed_index
from gradflow.theory.spurious_minima.minima import standing


def _bucket(sizes):
    k = sum(sizes)
    student = bucket_student(sizes, np.eye(k, k + 1))
    return gf.Problem(gf.teachers.orthonormal(k, k + 1), student), student.flat()


@pytest.fixture(scope="module")
def trained():
    teacher = gf.teachers.orthonormal(6, 7, activation="erf")
    student = gf.MLP.random((7, 3, 1), activation="erf", bias=False, seed=0)
    return gf.train(teacher, student, progress=False)


@pytest.fixture(scope="module")
def relu_trained():
    teacher = gf.teachers.orthonormal(6, 7, activation="relu")
    student = gf.MLP.random((7, 4, 1), activation="relu", bias=False, seed=1)
    return gf.train(teacher, student, progress=False)


@pytest.mark.parametrize("sizes", [(3,), (1, 2), (2, 2), (1, 1, 3), (3, 3)])
def test_copy_average_points(sizes):
    """Points, indices and losses in closed form (theory.copy_average)."""
    proof = gf.certify(*_bucket(sizes))
    assert proof.exists and proof.kind == "point"
    assert proof.radius < 1e-13 < 1e-12 < proof.unique_radius
    assert proof.index == closed_index(sizes)
    assert proof.is_minimum == (proof.index == 0)
    loss = sum(one_neuron(l).loss for l in sizes)
    assert proof.loss[0] - 1e-14 <= loss <= proof.loss[1] + 1e-14
    assert proof.loss[1] - proof.loss[0] <= 2e-16
    assert gf.verify_proof(proof)


def test_a_run_is_certified_and_saved(trained, tmp_path):
    proof = gf.certify(trained)
    assert proof.exists and proof.index == trained.spectrum().negative
    assert proof.step < 1e-11 and proof.contraction < 0.1 and proof.undecided == 0
    assert proof.loss[0] <= trained.loss + 1e-15 and trained.loss - 1e-15 <= proof.loss[1]
    path = tmp_path / "p.json"
    proof.save(path)
    again = proofs.load_proof(path)
    assert again == proof
    assert gf.verify_proof(path).holds and gf.verify_proof(str(path)).proof.index == proof.index
    text = str(proof)
    assert "Theorem" in text and "strict local minimum" in text and "python-flint" in text
    assert f"{proof.radius:.3g}" in text


def test_no_kernel_and_no_solver_in_a_check(trained, tmp_path):
    """A fresh process in which the package is its two lowest rooms and `proofs` only."""
    path = tmp_path / "p.json"
    gf.certify(trained).save(path)
    home = Path(gf.__file__).parent
    program = f"""
import sys, types
package = types.ModuleType("gradflow")
package.__path__ = [{str(home)!r}]
sys.modules["gradflow"] = package
from gradflow.proofs.verify import verify_proof
found = verify_proof({str(path)!r})
heavy = [name for name in sys.modules if name.split(".")[0] in ("numba", "jax", "scipy", "diffrax")]
light = ("proofs", "support", "_version")
heavy += [n for n in sys.modules if n.startswith("gradflow.") and n.split(".")[1] not in light]
print(found.holds, found.proof.index, heavy)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "0", "[]"]


def test_scaling_of_relu_is_divided_out(relu_trained):
    result = relu_trained
    proof = gf.certify(result)
    assert proof.exists and proof.index == 0 and proof.is_minimum
    assert len(proof.gauges) == 4 and all("positive scaling" in why for _, why in proof.gauges)
    assert proof.dimension == result.spectrum().zero
    # the same point on another place of its orbit
    W, a = result.student.weights
    scales = np.array([[2.0], [0.5], [4.0], [1.0]])
    other = gf.MLP([scales * W, a / scales.T], None, "relu")
    moved = gf.certify(result.problem, other.flat())
    assert moved.exists and moved.index == 0
    assert moved.loss[0] <= proof.loss[1] and proof.loss[0] <= moved.loss[1]
    assert gf.verify_proof(moved)


@pytest.mark.parametrize("exponent", [4, 16])
def test_far_out_on_the_orbit_of_the_scales(relu_trained, exponent):
    """The test is done in units of each neuron: κ and Newton's step are those of the balanced network."""
    W, a = relu_trained.student.weights
    scales = np.array([2.0**exponent, 1.0, 1.0, 2.0**-exponent])[:, None]
    proof = gf.certify(relu_trained.problem, gf.MLP([W * scales, a / scales.T], None, "relu").flat())
    balanced = gf.certify(relu_trained)
    assert proof.exists and proof.index == 0
    assert proof.contraction == pytest.approx(balanced.contraction, rel=1e-6)
    assert proof.step == pytest.approx(balanced.step, rel=1e-6)


def test_more_bits_where_they_are_needed():
    """Two teachers at 0.01: the smallest eigenvalue of the copies is 1e-14."""
    directions = np.array([[1.0, 0.0, 0.0], [np.cos(0.01), np.sin(0.01), 0.0], [0.0, 0.0, 1.0]])
    teacher = gf.MLP([directions, np.ones((1, 3))], None, "erf")
    problem = gf.Problem(teacher, teacher)
    theta = teacher.flat() + 1e-9
    low = prove(setting_of(problem), theta.tolist(), precisions=(64,), within=1e-2)
    high = prove(setting_of(problem), theta.tolist(), precisions=(64, 128, 256), within=1e-2)
    assert not low.exists and low.reason
    assert high.exists and high.bits > 64 and high.index == 0
    assert high.loss[0] == 0.0 and high.loss[1] < 1e-30


def test_frozen_output_weights():
    """Minima of Safran & Shamir: the full network against the same point within its ansatz."""
    point = standing("together", 7, 6)
    student, teacher = point.ansatz.student(point.x), point.ansatz.teacher()
    rates = np.ones(student.size)
    rates[49:] = 0.0
    full = gf.certify(gf.Problem(teacher, student), student.flat(), rates=rates)
    small = gf.certify(point)
    assert full.exists and small.exists and full.index == small.index == 0
    assert small.kind == "ansatz" and len(full.free) == 49
    assert max(full.loss[0], small.loss[0]) <= min(full.loss[1], small.loss[1])
    assert point.loss_digits[:16] in (small.loss_text[1:17], full.loss_text[1:17])
    assert gf.verify_proof(full) and gf.verify_proof(small)


@pytest.mark.parametrize(
    "kind, k, m", [("apart", 6, 2), ("together", 6, 5), ("together", 6, 4), ("apart", 8, 2)]
)
def test_index_by_representations_is_that_of_the_full_hessian(kind, k, m):
    point = standing(kind, k, m)
    student, teacher = point.ansatz.student(point.x), point.ansatz.teacher()
    rates = np.ones(student.size)
    rates[k * k :] = 0.0
    proof = gf.certify(point)
    full = gf.certify(gf.Problem(teacher, student), student.flat(), rates=rates)
    assert proof.exists and full.exists
    assert proof.index == full.index == point.spectrum.index
    assert sum(m * n for _, m, n in proof.blocks) == proof.index


def test_ansatz_of_a_run(trained, relu_trained):
    for result in (trained, relu_trained):
        ansatz, x = landscape.find_ansatz(result)
        proof = gf.certify(landscape.symmetric_point(ansatz, x))
        assert proof.exists and proof.index == result.spectrum().negative
        assert proof.dimension == result.spectrum().zero
        assert "symmetric criticality" in proof.statement
        assert gf.verify_proof(proof)


def test_large_width_within_an_ansatz():
    from gradflow.theory.copy_average.configurations import follow

    proof = gf.certify(follow([60], 100)[0])
    assert proof.exists and proof.index == 0
    assert sum(m for _, m, _ in proof.blocks) > 1000
    assert gf.verify_proof(proof)


@pytest.mark.parametrize(
    "inputs",
    [
        None,
        gf.Gaussian(cov=[[1.0, 0.3, 0.0], [0.3, 2.0, 0.1], [0.0, 0.1, 0.7]]),
        gf.Gaussian(mean=[0.2, -0.1, 0.4]),
    ],
)
def test_general_teachers_and_laws(inputs):
    teacher = gf.MLP.random((3, 4, 2), "erf", True, seed=11, init="normal")
    student = gf.MLP.random((3, 2, 2), "erf", True, seed=1)
    result = gf.train(teacher, student, inputs, progress=False)
    proof = gf.certify(result)
    assert proof.exists and proof.index == result.spectrum().negative
    assert gf.verify_proof(proof)


def test_relu_of_several_outputs():
    teacher = gf.MLP.random((4, 5, 2), "relu", False, seed=3, init="normal")
    student = gf.MLP.random((4, 2, 2), "relu", [False, True], seed=1)
    result = gf.train(teacher, student, progress=False)
    proof = gf.certify(result)
    assert proof.exists and proof.index == result.spectrum().negative
    assert proof.dimension == 2


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus", "erf", "g"])
def test_empirical_losses(activation, rng):
    X = rng.standard_normal((300, 2))
    teacher = gf.MLP.random((2, 2, 1), activation, True, seed=5, init="normal")
    Y = teacher(X) + 0.1 * rng.standard_normal((300, 1))
    result = gf.train(Y, teacher, X, progress=False)
    proof = gf.certify(result)
    assert proof.exists and proof.index == result.spectrum().negative
    assert proof.loss[0] * (1 - 1e-13) <= result.loss <= proof.loss[1] * (1 + 1e-13)
    assert gf.verify_proof(proof)


# --- a loss of zero -----------------------------------------------------------------------------------


@pytest.mark.parametrize("activation, dimension", [("erf", 0), ("relu", 3)])
def test_exact_copies(activation, dimension):
    teacher = gf.teachers.orthonormal(3, 4, activation)
    W = teacher.weights[0][[2, 0, 1]] + 1e-12
    student = gf.MLP([W, np.ones((1, 3))], None, activation)
    proof = gf.certify(gf.Problem(teacher, student), student.flat())
    assert proof.kind == "zero loss" and proof.exists and proof.loss == (0.0, 0.0)
    assert proof.dimension == dimension and proof.undecided == 0
    assert 1e-12 <= proof.radius < 2e-12
    assert gf.verify_proof(proof)


@pytest.mark.parametrize("seed, dimension", [(0, 5), (2, 8), (3, 8)])
def test_manifolds_of_wide_students(seed, dimension):
    teacher = gf.teachers.orthonormal(3, 4)
    result = gf.train(teacher, gf.MLP.random((4, 5, 1), "erf", False, seed=seed), progress=False)
    proof = gf.certify(result)
    assert proof.exists and proof.kind == "zero loss"
    assert proof.dimension == dimension == result.spectrum().zero
    assert "manifold of dimension" in proof.statement
    assert gf.verify_proof(proof)


def test_copies_that_a_flow_reaches_at_fourth_order_only():
    teacher = gf.teachers.orthonormal(4, 5)
    result = gf.train(teacher, gf.MLP.random((5, 5, 1), "erf", False, seed=0), progress=False)
    proof = gf.certify(result)
    assert proof.exists and proof.kind == "zero loss" and 1e-5 < proof.radius < 1e-3
    assert proof.dimension == 1 and proof.undecided == 5 and proof.signs == (0, 24)
    assert gf.verify_proof(proof)


def test_two_copies_of_one_teacher_are_not_overclaimed(tmp_path):
    teacher = gf.teachers.orthonormal(2, 2)
    W = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    student = gf.MLP([W, np.array([[0.25, 0.75, 1.0]])], None, "erf")
    proof = gf.certify(gf.Problem(teacher, student), student.flat())
    assert proof.exists and proof.dimension == 1 and proof.undecided == 2
    assert "not decided" in proof.statement
    proof.save(tmp_path / "p.json")
    assert gf.verify_proof(tmp_path / "p.json")


# --- families: copies, silent neurons, rotations ----------------------------------------------------------


def _split(student, shares, activation, scale=1.0):
    """The student with a copy of its first neuron, `scale` times as long, and its output shared out."""
    W, a = student.weights
    rows = np.vstack([W, scale * W[:1]])
    outputs = np.concatenate([a[0], [0.0]])
    outputs[0], outputs[-1] = shares[0], shares[1] / scale
    return gf.MLP([rows, outputs[None]], None, activation)


@pytest.mark.parametrize("shares", [(1.5, 0.5), (2.5, -0.5)])
def test_copies_of_a_neuron(shares):
    """The index of a split neuron, by the full Hessian in Float64; zero ones stay undecided."""
    problem, theta = _bucket((2, 3))
    student = _split(problem.student.with_flat(theta), shares, "erf")
    wide = gf.Problem(problem.teacher, student)
    values = np.linalg.eigvalsh(wide.hessian(student.flat()))
    proof = gf.certify(wide, student.flat())
    assert proof.exists and proof.kind == "family" and proof.dimension == 1
    assert proof.signs[0] == (values < -1e-12).sum()
    # five more zero eigenvalues: a copy-average point has no curvature E r σ'' x xᵀ in those directions
    assert proof.undecided == (abs(values) < 1e-12).sum() - 1 == 5
    assert proof.index is None and proof.is_minimum is False and "may be zero" in proof.statement
    assert gf.verify_proof(proof)


@pytest.mark.parametrize("shares", [(-1.0, 1.0), (1.0, -0.5)])
def test_copies_of_a_relu_neuron(relu_trained, shares):
    student = relu_trained.student
    a = student.weights[1][0, 0]
    wide = _split(student, (a - shares[1], shares[1]), "relu", scale=2.0)
    problem = gf.Problem(relu_trained.problem.teacher, wide)
    values = np.linalg.eigvalsh(problem.hessian(wide.flat()))
    proof = gf.certify(problem, wide.flat())
    assert proof.exists and proof.kind == "family"
    assert proof.dimension == 4 + 2 == (abs(values) < 1e-12).sum()
    assert proof.index == (values < -1e-12).sum()
    assert gf.verify_proof(proof)


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_copies_with_several_outputs(activation):
    """a_i parallel to their sum: a family of one dimension; a_i that are not: not critical, not proved."""
    teacher = gf.MLP.random((3, 4, 2), activation, False, seed=3, init="normal")
    result = gf.train(teacher, gf.MLP.random((3, 2, 2), activation, False, seed=1), progress=False)
    W, A = result.student.weights
    rows = np.vstack([W, W[:1]])
    parallel = np.column_stack([0.75 * A[:, 0], A[:, 1], 0.25 * A[:, 0]])
    student = gf.MLP([rows, parallel], None, activation)
    problem = gf.Problem(teacher, student)
    values = np.linalg.eigvalsh(problem.hessian(student.flat()))
    proof = gf.certify(problem, student.flat())
    assert proof.exists and proof.kind == "family"
    assert proof.dimension == (1 if activation == "erf" else 1 + 3)
    assert proof.signs[0] == (values < -1e-11).sum()
    assert proof.dimension + proof.undecided == (abs(values) < 1e-11).sum()
    assert gf.verify_proof(proof)
    shift = 0.1 * np.array([A[1, 0], -A[0, 0]])
    askew = gf.MLP([rows, parallel + np.column_stack([shift, 0 * shift, -shift])], None, activation)
    assert np.abs(problem.gradient(askew.flat())).max() > 1e-6
    assert not gf.certify(problem, askew.flat()).exists


def test_all_neurons_silent():
    """f = 0, each w on the hypersurface E σ(w·x) f* = 0: as many negative eigenvalues as neurons."""
    teacher = gf.teachers.orthonormal(3, 3)
    student = gf.MLP([[[1.0, -1.0, 0.0], [0.0, 0.5, -0.5]], [[0.0, 0.0]]], None, "erf")
    problem = gf.Problem(teacher, student)
    values = np.linalg.eigvalsh(problem.hessian(student.flat()))
    proof = gf.certify(problem, student.flat())
    assert proof.exists and proof.dimension == 4 and proof.index == (values < -1e-12).sum() == 2
    assert proof.loss[0] <= 1.0 <= proof.loss[1]  # E f*² = 3 (2/π) asin(1/2)
    assert gf.verify_proof(proof)


def test_a_silent_neuron():
    """a = 0 and w on the hypersurface E r σ(w·x) = 0: five dimensions, and a pair of signs more."""
    problem, theta = _bucket((2, 3))
    W, a = problem.student.with_flat(theta).weights
    w = np.array([1.0, -1.0, 0.3, -0.3, 0.0, 0.2])
    student = gf.MLP([np.vstack([W, w]), np.append(a[0], 0.0)[None]], None, "erf")
    wide = gf.Problem(problem.teacher, student)
    values = np.linalg.eigvalsh(wide.hessian(student.flat()))
    proof = gf.certify(wide, student.flat())
    assert proof.exists and proof.kind == "family" and proof.dimension == 5
    assert proof.index == (values < -1e-12).sum() == closed_index((2, 3)) + 1
    assert gf.verify_proof(proof)
    far = student.flat()
    far[12:18] += 1e-3  # beside the hypersurface
    assert not gf.certify(wide, far).exists


@pytest.mark.parametrize("turned", [False, True])
def test_rotations_out_of_the_span(turned):
    """Three ReLU neurons that leave the span of two teachers in four dimensions."""
    teacher = gf.teachers.orthonormal(2, 4, "relu", seed=3 if turned else None)
    refiner = gf.refiners.TrustRegionNewton(target="critical point", max_iterations=300)
    student = gf.MLP.random((4, 3, 1), "relu", False, seed=6, init="normal")
    if turned:  # the same start in the coordinates of the turned teachers
        basis = np.linalg.svd(teacher.weights[0])[2][2:]
        frame = np.vstack([teacher.weights[0], basis])
        student = gf.MLP([student.weights[0] @ frame, student.weights[1]], None, "relu")
    result = gf.train(teacher, student, solver=None, refiner=refiner, progress=False)
    proof = gf.certify(result)
    assert proof.exists and proof.index == result.spectrum().negative == 2
    assert proof.dimension == result.spectrum().zero == 4
    assert sum("rotations" in why for _, why in proof.gauges) == 1
    assert gf.verify_proof(proof)


# --- what must not be proved --------------------------------------------------------------------------


def test_a_perturbed_point_is_not_proved(trained):
    for size in (1e-6, 1e-3):
        theta = trained.theta + size * np.cos(np.arange(trained.theta.size))
        proof = gf.certify(trained.problem, theta)
        assert not proof.exists and not proof and proof.index is None and proof.reason
        assert "Nothing is proved" in proof.statement
        assert not gf.verify_proof(proof)


def test_a_point_beside_a_saddle_is_not_proved():
    problem, theta = _bucket((2, 2))
    values, vectors = np.linalg.eigh(problem.hessian(theta))
    assert values[0] < 0
    for direction in vectors[:, 0], vectors[:, -1]:
        proof = gf.certify(problem, theta + 1e-4 * direction)
        assert not proof.exists
    far = gf.certify(problem, theta + 1e-4 * vectors[:, 0], within=1e-2)
    assert (
        far.exists and far.index == closed_index((2, 2)) and far.radius > 5e-5
    )  # a theorem about the saddle


@pytest.mark.parametrize("constant", [1e-9, 1e-3])
def test_a_wrong_constant_does_not_certify(constant, monkeypatch, trained):
    right = gf.certify(trained)

    def wrong(x, s, t, q, second=True):
        pair = erf_pair(x, s, t, q, second)
        return pair._replace(q=pair.q * (1 + constant))

    erf_pair = population.erf_pair
    monkeypatch.setattr(population, "erf_pair", wrong)
    proof = gf.certify(trained)
    assert not proof.exists and "kernels" in proof.reason
    assert not gf.verify_proof(right)


def test_a_point_that_is_not_isolated_is_not_proved():
    """One neuron of weight a = 0: critical on a hypersurface of w."""
    teacher = gf.teachers.orthonormal(3, 3)
    problem = gf.Problem(teacher, gf.MLP.random((3, 1, 1), bias=False, seed=0))
    theta = np.array([1.0, -1.0, 0.0, 0.0])  # E σ(w·x) f* = 0 by symmetry
    assert np.abs(problem.gradient(theta)).max() < 1e-15
    proof = prove(setting_of(problem), theta.tolist())
    assert not proof.exists and proof.undecided >= 1 and proof.contraction >= 1.0


def test_claims_that_are_too_strong_do_not_verify(trained):
    proof = gf.certify(trained)
    for change in (
        {"radius": proof.radius / 10},
        {"unique_radius": 2 * proof.unique_radius},
        {"index": 1},
        {"loss": (proof.loss[1], proof.loss[1])},
        {"loss": (0.0, proof.loss[0])},
    ):
        assert not gf.verify_proof(dataclasses.replace(proof, **change)), change
    theta = list(proof.theta)
    theta[3] = (float.fromhex(theta[3]) + 1e-6).hex()
    assert not gf.verify_proof(dataclasses.replace(proof, theta=tuple(theta)))


# --- random saddles -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "activation, bias, sizes, width, seeds",
    [
        ("erf", False, (4, 3, 1), 3, range(8)),
        ("relu", False, (4, 3, 1), 3, range(13, 24)),
        ("relu", [False, True], (3, 3, 2), 4, (0, 5, 11, 14, 17, 27, 36)),
        ("erf", True, (3, 2, 2), 3, range(11)),
        ("erf", [False, True], (4, 3, 1), 5, range(4)),
    ],
)
def test_random_saddles(activation, bias, sizes, width, seeds):
    """Where Newton's method ends from random starts: many copies and silent neurons. No index is wrong."""
    refiner = gf.refiners.TrustRegionNewton(target="critical point", max_iterations=200)
    proved = 0
    for seed in seeds:
        teacher = gf.MLP.random(
            (sizes[0], width, sizes[2]), activation, bias, seed=1000 + seed, init="normal"
        )
        start = gf.MLP.random(sizes, activation, bias, seed=seed, init="normal")
        result = gf.train(teacher, start, solver=None, refiner=refiner, progress=False)
        if not result.converged:
            continue
        proof = gf.certify(result)
        if not proof.exists:
            assert proof.reason
            continue
        assert gf.verify_proof(proof)
        assert proof.loss[0] - 1e-12 <= result.loss <= proof.loss[1] + 1e-12
        if proof.radius < 1e-12:  # else the Float64 spectrum is that of another point
            proved += 1
            assert proof.index == result.spectrum().negative
            assert proof.dimension == result.spectrum().zero
    assert proved


# --- two points -----------------------------------------------------------------------------------------


def test_distinct_points(trained):
    one, other = gf.certify(*_bucket((1, 3))), gf.certify(_bucket((1, 3))[0], _bucket((2, 2))[1])
    found = proofs.distinct(one, other)
    assert found and found.up_to == "every symmetry of the problem"
    student = trained.student
    order = [2, 0, 1]
    same = gf.MLP([-student.weights[0][order], -student.weights[1][:, order]], None, "erf")
    image = gf.certify(trained.problem, same.flat())
    assert image.exists and not proofs.distinct(gf.certify(trained), image)
    # teachers exchanged: an image under a symmetry of the problem, another network
    columns = np.arange(7)
    columns[[0, 5]] = 5, 0
    moved = gf.MLP([student.weights[0][:, columns], student.weights[1]], None, "erf")
    found = proofs.distinct(gf.certify(trained), gf.certify(trained.problem, moved.flat()))
    assert found.up_to in ("", "the network's symmetries")
    with pytest.raises(gf.ArgumentError, match="another problem"):
        proofs.distinct(one, image)
    with pytest.raises(gf.ArgumentError, match="no proof"):
        proofs.distinct(one, gf.certify(trained.problem, trained.theta + 0.1))


# --- bad input --------------------------------------------------------------------------------------------


def test_bad_input(trained, rng):
    X = rng.standard_normal((20, 3))
    kinked = gf.Problem(np.ones((20, 1)), gf.MLP.random((3, 2, 1), "relu", seed=0), X)
    with pytest.raises(gf.ArgumentError, match="relu with samples; allowed: there one of erf, g, sigmoid"):
        gf.certify(kinked, kinked.theta0)
    with pytest.raises(gf.ArgumentError, match="theta"):
        gf.certify(trained.problem)
    with pytest.raises(gf.ArgumentError, match="shape"):
        gf.certify(trained.problem, np.ones(3))
    with pytest.raises(gf.ArgumentError, match="a Result, a Problem"):
        gf.certify("p.json")
    with pytest.raises(gf.ArgumentError, match="within"):
        gf.certify(trained, within=-1.0)
    with pytest.raises(gf.ArgumentError, match="precisions"):
        gf.certify(trained, precisions=[10])
    with pytest.raises(gf.ArgumentError, match="Result alone"):
        gf.certify(trained, trained.theta)
    with pytest.raises(gf.ArgumentError, match="JAX"):
        gf.certify(gf.Problem.from_jax(lambda t: (t**2).sum(), np.ones(2)), np.ones(2))
    biased = gf.MLP.random((3, 2, 1), "relu", True, seed=0)
    with pytest.raises(gf.ArgumentError, match="hidden biases"):
        gf.certify(gf.Problem(biased, biased), biased.flat())
    tanh = gf.MLP.random((3, 2, 1), "tanh", False, seed=0)
    with pytest.raises(gf.ArgumentError, match="infinitely many"):
        gf.certify(gf.Problem(tanh, tanh), tanh.flat())
    deep = gf.MLP.random((3, 2, 2, 1), "tanh", False, seed=0)
    with pytest.raises(gf.ArgumentError, match="one hidden layer"):
        gf.certify(gf.Problem(np.ones((20, 1)), deep, X), deep.flat())
    with pytest.raises(gf.ArgumentError, match="proof"):
        gf.verify_proof(3)


def test_a_relu_neuron_of_weight_zero():
    teacher = gf.teachers.orthonormal(2, 3, "relu")
    student = gf.MLP([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[1.0, 1.0]]], None, "relu")
    proof = gf.certify(gf.Problem(teacher, student), student.flat())
    assert not proof.exists and "weight zero" in proof.reason


def test_a_run_that_did_not_converge():
    teacher = gf.teachers.orthonormal(4, 5)
    student = gf.MLP.random((5, 2, 1), bias=False, seed=0)
    short = gf.train(teacher, student, solver=gf.solvers.KenCarp58(max_steps=3), refiner=None, progress=False)
    with pytest.raises(gf.ArgumentError, match="has not converged .*allowed: a converged one"):
        gf.certify(short)
    assert not gf.certify(short.problem, short.theta).exists


def test_files(trained, tmp_path):
    path = tmp_path / "p.json"
    with pytest.raises(gf.StorageError, match="cannot be read"):
        gf.verify_proof(path)
    path.write_text("{}")
    with pytest.raises(gf.StorageError, match="not a 'gradflow proof'"):
        gf.verify_proof(path)
    gf.certify(trained).save(path)
    document = json.loads(path.read_text())
    for broken in (
        document | {"schema": 99}, {k: v for k, v in document.items() if k != "loss"},
        document | {"problem": {"kind": "cake"}}, document | {"problem": {"kind": "population"}},
        document | {"radius": "much"},
    ):  # fmt: skip
        path.write_text(json.dumps(broken))
        with pytest.raises(gf.StorageError):
            gf.verify_proof(path)
    path.write_text("not json")
    with pytest.raises(gf.StorageError, match="complete"):
        gf.verify_proof(path)


def test_without_flint():
    program = (
        "import sys; sys.modules['flint'] = None\n"
        "import gradflow as gf\n"
        "try: gf.certify\n"
        "except gf.MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "gradflow[prove]" in done.stdout
