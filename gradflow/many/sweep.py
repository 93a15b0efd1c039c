"""Runs over a grid of named axes, on any executor, kept in a folder, resumable by any later process."""

from __future__ import annotations

import inspect
import itertools
import json
import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

import numpy as np

from ..activations import Activation
from ..landscape.table import Frame, table
from ..losses.problem import Problem
from ..run.result import Result
from ..support.errors import ArgumentError, MissingExtraError, StorageError
from ..support.progress import Monitor
from . import pool
from .batch import row_of
from .fingerprints import described, described_function
from .starts import check_options, keep, run_one
from .store import Cell, Store, failure_text, key_of

KEPT = ("results", "rows")


def sweep(
    grid: Mapping[str, Iterable],
    make: Callable,
    *,
    measure: Callable[[Result], Mapping] | None = None,
    store: str | os.PathLike | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    keep: str = "results",
    retry: bool = False,
    progress: bool | None = None,
    **options,
) -> Sweep:
    """Train for every cell of a grid, `make(**cell)`; what is finished is kept and never done again.

    Parameters
    ----------
    grid : mapping of str to iterable
        Axes by name, each with its values: numbers, texts, booleans, None, or tuples of these; {"width":
        [1, 2], "seed": range(50)} has a hundred cells.
    make : callable
        Called with one value of each axis. It returns a `Problem`, or what `train` takes as a tuple
        (teacher, student, inputs) or as a dictionary with the key "teacher" and any options of `train`; or
        a `Result`; or any other dictionary of plain values, which is the cell's row.
    measure : callable, optional
        Result → plain values by name, to stand in its row; called where the run was.
    store : path, optional
        A folder: every finished cell in a file of its own (temporary name, renamed), all in one when the
        last is done. The same call in any later process goes on from it, also with more values on some
        axes, or with fewer. None keeps results in memory only.
    executor : Executor, optional
        Any `concurrent.futures.Executor`; processes need functions that they can import. None: threads.
    workers : int, optional
        Threads, where there is no executor.
    keep : {"results", "rows"}
        "rows" where files with whole results are not wanted.
    retry : bool, default False
        Whether cells that failed run again.
    progress : bool, optional
        True, False, or None: a bar where standard error is a terminal or a notebook.
    **options
        solver, refiner, rates, precision: handed to every `train`.

    Returns
    -------
    Sweep
        The numbers do not depend on the executor. A cell that raises is kept as a failure with its
        exception's text. Ctrl-C and a dead worker end the sweep early with what is there (the latter with a
        `RuntimeWarning`).

    Raises
    ------
    ArgumentError
        For input that cannot be used, before anything runs.
    StorageError
        For a folder made by another grid, function, version or settings, naming what differs, and where it
        cannot be written (a full disk): what is finished is kept.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(3, 4)
    >>> def make(width, seed):
    ...     return teacher, gf.MLP.random((4, width, 1), bias=False, seed=seed), None
    >>> found = gf.sweep({"width": [1, 2], "seed": range(2)}, make, progress=False)
    >>> [result.converged for result in found.results()]
    [True, True, True, True]
    """
    axes = _axes(grid)
    if not callable(make):
        raise ArgumentError("make", repr(make), "a function of one value of each axis")
    _check_arguments(make, axes)
    if measure is not None and not callable(measure):
        raise ArgumentError("measure", repr(measure), "a function of a Result, or None")
    if keep not in KEPT:
        raise ArgumentError("keep", repr(keep), "'results' or 'rows'")
    if progress is not None and not isinstance(progress, (bool, np.bool_)):
        raise ArgumentError("progress", repr(progress), "True, False or None")
    pool.check_executor(executor)
    check_options(options)
    pool.check_portable("make", make, executor)
    pool.check_portable("measure", measure, executor)
    manifest = {
        "kind": "sweep",
        "grid": axes,
        "make": described_function(make),
        "measure": None if measure is None else described_function(measure),
        "settings": {name: described(value) for name, value in options.items()} | {"keep": keep},
    }
    folder = None if store is None else Store(store, manifest)
    found = Sweep(axes, folder)
    if retry:
        found.forget_failures()
    waiting = found.unfinished
    monitor = Monitor(pool.shown(progress))
    with (
        monitor.listening(),
        pool.threads_or(executor, workers, len(waiting), monitor) as (runner, threads, child),
    ):
        bar = pool.Bar(monitor, len(found), "cells", len(found) - len(waiting))
        path = None if folder is None else folder.path
        work = [(make, cell, measure, keep, threads, options, child, path, retry) for cell in waiting]
        futures = pool.submit(runner, _work, [(job,) for job in work])
        try:
            pool.collect(futures, monitor, bar, lambda cell: cell.row.get("loss"))
        finally:
            bar.close()
    for cell, future in zip(waiting, futures):
        outcome = pool.outcome(future)
        if isinstance(outcome, Cell):
            found.add(cell, outcome)
        elif isinstance(outcome, pool.Fatal):
            raise StorageError(str(outcome))
        elif not isinstance(outcome, pool.NotStarted):
            found.trouble = f"{type(outcome).__name__}: {outcome}"
    if found.trouble is not None and not monitor.interrupted:
        warnings.warn(found.lost(), RuntimeWarning, stacklevel=2)
    if folder is not None and not found.unfinished:
        try:
            folder.merge()
        except StorageError as error:  # all cells are there in files of their own, which serve as well
            warnings.warn(f"not merged: {error}", RuntimeWarning, stacklevel=2)
    return found


