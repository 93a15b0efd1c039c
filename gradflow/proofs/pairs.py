"""Pair functions K(w, w') = E σ(w·x)σ(w'·x), x ~ N(0, I), with their derivatives, in any arithmetic.

K depends on s = |w|², t = |w'|², q = w·w' (with a covariance C: s = w·Cw and so on) and, with biases, on
b and b'. Every function takes `x`, the arithmetic (`balls.Balls`, or mpmath's `mp`): pi, sqrt, exp, erf,
atan2.

    erf   K = (2/π) atan2(q, √D), D = (1+s)(1+t) − q²
    relu  K = (√D + (π−θ) q)/2π, θ = atan2(√D, q), D = st − q²
    erf with biases   K = 4 BvN − 2(Φ + Φ) + 1; all derivatives are elementary by the heat equation
          K_s = ½K_bb, K_t = ½K_b'b', K_q = K_bb' = 4 g,
          g the density of N(0, [[1+s, q], [q, 1+t]]) at (b, b')

Sources: Williams 1997 (erf), Cho & Saul 2009 (relu); Price's theorem 1958 for K_q. Nothing is shared
with `gradflow.kernels`.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Pair(NamedTuple):
    """K and its derivatives; letters: s, t, q as above, b and c the two biases. 0 where there are none."""

    K: Any
    s: Any
    t: Any
    q: Any
    ss: Any = 0
    tt: Any = 0
    st: Any = 0
    sq: Any = 0
    tq: Any = 0
    qq: Any = 0
    b: Any = 0
    c: Any = 0
    sb: Any = 0
    sc: Any = 0
    tb: Any = 0
    tc: Any = 0
    qb: Any = 0
    qc: Any = 0
    bb: Any = 0
    cc: Any = 0
    bc: Any = 0

    def swapped(self) -> Pair:
        """The same pair with its units exchanged."""
        p = self
        return Pair(p.K, p.t, p.s, p.q, p.tt, p.ss, p.st, p.tq, p.sq, p.qq, p.c, p.b,
                    p.tc, p.tb, p.sc, p.sb, p.qc, p.qb, p.cc, p.bb, p.bc)  # fmt: skip


class Own(NamedTuple):
    """κ(s, b) = K(w, w) and its derivatives."""

    K: Any
    s: Any
    ss: Any
    b: Any = 0
    sb: Any = 0
    bb: Any = 0


def erf_pair(x, s, t, q, second: bool = True) -> Pair:
    """erf without biases."""
    S, T = 1 + s, 1 + t
    D = S * T - q * q
    root = x.sqrt(D)
    f = 1 / (x.pi * root)
    K, Kq = 2 * x.atan2(q, root) / x.pi, 2 * f
    u = -q * f
    Ks, Kt = u / S, u / T
    if not second:
        return Pair(K, Ks, Kt, Kq)
    g = f / D
    h = q * g
    return Pair(
        K, Ks, Kt, Kq,
        ss=T * h / (2 * S) - Ks / S, tt=S * h / (2 * T) - Kt / T, st=h / 2,
        sq=-T * g, tq=-S * g, qq=2 * h,
    )  # fmt: skip


def erf_own(x, s) -> Own:
    """erf with itself, without a bias: (2/π) atan2(s, √(1+2s))."""
    S, D = 1 + s, 1 + 2 * s
    root = x.sqrt(D)
    first = 2 / (x.pi * S * root)
    return Own(2 * x.atan2(s, root) / x.pi, first, -first * (1 / S + 1 / D))


def relu_pair(x, s, t, q, second: bool = True) -> Pair:
    """relu for two units that are not parallel: the second derivatives are divided by √D."""
    root = x.sqrt(s * t - q * q)
    return relu_from(x, s, t, q, root, x.pi - x.atan2(root, q), second)


def relu_from(x, s, t, q, root, rest, second: bool) -> Pair:
    """relu from √D and π − θ, however they were found."""
    half = 1 / (2 * x.pi)
    K, Kq = (root + rest * q) * half, rest * half
    f = half / 2
    Ks, Kt = f * root / s, f * root / t
    if not second:
        return Pair(K, Ks, Kt, Kq)
    g = f / root
    return Pair(
        K, Ks, Kt, Kq,
        ss=t * g / (2 * s) - Ks / s, tt=s * g / (2 * t) - Kt / t, st=g / 2,
        sq=-q * g / s, tq=-q * g / t, qq=2 * g,
    )  # fmt: skip


def relu_own(x, s) -> Own:
    """relu with itself: s/2."""
    return Own(s / 2, 0.5, 0)


def erf_mean(x, s, b) -> Own:
    """E erf((w·x + b)/√2) = erf(b/√(2(1+s))), with its derivatives: m_s = ½m_bb."""
    S = 1 + s
    first = 2 * x.exp(-b * b / (2 * S)) / x.sqrt(2 * x.pi * S)
    bb = -b / S * first
    bbb = -(first + b * bb) / S
    bbbb = -(2 * bb + b * bbb) / S
    return Own(x.erf(b / x.sqrt(2 * S)), bb / 2, bbbb / 4, first, bbb / 2, bb)


def relu_mean(x, s) -> Own:
    """E relu(w·x) = √(s/2π)."""
    value = x.sqrt(s / (2 * x.pi))
    return Own(value, value / (2 * s), -value / (4 * s * s))


def density(x, S, T, q, b, c):
    """4 times the density of N(0, [[S, q], [q, T]]) at (b, c): ∂K/∂q of erf with biases."""
    D = S * T - q * q
    return 2 * x.exp(-(T * b * b - 2 * q * b * c + S * c * c) / (2 * D)) / (x.pi * x.sqrt(D))


def biased_erf_pair(x, s, t, q, b, c, value) -> Pair:
    """erf with biases; `value` is K, an integral over `density`, which nothing else here needs."""
    S, T = 1 + s, 1 + t
    D = S * T - q * q
    G = density(x, S, T, q, b, c)
    X, Y = (T * b - q * c) / D, (S * c - q * b) / D
    Gb, Gc = -G * X, -G * Y
    Gbb, Gcc, Gbc = G * (X * X - T / D), G * (Y * Y - S / D), G * (X * Y + q / D)
    Kb, Kbb, Kbbb, Kbbbb = _along(x, S, D, q, b, c, G, Gb, Gbb)
    Kc, Kcc, Kccc, Kcccc = _along(x, T, D, q, c, b, G, Gc, Gcc)
    return Pair(
        value, Kbb / 2, Kcc / 2, G,
        ss=Kbbbb / 4, tt=Kcccc / 4, st=Gbc / 4, sq=Gbb / 2, tq=Gcc / 2, qq=Gbc,
        b=Kb, c=Kc, sb=Kbbb / 2, sc=Gb / 2, tb=Gc / 2, tc=Kccc / 2, qb=Gb, qc=Gc, bb=Kbb, cc=Kcc, bc=G,
    )  # fmt: skip


def _along(x, S, D, q, b, c, G, Gb, Gbb) -> tuple:
    """∂K/∂b = E σ'(u) σ(v) and the next three derivatives by b."""
    first = 2 * x.exp(-b * b / (2 * S)) / x.sqrt(2 * x.pi * S) * x.erf((S * c - q * b) / x.sqrt(2 * S * D))
    second = -(b * first + q * G) / S
    third = -(first + b * second + q * Gb) / S
    return first, second, third, -(2 * second + b * third + q * Gbb) / S


def own_of(pair: Pair) -> Own:
    """κ(s, b) = K(s, s, s, b, b) from the pair's derivatives there."""
    p = pair
    return Own(
        p.K,
        p.s + p.t + p.q,
        p.ss + p.tt + p.qq + 2 * (p.st + p.sq + p.tq),
        p.b + p.c,
        p.sb + p.sc + p.tb + p.tc + p.qb + p.qc,
        p.bb + p.cc + 2 * p.bc,
    )
