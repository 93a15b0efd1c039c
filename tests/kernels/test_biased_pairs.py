"""Pair kernels with biases against mpmath: quadrature at 30 digits and more, derivatives by differences.

In the plane of the pair w = (r, 0), w' = r' (cos θ, sin θ), so that the rows of a kernel give ∂_w K,
∂_w∂_w K, ∂_w∂_w' K, ∂_b∂_w K and ∂_b'∂_w K entry by entry.
"""

import mpmath
import numba
import numpy as np
import pytest

import gradflow as gf
from gradflow.kernels.activation_table import KINDS, TABLE
from gradflow.kernels.math import abi
from gradflow.kernels.pairs import serving, smoothed
from gradflow.kernels.pairs.gated import gated
from gradflow.kernels.pairs.general import general
from gradflow.kernels.pairs.panels import panels
from gradflow.kernels.pairs.units import (
    A00,
    A01,
    A11,
    ALPHA,
    B00,
    B01,
    B10,
    B11,
    BETA,
    BIAS,
    C0,
    C1,
    COSINE,
    D0,
    D1,
    FIELDS,
    GAMMA,
    KIND,
    NORM,
    PAIR,
    ROWS,
    SINE,
    VALUE,
)  # fmt: skip

mp = mpmath
SCALE, ALPHA_SELU = mp.mpf(1.0507009873554804934193349852946), mp.mpf(1.6732632423543772848170429916717)
FUNCTIONS = {
    "relu": lambda z: max(z, mp.mpf(0)),
    "leaky_relu": lambda z: z if z > 0 else mp.mpf(0.01) * z,
    "erf": lambda z: mp.erf(z / mp.sqrt(2)),
    "normal_cdf": mp.ncdf,
    "identity": lambda z: z,
    "elu": lambda z: z if z > 0 else mp.expm1(z),
    "selu": lambda z: SCALE * (z if z > 0 else ALPHA_SELU * mp.expm1(z)),
    "sin": mp.sin,
    "exp": mp.exp,
    "cube": lambda z: z**3,
}


def relu_mean(m, s):
    return s * mp.npdf(m / s) + m * mp.ncdf(m / s)


def elu_rest(m, s):
    return mp.exp(m + s * s / 2) * mp.ncdf(-m / s - s) - mp.ncdf(-m / s)


MEANS = {
    "relu": relu_mean,
    "leaky_relu": lambda m, s: mp.mpf(0.01) * m + (1 - mp.mpf(0.01)) * relu_mean(m, s),
    "erf": lambda m, s: mp.erf(m / mp.sqrt(2 + 2 * s * s)),
    "normal_cdf": lambda m, s: mp.ncdf(m / mp.sqrt(1 + s * s)),
    "identity": lambda m, s: m,
    "elu": lambda m, s: relu_mean(m, s) + elu_rest(m, s),
    "selu": lambda m, s: SCALE * (relu_mean(m, s) + ALPHA_SELU * elu_rest(m, s)),
    "sin": lambda m, s: mp.exp(-s * s / 2) * mp.sin(m),
    "exp": lambda m, s: mp.exp(m + s * s / 2),
    "cube": lambda m, s: m**3 + 3 * m * s * s,
}


def kernel(first, second, w, b, v, shift):
    """E σ(w·x + b) τ(v·x + shift) over the direction of w, the mean across it in closed form."""
    r = mp.sqrt(w[0] ** 2 + w[1] ** 2)
    along = (w[0] * v[0] + w[1] * v[1]) / r
    across = abs(w[0] * v[1] - w[1] * v[0]) / r
    width = across / abs(along) if along != 0 else mp.mpf(1)
    centre = -shift / along if along != 0 else mp.mpf(0)
    points = {mp.mpf(-13), mp.mpf(13), mp.mpf(0), -b / r} | {centre + k * width for k in (-13, -4, 0, 4, 13)}
    points = sorted(p for p in points if -13 <= p <= 13)
    f, g = FUNCTIONS[first], MEANS[second]
    return mp.quad(
        lambda x: mp.npdf(x) * f(b + r * x) * g(shift + along * x, across), points, method="gauss-legendre"
    )


