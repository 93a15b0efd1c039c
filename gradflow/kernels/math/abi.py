"""How compiled kernels are called: one C signature for all of them, raw addresses only.

Every kernel that a solver may call is a Numba `@cfunc` with the signature `KERNEL`,

    void kernel(descriptor, theta, v, loss, gradient, matrix)        (all int64: addresses)

`descriptor` points to an int64 array that holds sizes and the addresses of the data, so that sizes
and sample counts are run-time values and nothing is compiled again for a new one. A null output
address means "not wanted". A kernel reads only the descriptor, `theta` (P) and `v` (P, for products)
and writes only its outputs: it can be called from several threads at once, from Python through
`ctypes` (which releases the GIL) and from inside a jitted JAX program (`kernels/xla.py`).

Activations are called through addresses as well, a block of pre-activations at a time (`ACTIVATION`),
so that one compiled network kernel serves every activation, a user's own included.
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature
from numba.extending import get_cython_function_address, intrinsic

from ...support.memory import guarded
from ...support.progress import compilation
from .cache import CodeCache, cache_folder
from .inner_code import InnerCompiler

KERNEL = types.void(*(types.int64,) * 6)
"""void kernel(descriptor, theta, v, loss, gradient, matrix)"""

ACTIVATION = types.void(*(types.int64,) * 6)
"""void activation(n, order, z, value, first, second): writes σ(z) and, up to `order`, σ' and σ''."""

_CTYPES_SIGNATURE = ctypes.CFUNCTYPE(None, *(ctypes.c_int64,) * 6)

_compile_lock = threading.Lock()


@intrinsic
def as_pointer(typingctx, address):
    """The void pointer at an int64 address, for `numba.carray`."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), codegen


@intrinsic
def call_six(typingctx, address, a, b, c, d, e, f):
    """Call the C function `void(int64 × 6)` at `address`: kernels and activations have this shape."""

    def codegen(context, builder, signature, args):
        int64 = ir.IntType(64)
        function_type = ir.FunctionType(ir.VoidType(), [int64] * 6)
        function = builder.inttoptr(args[0], function_type.as_pointer())
        builder.call(function, args[1:])
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 7), codegen


def compile_function(function: Callable, signature=KERNEL, *, cached: bool = True):
    """Compile `function` to a C callback of the given signature; Numba's `CFunc`, kept alive for good.

    `cached=False` is for functions that close over a user's Python code.
    """
    known = _known.get((function, id(signature)))  # a signature's own hash takes longer than all else
    if known is not None and cached:
        return known[0]
    with _compile_lock:
        compiled = _compile(function, signature, cached)
    if cached:
        _known[function, id(signature)] = compiled, signature
    return compiled


_known: dict = {}
"""What has been compiled; the signature is kept, so that its id stays its own."""


@cache
def _compile(function: Callable, signature, cached: bool):
    callback, _ = _callback(function, signature, cached)
    callback.compile()
    return callback


def _callback(function: Callable, signature, cached: bool) -> tuple[Any, CodeCache | None]:
    """What compiles a function, and where its code is kept, if anywhere."""
    callback: Any = CFunc(
        function, normalize_signature(signature), {}, {"error_model": "numpy", "nogil": True}
    )
    source = Path(function.__code__.co_filename).parent
    folder = cache_folder(source) if cached and not function.__closure__ else None
    kept = None if folder is None else CodeCache(function, folder)
    if kept is not None:
        callback._cache = kept
    uncached = callback._compile_uncached

    def told():
        collecting = gc.isenabled()
        gc.disable()  # Numba's millions of small objects live until the end: looking for garbage is in vain
        try:
            with compilation(_words(function)):
                return uncached()
        except BaseException:
            if kept is not None:
                kept.give_up()
            raise
        finally:
            if collecting:
                gc.enable()

    callback._compile_uncached = told
    return callback, kept


def is_missing(function: Callable, signature) -> bool:
    """Whether a function could be found in the cache of compiled code, but is not there."""
    callback, kept = _callback(function, signature, True)
    return kept is not None and not kept.has(callback._sig, callback._targetdescr.target_context)


def compile_unless_claimed(function: Callable, signature) -> None:
    """Compile a function for the cache if it is not there and no other process compiles it."""
    callback, kept = _callback(function, signature, True)
    if kept is not None and kept.claim(callback._sig, callback._targetdescr.target_context):
        callback.compile()


def _words(function: Callable) -> str:
    """What a function is, for people: its place among the kernels and its name."""
    *rooms, module = function.__module__.split(".")[1:] or [function.__module__]
    rooms = [room for room in rooms if room not in ("kernels", "compiled", "math")]
    named = list(dict.fromkeys([*rooms, module, function.__name__]))
    return " ".join(named).replace("_", " ")


def kernel_jit(function: Callable, **options):
    """`numba.njit` with the options that every helper of a kernel needs, for Python and for compiled code.

    Compiled functions that call it take its instructions in, unfinished (`inner_code`); called from Python it
    is compiled for itself. `error_model="numpy"` because a division check stops vectorisation (measured).
    """
    dispatcher = numba.njit(error_model="numpy", nogil=True, **options)(function)
    inner = inner_jit(function, **options)
    dispatcher.get_call_template = inner.get_call_template
    dispatcher.get_overload = inner.get_overload
    return dispatcher


def inner_jit(function: Callable, **options):
    """`kernel_jit` for functions that only other compiled functions call: never call one from Python.

    Numba would compile a helper again for every constant that it is called with, and write Python
    wrappers for it. Both are left out.
    """
    dispatcher = numba.njit(
        error_model="numpy", nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True,
        pipeline_class=InnerCompiler, **options,
    )(function)  # fmt: skip
    template = dispatcher.get_call_template

    def without_literals(args, kws):
        return template([types.unliteral(a) for a in args], {k: types.unliteral(a) for k, a in kws.items()})

    dispatcher.get_call_template = without_literals
    return dispatcher


def summing_jit(function: Callable):
    """`inner_jit` for sums over vectors in any order: the length of the machine's vectors fixes it."""
    return inner_jit(function, fastmath={"reassoc"})


def callable_from_python(address: int):
    """The kernel at `address` as a Python callable of six integers; releases the GIL while it runs.

    Raises `MemoryLimitError` if an allocation fails in it, and then its outputs are of no use.
    """
    return guarded(_CTYPES_SIGNATURE(address))


@cache
def blas_address(name: str) -> int:
    """Address of a Fortran BLAS/LAPACK routine in SciPy's library ("dgemm", "dsyrk", "dsymv", …).

    It is stored in descriptors and called through a pointer, so that compiled code can be cached.
    """
    return get_cython_function_address("scipy.linalg.cython_blas", name)


@cache
def lapack_address(name: str) -> int:
    """The same for a LAPACK routine ("dpotrf", "dsytrs", …)."""
    return get_cython_function_address("scipy.linalg.cython_lapack", name)


def python_kernel(function: Callable):
    """A Python function of six integers as a C function of the signature `KERNEL`, a ctypes object.

    Its address is `ctypes.cast(result, ctypes.c_void_p).value`; keep the object alive as long as that
    is used. An exception inside would be lost: `function` must not let one out.
    """
    return _CTYPES_SIGNATURE(function)


def address_of(function) -> int:
    """The address of a C function made by `python_kernel`."""
    value = ctypes.cast(function, ctypes.c_void_p).value
    assert value is not None
    return value
