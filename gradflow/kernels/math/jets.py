"""Second-order jets in three variables (s, t, q): a value with its gradient and Hessian, as ten numbers.

Order: f, f_s, f_t, f_q, f_ss, f_tt, f_qq, f_st, f_sq, f_tq. A pair kernel written in jets as its plain
formula comes with exact first and second derivatives (truncated Taylor arithmetic; no step sizes).
"""

from __future__ import annotations

import math

from .vector_math import inlined


@inlined
def constant(value):
    """A jet that does not depend on the variables."""
    return value, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0


@inlined
def variables(s, t, q):
    """The jets of s, t and q themselves."""
    return (
        (s, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (t, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (q, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    )


@inlined
def add(a, b):
    """a + b."""
    return (
        a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5], a[6] + b[6],
        a[7] + b[7], a[8] + b[8], a[9] + b[9],
    )  # fmt: skip


@inlined
def scale(c, a):
    """c a for a number c."""
    return (
        c * a[0], c * a[1], c * a[2], c * a[3], c * a[4], c * a[5], c * a[6], c * a[7], c * a[8], c * a[9]
    )  # fmt: skip


@inlined
def mul(a, b):
    """a b."""
    return (
        a[0] * b[0],
        a[0] * b[1] + a[1] * b[0],
        a[0] * b[2] + a[2] * b[0],
        a[0] * b[3] + a[3] * b[0],
        a[0] * b[4] + 2.0 * a[1] * b[1] + a[4] * b[0],
        a[0] * b[5] + 2.0 * a[2] * b[2] + a[5] * b[0],
        a[0] * b[6] + 2.0 * a[3] * b[3] + a[6] * b[0],
        a[0] * b[7] + a[1] * b[2] + a[2] * b[1] + a[7] * b[0],
        a[0] * b[8] + a[1] * b[3] + a[3] * b[1] + a[8] * b[0],
        a[0] * b[9] + a[2] * b[3] + a[3] * b[2] + a[9] * b[0],
    )


@inlined
def compose(a, value, first, second):
    """f(a) from f, f' and f'' at a's value."""
    return (
        value,
        first * a[1],
        first * a[2],
        first * a[3],
        first * a[4] + second * a[1] * a[1],
        first * a[5] + second * a[2] * a[2],
        first * a[6] + second * a[3] * a[3],
        first * a[7] + second * a[1] * a[2],
        first * a[8] + second * a[1] * a[3],
        first * a[9] + second * a[2] * a[3],
    )


@inlined
def sqrt(a):
    """√a for a > 0."""
    root = math.sqrt(a[0])
    return compose(a, root, 0.5 / root, -0.25 / (root * a[0]))


@inlined
def reciprocal(a):
    """1/a."""
    inverse = 1.0 / a[0]
    return compose(a, inverse, -inverse * inverse, 2.0 * inverse * inverse * inverse)


@inlined
def angle(y, x):
    """atan(y/x) for x > 0; where y is large beside x through π/2 − atan(x/y), relatively accurate."""
    if abs(y[0]) <= x[0]:
        ratio = mul(y, reciprocal(x))
        size = 1.0 / (1.0 + ratio[0] * ratio[0])
        return compose(ratio, math.atan(ratio[0]), size, -2.0 * ratio[0] * size * size)
    ratio = mul(x, reciprocal(y))
    size = 1.0 / (1.0 + ratio[0] * ratio[0])
    return compose(ratio, math.atan2(y[0], x[0]), -size, 2.0 * ratio[0] * size * size)
