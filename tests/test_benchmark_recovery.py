"""What `benchmarks recovery` compares with: its pruned students, and neurons that no answer shows."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import gradflow as gf
from benchmarks import _recovery_cases as cases
from benchmarks import _recovery_pruning as pruning


def test_gradient_of_the_students_that_are_pruned():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((30, 4)), rng.standard_normal((30, 3))
    student = pruning._Student(X, Y, 5, rng)
    loss, gradient = student.value(student.theta)
    V, A = student.parts(student.theta)
    network = gf.MLP([V[:, :-1], A[:-1].T], [V[:, -1], A[-1]], "tanh")
    assert loss == pytest.approx(((network(X) - Y) ** 2).sum() / 30, rel=1e-13)
    step = 1e-6 * rng.standard_normal(student.theta.size)
    change = student.value(student.theta + step)[0] - student.value(student.theta - step)[0]
    assert change == pytest.approx(2.0 * gradient @ step, rel=1e-6)


def test_pruning_removes_what_it_says(monkeypatch):
    monkeypatch.setattr(pruning, "PENALTIES", (1e2, 1e-8))
    X = np.random.default_rng(0).standard_normal((60, 4))

    def make():
        return pruning._Student(X, np.tanh(X[:, :1]), 8, np.random.default_rng(1))

    weights = [point[1] for point in pruning.by_weights(make(), True, 0.2)]
    assert weights[0] == 49 and weights == sorted(weights, reverse=True) and weights[-1] <= 12
    (none, _, rmse), (all_of_them, *_) = pruning.by_units(make, 0.2)
    assert none == 0 and all_of_them == 8 and rmse > 0.1


def test_neurons_that_no_answer_shows():
    W = [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]], [[1.0, 0.0]]]
    teacher = gf.MLP(W, [[0.1, 0.2, 0.3], [0.4, 0.5], [0.6]], "g")
    X = np.random.default_rng(0).standard_normal((20, 2))
    small = cases.heard(teacher)
    assert small.sizes == (2, 2, 1, 1) and np.abs(small(X) - teacher(X)).max() < 1e-15


def test_rows_are_json_where_a_neuron_is_not_determined():
    teacher = gf.teachers.parity(2, 2, seed=0)
    X = gf.teachers.uniform_inputs(2, 2000, seed=0)
    found = gf.recovery.recover(X, teacher(X), "g", progress=False)
    lost = dataclasses.replace(found.certificate, neuron_errors=np.array([0.0, np.inf]))
    row = cases.outcome(dataclasses.replace(found, certificate=lost), teacher, X, 0.0)
    assert row["estimate"] is None and row["difference"] < 1e-12
    json.dumps(row, allow_nan=False)
