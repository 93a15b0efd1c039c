"""Activations held on one of their smooth pieces: a network whose pattern of active neurons does not change.

A neuron with kinks k_1 < … < k_m has pieces 0 … m. A phase c of a neuron on a sample is the piece on which
its activation is evaluated, whatever z: beyond the ends of the piece by the Taylor polynomial of degree two
at the end. A phase between p and p + 1 is the mixture (1 − φ) σ_p + φ σ_{p+1}, φ = c − p, of both: with z =
k_{p+1} an element of the generalised derivative there.
"""

from __future__ import annotations

import math

import numpy as np

from ..math.abi import inner_jit
from ..math.memory import load, store, word

# Words that PHASES of a descriptor points to.
VALUES = 0  # address of the phases, float64: a row for each hidden neuron of all layers, a column a sample
SAMPLES = 1  # columns
OFFSETS = 2  # address of int64, one more than neurons: where the kinks of a neuron begin
KINKS = 3  # address of the kinks, float64
TAYLOR = 4  # address of σ, σ', σ'' to the left and to the right of each kink, six doubles
HELD = 5  # words


@inner_jit
def _piece(words, first, count, p, z, order, inside):
    """The derivative σ^(order)(z) of piece p; `inside` is that of the activation itself."""
    taylor, kinks = word(words, TAYLOR), word(words, KINKS)
    k = -1
    side = 0
    if p < count and z >= load(kinks, first + p):
        k = first + p
    elif p > 0 and z <= load(kinks, first + p - 1):
        k, side = first + p - 1, 3
    if k < 0:
        return inside
    a, b, c = load(taylor, 6 * k + side), load(taylor, 6 * k + side + 1), load(taylor, 6 * k + side + 2)
    d = z - load(kinks, k)
    if order == 0:
        return a + d * (b + 0.5 * d * c)
    return b + d * c if order == 1 else c


@inner_jit
def _mixed(words, first, count, p, part, z, order, inside):
    value = _piece(words, first, count, p, z, order, inside)
    if part == 0.0:
        return value
    return (1.0 - part) * value + part * _piece(words, first, count, p + 1, z, order, inside)


@inner_jit
def _hold_one(words, first, count, c, place, z, h, slope, bend):
    """One neuron on one sample."""
    p = np.int64(math.floor(c))
    part, value = c - p, load(z, place)
    store(h, place, _mixed(words, first, count, p, part, value, 0, load(h, place)))
    if slope != 0:
        store(slope, place, _mixed(words, first, count, p, part, value, 1, load(slope, place)))
    if bend != 0:
        store(bend, place, _mixed(words, first, count, p, part, value, 2, load(bend, place)))


@inner_jit
def hold(words, neuron, width, position, length, z, h, slope, bend):
    """σ, σ' and σ'' (those not null) of a layer on a block by the phases of its neurons, in place.

    neuron     the number of the layer's first neuron; position   that of the block's first sample
    """
    offsets, samples = word(words, OFFSETS), word(words, SAMPLES)
    valid = min(length, samples - position)
    for i in range(width):
        first = word(offsets, neuron + i)
        count = word(offsets, neuron + i + 1) - first
        row = word(words, VALUES) + 8 * ((neuron + i) * samples + position)
        if count == 1:
            kink = load(word(words, KINKS), first)
            for s in range(valid):
                c, value = load(row, s), load(z, i * length + s)
                if not ((c == 0.0 and value < kink) or (c == 1.0 and value > kink)):
                    _hold_one(words, first, count, c, i * length + s, z, h, slope, bend)
        elif count > 1:
            for s in range(valid):
                _hold_one(words, first, count, load(row, s), i * length + s, z, h, slope, bend)
