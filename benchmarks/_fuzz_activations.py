"""The activations of the fuzz run, written once more in NumPy and SciPy: no formula is the package's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.special

import gradflow as gf

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848
"""λ and α of Klambauer et al., Self-Normalizing Neural Networks (2017)."""

POLYNOMIALS = {
    "cubic": (0.3, -1.1, 0.5, 0.25),
    "even quartic": (0.0, 0.0, -1.0, 0.0, 1.0 / 3.0),
    "odd quintic": (0.0, 1.0, 0.0, -0.5, 0.0, 0.1),
}

POLYNOMIAL_NAMES = {gf.Polynomial(c).name: name for name, c in POLYNOMIALS.items()}
"""Polynomials by the name that the package gives them."""


@dataclass(frozen=True)
class Reference:
    """σ with two derivatives, `formula(z, order)` -> a list of order + 1 arrays, and what a quadrature asks.

    jump    σ'(0+) − σ'(0−) where there is a kink
    pieces  whether σ or a derivative jumps at 0
    width   length in z on which a Gauss–Kronrod panel at zero resolves σ²
    growth  p with σ = O(|z|^p); infinite for exp
    parity  1 for even, −1 for odd, 0 for neither
    degree  k with σ(cz) = c^k σ(z) for c > 0, or None
    """

    name: str
    formula: Callable
    jump: float = 0.0
    pieces: bool = False
    width: float = 2.0
    growth: float = 0.0
    parity: int = 0
    degree: int | None = None

    @property
    def waves(self) -> bool:
        """Whether σ oscillates for ever."""
        return self.name in ("sin", "cos")


def _normal(z):
    return np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


def _erf(z, order):
    found = [scipy.special.erf(z * math.sqrt(0.5))]
    if order:
        density = 2.0 * _normal(z)
        found += [density, -z * density]
    return found


def _normal_cdf(z, order):
    found = [scipy.special.ndtr(z)]
    if order:
        density = _normal(z)
        found += [density, -z * density]
    return found


def _gelu(z, order):
    below = scipy.special.ndtr(z)
    found = [z * below]
    if order:
        density = _normal(z)
        found += [below + z * density, (2.0 - z * z) * density]
    return found


def _sech2(z):
    e = np.exp(-2.0 * np.abs(z))
    return 4.0 * e / (1.0 + e) ** 2


def _tanh(z, order):
    t = np.tanh(z)
    found = [t]
    if order:
        slope = _sech2(z)
        found += [slope, -2.0 * t * slope]
    return found


def _sigmoid(z, order):
    found = [scipy.special.expit(z)]
    if order:
        slope = 0.25 * _sech2(0.5 * z)
        found += [slope, -np.tanh(0.5 * z) * slope]
    return found


def _softplus(z, order):
    found = [np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))]
    if order:
        found += [scipy.special.expit(z), 0.25 * _sech2(0.5 * z)]
    return found


def _silu(z, order):
    s = scipy.special.expit(z)
    found = [z * s]
    if order:
        slope = 0.25 * _sech2(0.5 * z)
        found += [s + z * slope, slope * (2.0 - z * np.tanh(0.5 * z))]
    return found


def _g(z, order):
    steep, soft = _sigmoid(4.0 * z, order), _softplus(z, order)
    return [4.0**k * a + b for k, (a, b) in enumerate(zip(steep, soft))]


def _hinge(below: float, scale: float = 1.0, alpha: float = 0.0):
    """scale · (z for z > 0, else below·z + alpha (e^z − 1)); left branch at 0."""

    def formula(z, order):
        left, positive = np.minimum(z, 0.0), z > 0.0
        e = np.exp(left) if alpha else 0.0
        found = [scale * np.where(positive, z, below * left + (alpha * np.expm1(left) if alpha else 0.0))]
        if order:
            found.append(scale * np.where(positive, 1.0, below + alpha * e))
            found.append(scale * np.where(positive, 0.0, alpha * e))
        return found

    return formula


def _power(coefficients):
    rows = [np.polynomial.polynomial.polyder(coefficients, k) for k in range(3)]

    def formula(z, order):
        return [np.polynomial.polynomial.polyval(z, row) for row in rows[: 3 if order else 1]]

    return formula


def _sin(z, order):
    sine = np.sin(z)
    return [sine, np.cos(z), -sine] if order else [sine]


def _cos(z, order):
    cosine = np.cos(z)
    return [cosine, -np.sin(z), -cosine] if order else [cosine]


def _exp(z, order):
    return [np.exp(z)] * (3 if order else 1)


def _atan(z, order):
    d = 1.0 / (1.0 + z * z)
    return [np.arctan(z), d, -2.0 * z * d * d] if order else [np.arctan(z)]


def _bump(z, order):
    e = np.exp(-0.5 * z * z)
    return [e, -z * e, (z * z - 1.0) * e] if order else [e]


def _log_cosh(z, order):
    size = np.abs(z)
    far = size + np.log1p(np.exp(-2.0 * size)) - math.log(2.0)
    value = np.where(size < 1.0, np.log1p(2.0 * np.sinh(0.5 * np.minimum(size, 1.0)) ** 2), far)
    return [value, np.tanh(z), _sech2(z)] if order else [value]


REFERENCES = {
    r.name: r
    for r in (
        Reference("erf", _erf, parity=-1),
        Reference("normal_cdf", _normal_cdf),
        Reference("relu", _hinge(0.0), 1.0, True, 8.0, 1, degree=1),
        Reference("leaky_relu", _hinge(0.01), 0.99, True, 8.0, 1, degree=1),
        Reference("tanh", _tanh, parity=-1),
        Reference("sigmoid", _sigmoid, width=4.0),
        Reference("softplus", _softplus, width=4.0, growth=1),
        Reference("gelu", _gelu, growth=1),
        Reference("silu", _silu, width=4.0, growth=1),
        Reference("selu", _hinge(0.0, SELU_SCALE, SELU_ALPHA), SELU_SCALE * (1 - SELU_ALPHA), True, growth=1),
        Reference("elu", _hinge(0.0, 1.0, 1.0), pieces=True, growth=1),
        Reference("identity", _power((0.0, 1.0)), width=8.0, growth=1, parity=-1, degree=1),
        Reference("square", _power((0.0, 0.0, 1.0)), width=8.0, growth=2, parity=1, degree=2),
        Reference("cube", _power((0.0, 0.0, 0.0, 1.0)), width=8.0, growth=3, parity=-1, degree=3),
        Reference("sin", _sin, width=4.0, parity=-1),
        Reference("cos", _cos, width=4.0, parity=1),
        Reference("exp", _exp, growth=math.inf),
        Reference("g", _g, width=1.0, growth=1),
        *(Reference(name, _power(c), width=8.0, growth=len(c) - 1, parity=1 if "even" in name else -1 if
                    "odd" in name else 0) for name, c in POLYNOMIALS.items()),
        Reference("own atan", _atan, width=1.5, parity=-1),
        Reference("own bump", _bump, parity=1),
        Reference("own log cosh", _log_cosh, growth=1, parity=1),
    )
}  # fmt: skip
"""By name: those of the package, three polynomials, three of a user's own."""

