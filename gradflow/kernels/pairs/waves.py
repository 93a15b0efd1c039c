"""A sine or cosine beside a unit of any activation: its mean across in closed form, one integral along.

With X along the other unit's weight vector, E_Y sin(b' + qX + sY) = e^{−s²/2} sin(b' + qX), q = r' cos θ and
s = r' sin θ: no series in Hermite polynomials, whose coefficients lie around n = r'². Panels along end at the
edges of the other unit's pieces. Where σ has no pole within a of the line, moving the contour shows the
integral to be below e^{−qy + y²/2} E|σ(b + rX + iry)| for y < a/r: nothing, for a fast wave. Derived here.
"""

from __future__ import annotations

import math

import numpy as np

from ..math.abi import call_six, inner_jit
from ..math.errorfree import fma
from ..math.memory import load
from ..math.vector_math import gaussian_pdf
from . import expansion_tables as et
from .panels import CAPACITY, F0, F1, F2, SUMS, WEIGHT, M, Z, add_products, rows_across, write_rows
from .smoothed import is_wave
from .units import BIAS, KIND, NORM

_LONGEST = 2.5
_PHASE = 12.0  # radians of the wave on a panel: 32 nodes have a rest of them for σ
_NOTHING = 60.0  # e^-60 times any power of r' that a second derivative brings is below rounding
_FASTEST = 1e6


@inner_jit
def cost_of_wave(norm, sine2, strip):
    """0 where a wave of this norm gives nothing with a unit of strip a/r, infinite where it is too fast.

    Else something in between.
    """
    spread = 0.5 * norm * norm * sine2
    slope = norm * math.sqrt(max(0.0, 1.0 - sine2))
    least = _NOTHING + 4.0 * math.log1p(norm)
    y = min(0.8 * strip, 6.0)
    if spread > least or slope * y - 0.5 * y * y > least:
        return 0.0
    return slope if slope < _FASTEST else math.inf


@inner_jit
def wave_pair(output, j, order, u, v, axis, c, sn, reach, values, work):
    """The rows of pair j of two units, one of them a wave, the other one's data at `axis`.

    `values` and `work` are `panels.WORK` doubles to work in, and their address.
    """
    swapped = is_wave(int(u[KIND]))
    f, g = (v, u) if swapped else (u, v)
    r, b, shift, slope, s = f[NORM], f[BIAS], g[BIAS], g[NORM] * c, g[NORM] * sn
    longest = min(_LONGEST, _PHASE / max(abs(slope), 1e-300))
    if load(axis, et.STEP) > 0.0:
        longest = min(longest, load(axis, et.STEP) / max(r, 1e-300))
    block, left, number = int(load(axis, et.BLOCK_ADDRESS)), -reach, int(load(axis, et.EDGES))
    for i in range(32):
        values[SUMS + i] = 0.0
    count = np.int64(0)
    for k in range(number + 1):
        right = reach
        if k < number:
            z = load(axis, et.FIRST_EDGE + k) - b
            if not abs(z) < reach * r:
                continue
            right = z / r
        parts = max(1, math.ceil((right - left) / longest))
        half = 0.5 * (right - left) / parts
        for p in range(parts):
            middle = left + (2 * p + 1) * half
            own, mean = fma(r, middle, b), fma(slope, middle, shift)
            for m in range(et.NODES):
                x = middle + half * et.GAUSS[m]
                values[count], values[WEIGHT + count] = x, half * et.GAUSS_WEIGHTS[m] * gaussian_pdf(x)
                values[Z + count] = own + r * half * et.GAUSS[m]
                values[M + count] = mean + slope * half * et.GAUSS[m]
                count += 1
            if count == CAPACITY:
                _add(values, work, count, block, g[KIND], s, order, swapped)
                count = np.int64(0)
        left = right
    if count > 0:
        _add(values, work, count, block, g[KIND], s, order, swapped)
    write_rows(output, j, order, values, c, sn, s, swapped)


@inner_jit
def _add(values, work, count, block, kind, s, order, swapped):
    """Add the nodes in the buffer to the sums."""
    call_six(block, count, 2, work + 8 * Z, work + 8 * F0, work + 8 * F1, work + 8 * F2)
    for i in range(count):
        weight = values[WEIGHT + i]
        values[F0 + i] *= weight
        values[F1 + i] *= weight
        values[F2 + i] *= weight
    rows_across(values, count, np.int64(kind), s, count)
    add_products(values, work, count, order, swapped)
