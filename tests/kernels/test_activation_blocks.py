"""The block routines against mpmath at 50 digits, in ulp; their limits; and that they are vector code."""

from __future__ import annotations

import re

import llvmlite.binding as llvm
import mpmath
import numpy as np
import pytest

from gradflow.kernels import activation_blocks
from gradflow.kernels.math import abi

NAMES = (
    "erf", "normal_cdf", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "gelu", "silu", "selu", "elu",
    "identity", "square", "cube", "sin", "cos", "exp", "g",
)  # fmt: skip
FEATURES = llvm.get_host_cpu_features()
HAS_FMA = bool(FEATURES.get("fma") and FEATURES.get("avx2"))

# The published constants of Klambauer et al. (2017), as decimals.
SELU_SCALE = "1.0507009873554804934193349852946"
SELU_ALPHA = "1.6732632423543772848170429916717"


def evaluate(name: str, z: np.ndarray, order: int = 2) -> list[np.ndarray]:
    outputs = [np.full(z.size, -7.0) for _ in range(3)]
    routine = abi.compile_function(getattr(activation_blocks, name), abi.ACTIVATION)
    addresses = [a.ctypes.data if k <= order else 0 for k, a in enumerate(outputs)]
    abi.callable_from_python(routine.address)(z.size, order, z.ctypes.data, *addresses)
    return outputs


def sigmoid(z):
    return 1 / (1 + mpmath.exp(-z))


def logistic_slope(z):
    return 1 / (mpmath.exp(z) + 2 + mpmath.exp(-z))


def cdf(z):
    return mpmath.erfc(-z / mpmath.sqrt(2)) / 2


def pdf(z):
    return mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi)


def exponential_unit(z, scale, alpha):
    e = scale * alpha * mpmath.exp(z)
    return [scale * z, scale, mpmath.mpf(0)] if z > 0 else [scale * alpha * mpmath.expm1(z), e, e]


def truth(name: str, z) -> list:
    """σ, σ', σ'' as lists of terms: their sum is the truth, the sum of their sizes the natural scale."""
    s, t, one = sigmoid(z), logistic_slope(z), mpmath.mpf(1)
    slope = one if z > 0 else mpmath.mpf(0)
    leak = one if z > 0 else mpmath.mpf(0.01)
    return {
        "erf": lambda: [[mpmath.erf(z / mpmath.sqrt(2))], [2 * pdf(z)], [-2 * z * pdf(z)]],
        "normal_cdf": lambda: [[cdf(z)], [pdf(z)], [-z * pdf(z)]],
        "relu": lambda: [[slope * z], [slope], [0 * one]],
        "leaky_relu": lambda: [[leak * z], [leak], [0 * one]],
        "tanh": lambda: [
            [mpmath.tanh(z)], [mpmath.sech(z) ** 2], [-2 * mpmath.tanh(z) * mpmath.sech(z) ** 2]
        ],
        "sigmoid": lambda: [[s], [t], [-t * mpmath.tanh(z / 2)]],
        "softplus": lambda: [[mpmath.log1p(mpmath.exp(z))], [s], [t]],
        "gelu": lambda: [[z * cdf(z)], [cdf(z), z * pdf(z)], [2 * pdf(z), -z * z * pdf(z)]],
        "silu": lambda: [[z * s], [s, z * t], [2 * t, -z * t * mpmath.tanh(z / 2)]],
        "selu": lambda: [[x] for x in exponential_unit(z, mpmath.mpf(SELU_SCALE), mpmath.mpf(SELU_ALPHA))],
        "elu": lambda: [[x] for x in exponential_unit(z, one, one)],
        "identity": lambda: [[z], [one], [0 * one]],
        "square": lambda: [[z * z], [2 * z], [2 * one]],
        "cube": lambda: [[z**3], [3 * z * z], [6 * z]],
        "sin": lambda: [[mpmath.sin(z)], [mpmath.cos(z)], [-mpmath.sin(z)]],
        "cos": lambda: [[mpmath.cos(z)], [-mpmath.sin(z)], [-mpmath.cos(z)]],
        "exp": lambda: [[mpmath.exp(z)]] * 3,
        "g": lambda: [
            [sigmoid(4 * z), mpmath.log1p(mpmath.exp(z))],
            [4 * logistic_slope(4 * z), s],
            [-16 * logistic_slope(4 * z) * mpmath.tanh(2 * z), t],
        ],
    }[name]()  # fmt: skip


