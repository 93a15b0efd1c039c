"""Floating-point operations whose rounding error is known: fused multiply-add and Knuth's two-sum."""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic

from .abi import kernel_jit


@intrinsic
def fma(typingctx, a, b, c):
    """a·b + c with a single rounding (`llvm.fma.f64`)."""

    def codegen(context, builder, signature, args):
        return builder.fma(*args)

    double = types.float64
    return double(double, double, double), codegen


@kernel_jit
def two_sum(a, b):
    """(s, e) with s = fl(a + b) and s + e = a + b exactly (Knuth; no order of magnitude is assumed)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)
