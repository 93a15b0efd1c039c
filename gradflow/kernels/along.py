"""An objective's L and |∇L|_∞ at many points, in one call."""

from __future__ import annotations

import math

from .math.abi import call_six, inner_jit
from .math.memory import load, set_word, store, word

COUNT, SIZE, COUNTERS, GRADIENT = range(4)
"""Words of a task: how many points of how many parameters, where gradients are counted, room for one."""


@inner_jit
def largest(values, size):
    """max |values|; NaN if there is one."""
    result = 0.0
    for k in range(size):
        x = abs(load(values, k))
        if not x <= result:
            result = x
        if math.isnan(x):
            return x
    return result


def losses_and_norms(task, kernel, descriptor, points, results, unused):
    """(L, |∇L|_∞) at the rows of `points`, by a kernel (`abi.KERNEL`) and its descriptor."""
    size, gradient, counters = word(task, SIZE), word(task, GRADIENT), word(task, COUNTERS)
    for i in range(word(task, COUNT)):
        row = results + 16 * i
        call_six(kernel, descriptor, points + 8 * i * size, 0, row, gradient, 0)
        store(row, 1, largest(gradient, size))
        set_word(counters, 0, word(counters, 0) + 1)
