"""Lemma 1, Theorem 1, weight norms and Theorem 6 of Tian 2020."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow.theory.specialization import gradients, norms, spherical


def test_overrealised_students_compute_the_teacher(rng):
    teacher = gf.teachers.random((3, 4, 2, 2), "relu", seed=0)
    student = gradients.overrealised(teacher, 5, rng)
    assert student.sizes == (3, 21, 11, 2)
    X = rng.standard_normal((50, 3))
    np.testing.assert_allclose(student(X), teacher(X), atol=1e-12)


@pytest.mark.parametrize("hidden", [(2,), (2, 3), (4, 3, 2, 3, 4)])
def test_lemma_1_at_every_depth(hidden, rng):
    student, teacher = gradients.deep_pair(7, 3, hidden)
    assert student.sizes == (4, *(width + 3 for width in hidden), 3)
    assert gradients.lemma_1(student, teacher, rng.standard_normal((2, 4))).holds


def test_weight_norms_with_biases_and_rates():
    assert norms.conserved_norms("relu", (1.0, 2.0, 0.3), bias=True, t1=1.0).holds


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


def test_theorem_6_in_other_dimensions():
    assert spherical.theorem_6(5, 3).holds
    assert spherical.theorem_6_sampled("student-t", 4, 100_000).holds


@pytest.mark.parametrize("law", ["gaussian", "sphere", "ball", "student-t"])
def test_second_moments(law, rng):
    X = spherical.LAWS[law].sample(200_000, 3, rng)
    squares = np.square(X).sum(axis=1) / 3
    error = squares.std() / np.sqrt(squares.size) + 1e-12
    assert abs(squares.mean() - spherical.second_moment(law, 3)) < 5 * error
