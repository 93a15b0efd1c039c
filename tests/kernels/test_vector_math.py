"""The vectorised elementary functions against mpmath at 50 digits, in ulp, and at special values."""

from __future__ import annotations

import llvmlite.binding as llvm
import mpmath
import numba
import numpy as np
import pytest

from gradflow.kernels.math import vector_math

FEATURES = llvm.get_host_cpu_features()
HAS_FMA = bool(FEATURES.get("fma") or FEATURES.get("neon"))
INF, NAN = np.inf, np.nan


def mapped(name: str):
    """The scalar function of that name along an array, compiled as kernels compile it."""
    function = getattr(vector_math, name)

    @numba.njit(error_model="numpy")
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    def call(x) -> np.ndarray:
        x = np.array(x, dtype=np.float64)
        out = np.empty_like(x)
        loop(x, out)
        return out

    return call


def worst_ulp(got: np.ndarray, exact: list) -> float:
    """The largest error in ulp of the true value; in subnormal numbers one ulp is 5e-324."""
    return max(
        float(abs(mpmath.mpf(g) - t) / mpmath.mpf(np.spacing(abs(float(t)))))
        for g, t in zip(got, exact, strict=True)
    )


def cdf(x):
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def all_digits(rng, x: np.ndarray) -> np.ndarray:
    """Near x, with random last bits: NumPy's uniform numbers end in zeros where they are small.

    1 - x is then exact, and the error of a reduction is not seen. Values at the edges stay.
    """
    near = x * (1.0 - rng.uniform(0.0, 1e-6, x.size))
    return np.concatenate([x, near])


def positive(rng, low: float, high: float, count: int) -> np.ndarray:
    """Powers of ten with exponents uniform between `low` and `high`."""
    return 10.0 ** rng.uniform(low, high, count)


def log_uniform(rng, low: float, high: float, count: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], count) * positive(rng, low, high, count)


def around(*centres: float) -> np.ndarray:
    """Points a few ulps about switch-over points, both signs."""
    points = [c * (1 + k * 2.0**-52) for c in centres for k in (-4, -2, -1, 0, 1, 2, 4)]
    return np.concatenate([points, np.negative(points)])


# Where exp's reduction turns from one power of two to the next.
TURNS = [(k + 0.5) * np.log(2) for k in (0, 1, 2, 10, 100)]
ROOT = np.sqrt(2.0)

