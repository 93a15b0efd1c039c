"""Expectations of a pair of nearly parallel units, where Mehler's series would be long.

With Y = uX + sN, N independent of X, E f(X) g(Y) is a mean over N of integrals over X. As a function of N the
integral has its nearest singularity where poles of both units pinch the line, at a distance
η = (a/r + a'/r')/s from it, beside the point N₀ where X and Y are both at z = 0. For large η the mean is a
Gauss–Hermite rule of a few nodes, which errs by `quadrature_error`; for the others it is a sum over
Gauss–Legendre panels graded towards N₀ (as short everywhere where poles may lie anywhere). The integrals are
sums over such panels too, with the edges of both units, and a node at a kink for the δ in its second
derivative. Derived here.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln

from ..math.abi import call_six, inner_jit
from ..math.blas import matrix, vector
from ..math.errorfree import fma
from ..math.gauss_legendre import gauss_legendre
from ..math.memory import allocate, load, release, scratch
from ..math.vector_math import gaussian_pdf
from . import expansion_tables as et
from .panel_nodes import reach_of

_RULES = (1, 6, 12, 32, 64)
_FROM = (1e9, 40.0, 12.5, 4.5, 3.2)  # the smallest η of each rule
LAST = len(_RULES)
"""The number of the graded panels, which follow the rules."""
_SHORTEST, _LONGEST = 9.5, 2.5  # φ(9.5) is 1e-20


def _hermite_rules():
    nodes, weights = np.zeros((len(_RULES), _RULES[-1])), np.zeros((len(_RULES), _RULES[-1]))
    for k, count in enumerate(_RULES):
        x, w = np.polynomial.hermite_e.hermegauss(count)
        nodes[k, :count], weights[k, :count] = x, w / w.sum()
    return nodes, weights


_HERMITE, _HERMITE_WEIGHTS = _hermite_rules()
_COUNTS = np.array(_RULES)
_LOG_FACTORIALS = gammaln(_COUNTS + 1.0)

_ACROSS, _ACROSS_WEIGHTS = gauss_legendre(16)
_GROWTH = 2.5  # of panels away from N₀: a pole at N₀ is on the ellipse of parameter 4.4 of each
_WIDEST = 4.0
_EDGES_ACROSS = 128
_MOST_ACROSS = 16 * _EDGES_ACROSS
NARROWEST = 0.16
"""The smallest η where poles may lie anywhere: no more panels than that."""


@inner_jit
def rule_for(eta):
    """The number of the rule for η; LAST for graded panels."""
    rule = 0
    while rule < LAST and eta <= _FROM[rule]:
        rule += 1
    return rule


@inner_jit
def quadrature_error(eta):
    """What the rule for η errs by, relative to the function: poles at ±iη.

    The remainder n! f^(2n)/(2n)! of Gauss's rule is n!/η^(2n); where η is not large beside √n, the contour
    integral of the remainder over the strip, e^(η²/2 − 2η√n), is smaller. A factor for double poles.
    Graded panels: e^(−32 log 4.2), the same for every η.
    """
    rule = rule_for(eta)
    if rule == LAST:
        return 1e-16
    nodes, eta = float(_COUNTS[rule]), min(eta, 1e12)
    remainder = _LOG_FACTORIALS[rule] - 2.0 * nodes * math.log(eta)
    contour = 0.5 * eta * eta - 2.0 * eta * math.sqrt(nodes)
    return 30.0 * math.exp(min(contour, remainder))


@inner_jit
def _inner_edges(data, slope, shift, reach, found, count):
    """Insert where slope·X + shift meets an edge of a unit into the ascending array `found` of `count`."""
    for k in range(int(load(data, et.EDGES))):
        z = load(data, et.FIRST_EDGE + k) - shift
        if not abs(z) < reach * abs(slope):
            continue
        count = _insert(found, count, z / slope)
    return count


@inner_jit
def _insert(found, count, x):
    """Insert x into the ascending array `found` of `count`; how many there are then."""
    p = count
    while p > 0 and found[p - 1] > x:
        found[p] = found[p - 1]
        p -= 1
    found[p] = x
    return count + 1


@inner_jit
def _nodes_across(eta, centre, scattered, reach, nodes, weights):
    """Nodes and weights for the mean over N where the integral has poles at centre ± iη; their number."""
    rule = rule_for(eta)
    if rule < LAST:
        count = _COUNTS[rule]
        for k in range(count):
            nodes[k], weights[k] = _HERMITE[rule, k], _HERMITE_WEIGHTS[rule, k]
        return count
    edges = vector(scratch(_EDGES_ACROSS), _EDGES_ACROSS)
    edges[0] = -reach
    found, step, widest = 1, 0.5 * max(eta, 1e-20), _WIDEST
    if scattered:
        step, widest = math.inf, min(_WIDEST, max(eta, NARROWEST, reach / 60.0))
    while step < abs(centre) + reach:
        for x in (centre - step, centre + step):
            if abs(x) < reach:
                found = _insert(edges, found, x)
        step *= _GROWTH
    edges[found] = reach
    count = 0
    for k in range(found):
        parts = max(1, math.ceil((edges[k + 1] - edges[k]) / widest))
        half = 0.5 * (edges[k + 1] - edges[k]) / parts
        for p in range(parts):
            middle = edges[k] + (2 * p + 1) * half
            for m in range(16):
                x = middle + half * _ACROSS[m]
                nodes[count], weights[count] = x, half * _ACROSS_WEIGHTS[m] * gaussian_pdf(x)
                count += 1
    return count


@inner_jit
def _add_nodes(rows, start, order, u, y0, sums):
    """Add NODES nodes to the sums; rows: X, weight, z, σ, σ', σ'', τ, τ', τ'', z'; Y = uX + y0."""
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = a9 = a10 = a11 = a12 = 0.0
    for m in range(start, start + et.NODES):
        x, w = rows[0, m], rows[1, m]
        f0, f1, f2 = w * rows[3, m], w * rows[4, m], w * rows[5, m]
        g0, g1, g2 = rows[6, m], rows[7, m], rows[8, m]
        a0 += f0 * g0
        a1 += f1 * g1
        a2 += f2 * g0
        a3 += f1 * g0
        if order > 1:
            y = u * x + y0
            a4 += f2 * g0 * (x * x - 1.0)
            a5 += f2 * g1 * x
            a6 += f2 * g2
            a7 += f1 * g1 * x * y
            a8 += f1 * g2 * y
            a9 += f2 * g0 * x
            a10 += f2 * g1
            a11 += f1 * g1 * x
            a12 += f1 * g2
    sums[0] += a0
    sums[1] += a1
    sums[2] += a2
    sums[3] += a3
    if order > 1:
        for t, a in ((4, a4), (5, a5), (6, a6), (7, a7), (8, a8), (9, a9), (10, a10), (11, a11), (12, a12)):
            sums[t] += a


