"""The pair kernel of ReLU: K(w, w') = E relu(w·x) relu(w'·x) for x ~ N(0, I)."""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from ..math.abi import as_pointer
from ..math.angles import atan_ratio, sine_minus
from ..math.vector_math import select
from .units import A00, A01, A11, ALPHA, B00, B01, B10, B11, BETA, FIELDS, FIRST_ORDER_ROWS, NORM, ROWS, VALUE

_ONE_OVER_2PI = 0.5 / math.pi


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
    unit = carray(as_pointer(unit_address), FIELDS, np.float64)
    units = carray(as_pointer(units_address), (count, FIELDS), np.float64)
    rows = ROWS if order > 1 else FIRST_ORDER_ROWS
    output = carray(as_pointer(output_address), (rows, count), np.float64)
    r = unit[NORM]
    inverse = 1.0 / r if r > 0.0 else 0.0
    for j in range(count):
        cosine, sine = geometry[0, j], math.sqrt(geometry[1, j])
        rj = units[j, NORM]
        alive = select(r * inverse * rj > 0.0, _ONE_OVER_2PI, 0.0)
        acute = cosine >= 0.0
        phi = atan_ratio(sine, abs(cosine))  # θ or π − θ
        supplement = select(acute, math.pi - phi, phi)
        bracket = select(acute, sine + supplement * cosine, sine_minus(phi, sine, abs(cosine)))
        output[VALUE, j] = alive * (r * rj) * bracket
        output[ALPHA, j] = alive * supplement
        output[BETA, j] = alive * (rj * inverse) * sine
    if order < 2:
        return
    for j in range(count):
        beta = output[BETA, j]
        turn = select(r * inverse * units[j, NORM] > 0.0, _ONE_OVER_2PI, 0.0) * math.sqrt(geometry[1, j])
        output[A00, j] = -beta
        output[A01, j] = 0.0
        output[A11, j] = beta
        output[B00, j] = turn
        output[B01, j] = 0.0
        output[B10, j] = 0.0
        output[B11, j] = turn
