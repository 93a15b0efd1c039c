"""Elementary functions that a compiler can vectorise: exp, log1p, tanh, erf, Φ, atan and their relatives.

The functions of the C library are calls, one number at a time. These are straight-line code, both
sides of every case distinction computed and one selected, so that a Numba loop over them becomes
vector instructions. Errors are in units in the last place (ulp) of the true value, as the tests
measure them against mpmath on machines with fused multiply-add; without it they grow by about 1 ulp.

    exp, log1p, softplus, gaussian_pdf, erf_sqrt_half          below 1.5 ulp
    expm1, sigmoid, tanh, erf, erfc, gaussian_cdf, atan        below 2 ulp, tails included

±∞ give the limits and NaN gives NaN. Subnormal results are gradual (rounded twice at most).

Polynomial coefficients are minimax (Remez exchange at 50 digits, weighted for the relative error of
the function, or for the error after multiplication by e^(-z²/2) where the product is subtracted from
1); the remark beside each set gives its error. Nothing here may be compiled with the fast-math flags
`reassoc` or `nnan`: rounding to an integer by a large constant and NaN selection rely on it.
"""

from __future__ import annotations

import math

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .abi import kernel_jit

_DOUBLE = ir.DoubleType()
_INT64 = ir.IntType(64)

_LOG2_E = 1.4426950408889634
# ln 2 in two parts; the first has 31 bits, so that its product with an exponent is exact.
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
# 1.5·2^52: adding it rounds to an integer, which is then found in the low bits.
_ROUNDER = 6755399441055744.0

# (e^r - 1 - r - r²/2)/r³ for |r| ≤ ln 2/2; relative error of e^r - 1: 2^-55.2.
_EXP = (
    0.16666666666666602, 0.04166666666662001, 0.008333333333388548, 0.001388888892049644,
    0.00019841269708874276, 2.480151636596209e-05, 2.7557425610116127e-06, 2.762221915963354e-07,
    2.504569690717407e-08,
)  # fmt: skip

# (2 artanh(s)/s - 2)/s² in s² for |s| ≤ (√2 - 1)/(√2 + 1); error 2^-58.5.
_LOG = (
    0.6666666666666734, 0.3999999999941405, 0.28571428742552335, 0.22222198553889846, 0.18183565442811334,
    0.15314019347307412, 0.14796285805921452,
)  # fmt: skip

# (atan(t)/t - 1)/t² in t² for |t| ≤ tan(π/8); error 2^-59.5.
_ATAN = (
    -0.333333333333332, 0.19999999999954093, -0.14285714280249365, 0.11111110786179056, -0.09090897837649631,
    0.07692061658950394, -0.06663120636410606, 0.05848010769438067, -0.050398538580045504,
    0.03807853120588559, -0.01792250595851262,
)  # fmt: skip

# √(2/π) in two parts, and (erf(z/√2)/z - √(2/π))/z² in z² for |z| ≤ 1.25; error 2^-61.2.
_ERF_SLOPE_HIGH, _ERF_SLOPE_LOW = 0.7978845608028654, -4.98465440455546e-17
_ERF = (
    -0.13298076013381085, 0.01994711402007031, -0.002374656430943722, 0.00023086937512118013,
    -1.8889312101149922e-05, 1.3319377139534754e-06, -8.245181051957992e-08, 4.545464330140031e-09,
    -2.2492562062059822e-10, 9.740335122112836e-12, -2.9769584598281726e-13,
)  # fmt: skip
_ERF_SWITCH = 1.25

# 2 e^(z²/2) Φ(-z) in 1/(z + 4) - 1/8 for z ≥ 1.25; error 2^-57.4 after multiplication by e^(-z²/2).
_ERF_TAIL = (
    0.18882128260394976, 2.726363544769086, 15.920544684019726, 73.42838516723067, 252.8444617406294,
    556.5390284675946, 266.0659154977886, -2678.503769479288, -6283.541889965903, 11911.552520514224,
    69851.30353746851, -179883.29591574092,
)  # fmt: skip

