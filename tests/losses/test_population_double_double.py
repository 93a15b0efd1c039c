"""The double-double loss and gradient against mpmath at 60 digits, down to losses near 1e-30."""

import mpmath
import numpy as np
import pytest

from gradflow.inputs import Gaussian
from gradflow.kernels.math import double_double as dd
from gradflow.losses.population import PopulationLoss
from gradflow.networks import MLP

ACTIVATIONS = ("erf", "relu")
DIGITS = 60


def test_arithmetic(rng):
    """Each operation within 1e-31 of the truth, relatively."""

    def draw():
        exact = mpmath.mpf(rng.standard_normal() * 10 ** rng.uniform(-3, 3))
        return exact + exact * mpmath.mpf(rng.uniform(-1, 1)) * mpmath.mpf(2) ** -54

    def split(x):
        return float(x), float(x - mpmath.mpf(float(x)))

    def joined(pair):
        return mpmath.mpf(pair[0]) + mpmath.mpf(pair[1])

    with mpmath.workdps(DIGITS):
        for _ in range(500):
            x, y = split(draw()), split(draw())
            a, b = joined(x), joined(y)
            cases = [
                (dd.add(x, y), a + b, abs(a) + abs(b)),
                (dd.mul(x, y), a * b, 0),
                (dd.div(x, y), a / b, 0),
                (dd.sqrt(split(abs(a))), mpmath.sqrt(joined(split(abs(a)))), 0),
                (dd.atan_ratio(split(abs(a)), split(abs(b))), mpmath.atan2(abs(a), abs(b)), 0),
            ]
            for given, wanted, size in cases:
                assert abs(joined(given) - wanted) <= 1e-31 * max(abs(wanted), size)
        assert joined(dd.atan_ratio((1.0, 0.0), (0.0, 0.0))) - mpmath.pi / 2 < 1e-32
        assert dd.atan_ratio((0.0, 0.0), (1.0, 0.0))[0] == 0.0
        assert abs(joined(dd.PI) - mpmath.pi) < 1e-31


def truth(activation, rows, outputs):
    """L, ∇L (rows then outputs) and Σ|terms| of stacked units, from the closed forms."""
    total = len(rows)
    loss, size = mpmath.mpf(0), mpmath.mpf(0)
    slopes = [[mpmath.mpf(0)] * len(rows[0]) for _ in rows]
    sums = [mpmath.mpf(0)] * total
    for i in range(total):
        for j in range(total):
            s, t, q = (mpmath.fdot(x, y) for x, y in ((rows[i],) * 2, (rows[j],) * 2, (rows[i], rows[j])))
            if activation == "erf":
                root = mpmath.sqrt((1 + s) * (1 + t) - q * q)
                value = 2 / mpmath.pi * mpmath.atan2(q, root)
                alpha = 2 / mpmath.pi / root
                beta = -alpha * q / (1 + s)
            else:
                area = mpmath.sqrt(abs(s * t - q * q)) if i != j else mpmath.mpf(0)
                theta = mpmath.atan2(area, q)
                value = (area + (mpmath.pi - theta) * q) / (2 * mpmath.pi)
                alpha, beta = (mpmath.pi - theta) / (2 * mpmath.pi), area / s / (2 * mpmath.pi)
            loss += outputs[i] * outputs[j] * value
            size += abs(outputs[i] * outputs[j] * value)
            sums[i] += 2 * outputs[j] * value
            for a in range(len(rows[0])):
                slopes[i][a] += 2 * outputs[i] * outputs[j] * (alpha * rows[j][a] + beta * rows[i][a])
    return loss, slopes, sums, size


