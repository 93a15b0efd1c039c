"""Theorems 2 and 3 of Tian 2020: what they speak of is found and counted."""

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


def test_theorems_2_and_3_at_a_trained_student(teacher, X):
    case = specialization.Case.trained((2, 5, 2), teacher, 300, seed=1)
    assert np.array_equal(case.X, X)
    two = specialization.theorem_2([case])
    assert two.holds and two.cases == 1 and two.parts[1].cases == 2  # two teachers observed
    # All five students are aligned: Theorem 3 has nothing to say, and its check does not hold.
    assert case.group_sums() == ([], 0) and not specialization.theorem_3([case]).holds


def test_theorem_3_at_a_trained_student_with_groups():
    case = specialization.Case.trained((3, 6, 3), specialization.unit_teacher((3, 2, 3), 0), 300, seed=0)
    three = specialization.theorem_3([case])
    assert three.holds and three.parts[1].cases == 2


def test_an_unaligned_group_is_counted_and_seen(teacher, X, rng):
    """A stranger with outgoing weights is one group; its sum is what it passes on."""
    student = with_a_stranger(overrealised(teacher, 2, rng))
    sums, unwatched = specialization.Case(student, teacher, X).group_sums()
    assert len(sums) == 1 and sums[0] > 0.5 and unwatched == 0


def with_a_stranger(network, A=None):
    """The last node's boundary goes through the samples, unlike any teacher's, and it passes on 0.5."""
    W, b = np.array(network.weights[0]), np.array(network.biases[0])
    A = np.array(network.weights[1] if A is None else A)
    W[-1], b[-1], A[:, -1] = [1.0, 0.3], 0.0, 0.5
    return gf.MLP([W, A], [b, network.biases[1]], "relu")


def test_an_unaligned_teacher_is_seen(teacher, X):
    case = specialization.Case(specialization.unit_teacher((2, 2, 2), 9), teacher, X)
    assert case.sines.min() > 1e-3 and not specialization.theorem_2([case]).holds


def test_observers_and_visible_boundaries():
    """By hand: node 1 lies within the active side of node 0 on half of its boundary; 2 is out of sight."""
    W = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    network = gf.MLP([W, np.ones((1, 3))], [np.array([0.0, 0.0, 50.0]), None], "relu")
    X = np.random.default_rng(0).standard_normal((400, 2))
    assert specialization.visible(network, X).tolist() == [True, True, False]
    # Student i, node j: nodes do not observe themselves, the far one sees the others and is not seen.
    expected = [[False, True, False], [True, False, False], [True, True, False]]
    assert specialization.observers(network, network, X).tolist() == expected


def test_theorem_3_needs_observers(teacher, X, rng):
    """An unaligned group among students that all pass on the same direction: no claim, and nothing holds."""
    critical = overrealised(teacher, 2, rng)
    A = np.array(critical.weights[1])
    A[1] = A[0]
    case = specialization.Case(with_a_stranger(critical, A), teacher, X)
    assert case.group_sums() == ([], 1)
    assert not specialization.theorem_3([case]).holds
