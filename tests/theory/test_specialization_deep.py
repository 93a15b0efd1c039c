"""Theorem 4 of Tian 2020, and which layer is learned first."""

from __future__ import annotations

import numpy as np

import gradflow as gf
from gradflow.theory.specialization import deep
from gradflow.theory.specialization.critical import Case, unit_teacher
from gradflow.theory.specialization.gradients import overrealised


def test_kinks_over_another_seed():
    student = gf.teachers.random((3, 5, 5, 2), "relu", seed=1)
    check = deep.kinks(student, unit_teacher((3, 3, 3, 2), 0), 20, 0)
    assert check.holds and check.cases > 10


def test_theorem_4_at_a_split_teacher(rng):
    teacher = unit_teacher((2, 2, 2, 2), 1)
    case = Case(overrealised(teacher, 2, rng), teacher, rng.standard_normal((200, 2)))
    check = deep.theorem_4([case])
    assert check.holds and check.parts[1].cases == 2


def test_the_lowest_layer_leads():
    assert deep.lowest_first((10, 8, 10, 12, 8), 4, 0.02, 4000, 0).holds


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
