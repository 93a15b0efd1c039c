"""Expectations of a pair of nearly parallel units, where Mehler's series would be long.

With Y = uX + sN, N independent of X, and s small, E f(X) g(Y) is a mean over N of integrals over X. The mean
is a Gauss–Hermite rule of a few nodes: as a function of N the integral has its nearest singularity where
poles of both units pinch the line, at a distance η = (a/r + a'/r')/s; what n nodes then err by is
`quadrature_error`. The integrals are sums over Gauss–Legendre panels
with the edges of both units, and a node at a kink for the δ in its second derivative. Derived here.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln

from ..math.abi import call_six, inner_jit
from ..math.blas import matrix, vector
from ..math.memory import allocate, load, release
from ..math.vector_math import gaussian_pdf
from .expansion_tables import BLOCK_ADDRESS, EDGES, FIRST_EDGE, GAUSS, GAUSS_WEIGHTS, JUMP, NODES, SHORT_REACH

_RULES = (6, 12, 32, 64)
_FROM = (40.0, 12.5, 4.5)  # the smallest η of each rule but the last
_SHORTEST, _LONGEST = 9.5, 2.5  # φ(9.5) is 1e-20


def _hermite_rules():
    nodes, weights = np.zeros((len(_RULES), _RULES[-1])), np.zeros((len(_RULES), _RULES[-1]))
    for k, count in enumerate(_RULES):
        x, w = np.polynomial.hermite_e.hermegauss(count)
        nodes[k, :count], weights[k, :count] = x, w / w.sum()
    return nodes, weights


_HERMITE, _HERMITE_WEIGHTS = _hermite_rules()
_COUNTS = np.array(_RULES)


def quadrature_error(eta: np.ndarray) -> np.ndarray:
    """What the rule for η errs by, relative to the function: poles at ±iη.

    The remainder n! f^(2n)/(2n)! of Gauss's rule is n!/η^(2n); where η is not large beside √n, the contour
    integral of the remainder over the strip, e^(η²/2 − 2η√n), is smaller. A factor for double poles.
    """
    nodes = np.array(_RULES, dtype=np.float64)[np.searchsorted(-np.array(_FROM), -eta)]
    eta = np.clip(eta, 1.0, 1e6)
    remainder = gammaln(nodes + 1.0) - 2.0 * nodes * np.log(eta)
    return 30.0 * np.exp(np.minimum(0.5 * eta * eta - 2.0 * eta * np.sqrt(nodes), remainder))


@inner_jit
def _inner_edges(data, slope, shift, reach, found, count):
    """Insert where slope·X + shift meets an edge of a unit into the ascending array `found` of `count`."""
    for k in range(int(load(data, EDGES))):
        z = load(data, FIRST_EDGE + k) - shift
        if not abs(z) < reach * abs(slope):
            continue
        x, p = z / slope, count
        while p > 0 and found[p - 1] > x:
            found[p] = found[p - 1]
            p -= 1
        found[p] = x
        count += 1
    return count


@inner_jit
def close_pair(first, r, b, second, rj, bj, u, sine, eta, reach, order, sums):
    """Fill `sums` as `hermite.FIRST_SUMS` or SECOND_SUMS have it; first, second: data of the activations.

    `reach` is that of the units' tables, where one of them grows so fast that φ(9.5) is not enough (exp).
    """
    if reach <= SHORT_REACH:
        reach = _SHORTEST
    rule = 0
    while rule < len(_FROM) and eta <= _FROM[rule]:
        rule += 1
    total = 4 if order < 2 else 13
    for t in range(total):
        sums[t] = 0.0
    size = int(load(first, EDGES) + load(second, EDGES)) + 2
    jump, second_jump = load(first, JUMP) / r, load(second, JUMP) / abs(rj * u)
    kinks = NODES if jump != 0.0 or second_jump != 0.0 else 0
    edges_at = allocate(size)
    if edges_at == 0:
        for t in range(total):
            sums[t] = math.nan
        return
    edges, slope = vector(edges_at, size), rj * u
    for q in range(_COUNTS[rule]):
        across, share = _HERMITE[rule, q], _HERMITE_WEIGHTS[rule, q]
        shift = bj + rj * sine * across
        count = _inner_edges(first, r, b, reach, edges, 0)
        count = _inner_edges(second, slope, shift, reach, edges, count)
        edges[count] = reach
        panels, left = 0, -reach
        for k in range(count + 1):
            panels += max(1, math.ceil((edges[k] - left) / _LONGEST))
            left = edges[k]
        length = panels * NODES + kinks
        memory = allocate(9 * length)
        if memory == 0:
            for t in range(total):
                sums[t] = math.nan
            break
        rows, place, left = matrix(memory, 9, length), 0, -reach
        for k in range(count + 1):
            parts = max(1, math.ceil((edges[k] - left) / _LONGEST))
            half = 0.5 * (edges[k] - left) / parts
            for p in range(parts):
                middle = left + (2 * p + 1) * half
                for m in range(NODES):
                    rows[0, place + m] = middle + half * GAUSS[m]
                    rows[1, place + m] = half * GAUSS_WEIGHTS[m]
                place += NODES
            left = edges[k]
        for m in range(place, length):
            rows[0, m] = rows[1, m] = 0.0
        if kinks > 0:
            rows[0, place], rows[1, place] = -b / r, jump
            rows[0, place + 1], rows[1, place + 1] = -shift / slope, second_jump
        for m in range(length):
            rows[1, m] *= share * gaussian_pdf(rows[0, m])
            rows[2, m] = b + r * rows[0, m]
        at = memory + 24 * length
        block = int(load(first, BLOCK_ADDRESS))
        call_six(block, length, 2, memory + 16 * length, at, at + 8 * length, at + 16 * length)
        for m in range(length):
            rows[2, m] = shift + slope * rows[0, m]
        at += 24 * length
        block = int(load(second, BLOCK_ADDRESS))
        call_six(block, length, 2, memory + 16 * length, at, at + 8 * length, at + 16 * length)
        if kinks > 0:  # σ'' is the jump times δ there, and the other unit's σ'' likewise
            rows[3, place] = rows[4, place] = rows[6, place + 1] = rows[7, place + 1] = 0.0
            rows[5, place] = rows[8, place + 1] = 1.0
        for m in range(length):
            x, w = rows[0, m], rows[1, m]
            f0, f1, f2 = w * rows[3, m], w * rows[4, m], w * rows[5, m]
            g0, g1, g2 = rows[6, m], rows[7, m], rows[8, m]
            sums[0] += f0 * g0
            sums[1] += f1 * g1
            sums[2] += f2 * g0
            sums[3] += f1 * g0
            if order > 1:
                y = u * x + sine * across
                sums[4] += f2 * g0 * (x * x - 1.0)
                sums[5] += f2 * g1 * x
                sums[6] += f2 * g2
                sums[7] += f1 * g1 * x * y
                sums[8] += f1 * g2 * y
                sums[9] += f2 * g0 * x
                sums[10] += f2 * g1
                sums[11] += f1 * g1 * x
                sums[12] += f1 * g2
        release(memory)
    release(edges_at)
