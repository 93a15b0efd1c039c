"""Vectors and matrices of 32-bit floating-point numbers at addresses, and their products by BLAS `sgemm`.

For what need not be exact: the products of a Krylov method.
"""

from __future__ import annotations

import numpy as np
from numba import carray, types

from .abi import as_pointer, inner_jit
from .blas import fortran_gemm
from .vector_math import inlined

_fortran_sgemm = fortran_gemm(types.float32)


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