# Largest errors in ulp of (σ, σ', σ''), a little above those found on ten times as many points.
TOLERANCE = {
    "erf": (1.6, 1.4, 2.3),
    "normal_cdf": (2.1, 1.4, 2.3),
    "relu": (0.0, 0.0, 0.0),
    "leaky_relu": (0.5, 0.0, 0.0),
    "tanh": (2.1, 3.2, 5.3),
    "sigmoid": (2.0, 3.0, 5.0),
    "softplus": (1.7, 2.0, 3.0),
    "gelu": (2.5, 2.5, 2.7),
    "silu": (2.9, 2.5, 3.8),
    "selu": (2.8, 2.9, 2.9),
    "elu": (1.3, 1.1, 1.1),
    "identity": (0.0, 0.0, 0.0),
    "square": (0.5, 0.0, 0.0),
    "cube": (1.5, 1.5, 0.5),
    "sin": (1.0, 1.0, 1.0),
    "cos": (1.0, 1.0, 1.0),
    "exp": (1.5, 1.5, 1.5),
    "g": (2.7, 3.3, 5.7),
}


def sample(rng, count: int = 1) -> np.ndarray:
    switches = np.array([1.25, 2.5, np.sqrt(2), np.log(2) / 2, np.log(2), np.log(2) / 4, 0.8813735870195429])
    beside = [s * (1 + k * 2.0**-52) for s in switches for k in (-3, -1, 0, 1, 3)]
    spans = np.repeat([0.5, 1.5, 4.0, 8.0, 37.0, 700.0], 80 * count)
    # Products, because NumPy's uniform numbers alone end in zeros where they are small.
    spread = spans * rng.uniform(-1.0, 1.0, spans.size) * rng.uniform(0.9, 1.0, spans.size)
    return np.concatenate([spread, 10.0 ** rng.uniform(-300, 0, 20 * count), beside, np.negative(beside)])


def worst_errors(name: str, z: np.ndarray) -> np.ndarray:
    got = evaluate(name, z)
    worst = np.zeros(3)
    with mpmath.workdps(50):
        for i, x in enumerate(z):
            for k, terms in enumerate(truth(name, mpmath.mpf(x))):
                # Where φ is subnormal, its multiples have no more digits than φ: absolute from there on.
                scale = max(float(mpmath.fsum(map(abs, terms))), 1e-300)
                error = abs(mpmath.mpf(got[k][i]) - mpmath.fsum(terms)) / mpmath.mpf(np.spacing(scale))
                worst[k] = max(worst[k], float(error))
    return worst


@pytest.mark.parametrize("name", NAMES)
def test_against_mpmath(name, rng):
    allowed = np.add(TOLERANCE[name], 0.0 if HAS_FMA else 2.0)
    assert (worst_errors(name, sample(rng)) <= allowed).all()


@pytest.mark.parametrize("name", ["gelu", "normal_cdf", "erf"])
def test_gaussian_tails_keep_their_digits(name):
    """Relative accuracy of Φ(z), z Φ(z) and of the derivatives down to z = -37."""
    z = np.linspace(-37.0, -5.0, 161)
    assert (worst_errors(name, z) <= np.add(TOLERANCE[name], 0.0 if HAS_FMA else 2.0)).all()


# name: (σ, σ', σ'') at -∞, and at +∞.
LIMITS = {
    "erf": ((-1, 0, 0), (1, 0, 0)),
    "normal_cdf": ((0, 0, 0), (1, 0, 0)),
    "relu": ((0, 0, 0), (np.inf, 1, 0)),
    "leaky_relu": ((-np.inf, 0.01, 0), (np.inf, 1, 0)),
    "tanh": ((-1, 0, 0), (1, 0, 0)),
    "sigmoid": ((0, 0, 0), (1, 0, 0)),
    "softplus": ((0, 0, 0), (np.inf, 1, 0)),
    "gelu": ((0, 0, 0), (np.inf, 1, 0)),
    "silu": ((0, 0, 0), (np.inf, 1, 0)),
    "selu": ((-1.7580993408473766, 0, 0), (np.inf, 1.0507009873554805, 0)),
    "elu": ((-1, 0, 0), (np.inf, 1, 0)),
    "identity": ((-np.inf, 1, 0), (np.inf, 1, 0)),
    "square": ((np.inf, -np.inf, 2), (np.inf, np.inf, 2)),
    "cube": ((-np.inf, np.inf, -np.inf), (np.inf, np.inf, np.inf)),
    "sin": ((np.nan,) * 3,) * 2,
    "cos": ((np.nan,) * 3,) * 2,
    "exp": ((0, 0, 0), (np.inf, np.inf, np.inf)),
    "g": ((0, 0, 0), (np.inf, 1, 0)),
}