# (z + 5/4) e^(z²/2) Φ(-z) in 1/(z + 5) - c for z ≥ 0; relative error 2^-56.6. The centre c is chosen,
# beside 3/32, such that the first coefficient has no rounding error to speak of.
_CDF_TAIL_CENTRE = 98691.0 / 1048576.0
_CDF_TAIL = (
    0.47345781132712095, 1.2047066714618808, 5.798090185284787, 13.018758758861798, -95.72946570074096,
    -1453.5804530516086, -10638.399943535795, -51735.80595651288, -157509.8695821959, -129260.2299281586,
    1313270.6673872438, 5685827.577400879, -1737341.6070636935, -81160344.48324692, -125431501.467208,
    1030190158.2994428, 3131814324.477503, -14497081318.151472, -56567820750.01553, 260595977205.381,
    601344076848.0187, -4514106855223.375, 6310698102862.947,
)  # fmt: skip

# Taylor coefficients of (sin r − r)/r³ and (cos r − 1 + r²/2)/r⁴ in r²; |r| ≤ π/4, error below 2^-60.
_SIN = tuple((-1.0) ** (k + 1) / math.factorial(2 * k + 3) for k in range(8))
_COS_REST = tuple((-1.0) ** k / math.factorial(2 * k + 4) for k in range(8))
_TWO_OVER_PI = 0.6366197723675814
# π/2 in three doubles.
_QUARTER_HIGH, _QUARTER, _QUARTER_LOW = 1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33

_INFINITY, _NAN = float("inf"), float("nan")
_INV_SQRT_2PI = 0.3989422804014327
_SQRT_2, _SQRT_2_LOW = 1.4142135623730951, -9.667293313452913e-17
_HALF_PI_HIGH, _HALF_PI_LOW = 1.5707963267948966, 6.123233995736766e-17
_TAN_PI_8, _TAN_3PI_8 = 0.41421356237309503, 2.414213562373095
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD


def inlined(function):
    """`abi.kernel_jit` for a function that LLVM always inlines, as vectorising its caller's loop needs."""
    return kernel_jit(function, forceinline=True)


@intrinsic
def select(typingctx, condition, a, b):
    """`a if condition else b` as one LLVM select: never a branch, and NaN is passed on, not compared."""

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return types.float64(types.boolean, types.float64, types.float64), codegen


def _call_of(name: str, count: int):
    """The codegen of an LLVM intrinsic of `count` doubles."""

    def codegen(context, builder, signature, args):
        function_type = ir.FunctionType(_DOUBLE, [_DOUBLE] * count)
        return builder.call(builder.module.declare_intrinsic(name, [_DOUBLE], function_type), args)

    return codegen


@intrinsic
def muladd(typingctx, a, b, c):
    """a·b + c, fused where the processor can."""
    return types.float64(types.float64, types.float64, types.float64), _call_of("llvm.fmuladd", 3)


@intrinsic
def copysign(typingctx, magnitude, sign):
    """|magnitude| with the sign of `sign`."""
    return types.float64(types.float64, types.float64), _call_of("llvm.copysign", 2)


@intrinsic
def bits(typingctx, x):
    """The 64 bits of a double as an integer."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], _INT64)

    return types.int64(types.float64), codegen


@intrinsic
def from_bits(typingctx, i):
    """The double with the 64 bits of an integer."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], _DOUBLE)

    return types.float64(types.int64), codegen


@intrinsic
def polynomial(typingctx, x, coefficients):
    """Σ c_k x^k of a constant tuple, lowest degree first: c_0 + x·(even + x·odd), the sums by Horner in x².

    Two chains instead of one halve the latency, which short vector loops cannot hide; the last two
    steps are those of Horner's rule, so that the rounding error is as well.
    """

    def codegen(context, builder, signature, args):
        argument, packed = args
        c = cgutils.unpack_tuple(builder, packed)
        function_type = ir.FunctionType(_DOUBLE, [_DOUBLE] * 3)
        fused = builder.module.declare_intrinsic("llvm.fmuladd", [_DOUBLE], function_type)

        def horner(y, terms):
            total = terms[-1]
            for term in reversed(terms[:-1]):
                total = builder.call(fused, [total, y, term])
            return total

        square = builder.fmul(argument, argument)
        rest = builder.call(fused, [horner(square, c[2::2]), argument, horner(square, c[1::2])])
        return builder.call(fused, [rest, argument, c[0]])

    return types.float64(types.float64, coefficients), codegen


