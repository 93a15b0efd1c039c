"""Spectra at points: against dense Hessians, with the zeros that symmetry explains told apart."""

import dataclasses

import numpy as np
import pytest

import gradflow as gf
from gradflow import landscape


def test_spectrum_groups_eigenvalues_and_tells_symmetry_apart(trained):
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


def test_spectrum_at_saddles_and_degenerate_points(at):
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


def exactly(problem, rates=None):
    """A `Result` whose end point is the problem's starting point, critical or not."""
    refiner = gf.refiners.TrustRegionNewton(target="critical point", max_iterations=1)
    result = gf.train(problem, solver=None, refiner=refiner, progress=False, rates=rates)
    return dataclasses.replace(result, theta=problem.theta0.copy())


def minimum(*args, **settings):
    """The end of a refinement, converged."""
    result = gf.train(gf.Problem(*args, **settings), solver=None, progress=False)
    assert result.converged
    return result


def random(sizes, activation, bias=False, seed=0, **settings):
    return gf.MLP.random(sizes, activation, bias, seed=seed, **settings)


def draw(*shape):
    return np.random.default_rng(5).standard_normal(shape)


def teacher_of(activation, outputs, bias=False):
    return random((5, 3, outputs), activation, bias, seed=2, init="normal")


def split():
    """A critical student of two outputs with its one neuron split: a_1 ∥ a_2, so one shift and not two."""
    net = minimum(teacher_of("erf", 2), random((5, 1, 2), "erf", seed=0)).student
    A = net.weights[1]
    both = gf.MLP([np.repeat(net.weights[0], 2, axis=0), np.column_stack([0.3 * A, 0.7 * A])], None, "erf")
    return exactly(gf.Problem(teacher_of("erf", 2), both))


def saddle(law):
    """a = 0 and C^{1/2} w at right angles to the teacher's."""
    student = gf.MLP([0.7 * np.eye(5)[[2]], [[0.0]]], None, "erf")
    return exactly(gf.Problem(gf.teachers.orthonormal(1, 5), student, law))


X = draw(40, 4)
WIDE = np.column_stack([X, X[:, 0] - X[:, 1], np.ones(40)])
FLAT = np.diag([1.0, 1.0, 1.0, 0.0])
ASLEEP = gf.MLP([np.vstack([draw(2, 4), np.eye(4)[3:]]), np.ones((1, 3))], [[0, 0, -30.0], [0.0]], "relu")
DEEP = gf.MLP([draw(3, 4), draw(2, 3), draw(1, 2)], None, "relu")


def itself(student, inputs, **settings):
    """A student that is its own teacher: L = 0."""
    return exactly(gf.Problem(student, student, inputs, **settings))


