"""Duplicated neurons: a critical point of n neurons becomes a line of critical points of n + 1.

Replace a neuron (w, a) by two, (w, μa) and (w, (1−μ)a). The function stays, and so do L and ∇L = 0, for
every real μ: a line of critical points. Its Hessian (derived; Fukumizu & Amari 2000 and Şimşek et al. 2021
have the statement about its signs), for one output: let

    B = E (f − f*)(x) σ''(w·x) x xᵀ     (x with a constant 1 appended if there are biases).

In the coordinates θ of the small network, ξ and t, the two neurons being w + (1−μ)ξ, w − μξ with output
weights μa + t, (1−μ)a − t, the Hessian of L falls into three blocks,

    ∇²L(small)  ⊕  2aμ(1−μ)B  ⊕  0,

because the only other term, between ξ and t, is 2E (f − f*) σ'(w·x) x = 0 at a critical point with a ≠ 0.
By Sylvester's law of inertia index(μ) = index(small) + number of eigenvalues of aμ(1−μ)B that are < 0: a
minimum of the small network becomes a line of minima where aμ(1−μ)B ⪰ 0, inside 0 < μ < 1 or outside, and
of saddles on both sides where B is indefinite. L = E(f − f*)², no ½.
"""

from . import curvature, line
from .curvature import PAIRS, residual_curvature
from .line import coordinates, critical_line, minimum, split

__all__ = [
    "PAIRS",
    "coordinates",
    "critical_line",
    "curvature",
    "line",
    "minimum",
    "residual_curvature",
    "split",
]


def __dir__() -> list[str]:
    return sorted(__all__)
