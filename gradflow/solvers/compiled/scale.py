"""How large an error may be: relative to every parameter, and to the weight vectors that it belongs to."""

from __future__ import annotations

from ...kernels.math.abi import inner_jit
from ...kernels.math.memory import load, store, word
from . import layout as at

ROUNDING = 16 * 2.220446049250313e-16
"""Errors are not asked to be smaller than this times the larger of the two vectors."""

SMALLEST = 1e-307
"""Of which the inverse is finite."""

MEMORY = 0.5
"""From one accepted step to the next the size of a vector falls to this fraction of itself at most: a single
weight that changes its sign, or a neuron that dies, does not ask for an accuracy that nobody needs."""


@inner_jit
def _magnitude(run, k, step):
    """|θ_k|; in the first step also |Δt θ'_k|, so that what starts at zero has a size."""
    value = abs(load(at.row(run, at.VECTORS, at.THETA), k))
    if at.integer(run, at.ACCEPTED_STEPS) == 0:
        value += abs(step * load(at.row(run, at.VECTORS, at.VELOCITY), k))
    return value


@inner_jit
def weigh(run, step):
    """SCALE_k = 1/(rtol |θ_k| + atol s_k + ROUNDING S_k), the error allowed in θ_k.

    s_k and S_k are the smaller and the larger of max |θ| over the two weight vectors that θ_k belongs to: the
    one into its neuron and the one out of the neuron before.

    A neuron with small weights is followed as accurately, relative to its size, as one with large weights,
    and no unit of θ, t or L is preferred.
    """
    size, count = word(run, at.SIZE), word(run, at.GROUP_COUNT)
    into, out = word(run, at.GROUPS), word(run, at.GROUPS) + 8 * size
    sizes, memory = word(run, at.GROUP_SIZES), at.row(run, at.VECTORS, at.SIZES)
    rtol, atol = at.setting(run, at.RTOL), at.setting(run, at.ATOL)
    scale = at.row(run, at.WORK, at.SCALE)
    for group in range(count):
        store(sizes, group, 0.0)
    for k in range(size):
        value = _magnitude(run, k, step)
        for group in (word(into, k), word(out, k)):
            if value > load(sizes, group):
                store(sizes, group, value)
    first = at.integer(run, at.ACCEPTED_STEPS) == 0
    fresh = at.integer(run, at.ACCEPTED) != 0 and not first
    for k in range(size):
        a, b = load(sizes, word(into, k)), load(sizes, word(out, k))
        small, large = min(a, b), max(a, b)
        if fresh:
            store(memory, k, max(small, MEMORY * load(memory, k)))
        if not first:
            small = load(memory, k)
        allowed = rtol * _magnitude(run, k, step) + atol * small + ROUNDING * large
        store(scale, k, 1.0 / max(allowed, SMALLEST) if allowed > 0.0 else 0.0)
