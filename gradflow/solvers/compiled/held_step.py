"""One step of a Rosenbrock method on a piece of a loss with kinks, along flat boundaries.

As `rosenbrock.rosenbrock_step`, in coordinates φ with θ = θ₀ + √r Vφ, V orthonormal, and with the matrix
I + γΔt Vᵀ√r H √r V by LU.
"""

from __future__ import annotations

from ...kernels.math.abi import call_six, inner_jit
from ...kernels.math.blas import vector
from ...kernels.math.memory import load, set_word, word
from .algebra import _fortran

(
    KERNEL, DESCRIPTOR, SIZE, ORDER, BASIS, ROOT, THETA, FIRST, MATRIX, TABLEAU, STAGES, FACTOR, PIVOTS,
    DGETRF, DGETRS, CONSTANTS, WORK, END, ERROR, LENGTH, COUNT,
) = range(21)  # fmt: skip
"""Words of a step. BASIS (P, m), 0 where V = 1; THETA, ROOT, END, ERROR (P,); FIRST (m,), −φ' at the start;
MATRIX, FACTOR (m, m); WORK 2 P + (stages + 1) m; LENGTH Δt; COUNT of gradients, grows."""
WORDS = 21

ORDER_PLACE, ONE, INFO, TRANSPOSE = range(4)
"""Entries of CONSTANTS."""


@inner_jit
def _point(words, coordinates, theta, result):
    """result = θ + √r Vφ; θ may be null, for a vector."""
    size, order = word(words, SIZE), word(words, ORDER)
    root, out, inner = vector(word(words, ROOT), size), vector(result, size), vector(coordinates, order)
    if word(words, BASIS) == 0:
        for k in range(size):
            out[k] = root[k] * inner[k]
    else:
        for k in range(size):
            row = vector(word(words, BASIS) + 8 * k * order, order)
            total = 0.0
            for j in range(order):
                total += row[j] * inner[j]
            out[k] = root[k] * total
    if theta != 0:
        start = vector(theta, size)
        for k in range(size):
            out[k] += start[k]


@inner_jit
def _along(words, gradient, result):
    """result = Vᵀ√r g."""
    size, order = word(words, SIZE), word(words, ORDER)
    root, out, values = vector(word(words, ROOT), size), vector(result, order), vector(gradient, size)
    if word(words, BASIS) == 0:
        for k in range(size):
            out[k] = root[k] * values[k]
        return
    for j in range(order):
        out[j] = 0.0
    for k in range(size):
        row, weight = vector(word(words, BASIS) + 8 * k * order, order), root[k] * values[k]
        for j in range(order):
            out[j] += weight * row[j]


def held_step(words, unused_1, unused_2, unused_3, unused_4, unused_5):
    """END and ERROR of a step of LENGTH; INFO in CONSTANTS is not zero where the matrix is singular."""
    size, order, stages = word(words, SIZE), word(words, ORDER), word(words, STAGES)
    length, tableau = load(word(words, LENGTH), 0), word(words, TABLEAU)
    gamma = load(tableau, 0)
    square = 8 * stages * stages
    a = tableau + 8
    mixed = a + square
    m = mixed + square
    errors = m + 8 * stages
    c = gamma * length
    constants, factor, pivots = word(words, CONSTANTS), word(words, FACTOR), word(words, PIVOTS)
    info, one, place = constants + 8 * INFO, constants + 8 * ONE, constants + 8 * ORDER_PLACE
    source, target = vector(word(words, MATRIX), order * order), vector(factor, order * order)
    for k in range(order * order):
        target[k] = c * source[k]
    for k in range(order):
        target[k * order + k] += 1.0
    set_word(constants, INFO, 0)
    _fortran(word(words, DGETRF), (place, place, factor, place, pivots, info))
    if word(constants, INFO) != 0:
        return
    point, gradient = word(words, WORK), word(words, WORK) + 8 * size
    mix = gradient + 8 * size
    rows = mix + 8 * order
    for i in range(stages):
        row = rows + 8 * i * order
        stage = vector(row, order)
        if i == 0:
            first = vector(word(words, FIRST), order)
            for k in range(order):
                stage[k] = -c * first[k]
        else:
            inner = vector(mix, order)
            for k in range(order):
                inner[k] = 0.0
            for j in range(i):
                weight, other = load(a, i * stages + j), vector(rows + 8 * j * order, order)
                if weight != 0.0:
                    for k in range(order):
                        inner[k] += weight * other[k]
            _point(words, mix, word(words, THETA), point)
            call_six(word(words, KERNEL), word(words, DESCRIPTOR), point, 0, mix, gradient, 0)
            counter = word(words, COUNT)
            set_word(counter, 0, word(counter, 0) + 1)
            _along(words, gradient, row)
            for k in range(order):
                stage[k] *= -c
            for j in range(i):
                weight, other = gamma * load(mixed, i * stages + j), vector(rows + 8 * j * order, order)
                if weight != 0.0:
                    for k in range(order):
                        stage[k] += weight * other[k]
        _fortran(
            word(words, DGETRS),
            (constants + 8 * TRANSPOSE, place, one, factor, place, pivots, row, place, info),
        )
    for end in range(2):
        weights = m if end == 0 else errors
        inner = vector(mix, order)
        for k in range(order):
            inner[k] = 0.0
        for j in range(stages):
            weight, other = load(weights, j), vector(rows + 8 * j * order, order)
            if weight != 0.0:
                for k in range(order):
                    inner[k] += weight * other[k]
        if end == 0:
            _point(words, mix, word(words, THETA), word(words, END))
        else:
            _point(words, mix, 0, word(words, ERROR))