@inlined
def _exponential(high, low):
    """p, s, t with e^(high + low) = (1 + p)·s·t, |p| ≤ 0.42, s and t powers of two; |low| ≪ 1.

    Two factors, because 2^n itself leaves the range of normal numbers before the product does.
    """
    x = select(high < -800.0, -800.0, select(high > 710.0, 710.0, high))
    n = muladd(x, _LOG2_E, _ROUNDER) - _ROUNDER
    r = muladd(n, -_LN2_HIGH, x) + muladd(n, -_LN2_LOW, low)
    square = r * r
    p = muladd(square, muladd(r, polynomial(r, _EXP), 0.5), r)
    half = muladd(n, 0.5, _ROUNDER)
    rest = (n - (half - _ROUNDER)) + _ROUNDER
    return p, from_bits((bits(half) + 1023) << 52), from_bits((bits(rest) + 1023) << 52)


@inlined
def exp(x):
    """e^x."""
    p, s, t = _exponential(x, 0.0)
    return (1.0 + p) * s * t


@inlined
def expm1(x):
    """e^x - 1, with the relative accuracy of a number that vanishes at 0."""
    p, s, t = _exponential(x, 0.0)
    scale = s * t
    near = muladd(scale, p, scale - 1.0)
    far = (1.0 + p) * s * t - 1.0  # where the scale itself may overflow
    return copysign(select(abs(x) > 50.0, far, near), x)


@inlined
def exp_and_expm1_of_negative(x):
    """e^x and e^x - 1 for x ≤ 0 (not checked), from one evaluation."""
    p, s, t = _exponential(x, 0.0)
    scale = s * t
    return (1.0 + p) * s * t, muladd(scale, p, scale - 1.0)


@inlined
def _inverse(a, a_low, shift):
    """1/(a + a_low + shift) rounded, and the relative error of that."""
    d = a + shift
    inverse = 1.0 / d
    return inverse, muladd(-inverse, d, 1.0) - inverse * ((a - (d - shift)) + a_low)


@inlined
def inverse_of_one_plus(x):
    """1/(1 + x) for x ≥ 0, with a correction for the rounding of 1 + x and of the quotient."""
    inverse, error = _inverse(x, 0.0, 1.0)
    return muladd(inverse, error, inverse)


@inlined
def _log1p_reduced(f):
    """log(1 + f) for √½ ≤ 1 + f ≤ √2, minus f: -f²/2 + s (f²/2 + R(s²)), s = f/(2 + f) (fdlibm's form)."""
    s = f / (2.0 + f)
    half_square = 0.5 * f * f
    square = s * s
    return muladd(s, muladd(square, polynomial(square, _LOG), half_square), -half_square)


@inlined
def log1p(x):
    """log(1 + x); NaN for x < -1."""
    u = 1.0 + x
    v = u - x
    lost = (1.0 - v) + (x - (u - v))  # x - (u - 1): what rounding took from 1 + x
    # u = 2^k·mantissa with √½ ≤ mantissa < √2; k becomes a double in the low bits of 2^52.
    shifted = bits(u) - _SQRT_HALF_BITS + (1023 << 52)
    k = from_bits((shifted >> 52 & 0x7FF) | 0x4330000000000000) - (4503599627370496.0 + 1023.0)
    mantissa = from_bits(bits(u) - ((shifted >> 52) - 1023 << 52))
    scale = from_bits((2046 - (shifted >> 52)) << 52)
    f = (mantissa - 1.0) + select(u < 9007199254740992.0, lost * scale, 0.0)  # 2^-k may not exist
    result = muladd(k, _LN2_HIGH, f + muladd(k, _LN2_LOW, _log1p_reduced(f)))
    result = select(u > 1.7976931348623157e308, u, result)
    return copysign(select(x > -1.0, result, select(x == -1.0, -_INFINITY, _NAN)), x)