def truth(first, second, r, t, theta, b, shift, step, blocks):
    """K, ∂K in (w, b), and the second derivatives in (w, b) × (w, v, b, b'), central differences."""
    point = [mp.mpf(r), mp.mpf(0), t * mp.cos(theta), t * mp.sin(theta), mp.mpf(b), mp.mpf(shift)]

    def value(*moves):
        p = list(point)
        for index, amount in moves:
            p[index] += amount
        return kernel(first, second, p[:2], p[4], p[2:4], p[5])

    def slope(i):
        return (value((i, step)) - value((i, -step))) / (2 * step)

    def curve(i, j):
        signs = [(a, c) for a in (1, -1) for c in (1, -1)]
        return sum(a * c * value((i, a * step), (j, c * step)) for a, c in signs) / (4 * step * step)

    exact = {"value": [value()], "first": [slope(0), slope(1)], "bias": [slope(4)]}
    if not blocks:
        return exact
    return exact | {
        "own": [curve(0, 0), curve(0, 1), curve(1, 1)],
        "cross": [curve(0, 2), curve(0, 3), curve(1, 2), curve(1, 3)],
        "mixed": [curve(4, 0), curve(4, 1)],
        "mixed across": [curve(5, 0), curve(5, 1)],
    }


def rows(pair, first, second, r, t, theta, b, shift):
    """What the kernel says, in the same entries."""
    cosine, sine = mp.cos(theta), mp.sin(theta)
    geometry = np.array([[float(cosine)], [float(sine * sine)]])
    units = np.zeros((2, FIELDS))
    for unit, (norm, bias, name) in zip(units, ((r, b, first), (t, shift, second))):
        unit[[NORM, BIAS, KIND]] = norm, bias, KINDS[name]
        unit[SINE], unit[COSINE] = norm / np.hypot(1, norm), 1 / np.hypot(1, norm)
    output = np.full((ROWS, 1), np.nan)
    call = abi.callable_from_python(abi.compile_function(pair, PAIR).address)
    call(1, 2, geometry.ctypes.data, units[0].ctypes.data, units[1].ctypes.data, output.ctypes.data)
    k = output[:, 0]
    c, s = float(cosine), float(sine)
    b_form = np.array([[k[B00], k[B01]], [k[B10], k[B11]]]) @ np.array([[c, s], [s, -c]])
    return {
        "value": [k[VALUE]],
        "first": [k[ALPHA] * t * c + k[BETA] * r, k[ALPHA] * t * s],
        "bias": [k[GAMMA]],
        "own": [k[BETA] + k[A00], k[A01], k[BETA] + k[A11]],
        "cross": [k[ALPHA] + b_form[0, 0], b_form[0, 1], b_form[1, 0], k[ALPHA] + b_form[1, 1]],
        "mixed": [k[C0], k[C1]],
        "mixed across": [k[D0], k[D1]],
    }


def errors(pair, first, second, r, t, theta, b, shift, blocks=False):
    """Errors of the value over √(K(w,w)K(w',w')), of first derivatives over that per |w| + |b|, of blocks."""
    lost = max(0, -int(mp.log10(theta)))  # the steps are far below the angle
    with mp.workdps((38 if blocks else 30) + 3 * lost):
        step = mp.mpf(10) ** (-9 - 2 * lost)
        exact = truth(first, second, r, t, theta, b, shift, step, blocks)
        found = rows(pair, first, second, r, t, theta, b, shift)
        own = kernel(first, first, (mp.mpf(r), 0), b, (mp.mpf(r), mp.mpf(10) ** -30), b)
        other = kernel(second, second, (mp.mpf(t), 0), shift, (mp.mpf(t), mp.mpf(10) ** -30), shift)
        natural = mp.sqrt(own * other)
        scales = {"value": natural, "first": natural / r, "bias": natural / r}
        result = {}
        for name, entries in exact.items():
            error = max(abs(mp.mpf(float(x)) - y) for x, y in zip(found[name], entries))
            result[name] = float(error / scales.get(name, max(abs(y) for y in entries)))
        return result


