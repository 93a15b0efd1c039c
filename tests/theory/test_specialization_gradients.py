"""Lemma 1, Theorem 1, weight norms and Theorem 6 of Tian 2020, each also with its claim broken on purpose."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow.theory.specialization import gradients, norms, spherical


@pytest.fixture
def pair():
    return gradients.deep_pair(4, 2)


def test_lemma_1_and_a_wrong_recursion(pair, rng):
    X = rng.standard_normal((3, 4))

    def wrong(student, teacher, x):
        return [g * (1 + 1e-9) for g in gradients.recursion(student, teacher, x)]

    assert gradients.lemma_1(*pair, X).holds
    assert not gradients.lemma_1(*pair, X, recursion=wrong).holds


def test_theorem_1_fails_at_a_point_that_is_not_critical(pair, rng):
    X = rng.standard_normal((3, 4))
    critical = gradients.overrealised(pair[1], 2, rng)
    moved = critical.flat() + 1e-6
    assert gradients.theorem_1(*pair, X, critical).holds
    assert not gradients.theorem_1(*pair, X, critical.with_flat(moved)).holds


def test_overrealised_students_compute_the_teacher(rng):
    teacher = gf.teachers.random((3, 4, 2, 2), "relu", seed=0)
    student = gradients.overrealised(teacher, 5, rng)
    assert student.sizes == (3, 21, 11, 2)
    X = rng.standard_normal((50, 3))
    np.testing.assert_allclose(student(X), teacher(X), atol=1e-12)


def test_critical_without_biases_and_with_an_open_layer(rng):
    teacher, X = gf.MLP.random((3, 4, 4, 2), "relu", False, seed=0), np.abs(rng.standard_normal((10, 3)))
    assert gradients.without_biases(teacher, X).holds
    assert not gradients.without_biases(teacher, X, lift=1.0).holds


@pytest.mark.parametrize("hidden", [(2,), (2, 3), (4, 3, 2, 3, 4)])
def test_lemma_1_at_every_depth(hidden, rng):
    student, teacher = gradients.deep_pair(7, 3, hidden)
    assert student.sizes == (4, *(width + 3 for width in hidden), 3)
    assert gradients.lemma_1(student, teacher, rng.standard_normal((2, 4))).holds


def test_weight_norms_move_for_erf(rng):
    X = rng.standard_normal((20, 4))
    student, teacher = gradients.deep_pair(6, 1)
    assert norms.norm_velocities(student, teacher, X).holds
    smooth = [gf.MLP(net.weights, net.biases, "softplus") for net in (student, teacher)]
    assert not norms.norm_velocities(*smooth, X).holds
    assert not norms.conserved_norms("erf", (1.0, 1.0, 1.0), t1=1.0).holds


def test_weight_norms_with_biases_and_rates_need_the_right_rates():
    assert norms.conserved_norms("relu", (1.0, 2.0, 0.3), bias=True, t1=1.0).holds
    assert not norms.conserved_norms(
        "relu", (1.0, 2.0, 0.3), bias=True, t1=1.0, claimed=(1.0, 1.0, 0.3)
    ).holds


def test_theorem_6_against_mpmath(rng):
    """∫ over the plane at 30 digits, for a Gaussian in two dimensions."""
    w, gate = rng.standard_normal((2, 2))
    turn = float(np.arctan2(gate[1], gate[0]))
    with mpmath.workdps(30):
        for axis in range(2):

            def integrand(phi, axis=axis):
                x = (mpmath.cos(phi), mpmath.sin(phi))
                return max(w[0] * x[0] + w[1] * x[1], 0) * x[axis]

            start = float(np.arctan2(w[1], w[0])) - np.pi / 2
            edges = sorted({turn - np.pi / 2, turn + np.pi / 2, *(
                e for e in (start - 2 * np.pi, start, start + np.pi, start - np.pi, start + 2 * np.pi)
                if turn - np.pi / 2 < e < turn + np.pi / 2)})  # fmt: skip
            # E r² = 2 for two dimensions, the angle is uniform.
            expected = 2 * mpmath.quad(integrand, edges) / (2 * mpmath.pi)
            assert abs(spherical.pull(w, gate)[axis] - float(expected)) < 1e-14


@pytest.mark.parametrize("law", list(spherical.LAWS))
@pytest.mark.parametrize("dim", [2, 50])
def test_radial_moments(law, dim):
    assert abs(spherical.radial_moment(law, dim) / spherical.second_moment(law, dim) - 1) < 1e-15


def test_theorem_6_with_a_wrong_constant_or_law():
    assert spherical.theorem_6(5, 3).holds
    wrong = lambda w, gate, moment: spherical.pull(w, gate, moment) * (1 + 1e-12)  # noqa: E731
    assert not spherical.theorem_6(5, 3, pull=wrong).holds
    assert spherical.theorem_6_sampled("student-t", 4, 100_000).holds
    assert not spherical.theorem_6_sampled("sphere", 4, 100_000, stretch=1.3).holds


@pytest.mark.parametrize("law", ["gaussian", "sphere", "ball", "student-t"])
def test_second_moments(law, rng):
    X = spherical.LAWS[law].sample(200_000, 3, rng)
    squares = np.square(X).sum(axis=1) / 3
    error = squares.std() / np.sqrt(squares.size) + 1e-12
    assert abs(squares.mean() - spherical.second_moment(law, 3)) < 5 * error
