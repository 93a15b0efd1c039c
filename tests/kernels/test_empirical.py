"""The block kernels on their own: tiles against NumPy at every shape, and what the compiler made of them."""

import re

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba import types

from gradflow.kernels.empirical import derivatives as empirical
from gradflow.kernels.empirical import product as empirical_product
from gradflow.kernels.empirical import tiles
from gradflow.kernels.math import abi
from gradflow.kernels.math.memory import allocate, release

FEATURES = llvm.get_host_cpu_features()
needs_fma = pytest.mark.skipif(
    not (FEATURES.get("fma") and FEATURES.get("avx2")),
    reason="the processor has no AVX2 with fused multiply-add",
)


def _gram(sizes, a, b, g, m, n):
    length = sizes
    spare = allocate(64)
    tiles.gram(a, length, m, b, length, n, length, g, n, spare, False)
    release(spare)


def _combine(sizes, matrix, source, out, m, k):
    tiles.combine(matrix, k, 1, m, k, source, sizes, out, sizes, sizes, 0, 0, 0)


def run(function, length, *arrays_and_sizes):
    kernel = abi.callable_from_python(abi.compile_function(function, types.void(*(types.int64,) * 6)).address)
    kernel(length, *(a.ctypes.data if isinstance(a, np.ndarray) else a for a in arrays_and_sizes))


@pytest.mark.parametrize("length", [8, 24, 56, 248])
def test_gram_of_every_shape(length, rng):
    for m in range(1, 10):
        for n in range(1, 10):
            A, B, G = rng.normal(size=(m, length)), rng.normal(size=(n, length)), rng.normal(size=(m, n))
            truth = G + A @ B.T
            run(_gram, length, A, B, G, m, n)
            assert np.allclose(G, truth, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("length", [8, 24, 56, 248])
def test_combine_of_every_shape(length, rng):
    for m in range(1, 10):
        for k in range(1, 10):
            M, X, out = rng.normal(size=(m, k)), rng.normal(size=(k, length)), np.full((m, length), np.nan)
            run(_combine, length, M, X, out, m, k)
            assert np.allclose(out, M @ X, rtol=1e-13, atol=1e-13)


@needs_fma
@pytest.mark.parametrize("function", [_gram, _combine])
def test_the_tiles_are_packed_multiply_adds(function):
    compiled = abi.compile_function(function, types.void(*(types.int64,) * 6), cached=False)
    assembly = compiled._library.get_asm_str()
    packed = len(re.findall(r"vfn?m(?:add|sub)\d+pd", assembly))
    assert packed >= tiles.ROWS * tiles.COLUMNS // 2
    assert not re.search(r"vfn?m(?:add|sub)\d+sd", assembly)


@needs_fma
@pytest.mark.parametrize(("work", "least"), [(empirical.work, 110), (empirical_product.work, 100)])
def test_the_work_on_a_chunk_is_packed_and_calls_no_libm(work, least):
    """Packed multiply-adds on whole registers: 196 and 181 on an AMD EPYC, 132 at least on an Intel Xeon."""
    compiled = abi.compile_function(work, types.int64(types.int64), cached=False)
    assembly = compiled._library.get_asm_str()
    libm = r"\b(exp2?|expm1|log|log1p|tanh|erfc?|fma|pow|floor|rint|copysign|fabs)\b"
    assert not re.search(rf"(call|movabs|jmp)\S*\s.*{libm}", assembly)
    assert len(re.findall(r"vfn?m(?:add|sub)\d+pd\s.*%[yz]mm", assembly)) >= least
