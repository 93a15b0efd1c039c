"""Matrices at addresses: products by BLAS `dgemm` called from compiled code, and array views.

The routine's own address comes from `abi.blas_address` and is carried in a kernel's descriptor.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from .abi import as_pointer, inner_jit
from .memory import allocate, load, release, spoil, store
from .vector_math import inlined

_INT64 = types.int64


def fortran_gemm(real):
    """The call of a BLAS product of matrices of `real` numbers at addresses, for kernels."""

    @intrinsic
    def gemm(typingctx, routine, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
        """Fortran convention: every argument by address, column-major, 32-bit integers (SciPy's are LP64)."""

        def codegen(context, builder, signature, args):
            byte, int32 = ir.IntType(8), ir.IntType(32)
            pointer = byte.as_pointer()

            def by_address(value):
                slot = cgutils.alloca_once_value(builder, value)
                return builder.bitcast(slot, pointer)

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

        signature = types.void(*(_INT64,) * 6, real, _INT64, _INT64, _INT64, _INT64, real, _INT64, _INT64)
        return signature, codegen

    return gemm


_fortran_dgemm = fortran_gemm(types.float64)


@inner_jit
def matmul(dgemm, m, n, k, a, transpose_a, b, transpose_b, beta, c):
    """C ← op(A) op(B) + beta C on addresses of contiguous row-major matrices; C is (m, n), k the inner size.

    op(A) is (m, k): A is (m, k), or (k, m) if `transpose_a`; op(B) is (k, n) likewise. BLAS sees the
    transposed matrices, so it computes Cᵀ = op(B)ᵀ op(A)ᵀ.
    """
    flag_a = 84 if transpose_a else 78  # "T", "N"
    flag_b = 84 if transpose_b else 78
    lda = m if transpose_a else k
    ldb = k if transpose_b else n
    _fortran_dgemm(dgemm, flag_b, flag_a, n, m, k, 1.0, b, max(ldb, 1), a, max(lda, 1), beta, c, max(n, 1))


@inner_jit
def matmul_in_place(dgemm, m, d, a, b):
    """A ← A B for addresses of a contiguous (m, d) and (d, d) matrix."""
    memory = allocate(m * d)
    if memory == 0:
        spoil(a, m * d)
        return
    copy(m * d, a, memory)
    matmul(dgemm, m, d, d, memory, False, b, False, 0.0, a)
    release(memory)


@inner_jit
def copy(count, source, target):
    """Copy `count` doubles between addresses."""
    for i in range(count):
        store(target, i, load(source, i))


@inlined
def vector(address, size):
    """The doubles at an address as an array (a view that owns nothing)."""
    return carray(as_pointer(address), size, np.float64)


@inlined
def matrix(address, rows, columns):
    """The same as a row-major matrix."""
    return carray(as_pointer(address), (rows, columns), np.float64)
