"""A kernel of some of the parameters in units of their own: the others stay where they are.

θ = θ₀ but θ_i = u_i φ_i for the free i, and the loss is divided by its own unit U:
L̂(φ) = L(θ)/U, ∂L̂/∂φ_i = ∂L/∂θ_i u_i/U, and so on. With powers of two nothing is rounded.

The descriptor holds the inner kernel's address and descriptor, the sizes p (free) and P (all), and the
addresses of the indices (p,) of the free parameters, of the full vector (P,) with the frozen values, of
the units u (p,) and of u/U (p,), behind which stands 1/U; then, where there is a linearisation, the addresses
of its two kernels (`objective.Linear`).
"""

from __future__ import annotations

from .math.abi import call_six, inner_jit
from .math.blas import copy
from .math.memory import allocate, clear, load, release, set_word, spoil, store, word

INNER_DERIVATIVES, INNER_PRODUCT, INNER_DESCRIPTOR, FREE_SIZE, FULL_SIZE, INDICES, FROZEN = range(7)
UNITS, SLOPES, INNER_LINEARISE, INNER_TIMES = range(7, 11)
"""Words of the descriptor."""


@inner_jit
def _widen(descriptor, values, full):
    indices, units = word(descriptor, INDICES), word(descriptor, UNITS)
    for i in range(word(descriptor, FREE_SIZE)):
        store(full, word(indices, i), load(values, i) * load(units, i))


@inner_jit
def _narrow(descriptor, full, scales, values):
    """The free entries of a full vector, each times its scale."""
    indices = word(descriptor, INDICES)
    for i in range(word(descriptor, FREE_SIZE)):
        store(values, i, load(full, word(indices, i)) * load(scales, i))


@inner_jit
def _divide(descriptor, loss):
    """L̂ from L."""
    store(loss, 0, load(loss, 0) * load(word(descriptor, SLOPES), word(descriptor, FREE_SIZE)))


def derivatives(descriptor, theta, v, loss, gradient, matrix):
    """L̂, ∇L̂ and ∇²L̂ of the free parameters."""
    free, size = word(descriptor, FREE_SIZE), word(descriptor, FULL_SIZE)
    slopes = word(descriptor, SLOPES)
    point = allocate(2 * size)
    full_gradient = point + 8 * size if gradient != 0 else 0
    full_matrix = allocate(size * size) if matrix != 0 else 0
    if point == 0 or (matrix != 0 and full_matrix == 0):
        spoil(loss, 1)
        spoil(gradient, free)
        spoil(matrix, free * free)
        release(point)
        release(full_matrix)
        return
    copy(size, word(descriptor, FROZEN), point)
    _widen(descriptor, theta, point)
    call_six(
        word(descriptor, INNER_DERIVATIVES), word(descriptor, INNER_DESCRIPTOR), point, 0,
        loss, full_gradient, full_matrix,
    )  # fmt: skip
    if loss != 0:
        _divide(descriptor, loss)
    if gradient != 0:
        _narrow(descriptor, full_gradient, slopes, gradient)
    if matrix != 0:
        indices, units = word(descriptor, INDICES), word(descriptor, UNITS)
        for i in range(free):
            line, row = full_matrix + 8 * word(indices, i) * size, matrix + 8 * i * free
            _narrow(descriptor, line, slopes, row)
            unit = load(units, i)
            for j in range(free):
                store(row, j, load(row, j) * unit)
        release(full_matrix)
    release(point)


def product(descriptor, theta, v, loss, gradient, result):
    """∇²L̂ v of the free parameters, and L̂ and ∇L̂ if wanted."""
    free, size = word(descriptor, FREE_SIZE), word(descriptor, FULL_SIZE)
    slopes = word(descriptor, SLOPES)
    point = allocate(4 * size)
    if point == 0:
        spoil(loss, 1)
        spoil(gradient, free)
        spoil(result, free)
        return
    direction, image, full_gradient = point + 8 * size, point + 16 * size, point + 24 * size
    copy(size, word(descriptor, FROZEN), point)
    _widen(descriptor, theta, point)
    clear(direction, size)
    _widen(descriptor, v, direction)
    call_six(
        word(descriptor, INNER_PRODUCT), word(descriptor, INNER_DESCRIPTOR), point, direction,
        loss, full_gradient if gradient != 0 else 0, image,
    )  # fmt: skip
    if loss != 0:
        _divide(descriptor, loss)
    if gradient != 0:
        _narrow(descriptor, full_gradient, slopes, gradient)
    if result != 0:
        _narrow(descriptor, image, slopes, result)
    release(point)


def linearise(descriptor, theta, memory, loss, gradient, unused):
    """L̂ and ∇L̂, and the inner linearisation (`objective.Linear`)."""
    free, size = word(descriptor, FREE_SIZE), word(descriptor, FULL_SIZE)
    point = allocate(2 * size)
    if point == 0:
        spoil(loss, 1)
        spoil(gradient, free)
        set_word(memory, 0, 0)
        return
    full_gradient = point + 8 * size
    copy(size, word(descriptor, FROZEN), point)
    _widen(descriptor, theta, point)
    call_six(
        word(descriptor, INNER_LINEARISE), word(descriptor, INNER_DESCRIPTOR), point, memory, loss,
        full_gradient, 0,
    )  # fmt: skip
    _divide(descriptor, loss)
    _narrow(descriptor, full_gradient, word(descriptor, SLOPES), gradient)
    release(point)


def times(descriptor, memory, v, result, unused_1, unused_2):
    """∇²L̂ v by the inner linearisation."""
    free, size = word(descriptor, FREE_SIZE), word(descriptor, FULL_SIZE)
    direction = allocate(2 * size)
    if direction == 0:
        spoil(result, free)
        return
    image = direction + 8 * size
    clear(direction, size)
    _widen(descriptor, v, direction)
    call_six(
        word(descriptor, INNER_TIMES), word(descriptor, INNER_DESCRIPTOR), memory, direction, image, 0, 0
    )  # fmt: skip
    _narrow(descriptor, image, word(descriptor, SLOPES), result)
    release(direction)
