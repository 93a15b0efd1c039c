"""One step of SGD against automatic differentiation, and its repeatability."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.theory.specialization.online_sgd import layers, sgd


@pytest.mark.parametrize("sizes, bias", [((4, 5, 3), False), ((4, 6, 5, 2), True)])
def test_a_step_is_the_gradient(sizes, bias):
    student, teacher = (gf.MLP.random(sizes, "relu", bias, seed=seed) for seed in range(2))
    if bias:
        student = student.with_flat(student.flat() + 0.1)
    path = list(sgd(student, teacher, rate=0.1, batch=7, steps=1, seed=3))
    assert [step for step, _ in path] == [0, 1]
    X = np.random.default_rng([1, 3]).standard_normal((7, 4))
    Y = teacher(X)

    def loss(parameters):
        h = X
        for l, (W, b) in enumerate(parameters):
            z = h @ W.T + b
            h = z if l == len(parameters) - 1 else jnp.where(z > 0, z, 0.0)
        return 0.5 * jnp.sum((h - Y) ** 2) / 7

    given = [(W, np.zeros(len(W)) if b is None else b) for W, b in zip(student.weights, student.biases)]
    moves = jax.grad(loss)(given)
    for l, (W, b) in enumerate(given):
        np.testing.assert_allclose(path[1][1].weights[l], W - 0.1 * moves[l][0], atol=1e-14)
        if bias:
            np.testing.assert_allclose(path[1][1].biases[l], b - 0.1 * moves[l][1], atol=1e-14)
    np.testing.assert_allclose(layers(student.weights, student.biases, X)[-1], student(X), atol=1e-14)


def test_the_path_does_not_depend_on_how_often_it_is_looked_at():
    student, teacher = (gf.MLP.random((3, 4, 2), "relu", False, seed=seed) for seed in range(2))
    ends = [list(sgd(student, teacher, 0.05, 4, 50, 0, looks))[-1] for looks in (1, 7, 50)]
    assert all(step == 50 for step, _ in ends)
    assert all((end.flat() == ends[0][1].flat()).all() for _, end in ends)
