"""Pair kernels of mixed activations against Gauss–Legendre quadrature in the plane and mpmath differences."""

import itertools

import mpmath
import numpy as np
import pytest
from scipy import special

from gradflow.inputs import Gaussian
from gradflow.kernels.activation_table import ABSOLUTE, CUBIC, ERF, GATED, LINEAR, ONE, SQUARE, TABLE
from gradflow.losses.population import PopulationLoss
from gradflow.networks import MLP

FUNCTIONS = {
    "erf": lambda z: special.erf(z / np.sqrt(2)),
    "relu": lambda z: np.maximum(z, 0.0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "normal_cdf": special.ndtr,
    "gelu": lambda z: z * special.ndtr(z),
    "identity": lambda z: z,
    "square": lambda z: z * z,
    "cube": lambda z: z**3,
}
NAMES = tuple(FUNCTIONS)


def quadrature(f, g, r, t, theta):
    """E f(rX) g(t(X cos θ + Y sin θ)) in polar coordinates, split where u or v changes sign."""
    radius, radial = np.polynomial.legendre.leggauss(160)
    radius, radial = 6.0 * (radius + 1), 6.0 * radial
    radial = radial * radius * np.exp(-0.5 * radius**2) / (2 * np.pi)
    kinks = np.sort(np.mod([np.pi / 2, -np.pi / 2, theta + np.pi / 2, theta - np.pi / 2], 2 * np.pi))
    kinks = np.append(kinks, kinks[0] + 2 * np.pi)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    total = 0.0
    for low, high in itertools.pairwise(kinks):
        phi = low + 0.5 * (high - low) * (nodes + 1)
        u, v = np.outer(radius, np.cos(phi)), np.outer(radius, np.cos(phi - theta))
        total += radial @ (f(r * u) * g(t * v)) @ weights * 0.5 * (high - low)
    return total


def one_pair(first, second, w, v):
    """K, ∂_w K and the own block of second derivatives, read off a loss (see test_population_pairs)."""
    teacher = MLP([v[None], [[1.0]]], activation=second)
    student = MLP([w[None], [[1.0]]], activation=first)
    loss = PopulationLoss(student, teacher, Gaussian())
    d, tiny = w.size, 2.0**-600
    _, gradient, hessian = loss.all_derivatives(np.append(w, 0.0))
    own = loss.all_derivatives(np.append(w, tiny))[2][:d, :d]
    return -gradient[d] / 2, -hessian[:d, d] / 2, -own / tiny / 2


def cross_block(first, second, w, v):
    student = MLP([np.stack([w, v]), np.ones((1, 2))], activation=(first, second))
    teacher = MLP([v[None], [[1.0]]], activation=second)
    d = w.size
    return PopulationLoss(student, teacher, Gaussian()).all_derivatives(student.flat())[2][:d, d : 2 * d] / 2


@pytest.mark.parametrize("second", NAMES)
@pytest.mark.parametrize("first", NAMES)
def test_value(rng, first, second):
    for scale in (0.3, 1.0, 2.5):
        w, v = scale * rng.standard_normal((2, 3))
        r, t = np.linalg.norm(w), np.linalg.norm(v)
        theta = np.arctan2(np.linalg.norm(np.cross(w, v)), w @ v)
        f, g = FUNCTIONS[first], FUNCTIONS[second]
        size = np.sqrt(quadrature(f, f, r, r, 0.0) * quadrature(g, g, t, t, 0.0))
        assert abs(one_pair(first, second, w, v)[0] - quadrature(f, g, r, t, theta)) <= 2e-13 * size


def exact(first, second, w, v):
    """K in mpmath: the formulas of the module, which `test_value` holds against quadrature."""
    s, t, q = mpmath.fdot(w, w), mpmath.fdot(v, v), mpmath.fdot(w, v)
    root, d = mpmath.sqrt(2 / mpmath.pi), mpmath.sqrt((1 + s) * (1 + t) - q * q)

    def part(p, o, s, t):
        """E p(u) o(v), listed once for each unordered pair."""
        table = {
            (LINEAR, LINEAR): lambda: q,
            (LINEAR, CUBIC): lambda: 3 * q * t,
            (CUBIC, CUBIC): lambda: 9 * q * s * t + 6 * q**3,
            (LINEAR, ERF): lambda: root * q / mpmath.sqrt(1 + t),
            (CUBIC, ERF): lambda: root * (3 * s * q / mpmath.sqrt(1 + t) - q**3 / mpmath.sqrt(1 + t) ** 3),
            (ERF, ERF): lambda: 2 / mpmath.pi * mpmath.atan2(q, d),
            (ONE, ONE): lambda: 1,
            (ONE, SQUARE): lambda: t,
            (ONE, ABSOLUTE): lambda: root * mpmath.sqrt(t),
            (ONE, GATED): lambda: root * t / mpmath.sqrt(1 + t),
            (SQUARE, SQUARE): lambda: s * t + 2 * q * q,
            (SQUARE, ABSOLUTE): lambda: root * (s * mpmath.sqrt(t) + q * q / mpmath.sqrt(t)),
            (SQUARE, GATED): lambda: root * (s * t * (1 + t) + q * q * (2 + t)) / mpmath.sqrt(1 + t) ** 3,
            (ABSOLUTE, ABSOLUTE): lambda: 2 / mpmath.pi * (
                mpmath.sqrt(s * t - q * q) + q * mpmath.atan2(q, mpmath.sqrt(s * t - q * q))
            ),
            (ABSOLUTE, GATED): lambda: 2 / mpmath.pi * (
                q * mpmath.atan2(q, mpmath.sqrt(s * (1 + t) - q * q))
                + t * mpmath.sqrt(s * (1 + t) - q * q) / (1 + t)
            ),
            (GATED, GATED): lambda: 2 / mpmath.pi * (
                (q * q + s * t * d * d) / ((1 + s) * (1 + t) * d) + q * mpmath.atan2(q, d)
            ),
        }  # fmt: skip
        if (p, o) in table:
            return table[p, o]()
        return part(o, p, t, s) if (o, p) in table else 0

    return mpmath.fsum(
        a * b * part(p, o, s, t)
        for p, a in TABLE[first].mixture.items()
        for o, b in TABLE[second].mixture.items()
    )


def differences(first, second, w, v, *moves):
    """Central differences of step 1e-40 in the coordinates (vector, index)."""
    step, total = mpmath.mpf(10) ** -40, mpmath.mpf(0)
    for signs in np.ndindex(*(2,) * len(moves)):
        moved = [[mpmath.mpf(float(a)) for a in u] for u in (w, v)]
        for (which, index), sign in zip(moves, signs):
            moved[which][index] += (1 - 2 * sign) * step
        total += (-1) ** sum(signs) * exact(first, second, *moved)
    return float(total / (2 * step) ** len(moves))


@pytest.mark.parametrize("second", NAMES)
@pytest.mark.parametrize("first", NAMES)
def test_derivatives(rng, first, second):
    """Values and derivatives to a few 1e-15 of the largest entry, from generic to tiny angles."""
    for angle in (1.0, 1e-4, 1e-10):
        for sign in (1.0, -1.0):
            w, other = rng.standard_normal((2, 3))
            v = sign * 1.2 * w + angle * other
            value, slope, own = one_pair(first, second, w, v)
            cross = cross_block(first, second, w, v)
            with mpmath.workdps(130):
                given = {
                    "value": (value, [differences(first, second, w, v)]),
                    "slope": (slope, [differences(first, second, w, v, (0, a)) for a in range(3)]),
                }
                for name, block, which in (("own", own, 0), ("cross", cross, 1)):
                    moves = [((0, a), (which, b)) for a in range(3) for b in range(3)]
                    given[name] = (block, [differences(first, second, w, v, *pair) for pair in moves])
            for name, (mine, wanted) in given.items():
                size = max(1.0, np.linalg.norm(w) * np.linalg.norm(v), np.abs(wanted).max())
                assert np.abs(np.ravel(mine) - wanted).max() <= 6e-15 * size, (name, angle, sign)


@pytest.mark.parametrize("name", ["erf", "relu"])
def test_agrees_with_the_own_kernels(rng, name):
    """erf and relu as members of a mixed layer give what their own kernels give."""
    for angle in (1.0, 1e-2, 1e-6, 1e-12):
        w = rng.standard_normal(3)
        v = -1.3 * w + angle * rng.standard_normal(3)
        student = MLP([np.stack([w, v]), np.ones((1, 2))], activation=name)
        plain = PopulationLoss(student, student, Gaussian()).all_derivatives(student.flat())[2]
        larger = MLP([np.stack([w, v, [1.0, 2.0, 0.5]]), np.ones((1, 3))], activation=(name, name, "square"))
        theta = larger.flat()
        theta[-1] = 0.0
        silent = MLP([[[1.0, 0.0, 0.0]], [[0.0]]], activation="cube")
        mixed = PopulationLoss(larger, silent, Gaussian()).all_derivatives(theta)[2]
        np.testing.assert_allclose(mixed[:3, 3:6], plain[:3, 3:6], atol=2e-15)
        np.testing.assert_allclose(mixed[9:11, 9:11], plain[6:, 6:], atol=4e-15)


def test_closed_forms_of_gelu():
    """E gelu(u)² at 30 digits by mpmath's own quadrature."""
    r = 1.7
    with mpmath.workdps(30):
        wanted = mpmath.quad(
            lambda x: (r * x * mpmath.ncdf(r * x)) ** 2 * mpmath.npdf(x), [-12, -3, 0, 3, 12]
        )
    w = np.array([r, 0.0])
    assert abs(one_pair("gelu", "gelu", w, w)[0] - float(wanted)) <= 4e-16 * float(wanted)


def test_every_kind_has_a_function():
    assert {name for name, record in TABLE.items() if record.mixture is not None} == {"one", *FUNCTIONS}


def test_monte_carlo_of_a_mixed_network(rng):
    """Different activations in student and teacher and from neuron to neuron."""
    names, others = ("erf", "gelu", "leaky_relu", "normal_cdf"), ("relu", "square", "erf")
    student = MLP([rng.standard_normal((4, 3)), rng.standard_normal((1, 4))], activation=names)
    teacher = MLP([rng.standard_normal((3, 3)), rng.standard_normal((1, 3))], activation=others)
    root = rng.standard_normal((3, 3))
    inputs = Gaussian(cov=root @ root.T)
    loss = PopulationLoss(student, teacher, inputs)
    X = inputs.sample(400_000, 3, rng)
    squares = (student(X) - teacher(X))[:, 0] ** 2
    z_score = (squares.mean() - loss.loss(student.flat())) / (squares.std() / np.sqrt(squares.size))
    assert abs(z_score) < 4.0
    theta, v = student.flat(), rng.standard_normal(loss.size)
    _, gradient, hessian = loss.all_derivatives(theta)
    assert (hessian == hessian.T).all()
    np.testing.assert_allclose(loss.hvp(theta, v), hessian @ v, atol=1e-13 * np.abs(hessian).max())
    slope = (loss.loss(theta + 1e-6 * v) - loss.loss(theta - 1e-6 * v)) / 2e-6
    assert abs(slope - gradient @ v) <= 1e-7 * (1 + np.abs(gradient).max())
