"""One row of a population Hessian-vector product from the second-order table of its pairs (`units`)."""

from __future__ import annotations

import math

from ..math.abi import inner_jit
from ..math.blas import matrix
from ..pairs.units import (
    A00,
    A01,
    A11,
    ALPHA,
    B00,
    B01,
    B10,
    B11,
    BETA,
    C0,
    C1,
    D0,
    D1,
    GAMMA,
    INVERSE,
    ROWS,
    SCALE,
    VALUE,
)
from .geometry import NEAR, pair_normal


@inner_jit
def product_row(
    n, k, biased, i, rows, units, outputs, overlaps, directions, shifts, output_directions, inner, geometry,
    table, gram, coefficients, own_coefficients, normal, result_b, result_a,
):  # fmt: skip
    """Row i of X (n, n+k) and Y (n, n) with (∇²L v)_w = X rows + Y directions; adds to (∇²L v)_a
    and to (∇²L v)_b. Here n counts the student's units, and shifts (n) are the directions η in b.

    `coefficients` becomes X and `own_coefficients` Y;
    inner[i, j] = v_i · row_j. With frame components v_0 = ŵ·v, v_1 = n̂·v a pair adds 2 a_i·a_j times
    β v_i + α v_j + ŵ (A00 v_0 + A01 v_1 + B00 v'_0 + B01 v'_1) + n̂ (A01 v_0 + A11 v_1 + B10 v'_0 + B11 v'_1),
    with biases C0 η + D0 η' and C1 η + D1 η' in the brackets, and β η + α η' + C·v + D·v' to (∇²L v)_b;
    and n̂ = (ŵ' − cos θ ŵ)/sin θ turns sums over pairs into matrix products.
    """
    inverse, radial_i = units[i, INVERSE], inner[i, i] * units[i, INVERSE]
    along_rows, along_directions = 0.0, 0.0
    for part in range(2):
        start, count = (0, n) if part == 0 else (n, k)
        own = matrix(table + 8 * ROWS * start, ROWS, count)
        angle = matrix(geometry + 16 * start, 2, count)
        for column in range(count):
            j = start + column
            alpha, beta = own[ALPHA, column], own[BETA, column]
            cosine, sine2 = angle[0, column], angle[1, column]
            sine = math.sqrt(sine2)
            radial_j = inner[j, j] * units[j, INVERSE] if part == 0 else 0.0
            normal_i, normal_j, over_sine = 0.0, 0.0, 0.0
            if sine2 >= NEAR:
                over_sine = 1.0 / sine
                normal_i = (inner[i, j] * units[j, INVERSE] - cosine * radial_i) * over_sine
                if part == 0:
                    normal_j = (inner[j, i] * inverse - cosine * radial_j) * over_sine
            elif sine > 0.0:
                over_sine = 1.0 / sine
                pair_normal(rows[i], inverse, rows[j], units[j, INVERSE], gram[i, j], sine2, normal)
                for a in range(normal.size):
                    normal_i += normal[a] * directions[i, a]
                if part == 0:
                    for a in range(normal.size):
                        normal_j -= cosine * normal[a] * directions[j, a]
                    normal_j += sine * inner[j, i] * inverse
            radial = own[A00, column] * radial_i + own[A01, column] * normal_i
            radial += own[B00, column] * radial_j + own[B01, column] * normal_j
            across = own[A01, column] * radial_i + own[A11, column] * normal_i
            across += own[B10, column] * radial_j + own[B11, column] * normal_j
            weight = 2.0 * overlaps[j]
            shift = 0.0
            if biased:
                shift_j = shifts[j] if part == 0 else 0.0
                shift = own[GAMMA, column] * shifts[i]
                radial += own[C0, column] * shifts[i] + own[D0, column] * shift_j
                across += own[C1, column] * shifts[i] + own[D1, column] * shift_j
                bend = beta * shifts[i] + alpha * shift_j
                bend += own[C0, column] * radial_i + own[C1, column] * normal_i
                bend += own[D0, column] * (cosine * radial_j + sine * normal_j)
                bend += own[D1, column] * (sine * radial_j - cosine * normal_j)
                result_b[i] += weight * bend
            slope = (
                shift + alpha * inner[i, j] * units[j, SCALE] + beta * inner[i, i] * units[i, SCALE]
            )  # ∂_wK·v_i
            moved = 0.0
            for p in range(outputs.shape[0]):
                moved += 2.0 * output_directions[p, i] * outputs[p, j]
                result_a[p, i] += 2.0 * outputs[p, j] * slope
                if part == 0:
                    moved += 2.0 * outputs[p, i] * output_directions[p, j]
                    result_a[p, j] += 2.0 * outputs[p, i] * slope
                    result_a[p, i] += 2.0 * output_directions[p, j] * own[VALUE, column]
            if biased:
                result_b[i] += moved * own[GAMMA, column]
            if part == 0:
                own_coefficients[i, j] = weight * alpha
            coefficients[i, j] = weight * across * over_sine * units[j, INVERSE]
            coefficients[i, j] += moved * alpha * units[j, SCALE]
            along_rows += weight * (radial - across * cosine * over_sine) * inverse
            along_rows += moved * beta * units[i, SCALE]
            along_directions += weight * beta
    coefficients[i, i] += along_rows
    own_coefficients[i, i] += along_directions
