"""Further out than Float64 goes L comes to the limit that is claimed, with the exponent that is claimed."""

import itertools

import mpmath
import numpy as np
import pytest

import gradflow as gf

from .test_networks_at_infinity import X1, X2, derivative_teacher, merged, noise

DIGITS = 50
EPSILONS = (1e-4, 1e-6, 1e-8)


def lowest(residuals, p, steps=200):
    """The least mean square, by Gauss–Newton steps in so many digits; `residuals` also gives derivatives."""
    p = [mpmath.mpf(float(value)) for value in p]
    for _ in range(steps):
        r, J = residuals(p)
        square = mpmath.matrix([[sum(a * b for a, b in zip(u, v)) for v in J] for u in J])
        slope = mpmath.matrix([sum(a * b for a, b in zip(u, r)) for u in J])
        step = mpmath.lu_solve(square, slope)
        p = [value - move for value, move in zip(p, step)]
        if max(abs(move) for move in step) < mpmath.mpf(10) ** -30:
            break
    else:
        raise AssertionError("no minimum")
    r, _ = residuals(p)
    return sum(a * a for a in r) / len(r), p


def sigmoid(z):
    return 1 / (1 + mpmath.exp(-z))


def exponential(epsilon):
    """A sigmoid with output weight 1/ε and an output bias, or e^z for ε = 0, on noisy e^{0.7 x}."""
    x = X1[:, 0]
    y = np.exp(0.7 * x) + noise(60, 0.05)

    def residuals(p):
        w, b, c = p
        z = [w * mpmath.mpf(float(s)) + b for s in x]
        if epsilon:
            level = [sigmoid(value + mpmath.log(epsilon)) / epsilon for value in z]
            slopes = [s * (1 - s * epsilon) for s in level]
        else:
            level = slopes = [mpmath.exp(value) for value in z]
        r = [s + c - mpmath.mpf(float(t)) for s, t in zip(level, y)]
        return r, [[s * mpmath.mpf(float(u)) for s, u in zip(slopes, x)], slopes, [mpmath.mpf(1)] * 60]

    start = gf.MLP([[[0.6]], [[20.0]]], [[-3.0], [0.0]], "sigmoid")
    return y, start, X1, residuals, [0.7, 0.0, 0.0]


def linear(epsilon):
    """tanh(ε w x)/ε, or w x for ε = 0."""
    x = X1[:, 0]
    y = x + 0.02 * x**3

    def residuals(p):
        z = [p[0] * mpmath.mpf(float(s)) for s in x]
        level = [mpmath.tanh(epsilon * value) / epsilon for value in z] if epsilon else z
        slopes = [1 - (epsilon * s) ** 2 for s in level]
        r = [s - mpmath.mpf(float(t)) for s, t in zip(level, y)]
        return r, [[s * mpmath.mpf(float(u)) for s, u in zip(slopes, x)]]

    return y, gf.MLP([[[0.3]], [[2.0]]], None, "tanh"), X1, residuals, [1.0]


def pair(epsilon, seed):
    """c/2 [σ(z + ε z₁) + σ(z − ε z₁)] + [σ(z + ε z₁) − σ(z − ε z₁)]/2ε, or c σ(z) + z₁σ'(z) for ε = 0."""
    _, y = derivative_teacher(1, seed)
    X = [[mpmath.mpf(float(s)) for s in row] for row in X2]

    def residuals(p):
        r, J = [], [[] for _ in p]
        for x, t in zip(X, y):
            z, z1 = p[0] * x[0] + p[1] * x[1], p[3] * x[0] + p[4] * x[1]
            if epsilon:
                up, down = mpmath.tanh(z + epsilon * z1), mpmath.tanh(z - epsilon * z1)
                du, dd = 1 - up**2, 1 - down**2
                f = p[2] * (up + down) / 2 + (up - down) / (2 * epsilon)
                by_z = p[2] * (du + dd) / 2 + (du - dd) / (2 * epsilon)
                by_c, by_z1 = (up + down) / 2, epsilon * p[2] * (du - dd) / 2 + (du + dd) / 2
            else:
                s = mpmath.tanh(z)
                d = 1 - s**2
                f, by_z, by_c, by_z1 = p[2] * s + z1 * d, p[2] * d - 2 * z1 * s * d, s, d
            r.append(f - mpmath.mpf(float(t)))
            for column, value in zip(J, (by_z * x[0], by_z * x[1], by_c, by_z1 * x[0], by_z1 * x[1])):
                column.append(value)
        return r, J

    return y, merged(1, 0.3), X2, residuals, [0.9, -0.4, 0.7, 0.5, 0.8]


@pytest.mark.parametrize(
    ("make", "exponent"),
    [(exponential, 1), (linear, 2), (lambda epsilon: pair(epsilon, 4), 2)],
    ids=["exponential", "linear", "pair"],
)
def test_the_loss_comes_down_to_the_limit_with_its_exponent(make, exponent):
    y, start, X, at_limit, p = make(0)
    result = gf.train(y[:, None], start, X, progress=False)
    assert result.end.kind == "infinity"
    with mpmath.workdps(DIGITS):
        limit, p = lowest(at_limit, p)
        assert abs(result.channel.loss - limit) <= 1e-12 * limit
        above = []
        for epsilon in EPSILONS:
            loss, p = lowest(make(mpmath.mpf(epsilon))[3], p)
            above.append(loss - limit)
        assert all(value > 0 for value in above)
        slopes = [
            float(mpmath.log(before / after) / mpmath.log(mpmath.mpf(100)))
            for before, after in itertools.pairwise(above)
        ]
    assert slopes == pytest.approx([exponent] * len(slopes), abs=1e-3)
    if isinstance(result.channel, gf.infinity.Limit):
        assert result.channel.approaches[0].exponent == pytest.approx(exponent, abs=0.1)
    else:
        assert result.channel.slope > 0