# name: truth, largest error in ulp (a little above what ten times as many points show), arguments.
CASES = {
    "exp": (mpmath.exp, 1.0, lambda r: [r.uniform(-745, 709.78, 500), r.uniform(-2, 2, 500), around(*TURNS)]),
    "expm1": (mpmath.expm1, 2.0, lambda r: [
        r.uniform(-40, 709.78, 300), r.uniform(-2, 2, 600), log_uniform(r, -307, 0, 200), around(*TURNS),
    ]),
    "log1p": (mpmath.log1p, 1.4, lambda r: [
        positive(r, -307, 308, 400), r.uniform(-1, 3, 600), -positive(r, -307, -0.01, 200),
        positive(r, -16, -1, 200) - 1, np.abs(around(ROOT - 1, ROOT, 2**53)), -np.abs(around(1 - ROOT / 2)),
    ]),
    "log1p_of_unit": (mpmath.log1p, 1.4, lambda r: [
        r.uniform(0, 1, 500), positive(r, -307, 0, 200), np.abs(around(ROOT - 1)),
    ]),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), 2.0, lambda r: [
        r.uniform(-745, 40, 300), r.uniform(-5, 5, 600), around(*TURNS),
    ]),
    "softplus": (lambda x: mpmath.log1p(mpmath.exp(x)), 1.6, lambda r: [
        r.uniform(-745, 40, 300), r.uniform(-5, 5, 600), around(*TURNS, 0.881373587019543),
    ]),
    "tanh": (mpmath.tanh, 2.0, lambda r: [
        r.uniform(-20, 20, 300), r.uniform(-1, 1, 700), log_uniform(r, -307, 0, 200),
        around(*np.divide(TURNS, 2)),
    ]),
    "gaussian_pdf": (mpmath.npdf, 1.4, lambda r: [r.uniform(-38.5, 38.5, 500), r.uniform(-3, 3, 500)]),
    "gaussian_cdf": (cdf, 2.0, lambda r: [
        r.uniform(-38.4, 8.5, 500), r.uniform(-3, 3, 700), log_uniform(r, -20, 0, 100),
    ]),
    "erfc": (mpmath.erfc, 2.0, lambda r: [
        r.uniform(-6, 27.2, 500), r.uniform(-2, 2, 700), log_uniform(r, -20, 0, 100),
    ]),
    "erf": (mpmath.erf, 2.0, lambda r: [
        r.uniform(-6, 6, 300), r.uniform(-1, 1, 500), log_uniform(r, -307, 0, 300), around(1.25 / ROOT),
    ]),
    "erf_sqrt_half": (lambda z: mpmath.erf(z / mpmath.sqrt(2)), 1.5, lambda r: [
        r.uniform(-8.5, 8.5, 400), r.uniform(-1.3, 1.3, 500), log_uniform(r, -307, 0, 200), around(1.25),
    ]),
    "atan": (mpmath.atan, 1.8, lambda r: [
        r.uniform(-4, 4, 700), log_uniform(r, -307, 308, 300), around(ROOT - 1, ROOT + 1, 1.0),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_against_mpmath(name, rng):
    truth, tolerance, arguments = CASES[name]
    x = all_digits(rng, np.concatenate(arguments(rng)))
    with mpmath.workdps(50):
        worst = worst_ulp(mapped(name)(x), [truth(mpmath.mpf(v)) for v in x])
    assert worst <= tolerance + (0.0 if HAS_FMA else 2.0)


TINY = 5e-324
SUBNORMALS = (TINY, 1e-310, 2.2250738585072014e-308)

# name: pairs of argument and value; zeros are compared with their sign.
SPECIAL = {
    "exp": ((0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (710.0, INF), (-746.0, 0.0), (1e308, INF),
            (-1e308, 0.0)),
    "expm1": ((0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0), (710.0, INF), (-1e308, -1.0)),
    "log1p": ((0.0, 0.0), (-0.0, -0.0), (INF, INF), (-1.0, -INF), (-1.0000000000000002, NAN), (-INF, NAN),
              (1.7976931348623157e308, 709.782712893384)),
    "sigmoid": ((0.0, 0.5), (INF, 1.0), (-INF, 0.0), (1e308, 1.0), (-1e308, 0.0)),
    "softplus": ((0.0, 0.6931471805599453), (INF, INF), (-INF, 0.0), (1e308, 1e308), (-1e308, 0.0)),
    "tanh": ((0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (1e308, 1.0)),
    "gaussian_pdf": ((0.0, 0.3989422804014327), (INF, 0.0), (-INF, 0.0), (1e308, 0.0)),
    "gaussian_cdf": ((0.0, 0.5), (INF, 1.0), (-INF, 0.0), (1e308, 1.0), (-1e308, 0.0), (-38.6, 0.0)),
    "erfc": ((0.0, 1.0), (INF, 0.0), (-INF, 2.0), (1e308, 0.0), (-1e308, 2.0), (27.3, 0.0)),
    "erf": ((0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (1e308, 1.0), (-1e308, -1.0)),
    "erf_sqrt_half": ((0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (1e308, 1.0)),
    "atan": ((0.0, 0.0), (-0.0, -0.0), (INF, 1.5707963267948966), (-INF, -1.5707963267948966),
             (1.0, 0.7853981633974483)),
}  # fmt: skip


@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name):
    arguments, values = np.array(SPECIAL[name]).T
    got = mapped(name)(arguments)
    np.testing.assert_array_equal(got, values)
    np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(values[values == 0]))
    assert np.isnan(mapped(name)([NAN])).all()


@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "atan"])
def test_subnormal_arguments_pass(name):
    x = np.array([*SUBNORMALS, *np.negative(SUBNORMALS)])
    np.testing.assert_array_equal(mapped(name)(x), x)


@pytest.mark.parametrize(
    ("name", "truth", "low", "high"),
    [
        ("exp", mpmath.exp, -745.1, -708.4),
        ("gaussian_cdf", cdf, -38.45, -37.52),
        ("erfc", mpmath.erfc, 26.55, 27.2),
    ],
)
def test_underflow_is_gradual(name, truth, low, high):
    x = np.linspace(low, high, 200)
    got = mapped(name)(x)
    with mpmath.workdps(50):
        assert worst_ulp(got, [truth(mpmath.mpf(v)) for v in x]) <= 2.0
    assert (got > 0).all() and (got < 2.3e-308).all()


def test_atan2_in_the_first_quadrant(rng):
    y, x = positive(rng, -150, 150, 300), positive(rng, -150, 150, 300)
    y, x = np.concatenate([y, positive(rng, -3, 3, 600) * x.repeat(2)]), np.concatenate([x, x.repeat(2)])
    function = vector_math.atan2_of_quadrant

    @numba.njit(error_model="numpy")
    def loop(y, x, out):
        for i in range(x.size):
            out[i] = function(y[i], x[i])

    def call(y, x):
        out = np.empty(len(x))
        loop(np.array(y, float), np.array(x, float), out)
        return out

    with mpmath.workdps(50):
        exact = [mpmath.atan2(mpmath.mpf(a), mpmath.mpf(b)) for a, b in zip(y, x, strict=True)]
        assert worst_ulp(call(y, x), exact) <= 2.2 + (0.0 if HAS_FMA else 1.0)
    half_pi = 1.5707963267948966
    expected = [0.0, 0.0, half_pi, 0.7853981633974483, half_pi, 0.0, NAN]
    np.testing.assert_array_equal(
        call([0.0, 0.0, 3.0, 5e-324, INF, 1.0, NAN], [0.0, 2.0, 0.0, 5e-324, 1.0, INF, 1.0]), expected
    )


@pytest.mark.parametrize("name", CASES)
def test_a_loop_becomes_vector_code(name):
    function = getattr(vector_math, name)

    @numba.njit(numba.void(numba.float64[::1], numba.float64[::1]), error_model="numpy")
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    if not FEATURES.get("avx2"):
        pytest.skip("the names of registers are those of AVX2 and AVX-512")
    (assembly,) = loop.inspect_asm().values()
    assert "%zmm" in assembly or "%ymm" in assembly
    assert sum("add" in line and "pd\t" in line for line in assembly.splitlines()) >= 12
