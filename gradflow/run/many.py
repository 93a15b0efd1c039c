"""Many starts at once: the same road for each, on all cores, in order, and a failure stays its own."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ThreadPoolExecutor, wait

import numpy as np

from ..losses.problem import Problem
from ..networks import MLP
from ..support.errors import ArgumentError, GradflowError
from ..support.progress import Monitor
from ..support.validate import integer
from .result import Result
from .training import train


@dataclasses.dataclass(frozen=True, eq=False)
class Failure:
    """A start without a result: its place in the batch and the exception that ended it."""

    index: int
    error: BaseException

    def __str__(self) -> str:
        return f"start {self.index} failed: {type(self.error).__name__}: {self.error}"


class NotStarted(GradflowError):
    """The batch was interrupted before this start's turn."""


def train_many(
    teacher,
    students: Iterable[MLP] | MLP | None = None,
    inputs=None,
    *,
    starts: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: bool | None = None,
    **options,
) -> list[Result | Failure]:
    """`train` for each of many students; a list of results in the order of the students.

    teacher   as in `train`; or a list of `Problem`s, and then neither students nor inputs
    students  networks; or one, whose architecture `starts` students share that are drawn like
              `MLP.random`, from children of `seed`
    inputs    as in `train`
    workers   threads; by default the cores this process may use. Compiled code, where the time goes,
              runs at once in all of them, and what is compiled for one serves all
    executor  any `concurrent.futures.Executor` instead of threads: processes (spawned), a cluster's
    progress  as in `train`, one line for the batch
    options   solver, refiner, rates, …: handed to every `train`

    The numbers are those of `train` called one by one, to the last bit, whatever runs them. A start that
    raises leaves a `Failure` with its exception in its place; where each one fails for the same argument
    that `ArgumentError` is raised. Ctrl-C returns what there is: runs under way as interrupted results, the
    others as failures.
    """
    if progress is not None and not isinstance(progress, (bool, np.bool_)):
        raise ArgumentError("progress", repr(progress), "True, False or None")
    if executor is not None and not isinstance(executor, Executor):
        raise ArgumentError("executor", repr(executor), "a concurrent.futures.Executor")
    if options.get("checkpoint") is not None:
        raise ArgumentError("checkpoint", repr(options["checkpoint"]), "None: one file serves one run")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = cores if workers is None else integer("workers", workers, 1)
    jobs = _jobs(teacher, students, inputs, starts, seed)
    if not jobs:
        return []
    monitor = Monitor(progress)
    if executor is not None:
        with monitor.listening():
            futures = [executor.submit(_work, job, 1, options, None) for job in jobs]
            entries = _collect(futures, monitor)
    else:
        threads = max(1, cores // min(workers, len(jobs)))
        with ThreadPoolExecutor(min(workers, len(jobs)), "gradflow") as pool, monitor.listening():
            child = _Child(monitor)
            futures = [pool.submit(_work, job, threads, options, child) for job in jobs]
            entries = _collect(futures, monitor)
    failed = [entry.error for entry in entries if isinstance(entry, Failure)]
    if len(failed) == len(entries) and all(isinstance(error, ArgumentError) for error in failed):
        if len({error.argument for error in failed if isinstance(error, ArgumentError)}) == 1:
            raise failed[0]
    return entries


class _Child(Monitor):
    """What a run on a thread of the batch reports to: silent, and interrupted when the batch is."""

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


def _jobs(teacher, students, inputs, starts, seed) -> list[tuple]:
    """(teacher, student, inputs) of every start."""
    if isinstance(teacher, (list, tuple)) and all(isinstance(t, Problem) for t in teacher):
        if students is not None or inputs is not None or starts is not None:
            raise ArgumentError("students", "students or inputs beside problems", "the problems alone")
        return [(problem, None, None) for problem in teacher]
    if isinstance(students, MLP):
        if starts is None:
            raise ArgumentError("starts", None, "how many students to draw, or a list of students")
        children = np.random.SeedSequence(integer("seed", seed, 0)).spawn(integer("starts", starts, 0))
        shape = students.sizes, list(students.activations), [b is not None for b in students.biases]
        return [(teacher, MLP.random(*shape, seed=child), inputs) for child in children]
    if starts is not None:
        raise ArgumentError("starts", starts, "one student, whose architecture is drawn so many times")
    if students is None or isinstance(students, (str, bytes)) or not isinstance(students, Iterable):
        raise ArgumentError("students", repr(students), "a sequence of gradflow.MLP")
    return [(teacher, student, inputs) for student in students]


def _work(job: tuple, threads: int, options: dict, monitor: Monitor | None) -> Result:
    """One start, on whatever thread or process it is."""
    teacher, student, inputs = job
    if monitor is not None and monitor.interrupted:
        raise NotStarted("interrupted before this start's turn")
    if not isinstance(teacher, Problem) and isinstance(student, MLP):
        teacher, student, inputs = Problem(teacher, student, inputs, threads=threads), None, None
    return train(teacher, student, inputs, progress=False if monitor is None else monitor, **options)


def _collect(futures: list[Future], monitor: Monitor) -> list[Result | Failure]:
    """The entries in order; pending ones are cancelled when the batch is interrupted."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.1, return_when=FIRST_COMPLETED)
        best = [f.result().loss for f in done if not f.cancelled() and f.exception() is None]
        if best:
            monitor.batch(len(futures) - len(pending), len(futures), min(best))
        if monitor.interrupted:
            for future in pending:
                future.cancel()
    return [_entry(i, future.result) for i, future in enumerate(futures)]


def _entry(index: int, result: Callable[[], Result]) -> Result | Failure:
    try:
        return result()
    except CancelledError:
        return Failure(index, NotStarted("interrupted before this start's turn"))
    except Exception as error:
        return Failure(index, error)
