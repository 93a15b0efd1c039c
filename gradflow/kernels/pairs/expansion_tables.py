"""Hermite coefficients of the units of a layer, for kernels without a closed form (`pairs.expansion`).

For a unit z = rX + b, X ~ N(0, 1), and its activation σ: c_n = E σ h_n, d_n = E σ' h_n, e_n = E σ'' h_n.
Only the e_n and c_0, d_0 are integrals: E X-derivatives and h_n' = √n h_{n−1} give c_n = r d_{n−1}/√n and
d_n = r e_{n−1}/√n, and x h_n = √(n+1) h_{n+1} + √n h_{n−1} those of Xσ', Xσ'' and (X²−1)σ''. Of a steep
unit the first c_n are integrals as well, and d_n, e_n follow by the same rules: rounding is multiplied by
r/√n one way, by √n/r the other.

The integrals are sums over Gauss–Legendre panels of 32 nodes: short where σ bends (`pieces`, in z),
short enough for h_n elsewhere (in X). A kink of σ at z = 0 is an edge, and its δ in σ'' a node of its own.
"""

from __future__ import annotations

import math

import numpy as np

from ..empirical.tiles import LANES, gram
from ..math.abi import call_six, inner_jit
from ..math.blas import matrix, vector
from ..math.errorfree import fma
from ..math.gauss_legendre import gauss_legendre
from ..math.hermite import BLOCK, CHUNK, XD, XE, XXE, C, D, E, hermite_chunk
from ..math.memory import allocate, clear, load, release, scratch, spoil, store
from ..math.vector_math import gaussian_pdf

NODES = 32
"""Nodes of a panel."""

ORDERS = 4096
"""Coefficients of a unit at most. Pairs that would need more take another road (`pairs.roads`)."""

(
    BLOCK_ADDRESS, CLOSED_KERNEL, OWN_TABLE, SLOW, JUMP, STRIP, SCATTERED, UNRESOLVED, STEP, EDGES, FIRST_EDGE
) = range(11)  # fmt: skip
"""The data of an activation, doubles: address of its block routine; address of the closed pair kernel
with the other units that have one (0: none), the unit's own `units.TABLE` for it, and whether a series is
cheaper; the jump of σ' at 0; the distance of σ's nearest pole from the real axis (0: not known) and whether
there may be poles elsewhere than beside z = 0; the error of σ on its pieces; the longest panel in z of a σ
that does not become simple far out (0: none); the number of edges of the pieces and the edges."""

(
    COUNT, ERROR, DATA, MEAN_SQUARE, SLOPE_SQUARE, BEND_SQUARE, BEND_VALUE, SLOPE_VALUE, RADIAL_A, RADIAL_B,
    RADIAL_C, RADIAL_D, REACH, SLOPE_SIZE, DECISIONS, UNITS, TAILS, HEADER,
) = range(18)  # fmt: skip
"""The head of a unit's table: number of coefficients; estimated relative error of its integrals; address of
the activation's data; E σ², E σ'², E σ''², E σ''σ, E σ'σ and (order 2) E σ''σ(X²−1), E σ'²(X²−1), E σ''σX,
E σ'²X, from quadrature; the |X| beyond which σ² φ is below rounding; r √(E σ'²/E σ²); the addresses of the
decisions about the unit's pairs, of the records of the units (`pairs.roads`) and of the tails. Then the
arrays C, D, E and (order 2) XD, XE, XXE, COUNT doubles each; then COUNT/CHUNK + 1 norms of what the
coefficients from each multiple of CHUNK on hold, those of σ over √E σ² and those of r σ' over the same."""

