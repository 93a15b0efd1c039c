"""A folder of finished cells, each in its own file, that any later process can go on with.

    manifest.json      what the cells are of, and what made them
    cells/KEY.h5       one finished cell: its row of plain values, its result or its failure
    merged.h5          all cells once every one is finished; the folder of cells is removed then

A cell's file appears whole under its name (temporary name, renamed), so that a process that is killed at any
moment loses only what was under way.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import platform
import traceback
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._version import __version__
from ..activations import ACTIVATIONS
from ..inputs import Law
from ..losses.problem import Problem
from ..networks import MLP
from ..run.result import Result
from ..run.storage.results import read_result, write_result
from ..support.errors import StorageError
from ..support.files import opened, replacing, write_header, written_whole

FORMAT, SCHEMA = "gradflow cells", 1
_PACKAGES = ("numpy", "scipy", "numba", "jax")


class Cell(NamedTuple):
    """One finished piece of work: its values by name, and its result or the text of its failure."""

    row: dict
    result: Result | None = None
    failure: str | None = None


def failure_text(error: BaseException) -> str:
    """The exception as it would have been printed."""
    return "".join(traceback.format_exception(error)).rstrip()


def key_of(cell: Mapping[str, Any]) -> str:
    """The name of a cell's file, from its values alone: a larger grid finds the cells of a smaller one."""
    text = json.dumps(cell, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def fingerprint(value: Any) -> str:
    """A short text that is equal for equal values: settings, arrays, networks, laws of inputs, problems.

    A function counts by its name and source, not by what it closes over.
    """
    digest = hashlib.sha256()
    _digest(value, digest.update)
    return digest.hexdigest()[:20]


def _digest(value: Any, update: Callable[[bytes], None]) -> None:
    update(type(value).__name__.encode())
    if isinstance(value, Mapping):
        value = sorted(value.items())
    if isinstance(value, MLP):
        _digest([value.sizes, [repr(a) for a in value.activations], value.flat()], update)
    elif isinstance(value, Problem):
        _digest([value.teacher, value.student, value.inputs, value.theta0, value.options], update)
    elif isinstance(value, Law):
        _digest(vars(value), update)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _digest(part, update)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        update(repr((value.dtype.str, value.shape)).encode() + np.ascontiguousarray(value).tobytes())
    elif callable(value) and not isinstance(value, type):
        update(function_text(value).encode())
    else:
        update(repr(value).encode())


def function_text(function: Callable) -> str:
    """The name and, where it can be found, the source of a function."""
    function = getattr(function, "func", function)
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', repr(type(function)))}"
    try:
        return f"{name}\n{inspect.getsource(function)}"
    except (OSError, TypeError):
        return name


def versions() -> dict[str, str]:
    """What the bits of a result depend on."""
    return {"gradflow": __version__, "python": platform.python_version()} | {p: version(p) for p in _PACKAGES}


class Store:
    """The folder, checked against a manifest or made with it.

    path       the folder; its parent must exist
    manifest   plain values; one that is there must be equal but for "grid", which may be larger or smaller

    Raises `StorageError` for a folder of something else, naming what differs, and where it cannot be written.
    """

    def __init__(self, path, manifest: dict | None = None):
        self.path = Path(path)
        self.cells = self.path / "cells"
        self.merged = self.path / "merged.h5"
        name = self.path / "manifest.json"
        if manifest is None:
            if not name.is_file():
                raise StorageError(f"{self.path}: no manifest.json: not a folder of finished runs")
            self.manifest = _read_manifest(name)
            return
        manifest = json.loads(json.dumps(manifest)) | {"versions": versions()}
        if name.is_file():
            there = _read_manifest(name)
            _compare(self.path, there, manifest)
            if _lacking(manifest.get("grid", {}), there.get("grid", {})):  # a part of what is there
                manifest = there
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise StorageError(
                f"{self.path}: a folder with other files and no manifest.json; name a new folder"
            )
        try:
            self.path.mkdir(exist_ok=True)
            self.cells.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be made ({error})") from error
        self.manifest = manifest
        with replacing(name) as temporary:
            Path(temporary).write_text(json.dumps(manifest, indent=1), encoding="utf-8")

    def finished(self) -> set[str]:
        """The keys of all cells that are there."""
        keys = {path.stem for path in self.cells.glob("*.h5")}
        if self.merged.is_file():
            with opened(self.merged, FORMAT, SCHEMA) as file:
                keys |= set(file["cells"])
        return keys

    def write(self, key: str, cell: Cell) -> None:
        """Keep a finished cell; it takes the place of one that is there."""
        path = self.cells / f"{key}.h5"
        with contextlib.suppress(OSError):  # another process may have merged all, and removed the folder
            self.cells.mkdir(exist_ok=True)
        with written_whole(path) as file:
            write_header(file, FORMAT, SCHEMA)
            _write_cell(file, cell)

    def read(self, key: str, activations=None, rows_only: bool = False) -> Cell:
        """A finished cell; without its result where only rows are asked for."""
        known = {**ACTIVATIONS, **(activations or {})}
        path = self.cells / f"{key}.h5"
        if path.is_file():
            with opened(path, FORMAT, SCHEMA) as file:
                return _read_cell(file, known, rows_only)
        with opened(self.merged, FORMAT, SCHEMA) as file:
            return _read_cell(file["cells"][key], known, rows_only)

    def rows(self, keys: Iterable[str]) -> list[Cell]:
        """The rows of these finished cells, the merged ones from one opening of their file."""
        keys, found = list(keys), {}
        apart = {path.stem for path in self.cells.glob("*.h5")}
        if self.merged.is_file():
            with opened(self.merged, FORMAT, SCHEMA) as file:
                inside = [key for key in keys if key not in apart and key in file["cells"]]
                found = {key: _read_cell(file["cells"][key], {}, True) for key in inside}
        return [found[key] if key in found else self.read(key, rows_only=True) for key in keys]

    def merge(self) -> None:
        """All cells in one file; then their own files go."""
        waiting = sorted(self.cells.glob("*.h5"))
        if waiting:
            with written_whole(self.merged) as file:
                write_header(file, FORMAT, SCHEMA)
                group = file.create_group("cells")
                for path in waiting:
                    with opened(path, FORMAT, SCHEMA) as source:
                        source.copy(source, group, name=path.stem)
                if self.merged.is_file():
                    with opened(self.merged, FORMAT, SCHEMA) as old:
                        for key in old["cells"]:
                            if key not in group:
                                old.copy(old["cells"][key], group, name=key)
        for path in waiting:  # these and no others: another process may add some meanwhile
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.cells.rmdir()


def _write_cell(group, cell: Cell) -> None:
    group.attrs["row"] = json.dumps(cell.row)
    if cell.failure is not None:
        group.attrs["failure"] = cell.failure
    if cell.result is not None:
        write_result(group.create_group("result"), cell.result)


def _read_cell(group, activations, rows_only: bool) -> Cell:
    row, failure = json.loads(group.attrs["row"]), group.attrs.get("failure")
    result = None
    if "result" in group and not rows_only:
        result = read_result(group["result"], activations)
    return Cell(row, result, None if failure is None else str(failure))


def _read_manifest(path: Path) -> dict:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or "versions" not in manifest:
            raise ValueError("no manifest of gradflow")
        return manifest
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: cannot be read ({error})") from error


def _compare(path: Path, there: dict, now: dict) -> None:
    """`StorageError` that names every difference."""
    differences = []
    for name in sorted(set(there) | set(now)):
        old, new = there.get(name), now.get(name)
        if name == "grid" and isinstance(old, dict) and isinstance(new, dict):
            differences += _grown(old, new)
        elif isinstance(old, dict) and isinstance(new, dict):
            for part in sorted(set(old) | set(new)):
                if old.get(part) != new.get(part):
                    differences.append(f"{name} {part}: {old.get(part)} there, {new.get(part)} now")
        elif old != new:
            differences.append(f"{name}: {old} there, {new} now")
    if differences:
        raise StorageError(f"{path}: made by another call; " + "; ".join(differences))


def _grown(old: dict, new: dict) -> list[str]:
    """How a grid is neither the old one, nor that with more values on some axes, nor a part of it."""
    if list(old) != list(new):
        return [f"axes of the grid: {', '.join(old)} there, {', '.join(new)} now"]
    if _lacking(new, old) and _lacking(old, new):
        return _lacking(new, old)
    return []


def _lacking(grid: dict, other: dict) -> list[str]:
    """Which values of the other grid this one does not have."""
    found = []
    for axis, values in other.items():
        missing = [value for value in values if value not in grid.get(axis, [])]
        if missing:
            found.append(f"axis {axis}: without {', '.join(map(repr, missing[:5]))}, which are there")
    return found