class Sweep:
    """The cells of a grid and what became of them, in the order of the grid (the last axis runs fastest).

    Parameters
    ----------
    grid : mapping of str to list
        Axis name → its values.
    store : optional
        The folder where finished cells are kept.

    Attributes
    ----------
    cells : list of dict
        One for each cell.
    unfinished : list of dict
        Those that have neither a result nor a failure yet.
    trouble : str or None
        Why cells are unfinished, if a worker died.

    Examples
    --------
    >>> found = gf.sweep({"n": [1, 2, 3]}, lambda n: {"square": n * n}, progress=False)
    >>> [row["square"] for row in found.rows()]
    [1, 4, 9]
    """

    def __init__(self, grid: Mapping[str, list], store: Store | None = None):
        self.grid = dict(grid)
        self.cells = [dict(zip(self.grid, values)) for values in itertools.product(*self.grid.values())]
        self.trouble: str | None = None
        self._keys = [key_of(cell) for cell in self.cells]
        self._store = store
        self._memory: dict[str, Cell] = {}
        if store is not None:
            there = store.finished()
            keys = [key for key in self._keys if key in there]
            self._memory = dict(zip(keys, store.rows(keys)))

    @staticmethod
    def load(store: str | os.PathLike) -> Sweep:
        """The sweep in a folder `store`, as far as it has come, without running anything."""
        folder = Store(store)
        if folder.manifest.get("kind") != "sweep":
            raise ArgumentError("store", f"a folder of a {folder.manifest.get('kind')}", "one of a sweep")
        return Sweep(folder.manifest["grid"], folder)

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def unfinished(self) -> list[dict]:
        """Cells that have neither a result nor an exception yet."""
        return [cell for cell, key in zip(self.cells, self._keys) if key not in self._memory]

    @property
    def failures(self) -> list[tuple[dict, str]]:
        """Cells that failed, each with the text of its exception."""
        found = [(cell, self._memory.get(key)) for cell, key in zip(self.cells, self._keys)]
        return [(cell, kept.failure) for cell, kept in found if kept is not None and kept.failure is not None]

    def results(self, *, activations: Mapping[str, Activation] | None = None) -> list[Result | None]:
        """The result of every cell, read from the folder; None where there is none.

        `activations`: a user's own ones by name, if networks have such.
        """
        return [self.result(cell, activations=activations) for cell in self.cells]

    def result(self, cell: Mapping[str, Any], *, activations=None) -> Result | None:
        """The result of one `cell`, given by its value on each axis; `activations` as in `results`."""
        key = None
        if isinstance(cell, Mapping) and set(cell) == set(self.grid):
            key = key_of({axis: _plain(axis, cell[axis]) for axis in self.grid})
        if key not in self._keys:
            raise ArgumentError("cell", repr(cell), f"one value that is there of each axis: {self._axes()}")
        kept = self._memory.get(key)
        if kept is None or kept.failure is not None or self._store is None:
            return None if kept is None else kept.result
        return self._store.read(key, activations).result

    def rows(self) -> list[dict]:
        """One dictionary for each finished cell: its values on the axes, then its row."""
        names: dict[str, None] = {}
        for there in self._memory.values():
            names |= dict.fromkeys(there.row)
        blank = dict.fromkeys(names) | {"failure": None}
        found = []
        for cell, key in zip(self.cells, self._keys):
            if key in self._memory:
                kept = self._memory[key]
                last = None if kept.failure is None else kept.failure.splitlines()[-1]
                found.append(
                    cell | blank | kept.row | {"failure": last} | cell
                )  # the axes have the last word
        return found

    def to_pandas(self) -> Frame:
        """The rows as a pandas DataFrame (a list of dictionaries where pandas is not installed)."""
        return table(self.rows(), None)

    def to_xarray(self) -> Any:
        """The numbers of the rows over the axes, as an `xarray.Dataset`; NaN where a cell has none."""
        try:
            import xarray
        except ImportError as error:
            raise MissingExtraError("xarray", "sweep", "to_xarray") from error
        rows = self.rows()
        shape = tuple(len(values) for values in self.grid.values())
        place = {key: i for i, key in enumerate(self._keys)}
        numbers = sorted({n for row in rows for n, v in row.items() if _is_number(v)} - set(self.grid))
        data = {name: np.full(len(self), math.nan) for name in numbers}
        for row in rows:
            at = place[key_of({axis: row[axis] for axis in self.grid})]
            for name in numbers:
                if _is_number(row[name]):
                    data[name][at] = row[name]
        coordinates = {axis: _coordinate(values) for axis, values in self.grid.items()}
        return xarray.Dataset({n: (tuple(self.grid), v.reshape(shape)) for n, v in data.items()}, coordinates)

    def add(self, cell: dict, kept: Cell) -> None:
        """Note a finished `cell`; what is `kept` of it stays in memory only where there is no folder."""
        self._memory[key_of(cell)] = kept if self._store is None else kept._replace(result=None)

    def lost(self) -> str:
        """What became of the cells that a worker took with it, and what to do."""
        text = f"{len(self.unfinished)} cells are unfinished, as when a worker is lost ({self.trouble})"
        if len(self.unfinished) == len(self) and "BrokenProcessPool" in str(self.trouble):
            text += (
                "; if no process could start: a script that starts processes does so below "
                "if __name__ == '__main__':"
            )
        return text + (
            "" if self._store is None else "; the same call with another executor goes on from here"
        )

    def forget_failures(self) -> None:
        """Take failed cells for unfinished ones."""
        self._memory = {key: kept for key, kept in self._memory.items() if kept.failure is None}

    def _axes(self) -> str:
        return " × ".join(f"{axis} ({len(values)})" for axis, values in self.grid.items())

    def __str__(self) -> str:
        missing, failed = len(self.unfinished), self.failures
        done = f"{len(self) - missing} of {len(self)} cells finished"
        lines = [f"sweep over {self._axes()}: {done}, {len(failed)} failed"]
        if self.trouble is not None:
            lines.append(f"  {self.lost()}")
        lines += [f"  {cell}: {text.splitlines()[-1]}" for cell, text in failed[:5]]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Sweep: {len(self) - len(self.unfinished)} of {len(self)} cells finished>"


