"""One row of a population Hessian-vector product from the second-order table of its pairs (`units`)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..math.abi import inner_jit
from ..math.blas import matrix
from ..pairs import units as at
from .geometry import NEAR, pair_normal


class Given(NamedTuple):
    """The units and the direction v of a product.

    Of the units rows, records, output weights and Gram matrix; of v its parts along the rows' coordinates
    (n, d), the biases (n) and the output weights (o, n), and inner[i, j] = v_i · row_j.
    """

    rows: np.ndarray
    units: np.ndarray
    outputs: np.ndarray
    gram: np.ndarray
    directions: np.ndarray
    shifts: np.ndarray
    output_directions: np.ndarray
    inner: np.ndarray


class Images(NamedTuple):
    """Where it goes: X (n, n+k), Y (n, n) with (∇²L v)_w = X rows + Y directions; (∇²L v)_b; (∇²L v)_a."""

    x: np.ndarray
    y: np.ndarray
    biases: np.ndarray
    outputs: np.ndarray


@inner_jit
def product_row(i, n, k, biased, gauss_newton, given, images, overlaps, geometry, table, normal):
    """Row i of X and Y; adds to (∇²L v)_a and to (∇²L v)_b. Here n counts the student's units.

    overlaps[j] = a_i·a_j; geometry and table are those of the pairs of row i. With frame components
    v_0 = ŵ·v, v_1 = n̂·v a pair adds 2 a_i·a_j times
    β v_i + α v_j + ŵ (A00 v_0 + A01 v_1 + B00 v'_0 + B01 v'_1) + n̂ (A01 v_0 + A11 v_1 + B10 v'_0 + B11 v'_1),
    with biases C0 η + D0 η' and C1 η + D1 η' in the brackets, and β η + α η' + C·v + D·v' to (∇²L v)_b;
    and n̂ = (ŵ' − cos θ ŵ)/sin θ turns sums over pairs into matrix products. Without the second derivatives of
    the student (`gauss_newton`) the terms of β v_i, A and C are missing, and of those with output weights the
    ones in which K_ij is differentiated by the unit whose weight moves.
    """
    rows, units, outputs, gram, directions, shifts, output_directions, inner = given
    coefficients, own_coefficients, result_b, result_a = images
    inverse, radial_i = units[i, at.INVERSE], inner[i, i] * units[i, at.INVERSE]
    along_rows, along_directions = 0.0, 0.0
    bend = 0.0 if gauss_newton else 1.0
    for part in range(1 if gauss_newton else 2):
        start, count = (0, n) if part == 0 else (n, k)
        own = matrix(table + 8 * at.ROWS * start, at.ROWS, count)
        angle = matrix(geometry + 16 * start, 2, count)
        for column in range(count):
            j = start + column
            alpha, beta = own[at.ALPHA, column], own[at.BETA, column]
            cosine, sine2 = angle[0, column], angle[1, column]
            sine = math.sqrt(sine2)
            radial_j = inner[j, j] * units[j, at.INVERSE] if part == 0 else 0.0
            normal_i, normal_j, over_sine = 0.0, 0.0, 0.0
            if sine2 >= NEAR:
                over_sine = 1.0 / sine
                normal_i = (inner[i, j] * units[j, at.INVERSE] - cosine * radial_i) * over_sine
                if part == 0:
                    normal_j = (inner[j, i] * inverse - cosine * radial_j) * over_sine
            elif sine > 0.0:
                over_sine = 1.0 / sine
                pair_normal(rows[i], inverse, rows[j], units[j, at.INVERSE], gram[i, j], sine2, normal)
                for a in range(normal.size):
                    normal_i += normal[a] * directions[i, a]
                if part == 0:
                    for a in range(normal.size):
                        normal_j -= cosine * normal[a] * directions[j, a]
                    normal_j += sine * inner[j, i] * inverse
            radial = bend * (own[at.A00, column] * radial_i + own[at.A01, column] * normal_i)
            radial += own[at.B00, column] * radial_j + own[at.B01, column] * normal_j
            across = bend * (own[at.A01, column] * radial_i + own[at.A11, column] * normal_i)
            across += own[at.B10, column] * radial_j + own[at.B11, column] * normal_j
            weight = 2.0 * overlaps[j]
            shift = 0.0
            if biased:
                shift_j = shifts[j] if part == 0 else 0.0
                shift = own[at.GAMMA, column] * shifts[i]
                radial += bend * own[at.C0, column] * shifts[i] + own[at.D0, column] * shift_j
                across += bend * own[at.C1, column] * shifts[i] + own[at.D1, column] * shift_j
                turn = bend * beta * shifts[i] + alpha * shift_j
                turn += bend * (own[at.C0, column] * radial_i + own[at.C1, column] * normal_i)
                turn += own[at.D0, column] * (cosine * radial_j + sine * normal_j)
                turn += own[at.D1, column] * (sine * radial_j - cosine * normal_j)
                result_b[i] += weight * turn
            slope = (
                shift + alpha * inner[i, j] * units[j, at.SCALE] + beta * inner[i, i] * units[i, at.SCALE]
            )  # ∂_wK·v_i
            moved = 0.0
            for p in range(outputs.shape[0]):
                if not gauss_newton:
                    moved += 2.0 * output_directions[p, i] * outputs[p, j]
                    result_a[p, i] += 2.0 * outputs[p, j] * slope
                if part == 0:
                    moved += 2.0 * outputs[p, i] * output_directions[p, j]
                    result_a[p, j] += 2.0 * outputs[p, i] * slope
                    result_a[p, i] += 2.0 * output_directions[p, j] * own[at.VALUE, column]
            if biased:
                result_b[i] += moved * own[at.GAMMA, column]
            if part == 0:
                own_coefficients[i, j] = weight * alpha
            coefficients[i, j] = weight * across * over_sine * units[j, at.INVERSE]
            coefficients[i, j] += moved * alpha * units[j, at.SCALE]
            along_rows += weight * (radial - across * cosine * over_sine) * inverse
            along_rows += moved * beta * units[i, at.SCALE]
            along_directions += bend * weight * beta
    coefficients[i, i] += along_rows
    own_coefficients[i, i] += along_directions