@pytest.mark.parametrize("distance", [1.0, 1e-5, 1e-10, 1e-15])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_near_the_teacher(rng, activation, distance):
    """Errors of L and ∇L at most 1e-29 Σ|terms|; a loss of 1e-20 keeps eight digits."""
    n = d = 4
    teacher = MLP.random((d, n, 1), activation, bias=False, seed=2, init="normal")
    loss = PopulationLoss(teacher, teacher, Gaussian())
    theta = teacher.flat() + distance * rng.standard_normal(loss.size)
    low = 1e-17 * theta * rng.uniform(-1, 1, theta.size)
    found = loss.double_double(theta, low)
    with mpmath.workdps(DIGITS):
        exact = [mpmath.mpf(float(a)) + mpmath.mpf(float(b)) for a, b in zip(theta, low)]
        flat = [mpmath.mpf(float(a)) for a in teacher.flat()]
        rows = [v[i * d : (i + 1) * d] for v in (exact, flat) for i in range(n)]
        outputs = exact[n * d :] + [-c for c in flat[n * d :]]
        value, slopes, sums, size = truth(activation, rows, outputs)
        assert found.bound == pytest.approx(1e-29 * float(size), rel=1e-12)
        error = abs(mpmath.mpf(found.loss) + mpmath.mpf(found.loss_low) - value)
        assert error <= 0.1 * found.bound
        wanted = [x for row in slopes[:n] for x in row] + sums[:n]
        for high, small, w in zip(found.gradient, found.gradient_low, wanted):
            assert abs(mpmath.mpf(float(high)) + mpmath.mpf(float(small)) - w) <= 0.1 * found.bound
        if distance == 1e-10:
            assert found.loss < 1e-17 and float(error / value) < 1e-9


@pytest.mark.parametrize("with_covariance", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_agrees_with_float64(rng, activation, with_covariance):
    student = MLP.random((5, 3, 1), activation, bias=False, seed=4, init="normal")
    teacher = MLP.random((5, 6, 1), activation, bias=False, seed=5, init="normal")
    root = rng.standard_normal((5, 5))
    inputs = Gaussian(cov=root @ root.T) if with_covariance else Gaussian()
    loss = PopulationLoss(student, teacher, inputs)
    theta = student.flat()
    theta[5:10] = -2.0 * teacher.flat()[:5]  # antiparallel to a teacher neuron
    found = loss.double_double(theta)
    value, gradient = loss.loss_and_gradient(theta)
    assert abs(found.loss - value) <= loss.loss_floor
    np.testing.assert_allclose(
        found.gradient, gradient, atol=1e-14 * np.abs(gradient).max() * len(theta), rtol=0
    )
    assert np.abs(found.loss_low) <= 2e-16 * abs(found.loss)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_newton_on_a_double_double_residual(rng, activation):
    """Float64 Newton steps on this gradient end far below what Float64 can see."""
    n, d = 3, 4
    teacher = MLP([np.eye(n, d) + 0.1, np.ones((1, n))], activation=activation)
    loss = PopulationLoss(teacher, teacher, Gaussian())
    theta, low = teacher.flat() + 1e-4 * rng.standard_normal(loss.size), np.zeros(loss.size)
    for _ in range(8):
        found = loss.double_double(theta, low)
        hessian = loss.all_derivatives(theta)[2]
        values, vectors = np.linalg.eigh(hessian)
        kept = values > 1e-10 * values[-1]  # relu: the scaling of each neuron is flat
        step = -vectors[:, kept] @ ((vectors[:, kept].T @ found.gradient) / values[kept])
        moved = theta + step
        part = moved - theta
        low = low + ((theta - (moved - part)) + (step - part))
        theta = moved
    found = loss.double_double(theta, low)
    assert np.abs(found.gradient).max() <= 1e-26
    assert abs(found.loss) <= found.bound


def test_zero_and_repeated_vectors():
    for activation in ACTIVATIONS:
        student = MLP(
            [[[0.0, 0.0], [1.0, 2.0], [1.0, 2.0], [-2.0, -4.0]], [[1.0, 1.0, -1.0, 0.5]]],
            activation=activation,
        )
        teacher = MLP([[[1.0, 2.0], [0.0, 0.0]], [[1.0, 1.0]]], activation=activation)
        loss = PopulationLoss(student, teacher, Gaussian())
        found = loss.double_double(student.flat())
        value, gradient = loss.loss_and_gradient(student.flat())
        assert abs(found.loss - value) <= loss.loss_floor
        np.testing.assert_allclose(found.gradient, gradient, atol=1e-14)
