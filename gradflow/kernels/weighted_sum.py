"""A weighted sum of losses of the same θ as one kernel, Σ_c p_c L_c(θ)."""

from __future__ import annotations

import numpy as np
from numba import carray

from .math.abi import as_pointer, call_six, inner_jit
from .math.blas import vector
from .math.memory import allocate, clear, release, spoil

COUNT, SIZE, COMPONENTS, WEIGHTS, DESCRIPTOR_SIZE = range(5)
"""The descriptor: number of components, P, and the addresses of an int64 matrix with (derivatives, product,
descriptor) of each component, and of their weights p_c."""


@inner_jit
def _add(weight, part, total, count):
    terms, sums = vector(part, count), vector(total, count)
    for a in range(count):
        sums[a] += weight * terms[a]


@inner_jit
def _sum(descriptor, column, theta, v, loss, gradient, matrix, matrix_size):
    """Call routine `column` of each component and add up the outputs that are not null."""
    size = descriptor[SIZE]
    components = carray(as_pointer(descriptor[COMPONENTS]), (descriptor[COUNT], 3), np.int64)
    weights = vector(descriptor[WEIGHTS], descriptor[COUNT])
    memory = allocate(1 + size + matrix_size)
    if memory == 0:
        spoil(loss, 1)
        spoil(gradient, size)
        spoil(matrix, matrix_size)
        return
    # The components' outputs: null where nothing is wanted.
    own_loss = memory if loss != 0 else 0
    own_gradient = memory + 8 if gradient != 0 else 0
    own_matrix = memory + 8 * (1 + size) if matrix != 0 else 0
    if loss != 0:
        clear(loss, 1)
    if gradient != 0:
        clear(gradient, size)
    if matrix != 0:
        clear(matrix, matrix_size)
    for c in range(descriptor[COUNT]):
        routine, own = components[c, column], components[c, 2]
        call_six(routine, own, theta, v, own_loss, own_gradient, own_matrix)
        if loss != 0:
            _add(weights[c], own_loss, loss, 1)
        if gradient != 0:
            _add(weights[c], own_gradient, gradient, size)
        if matrix != 0:
            _add(weights[c], own_matrix, matrix, matrix_size)
    release(memory)


def derivatives(descriptor_address, theta, v, loss_address, gradient_address, hessian_address):
    """L, ∇L and ∇²L, those whose address is not null."""
    descriptor = carray(as_pointer(descriptor_address), DESCRIPTOR_SIZE, np.int64)
    size = descriptor[SIZE] ** 2 if hessian_address != 0 else 0
    _sum(descriptor, 0, theta, v, loss_address, gradient_address, hessian_address, size)


def product(descriptor_address, theta, v, loss_address, gradient_address, product_address):
    """∇²L v; L and ∇L as well where their addresses are not null."""
    descriptor = carray(as_pointer(descriptor_address), DESCRIPTOR_SIZE, np.int64)
    _sum(descriptor, 1, theta, v, loss_address, gradient_address, product_address, descriptor[SIZE])