@inlined
def log1p_of_unit(x):
    """log(1 + x) for 0 ≤ x ≤ 1 (not checked): with (1 + x)/2 instead of 1 + x from √2 - 1 on."""
    upper = x > _TAN_PI_8
    f = select(upper, 0.5 * (x - 1.0), x)
    high, low = select(upper, _LN2_HIGH, 0.0), select(upper, _LN2_LOW, 0.0)
    return high + (f + (low + _log1p_reduced(f)))


@inlined
def sigmoid(x):
    """1/(1 + e^(-x))."""
    e = exp(-abs(x))
    d = inverse_of_one_plus(e)
    return select(x < 0.0, e * d, d)


@inlined
def softplus(x):
    """log(1 + e^x) = max(x, 0) + log(1 + e^(-|x|))."""
    return select(x < 0.0, 0.0, x) + log1p_of_unit(exp(-abs(x)))


@inlined
def tanh_parts(x):
    """tanh(x), and e and 1/(1 + e) for e = e^(-2|x|), from which its derivatives are made.

    tanh(|x|) = -m/(2 + m) with m = e - 1; the quotient is kept with its rounding error, without which
    the result is wrong by up to 2.5 ulp.
    """
    e, m = exp_and_expm1_of_negative(-2.0 * abs(x))
    inverse, error = _inverse(m, 0.0, 2.0)
    quotient = m * inverse
    rest = muladd(quotient, error, muladd(m, inverse, -quotient))
    return copysign(quotient + rest, x), e, muladd(inverse, error, inverse)


@inlined
def tanh(x):
    """tanh(x)."""
    return tanh_parts(x)[0]


@inlined
def bounded(z):
    """z, no further from 0 than 40: e^(-z²/2) is 0 beyond, and products with it stay 0, not NaN."""
    return select(z < -40.0, -40.0, select(z > 40.0, 40.0, z))


@inlined
def _negative_half_square(z):
    """-z²/2 in two parts, the first exact: z² is split at 26 bits, so that no digit of e^(-z²/2) is lost."""
    high = from_bits(bits(z) & -0x8000000)
    return -0.5 * high * high, -0.5 * (z - high) * (z + high)


@inlined
def scaled_tail(a, a_low):
    """e^(x²/2) Φ(-x) for x = a + a_low ≥ 0 as a sum of a number and its rounding error.

    A polynomial in 1/(x + 5), over x + 5/4: with 5/4 it is flat at x = 0, where an error of 1/(x + 5)
    would else count fivefold.
    """
    t, t_error = _inverse(a, a_low, 5.0)
    inverse, inverse_error = _inverse(a, a_low, 1.25)
    numerator = polynomial(muladd(t, t_error, t - _CDF_TAIL_CENTRE), _CDF_TAIL)
    factor = numerator * inverse
    return factor, muladd(factor, inverse_error, muladd(numerator, inverse, -factor))


@inlined
def _times_exponential(p, factor, error):
    """(1 + p)(factor + error)."""
    return factor + muladd(p, factor, muladd(p, error, error))


@inlined
def gaussian_pdf(z):
    """φ(z) = e^(-z²/2)/√(2π)."""
    p, s, t = _exponential(*_negative_half_square(bounded(z)))
    return muladd(p, _INV_SQRT_2PI, _INV_SQRT_2PI) * s * t


@inlined
def gaussian_parts(z):
    """Φ(-a), Φ(-a) - a φ(a) and φ(a) for a = |z|: one exponential, every tail with its digits."""
    a = abs(bounded(z))
    p, s, t = _exponential(*_negative_half_square(a))
    factor, error = scaled_tail(a, 0.0)
    slope_factor = muladd(-a, _INV_SQRT_2PI, factor)
    return (
        _times_exponential(p, factor, error) * s * t,
        _times_exponential(p, slope_factor, error) * s * t,
        muladd(p, _INV_SQRT_2PI, _INV_SQRT_2PI) * s * t,
    )


@inlined
def gaussian_cdf(z):
    """Φ(z), relatively accurate down to -38."""
    tail, _, _ = gaussian_parts(z)
    return select(z > 0.0, 1.0 - tail, tail)