@pytest.mark.parametrize("name", NAMES)
def test_limits_and_nan(name):
    z = np.array([-np.inf, np.inf, np.nan])
    got = np.array(evaluate(name, z))
    np.testing.assert_allclose(got[:, :2].T, LIMITS[name], rtol=2.3e-16, atol=0.0)
    assert np.isnan(got[0, 2])
    huge = np.array(evaluate(name, np.array([-1e300, 1e300])))
    assert np.isnan(huge).any() == (name in ("sin", "cos"))


# σ, σ', σ'' at 0, the left branch where they jump.
AT_ZERO = {
    "erf": (0.0, np.sqrt(2 / np.pi), 0.0),
    "normal_cdf": (0.5, 1 / np.sqrt(2 * np.pi), 0.0),
    "relu": (0.0, 0.0, 0.0),
    "leaky_relu": (0.0, 0.01, 0.0),
    "tanh": (0.0, 1.0, 0.0),
    "sigmoid": (0.5, 0.25, 0.0),
    "softplus": (np.log(2), 0.5, 0.25),
    "gelu": (0.0, 0.5, np.sqrt(2 / np.pi)),
    "silu": (0.0, 0.5, 0.5),
    "selu": (0.0, 1.7580993408473766, 1.7580993408473766),
    "elu": (0.0, 1.0, 1.0),
    "sin": (0.0, 1.0, 0.0),
    "cos": (1.0, 0.0, -1.0),
    "exp": (1.0, 1.0, 1.0),
    "g": (0.5 + np.log(2), 1.5, 0.25),
}


@pytest.mark.parametrize("name", AT_ZERO)
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_at_zero(name, zero):
    got = np.ravel(evaluate(name, np.array([zero])))
    np.testing.assert_array_almost_equal_nulp(got, np.array(AT_ZERO[name]), nulp=1)


@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_the_block(name, rng):
    """Vector body and scalar remainder agree to the bit, at every length; so do the orders."""
    z = rng.normal(scale=4.0, size=70)
    whole = np.array(evaluate(name, z))
    for n in (*range(1, 36), 63, 65):
        np.testing.assert_array_equal(evaluate(name, z[:n].copy()), whole[:, :n])
    for order in (0, 1):
        part = np.array(evaluate(name, z, order))
        np.testing.assert_array_equal(part[: order + 1], whole[: order + 1])
        assert (part[order + 1 :] == -7.0).all()


@pytest.mark.skipif(not HAS_FMA, reason="the processor has no AVX2 with fused multiply-add")
@pytest.mark.parametrize("name", NAMES)
def test_the_loops_are_vector_code(name):
    """Every order stores whole registers, polynomials are packed, and nothing calls libm."""
    compiled = abi.compile_function(getattr(activation_blocks, name), abi.ACTIVATION, cached=False)
    assembly = compiled._library.get_asm_str()
    libm = r"\b(exp2?|expm1|log|log1p|tanh|erfc?|fma|pow|floor|rint|copysign|fabs)\b"
    assert not re.search(rf"(call|movabs|jmp)\S*\s.*{libm}", assembly)
    vector_stores = re.findall(r"vmov\w+\s+%[yz]mm\d+, [^,(]*\(%r(?!sp)", assembly)
    assert len(vector_stores) >= 1 + 2 + 3
    if name not in ("relu", "leaky_relu", "identity", "square", "cube"):
        assert len(re.findall(r"vfn?m(?:add|sub)\d+pd\s.*%[yz]mm", assembly)) >= 3 * 12
