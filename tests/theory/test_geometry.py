"""Angles, the ReLU kernel, soft committees and the quadrature that several papers' checks share."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow.theory import geometry
from gradflow.theory.quadrature import gaussian_grid
from gradflow.theory.soft_committee import frozen_outputs, soft_committee


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-5, 1.0, math.pi / 2, 3.0, math.pi - 1e-5, math.pi])
def test_angles_against_the_angle_they_are_made_of(angle, rng):
    Q = np.linalg.qr(rng.standard_normal((6, 2)))[0].T
    w = 3.0 * Q[0]
    v = 0.01 * (math.cos(angle) * Q[0] + math.sin(angle) * Q[1])
    assert abs(geometry.angle_between(w, v) - angle) < 1e-15
    assert abs(geometry.sines(w[None], v[None])[0, 0] - math.sin(angle)) < 1e-15
    W, V = rng.standard_normal((3, 6)), rng.standard_normal((2, 6))
    cosines = (W @ V.T) / np.outer(np.linalg.norm(W, axis=1), np.linalg.norm(V, axis=1))
    np.testing.assert_allclose(np.cos(geometry.angles(W, V)), cosines, atol=1e-15)
    np.testing.assert_allclose(geometry.sines(W, V), np.sqrt(1 - cosines**2), atol=1e-14)


@pytest.mark.parametrize("angle", [0.3, 2.0])
def test_arc_cosine_kernel_by_quadrature(angle):
    """E relu(x) relu(cos θ x + sin θ y): ∫ r³ e^{−r²/2} dr = 2 times the integral over the arc, over 2π."""
    with mpmath.workdps(30):
        arc = mpmath.quad(
            lambda phi: mpmath.cos(phi) * mpmath.cos(phi - angle), [angle - mpmath.pi / 2, mpmath.pi / 2]
        )
        assert abs(geometry.arc_cosine(angle) / (2 * math.pi) - float(2 * arc / (2 * mpmath.pi))) < 1e-15


def test_grid_is_the_gaussian():
    law = gaussian_grid(2)
    weight = law.sample_weight / law.sample_weight.sum()
    x, y = law.X.T
    values = [weight @ (x * x), weight @ (x * y), weight @ (x**4 * y**2), weight @ np.exp(x)]
    np.testing.assert_allclose(values, [1.0, 0.0, 3.0, math.exp(0.5)], atol=1e-14)


def test_grid_with_a_covariance(rng):
    C = np.array([[0.5, 0.3], [0.3, 1.5]])
    law = gaussian_grid(2, C)
    weight = law.sample_weight / law.sample_weight.sum()
    np.testing.assert_allclose(law.X.T @ (weight[:, None] * law.X), C, atol=1e-14)
    x, y = law.X.T
    assert weight @ (x * x * y * y) == pytest.approx(C[0, 0] * C[1, 1] + 2 * C[0, 1] ** 2, abs=1e-13)


def test_soft_committees(rng):
    W, V = rng.standard_normal((3, 4)), rng.standard_normal((2, 4))
    problem = soft_committee("relu", W, V)
    X = rng.standard_normal((10, 4))
    np.testing.assert_allclose(problem.teacher(X)[:, 0], np.maximum(X @ V.T, 0).sum(axis=1), atol=1e-14)
    assert problem.theta0.tolist() == [*W.ravel(), 1.0, 1.0, 1.0]
    assert frozen_outputs(W).tolist() == [1.0] * 12 + [0.0] * 3
    assert (
        frozen_outputs(W, np.array([True, False, True])).tolist()
        == [1.0] * 4 + [0.0] * 4 + [1.0] * 4 + [0.0] * 3
    )
    assert isinstance(problem, gf.Problem)
