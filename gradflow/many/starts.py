"""Many starts of one problem: the same road for each, on all cores, in order, and a failure stays its own."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable
from concurrent.futures import Executor

import numpy as np

from ..activations import Activation
from ..losses.problem import Problem
from ..networks import MLP
from ..refiners import Refiner, default_refiner
from ..run.plan import choose
from ..run.result import Result
from ..run.training import problem_of, train
from ..solvers import FlowSolver, default_solver
from ..support.errors import ArgumentError, StorageError
from ..support.progress import Monitor
from ..support.settings import one_of
from ..support.validate import integer
from . import pool
from .batch import Batch, Failure, row_of
from .fingerprints import described, fingerprint
from .store import Cell, Store, key_of

OPTIONS = frozenset(
    name
    for name, parameter in inspect.signature(train).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY and name not in ("checkpoint", "progress", "seed")
)
"""What `train_many` and `sweep` hand on to every `train`."""


def train_many(
    teacher,
    students: Iterable[MLP] | MLP | None = None,
    inputs=None,
    *,
    starts: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    executor: Executor | None = None,
    checkpoint: str | os.PathLike | None = None,
    progress: bool | None = None,
    **options,
) -> Batch:
    """`train` for each of many students.

    Parameters
    ----------
    teacher : MLP, callable, array_like, Problem, or list of Problem
        As in `train`; or a `Problem`, of whose student's architecture `starts` are drawn; or a list of
        `Problem`s. Then neither students nor inputs.
    students : iterable of MLP, or MLP, optional
        Networks; or one, whose architecture `starts` students share that are drawn by `MLP.random(…,
        seed=s)`; s is the `seed` of each result, and all of them follow from `seed`.
    inputs : optional
        As in `train`.
    starts : int, optional
        Number of students to be drawn.
    seed : int, default 0
        Of the students to be drawn.
    workers : int, optional
        Threads; by default the cores this process may use. Compiled code, where the time goes, runs at once
        in all of them, and what is compiled for one serves all.
    executor : Executor, optional
        Any `concurrent.futures.Executor` instead of threads: processes (spawned), a cluster's.
    checkpoint : path, optional
        A folder in which finished starts are kept: the same call goes on from there.
    progress : bool, optional
        True, False, or None: a bar where standard error is a terminal or a notebook.
    **options
        solver, refiner, rates, precision: handed to every `train`.

    Returns
    -------
    Batch
        In the order of the students.

    Raises
    ------
    ArgumentError
        For unknown options before anything runs; and where every start fails for one argument.
    StorageError
        For a checkpoint of another batch.

    Notes
    -----
    The numbers are those of `train` called one by one, to the last bit, whatever runs them. A start that
    raises leaves a `Failure` with its exception in its place. Ctrl-C returns what there is: runs under way as
    interrupted results, the others as failures.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> batch = gf.train_many(teacher, student, starts=3, seed=1, progress=False)
    >>> [result.converged for result in batch]
    [True, True, True]
    """
    if progress is not None and not isinstance(progress, (bool, np.bool_)):
        raise ArgumentError("progress", repr(progress), "True, False or None")
    pool.check_executor(executor)
    check_options(options)
    if workers is not None:
        integer("workers", workers, 1)
    jobs = _jobs(teacher, students, inputs, starts, seed)
    if not jobs:
        return Batch([])
    pool.check_portable("teacher", [job[:3] for job in jobs], executor)
    store = None if checkpoint is None else _store(checkpoint, jobs, seed, options)
    keys = [key_of({"start": i}) for i in range(len(jobs))]
    done = set() if store is None else store.finished() & set(keys)
    waiting = [i for i in range(len(jobs)) if keys[i] not in done]
    monitor = Monitor(pool.shown(progress))
    with (
        monitor.listening(),
        pool.threads_or(executor, workers, len(waiting), monitor) as (runner, threads, child),
    ):
        bar = pool.Bar(monitor, len(jobs), "starts", len(done))
        path = None if store is None else store.path
        work = [(jobs[i], threads, options, child, path, keys[i]) for i in waiting]
        futures = pool.submit(runner, _work, [(job,) for job in work])
        try:
            pool.collect(futures, monitor, bar, lambda result: result.loss)
        finally:
            bar.close()
    outcomes = dict(zip(waiting, map(pool.outcome, futures)))
    entries: list[Result | Failure] = []
    for i in range(len(jobs)):
        if i not in outcomes and store is not None and keys[i] in done:
            outcomes[i] = store.read(keys[i], _activations(jobs[i])).result
        found = outcomes.get(i, pool.NotStarted("the executor's processes ended before its turn"))
        if isinstance(found, pool.Fatal):
            raise StorageError(str(found))
        entries.append(found if isinstance(found, Result) else Failure(i, found))
    failed = [entry.error for entry in entries if isinstance(entry, Failure)]
    if len(failed) == len(entries) and all(isinstance(error, ArgumentError) for error in failed):
        if len({error.argument for error in failed if isinstance(error, ArgumentError)}) == 1:
            raise failed[0]
    return Batch(entries)


def check_options(options: dict) -> None:
    """Refuse an option that `train` does not have, a solver or a refiner that there is not.

    `ArgumentError` names the nearest that there is.
    """
    for name in options:
        if name not in OPTIONS:
            raise ArgumentError(name, f"the unknown option {name!r}", one_of(name, sorted(OPTIONS)))
    solver = choose("solver", options.get("solver", "auto"), FlowSolver, default_solver, 1)
    refiner = choose("refiner", options.get("refiner", "auto"), Refiner, default_refiner, 1)
    if solver is None and refiner is None:
        raise ArgumentError("refiner", "None, with solver=None", "a refiner, or a solver: one of the two")
    if options.get("precision", "double") not in ("double", "double-double"):
        raise ArgumentError("precision", repr(options["precision"]), "'double' or 'double-double'")


def _jobs(teacher, students, inputs, starts, seed) -> list[tuple]:
    """(teacher, student, inputs, seed) of every start."""
    if isinstance(teacher, (list, tuple)) and all(isinstance(t, Problem) for t in teacher):
        if students is not None or inputs is not None or starts is not None:
            raise ArgumentError("students", "students or inputs beside problems", "the problems alone")
        return [(problem, None, None, None) for problem in teacher]
    if isinstance(teacher, Problem):
        if students is not None or inputs is not None or teacher.student is None:
            raise ArgumentError(
                "teacher", "a Problem", "one with networks, without students or inputs beside it"
            )
        drawn = _drawn(teacher.student, starts, seed)
        return [(teacher.with_student(student), None, None, s) for student, s in drawn]
    if isinstance(students, MLP):
        return [(teacher, student, inputs, s) for student, s in _drawn(students, starts, seed)]
    if starts is not None:
        raise ArgumentError("starts", starts, "one student, whose architecture is drawn so many times")
    if students is None or isinstance(students, (str, bytes)) or not isinstance(students, Iterable):
        raise ArgumentError("students", repr(students), "a sequence of gradflow.MLP")
    return [(teacher, student, inputs, None) for student in students]


def _drawn(student: MLP, starts: int | None, seed: int) -> list[tuple[MLP, int]]:
    """So many networks of this architecture, each with its seed."""
    if starts is None:
        raise ArgumentError("starts", None, "how many students to draw, or a list of students")
    drawn = np.random.SeedSequence(integer("seed", seed, 0))
    seeds = drawn.generate_state(integer("starts", starts, 0), np.uint64) >> np.uint64(1)
    shape = student.sizes, list(student.activations), [b is not None for b in student.biases]
    return [(MLP.random(*shape, seed=int(s)), int(s)) for s in seeds]


def _activations(job: tuple) -> dict[str, Activation]:
    """The user's own activations of a start, by name."""
    problem, *networks = job[:3]
    if isinstance(problem, Problem):
        networks = [problem.teacher, problem.student]
    return {
        activation.name: activation
        for network in (problem, *networks)
        if isinstance(network, MLP)
        for layer in range(len(network.activations))
        for activation in network.neuron_activations(layer)
    }