def _axes(grid) -> dict[str, list]:
    """The grid with plain values, or an `ArgumentError` that names the axis."""
    allowed = "axes by name, each with one value at least, {'width': [1, 2], 'seed': range(50)}"
    if not isinstance(grid, Mapping) or not grid:
        raise ArgumentError("grid", repr(grid), allowed)
    axes = {}
    for axis, values in grid.items():
        if not isinstance(axis, str) or not axis.isidentifier():
            raise ArgumentError("grid", f"an axis called {axis!r}", "names that `make` can have as arguments")
        if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, (Iterable, np.ndarray)):
            raise ArgumentError("grid", f"axis {axis!r}: {values!r}", allowed)
        axes[axis] = [_plain(axis, value) for value in values]
        if not axes[axis]:
            raise ArgumentError("grid", f"axis {axis!r} without values", allowed)
        same = [a for i, a in enumerate(axes[axis]) if a in axes[axis][:i]]
        if same:
            raise ArgumentError(
                "grid", f"axis {axis!r}: {same[0]!r}, equal to another value", "different ones"
            )
    return axes


def _check_arguments(make: Callable, axes: Mapping[str, list]) -> None:
    """`ArgumentError` for a function that has no argument for an axis, or needs one that is none."""
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # a function of C, which does not say
        return
    try:
        signature.bind(**dict.fromkeys(axes))
    except TypeError as error:
        given = f"a function of {signature}, called with {', '.join(axes)} ({error})"
        raise ArgumentError("make", given, "a function of one value of each axis, by name") from error


