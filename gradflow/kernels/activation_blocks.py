"""The activations a block of pre-activations at a time: σ, σ' and σ'' share their exponential.

Each public function has the C signature `abi.ACTIVATION`, (n, order, z, value, first, second): it
reads n doubles at the address z and writes σ, for order ≥ 1 also σ', for order 2 also σ''. Addresses
of outputs beyond `order` are not touched and may be null. Arrays never alias.

Behind each stands a branch-free scalar function z -> (σ, σ', σ''). It is inlined into the loop of each
order, where the compiler drops what that order does not store, and the loop vectorises. Factors that
pass through zero or decay are formed as products (e/(1 + e)², not s - s²), so that tails keep their
digits; sums remain only where the function itself crosses zero.
"""

from __future__ import annotations

import numba
import numpy as np

from .math import vector_math as vm
from .math.abi import as_pointer
from .math.vector_math import inlined, select

SELU_SCALE = 1.0507009873554804934193349852946
"""λ of Klambauer, Unterthiner, Mayr & Hochreiter, Self-Normalizing Neural Networks (2017), appendix."""
SELU_ALPHA = 1.6732632423543772848170429916717
"""α of the same; σ(z) = λ z for z > 0 and λ α (e^z - 1) for z ≤ 0."""
LEAKY_SLOPE = 0.01
"""σ(z) = z for z > 0 and LEAKY_SLOPE · z for z ≤ 0."""

_SELU_NEGATIVE = SELU_SCALE * SELU_ALPHA


@inlined
def each(scalar, n, order, z, value, first, second):
    """Apply the scalar function z -> (σ, σ', σ'') along a block, as far as `order` wants."""
    inputs = numba.carray(as_pointer(z), n, np.float64)
    values = numba.carray(as_pointer(value), n, np.float64)
    firsts = numba.carray(as_pointer(first), n, np.float64)
    seconds = numba.carray(as_pointer(second), n, np.float64)
    if order == 0:
        for i in range(n):
            values[i] = scalar(inputs[i])[0]
    elif order == 1:
        for i in range(n):
            values[i], firsts[i], _ = scalar(inputs[i])
    else:
        for i in range(n):
            values[i], firsts[i], seconds[i] = scalar(inputs[i])


@inlined
def _erf(z):
    """erf(z/√2), 2 φ(z), -2 z φ(z)."""
    value, density = vm.erf_and_pdf(z)
    return value, 2.0 * density, -2.0 * vm.bounded(z) * density


@inlined
def _normal_cdf(z):
    """Φ(z), φ(z), -z φ(z)."""
    tail, _, density = vm.gaussian_parts(z)
    return select(z > 0.0, 1.0 - tail, tail), density, -vm.bounded(z) * density


@inlined
def _gelu(z):
    """z Φ(z), Φ(z) + z φ(z), (2 - z²) φ(z)."""
    tail, slope_tail, density = vm.gaussian_parts(z)
    clipped = vm.bounded(z)
    cdf = select(z > 0.0, 1.0 - tail, tail)
    first = select(z > 0.0, 1.0 - slope_tail, slope_tail)
    return select(z < 0.0, clipped, z) * cdf, first, vm.muladd(-clipped, clipped, 2.0) * density


@inlined
def _logistic(z):
    """s(z), 1 - s(z), s (1 - s), tanh(|z|/2) and e^(-|z|), each relatively accurate."""
    e, em1 = vm.exp_and_expm1_of_negative(-abs(z))
    d = vm.inverse_of_one_plus(e)
    small = e * d
    return select(z < 0.0, small, d), select(z < 0.0, d, small), small * d, -em1 * d, e


@inlined
def _sigmoid(z):
    """s, s (1 - s), s (1 - s)(1 - 2 s)."""
    s, _, slope, t, _ = _logistic(z)
    return s, slope, slope * select(z < 0.0, t, -t)


@inlined
def _softplus(z):
    """log(1 + e^z), s, s (1 - s)."""
    s, _, slope, _, e = _logistic(z)
    return select(z < 0.0, 0.0, z) + vm.log1p_of_unit(e), s, slope


@inlined
def _silu(z):
    """z s, s (1 + z (1 - s)), s (1 - s)(2 - z tanh(z/2))."""
    s, complement, slope, t, _ = _logistic(z)
    clipped = select(z < -800.0, -800.0, select(z > 800.0, 800.0, z))
    return (
        select(z < 0.0, clipped, z) * s,
        s * (1.0 + clipped * complement),
        slope * (2.0 - abs(clipped) * t),
    )


@inlined
def _tanh(z):
    """t, 1 - t², -2 t (1 - t²); with e = e^(-2|z|) the slope is 4 e/(1 + e)²."""
    t, e, d = vm.tanh_parts(z)
    slope = 4.0 * e * d * d
    return t, slope, -2.0 * t * slope


@inlined
def _g(z):
    """s(4z) + softplus(z) and its derivatives; e^(-4|z|) is the fourth power of e^(-|z|)."""
    e, em1 = vm.exp_and_expm1_of_negative(-abs(z))
    e2 = e * e
    e4 = e2 * e2
    d, d4 = vm.inverse_of_one_plus(e), vm.inverse_of_one_plus(e4)
    t4 = -em1 * (1.0 + e) * (1.0 + e2) * d4
    slope4 = e4 * d4 * d4
    value = select(z < 0.0, e4 * d4, d4) + (select(z < 0.0, 0.0, z) + vm.log1p_of_unit(e))
    first = 4.0 * slope4 + select(z < 0.0, e * d, d)
    return value, first, 16.0 * slope4 * select(z < 0.0, t4, -t4) + e * d * d


