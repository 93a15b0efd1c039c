"""Which road the kernel of a pair of units takes, decided once, with the error bound of that road.

`expand` fills the tables of a layer and leaves a record of DECISION doubles for every pair; the pair kernel
(`pairs.expansion`) and the error estimate (`losses.expansion`) only read it. The roads, cheapest first:

    CLOSED    the closed pair kernel of both units
    OWN       a unit with itself: the integrals of its table
    SERIES    Mehler's sum of so many terms
    ACROSS    quadrature for steep or nearly parallel units (`pairs.close`)
    WAVE      a sine or cosine with anything: its mean across, one integral along (`pairs.waves`)
    ZERO      a wave so fast that the mean is below rounding
    NONE      no road: NaN

A series may be taken where what it leaves out is below rounding. By Cauchy–Schwarz that is |u|^N times the
norms of both tails, which are in the tables; the decision therefore comes after the coefficients, and how
many of them a unit gets is a plan that may turn out too short, never an error that goes unnoticed.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from ..math.abi import as_pointer, inner_jit
from ..math.blas import matrix, vector
from ..math.hermite import CHUNK
from ..math.memory import allocate, load, release, store
from ..population import geometry as gm
from ..population.geometry import row_geometry
from . import expansion_tables as et
from .close import LAST, NARROWEST, quadrature_error, rule_for
from .expansion_tables import expand_unit, tail, without_memory
from .smoothed import is_wave
from .units import BIAS, FIELDS, KIND, NORM, TABLE
from .waves import cost_of_wave

CLOSED, OWN, SERIES, ACROSS, WAVE, ZERO, NONE = range(7)

ROAD, HOW, VALUE_ERROR, SLOPE_ERROR = range(4)
"""A record: the road; the terms of a series, or η of a quadrature; bounds of the error of K and of ∂K,
relative to √(K(w,w) K(w',w')), and for ∂_wK and ∂_bK to |w'| √(E σ'² E τ'²), or to the former over |w| where
that is more."""

DECISION = 4

ROUNDING = 2e-15
"""What rounding contributes to the error of any kernel, relative to √(K(w,w) K(w',w'))."""

_LONG = 1024.0  # a close pair costs less by quadrature than a series of more terms
_FEW = 8  # so many of them cost less than a longer table
_STEEP_WAVE = 8.0  # sines of more than this norm have Hermite coefficients around n = |w|² only
_WIDTHS = 3.0
_LAST_BIT = 2.2e-16
_ENOUGH = 0.25  # of rounding: what a series may leave out


@inner_jit
def terms_for(sine2):
    """How many orders n until |u|ⁿ is below 3e-17; a multiple of CHUNK, infinite at u = ±1."""
    if sine2 >= 0.91:
        return float(CHUNK)
    rate = -0.5 * math.log1p(-sine2)
    return np.ceil(38.0 / rate / CHUNK) * CHUNK if rate > 0.0 else math.inf  # math.ceil is an int64


@inner_jit
def _terms_by_decay(strips):
    """How many orders until e^(−√n (a/r + a'/r')) is below rounding; infinite where no strip is known."""
    return (46.0 / strips) ** 2 if strips > 0.0 else math.inf


@inner_jit
def _eta(strips, sine2):
    """η of `pairs.close`: the mean across varies within a few widths of the Gaussian, poles or none."""
    return min(_WIDTHS, strips) / max(math.sqrt(sine2), 1e-150)


@inner_jit
def _is_closed(data, other):
    """Whether a closed kernel serves the pair and no series would be cheaper."""
    closed = load(data, et.CLOSED_KERNEL) != 0.0 and load(other, et.CLOSED_KERNEL) != 0.0
    return closed and load(data, et.SLOW) + load(other, et.SLOW) == 0.0


@inner_jit
def _data_of(units, count, j):
    """Address of the data of unit j before its table is there; teachers (j ≥ count) have theirs."""
    data = int(units[j, TABLE])
    return int(load(data, et.DATA)) if j >= count else data


@inner_jit
def _plan(i, count, units, strips, decisions):
    """How many coefficients unit i should have, from the angles and strips of its pairs."""
    every = units.shape[0]
    data = int(units[i, TABLE])
    steep = is_wave(int(units[i, KIND])) and units[i, NORM] > _STEEP_WAVE
    if steep:
        return CHUNK
    # teachers alone: nothing is known of the students to come
    limit, close, longest = float(et.ORDERS if every == count else CHUNK), 0, float(CHUNK)
    for j in range(every):
        if j == i or _is_closed(data, _data_of(units, count, j)):
            continue
        if is_wave(int(units[j, KIND])) and units[j, NORM] > _STEEP_WAVE:
            continue
        sine2, both = load(decisions, DECISION * j + VALUE_ERROR), strips[i] + strips[j]
        scattered = load(data, et.SCATTERED) + load(_data_of(units, count, j), et.SCATTERED) != 0.0
        terms = min(terms_for(sine2), _terms_by_decay(both))
        if both > 0.0 and terms > _LONG and rule_for(_eta(both, sine2)) < LAST:
            close += 1
            longest = max(longest, terms)
        elif terms <= et.ORDERS or both == 0.0 or scattered:
            # no strip known: the coefficients may well end, and quadrature everywhere costs seconds a pair
            limit = max(limit, terms)
    if close > _FEW and longest <= et.ORDERS:
        limit = max(limit, longest)
    return int(np.ceil(min(float(et.ORDERS), limit) / CHUNK)) * CHUNK


@inner_jit
def _decide(i, j, units, decision):
    """Fill the record of the pair (i, j), which holds sin²θ on entry."""
    unit, other, mine, theirs = units[i], units[j], int(units[i, TABLE]), int(units[j, TABLE])
    data, others = int(load(mine, et.DATA)), int(load(theirs, et.DATA))
    sine2 = load(decision, VALUE_ERROR)
    closed = load(data, et.CLOSED_KERNEL) != 0.0 and load(others, et.CLOSED_KERNEL) != 0.0
    if _is_closed(data, others):
        _record(decision, CLOSED, 0.0, ROUNDING, ROUNDING)
        return
    size = load(mine, et.SLOPE_SIZE) * load(theirs, et.SLOPE_SIZE)
    unresolved = load(mine, et.ERROR) + load(theirs, et.ERROR)
    value = slope = ROUNDING + unresolved
    if mine == theirs:
        _record(decision, OWN, 0.0, value, slope)
        return
    if (is_wave(int(unit[KIND])) and unit[NORM] > _STEEP_WAVE) or (
        is_wave(int(other[KIND])) and other[NORM] > _STEEP_WAVE
    ):
        wave, along, axis = other, unit, data
        if is_wave(int(unit[KIND])):
            wave, along, axis = unit, other, others
        strip = load(axis, et.STRIP) / along[NORM] if along[NORM] > 0.0 else 0.0
        cost = cost_of_wave(wave[NORM], sine2, strip)
        road = ZERO if cost == 0.0 else WAVE if cost < math.inf else NONE
        _record(decision, road, 0.0, value if road != NONE else math.inf, slope if road != NONE else math.inf)
        return
    terms = min(load(mine, et.COUNT), load(theirs, et.COUNT), terms_for(sine2))
    level = int(terms) // CHUNK
    power = math.exp(0.5 * terms * math.log1p(-sine2)) if sine2 < 1.0 else 0.0
    missing = power * tail(mine, 0, level) * tail(theirs, 0, level)
    # E σ''τ is a sum of products of the coefficients of σ' and τ' one order up and down
    bent = 2.0 * power * tail(mine, 1, level) * tail(theirs, 1, level) / max(1.0, size)
    if missing <= _ENOUGH * value and bent <= _ENOUGH * slope:
        _record(decision, SERIES, terms, value + missing, slope + bent)
        return
    if closed:
        _record(decision, CLOSED, 0.0, ROUNDING, ROUNDING)
        return
    strip = load(data, et.STRIP) / unit[NORM] if unit[NORM] > 0.0 else math.inf
    strip += load(others, et.STRIP) / other[NORM] if other[NORM] > 0.0 else math.inf
    if not 0.0 < strip < math.inf:
        _record(decision, SERIES, terms, value + missing, slope + bent)
        return
    eta = _eta(strip, sine2)
    scattered = load(data, et.SCATTERED) + load(others, et.SCATTERED) != 0.0
    if scattered and eta < NARROWEST:
        _record(decision, SERIES, terms, value + missing, slope + bent)
        return
    error = quadrature_error(eta)
    for table, one in ((mine, unit), (theirs, other)):  # the last bit of a bias moves a steep place
        value += _LAST_BIT * abs(one[BIAS]) / one[NORM] * load(table, et.SLOPE_SIZE)
    _record(decision, ACROSS, eta, value + error, slope + error)


@inner_jit
def _record(decision, road, how, value, slope):
    store(decision, ROAD, road)
    store(decision, HOW, how)
    store(decision, VALUE_ERROR, value)
    store(decision, SLOPE_ERROR, slope)


@inner_jit
def _enter(i, every, decisions, units_address, table, units):
    """The table of unit i knows where its decisions and the units are, and the unit where its table is."""
    store(table, et.DECISIONS, decisions + 8 * DECISION * every * i)
    store(table, et.UNITS, units_address)
    units[i, TABLE] = table


@inner_jit
def decisions_size(count, every):
    """Doubles that the records of so many rows of pairs take."""
    return (DECISION * count * every + 7) // 8 * 8


def expand(descriptor_address, order, rows_address, units_address, tables, gram_address):
    """Decisions for all pairs of the student's units with all, at `tables`; behind them the units' tables.

    Field TABLE of a unit holds the data of its activation on entry, the address of its table afterwards.
    """
    descriptor = carray(as_pointer(descriptor_address), gm.DESCRIPTOR_SIZE, np.int64)
    count = descriptor[gm.STUDENTS] + descriptor[gm.OUTPUT_BIAS]
    every = count + descriptor[gm.TEACHERS]
    dim = descriptor[gm.DIM]
    rows, units = matrix(rows_address, every, dim), matrix(units_address, every, FIELDS)
    gram = matrix(gram_address, count, every)
    decisions = tables
    tables += 8 * decisions_size(count, every)
    work = allocate(3 * every + count)
    if work == 0:
        for i in range(count):
            own, data = decisions + 8 * DECISION * every * i, int(units[i, TABLE])
            used = without_memory(data, order, tables)
            _enter(i, every, decisions, units_address, tables, units)
            for j in range(every):
                _record(own + 8 * DECISION * j, NONE, 0.0, math.inf, math.inf)
            tables += 8 * used
        return
    strips, geometry = vector(work, every), matrix(work + 8 * every, 2, every)
    limits = vector(work + 24 * every, count)
    envelope = math.inf
    for j in range(every):
        strip = load(_data_of(units, count, j), et.STRIP)
        strips[j] = strip / units[j, NORM] if units[j, NORM] > 0.0 else math.inf
        envelope = min(envelope, strips[j])
    if every == count:
        envelope = 0.0
    for i in range(count):
        row_geometry(i, 0, every, rows, units, gram, geometry)
        own = decisions + 8 * DECISION * every * i
        for j in range(every):
            store(own, DECISION * j + VALUE_ERROR, geometry[1, j])
        limits[i] = _plan(i, count, units, strips, own)
    for i in range(count):
        data = int(units[i, TABLE])
        used = expand_unit(data, units[i, NORM], units[i, BIAS], int(limits[i]), envelope, order, tables)
        _enter(i, every, decisions, units_address, tables, units)
        tables += 8 * used
    for i in range(count):
        for j in range(every):
            _decide(i, j, units, decisions + 8 * DECISION * (every * i + j))
    release(work)
