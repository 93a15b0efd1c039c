"""Kernels compiled by a second process while this one compiles others: the first call of a kind waits half.

Whoever knows what a run will call says so (`compile_ahead`). What no earlier process has left is then
compiled by a helper, the last first, and found in the cache of compiled code (`cache`), whose claims keep the
two from the same work; Numba itself compiles on one thread only. Without a cache folder or a second core
nothing happens. The code is the same, whoever compiles it.
"""

from __future__ import annotations

import atexit
import collections
import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from numba import types
from numba.core.typing import Signature

from . import abi

IDLE_SECONDS = 10.0
"""After so long without work the helper ends."""

# The packages on the way to a kernel are not executed: most of them import JAX.
_START = """
import sys, types
sys.path[:] = {path!r}
for name, folder in {packages!r}:
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [folder]
from {module} import serve
serve()
"""

_asked: set = set()
_helper: subprocess.Popen | None = None
_asking = threading.Lock()


def compile_ahead(*wanted: tuple[Callable, Signature]) -> None:
    """Have functions compiled that will be called, each with its signature, in the order of their calls."""
    new = [item for item in wanted if item not in _asked]
    _asked.update(new)
    missing = [
        [function.__module__, function.__qualname__, *map(str, (signature.return_type, *signature.args))]
        for function, signature in new
        if abi.is_missing(function, signature)
    ]
    if missing and _can_help():
        try:
            with _asking:
                pipe = _running().stdin
                assert pipe is not None
                pipe.write(json.dumps(missing[::-1]).encode() + b"\n")
                pipe.flush()
        except OSError:  # no process to be had, or it has just ended: everything is compiled here
            pass


def _can_help() -> bool:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    interpreter = Path(sys.executable or "").name.startswith("python")
    return cores > 1 and interpreter and multiprocessing.parent_process() is None


def _running() -> subprocess.Popen:
    global _helper
    if _helper is None or _helper.poll() is not None:
        packages = [(name, str(folder)) for name, folder in _parents(__name__)]
        start = _START.format(path=sys.path, packages=packages, module=__name__)
        command = [sys.executable, "-c", start]
        _helper = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        atexit.register(_end, _helper)
    return _helper


def _end(helper: subprocess.Popen) -> None:
    helper.kill()
    helper.wait()
    if helper.stdin is not None:
        try:
            helper.stdin.close()
        except OSError:
            pass


def _parents(module: str) -> list[tuple[str, Path]]:
    """The packages that a module of this package is in, with their folders, the outermost first."""
    parts = module.split(".")
    root = Path(__file__).parents[__name__.count(".") - 1]
    return [(".".join(parts[:i]), root.joinpath(*parts[1:i])) for i in range(1, len(parts))]


def serve() -> None:
    """What the helper does: compile what it is asked for and nobody else is at, until its pipe closes."""
    waiting: collections.deque = collections.deque()
    arrived = threading.Semaphore(0)

    def read() -> None:
        try:
            for line in sys.stdin.buffer:
                for item in json.loads(line):
                    waiting.append(item)
                    arrived.release()
        finally:
            os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while arrived.acquire(timeout=IDLE_SECONDS):
        module, name, *kinds = waiting.popleft()
        returned, *arguments = (getattr(types, kind) for kind in kinds)
        for parent, folder in _parents(module):
            if parent not in sys.modules:
                package = ModuleType(parent)
                package.__path__ = [str(folder)]
                sys.modules[parent] = package
        function = getattr(importlib.import_module(module), name, None)
        if function is not None:
            abi.compile_unless_claimed(function, returned(*arguments))
    os._exit(0)
