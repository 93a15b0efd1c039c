"""Students and results that the tests of this room share."""

import numpy as np
import pytest

import gradflow as gf


@pytest.fixture
def trained():
    """A function that refines a random student of orthonormal teachers to a critical point."""

    def make(activation="erf", width=2, teachers=4, dim=5, seed=0):
        teacher = gf.teachers.orthonormal(teachers, dim, activation)
        student = gf.MLP.random((dim, width, 1), activation, False, seed=seed)
        return gf.train(teacher, student, solver=None, progress=False)

    return make


@pytest.fixture
def at():
    """A function that gives a `Result` at a student near a critical point."""

    def make(student, teacher):
        refiner = gf.refiners.TrustRegionNewton(target="critical point", gtol=1e-12)
        return gf.train(teacher, student, solver=None, refiner=refiner, progress=False)

    return make


@pytest.fixture
def transformed():
    """A function that permutes, mirrors and scales the neurons of a student at random."""

    def make(student, rng, sign, scale=False):
        W, a = student.weights
        order = rng.permutation(W.shape[0])
        signs = np.where(rng.random(W.shape[0]) < 0.5, sign, 1.0)
        c = rng.uniform(0.5, 2.0, W.shape[0]) if scale else np.ones(W.shape[0])
        weights = [(signs * c)[:, None] * W[order], (signs / c)[None, :] * a[:, order]]
        return gf.MLP(weights, None, student.activations[0])

    return make
