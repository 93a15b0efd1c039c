"""Theorems 2 to 5 of Tian 2020, each also with its claim broken on purpose."""

from __future__ import annotations

import numpy as np
import pytest

import gradflow as gf
from gradflow.theory import specialization
from gradflow.theory.specialization_gradients import overrealised


@pytest.fixture(scope="module")
def teacher():
    return specialization.unit_teacher((2, 2, 2), 1)


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(1).standard_normal((300, 2))


@pytest.fixture
def critical(teacher, rng):
    """A student that computes the teacher by construction."""
    return overrealised(teacher, 2, rng)


def test_theorems_2_and_3_at_a_trained_student(teacher, X):
    student, starts = specialization.critical_student((2, 5, 2), teacher, X, seed=1)
    two, three = specialization.theorems_2_and_3(student, teacher, X, starts)
    assert two.holds and three.holds
    assert two.computed["teachers_observed"] == 2


def test_they_fail_away_from_critical_points(teacher, X, critical):
    assert all(check.holds for check in specialization.theorems_2_and_3(critical, teacher, X))
    moved = critical.with_flat(critical.flat() * (1 + 1e-7))
    two, _ = specialization.theorems_2_and_3(moved, teacher, X)
    assert not two.holds
    # An unaligned node with outgoing weights: its group does not cancel.
    theta = critical.flat()
    A = critical.weights[1].copy()
    A[:, -1] = 0.5
    theta[-A.size - 2 : -2] = A.ravel()
    _, three = specialization.theorems_2_and_3(critical.with_flat(theta), teacher, X)
    assert not three.holds


def test_an_unaligned_teacher_is_seen(teacher, X):
    stranger = specialization.unit_teacher((2, 2, 2), 9)
    two, _ = specialization.theorems_2_and_3(stranger, teacher, X)
    assert not two.holds and min(two.computed["sines_of_the_best"]) > 1e-3


def test_linear_remainder_needs_all_three_pairs(rng):
    teacher = specialization.unit_teacher((3, 2, 2), 0)
    X = rng.standard_normal((100, 3))
    assert specialization.linear_remainder(teacher, X).holds
    assert not specialization.linear_remainder(teacher, X, scale=1 + 1e-9).holds


def test_kinks_and_a_wrong_jump():
    student = gf.teachers.random((3, 5, 5, 2), "relu", seed=1)
    teacher = specialization.unit_teacher((3, 3, 3, 2), 0)
    assert specialization.kinks(student, teacher, 20, 0).holds
    assert not specialization.kinks(student, teacher, 20, 0, factor=1 + 1e-6).holds


def test_theorem_4_at_a_student_that_is_not_critical(rng):
    teacher = specialization.unit_teacher((2, 2, 2, 2), 1)
    X = rng.standard_normal((200, 2))
    student = overrealised(teacher, 2, rng)
    assert specialization.theorem_4(student, teacher, X).holds
    assert not specialization.theorem_4(student.with_flat(student.flat() + 1e-6), teacher, X).holds


def test_exponents_and_a_smooth_activation():
    """Another exponent fails; without a kink free neurons absorb the error, and nothing can be measured."""
    assert all(check.holds for check in specialization.theorem_5(3, 0))
    assert not any(check.holds for check in specialization.theorem_5(3, 0, expected=0.5))
    smooth = list(specialization.theorem_5(12, 0, activation=lambda z: z * z))
    assert not any(check.holds for check in smooth)
