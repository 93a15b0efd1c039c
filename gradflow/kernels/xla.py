"""The bridge: a compiled kernel as a JAX function with exact derivatives.

One typed XLA FFI handler serves every kernel: the kernel's own address and its descriptor's address
are run-time operands (the `handle`), so a jitted program depends on the number of parameters only and
is shared by all problems of that size. A call costs about 0.1 µs inside a compiled loop, where
`jax.pure_callback` costs about 100 µs.

    handle   int64[3]: addresses of a kernel (`abi.KERNEL`), of its descriptor, and of two int64
             counters, of gradients and of matrices (zero: not counted)
    theta    float64[P]

The caller keeps the descriptor and what it points to alive until the result has been read.
"""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from numba import carray, types

from ..support.x64 import require_x64
from .math.abi import as_pointer, call_six, compile_function

_TARGET = "gradflow_kernel"


def _handler(frame_address):
    """XLA_FFI_Handler of `xla/ffi/api/c_api.h` (jax.ffi.include_dir()), structs read as 8-byte words.

    XLA_FFI_CallFrame: 0 struct_size, 1 extension_start, 2 api, 3 ctx, 4 stage,
      5…9 args {struct_size, extension_start, size, types, args}, 10…14 rets {the same}.
    XLA_FFI_Buffer: 0 struct_size, 1 extension_start, 2 dtype, 3 data, 4 rank, 5 dims.
    XLA_FFI_Metadata_Extension: 0 struct_size, 1 type, 2 next, 3 metadata.
    XLA_FFI_Metadata: 0 struct_size, 1…3 api_version {struct_size, extension_start, versions}.
    XLA_FFI_Api: 0 struct_size, 1 extension_start, 2…4 api_version (versions: major, minor as int32).
    """
    frame = carray(as_pointer(frame_address), 15, np.int64)
    if frame[1] != 0:
        extension = carray(as_pointer(frame[1]), 4, np.int64)
        if (extension[1] & 0xFFFFFFFF) == 1:
            # XLA asks which API version this handler was built for. It reads the structs whose layout
            # has only grown at the end, so the answer is the version of the XLA that asks.
            if frame[2] == 0:  # jaxlib 0.8.0 asks without an api; unanswered it refuses with a message
                return np.int64(0)
            api = carray(as_pointer(frame[2]), 5, np.int64)
            metadata = carray(as_pointer(extension[3]), 4, np.int64)
            metadata[3] = api[4]
            return np.int64(0)
    arguments = carray(as_pointer(frame[9]), frame[7], np.int64)
    results = carray(as_pointer(frame[14]), frame[12], np.int64)
    handle = carray(as_pointer(carray(as_pointer(arguments[0]), 4, np.int64)[3]), 3, np.int64)
    theta = carray(as_pointer(arguments[1]), 4, np.int64)[3]
    v = carray(as_pointer(arguments[2]), 4, np.int64)[3]
    first = carray(as_pointer(results[0]), 4, np.int64)[3]
    if frame[12] == 1:  # a Hessian or a product alone: loss and gradient are not wanted
        call_six(handle[0], handle[1], theta, v, np.int64(0), np.int64(0), first)
    else:
        second = carray(as_pointer(results[1]), 4, np.int64)[3]
        call_six(handle[0], handle[1], theta, v, first, second, np.int64(0))
    if handle[2] != 0:
        carray(as_pointer(handle[2]), 2, np.int64)[1 if frame[12] == 1 else 0] += 1
    return np.int64(0)


@cache
def register() -> None:
    """Register the handler with XLA's CPU client; done once, at the first use."""
    handler = compile_function(_handler, types.int64(types.int64))
    jax.ffi.register_ffi_target(_TARGET, jax.ffi.pycapsule(handler.ctypes), platform="cpu")


def _call(handle, theta, v, *shapes):
    require_x64()
    register()
    results = [jax.ShapeDtypeStruct(shape, jnp.float64) for shape in shapes]
    call = jax.ffi.ffi_call(_TARGET, results, vmap_method="sequential")
    return call(handle, theta, v)


def hessian(handle, theta):
    """∇²L(θ), shape (P, P)."""
    return _call(handle, theta, theta, (theta.size, theta.size))[0]


def product(handle, theta, v):
    """∇²L(θ) v, shape (P,); `handle` names a product kernel."""
    return _call(handle, theta, v, theta.shape)[0]


@jax.custom_jvp
def loss_and_gradient(handle, theta):
    """L(θ) and ∇L(θ); the derivative rule is (∇L·dθ, ∇²L dθ) with ∇²L formed once."""
    loss, gradient = _call(handle, theta, theta, (), theta.shape)
    return loss, gradient


@loss_and_gradient.defjvp
def _loss_and_gradient_jvp(primals, tangents):
    handle, theta = primals
    direction = tangents[1]
    loss, gradient = loss_and_gradient(handle, theta)
    return (loss, gradient), (gradient @ direction, hessian(handle, theta) @ direction)
