"""How much memory there is, and errors instead of crashes where it does not suffice.

Compiled kernels allocate by themselves and cannot raise. They share a few words with this module
(`WORDS`): a ceiling, what one allocation may take at most, and how many allocations have failed. A kernel
that gets no memory writes NaN into its outputs, and whoever called it from Python looks at the count.
"""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .errors import MemoryLimitError

CEILING, FAILURES, REFUSED = range(3)
"""Words of `WORDS`: bytes that one allocation of a kernel may take; allocations that have failed; the bytes
that the last of them asked for."""

WORDS = (ctypes.c_int64 * 3)(2**62, 0, 0)
WORDS_ADDRESS = ctypes.addressof(WORDS)
# Threads that compiled code has started may still look at them while the interpreter ends.
ctypes.pythonapi.Py_IncRef(ctypes.py_object(WORDS))


_LARGE = 1 << 26
"""Arrays of so many bytes and more are asked for with a look at the memory first, which takes a while."""

LOOK = 0.1
"""Seconds for which a look at the memory holds where nothing large is asked for."""

_looked = -math.inf


def check_memory(argument: str, needed: int, what: str = "arrays that", hint: str = "") -> None:
    """Raise `MemoryLimitError` unless `needed` bytes fit in the memory now available.

    Below `_LARGE` nobody looks: that takes longer than a small run's Hessian.
    """
    if needed < _LARGE:
        return
    available = refresh_ceiling()
    if available is not None and needed > available:
        raise MemoryLimitError(
            argument,
            f"{what} need {needed / 2**30:,.1f} GiB",
            f"what fits in the {available / 2**30:,.1f} GiB available{hint}",
        )


def empty(argument: str, *shape: int) -> np.ndarray:
    """`numpy.empty` of doubles, or `MemoryLimitError`: for arrays as large as a user's sizes make them."""
    size = 8 * math.prod(shape)
    what = f"an array of {' × '.join(f'{n:,}' for n in shape)} numbers, which"
    check_memory(argument, size, what)
    try:
        return np.empty(shape)
    except MemoryError as error:
        raise MemoryLimitError(argument, f"{what} needs {size / 2**30:,.1f} GiB", _ALLOWED) from error


def refresh_ceiling() -> int | None:
    """Let no allocation of a kernel be larger than the memory now available, which is returned."""
    available = available_memory()
    WORDS[CEILING] = 2**62 if available is None else available
    return available


def keep_ceiling() -> None:
    """`refresh_ceiling`, unless that was less than `LOOK` seconds ago."""
    global _looked
    now = time.monotonic()
    if now - _looked >= LOOK:
        refresh_ceiling()
        _looked = now


def guarded(function: Callable) -> Callable:
    """A C function that raises `MemoryLimitError` if an allocation of a kernel failed while it ran.

    The count is the process's: a call that runs while another thread's fails is refused with it.
    """

    def call(*arguments):
        before = WORDS[FAILURES]
        function(*arguments)
        if WORDS[FAILURES] != before:
            raise _kernel_failure()

    return call


@contextmanager
def memory_errors() -> Iterator[None]:
    """Within this block memory that does not suffice, in a kernel, NumPy or LAPACK, is a `MemoryLimitError`.

    Kernels called inside jitted JAX programs have no other way to say so.
    """
    before = WORDS[FAILURES]
    try:
        yield
    except MemoryLimitError:
        raise
    except MemoryError as error:
        words = str(error) or "an array of unknown size"
        raise MemoryLimitError("memory", f"a failed allocation ({words})", _ALLOWED) from error
    if WORDS[FAILURES] != before:
        raise _kernel_failure()


_ALLOWED = "what fits in the memory of this process: fewer parameters, samples or threads"


def _kernel_failure() -> MemoryLimitError:
    size = WORDS[REFUSED] / 2**30
    return MemoryLimitError("memory", f"a compiled kernel's need of {size:.3g} GiB at once", _ALLOWED)


def available_memory(proc: str = "/proc", groups: str = "/sys/fs/cgroup") -> int | None:
    """Bytes that this process may still take, or None where nothing is known.

    The least of what the machine has (MemAvailable), what the control groups of the process and those
    above them leave (limit − usage, files in the page cache not counted), and what is left of the
    process's own limits on its address space and its data (`ulimit -v`, `ulimit -d`).
    """
    found = [_machine(Path(proc)), *_control_groups(Path(proc), Path(groups)), *_process_limits(Path(proc))]
    known = [value for value in found if value is not None]
    return max(0, min(known)) if known else None


def _machine(proc: Path) -> int | None:
    try:
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _process_limits(proc: Path) -> list[int]:
    try:
        import resource

        pages = [int(word) for word in (proc / "self" / "statm").read_text().split()]
    except (ImportError, OSError, ValueError):
        return []
    used = {resource.RLIMIT_AS: pages[0], resource.RLIMIT_DATA: pages[5]}
    limits = {kind: resource.getrlimit(kind)[0] for kind in used}
    return [
        limit - used[kind] * resource.getpagesize()
        for kind, limit in limits.items()
        if limit != resource.RLIM_INFINITY
    ]


def _control_groups(proc: Path, groups: Path) -> list[int]:
    """What each memory group above the process leaves, in version 2 (one tree) or 1 (a tree for memory)."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    rooms = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = groups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            root = groups / "memory"
        else:
            continue
        # Inside a container the path may be that of the host, and the tree begin at the container.
        below = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(below) + 1):
            rooms.append(_room(root.joinpath(*below[:depth]), *names))
    return [room for room in rooms if room is not None]


def _room(group: Path, limit: str, usage: str, reclaimable: str) -> int | None:
    try:
        most = (group / limit).read_text().strip()
        if most == "max" or int(most) >= 2**60:  # version 1 says "no limit" with a huge number
            return None
        left = int(most) - int((group / usage).read_text())
    except (OSError, ValueError):
        return None
    try:
        for line in (group / "memory.stat").read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == reclaimable:
                left += int(count)
    except (OSError, ValueError):
        pass
    return min(left, int(most))
