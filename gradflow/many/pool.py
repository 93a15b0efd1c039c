"""Work handed to an executor, in order: a bar with an estimate of the time left, Ctrl-C, what is lost."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from multiprocessing.reduction import ForkingPickler
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
        return self.parent.interrupted

    @interrupted.setter
    def interrupted(self, value: bool) -> None:
        if value:
            self.parent.interrupted = True


class Bar:
    """How many pieces are done, the time left, and the lowest loss so far: by tqdm, on standard error."""

    def __init__(self, monitor: Monitor, total: int, unit: str, done: int = 0):
        self.lowest = math.inf
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

    def close(self) -> None:
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
    """`ArgumentError` for what cannot go to the processes of an executor of the standard library."""
    if not isinstance(executor, ProcessPoolExecutor):
        return
    try:
        ForkingPickler.dumps(value)
    except Exception as error:
        given = f"{value!r}, which cannot be sent to another process ({error})"
        allowed = (
            "a function at the top level of a module that the processes can import (no lambda, none defined "
            "inside another function or in a notebook); or executor=None, which runs it on threads"
        )
        raise ArgumentError(argument, given, allowed) from error


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
    """One future for each job; an `ArgumentError` for an executor that takes no more work."""
    futures = []
    try:
        for job in jobs:
            # dask takes functions for pure, and pieces of equal arguments for one
            pure = {"pure": False} if type(executor).__module__.startswith("distributed") else {}
            futures.append(executor.submit(work, *job, **pure))
    except BrokenExecutor:
        pass  # a worker died meanwhile: `collect` says so
    except RuntimeError as error:
        for future in futures:
            future.cancel()
        raise ArgumentError(
            "executor", f"an executor that takes no work ({error})", "one that runs"
        ) from error
    return futures


def collect(
    futures: Sequence[Future], monitor: Monitor, bar: Bar, loss: Callable[[Any], float | None]
) -> None:
    """Wait for all; those not begun are cancelled when the user interrupts, or when one has a fatal error."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.1, return_when=FIRST_COMPLETED)
        fatal = False
        for future in done:
            if future.cancelled():
                continue
            error = future.exception()
            fatal = fatal or isinstance(error, (BrokenExecutor, Fatal))
            if isinstance(error, NotStarted):
                continue
            bar.step(None if error is not None else loss(future.result()))
        if monitor.interrupted or fatal:
            for future in pending:
                future.cancel()


class Fatal(StorageError):
    """What ends all of the work, not one piece: a disk that is full, say."""


def outcome(future: Future) -> Any:
    """A piece's value, or the exception that took its place."""
    try:
        return future.result()
    except CancelledError:
        return NotStarted("interrupted before its turn")
    except Exception as error:
        return error