NAMES = tuple(REFERENCES)


def _own_log_cosh(z):
    """log cosh z without cancellation, as Numba takes it."""
    if abs(z) < 1.0:
        return math.log1p(2.0 * math.sinh(0.5 * z) ** 2)
    return abs(z) + math.log1p(math.exp(-2.0 * abs(z))) - math.log(2.0)


@cache
def activation(name: str):
    """What `gradflow.MLP` takes for this name; a user's own is compiled once per process."""
    if name in POLYNOMIALS:
        return gf.Polynomial(POLYNOMIALS[name])
    if name == "own atan":
        return gf.Activation(
            math.atan,
            lambda z: 1.0 / (1.0 + z * z),
            lambda z: -2.0 * z / (1.0 + z * z) ** 2,
            symmetry="odd",
            name="own atan",
        )
    if name == "own bump":
        return gf.Activation(
            lambda z: math.exp(-0.5 * z * z),
            lambda z: -z * math.exp(-0.5 * z * z),
            lambda z: (z * z - 1.0) * math.exp(-0.5 * z * z),
            symmetry="even",
            name="own bump",
        )
    if name == "own log cosh":
        return gf.Activation(
            _own_log_cosh,
            math.tanh,
            lambda z: 4.0 * math.exp(-2.0 * abs(z)) / (1.0 + math.exp(-2.0 * abs(z))) ** 2,
            symmetry="even",
            name="own log cosh",
        )
    return name


def evaluate(names, z: np.ndarray, order: int) -> list[np.ndarray]:
    """σ_i(z_i) with `order` ∈ {0, 2} derivatives, z (units, …); a name None is the constant 1.

    Calls each formula once, for all rows of its name.
    """
    found = [np.empty_like(z) for _ in range(order + 1)]
    for name in dict.fromkeys(names):
        rows = [i for i, other in enumerate(names) if other == name]
        rows = slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] + 1 == len(rows) else rows
        if name is None:
            values = [1.0, 0.0, 0.0]
        else:
            values = REFERENCES[name].formula(z[rows], order)
        for array, value in zip(found, values):
            array[rows] = value
    return found
