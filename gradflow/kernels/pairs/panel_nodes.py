"""Nodes along a weight vector for the mean of f(b + rX) g(b' + qX), X ~ N(0, 1), f and g smoothed units.

Panels end at kinks, at the edges of the region where a smoothed kink (or a step) of width w still bends, at
40/slope beyond a kink where e^z starts, and at ±`reach_of`. Within a panel the integrand is an entire
function that varies like a Gaussian of width (1 + Σ w⁻²)^(−1/2) times an exponential, or a sine; the
number of nodes follows from the length in units of that width and from the exponent. (Measured over random
panels: the limits below leave 5e-16 of the integrand's size.)
"""

from __future__ import annotations

import math

import numpy as np

from ..activation_table import KINKED
from ..math.abi import inner_jit
from ..math.errorfree import fma
from ..math.gauss_legendre import gauss_legendre
from .smoothed import is_wave

REACH = 9.5
"""φ(9.5) is 1e-20."""

_FARTHEST = 36.0  # of a bend, in standard deviations: nothing is left there

MOST_POINTS = 16
_RULES = tuple(gauss_legendre(8 * k) for k in (1, 2, 3, 4))
NODES, WEIGHTS = (np.concatenate([rule[i] for rule in _RULES]) for i in range(2))
"""The rules of 8, 16, 24 and 32 nodes, one after the other: that of 8 k nodes starts at 4 k (k − 1)."""

# Longest panels, in widths, and largest exponents of the four rules.
_LENGTHS, _EXPONENTS = np.array([1.0, 4.0, 8.0, 11.5]), np.array([1.0, 10.0, 28.0, 50.0])
_BEND = 8.5  # Φ(−8.5) is 1e-17
_SMOOTH = 1.5  # a wider transition needs no panels of its own
_DECAY = 40.0
_MOST_TURNS = 80000.0
_ROUNDING = 5e-16


@inner_jit
def reach_of(r, b, other, shift):
    """The |X| up to which panels go for two units of norms r and `other` and biases b and `shift`.

    A unit that is off but for a tail has its derivatives there: φ(reach) is φ(9.5) of φ where it bends.
    """
    bend = min(max(abs(b) / max(r, 1e-300), abs(shift) / max(other, 1e-300)), _FARTHEST)
    return math.sqrt(REACH * REACH + bend * bend)


@inner_jit
def transition(kind, slope, spread, order):
    """(width, whether panels should end at its edges) where a unit of this slope and spread bends.

    Infinite for sines. Below the sharpest width that matters, it is a kink: an unresolved transition moves
    values by its width squared, second derivatives by its width.
    """
    if slope == 0.0 or is_wave(kind):
        return math.inf, False
    step = KINKED[kind, 1] == 0.0
    width = (math.sqrt(1.0 + spread * spread) if step else spread) / abs(slope)
    sharpest = 3e-9 if order < 2 else 1e-16
    return (width if width > sharpest else 0.0), width < _SMOOTH


@inner_jit
def _decay(kind, spread):
    """How far below zero the mean of a unit still contains an exponential of its argument."""
    if is_wave(kind) or KINKED[kind, 2] == 0.0:
        return 0.0
    return _DECAY + min(0.5 * spread * spread, _DECAY)


@inner_jit
def break_points(points, start, kind, b, slope, spread, order, count):
    """Add the points that one unit asks for to the `count` from place `start` on; how many there are then."""
    if slope == 0.0:
        return count
    width, sharp = transition(kind, slope, spread, order)
    centre, decay = -b / slope, _decay(kind, spread)
    if width == 0.0:
        count = _add(points, start, count, centre)
    elif sharp:
        count = _add(points, start, count, centre - _BEND * width)
        count = _add(points, start, count, centre + _BEND * width)
    if decay > 0.0:
        count = _add(points, start, count, centre - decay / slope)
    return count


@inner_jit
def _add(points, start, count, x):
    """Insert a point in order if it is within reach, which the last point is."""
    if not abs(x) < points[start + count - 1]:
        return count
    place = start + count
    while points[place - 1] > x:
        points[place] = points[place - 1]
        place -= 1
    points[place] = x
    return count + 1


@inner_jit
def bend(kind, b, slope, spread, order, x):
    """1/w² at x, 0 where the unit does not bend."""
    width, sharp = transition(kind, slope, spread, order)
    if width == 0.0 or not width < math.inf or (sharp and abs(x + b / slope) > _BEND * width):
        return 0.0
    return 1.0 / (width * width)


@inner_jit
def turn(kind, slope):
    """By how much a sine adds to the length of panels, per length: half its phase about the middle."""
    return 0.25 * abs(slope) if is_wave(kind) else 0.0


@inner_jit
def rate(kind, b, slope, spread, x):
    """The exponent per length at x."""
    z = b + slope * x
    return abs(slope) if z < 0.0 and z > -_decay(kind, spread) else 0.0


@inner_jit
def rule_for(length, exponent):
    """(pieces, k): into how many panels to cut one of this length and exponent, and the rule of 8 k nodes."""
    pieces = np.int64(max(1.0, math.ceil(length / _LENGTHS[3]), math.ceil(exponent / _EXPONENTS[3])))
    for k in range(3):
        if length <= _LENGTHS[k] * pieces and exponent <= _EXPONENTS[k] * pieces:
            return pieces, np.int64(k + 1)
    return pieces, np.int64(4)


@inner_jit
def too_fast(kind, slope):
    """Whether a sine turns too often for panels."""
    return is_wave(kind) and abs(slope) * REACH > _MOST_TURNS


@inner_jit
def _field(b, slope, x):
    """b + slope·x, zero where x is the rounded zero."""
    z = fma(slope, x, b)
    return 0.0 if abs(z) <= _ROUNDING * abs(b) else z


@inner_jit
def field_at(b, slope, low, high, part, parts):
    """b + slope·x at so many of `parts` equal parts between two points, from the end where it is smaller.

    A panel that ends at a kink ends at z = 0: the rounding of x would count `slope` times as much.
    """
    step, start, end = slope * ((high - low) / parts), _field(b, slope, low), _field(b, slope, high)
    return start + part * step if abs(start) <= abs(end) else end - (parts - part) * step
