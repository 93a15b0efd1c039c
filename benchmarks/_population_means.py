"""Activations in mpmath: σ with two derivatives, and their elementary means over a Gaussian variable."""

from __future__ import annotations

import functools

import mpmath

POLYNOMIAL = (0.3, -1.1, 0.5, 0.25)
mpf = mpmath.mpf


def hinge(positive, negative, scale=1, alpha=0):
    """scale · (positive z for z > 0, else negative z + alpha (e^z − 1)): as `formulas` says."""

    def function(z):
        if z > 0:
            return scale * positive * z, scale * positive, mpf(0)
        e = mpmath.exp(z) if alpha else mpf(0)
        rest = mpmath.expm1(z) if alpha else mpf(0)
        return scale * (negative * z + alpha * rest), scale * (negative + alpha * e), scale * alpha * e

    def means(m, s):
        x = m / s
        density, below, above = mpmath.npdf(x), mpmath.ncdf(-x), mpmath.ncdf(x)
        step = positive - negative
        found = [negative * m + step * (s * density + m * above), negative + step * above]
        found += [step * density / s, -step * x * density / s**2]
        if alpha:
            tilted = mpmath.exp(m + s * s / 2) * mpmath.ncdf(-x - s)
            delta = density / s
            found[0] += alpha * (tilted - below)
            for j, extra in enumerate((tilted, tilted - delta, tilted - delta + x * delta / s)):
                found[j + 1] += alpha * extra
        return [scale * f for f in found]

    return function, means, scale * (positive - negative - alpha)


def distribution(factor, shift):
    """factor Φ(z) + shift."""

    def function(z):
        density = factor * mpmath.npdf(z)
        return factor * mpmath.ncdf(z) + shift, density, -z * density

    def means(m, s):
        c = mpmath.sqrt(1 + s * s)
        x = m / c
        density = factor * mpmath.npdf(x) / c
        return factor * mpmath.ncdf(x) + shift, density, -x * density / c, (x * x - 1) * density / c**2

    return function, means, 0


def gelu():
    """z Φ(z)."""

    def function(z):
        density, below = mpmath.npdf(z), mpmath.ncdf(z)
        return z * below, below + z * density, (2 - z * z) * density

    def means(m, s):
        c = mpmath.sqrt(1 + s * s)
        x = m / c
        density, below = mpmath.npdf(x), mpmath.ncdf(x)
        return (
            m * below + s * s / c * density,
            below + x * density / c**2,
            density / c + (1 - x * x) * density / c**3,
            -x * density / c**2 + (x**3 - 3 * x) * density / c**4,
        )

    return function, means, 0


def polynomial(coefficients):
    """Σ c_n z^n."""
    rows = [[mpf(c) for c in reversed(coefficients)]]
    for _ in range(3):
        degree = len(rows[-1]) - 1
        rows.append([c * (degree - i) for i, c in enumerate(rows[-1][:-1])] or [mpf(0)])

    def function(z):
        return [mpmath.polyval(row, z) for row in rows[:3]]

    def means(m, s):
        """E p(m + sY) = Σ_k p^(2k)(m) s^2k / (2k)!! of degree ≤ 3: the heat equation."""
        at = [mpmath.polyval(row, m) for row in rows]
        return at[0] + s * s / 2 * at[2], at[1] + s * s / 2 * at[3], at[2], at[3]

    return function, means, 0


def wave(phase):
    """sin(z + phase π/2)."""

    def around(z):
        sine, cosine = mpmath.sin(z), mpmath.cos(z)
        return [((sine, cosine, -sine, -cosine) * 2)[phase + j] for j in range(4)]

    def means(m, s):
        damping = mpmath.exp(-s * s / 2)
        return [damping * f for f in around(m)]

    return lambda z: around(z)[:3], means, 0


def exponential():
    return lambda z: [mpmath.exp(z)] * 3, lambda m, s: [mpmath.exp(m + s * s / 2)] * 4, 0


@functools.cache
def formulas(name):
    """(σ and two derivatives, E_Y τ(m + sY) and three derivatives in m, jump of σ' at 0)."""
    from gradflow.kernels import activation_blocks as blocks

    slope = mpf(blocks.LEAKY_SLOPE)
    return {
        "erf": lambda: distribution(2, -1), "normal_cdf": lambda: distribution(1, 0), "gelu": gelu,
        "relu": lambda: hinge(1, 0), "leaky_relu": lambda: hinge(1, slope),
        "elu": lambda: hinge(1, 0, 1, 1),
        "selu": lambda: hinge(1, 0, mpf(blocks.SELU_SCALE), mpf(blocks.SELU_ALPHA)),
        "identity": lambda: polynomial((0, 1)), "square": lambda: polynomial((0, 0, 1)),
        "cube": lambda: polynomial((0, 0, 0, 1)), "polynomial": lambda: polynomial(POLYNOMIAL),
        "sin": lambda: wave(0), "cos": lambda: wave(1), "exp": exponential,
    }[name]()  # fmt: skip
