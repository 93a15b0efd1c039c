"""Theorems 2 and 3 of Tian 2020, each also with its claim broken on purpose."""

from __future__ import annotations

import numpy as np
import pytest

import gradflow as gf
from gradflow.theory.specialization import critical as specialization
from gradflow.theory.specialization.gradients import overrealised


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
    _, three = specialization.theorems_2_and_3(with_a_stranger(critical, critical.weights[1]), teacher, X)
    assert not three.holds and three.computed["unaligned_groups"] == 1
    assert three.computed["largest_sum_of_a_group"] > 0.5


def with_a_stranger(network, A):
    """The last node's boundary goes through the samples, unlike any teacher's, and it passes on 0.5."""
    W, b, A = np.array(network.weights[0]), np.array(network.biases[0]), np.array(A)
    W[-1], b[-1], A[:, -1] = [1.0, 0.3], 0.0, 0.5
    return gf.MLP([W, A], [b, network.biases[1]], "relu")


def test_an_unaligned_teacher_is_seen(teacher, X):
    stranger = specialization.unit_teacher((2, 2, 2), 9)
    two, _ = specialization.theorems_2_and_3(stranger, teacher, X)
    assert not two.holds and min(two.computed["sines_of_the_best"]) > 1e-3


def test_linear_remainder_needs_all_three_pairs(rng):
    teacher = specialization.unit_teacher((3, 2, 2), 0)
    X = rng.standard_normal((100, 3))
    assert specialization.linear_remainder(teacher, X).holds
    assert not specialization.linear_remainder(teacher, X, scale=1 + 1e-9).holds


def test_observers_and_visible_boundaries():
    """By hand: node 1 lies within the active side of node 0 on half of its boundary; 2 is out of sight."""
    W = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    network = gf.MLP([W, np.ones((1, 3))], [np.array([0.0, 0.0, 50.0]), None], "relu")
    X = np.random.default_rng(0).standard_normal((400, 2))
    assert specialization.visible(network, X).tolist() == [True, True, False]
    # Student i, node j: nodes do not observe themselves, the far one sees the others and is not seen.
    expected = [[False, True, False], [True, False, False], [True, True, False]]
    assert specialization.observers(network, network, X).tolist() == expected


def test_theorem_3_needs_observers(teacher, X, critical):
    """An unaligned group among students that all pass on the same direction: no claim is made."""
    A = np.array(critical.weights[1])
    A[1] = A[0]
    _, three = specialization.theorems_2_and_3(with_a_stranger(critical, A), teacher, X)
    assert three.computed["unaligned_groups"] == 0 and three.computed["groups_with_too_few_observers"] == 1
