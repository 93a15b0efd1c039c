"""Losses in balls against the kernels, which share nothing with them, and the inclusion property."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("flint")

import gradflow as gf
from gradflow.proofs.balls import arb, exact, midpoint, precision
from gradflow.proofs.parallel import Metric, near_pair
from gradflow.proofs.results import setting_of
from gradflow.proofs.settings import build

AGREE = 4e-14
"""Rounding of the kernels relative to the scale of what they add up."""


def widened(center, radius):
    """Balls of this radius around exact numbers."""
    return [c + arb(0, radius) for c in center]


def _network(activation, bias, sizes, seed):
    return gf.MLP.random(sizes, activation, bias, seed=seed, init="normal")


def _covariance(d, rng):
    A = rng.standard_normal((d, d))
    C = A @ A.T / d + 0.3 * np.eye(d)
    return 0.5 * (C + C.T)


def _law(kind, d, rng):
    C = _covariance(d, rng)
    return {"": None, "C": gf.Gaussian(cov=C), "mean": gf.Gaussian(mean=rng.standard_normal(d), cov=C)}[kind]


CASES = [
    ("erf", False, 1, ""), ("erf", False, 2, "C"), ("erf", [False, True], 2, ""), ("erf", True, 2, ""),
    ("erf", [True, False], 1, "C"), ("erf", True, 1, "mean"), ("erf", False, 1, "mean"),
    ("relu", False, 1, ""), ("relu", False, 2, "C"), ("relu", [False, True], 2, ""),
]  # fmt: skip


def _agree(problem, theta):
    """Kernel and ball at one point: value, gradient and Hessian within the error that the kernels claim."""
    loss = build(setting_of(problem))
    with precision(90):
        value, gradient = loss.value_and_gradient(exact(theta))
        hessian = loss.hessian(exact(theta))
    L, g = problem.loss_and_gradient(theta)
    H = problem.hessian(theta)
    size = max(1.0, problem.objective.gradient_scale, float(np.abs(H).max()))
    error = (AGREE + problem.objective.kernel_error(theta)) * size
    assert abs(midpoint(value - L)) <= error
    assert max(abs(midpoint(b - float(v))) for b, v in zip(gradient, g)) <= error
    assert (
        max(abs(midpoint(b - float(v))) for row, line in zip(hessian, H) for b, v in zip(row, line)) <= error
    )
    assert max(float(b.rad()) for row in hessian for b in row) < 1e-13


@pytest.mark.parametrize("activation, bias, outputs, law", CASES)
def test_kernels_are_enclosed(activation, bias, outputs, law, rng):
    for seed in range(4):
        d, n, k = 4, 3, 5
        teacher = _network(activation, bias, (d, k, outputs), 2 * seed)
        student = _network(activation, bias, (d, n, outputs), 2 * seed + 1)
        _agree(gf.Problem(teacher, student, _law(law, d, rng)), student.flat())


@pytest.mark.parametrize("law", ["", "C"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("gap", [0.0, 1e-13, 1e-9, 1e-5, 1e-2, 0.3])
def test_relu_units_that_align(law, sign, gap, rng):
    d, n = 4, 3
    teacher = _network("relu", False, (d, 3, 1), 1)
    W = rng.standard_normal((n, d))
    W[0] = sign * 1.5 * teacher.weights[0][1] + gap * rng.standard_normal(d)
    W[1] = sign * 0.5 * W[2] + gap * rng.standard_normal(d)
    student = gf.MLP([W, rng.standard_normal((1, n))], None, "relu")
    problem = gf.Problem(teacher, student, _law(law, d, rng))
    if gap == 0.0:  # the kernels round w'/r' apart: compare at what the balls themselves say nearby
        loss = build(setting_of(problem))
        with precision(90):
            here = loss.hessian(exact(student.flat()))
        assert max(float(b.rad()) for row in here for b in row) < 1e-9
        return
    _agree(problem, student.flat())


@pytest.mark.parametrize("gap", [0.0, 1e-12, 1e-6, 1e-3, 0.05])
@pytest.mark.parametrize("sign", [1, -1])
def test_boxes_around_aligned_units_are_narrow(gap, sign, rng):
    """The width of the Hessian over a box of radius r is about r/|w|, whatever the angle: no 1/sin θ³."""
    d, radius = 4, 1e-10
    teacher = _network("relu", False, (d, 2, 1), 1)
    W = rng.standard_normal((2, d))
    W[0] = sign * teacher.weights[0][0] + gap * rng.standard_normal(d)
    student = gf.MLP([W, np.ones((1, 2))], None, "relu")
    loss = build(setting_of(gf.Problem(teacher, student)))
    with precision(64):
        rows = loss.hessian(widened(exact(student.flat()), radius))
    # sin² = 0.0025 at the last gap is within the expansion's range; beyond it r/sin³θ < 1e3 r.
    assert max(float(b.rad()) for row in rows for b in row) < 300 * radius


@pytest.mark.parametrize("activation, bias, outputs, law", CASES)
def test_inclusion_over_boxes(activation, bias, outputs, law, rng):
    """What holds at points of a box lies in the enclosure over the box."""
    d, n, k, radius = 3, 2, 3, 1e-3
    teacher = _network(activation, bias, (d, k, outputs), 5)
    student = _network(activation, bias, (d, n, outputs), 6)
    loss = build(setting_of(gf.Problem(teacher, student, _law(law, d, rng))))
    theta = student.flat()
    with precision(64):
        _, wide = loss.value_and_gradient(widened(exact(theta), radius))
        rows = loss.hessian(widened(exact(theta), radius))
        for _ in range(5):
            inside = exact(theta + radius * rng.uniform(-1, 1, theta.size))
            _, gradient = loss.value_and_gradient(inside)
            hessian = loss.hessian(inside)
            assert all(a.overlaps(b) for a, b in zip(wide, gradient))
            assert all(a.overlaps(b) for row, line in zip(rows, hessian) for a, b in zip(row, line))


@pytest.mark.parametrize("law", ["", "C"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("gap, radius", [(0.0, 1e-3), (1e-3, 1e-3), (1e-2, 1e-4), (0.0, 1e-8)])
def test_inclusion_where_units_align(law, sign, gap, radius, rng):
    """Hessians at points of a box that contains parallel units, the parallel ones included, lie within."""
    d = 3
    teacher = _network("relu", False, (d, 2, 1), 1)
    W = rng.standard_normal((2, d))
    W[0] = sign * 1.5 * teacher.weights[0][0] + gap * rng.standard_normal(d)
    W[1] = -sign * W[0] + gap * rng.standard_normal(d)
    student = gf.MLP([W, rng.standard_normal((1, 2))], None, "relu")
    loss = build(setting_of(gf.Problem(teacher, student, _law(law, d, rng))))
    theta = student.flat()
    with precision(64):
        rows = loss.hessian(widened(exact(theta), radius))
        assert all(entry.is_finite() for row in rows for entry in row)
        for trial in range(20):
            point = theta + radius * rng.uniform(-1, 1, theta.size)
            if trial % 2:  # nearer and nearer to parallel
                point = theta + 10.0 ** (-trial / 2) * (point - theta)
            with precision(200):
                hessian = loss.hessian(exact(point))
            pairs = [(a, b) for row, line in zip(rows, hessian) for a, b in zip(row, line)]
            assert all(a.contains(b.mid()) or a.overlaps(b) for a, b in pairs)


def test_an_unknown_direction_is_bounded():
    """Two units whose box contains parallel ones: the blocks are finite, and narrow."""
    from gradflow.proofs.balls import Balls

    with precision(64):
        w = widened(exact([1.0, 0.5, -0.2]), 1e-9)
        v = widened(exact([1.0, 0.5, -0.2]), 1e-9)
        s, t = (sum((x * x for x in u), arb(0)) for u in (w, v))
        _, blocks = near_pair(Balls(), s, t, w, v, w, v, Metric(None), True)
        assert all(entry.is_finite() and entry.rad() < 1e-7 for b in blocks for row in b for entry in row)
        # at θ = 0: ∂ww = 0 and ∂wv = ½ I
        assert all(
            abs(e.mid() - (0.5 if i == j else 0)) < 1e-7
            for i, r in enumerate(blocks[1])
            for j, e in enumerate(r)
        )


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus", "erf", "g"])
@pytest.mark.parametrize("bias", [False, True])
def test_empirical_losses(activation, bias, rng):
    X, Y, weight = rng.standard_normal((40, 3)), rng.standard_normal((40, 2)), rng.uniform(0.5, 1.5, 40)
    student = _network(activation, bias, (3, 3, 2), 1)
    for inputs in (X, gf.Samples(X, sample_weight=weight)):
        problem = gf.Problem(Y, student, inputs)
        loss = build(setting_of(problem))
        theta = student.flat()
        with precision(90):
            value, gradient = loss.value_and_gradient(exact(theta))
            hessian = loss.hessian(exact(theta))
        L, g = problem.loss_and_gradient(theta)
        H = problem.hessian(theta)
        size = max(1.0, float(np.abs(H).max()))
        assert abs(midpoint(value - L)) < 1e-13 * size
        assert max(abs(midpoint(b - float(v))) for b, v in zip(gradient, g)) < 1e-13 * size
        apart = (abs(midpoint(b - float(v))) for row, line in zip(hessian, H) for b, v in zip(row, line))
        assert max(apart) < 1e-13 * size
