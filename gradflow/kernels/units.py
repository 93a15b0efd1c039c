"""One record per hidden neuron ("unit"), and the tables that pair kernels read and write.

A pair kernel is a C function of the signature `PAIR`,

    void pair(count, order, geometry, unit, units, output)          (all int64: count, order, addresses)

which treats one unit w against `count` units w'_j. It reads

    geometry (2, count)    cos θ_j and sin²θ_j between w and w'_j (1 − cos² loses digits near ±1);
                           by convention 0 and 1 if one of the two is the zero vector
    unit (FIELDS,)         the record of w
    units (count, FIELDS)  the records of the w'_j

and writes rows of `output` (ROWS, count): up to SECOND for order 1, all of them for order 2. With
K = K(w, w') and the unit vectors ŵ, n̂ (n̂ ⟂ ŵ in the plane of w, w', on the side of w'), and ŵ', n̂' the
same with w and w' exchanged,

    ∂_w K      = α w' + β w
    ∂_w∂_w K   = β I + A00 ŵŵᵀ + A01 (ŵn̂ᵀ + n̂ŵᵀ) + A11 n̂n̂ᵀ
    ∂_w∂_w' K  = α I + B00 ŵŵ'ᵀ + B01 ŵn̂'ᵀ + B10 n̂ŵ'ᵀ + B11 n̂n̂'ᵀ

(α = ∂K/∂(w·w'), β = 2 ∂K/∂|w|², so they serve both orders.) The forms hold at θ = 0 and π, where n̂ is
not defined, because A01, A11 and the B with n̂ vanish there.
"""

from __future__ import annotations

from numba import types

PAIR = types.void(*(types.int64,) * 6)
"""void pair(count, order, geometry, unit, units, output)"""

NORM, SINE, COSINE, SCALE, INVERSE, KIND = range(6)
"""Fields of a record: r = |w|; x = r/√(1+r²); y = 1/√(1+r²); the power of two s by which the stored row
is smaller than w; the reciprocal of the stored row's norm r/s (0 for the zero vector); the
activation, a row of `pair_mixture.MIXTURES`."""

FIELDS = 6

VALUE, ALPHA, BETA, A00, A01, A11, B00, B01, B10, B11 = range(10)
"""Rows of a pair kernel's output."""

FIRST_ORDER_ROWS, ROWS = 3, 10
