"""Parity teachers are those of A.4 and A.5; arrays of other programs become networks."""

from __future__ import annotations

import numpy as np
import pytest

import gradflow as gf


@pytest.mark.parametrize(("d", "r"), [(2, 8), (4, 4), (32, 8)])
def test_parity_is_the_recipe(d, r):
    teacher = gf.teachers.parity(d, r, seed=3)
    W, b = teacher.weights[0], teacher.biases[0]
    assert np.allclose(np.linalg.norm(W, axis=1), 3.0, rtol=0, atol=1e-15 * 30)
    for row in W:  # w ∈ {−1, 0, 1}^d up to its norm, and not zero
        used = np.abs(row[row != 0])
        assert used.size and np.ptp(used) < 1e-15
    assert np.allclose(np.abs(b) / np.sqrt(3.0), np.round(np.abs(b) / np.sqrt(3.0)), atol=1e-14)
    assert len(np.unique(np.column_stack([W, b]).round(9), axis=0)) == r
    assert np.ptp(np.abs(teacher.weights[1])) < 1e-15
    outputs = teacher(gf.teachers.uniform_inputs(d, 100_000, seed=9))
    # mean and variance over other inputs, within five standard errors of both samples
    assert abs(outputs.mean()) < 5 / np.sqrt(23_000) and abs(outputs.std() - 1) < 0.03


def test_deep_parity_has_standardised_layers():
    teacher = gf.teachers.parity(8, (4, 2), seed=0)
    assert teacher.sizes == (8, 4, 2, 1)
    X = gf.teachers.uniform_inputs(8, 100_000, seed=5)
    first = gf.MLP([teacher.weights[0], np.eye(4)], [teacher.biases[0], None], "g")(X)
    z = (first - first.mean(axis=0)) / first.std(axis=0)
    # the second layer in standardised inputs is a row of {−1, 0, 1} of norm 3 again
    W = teacher.weights[1] * first.std(axis=0)
    assert np.allclose(np.linalg.norm(W, axis=1), 3.0, rtol=0.03)
    b = teacher.biases[1] + teacher.weights[1] @ first.mean(axis=0)
    assert np.allclose(np.abs(b) / np.sqrt(3.0), np.round(np.abs(b) / np.sqrt(3.0)), atol=0.05)
    assert abs(z.mean()) < 1e-12 and abs(teacher(X).std() - 1) < 0.05


def test_same_seed_same_bits_and_uniform_inputs():
    assert (gf.teachers.parity(4, 3, seed=1).flat() == gf.teachers.parity(4, 3, seed=1).flat()).all()
    X = gf.teachers.uniform_inputs(3, 200_000, seed=0)
    assert np.abs(X).max() <= np.sqrt(3.0) and np.allclose(X.var(axis=0), 1.0, atol=0.01)


def test_from_arrays():
    rng = np.random.default_rng(0)
    W1, b1, W2 = rng.standard_normal((3, 2)), rng.standard_normal(3), rng.standard_normal((1, 3))
    X = rng.standard_normal((5, 2))
    expected = np.tanh(X @ W1.T + b1) @ W2.T
    for given, transposed in (
        ([W1, b1, W2], False),
        ([W1.T, b1, W2.T], True),
        ({"a": W1, "b": b1, "c": W2}, False),
    ):
        teacher = gf.teachers.from_arrays(given, "tanh", transposed=transposed)
        assert np.allclose(teacher(X), expected, rtol=0, atol=1e-15)
    for wrong in ([b1, W1], [W1, b1, b1], [np.zeros((2, 2, 2))], [W1, b1, W1], 3):
        with pytest.raises(gf.ArgumentError):
            gf.teachers.from_arrays(wrong)
    with pytest.raises(gf.ArgumentError, match="at most 10"):
        gf.teachers.parity(1, 11, seed=0)
    with pytest.raises(gf.ArgumentError, match="width"):
        gf.teachers.parity(2, [], seed=0)
