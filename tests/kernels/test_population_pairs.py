"""Pair kernels of the population loss against mpmath: values and derivatives, aligned vectors, any norm.

A pair kernel is read off a loss with one teacher neuron: with a = 0, ∂L/∂a = −2 K(w, v) and
∂²L/∂a∂w = −2 ∂_w K(w, v); with a tiny a, ∂²L/∂w² = −2a ∂_w∂_w K(w, v); with two students,
∂²L/∂w_1∂w_2 = 2 ∂_w∂_w' K(w_1, w_2).
"""

import mpmath
import numpy as np
import pytest

from gradflow.inputs import Gaussian
from gradflow.losses.population import PopulationLoss
from gradflow.networks import MLP

ACTIVATIONS = ("erf", "relu")
STEP = mpmath.mpf(10) ** -40


def truth(activation, w, v):
    """K(w, v) from the arcsine and arccosine formulas; w, v lists of mpmath numbers."""
    s, t = sum(a * a for a in w), sum(a * a for a in v)
    q = sum(a * b for a, b in zip(w, v))
    if activation == "erf":
        return 2 / mpmath.pi * mpmath.asin(q / mpmath.sqrt((1 + s) * (1 + t)))
    cosine = q / mpmath.sqrt(s * t)
    theta = mpmath.acos(max(-1, min(1, cosine)))
    return (
        mpmath.sqrt(s * t) * (mpmath.sin(theta) + (mpmath.pi - theta) * mpmath.cos(theta)) / (2 * mpmath.pi)
    )


def differences(activation, w, v, first, second=()):
    """Central differences of the closed form at 130 digits, step 1e-40 of the norms."""
    with mpmath.workdps(130):
        vectors = [[mpmath.mpf(float(a)) for a in u] for u in (w, v)]
        steps = [STEP * mpmath.sqrt(sum(a * a for a in u)) for u in vectors]
        moves = [m for m in (first, second) if m]
        total = mpmath.mpf(0)
        for signs in np.ndindex(*(2,) * len(moves)):
            moved = [list(u) for u in vectors]
            sign = 1
            for (which, index), s in zip(moves, signs):
                moved[which][index] += (1 - 2 * s) * steps[which]
                sign *= 1 - 2 * s
            total += sign * truth(activation, *moved)
        for which, _ in moves:
            total /= 2 * steps[which]
        return total


def value_and_slope(activation, w, v):
    loss = pair_loss(activation, v, 1)
    d = w.size
    _, gradient, hessian = loss.all_derivatives(np.append(w, 0.0))
    return -gradient[d] / 2, -hessian[:d, d] / 2


def pair_loss(activation, v, students):
    teacher = MLP([v[None, :], np.ones((1, 1))], activation=activation)
    student = MLP([np.ones((students, v.size)), np.ones((1, students))], activation=activation)
    return PopulationLoss(student, teacher, Gaussian())


def own_block(activation, w, v):
    tiny = 2.0**-600
    hessian = pair_loss(activation, v, 1).all_derivatives(np.append(w, tiny))[2]
    return -hessian[: w.size, : w.size] / tiny / 2


def cross_block(activation, w, v):
    d = w.size
    hessian = pair_loss(activation, v, 2).all_derivatives(np.concatenate([w, v, [1.0, 1.0]]))[2]
    return hessian[:d, d : 2 * d] / 2


def pairs():
    """(name, w, v): random ones, then angles 1e-1 … 1e-15 from alignment and anti-alignment."""
    rng = np.random.default_rng(5)
    for number in range(6):
        d = (1, 2, 3, 3, 4, 4)[number]
        yield f"random{number}", rng.standard_normal(d), rng.standard_normal(d)
    for exponent in (1, 2, 4, 6, 8, 11, 15):
        for sign in (1.0, -1.0):
            w = rng.standard_normal(3)
            u = np.cross(w, rng.standard_normal(3))
            u *= np.linalg.norm(w) / np.linalg.norm(u)
            ratio = rng.uniform(0.5, 2.0) if exponent % 2 else 1.0
            yield f"{sign:+.0f}angle1e-{exponent}", w, sign * ratio * (w + 10.0**-exponent * u)
    w = rng.standard_normal(3)
    yield "equal", w, w.copy()
    yield "twice", w, 2.0 * w
    yield "opposite", w, -w


