"""The pair kernel of erf: K(w, w') = E erf(u/√2) erf(v/√2) for u = w·x, v = w'·x, x ~ N(0, I)."""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from ..math.abi import as_pointer
from ..math.angles import atan_ratio
from . import units as at
from .units import Scalars

_TWO_OVER_PI = 2.0 / math.pi


def erf_erf(count, order, geometry_address, unit_address, units_address, output_address):
    """K = (2/π) atan2(q, D), q = w·w', D² = 1 + r² + r'² + r²r'² sin²θ; tables as in `units`.

    With x = r/√(1+r²), y = 1/√(1+r²) everything stays in range for any norm and nothing cancels:
    q = x x' cos θ/(y y'),  D = Δ/(y y'),  Δ² = y'² + y²x'² + x²x'² sin²θ  (a sum of squares).
    First order: α = (2/π)/D, β = −α q/(1+r²). Second order in the frame of the pair, with
    u = 1 − (r' cos θ/D)² = (y'² + x'² sin²θ)/Δ²  (u' with exchanged roles, equal numerators apart):
    A00 = β (y² − x² + y²u), A01 = −α r r' sin θ y² u, A11 = −β x'² sin²θ/Δ²;
    B00 = −α cos θ (x² + y²x'²u'), B01 = −α sin θ x²u, B10 = −α sin θ x'²u', B11 = α cos θ (x x' sin θ/Δ)².
    Source: Williams, Computing with infinite networks, 1997 (value); derivatives derived here.
    """
    geometry = carray(as_pointer(geometry_address), (2, count), np.float64)
    unit = carray(as_pointer(unit_address), at.FIELDS, np.float64)
    units = carray(as_pointer(units_address), (count, at.FIELDS), np.float64)
    rows = at.ROWS if order > 1 else at.FIRST_ORDER_ROWS
    output = carray(as_pointer(output_address), (rows, count), np.float64)
    x, y = unit[at.SINE], unit[at.COSINE]
    for j in range(count):
        cosine, sine2 = geometry[0, j], geometry[1, j]
        xj, yj = units[j, at.SINE], units[j, at.COSINE]
        delta = math.sqrt(yj * yj + (y * xj) * (y * xj) + (x * xj) * (x * xj) * sine2)
        sine = x * xj * cosine
        output[at.VALUE, j] = _TWO_OVER_PI * math.copysign(atan_ratio(abs(sine), delta), sine)
        scaled = _TWO_OVER_PI * y / delta  # α/y'
        output[at.ALPHA, j] = scaled * yj
        output[at.BETA, j] = -scaled * xj * cosine * x * y
    if order < 2:
        return
    for j in range(count):
        cosine, sine2 = geometry[0, j], geometry[1, j]
        xj, yj = units[j, at.SINE], units[j, at.COSINE]
        alpha, beta = output[at.ALPHA, j], output[at.BETA, j]
        delta2 = yj * yj + (y * xj) * (y * xj) + (x * xj) * (x * xj) * sine2
        sine = math.sqrt(sine2)
        u = (yj * yj + xj * xj * sine2) / delta2
        uj = (y * y + x * x * sine2) / delta2
        output[at.A00, j] = beta * ((y - x) * (y + x) + y * y * u)
        output[at.A01, j] = -_TWO_OVER_PI * y / math.sqrt(delta2) * xj * x * y * sine * u
        output[at.A11, j] = -beta * xj * xj * sine2 / delta2
        output[at.B00, j] = -alpha * cosine * (x * x + y * y * xj * xj * uj)
        output[at.B01, j] = -alpha * sine * x * x * u
        output[at.B10, j] = -alpha * sine * xj * xj * uj
        output[at.B11, j] = alpha * cosine * (x * xj) * (x * xj) * sine2 / delta2


def scalars(s: np.ndarray, t: np.ndarray, q: np.ndarray) -> Scalars:
    """K, its gradient and its Hessian in (s, t, q) = (|w|², |w'|², w·w'); D² = (1+s)(1+t) − q²."""
    S, T = 1.0 + s, 1.0 + t
    D = np.sqrt(1.0 + s + t + (s * t - q * q))
    value = (2 / math.pi) * np.arctan2(q, D)
    gradient = np.stack([-q / (math.pi * S * D), -q / (math.pi * T * D), 2 / (math.pi * D)], axis=1)
    cube = math.pi * D**3
    hessian = np.empty((q.size, 3, 3))
    hessian[:, 0, 0] = q / (math.pi * S * S * D) + q * T / (2 * S * cube)
    hessian[:, 1, 1] = q / (math.pi * T * T * D) + q * S / (2 * T * cube)
    hessian[:, 2, 2] = 2 * q / cube
    hessian[:, 0, 1] = hessian[:, 1, 0] = q / (2 * cube)
    hessian[:, 0, 2] = hessian[:, 2, 0] = -T / cube
    hessian[:, 1, 2] = hessian[:, 2, 1] = -S / cube
    return value, gradient, hessian


def precise(mp, s, t, q) -> tuple:
    """K, K_s, K_t, K_q in the arithmetic of an mpmath context."""
    D = mp.sqrt((1 + s) * (1 + t) - q * q)
    return (
        2 / mp.pi * mp.atan2(q, D),
        -q / (mp.pi * (1 + s) * D),
        -q / (mp.pi * (1 + t) * D),
        2 / (mp.pi * D),
    )