def _store(path, jobs: list[tuple], seed: int, options: dict) -> Store:
    if any(isinstance(job[0], Problem) and job[0].student is None for job in jobs):
        given = "a folder for problems made by Problem.from_jax, which are code and cannot be stored"
        raise ArgumentError("checkpoint", given, "None")
    settings = {name: described(value) for name, value in options.items()}
    problems = fingerprint([job[:3] for job in jobs])
    return Store(path, {"kind": "batch", "problems": problems, "seed": seed, "settings": settings})


def _work(job: tuple) -> Result:
    """One start, on whatever thread or process it is."""
    (teacher, student, inputs, seed), threads, options, monitor, path, key = job
    if monitor is not None and monitor.interrupted:
        raise pool.NotStarted("interrupted before this start's turn")
    result = run_one((teacher, student, inputs), threads, options | {"seed": seed}, monitor)
    if path is not None and not result.interrupted:
        keep(Store(path), key, Cell(row_of(result), result))
    return result


def run_one(given: tuple, threads: int, options: dict, monitor: Monitor | None) -> Result:
    """`train` of a problem, or of (teacher, student, inputs), with so many threads in its kernels."""
    teacher, student, inputs = given
    problem = problem_of(teacher, student, inputs, threads)
    return train(problem, progress=False if monitor is None else monitor, **options)


def keep(store: Store, key: str, cell: Cell, again: bool = False) -> None:
    """Write a finished cell; trouble with the disk ends the whole work."""
    try:
        store.write(key, cell, again)
    except StorageError as error:
        raise pool.Fatal(str(error)) from error
