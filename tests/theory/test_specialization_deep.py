"""Theorem 4 of Tian 2020, also with its claim broken on purpose."""

from __future__ import annotations

import numpy as np

import gradflow as gf
from gradflow.theory.specialization import deep
from gradflow.theory.specialization.critical import unit_teacher
from gradflow.theory.specialization.gradients import overrealised


def test_kinks_and_a_wrong_jump():
    student = gf.teachers.random((3, 5, 5, 2), "relu", seed=1)
    teacher = unit_teacher((3, 3, 3, 2), 0)
    assert deep.kinks(student, teacher, 20, 0).holds
    assert not deep.kinks(student, teacher, 20, 0, factor=1 + 1e-6).holds


def test_theorem_4_at_a_student_that_is_not_critical(rng):
    teacher = unit_teacher((2, 2, 2, 2), 1)
    X = rng.standard_normal((200, 2))
    student = overrealised(teacher, 2, rng)
    assert deep.theorem_4(student, teacher, X).holds
    assert not deep.theorem_4(student.with_flat(student.flat() + 1e-6), teacher, X).holds


def test_the_lowest_layer_leads_and_the_highest_does_not():
    assert deep.lowest_first((10, 8, 10, 12, 8), 4, 0.02, 4000, 0).holds
    assert not deep.lowest_first((10, 8, 10, 12, 8), 4, 0.02, 1000, 0, claimed=2).holds


def test_a_teacher_that_half_of_the_inputs_activate(rng):
    teacher = deep.balanced_teacher((10, 8, 12, 5), 0)
    h = rng.standard_normal((4000, 10))
    for W, b in list(zip(teacher.weights, teacher.biases))[:-1]:
        z = h @ W.T + b
        assert np.abs((z > 0).mean(axis=0) - 0.5).max() < 0.06
        h = np.maximum(z, 0.0)
    assert (
        np.abs(deep.layer_correlations(teacher, teacher, rng.standard_normal((50, 10)))[1] - 1).max() < 1e-14
    )
