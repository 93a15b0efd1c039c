"""Derivatives of the objective, vectors at addresses, and the symmetric matrix of an implicit step.

The Jacobian −r ⊙ ∇²L of the flow is symmetric in the variable δ/√r, so that implicit methods factorise
M = I + c √r ∇²L √r by Cholesky, at half the cost of LU; where M is indefinite, by Bunch and Kaufman's
method. LAPACK is called by its address.
"""

from __future__ import annotations

import math

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ...kernels.math.abi import call_six, inner_jit
from ...kernels.math.blas import vector
from ...kernels.math.memory import load, set_word, store, word
from . import layout as at

DPOTRF, DTRSV, DSYTRF, DSYTRS = range(4)
"""The routines whose addresses a run carries in ROUTINES, and their places there.

For one right-hand side two calls of dtrsv take 0.6 (72 parameters) to 0.15 (300) of the time of dpotrs, which
packs the factor first (measured)."""

LOWER, ORDER, ONE, INFO, LENGTH, PLAIN, TRANSPOSED = range(7)
"""Entries of CONSTANTS (int64 each, read by LAPACK as a character or a 32-bit integer): "L", P, 1, the
answer of a routine, the length of its work array, "N" and "T"."""

NOT_FACTORED, POSITIVE, INDEFINITE = range(3)
"""Values of FACTORED."""


@intrinsic
def _fortran(typingctx, routine, arguments):
    """Call a Fortran subroutine with a tuple of addresses."""

    def codegen(context, builder, signature, args):
        byte = ir.IntType(8).as_pointer()
        values = cgutils.unpack_tuple(builder, args[1], signature.args[1].count)
        kind = ir.FunctionType(ir.VoidType(), [byte] * len(values))
        function = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(value, byte) for value in values])
        return context.get_dummy_value()

    return types.void(types.int64, arguments), codegen


@inner_jit
def loss_and_gradient(run, theta, loss, gradient):
    """L and ∇L at an address; counted."""
    call_six(word(run, at.KERNEL), word(run, at.DESCRIPTOR), theta, 0, loss, gradient, 0)
    counters = word(run, at.COUNTERS)
    set_word(counters, 0, word(counters, 0) + 1)


@inner_jit
def all_derivatives(run, theta, loss, gradient):
    """L and ∇L at addresses and ∇²L into HESSIAN; counted as a Hessian."""
    call_six(word(run, at.KERNEL), word(run, at.DESCRIPTOR), theta, 0, loss, gradient, word(run, at.HESSIAN))
    counters = word(run, at.COUNTERS)
    set_word(counters, 1, word(counters, 1) + 1)


@inner_jit
def hessian(run, theta):
    """∇²L at an address into HESSIAN; counted."""
    call_six(word(run, at.KERNEL), word(run, at.DESCRIPTOR), theta, 0, 0, 0, word(run, at.HESSIAN))
    counters = word(run, at.COUNTERS)
    set_word(counters, 1, word(counters, 1) + 1)


@inner_jit
def product(run, theta, v, result):
    """∇²L(θ) v by the objective's product kernel; counted."""
    call_six(word(run, at.PRODUCT), word(run, at.DESCRIPTOR), theta, v, 0, 0, result)
    counters = word(run, at.COUNTERS)
    set_word(counters, 2, word(counters, 2) + 1)


@inner_jit
def linearise(run, theta, loss, gradient):
    """L and ∇L at an address, and with them what `times` needs; counted as a gradient."""
    if word(run, at.LINEARISE) == 0:
        loss_and_gradient(run, theta, loss, gradient)
        return
    call_six(
        word(run, at.LINEARISE), word(run, at.DESCRIPTOR), theta, word(run, at.MEMORY), loss, gradient, 0
    )
    counters = word(run, at.COUNTERS)
    set_word(counters, 0, word(counters, 0) + 1)


@inner_jit
def linearised(run):
    """Whether there are products of the last linearisation."""
    return word(run, at.LINEARISE) != 0 and word(word(run, at.MEMORY), 0) == 1


@inner_jit
def times(run, v, result):
    """∇²L v at the point of the last linearisation; counted as a product."""
    call_six(word(run, at.TIMES), word(run, at.DESCRIPTOR), word(run, at.MEMORY), v, result, 0, 0)
    counters = word(run, at.COUNTERS)
    set_word(counters, 2, word(counters, 2) + 1)


@inner_jit
def clear_and_add(run, count, weights, rows, factor, base, result):
    """result = base + factor Σ_j weights[j] rows[j] for j < count; `base` may be null."""
    size = word(run, at.SIZE)
    out = vector(result, size)
    if base == 0:
        for k in range(size):
            out[k] = 0.0
    elif base != result:
        start = vector(base, size)
        for k in range(size):
            out[k] = start[k]
    for j in range(count):
        weight = factor * load(weights, j)
        if weight != 0.0:
            term = vector(rows + 8 * j * size, size)
            for k in range(size):
                out[k] += weight * term[k]


