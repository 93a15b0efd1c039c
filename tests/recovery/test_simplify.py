"""The catalogue of neurons at zero loss (figures 2, A.5, A.6): every kind is named and taken away."""

from __future__ import annotations

import numpy as np
import pytest

import gradflow as gf
from gradflow.recovery import compare, simplify
from gradflow.recovery.signs import find_signs


def wide(teacher, rows, outs, shift):
    """A student: rows [w, b] with output weights, and the output bias."""
    rows, outs = np.array(rows), np.array(outs)
    return gf.MLP([rows[:, :-1], outs[None]], [rows[:, -1], np.array([shift])], teacher.activations[0])


def rows_of(teacher):
    return np.column_stack([teacher.weights[0], teacher.biases[0]]), teacher.weights[1][0]


def test_a_softplus_student_with_every_kind_of_neuron():
    # As figure A.5: the first teacher neuron as its mirror image, corrected by a linear-type group.
    teacher = gf.teachers.random((4, 4, 1), "softplus", seed=0)
    V, a = rows_of(teacher)
    u, v = np.array([0.3, -1.0, 0.7, 0.2, 0.1]), np.array([1.0, 0.4, -0.2, 0.9, -0.5])
    zero = np.zeros(5)
    zero[-1] = 0.7
    constant = float(np.logaddexp(0, 0.7))
    rows = [-V[0], V[0], V[1], V[1], V[2], V[3], u, u, v, -v, zero]
    outs = [0.4 * a[0], 0.6 * a[0], 0.3 * a[1], 0.7 * a[1], a[2], a[3], 1.5, -1.5, 2.0, -2.0, 3.0]
    # aσ(−z) = aσ(z) − az: the linear parts 0.4 a₀ z₀ and −2 (v·x) are to be put back by other neurons.
    w = 0.4 * a[0] * V[0] - 2.0 * v
    rows += [w, -w]
    outs += [1.0, -1.0]
    student = wide(teacher, rows, outs, teacher.biases[1][0] - 3.0 * constant)
    X = np.random.default_rng(1).standard_normal((500, 4))
    assert np.abs(student(X) - teacher(X)).max() < 1e-13
    small = simplify(student, X)
    counts = {
        kind: small.count(kind)
        for kind in ("linear duplicate", "duplicate", "copy", "zero", "linear", "constant")
    }
    assert counts == {"linear duplicate": 2, "duplicate": 2, "copy": 2, "zero": 2, "linear": 4, "constant": 1}
    assert max(group.residual for group in small.groups) < 1e-12
    assert small.network.sizes == teacher.sizes and small.signs.determined
    assert (
        compare(small.network, teacher).parameters < 1e-11
        and not compare(small.network, teacher).mirrored.any()
    )
    assert np.abs(small(X) - teacher(X)).max() < 1e-12 and small.residual < 1e-13
    assert "linear duplicate" in str(small)


def test_a_relu_student_as_in_figure_a6():
    teacher = gf.teachers.random((2, 4, 1), "relu", seed=3)
    V, a = rows_of(teacher)
    beyond = np.array([0.5, 0.2, 40.0])  # its hyperplane is outside the inputs: linear on all of them
    dead = np.array([0.5, -0.2, -40.0])  # and this one is zero
    rows = [2.0 * V[0], 0.5 * V[0], -V[1], V[2], V[3], beyond, dead, np.array([0.3, 0.4, 0.1])]
    outs = [0.25 * a[0], a[0], a[1], a[2], a[3], 1.2, 5.0, 0.0]
    # −V[1] instead of V[1] is short of a₁(V[1]·x); a pair with opposite signs puts that right.
    w = a[1] * V[1] - 1.2 * beyond
    rows += [w, -w]
    outs += [1.0, -1.0]
    student = wide(teacher, rows, outs, teacher.biases[1][0])
    X = np.random.default_rng(2).uniform(-4, 4, (600, 2))
    assert np.abs(student(X) - teacher(X)).max() < 1e-12
    small = simplify(student, X)
    assert small.network.sizes == (2, 4, 1) and small.signs.determined
    # of the pair ±w one is off-bound as well and the other zero: w's hyperplane is as far away
    assert small.count("duplicate") == 2 and small.count("off-bound") == 2 and small.count("zero") == 3
    beside = compare(small.network, teacher, X)
    assert beside.parameters < 1e-12 and not beside.mirrored.any()


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "erf", "normal_cdf"])
def test_odd_duplicates_of_both_signs(activation):
    teacher = gf.teachers.random((3, 2, 1), activation, seed=5)
    V, a = rows_of(teacher)
    mirrored = -1.0 if gf.ACTIVATIONS[activation].symmetry.startswith("odd") else 1.0
    rows = [-V[0], V[0], V[1]]
    outs = [mirrored * 0.3 * a[0], 0.7 * a[0], a[1]]
    constant = 0.0 if activation in ("tanh", "erf") else 1.0
    student = wide(teacher, rows, outs, teacher.biases[1][0] + 0.3 * a[0] * constant)
    X = np.random.default_rng(0).standard_normal((300, 3))
    assert np.abs(student(X) - teacher(X)).max() < 1e-14
    small = simplify(student, X)
    assert small.network.sizes == (3, 2, 1) and small.count("duplicate") == 2
    assert np.abs(small.network(X) - teacher(X)).max() < 1e-13


def test_signs_by_enumeration_where_products_are_dependent():
    rng = np.random.default_rng(0)
    W, A = rng.standard_normal((9, 3)), rng.standard_normal((9, 1))
    turned = rng.random(9) < 0.5
    Theta = -0.5 * (W[turned].T @ A[turned])
    found = find_signs(W, A, Theta, 0.5, np.eye(3))
    assert found.determined and (found.flipped == turned).all() and found.residual < 1e-14
    # Two equal products: their signs cannot be told apart.
    W[1], A[1] = W[0], A[0]
    turned[:2] = True, False
    found = find_signs(W, A, -0.5 * (W[turned].T @ A[turned]), 0.5, np.eye(3))
    assert not found.determined and found.residual < 1e-14


def test_signs_of_a_remainder_that_is_none():
    W, A = np.eye(3), np.ones((3, 1))
    found = find_signs(W, A, np.array([[0.37], [0.0], [0.0]]), 1.0, np.eye(3))
    assert not found.determined or found.residual > 0.1


def test_bad_input():
    with pytest.raises(gf.ArgumentError, match="one hidden layer"):
        simplify(gf.MLP.random((2, 3, 3, 1), "tanh", seed=0), np.ones((5, 2)))
    with pytest.raises(gf.ArgumentError, match="tolerance"):
        simplify(gf.MLP.random((2, 3, 1), "tanh", seed=0), np.ones((5, 2)), tolerance=0.0)
