"""One record per hidden neuron ("unit"), and the tables that pair kernels read and write.

A pair kernel is a C function of the signature `PAIR`,

    void pair(count, order, geometry, unit, units, output)          (all int64: count, order, addresses)

which treats one unit w against `count` units w'_j. It reads

    geometry (2, count)    cos θ_j and sin²θ_j between w and w'_j (1 − cos² loses digits near ±1);
                           by convention 0 and 1 if one of the two is the zero vector
    unit (FIELDS,)         the record of w
    units (count, FIELDS)  the records of the w'_j

and writes the first FIRST_ORDER_ROWS rows of `output` (FIRST_ORDER_ROWS, count) for order 1, all rows of
(ROWS, count) for order 2. With K = K(w, b, w', b') = E σ(w·x + b) τ(w'·x + b'), x ~ N(0, I), and the unit
vectors ŵ, n̂ (n̂ ⟂ ŵ in the plane of w, w', on the side of w'), and ŵ', n̂' the same with w and w' exchanged,

    ∂_w K      = α w' + β w                                    α = E σ'τ',  β = E σ''τ
    ∂_b K      = γ                                             γ = E σ'τ
    ∂_w∂_w K   = β I + A00 ŵŵᵀ + A01 (ŵn̂ᵀ + n̂ŵᵀ) + A11 n̂n̂ᵀ     = E σ''τ x xᵀ
    ∂_w∂_w' K  = α I + B00 ŵŵ'ᵀ + B01 ŵn̂'ᵀ + B10 n̂ŵ'ᵀ + B11 n̂n̂'ᵀ  = E σ'τ' x xᵀ
    ∂_b∂_w K   = C0 ŵ + C1 n̂                                   = E σ''τ x
    ∂_b'∂_w K  = ∂_b∂_w' K = D0 ŵ + D1 n̂                       = E σ'τ' x
    ∂_b∂_b K   = β,   ∂_b∂_b' K = α

(x = X ŵ + Y n̂ + …; moments of σ''τ and σ'τ' in X and Y give every row.) The forms hold at θ = 0 and π,
where n̂ is not defined, because the coefficients of n̂ vanish there. Rows GAMMA, C and D are read only where
a unit of the student has a bias; kernels for units without bias leave them unwritten.

Units whose kernel needs more than a record (an expansion, say) get it from `population.geometry.EXPAND`:

    void expand(descriptor, order, rows, units, tables, gram)       (all int64)

called once per evaluation, after the rows and records of all units and the Gram matrix are complete and
before any pair, with descriptor[TABLE_SIZE] doubles of work space for each unit at `tables`. It writes what
the pair kernel needs and stores the address in field TABLE. The teacher is expanded once, when the loss is
made.
"""

from __future__ import annotations

import numpy as np
from numba import types

PAIR = types.void(*(types.int64,) * 6)
"""void pair(count, order, geometry, unit, units, output)"""

NORM, SINE, COSINE, SCALE, INVERSE, KIND, BIAS, TABLE = range(8)
"""Fields of a record: r = |w|; x = r/√(1+r²); y = 1/√(1+r²); the power of two s by which the stored row
is smaller than w; the reciprocal of the stored row's norm r/s (0 for the zero vector); the
activation (a number of `activation_table`); the bias b; an address (exact as a double below 2^53) of
data of the unit's own, coefficients of a polynomial or what `expand` prepared, 0 if none."""

FIELDS = 8

VALUE, ALPHA, BETA, GAMMA, A00, A01, A11, B00, B01, B10, B11, C0, C1, D0, D1 = range(15)
"""Rows of a pair kernel's output."""

FIRST_ORDER_ROWS, ROWS = 4, 15

Scalars = tuple[np.ndarray, np.ndarray, np.ndarray]
"""K (t,), its gradients (t, 3) and Hessians (t, 3, 3) in (|w|², |w'|², w·w') for t pairs at once."""