def _plain(axis: str, value) -> Any:
    """A value that files and names of files can hold."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (tuple, list)):
        return [_plain(axis, part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ArgumentError("grid", f"axis {axis!r}: {value}", "finite numbers")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    allowed = "numbers, texts, booleans, None, or tuples of these; let `make` build the rest from them"
    raise ArgumentError("grid", f"axis {axis!r}: {value!r}, a {type(value).__name__}", allowed)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) or value is True


def _coordinate(values: list) -> np.ndarray:
    """One coordinate for each value, tuples as their text."""
    return np.array([str(tuple(v)) if isinstance(v, list) else v for v in values])


def _work(job: tuple) -> Cell:
    """One cell, on whatever thread or process it is."""
    make, cell, measure, kept, threads, options, monitor, path, retry = job
    if monitor is not None and monitor.interrupted:
        raise pool.NotStarted("interrupted before this cell's turn")
    store, key = None if path is None else Store(path), key_of(cell)
    if store is not None and store.has(key):
        there = store.read(key, rows_only=True)  # by a worker that was lost before it could say so
        if there.failure is None or not retry:
            return there
    try:
        made = make(**{axis: tuple(v) if isinstance(v, list) else v for axis, v in cell.items()})
        if store is not None and kept == "results" and isinstance(made, Problem) and made.student is None:
            text = (
                "a problem made by Problem.from_jax is code and cannot be stored: keep='rows' keeps its row"
            )
            raise pool.Fatal(text)
        found = _carry_out(made, measure, threads, options, monitor)
    except pool.Fatal:
        raise
    except Exception as error:
        found = Cell({}, failure=failure_text(error))
    if found.result is not None and found.result.interrupted:
        raise pool.NotStarted("interrupted in this cell")
    if kept == "rows":
        found = found._replace(result=None)
    if store is None:
        return found
    keep(store, key, found, again=retry)
    return found._replace(result=None)


def _carry_out(made, measure, threads: int, options: dict, monitor: Monitor | None) -> Cell:
    """What `make` returned, trained where it asks for it, with its row."""
    if isinstance(made, Mapping) and "teacher" not in made:
        return Cell(_row("make", made))
    if isinstance(made, Result):
        result = made
    elif isinstance(made, Mapping):
        extra = {name: value for name, value in made.items() if name not in ("teacher", "student", "inputs")}
        check_options({name: value for name, value in extra.items() if name != "seed"})
        given = made["teacher"], made.get("student"), made.get("inputs")
        result = run_one(given, threads, options | extra, monitor)
    elif isinstance(made, (Problem, tuple)):
        parts = (made,) if isinstance(made, Problem) else made
        result = run_one((*parts, None, None)[:3], threads, options, monitor)
    else:
        allowed = "a Problem, a tuple or dictionary of what `train` takes, a Result, or a row of plain values"
        raise ArgumentError("make", f"a function that returns a {type(made).__name__}", allowed)
    row = row_of(result)
    del row["failure"]
    return Cell(row | ({} if measure is None else _row("measure", measure(result))), result)


def _row(argument: str, values: Mapping) -> dict:
    """A row with plain values only."""
    if not isinstance(values, Mapping):
        raise ArgumentError(argument, f"a function that returns {values!r}", "one that returns a dictionary")
    row = {}
    for name, value in values.items():
        value = _listed(value)
        row[str(name)] = value
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            given = f"a row in which {name!r} is a {type(value).__name__} ({error})"
            allowed = "numbers, texts, booleans, None, NumPy arrays, and lists of these"
            raise ArgumentError(argument, given, allowed) from None
    return row


def _listed(value) -> Any:
    """NumPy's numbers and arrays as Python's, in lists and dictionaries too."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_listed(part) for part in value]
    if isinstance(value, Mapping):
        return {str(name): _listed(part) for name, part in value.items()}
    return value