@inlined
def erfc(x):
    """erfc(x) = 2 Φ(-√2 x), with e^(-x²) formed from x itself."""
    a = abs(select(x < -28.0, -28.0, select(x > 28.0, 28.0, x)))
    high, low = _negative_half_square(a)
    p, s, t = _exponential(2.0 * high, 2.0 * low)
    z = _SQRT_2 * a
    factor, error = scaled_tail(z, muladd(a, _SQRT_2, -z) + a * _SQRT_2_LOW)
    tail = 2.0 * _times_exponential(p, factor, error) * s * t
    return select(x < 0.0, 2.0 - tail, tail)


@inlined
def erf_and_pdf(z):
    """erf(z/√2) and φ(z), which share the exponential.

    An odd polynomial for |z| < 1.25, beyond it 1 - e^(-z²/2)·(a polynomial in 1/(|z| + 4)).
    """
    clipped = bounded(z)
    square = clipped * clipped
    a = abs(clipped)
    p, s, t = _exponential(*_negative_half_square(a))
    inner = muladd(z, _ERF_SLOPE_HIGH, z * muladd(square, polynomial(square, _ERF), _ERF_SLOPE_LOW))
    factor = polynomial(1.0 / (a + 4.0) - 0.125, _ERF_TAIL)
    outer = 1.0 - muladd(p, factor, factor) * s * t
    density = muladd(p, _INV_SQRT_2PI, _INV_SQRT_2PI) * s * t
    return copysign(select(a < _ERF_SWITCH, inner, outer), z), density


@inlined
def erf_sqrt_half(z):
    """erf(z/√2)."""
    return erf_and_pdf(z)[0]


@inlined
def erf(x):
    """erf(x)."""
    return erf_sqrt_half(_SQRT_2 * x)


@inlined
def atan2_of_quadrant(y, x):
    """atan2(y, x) for y ≥ 0, x ≥ 0 (not checked), y + x finite; 0 for y = x = 0.

    The quotient is formed after the quadrant is cut at π/8 and 3π/8: y/x, (y - x)/(y + x) or -x/y.
    """
    low, high = y <= _TAN_PI_8 * x, y > _TAN_3PI_8 * x
    numerator = select(low, y, select(high, -x, y - x))
    denominator = select(low, x, select(high, y, y + x))
    t = numerator / select(denominator == 0.0, 1.0, denominator)
    turn = select(low, 0.0, select(high, 1.0, 0.5))
    square = t * t
    correction = muladd(t * square, polynomial(square, _ATAN), turn * _HALF_PI_LOW)
    return turn * _HALF_PI_HIGH + (t + correction)


@inlined
def atan(x):
    """atan(x)."""
    return copysign(atan2_of_quadrant(abs(x), 1.0), x)


@inlined
def sin_and_cos(z):
    """sin z and cos z for |z| < 1e15, below 1 ulp with fused multiply-add; NaN beyond.

    z = n π/2 + r, |r| ≤ π/4, with π/2 in three parts: z − n·(first) is exact.
    """
    shifted = muladd(z, _TWO_OVER_PI, _ROUNDER)
    n = shifted - _ROUNDER
    start = muladd(n, -_QUARTER_HIGH, z)
    r = muladd(n, -_QUARTER, start)
    low = muladd(n, -_QUARTER, start - r) - n * _QUARTER_LOW
    square = r * r
    sine = muladd(r * square, polynomial(square, _SIN), r + low)
    # cos(r + low) = 1 − r²/2 + … with 1 − r²/2 in two parts.
    half = 0.5 * square
    top = 1.0 - half
    rest = muladd(square * square, polynomial(square, _COS_REST), (1.0 - top) - half) - r * low
    cosine = top + rest
    quadrant = bits(shifted)
    odd = (quadrant & 1) != 0
    first, second = select(odd, cosine, sine), select(odd, sine, cosine)
    first = select((quadrant & 2) != 0, -first, first)
    second = select(((quadrant + 1) & 2) != 0, -second, second)
    inside = abs(z) < 1e15
    return select(inside, first, _NAN), select(inside, second, _NAN)