@inner_jit
def close_pair(first, r, b, second, rj, bj, u, sine, eta, reach, order, sums):
    """Fill `sums` as `hermite.FIRST_SUMS` or SECOND_SUMS have it; first, second: data of the activations.

    `reach` is that of the units' tables, where one of them grows so fast that φ(9.5) is not enough (exp).
    """
    if reach <= et.SHORT_REACH:
        reach = _SHORTEST
    total = 4 if order < 2 else 13
    for t in range(total):
        sums[t] = 0.0
    size = int(load(first, et.EDGES) + load(second, et.EDGES)) + 2
    jump, second_jump = load(first, et.JUMP) / r, load(second, et.JUMP) / abs(rj * u)
    kinks = et.NODES if jump != 0.0 or second_jump != 0.0 else 0
    edges_at = allocate(size + 2 * _MOST_ACROSS + 13)
    if edges_at == 0:
        for t in range(total):
            sums[t] = math.nan
        return
    edges, slope = vector(edges_at, size), rj * u
    along = max(reach, reach_of(r, b, rj, bj))
    across_at = edges_at + 8 * size
    nodes, shares = vector(across_at, _MOST_ACROSS), vector(across_at + 8 * _MOST_ACROSS, _MOST_ACROSS)
    inner = vector(across_at + 16 * _MOST_ACROSS, 13)
    longest = _LONGEST
    for step, steepness in ((load(first, et.STEP), r), (load(second, et.STEP), abs(slope))):
        if step > 0.0:
            longest = min(longest, step / steepness)
    centre = (u * (b / r) - bj / rj) / max(sine, 1e-300)
    scattered = load(first, et.SCATTERED) + load(second, et.SCATTERED) != 0.0
    for q in range(_nodes_across(eta, centre, scattered, reach, nodes, shares)):
        across, share = nodes[q], shares[q]
        shift = bj + rj * sine * across
        count = _inner_edges(first, r, b, along, edges, 0)
        count = _inner_edges(second, slope, shift, along, edges, count)
        edges[count] = along
        panels, left = 0, -along
        for k in range(count + 1):
            panels += max(1, math.ceil((edges[k] - left) / longest))
            left = edges[k]
        length = panels * et.NODES + kinks
        memory = allocate(10 * length)
        if memory == 0:
            for t in range(total):
                sums[t] = math.nan
            break
        rows, place, left = matrix(memory, 10, length), 0, -along
        for k in range(count + 1):
            parts = max(1, math.ceil((edges[k] - left) / longest))
            half = 0.5 * (edges[k] - left) / parts
            for p in range(parts):
                middle = left + (2 * p + 1) * half
                own, others = fma(r, middle, b), fma(slope, middle, shift)
                for m in range(et.NODES):
                    rows[0, place + m] = middle + half * et.GAUSS[m]
                    rows[1, place + m] = half * et.GAUSS_WEIGHTS[m]
                    rows[2, place + m] = own + r * half * et.GAUSS[m]
                    rows[9, place + m] = others + slope * half * et.GAUSS[m]
                place += et.NODES
            left = edges[k]
        for m in range(place, length):
            rows[0, m] = rows[1, m] = rows[2, m] = rows[9, m] = 0.0
        if kinks > 0:
            rows[0, place], rows[1, place], rows[9, place] = -b / r, jump, shift - slope * (b / r)
            rows[0, place + 1], rows[1, place + 1] = -shift / slope, second_jump
            rows[2, place + 1] = b - r * (shift / slope)
        for m in range(length):
            rows[1, m] *= share * gaussian_pdf(rows[0, m])
        at = memory + 24 * length
        block = int(load(first, et.BLOCK_ADDRESS))
        call_six(block, length, 2, memory + 16 * length, at, at + 8 * length, at + 16 * length)
        at += 24 * length
        block = int(load(second, et.BLOCK_ADDRESS))
        call_six(block, length, 2, memory + 72 * length, at, at + 8 * length, at + 16 * length)
        if kinks > 0:  # σ'' is the jump times δ there, and the other unit's σ'' likewise
            rows[3, place] = rows[4, place] = rows[6, place + 1] = rows[7, place + 1] = 0.0
            rows[5, place] = rows[8, place + 1] = 1.0
        for t in range(total):
            inner[t] = 0.0
        for start in range(0, length, et.NODES):  # sums of sums: one long sum would lose two digits
            _add_nodes(rows, start, order, u, sine * across, inner)
        for t in range(total):
            sums[t] += inner[t]
        release(memory)
    release(edges_at)