CASES = [
    ("relu", "relu", 2.43, 0.04, 1e-4, -3.03, -0.05),
    ("relu", "relu", 0.5, 3.6, 0.1, -0.3, 0.15),
    ("erf", "erf", 0.06, 0.9, 2.5, 0.02, 0.85),
    ("erf", "relu", 1.9, 2.0, 2.5, 0.08, 1.3),
    ("relu", "erf", 1.6, 0.23, 1.0, 0.5, -0.06),
    ("normal_cdf", "erf", 3.5, 0.1, 0.1, -0.9, -0.06),
    ("leaky_relu", "identity", 1.2, 0.7, 0.5, 0.3, -0.4),
    ("elu", "elu", 0.05, 0.1, 1.0, 0.02, -0.06),
    ("selu", "relu", 4.4, 0.14, 2.5, -2.2, -0.03),
    ("elu", "sin", 4.2, 0.75, 1.0, -4.2, -1.6),
    ("relu", "cube", 0.8, 1.1, 1e-4, 0.2, 0.3),
    ("exp", "relu", 0.5, 0.6, 2.5, 0.03, -1.3),
    ("selu", "sin", 1.17, 2.91, 0.193, 1.6, -3.76),
]


def of(first, second):
    return serving.closed((TABLE[first], TABLE[second]), True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[4]:g}")
def test_value_and_first_derivatives(case):
    """Within 2e-15 of √(K(w,w)K(w',w')), derivatives times |w|."""
    found = errors(of(*case[:2]), *case)
    assert found["value"] <= 2e-15
    assert found["first"] <= 2e-15
    assert found["bias"] <= 2e-15


@pytest.mark.parametrize("case", [CASES[1], CASES[8]], ids=lambda case: f"{case[0]}-{case[1]}")
def test_second_derivatives(case):
    """Within 2e-15 of the largest entry of each block."""
    found = errors(of(*case[:2]), *case, blocks=True)
    assert max(found[name] for name in ("own", "cross", "mixed", "mixed across")) <= 2e-15


def test_both_kernels_agree(rng):
    """The closed forms of gates against the panels, second derivatives included, at any angle."""
    for first in ("relu", "erf", "normal_cdf"):
        for second in ("relu", "erf", "leaky_relu"):
            for _ in range(4):
                r, t = 10.0 ** rng.uniform(-1, 1, 2)
                theta = float(np.pi * rng.uniform() if rng.uniform() < 0.7 else 10.0 ** rng.uniform(-3, 0))
                case = first, second, r, t, theta, r * rng.standard_normal(), t * rng.standard_normal()
                one, two = rows(gated, *case), rows(general, *case)
                for name, entries in one.items():
                    scale = np.abs(entries).max() + np.abs(two[name]).max()
                    np.testing.assert_allclose(entries, two[name], atol=2e-13 * scale + 1e-16 * r * t, rtol=0)


@pytest.mark.parametrize("pair, names", [
    (gated, ("relu", "erf", "normal_cdf", "leaky_relu", "identity", "one")),
    (panels, ("elu", "selu", "relu", "leaky_relu", "erf", "gelu", "one")),
], ids=["gates", "panels"])  # fmt: skip
def test_any_size(rng, pair, names):
    """Norms and biases from 1e-140 to 1e140, zeros, any angle: every row is a number."""
    call = abi.callable_from_python(abi.compile_function(pair, PAIR).address)
    for _ in range(3000):
        sizes = rng.choice([0.0, 1.0, 1.0], 4) * 10.0 ** (rng.choice([1, 10, 140]) * rng.uniform(-1, 1, 4))
        r, t, b, shift = sizes * [1, 1, *rng.choice([-1, 1], 2)]
        theta = rng.choice([0.0, 10.0 ** rng.uniform(-18, 0), np.pi * rng.uniform()])
        cosine = 0.0 if r * t == 0 else rng.choice([-1, 1]) * np.cos(theta)
        geometry = np.array([[cosine], [1.0 if r * t == 0 else np.sin(theta) ** 2]])
        units = np.zeros((2, FIELDS))
        for unit, norm, bias in zip(units, (r, t), (b, shift)):
            unit[[NORM, BIAS, KIND]] = norm, bias, KINDS[rng.choice(names)]
            unit[SINE], unit[COSINE] = norm / np.hypot(1, norm), 1 / np.hypot(1, norm)
        output = np.full((ROWS, 1), np.nan)
        call(1, 2, geometry.ctypes.data, units[0].ctypes.data, units[1].ctypes.data, output.ctypes.data)
        assert np.isfinite(output).all()