# A point, the number of zeros by symmetry and that of other zeros.
ZEROS = {
    "no group at a = w = 0": (lambda: exactly(gf.Problem(gf.teachers.orthonormal(2, 4), gf.MLP(
        [np.eye(2, 4) * [[1.0], [0.0]], [[1.0, 0.0]]], None, "erf"))), 0, 3),
    "mirrored duplicates": (lambda: exactly(gf.Problem(gf.teachers.orthonormal(2, 4), gf.MLP(
        [np.eye(4)[[0, 0, 1]] * [[1.0], [-1.0], [1.0]], [[0.4, -0.6, 1.0]]], None, "erf"))), 1, 4),
    "split, two outputs": (split, 1, 2),
    "relu, two outputs": (lambda: minimum(teacher_of("relu", 2), random((5, 2, 2), "relu", seed=3)), 2, 0),
    "relu, biases": (lambda: minimum(teacher_of("relu", 1, True), random((5, 2, 1), "relu", True, 4)), 2, 0),
    # GL(3) and one direction of the inputs that neither network has.
    "identity": (lambda: minimum(gf.MLP([np.eye(2, 5), np.diag([2.0, 1.0])], None, "identity"),
                                 random((5, 3, 2), "identity")), 11, 0),
    "square": (lambda: minimum(gf.MLP([np.eye(3, 5), [[1.0, -1.0, 0.5]]], None, "square"),
                               random((5, 2, 1), "square")), 3, 0),
    "saddle": (lambda: saddle(None), 3, 1),
    "saddle, anisotropic": (lambda: saddle(gf.Gaussian(cov=np.diag([1.0, 2, 3, 4, 5]))), 3, 1),
    "saddle, mean": (lambda: saddle(gf.Gaussian(np.array([0.3, 0.2, 0, 0, 0.5]), np.eye(5))), 2, 2),
    "saddle, mixture": (
        lambda: saddle(gf.Mixture([gf.Gaussian(cov=c * np.eye(5)) for c in (1.0, 4.0)])), 3, 1),
    "dependent features": (lambda: itself(random((6, 2, 1), "tanh", True), WIDE), 4, 0),
    "fewer samples than features": (lambda: itself(random((6, 2, 1), "softplus", True), draw(3, 6)), 8, 6),
    "flat covariance": (lambda: minimum(gf.teachers.orthonormal(3, 4), random((4, 2, 1), "erf", True),
                                        gf.Gaussian([0.1, 0.2, 0.3, 0.4], FLAT)), 2, 0),
    # Two scalings, and all six parameters of the neuron that is asleep.
    "asleep": (lambda: itself(ASLEEP, X), 8, 0),
    # Five scalings, and the three parameters besides of a neuron of the second layer that is asleep.
    "two hidden layers": (lambda: itself(DEEP, X), 8, 0),
    "barrier, far": (lambda: itself(random((4, 2, 1), "relu"), X, barrier=1e3), 2, 0),
    "barrier, felt": (lambda: minimum(draw(40, 1), random((4, 2, 1), "square"), X, barrier=1e-3), 0, 0),
    "weight decay": (lambda: minimum(draw(40, 1), random((4, 2, 1), "square"), X, weight_decay=0.1), 0, None),
}  # fmt: skip


@pytest.mark.parametrize("name", ZEROS)
def test_zeros_by_symmetry_are_zeros_of_the_dense_hessian(name):
    point, symmetry, others = ZEROS[name]
    result = point()
    found, dense = landscape.spectrum(result), np.linalg.eigvalsh(result.hessian())
    scale = np.abs(dense).max()
    assert found.symmetry_zeros == symmetry and found.symmetry_error <= 1e-13
    assert others is None or found.other_zeros == others
    assert np.abs(found.eigenvalues - dense).max() <= 1e-13 * scale
    negative = (dense < -1e-11 * scale).sum()
    critical = np.abs(result.problem.gradient(result.theta)).max() <= 1e-10
    assert found.negative == negative and found.index == (negative if critical else None)
    assert found.symmetry_zeros + found.other_zeros == (np.abs(dense) <= 1e-11 * scale).sum()


def test_cross_entropy_does_not_see_a_constant_in_all_outputs():
    labels = np.random.default_rng(3).integers(0, 3, 40)
    problem = gf.Problem(labels, random((4, 2, 3), "tanh", True), X, loss="cross_entropy", weight_decay=0.0)
    found = landscape.spectrum(exactly(problem))
    assert (
        found.symmetry_zeros == 3 and found.symmetry_error <= 1e-14
    )  # a column of each neuron, and the bias


def test_away_from_critical_points_symmetry_makes_no_zeros():
    problem = gf.Problem(teacher_of("relu", 1), random((5, 2, 1), "relu", seed=1))
    result = exactly(problem)
    found, dense = landscape.spectrum(result), np.linalg.eigvalsh(result.hessian())
    assert found.symmetry_zeros == 0
    assert np.abs(found.eigenvalues - dense).max() <= 1e-14 * np.abs(dense).max()


def test_problems_without_a_network():
    problem = gf.Problem.from_jax(lambda t: (t[0] * t[1] - 1) ** 2 + t[2] ** 2, np.array([1.0, 2.0, 0.1]))
    found = landscape.spectrum(gf.train(problem, solver=None, progress=False))
    assert (found.index, found.symmetry_zeros, found.other_zeros) == (0, 0, 1) and found.reduced_dim is None


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("result", lambda: landscape.spectrum(random((2, 2, 1), "erf"))),
        ("tolerance", lambda: landscape.spectrum(saddle(None), -1.0)),
    ],
)
def test_bad_arguments(argument, call):
    with pytest.raises(gf.ArgumentError, match=f"^{argument}: "):
        call()