PAIRS = {name: (w, v) for name, w, v in pairs()}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_value_and_first_derivative(activation, name):
    """Within 6e-16 of √(K(w,w)K(v,v)), the slope times |w| within 5e-16 of it."""
    for scale_w, scale_v in ((1.0, 1.0), (0.03, 20.0), (40.0, 7.0), (1e-3, 1e-4)):
        w, v = (scale * u for scale, u in zip((scale_w, scale_v), PAIRS[name]))
        value, slope = value_and_slope(activation, w, v)
        with mpmath.workdps(130):
            exact = [[mpmath.mpf(float(a)) for a in u] for u in (w, v)]
            size = float(
                mpmath.sqrt(truth(activation, exact[0], exact[0]) * truth(activation, exact[1], exact[1]))
            )
            error = float(truth(activation, *exact) - mpmath.mpf(value))
        assert abs(error) <= 6e-16 * size
        wanted = [differences(activation, w, v, (0, a)) for a in range(w.size)]
        errors = [float(x - mpmath.mpf(float(y))) for x, y in zip(wanted, slope)]
        scale = size / np.linalg.norm(w)
        if activation == "erf":  # α w' and β w nearly cancel for large aligned vectors
            scale = max(scale, 2 / np.pi * np.linalg.norm(v) / np.sqrt(1 + w @ w + v @ v))
        assert np.abs(errors).max() <= 5e-16 * scale


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_second_derivatives(activation, name):
    """Both kinds of blocks, relative to their largest entry at every angle; limits at 0 and π for relu."""
    w, v = PAIRS[name]
    d = w.size
    collinear = name in ("equal", "twice", "opposite") or d == 1
    for kind, block in ((0, own_block(activation, w, v)), (1, cross_block(activation, w, v))):
        if activation == "relu" and collinear and (kind == 0 or w @ v < 0.0):
            assert not block.any()
            continue
        wanted = np.array(
            [[float(differences(activation, w, v, (0, a), (kind, b))) for b in range(d)] for a in range(d)]
        )
        assert np.abs(block - wanted).max() <= 1.2e-15 * np.abs(wanted).max()
        if activation == "relu" and collinear:
            np.testing.assert_allclose(block, 0.5 * np.eye(d), atol=2e-16)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "norms", [(1e-150, 1e-150), (1e150, 1e150), (1e-150, 1e150), (1e150, 1e-150), (1e80, 1.0)]
)
def test_extreme_norms(activation, norms):
    """Value and first derivative are relatively accurate from 1e-150 to 1e150, generic and near angles."""
    rng = np.random.default_rng(7)
    for angle in (1.0, 1e-3, 1e-9):
        w = rng.standard_normal(3)
        v = w + angle * rng.standard_normal(3)
        w, v = norms[0] * w, norms[1] * v
        value, slope = value_and_slope(activation, w, v)
        with mpmath.workdps(400):
            exact = truth(activation, *[[mpmath.mpf(float(a)) for a in u] for u in (w, v)])
            assert abs(float(value / exact - 1)) <= 1e-15
        if activation == "relu":
            wanted = np.array([float(differences(activation, w, v, (0, a))) for a in range(3)])
            assert np.abs(slope / np.abs(wanted).max() - wanted / np.abs(wanted).max()).max() <= 1e-15
        assert np.isfinite(slope).all()


def test_zero_vectors():
    zero, v = np.zeros(3), np.array([0.3, -1.2, 2.0])
    value, slope = value_and_slope("erf", zero, v)
    assert value == 0.0
    np.testing.assert_allclose(slope, 2 / np.pi * v / np.sqrt(1 + v @ v), rtol=4e-16)
    wanted = 2 / np.pi / np.sqrt(1 + v @ v) * (np.eye(3) - np.outer(v, v) / (1 + v @ v))
    np.testing.assert_allclose(cross_block("erf", zero, v), wanted, atol=4e-16)
    np.testing.assert_allclose(cross_block("erf", v, zero), wanted, atol=4e-16)
    np.testing.assert_allclose(cross_block("erf", zero, zero), 2 / np.pi * np.eye(3), atol=2e-16)
    for w, u in ((zero, v), (v, zero), (zero, zero)):
        value, slope = value_and_slope("relu", w, u)
        assert value == 0.0 and not slope.any()
        assert not own_block("relu", w, u).any() and not cross_block("relu", w, u).any()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_against_quadrature(activation):
    """One dimension done by hand, one by Gauss–Legendre: a truth that does not know the closed form."""
    w, v = np.array([0.7, -0.4, 1.1]), np.array([1.3, 0.2, -0.5])
    r, t = np.linalg.norm(w), np.linalg.norm(v)
    cosine = w @ v / (r * t)
    with mpmath.workdps(25):
        if activation == "erf":  # E_Y erf((a + bY)/√2) = erf(a/√(2(1+b²)))
            width = mpmath.sqrt(2 * (1 + t**2 * (1 - cosine**2)))

            def integrand(x):
                return (
                    mpmath.erf(r * x / mpmath.sqrt(2)) * mpmath.erf(t * cosine * x / width) * mpmath.npdf(x)
                )

            wanted = 2 * mpmath.quad(integrand, [0, 1, 3, 6, 10])
        else:  # polar coordinates: ∫ρ³e^{−ρ²/2}dρ = 2
            theta = mpmath.acos(cosine)
            arc = mpmath.quad(
                lambda p: mpmath.cos(p) * mpmath.cos(p - theta), [theta - mpmath.pi / 2, mpmath.pi / 2]
            )
            wanted = r * t * 2 * arc / (2 * mpmath.pi)
    assert abs(value_and_slope(activation, w, v)[0] - float(wanted)) <= 4e-16
