"""Averages of erf neurons over joint Gaussian fields, and the equations of online learning made of them.

σ(z) = erf(z/√2) and z ~ N(0, C). Sources: Saad & Solla, Phys. Rev. E 52 (1995) 4225; Goldt et al.,
Dynamics of stochastic gradient descent for two-layer neural networks, NeurIPS 2019.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray

from ..math.abi import as_pointer, inner_jit
from ..math.blas import matrix, vector
from ..math.memory import allocate, release, spoil

STUDENTS, TEACHERS, TEACHER_OVERLAPS, TEACHER_OUTPUTS, RATES, DESCRIPTOR_SIZE = range(6)
"""The descriptor: n, k; addresses of T (k, k), of A (k) and of (η, η₂, s²)."""


@inner_jit
def average_2(C, a, b):
    """E σ(z_a)σ(z_b)."""
    c = C[a, b]
    rest = (1.0 + C[a, a]) * (1.0 + C[b, b]) - c * c
    return 2.0 / math.pi * math.atan2(c, math.sqrt(rest))


@inner_jit
def slopes_2(C, a, b):
    """E σ'(z_a)σ'(z_b)."""
    return 2.0 / math.pi / math.sqrt((1.0 + C[a, a]) * (1.0 + C[b, b]) - C[a, b] * C[a, b])


@inner_jit
def average_3(C, a, b, c):
    """E σ'(z_a) z_b σ(z_c)."""
    size = 1.0 + C[a, a]
    root = math.sqrt(size * (1.0 + C[c, c]) - C[a, c] * C[a, c])
    return 2.0 / math.pi * (C[b, c] * size - C[a, b] * C[a, c]) / (size * root)


@inner_jit
def average_4(C, a, b, c, d):
    """E σ'(z_a)σ'(z_b)σ(z_c)σ(z_d)."""
    size_a, size_b, cross = 1.0 + C[a, a], 1.0 + C[b, b], C[a, b]
    l4 = size_a * size_b - cross * cross
    ac, bc, ad, bd = C[a, c], C[b, c], C[a, d], C[b, d]
    l0 = l4 * C[c, d] - bc * bd * size_a - ac * ad * size_b + cross * (ac * bd + ad * bc)
    l1 = l4 * (1.0 + C[c, c]) - bc * bc * size_a - ac * ac * size_b + 2.0 * cross * ac * bc
    l2 = l4 * (1.0 + C[d, d]) - bd * bd * size_a - ad * ad * size_b + 2.0 * cross * ad * bd
    rest = max(l1 * l2 - l0 * l0, 0.0)
    return 4.0 / math.pi**2 / math.sqrt(l4) * math.atan2(l0, math.sqrt(rest))


@inner_jit
def _fields(descriptor, state, fields_at, outputs_at):
    """The joint covariance of student and teacher fields, and the output weights (v, −A) of the error."""
    n, k = descriptor[STUDENTS], descriptor[TEACHERS]
    C, outputs = matrix(fields_at, n + k, n + k), vector(outputs_at, n + k)
    Q, R = matrix(state, n, n), matrix(state + 8 * n * n, n, k)
    v = vector(state + 8 * n * (n + k), n)
    T, A = matrix(descriptor[TEACHER_OVERLAPS], k, k), vector(descriptor[TEACHER_OUTPUTS], k)
    for i in range(n):
        outputs[i] = v[i]
        for j in range(n):
            C[i, j] = Q[i, j]
        for m in range(k):
            C[i, n + m] = R[i, m]
            C[n + m, i] = R[i, m]
    for m in range(k):
        outputs[n + m] = -A[m]
        for l in range(k):
            C[n + m, n + l] = T[m, l]


def derivatives(descriptor_address, state, unused, loss_address, rate_address, also_unused):
    """d(Q, R, v)/dt in time steps/N, and L = E(f − f*)², those whose address is not null.

    The state is Q (n, n), R (n, k), v (n). With δ = f − f* = Σ_a o_a σ(z_a), o = (v, −A):

        dR_im/dt = −η v_i E σ'(z_i) z_m δ
        dQ_ij/dt = −η v_i E σ'(z_i) z_j δ − (i ↔ j) + η² v_i v_j [E σ'(z_i)σ'(z_j) δ² + s² E σ'(z_i)σ'(z_j)]
        dv_i/dt  = −η₂ E σ(z_i) δ
    """
    descriptor = carray(as_pointer(descriptor_address), DESCRIPTOR_SIZE, np.int64)
    n, k = descriptor[STUDENTS], descriptor[TEACHERS]
    total = n + k
    memory = allocate(total * total + total)
    if memory == 0:
        spoil(loss_address, 1)
        spoil(rate_address, n * (total + 1))
        return
    outputs_at = memory + 8 * total * total
    _fields(descriptor, state, memory, outputs_at)
    C, o, rates = matrix(memory, total, total), vector(outputs_at, total), vector(descriptor[RATES], 3)
    if loss_address != 0:
        loss = 0.0
        for a in range(total):
            for b in range(total):
                loss += o[a] * o[b] * average_2(C, a, b)
        vector(loss_address, 1)[0] = loss
    if rate_address != 0:
        dQ, dR = matrix(rate_address, n, n), matrix(rate_address + 8 * n * n, n, k)
        dv = vector(rate_address + 8 * n * total, n)
        eta, eta_second, variance = rates[0], rates[1], rates[2]
        for i in range(n):
            overlap = 0.0
            for a in range(total):
                overlap += o[a] * average_2(C, i, a)
            dv[i] = -eta_second * overlap
            for j in range(total):
                drift = 0.0
                for a in range(total):
                    drift += o[a] * average_3(C, i, j, a)
                if j < n:
                    dQ[i, j] = -eta * o[i] * drift
                else:
                    dR[i, j - n] = -eta * o[i] * drift
        for i in range(n):
            for j in range(i + 1):
                noise = variance * slopes_2(C, i, j)
                for a in range(total):
                    noise += o[a] * o[a] * average_4(C, i, j, a, a)
                    for b in range(a):
                        noise += 2.0 * o[a] * o[b] * average_4(C, i, j, a, b)
                change = dQ[i, j] + dQ[j, i] + eta * eta * o[i] * o[j] * noise
                dQ[i, j] = change
                dQ[j, i] = change
    release(memory)
