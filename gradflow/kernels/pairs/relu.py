"""The pair kernel of ReLU: K(w, w') = E relu(w·x) relu(w'·x) for x ~ N(0, I)."""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from ..math.abi import as_pointer
from ..math.angles import atan_ratio, sine_minus
from ..math.vector_math import select
from . import units as at
from .units import Scalars

_ONE_OVER_2PI = 0.5 / math.pi
_COLLINEAR = 1e-28  # below this sin²θ counts as zero: K = q/2 (θ = 0) or 0 (θ = π) to second order


def relu_relu(count, order, geometry_address, unit_address, units_address, output_address):
    """K = r r' [sin θ + (π−θ) cos θ]/2π; tables as in `units`.

    First order: α = (π−θ)/2π, β = r' sin θ/(2π r). Second order: A00 = −β, A11 = β,
    B00 = B11 = sin θ/2π, A01 = B01 = B10 = 0: at θ = 0 the blocks have the limits 0 and ½ I.
    For θ > π/2 the angle enters as δ = π − θ, and the bracket is sin δ − δ cos δ.
    A zero vector has K = 0 and, by convention (σ'(0) = 0), zero derivatives: its row and column of
    second derivatives are zero as well, which is a convention and not a Hessian.
    Sources: Cho & Saul 2009 (arc-cosine kernel of order 1); Safran & Shamir 2018 (Hessian blocks).
    """
    geometry = carray(as_pointer(geometry_address), (2, count), np.float64)
    unit = carray(as_pointer(unit_address), at.FIELDS, np.float64)
    units = carray(as_pointer(units_address), (count, at.FIELDS), np.float64)
    rows = at.ROWS if order > 1 else at.FIRST_ORDER_ROWS
    output = carray(as_pointer(output_address), (rows, count), np.float64)
    r = unit[at.NORM]
    inverse = 1.0 / r if r > 0.0 else 0.0
    for j in range(count):
        cosine, sine = geometry[0, j], math.sqrt(geometry[1, j])
        rj = units[j, at.NORM]
        alive = select(r * inverse * rj > 0.0, _ONE_OVER_2PI, 0.0)
        acute = cosine >= 0.0
        phi = atan_ratio(sine, abs(cosine))  # θ or π − θ
        supplement = select(acute, math.pi - phi, phi)
        bracket = select(acute, sine + supplement * cosine, sine_minus(phi, sine, abs(cosine)))
        output[at.VALUE, j] = alive * (r * rj) * bracket
        output[at.ALPHA, j] = alive * supplement
        output[at.BETA, j] = alive * (rj * inverse) * sine
    if order < 2:
        return
    for j in range(count):
        beta = output[at.BETA, j]
        turn = select(r * inverse * units[j, at.NORM] > 0.0, _ONE_OVER_2PI, 0.0) * math.sqrt(geometry[1, j])
        output[at.A00, j] = -beta
        output[at.A01, j] = 0.0
        output[at.A11, j] = beta
        output[at.B00, j] = turn
        output[at.B01, j] = 0.0
        output[at.B10, j] = 0.0
        output[at.B11, j] = turn


def scalars(s: np.ndarray, t: np.ndarray, q: np.ndarray) -> Scalars:
    """K, its gradient and its Hessian in (s, t, q) = (|w|², |w'|², w·w'); Δ² = st − q².

    At a small angle θ Hessians of whole networks lose a factor 1/θ: their error is about ε/θ.
    """
    square = s * t - q * q
    flat = square <= _COLLINEAR * s * t
    D = np.sqrt(np.where(flat, 1.0, square))
    s, t = np.where(flat, 1.0, s), np.where(flat, 1.0, t)
    angle = np.where(flat, np.where(q > 0, 0.0, math.pi), np.arctan2(D, q))
    rest = math.pi - angle
    zero = np.zeros_like(q)
    value = (np.where(flat, zero, D) + rest * q) / (2 * math.pi)
    gradient = np.stack([D / (4 * math.pi * s), D / (4 * math.pi * t), rest / (2 * math.pi)], axis=1)
    hessian = np.empty((q.size, 3, 3))
    hessian[:, 0, 0] = t / (8 * math.pi * s * D) - D / (4 * math.pi * s * s)
    hessian[:, 1, 1] = s / (8 * math.pi * t * D) - D / (4 * math.pi * t * t)
    hessian[:, 2, 2] = 1 / (2 * math.pi * D)
    hessian[:, 0, 1] = hessian[:, 1, 0] = 1 / (8 * math.pi * D)
    hessian[:, 0, 2] = hessian[:, 2, 0] = -q / (4 * math.pi * s * D)
    hessian[:, 1, 2] = hessian[:, 2, 1] = -q / (4 * math.pi * t * D)
    gradient[flat, :2] = 0.0
    hessian[flat] = 0.0
    return value, gradient, hessian


def precise(mp, s, t, q) -> tuple:
    """K, K_s, K_t, K_q in the arithmetic of an mpmath context."""
    square = s * t - q * q
    if square <= mp.mpf(10) ** (4 - mp.dps) * s * t:
        half = mp.mpf(1) / 2 if q > 0 else mp.mpf(0)
        return q * half, mp.mpf(0), mp.mpf(0), half
    D = mp.sqrt(square)
    rest = (mp.pi - mp.atan2(D, q)) / (2 * mp.pi)
    return D / (2 * mp.pi) + rest * q, D / (4 * mp.pi * s), D / (4 * mp.pi * t), rest