@inner_jit
def scaled_norm(run, values):
    """Root mean square of `values` times SCALE: a size in units of the tolerance."""
    size = word(run, at.SIZE)
    scale = at.row(run, at.WORK, at.SCALE)
    total = 0.0
    for k in range(size):
        x = load(values, k) * load(scale, k)
        total += x * x
    return math.sqrt(total / size)


@inner_jit
def hessian_times(run, v, result):
    """√r ∇²L √r v by rows of HESSIAN, which vectorises as sums of rows."""
    size = word(run, at.SIZE)
    roots, out = vector(word(run, at.ROOTS), size), vector(result, size)
    for k in range(size):
        out[k] = 0.0
    for j in range(size):
        weight = load(v, j) * roots[j]
        line = vector(word(run, at.HESSIAN) + 8 * j * size, size)
        for k in range(size):
            out[k] += weight * line[k]
    for k in range(size):
        out[k] *= roots[k]


@inner_jit
def curvature(run, iterations):
    """|λ|_max of r ⊙ HESSIAN from below: a power iteration whose vector is kept across the run."""
    size = word(run, at.SIZE)
    power, image = at.row(run, at.VECTORS, at.POWER), at.row(run, at.WORK, at.SPARE)
    length = 0.0
    for _ in range(iterations):
        hessian_times(run, power, image)
        total = 0.0
        for k in range(size):
            total += load(image, k) * load(image, k)
        length = math.sqrt(total)
        if not (length > 0.0 and length < math.inf):
            break
        for k in range(size):
            store(power, k, load(image, k) / length)
    return length


@inner_jit
def _fill(run, c):
    size = word(run, at.SIZE)
    roots = vector(word(run, at.ROOTS), size)
    for i in range(size):
        source = vector(word(run, at.HESSIAN) + 8 * i * size, size)
        target = vector(word(run, at.FACTOR) + 8 * i * size, size)
        weight = c * roots[i]
        for j in range(i, size):
            target[j] = weight * source[j] * roots[j]
        target[i] += 1.0


@inner_jit
def indefinite(run, c):
    """Whether I + c √r ∇²L √r is not positive definite; FACTOR is overwritten."""
    constants, factor = word(run, at.CONSTANTS), word(run, at.FACTOR)
    lower, order, info = constants + 8 * LOWER, constants + 8 * ORDER, constants + 8 * INFO
    _fill(run, c)
    set_word(constants, INFO, 0)
    _fortran(word(word(run, at.ROUTINES), DPOTRF), (lower, order, factor, order, info))
    return word(constants, INFO) != 0


@inner_jit
def factorise(run, c):
    """Factorise M = I + c √r ∇²L √r into FACTOR; False if it is singular or not finite."""
    routines, constants = word(run, at.ROUTINES), word(run, at.CONSTANTS)
    lower, order = constants + 8 * LOWER, constants + 8 * ORDER
    info, factor = constants + 8 * INFO, word(run, at.FACTOR)
    kind = POSITIVE
    if indefinite(run, c):
        kind = INDEFINITE
        _fill(run, c)
        set_word(constants, INFO, 0)
        _fortran(
            word(routines, DSYTRF),
            (lower, order, factor, order, word(run, at.PIVOTS), at.row(run, at.WORK, at.SPARE),
             constants + 8 * LENGTH, info),
        )  # fmt: skip
        if word(constants, INFO) != 0:
            kind = NOT_FACTORED
    at.set_integer(run, at.FACTORED, kind)
    return kind != NOT_FACTORED


@inner_jit
def solve(run, values):
    """values ← √r M⁻¹ (values/√r), in place: the solution of (I + c r ⊙ ∇²L) x = values."""
    size = word(run, at.SIZE)
    routines, constants = word(run, at.ROUTINES), word(run, at.CONSTANTS)
    lower, order, one = constants + 8 * LOWER, constants + 8 * ORDER, constants + 8 * ONE
    info, factor = constants + 8 * INFO, word(run, at.FACTOR)
    roots = word(run, at.ROOTS)
    for k in range(size):
        store(values, k, load(values, k) / load(roots, k))
    if at.integer(run, at.FACTORED) == POSITIVE:
        for transposition in (PLAIN, TRANSPOSED):
            _fortran(
                word(routines, DTRSV),
                (lower, constants + 8 * transposition, constants + 8 * PLAIN, order, factor, order, values,
                 one),
            )  # fmt: skip
    else:
        _fortran(
            word(routines, DSYTRS),
            (lower, order, one, factor, order, word(run, at.PIVOTS), values, order, info),
        )
    for k in range(size):
        store(values, k, load(values, k) * load(roots, k))