@inlined
def _elu(z):
    """z, 1, 0 for z > 0; e^z - 1, e^z, e^z for z ≤ 0."""
    e, em1 = vm.exp_and_expm1_of_negative(select(z > 0.0, 0.0, z))
    return select(z > 0.0, z, em1), e, select(z > 0.0, 0.0, e)


@inlined
def _selu(z):
    """λ z, λ, 0 for z > 0; λ α (e^z - 1), λ α e^z, λ α e^z for z ≤ 0."""
    e, em1 = vm.exp_and_expm1_of_negative(select(z > 0.0, 0.0, z))
    left = _SELU_NEGATIVE * e
    return (
        select(z > 0.0, SELU_SCALE * z, _SELU_NEGATIVE * em1),
        select(z > 0.0, SELU_SCALE, left),
        select(z > 0.0, 0.0, left),
    )


@inlined
def _relu(z):
    """max(z, 0) (NaN stays), 1 for z > 0 and 0 for z ≤ 0, 0."""
    return select(z <= 0.0, 0.0, z), select(z > 0.0, 1.0, 0.0), 0.0


@inlined
def _leaky_relu(z):
    """z, 1, 0 for z > 0; slope·z, slope, 0 for z ≤ 0."""
    return select(z > 0.0, z, LEAKY_SLOPE * z), select(z > 0.0, 1.0, LEAKY_SLOPE), 0.0


@inlined
def _one(z):
    return 1.0, 0.0, 0.0


@inlined
def _identity(z):
    return z, 1.0, 0.0


@inlined
def _square(z):
    return z * z, 2.0 * z, 2.0


@inlined
def _cube(z):
    return z * z * z, 3.0 * z * z, 6.0 * z


@inlined
def _sin(z):
    sine, cosine = vm.sin_and_cos(z)
    return sine, cosine, -sine


@inlined
def _cos(z):
    sine, cosine = vm.sin_and_cos(z)
    return cosine, -sine, -cosine


@inlined
def _exp(z):
    e = vm.exp(z)
    return e, e, e


def one(n, order, z, value, first, second):
    """σ(z) = 1."""
    each(_one, n, order, z, value, first, second)


def erf(n, order, z, value, first, second):
    """σ(z) = erf(z/√2)."""
    each(_erf, n, order, z, value, first, second)


def normal_cdf(n, order, z, value, first, second):
    """σ(z) = Φ(z)."""
    each(_normal_cdf, n, order, z, value, first, second)


def gelu(n, order, z, value, first, second):
    """σ(z) = z Φ(z)."""
    each(_gelu, n, order, z, value, first, second)


def sigmoid(n, order, z, value, first, second):
    """σ(z) = 1/(1 + e^(-z))."""
    each(_sigmoid, n, order, z, value, first, second)


def softplus(n, order, z, value, first, second):
    """σ(z) = log(1 + e^z)."""
    each(_softplus, n, order, z, value, first, second)


def silu(n, order, z, value, first, second):
    """σ(z) = z/(1 + e^(-z))."""
    each(_silu, n, order, z, value, first, second)


def tanh(n, order, z, value, first, second):
    """σ(z) = tanh(z)."""
    each(_tanh, n, order, z, value, first, second)


def g(n, order, z, value, first, second):
    """σ(z) = 1/(1 + e^(-4z)) + log(1 + e^z)."""
    each(_g, n, order, z, value, first, second)


def elu(n, order, z, value, first, second):
    """σ(z) = z for z > 0, e^z - 1 for z ≤ 0."""
    each(_elu, n, order, z, value, first, second)


def selu(n, order, z, value, first, second):
    """σ(z) = λ z for z > 0, λ α (e^z - 1) for z ≤ 0."""
    each(_selu, n, order, z, value, first, second)


def relu(n, order, z, value, first, second):
    """σ(z) = max(z, 0)."""
    each(_relu, n, order, z, value, first, second)


def leaky_relu(n, order, z, value, first, second):
    """σ(z) = z for z > 0, 0.01 z for z ≤ 0."""
    each(_leaky_relu, n, order, z, value, first, second)


def identity(n, order, z, value, first, second):
    """σ(z) = z."""
    each(_identity, n, order, z, value, first, second)


def square(n, order, z, value, first, second):
    """σ(z) = z²."""
    each(_square, n, order, z, value, first, second)


def cube(n, order, z, value, first, second):
    """σ(z) = z³."""
    each(_cube, n, order, z, value, first, second)


def sin(n, order, z, value, first, second):
    """σ(z) = sin z for |z| < 1e15, NaN beyond."""
    each(_sin, n, order, z, value, first, second)


def cos(n, order, z, value, first, second):
    """σ(z) = cos z for |z| < 1e15, NaN beyond."""
    each(_cos, n, order, z, value, first, second)


def exp(n, order, z, value, first, second):
    """σ(z) = e^z."""
    each(_exp, n, order, z, value, first, second)
