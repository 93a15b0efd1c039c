"""Labels of neurons, and the table they come in."""

import importlib.util
import math

import numpy as np
import pytest

import gradflow as gf
from gradflow import landscape
from gradflow.landscape.table import Table, table


def test_neurons_of_a_copy_average_point():
    rows = [[0, 0, 1, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 1, 0.4], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    W = np.array(rows, dtype=float)
    W[1] /= math.sqrt(2 * 3)
    student = gf.MLP([W, [[1.0, 2.0, 1.3, 0.5, 0.7]]], None, "erf")
    teacher = gf.teachers.orthonormal(4, 5)
    rows = landscape.neurons((student, teacher))
    kinds = list(rows["kind"])
    assert kinds == ["copy", "average", "perturbed copy", "duplicate", "dead"]
    teachers = list(rows["teachers"])
    assert teachers[0] == (2,) and teachers[1] == (0, 1) and teachers[2] == (3,)
    # Moved by more than the tolerance, exact labels go; with a smaller `loose`, perturbed ones too.
    W[0, 0] += 1e-3
    moved = landscape.neurons((gf.MLP([W, student.weights[1]], None, "erf"), teacher), loose=1e-4)
    kinds = list(moved["kind"])
    assert kinds[0] == "other" and kinds[2] == "other"
    with pytest.raises(gf.ArgumentError, match="tolerance"):
        landscape.neurons((student, teacher), tolerance=-1.0)


E = np.eye(3, 4)
BIASED = [[0.5, -0.3, 0.0]]
LABELS = [
    # activation, rows of w, biases, a, teacher's biases, kinds
    ("erf", E * [[1], [-1], [1]], [0.5, 0.3, 0.0], [1, -1, 1], BIASED[0], ["copy"] * 3),
    ("erf", E, [2.5, -0.3, 0.0], [1, 1, 1], BIASED[0], ["perturbed copy", "copy", "copy"]),
    ("erf", E, [0.0, 0.0, 1.0], [1, 1, 1], None, ["copy", "copy", "perturbed copy"]),
    ("erf", [0.4 * (E[0] + E[1])], [5.0], [2], BIASED[0], ["perturbed average"]),
    ("erf", [E[0], 0 * E[0], 0 * E[0]], [0.5, 1.0, 0.0], [1, 1, 1], BIASED[0], ["copy", "constant", "dead"]),
    ("softplus", [0 * E[0], -E[1], E[2]], None, [1, 1, 1], None, ["constant", "other", "copy"]),
    ("relu", [3 * E[0], -E[1], 2 * E[0]], None, [1 / 3, 1, 0.2], None, ["copy", "other", "duplicate"]),
    ("relu", [1e-9 * E[0], 1e9 * E[1], 1e-9 * E[2]], None, [1e9, 1e-9, 1], None, ["copy", "copy", "dead"]),
    ("relu", [E[0] + E[1], E[0] - E[1]], None, [1, 1], None, ["average", "other"]),
    ("erf", [0.4 * (E[0] - E[1]), -0.4 * (E[0] + E[1])], None, [2, -2], None, ["other", "average"]),
    ("erf", [E[0], -E[0]], None, [0.5, -0.5], None, ["perturbed copy", "duplicate"]),
    ("erf", [E[0], 0.7 * E[1]], None, [-1, 1e8], None, ["other", "perturbed copy"]),
    ("square", [-E[0], E[1]], None, [1, -1], None, ["copy", "other"]),
]


@pytest.mark.parametrize(("activation", "W", "b", "a", "theirs", "expected"), LABELS)
def test_labels_respect_biases_signs_and_scales(activation, W, b, a, theirs, expected):
    student = gf.MLP([W, [a]], None if b is None else [b, None], activation)
    teacher = gf.MLP([E, np.ones((1, 3))], None if theirs is None else [theirs, None], activation)
    assert landscape.kinds((student, teacher)) == expected


def test_labels_with_several_outputs_and_dependent_teachers(rng):
    A, order = rng.standard_normal((2, 3)), [2, 0, 1]
    teacher = gf.MLP([E, A], None, "erf")
    assert landscape.kinds((gf.MLP([E[order], A[:, order]], None, "erf"), teacher)) == ["copy"] * 3
    assert landscape.kinds((gf.MLP([E, -A], None, "erf"), teacher)) == ["other"] * 3
    V = rng.standard_normal((6, 3))
    teacher = gf.MLP([V, np.ones((1, 6))], None, "erf")
    student = gf.MLP([np.vstack([1.1 * V, V[:1] + V[1:2]]), np.ones((1, 7))], None, "erf")
    assert landscape.kinds((student, teacher)) == ["perturbed copy"] * 6 + ["average"]


def test_a_relu_that_no_sample_activates_is_dead(rng):
    X = rng.standard_normal((50, 3))
    student = gf.MLP([np.eye(2, 3), [[1.0, 1.0]]], [[0.0, -20.0], None], "relu")
    teacher = gf.MLP([np.eye(2, 3), [[1.0, 1.0]]], [[0.0, 0.0], None], "relu")
    result = gf.train(teacher, student, gf.Samples(X), solver=None, progress=False)
    assert landscape.kinds(result)[1] == "dead"


def test_channel_pairs_are_seen(rng):
    w = rng.standard_normal(5)
    W = np.stack([w, w + 1e-3 * rng.standard_normal(5)])
    student = gf.MLP([W, [[200.0, -199.5]]], None, "softplus")
    rows = landscape.neurons((student, None))
    kinds = list(rows["kind"])
    assert kinds == ["channel pair", "channel pair"]


ROWS = [{"a": 1.5, "b": (1, 2), "c": None, "d": 1}, {"a": 2.5, "b": (), "c": 3, "d": 2}]


def test_tables_print_without_pandas(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    rows = table(ROWS)
    assert isinstance(rows, Table) and "1+2" in str(rows) and "a" in repr(rows)
    assert rows["a"] == [1.5, 2.5] and rows[1]["c"] == 3 and len(rows[:1]) == 1
    assert str(Table()) == str(table([], ("a", "b"))) == "(no rows)"


def test_tables_are_data_frames_where_pandas_is_installed():
    """Everywhere the columns are the same; with pandas, whole numbers stay whole beside missing ones."""
    found = table(ROWS)
    assert list(found["a"]) == [1.5, 2.5] and list(found["b"]) == [(1, 2), ()] and found["c"][1] == 3
    installed = importlib.util.find_spec("pandas") is not None
    assert isinstance(found, Table) != installed
    if installed:
        assert [str(kind) for kind in found.dtypes] == ["float64", "object", "Int64", "int64"]
        assert found["c"].isna().tolist() == [True, False]
        assert list(table([], ("a", "b")).columns) == ["a", "b"]


def test_rows_are_the_same_with_and_without_pandas(monkeypatch):
    net = gf.MLP([np.random.default_rng(0).standard_normal((3, 3)), np.ones((1, 3))], None, "erf")
    with_pandas = landscape.neurons((net, net))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    plain = landscape.neurons((net, net))
    assert isinstance(plain, Table) and plain["kind"] == ["copy"] * 3
    for name in plain[0]:
        pairs = zip(plain[name], with_pandas[name])
        assert all(a == b or a is None for a, b in pairs)
