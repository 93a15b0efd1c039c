"""Work handed to an executor, in order: a bar with an estimate of the time left, Ctrl-C, what is lost."""

from __future__ import annotations

import importlib
import math
import os
import queue
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import contextmanager
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from ..support.errors import ArgumentError, GradflowError, StorageError
from ..support.progress import Monitor
from ..support.validate import integer

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Cores that this process may use."""


class NotStarted(GradflowError):
    """The work was interrupted before this piece's turn."""


class Child(Monitor):
    """What a run on a thread of a batch reports to: silent, and interrupted when the batch is."""

    def __init__(self, parent: Monitor):
        self.parent = parent
        super().__init__(False)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C was pressed: that of the parent."""
        return self.parent.interrupted

    @interrupted.setter
    def interrupted(self, value: bool) -> None:
        if value:
            self.parent.interrupted = True


def shown(progress: bool | None) -> bool | None:
    """What `progress` means for a bar: a notebook shows one by default, though it is no terminal."""
    in_notebook = type(sys.stderr).__module__.startswith("ipykernel")
    return True if progress is None and in_notebook else progress


class Bar:
    """How many pieces are done, the time left, and the lowest loss so far: by tqdm, on standard error."""

    def __init__(self, monitor: Monitor, total: int, unit: str, done: int = 0):
        self.lowest = math.inf
        self.terminal, self.last = monitor.terminal, time.monotonic()
        self.bar = None
        if monitor.shown:
            with warnings.catch_warnings():  # in a notebook without widgets tqdm says so, and writes text
                warnings.simplefilter("ignore")
                from tqdm.auto import tqdm

                self.bar = tqdm(
                    total=total, initial=done, unit=f" {unit}", file=sys.stderr, dynamic_ncols=True
                )

    def step(self, loss: float | None) -> None:
        """One piece more is done, with this loss."""
        if loss is not None and loss < self.lowest:
            self.lowest = loss
        if self.bar is not None:
            if self.lowest < math.inf:
                self.bar.set_postfix_str(f"lowest loss {self.lowest:.5g}", refresh=False)
            self.bar.update(1)

    def wait(self) -> None:
        """The clock goes on where no piece is done for a while."""
        if self.bar is not None and self.terminal and time.monotonic() - self.last > 1.0:
            self.last = time.monotonic()
            self.bar.refresh()

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()


def check_executor(executor: Executor | None) -> None:
    """`ArgumentError` for what is no executor, and for processes that are forked (JAX deadlocks in them)."""
    if executor is None:
        return
    if not isinstance(executor, Executor):
        raise ArgumentError("executor", repr(executor), "a concurrent.futures.Executor")
    context = getattr(executor, "_mp_context", None)
    if isinstance(executor, ProcessPoolExecutor) and context is not None:
        if context.get_start_method() == "fork":
            allowed = (
                "spawned processes: ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))"
            )
            raise ArgumentError(
                "executor", "processes that are forked, in which JAX can wait for ever", allowed
            )


def check_portable(argument: str, value: Any, executor: Executor | None) -> None:
    """`ArgumentError` for what cannot go to the processes of this executor, with what to do."""
    if executor is None or isinstance(executor, ThreadPoolExecutor):
        return
    if isinstance(executor, ProcessPoolExecutor):
        dumps = ForkingPickler.dumps
        allowed = (
            "a function at the top level of a module that the processes can import (no lambda, none defined "
            "inside another function or in a notebook); or executor=None, which runs it on threads"
        )
    elif _is_dask(executor):
        dumps = importlib.import_module("cloudpickle").dumps
        allowed = "a function that closes over no locks, open files or connections: make these inside it"
    else:
        return  # what an executor of another kind can send is its own affair
    try:
        sent = bytes(dumps(value))
    except Exception as error:
        given = f"{_short(value)}, which cannot be sent to another process ({error})"
        raise ArgumentError(argument, given, allowed) from error
    main = getattr(sys.modules["__main__"], "__file__", None)
    if isinstance(executor, ProcessPoolExecutor) and b"__main__" in sent:
        if main is None or not Path(main).is_file():
            given = (
                f"{_short(value)}, defined in a notebook or at a prompt, where other processes cannot find it"
            )
            raise ArgumentError(argument, given, allowed)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 120 else f"{text[:100]}…"


def _is_dask(executor: Executor) -> bool:
    return type(executor).__module__.startswith("distributed")


@contextmanager
def threads_or(executor: Executor | None, workers: int | None, jobs: int, monitor: Monitor):
    """(executor, threads for each piece, monitor for each piece): the executor given, or one of threads."""
    workers = CORES if workers is None else integer("workers", workers, 1)
    if executor is not None:
        yield executor, 1, None
        return
    at_once = max(1, min(workers, jobs))
    with ThreadPoolExecutor(at_once, "gradflow") as pool:
        yield pool, max(1, CORES // at_once), Child(monitor)


def submit(executor: Executor, work: Callable, jobs: Sequence[tuple]) -> list[Future]:
    """One future for each job; an `ArgumentError` for an executor that takes no work."""
    futures: list[Future] = []
    # dask takes functions for pure, and pieces of equal arguments for one
    options = {"pure": False} if _is_dask(executor) else {}
    for job in jobs:
        try:
            futures.append(executor.submit(work, *job, **options))
        except Exception as error:
            if isinstance(error, BrokenExecutor) and futures:
                break  # a worker died meanwhile: `collect` says so
            for future in futures:
                future.cancel()
            given = f"an executor that takes no work ({type(error).__name__}: {error})"
            raise ArgumentError("executor", given, "one that runs: make a new one") from error
    return futures


def collect(
    futures: Sequence[Future], monitor: Monitor, bar: Bar, loss: Callable[[Any], float | None]
) -> None:
    """Wait for all; those not begun are cancelled when the user interrupts, or when one has a fatal error."""
    ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
    for future in futures:
        future.add_done_callback(ended.put)
    fatal = cancelled = False
    for _ in futures:
        while True:
            if (monitor.interrupted or fatal) and not cancelled:
                cancelled = True
                for future in futures:
                    future.cancel()
            try:
                future = ended.get(timeout=0.1)
                break
            except queue.Empty:
                bar.wait()
        if future.cancelled():
            continue
        error = future.exception()
        fatal = fatal or isinstance(error, (BrokenExecutor, Fatal))
        if isinstance(error, NotStarted):
            continue
        bar.step(None if error is not None else loss(future.result()))


class Fatal(StorageError):
    """What ends all of the work, not one piece: a disk that is full, say."""


def outcome(future: Future) -> Any:
    """A piece's value, or the exception that took its place."""
    try:
        return future.result()
    except CancelledError:
        return NotStarted("interrupted before its turn")
    except KeyboardInterrupt:  # Ctrl-C reaches the processes of a terminal too
        return NotStarted("interrupted in its turn")
    except Exception as error:
        return error