def test_erf_far_from_its_kink_beside_a_small_unit():
    # Both fields over their deviations are small for one unit only: k − ρh must not cancel.
    w, b, v, c = 10.0, -13.0, np.array([6e-4, 8e-4]), 4e-4
    with mpmath.workdps(40):

        def mean(a0, a1):  # E erf(u/√2) erf(z/√2), u = a·x + b, the mean across a in closed form
            r = mpmath.sqrt(a0 * a0 + a1 * a1)
            q = (v[0] * a0 + v[1] * a1) / r
            s = (v[1] * a0 - v[0] * a1) / r
            bottom = mpmath.sqrt(2 * (1 + s * s))
            return mpmath.quad(
                lambda x: (
                    mpmath.erf((r * x + b) / mpmath.sqrt(2))
                    * mpmath.erf((q * x + c) / bottom)
                    * mpmath.npdf(x)
                ),
                [-12, 0, 1, 1.3, 1.6, 3, 12],
            )

        step = mpmath.mpf("1e-12")
        true = [
            float((mean(w + step, 0) - mean(w - step, 0)) / (2 * step)),
            float((mean(mpmath.mpf(w), step) - mean(mpmath.mpf(w), -step)) / (2 * step)),
        ]
    teacher = gf.MLP([v[None], [[1.0]]], [[c], None], activation="erf")
    tiny = 2.0**-300  # the student's own term is of second order in it
    student = gf.MLP([[[w, 0.0]], [[tiny]]], [[b], None], activation="erf")
    found = gf.Problem(teacher, student).gradient(student.flat())[:2] / (-2.0 * tiny)
    natural = 1e-3 / w  # √(K(w,w) K(v,v)) / |w|
    assert np.abs(found - true).max() < 2e-15 * natural


@pytest.mark.parametrize("name", ["elu", "selu"])
def test_steep_units_at_the_smallest_angles(name):
    """K and its slopes go on to their values at θ = 0: the e^z of a steep unit is seen at any angle."""
    for r, t, b, shift in ((0.3, 85.0, -0.02, 20.4), (2.1, 55.0, 0.15, 9.9), (1.6, 96.0, 0.9, -28.6)):
        there = rows(panels, name, name, r, t, mp.mpf(0), b, shift)
        for theta in (2e-16, 8e-16, 4e-15):
            here = rows(panels, name, name, r, t, mp.mpf(theta), b, shift)
            for entry in ("value", "first", "bias"):
                bound = 1e-14 * np.abs(there[entry]).max() + t * theta
                np.testing.assert_allclose(here[entry], there[entry], atol=bound, rtol=0)


def test_panels_and_finite_sums_agree(rng):
    """Pairs with the constant 1: the integral of one unit against its elementary mean."""
    for name in ("relu", "leaky_relu", "elu", "selu", "erf", "normal_cdf", "gelu"):
        for pair in ((name, "one"), ("one", name)):
            r, b = 10.0 ** rng.uniform(-1, 1), rng.standard_normal()
            case = (
                (*pair, r, 0.0, mp.pi / 2, b, 0.0) if pair[1] == "one" else (*pair, 0.0, r, mp.pi / 2, 0.0, b)
            )
            one, two = rows(panels, *case), rows(general, *case)
            for entry, values in one.items():
                np.testing.assert_allclose(values, two[entry], atol=1e-14 * (r + abs(b) + 1 / r), rtol=0)


def test_the_scaled_tail_far_out():
    called = numba.njit(lambda z: smoothed.scaled_tail_of(z))
    with mpmath.workdps(30):
        for z in (0.5, 20.0, 37.9, 38.1, 60.0, 100.0, 1e3, 1e8):
            y = mpmath.mpf(z)
            # Φ(−z) e^(z²/2) by Legendre's continued fraction, which converges fast for large z
            true = mpmath.exp(y * y / 2) * mpmath.ncdf(-y) if z < 30 else None
            if true is None:
                tail = mpmath.mpf(0)
                for k in range(60, 0, -1):
                    tail = k / (y + tail)
                true = mpmath.npdf(0) / (y + tail)
            assert called(z) == pytest.approx(float(true), rel=1e-15)
