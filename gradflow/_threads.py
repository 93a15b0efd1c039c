"""One thread for BLAS and LAPACK while gradflow computes, whatever the caller has set."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache

import threadpoolctl


@cache
def _controller() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


@contextmanager
def single_threaded_blas():
    """Within this block BLAS and LAPACK run on one thread; the caller's setting comes back after it.

    Their results depend on the number of threads in the last bits (measured for `eigh`, LU and
    products), and the same seed must give the same bits on any number of them. jaxlib calls SciPy's
    LAPACK, so this reaches it too.
    """
    with _controller().limit(limits=1, user_api="blas"):
        yield
