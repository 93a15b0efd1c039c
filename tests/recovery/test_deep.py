"""Networks of two hidden layers from their outputs."""

from __future__ import annotations

import numpy as np
import pytest

import gradflow as gf
from gradflow.recovery import recover_deep
from gradflow.recovery.deep import without


@pytest.mark.slow
def test_a_teacher_of_two_hidden_layers():
    teacher = gf.teachers.parity(8, (4, 2), seed=0)
    X = gf.teachers.uniform_inputs(8, 8000, seed=50)
    found = recover_deep(X, teacher(X), "g", seed=0, students=15)
    assert found.exact and found.widths == (4, 2) and found.rmse < 2e-15
    rows, wanted = (np.column_stack([n.weights[0], n.biases[0]]) for n in (found.network, teacher))
    assert np.linalg.norm(rows[:, None] - wanted[None], axis=2).min(axis=0).max() < 1e-12
    assert "recover_deep: exact, 8-4-2-1" in str(found)


def test_removing_a_duplicate_costs_nothing():
    teacher = gf.teachers.parity(3, (3, 2), seed=1)
    W, b = list(teacher.weights), list(teacher.biases)
    W[0], b[0] = np.vstack([W[0], W[0][:1]]), np.append(b[0], b[0][0])
    W[1] = np.column_stack([W[1], 0.5 * W[1][:, 0]])
    W[1][:, 0] *= 0.5
    wide = gf.MLP(W, b, "g")
    X = gf.teachers.uniform_inputs(3, 500, seed=0)
    assert np.abs(wide(X) - teacher(X)).max() < 1e-14
    error, small = without(wide, 0, 3, X)
    assert error < 1e-28 and small.sizes == (3, 3, 2, 1) and np.abs(small(X) - teacher(X)).max() < 1e-12
    assert without(wide, 0, 1, X)[0] > 1e-6


def test_what_is_not_found_is_not_exact_and_bad_input():
    teacher = gf.teachers.parity(8, (4, 2), seed=1)
    X = gf.teachers.uniform_inputs(8, 2000, seed=1)
    found = recover_deep(X, teacher(X), "g", students=1)
    assert not found.exact and found.rmse > 1e-6
    with pytest.raises(gf.ArgumentError, match="at least"):
        recover_deep(X[:50], teacher(X[:50]), "g")
    with pytest.raises(gf.ArgumentError, match="hidden_layers"):
        recover_deep(X, teacher(X), "g", hidden_layers=0)


def test_units_of_several_layers():
    teacher = gf.teachers.parity(8, (4, 2), seed=9)  # the layer above has no weight for one neuron
    X = gf.teachers.uniform_inputs(8, 8000, seed=59)
    found = recover_deep(1024.0 * X, 2.0**-30 * teacher(X), "g", seed=9)
    assert found.exact and found.widths == (3, 2) and found.rmse < 2e-15 * 2.0**-30
    assert found.certificate.neuron_errors.shape == (5,) and found.certificate.neuron_errors.max() < 1e-11
    rows = np.column_stack([found.network.weights[0] * 1024.0, found.network.biases[0]])
    wanted = np.column_stack([teacher.weights[0], teacher.biases[0]])
    heard = (teacher.weights[1] != 0.0).any(axis=0)
    assert heard.sum() == 3
    assert np.linalg.norm(rows[:, None] - wanted[heard], axis=2).min(axis=0).max() < 1e-12
