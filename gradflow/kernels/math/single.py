"""Vectors and matrices of 32-bit floating-point numbers at addresses, and their products by BLAS `sgemm`.

For what need not be exact: the products of a Krylov method.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from .abi import as_pointer, inner_jit
from .vector_math import inlined

_INT64 = types.int64
_SINGLE = types.float32


@intrinsic
def _fortran_sgemm(typingctx, routine, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    """As `blas._fortran_dgemm`."""

    def codegen(context, builder, signature, args):
        byte, int32 = ir.IntType(8), ir.IntType(32)
        pointer = byte.as_pointer()

        def by_address(value):
            return builder.bitcast(cgutils.alloca_once_value(builder, value), pointer)

        def integer(value):
            return by_address(builder.trunc(value, int32))

        def flag(value):
            return by_address(builder.trunc(value, byte))

        def address(value):
            return builder.inttoptr(value, pointer)

        routine, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc = args
        function_type = ir.FunctionType(ir.VoidType(), [pointer] * 13)
        function = builder.inttoptr(routine, function_type.as_pointer())
        builder.call(
            function,
            [flag(ta), flag(tb), integer(m), integer(n), integer(k)]
            + [by_address(alpha), address(a), integer(lda), address(b), integer(ldb)]
            + [by_address(beta), address(c), integer(ldc)],
        )
        return context.get_dummy_value()

    signature = types.void(*(_INT64,) * 6, _SINGLE, _INT64, _INT64, _INT64, _INT64, _SINGLE, _INT64, _INT64)
    return signature, codegen


@inner_jit
def matmul32(sgemm, m, n, k, a, b, transpose_b, c):
    """C ← A op(B) on addresses of contiguous row-major matrices; C is (m, n), k the inner size.

    A is (m, k); op(B) is (k, n): B is (k, n), or (n, k) if `transpose_b`.
    """
    flag_b = 84 if transpose_b else 78
    ldb = k if transpose_b else n
    one, zero = np.float32(1.0), np.float32(0.0)
    _fortran_sgemm(sgemm, flag_b, 78, n, m, k, one, b, max(ldb, 1), a, max(k, 1), zero, c, max(n, 1))


@inlined
def vector32(address, size):
    """The 32-bit numbers at an address as an array (a view that owns nothing)."""
    return carray(as_pointer(address), size, np.float32)


@inlined
def matrix32(address, rows, columns):
    """The same as a row-major matrix."""
    return carray(as_pointer(address), (rows, columns), np.float32)
