"""One thread for BLAS and LAPACK while gradflow computes, whatever the caller has set."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import cache

import threadpoolctl


@cache
def _controller() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


def _free_control() -> None:
    """Let any Python thread set the number of OpenBLAS threads.

    Newer threadpoolctl (3.8 was seen to) obeys only the thread that set a limit first and ignores all
    others without a word. Here `_lock` keeps settings in order, and any thread may be first or last.
    """
    release = getattr(threadpoolctl.OpenBLASController, "clear_controlling_thread", None)
    if release is not None:
        release(force=True)


_lock = threading.Lock()
_inside = 0
_limiter = None


@contextmanager
def single_threaded_blas():
    """Within this block BLAS and LAPACK run on one thread; the caller's setting comes back after it.

    Their results depend on the number of threads in the last bits (measured for `eigh`, LU and
    products), and the same seed must give the same bits on any number of them. jaxlib calls SciPy's
    LAPACK, so this reaches it too. The setting is the process's: blocks of several Python threads may
    overlap, the first one in sets it and the last one out restores it.
    """
    global _inside, _limiter
    with _lock:
        if _inside == 0:
            _free_control()
            _limiter = _controller().limit(limits=1, user_api="blas")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _limiter is not None:
                _free_control()
                _limiter.restore_original_limits()
                _free_control()
                _limiter = None