HEADER = 24
TABLE_DOUBLES = HEADER + 6 * (ORDERS + LANES) + 2 * (ORDERS // CHUNK + 1) + LANES

SHORT_REACH, _FARTHEST = 12.0, 37.0  # φ(12)^½ = 2e-16; φ(38) leaves the normal numbers
_LONGEST = 4.0
_STEEP = 4.0
_TINY = 1e-17  # nodes whose σ'' φ^½ is below this share of the largest are left out

_X, _WEIGHT, _NOW, _SIGMA, _ONE, _WEIGHTED, _ROWS = 0, 1, 2, 3, 6, 9, 14
"""Rows of a unit's nodes: X; weight φ(X); z; σ, σ', σ'' (and 1, Xσ, Xσ' after them); the weight times σ, σ',
σ'', Xσ', Xσ''."""


GAUSS, GAUSS_WEIGHTS = gauss_legendre(NODES)
_ROOTS = np.sqrt(np.arange(ORDERS + 2.0 * CHUNK + 2.0))


@inner_jit
def _panels(data, r, b, reach, longest, edges):
    """How many panels cover ±reach in X; with `edges` not 0 their edges are written there."""
    count, left = 0, -reach
    number = int(load(data, EDGES))
    for k in range(number + 1):
        right = reach
        if k < number:
            z = load(data, FIRST_EDGE + k) - b
            if not abs(z) < reach * r:
                continue
            right = z / r
        if right - left <= 1e-14 * reach:
            continue
        parts = max(1, math.ceil((right - left) / longest))
        if edges != 0:
            for p in range(parts):
                store(edges, count + p, left + (right - left) * p / parts)
        count += parts
        left = right
    if edges != 0:
        store(edges, count, reach)
    return count


@inner_jit
def _nodes(data, r, b, reach, longest):
    """Nodes and values, in rows of one block of memory (its address, the length of a row): see `_ROWS`.

    The address is 0 where there is no memory.
    """
    panels = _panels(data, r, b, reach, longest, 0)
    length = (panels * NODES + BLOCK - 1) // BLOCK * BLOCK
    memory = allocate(_ROWS * length + panels + 1)
    if memory == 0:
        return memory, length
    edges = memory + 8 * _ROWS * length
    _panels(data, r, b, reach, longest, edges)
    rows = matrix(memory, _ROWS, length)
    for p in range(panels):
        left, right = load(edges, p), load(edges, p + 1)
        middle, half = 0.5 * (left + right), 0.5 * (right - left)
        centre = fma(r, middle, b)  # z from here: the rounding of X would count r times as much
        for q in range(NODES):
            rows[_X, p * NODES + q] = middle + half * GAUSS[q]
            rows[_NOW, p * NODES + q] = centre + r * half * GAUSS[q]
            rows[_WEIGHT, p * NODES + q] = half * GAUSS_WEIGHTS[q]
    for m in range(panels * NODES, length):
        rows[_X, m] = 0.0
        rows[_NOW, m] = b
        rows[_WEIGHT, m] = 0.0
    for m in range(length):
        rows[_WEIGHT, m] *= gaussian_pdf(rows[_X, m])
        rows[_ONE, m] = 1.0
    start = memory + 8 * length * _SIGMA
    block = int(load(data, BLOCK_ADDRESS))
    call_six(block, length, 2, memory + 8 * length * _NOW, start, start + 8 * length, start + 16 * length)
    return memory, length


@inner_jit
def _decayed(rows, table):
    """Whether σ² φ, σ'² φ, σ''² φ vanish at both ends beside their integrals, and all is finite."""
    last = rows.shape[1] - 1
    while last > 0 and rows[_WEIGHT, last] == 0.0:
        last -= 1
    for f in range(3):
        total = load(table, MEAN_SQUARE + f)
        for m in (0, last):
            if not rows[_SIGMA + f, m] * rows[_WEIGHTED + f, m] <= 1e-26 * total < math.inf:
                return False
    return True


@inner_jit
def _moments(nodes, rows, order, table):
    """What pairs of the unit with itself need, and c_0, d_0: sums of products of rows over the nodes."""
    length = rows.shape[1]
    for m in range(length):
        for f in range(3):
            rows[_WEIGHTED + f, m] = rows[_WEIGHT, m] * rows[_SIGMA + f, m]
    left, right = 3, 4
    if order > 1:
        left, right = 5, 6
        for m in range(length):
            rows[_WEIGHTED + 3, m] = rows[_X, m] * rows[_WEIGHTED + 1, m]
            rows[_WEIGHTED + 4, m] = rows[_X, m] * rows[_WEIGHTED + 2, m]
            rows[_ONE + 1, m] = rows[_X, m] * rows[_SIGMA, m]
            rows[_ONE + 2, m] = rows[_X, m] * rows[_SIGMA + 1, m]
    memory = scratch(36 + 16)
    clear(memory, 36)
    first, second = nodes + 8 * length * _WEIGHTED, nodes + 8 * length * _SIGMA
    gram(first, length, left, second, length, right, length, memory, 6, memory + 8 * 36, False)
    sums = matrix(memory, 6, 6)
    store(table, MEAN_SQUARE, sums[0, 0])
    store(table, SLOPE_SQUARE, sums[1, 1])
    store(table, BEND_SQUARE, sums[2, 2])
    store(table, BEND_VALUE, sums[2, 0])
    store(table, SLOPE_VALUE, sums[1, 0])
    store(table, RADIAL_A, sums[4, 4] - sums[2, 0])
    store(table, RADIAL_B, sums[3, 5] - sums[1, 1])
    store(table, RADIAL_C, sums[4, 0])
    store(table, RADIAL_D, sums[3, 1])
    return sums[0, 3], sums[1, 3]


@inner_jit
def _coefficients(rows, f, spike, at, limit, envelope, square, values):
    """E σ^(f) h_n from n = 0 on, up to `limit`, at address `values`; how many were needed (0: no memory).

    Nodes are those of `rows`, and one of weight `spike` at X = `at` for the δ of a kink. It stops where a
    chunk of them, times what the coefficients of any other unit are by then (e^(−envelope √n), with a
    margin), is below rounding; `square` is E σ^(f)².
    """
    length = rows.shape[1]
    first, last, floor = 0, length, _TINY * _TINY * square
    while first < last and rows[_SIGMA + f, first] * rows[_WEIGHTED + f, first] <= floor:
        first += 1
    while last > first and rows[_SIGMA + f, last - 1] * rows[_WEIGHTED + f, last - 1] <= floor:
        last -= 1
    first = first // BLOCK * BLOCK
    used = max(0, (last - first + BLOCK - 1) // BLOCK * BLOCK)
    extra = BLOCK if spike != 0.0 else 0
    memory = allocate(3 * (used + extra) + CHUNK * LANES)
    if memory == 0:
        return 0
    points, now = vector(memory, used + extra), vector(memory + 8 * (used + extra), used + extra)
    before, sums_at = memory + 16 * (used + extra), memory + 24 * (used + extra)
    clear(before, used + extra)
    sums, lower = matrix(sums_at, CHUNK, LANES), vector(before, used + extra)
    for m in range(used):
        points[m] = rows[_X, first + m]
        now[m] = rows[_WEIGHTED + f, first + m]
    if extra > 0:
        clear(memory + 8 * used, extra)
        clear(memory + 8 * (2 * used + extra), extra)
        points[used], now[used] = at, spike
    energy, done = 0.0, 0
    while done < limit:
        clear(sums_at, CHUNK * LANES)
        hermite_chunk(memory, memory + 8 * (used + extra), before, used + extra, done, sums_at)
        scale, chunk = 1.0, 0.0
        for k in range(CHUNK):
            value = 0.0
            for lane in range(LANES):
                value += sums[k, lane]
            value *= scale
            store(values, done + k, value)
            chunk += value * value
            scale /= _ROOTS[done + k + 1]
        done += CHUNK
        energy += chunk
        partner = min(1.0, 30.0 * math.exp(-0.9 * envelope * _ROOTS[done]))
        if chunk * partner * partner <= 1e-32 * energy or chunk <= 1e-31 * energy:
            break
        for m in range(used + extra):
            now[m] *= scale
            lower[m] *= scale
    release(memory)
    return min(done, limit)


@inner_jit
def without_memory(data, order, table):
    """The table of a unit for which there is no memory: NaN throughout; how many doubles it takes."""
    arrays = HEADER + (6 if order > 1 else 3) * CHUNK
    spoil(table, arrays + 4)
    store(table, COUNT, CHUNK)
    store(table, DATA, data)
    store(table, REACH, SHORT_REACH)
    store(table, TAILS, table + 8 * arrays)
    return (arrays + 4 + 7) // 8 * 8


@inner_jit
def expand_unit(data, r, b, limit, envelope, order, table):
    """Fill the table of one unit with up to `limit` coefficients; how many doubles it takes."""
    if envelope > 0.0 and r > 0.0:
        # where the unit's own coefficients e^(−a√n), times the others' envelope, are below rounding
        root = 46.0 / (load(data, STRIP) / r + envelope)
        if root * root < limit:
            limit = min(limit, (int(root * root) + CHUNK) // CHUNK * CHUNK)
    longest = min(_LONGEST, 48.0 / _ROOTS[limit])
    if load(data, STEP) > 0.0 and r > 0.0:
        longest = min(longest, load(data, STEP) / r)
    reach = SHORT_REACH
    memory, length = _nodes(data, r, b, reach, longest)
    if memory == 0:
        return without_memory(data, order, table)
    rows = matrix(memory, _ROWS, length)
    mean, slope = _moments(memory, rows, order, table)
    fits = _decayed(rows, table)
    while not fits and reach < _FARTHEST:
        release(memory)
        reach = min(_FARTHEST, 1.5 * reach)
        memory, length = _nodes(data, r, b, reach, longest)
        if memory == 0:
            return without_memory(data, order, table)
        rows = matrix(memory, _ROWS, length)
        mean, slope = _moments(memory, rows, order, table)
        fits = _decayed(rows, table)
    bends_at = allocate(2 * (limit + CHUNK))
    spike, at = 0.0, 0.0
    if load(data, JUMP) != 0.0 and r > 0.0 and abs(b) < _FARTHEST * r:
        spike, at = load(data, JUMP) / r * gaussian_pdf(b / r), -b / r
    count = 0
    if bends_at != 0:
        count = _coefficients(rows, 2, spike, at, limit, envelope, load(table, BEND_SQUARE), bends_at)
    values_at, direct = bends_at + 8 * (limit + CHUNK), 0
    if r > _STEEP and count > 0:
        direct = min(count, (int(min(r, float(limit))) + CHUNK) // CHUNK * CHUNK)
        direct = _coefficients(rows, 0, 0.0, 0.0, direct, 0.0, load(table, MEAN_SQUARE), values_at)
    release(memory)
    if count == 0:
        release(bends_at)
        return without_memory(data, order, table)
    store(table, COUNT, count)
    store(table, ERROR, load(data, UNRESOLVED) if fits else math.inf)
    store(table, DATA, data)
    store(table, REACH, reach)
    arrays = 6 if order > 1 else 3
    coefficients = matrix(table + 8 * HEADER, arrays, count)
    bends = vector(bends_at, count)
    coefficients[D, 0], coefficients[C, 0] = slope, mean
    for n in range(count):
        coefficients[E, n] = bends[n]
    for n in range(1, count):
        coefficients[D, n] = r * bends[n - 1] / _ROOTS[n]
    for n in range(1, count):
        coefficients[C, n] = r * coefficients[D, n - 1] / _ROOTS[n]
    for n in range(direct):
        coefficients[C, n] = load(values_at, n)
    for n in range(direct - 1):
        coefficients[D, n] = _ROOTS[n + 1] * coefficients[C, n + 1] / r
    for n in range(direct - 2):
        coefficients[E, n] = bends[n] = _ROOTS[n + 1] * coefficients[D, n + 1] / r
    if order > 1:
        last = count - 1
        coefficients[XD, 0], coefficients[XE, 0] = coefficients[D, 1], bends[1]
        for n in range(1, last):
            coefficients[XD, n] = _ROOTS[n + 1] * coefficients[D, n + 1] + _ROOTS[n] * coefficients[D, n - 1]
            coefficients[XE, n] = _ROOTS[n + 1] * bends[n + 1] + _ROOTS[n] * bends[n - 1]
        coefficients[XD, last] = r * bends[last] + _ROOTS[last] * coefficients[D, last - 1]
        coefficients[XE, last] = _ROOTS[last] * bends[last - 1]
        coefficients[XXE, 0] = coefficients[XE, 1] - bends[0]
        for n in range(1, last):
            sum_n = _ROOTS[n + 1] * coefficients[XE, n + 1] + _ROOTS[n] * coefficients[XE, n - 1]
            coefficients[XXE, n] = sum_n - bends[n]
        coefficients[XXE, last] = _ROOTS[last] * coefficients[XE, last - 1] - bends[last]
    release(bends_at)
    tails = table + 8 * (HEADER + arrays * count)
    store(table, TAILS, tails)
    _tails(coefficients, r, table, tails)
    return (HEADER + arrays * count + 2 * (count // CHUNK + 1) + 7) // 8 * 8


@inner_jit
def _tails(coefficients, r, table, tails):
    """Fill the norms of what lies beyond each multiple of CHUNK, and SLOPE_SIZE.

    What lies beyond the last coefficient follows from the last two halves of chunks, taken as geometric, and
    from Bessel: Σ c_n² may fall short of E σ² by rounding only. The ratio is that of σ'': beside the constant
    and the slope of a unit that bends far out, its other coefficients would seem to fall when they rise.
    """
    levels = coefficients.shape[1] // CHUNK
    square = load(table, MEAN_SQUARE)
    scale = 1.0 / math.sqrt(square) if square > 0.0 else 1.0
    store(table, SLOPE_SIZE, r * math.sqrt(load(table, SLOPE_SQUARE)) * scale)
    first, second, half = 0.0, 0.0, CHUNK // 2
    for n in range(levels * CHUNK - CHUNK, levels * CHUNK - half):
        first += coefficients[E, n] * coefficients[E, n]
        second += coefficients[E, n + half] * coefficients[E, n + half]
    ratio = min(0.99, second / first) if first > 0.0 else 0.0
    for f in range(2):
        at, factor = tails + 8 * f * (levels + 1), scale if f == 0 else r * scale
        total, last, before = 0.0, 0.0, 0.0
        for level in range(levels):
            for part in range(2):
                energy, start = 0.0, level * CHUNK + part * (CHUNK // 2)
                for n in range(start, start + CHUNK // 2):
                    energy += coefficients[f, n] * coefficients[f, n]
                before, last = last, energy
            store(at, level, before + last)
            total += before + last
        whole = load(table, MEAN_SQUARE + f)
        beyond = last * ratio / (1.0 - ratio)
        missing = abs(whole - total)
        if missing > 2e-14 * whole and whole > 1e-290:  # below, squares have lost their digits
            beyond = max(beyond, missing)
        store(at, levels, factor * math.sqrt(beyond))
        for level in range(levels - 1, -1, -1):
            beyond += load(at, level)
            store(at, level, factor * math.sqrt(beyond))


@inner_jit
def tail(table, f, level):
    """The norm of what the coefficients of σ (f = 0) or r σ' (1) from level · CHUNK on hold, over √E σ²."""
    levels = int(load(table, COUNT)) // CHUNK + 1
    return load(int(load(table, TAILS)), f * levels + level)
