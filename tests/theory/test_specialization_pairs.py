"""Section 5 of Tian 2020: what the checks of `simplified`, `pairs`, `shifting`, `competition` build on."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradflow as gf
from gradflow.theory.specialization import competition, pairs, shifting, simplified
from gradflow.theory.specialization.dynamics import networks


def test_residue_by_samples(rng):
    """r_k across w_k is half the mean force on w_k: by a million samples, without any closed form."""
    student, teacher = networks(2, 1, 3, 2, 0.5, 0)
    X = rng.standard_normal((1_000_000, 3))
    error = teacher(X) - student(X)
    W, A = student.weights
    force = np.array([((X @ w > 0) * (error @ A[:, k])) @ X / len(X) for k, w in enumerate(W)])
    U = simplified.units(W)
    across = force - np.sum(force * U, axis=1, keepdims=True) * U
    found = 0.5 * simplified.turning(student, teacher) * np.linalg.norm(W, axis=1, keepdims=True)
    np.testing.assert_allclose(found, across, atol=3e-3)


@pytest.mark.parametrize("scale", [1e-8, 1e3])
def test_turning_at_other_scales(scale):
    """Students s times as long with outputs 1/s as large turn at 1/s² of the rate."""
    student, teacher = networks(3, 2, 6, 4, 1.0, 0)
    W, A = student.weights
    there = gf.MLP([W * scale, A / scale], None, "relu")
    np.testing.assert_allclose(
        simplified.turning(there, teacher) * scale**2,
        simplified.turning(student, teacher),
        rtol=1e-6,
        atol=1e-12,
    )


def test_duplicated_and_opposite_students():
    """A duplicate turns with its twin; a student exactly opposite to its teacher does not turn."""
    student, teacher = networks(3, 2, 6, 4, 1.0, 0)
    W, A = student.weights
    twins = gf.MLP([np.vstack([W, W[:1]]), np.column_stack([A, A[:, :1]])], None, "relu")
    found = simplified.turning(twins, teacher)
    np.testing.assert_allclose(found[0], found[-1], atol=1e-15)
    opposite = gf.MLP([-teacher.weights[0][:1], teacher.weights[1][:, :1]], None, "relu")
    one = gf.MLP([teacher.weights[0][:1], teacher.weights[1][:, :1]], None, "relu")
    assert np.abs(simplified.turning(opposite, one)).max() < 1e-15


def test_a_student_at_rest_stays(rng):
    _, teacher = networks(3, 2, 6, 4, 1.0, 0)
    U = simplified.path(teacher, teacher, [0.0, 10.0])
    np.testing.assert_allclose(U[1], U[0], atol=1e-12)
    assert np.abs(pairs.pair_rates(teacher, simplified.residues(teacher, teacher))).max() < 1e-14


def test_rates_of_small_turns_by_differences():
    """The growth rates against a central difference of the turning itself."""
    for n, mass, half in ((2, 0.9, 0.7), (4, 0.3, 1.0)):
        student, teacher = pairs.in_the_middle(n, mass, half)
        modes = [
            (np.ones(n), 1),
            (np.append(1.0 - n, np.ones(n - 1)), 1),
            (np.append(1.0 - n, np.ones(n - 1)), 2),
        ]
        for (shape, axis), rate in zip(modes, pairs.growth_rates(n, mass, half)):
            turns = []
            for sign in (1, -1):
                W = student.weights[0].copy()
                W[:, axis] = sign * 1e-5 * shape
                turns.append(
                    simplified.turning(gf.MLP([W, student.weights[1]], None, "relu"), teacher)[:, axis]
                )
            np.testing.assert_allclose((turns[0] - turns[1]) / 2e-5, rate * shape, rtol=2e-4, atol=1e-9)


def test_shifts_are_found_where_they_are():
    """Made paths: one student that shifts, one that stays, one that never specialises."""
    t = np.linspace(0.0, 1.0, 50)
    leaves = np.stack([np.sin(math.pi * t) * 0.9, t**3], axis=1)
    stays = np.stack([t, 0.1 * np.ones_like(t)], axis=1)
    never = np.stack([np.sin(math.pi * t) * 0.9, 0.5 * t], axis=1)
    found = shifting.shifts(t, np.stack([leaves, stays, never], axis=1))
    assert [(shift.student, shift.left, shift.taken) for shift in found] == [(0, 0, 1)]
    assert found[0].covered > 0.7 and abs(found[0].peak - 0.9) < 1e-2


def test_masses_do_not_depend_on_how_they_are_shared():
    """The equation at a rescaled balanced network, and one student on its own teacher at rest."""
    student, teacher = competition.one_output(4, 3, 6, 0, balanced=False)
    b, A = competition.coefficients(student, teacher)
    W, a = student.weights
    again, same = competition.coefficients(gf.MLP([5.0 * W, a / 5.0], None, "relu"), teacher)
    np.testing.assert_allclose(again, b, atol=1e-14)
    np.testing.assert_allclose(same, A, atol=1e-14)
