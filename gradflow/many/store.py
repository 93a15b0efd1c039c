"""A folder of finished cells, each in its own file, that any later process can go on with.

    manifest.json      what the cells are of, and what made them
    cells/KEY.h5       one finished cell: its row of plain values, its result or its failure
    merged.h5          all cells once every one is finished; the folder of cells is removed then

A cell's file appears whole under its name (temporary name, renamed), so that a process that is killed at any
moment loses only what was under way.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import traceback
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from .._version import __version__
from ..activations import ACTIVATIONS
from ..run.result import Result
from ..run.storage.results import read_result, write_result
from ..support.errors import ArgumentError, StorageError
from ..support.files import opened, replacing, write_header, written_whole
from .shared import copy

FORMAT, SCHEMA = "gradflow cells", 1
_PACKAGES = ("numpy", "scipy", "numba", "jax")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says where there is no room."""


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
        if not isinstance(path, (str, os.PathLike)):
            raise ArgumentError("store", repr(path), "the path of a folder")
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
        if not name.is_file() and self.path.is_dir() and not all(map(_is_ours, self.path.iterdir())):
            raise StorageError(
                f"{self.path}: a folder with other files and no manifest.json; name a new folder"
            )
        try:
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be made ({error})") from error
        with full_disk(self.path), self._alone():
            if name.is_file():
                there = _read_manifest(name)
                if differences := _differences(there, manifest):
                    text = f"{self.path}: made by another call, {len(self.finished())} finished in it"
                    raise StorageError(
                        f"{text}; {'; '.join(differences)}. Name a new folder, or remove this one"
                    )
                if _lacking(manifest.get("grid", {}), there.get("grid", {})):  # a part of what is there
                    manifest = there
            self.manifest = manifest
            with replacing(name) as temporary:
                Path(temporary).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            for path in self.path.glob(".m*.part"):  # of a process that was killed while it wrote
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.cells.mkdir(exist_ok=True)

    def finished(self) -> set[str]:
        """The keys of all cells that are there."""
        keys = {path.stem for path in self._apart()}
        return keys | set(self._inside())

    def _apart(self) -> list[Path]:
        """The files of single cells; one that is being written has another name."""
        return sorted(self.cells.glob("*.h5"))

    def _inside(self) -> list[str]:
        """The keys of the cells that are merged."""
        if not self.merged.is_file():
            return []
        with opened(self.merged, FORMAT, SCHEMA) as file:
            return list(file["cells"])

    def has(self, key: str) -> bool:
        """Whether this cell is finished."""
        if (self.cells / f"{key}.h5").is_file():
            return True
        if not self.merged.is_file():
            return False
        with opened(self.merged, FORMAT, SCHEMA) as file:
            return key in file["cells"]

    def write(self, key: str, cell: Cell, again: bool = False) -> bool:
        """Keep a finished cell, and say whether it was kept; one that is there stays, except `again`."""
        if not again and self.has(key):
            return False
        with contextlib.suppress(OSError):  # another process may have merged all, and removed the folder
            self.cells.mkdir(exist_ok=True)
        with full_disk(self.path), written_whole(self.cells / f"{key}.h5") as file:
            write_header(file, FORMAT, SCHEMA)
            _write_cell(file, cell)
        return True

    def read(self, key: str, activations=None, rows_only: bool = False) -> Cell:
        """A finished cell; without its result where only rows are asked for."""
        known = {**ACTIVATIONS, **(activations or {})}
        path = self.cells / f"{key}.h5"
        if path.is_file():
            try:
                with opened(path, FORMAT, SCHEMA) as file:
                    return _read_cell(file, known, rows_only)
            except StorageError:
                if path.is_file():
                    raise  # else another process has merged it meanwhile
        with opened(self.merged, FORMAT, SCHEMA) as file:
            return _read_cell(file["cells"][key], known, rows_only)

    def rows(self, keys: Iterable[str]) -> list[Cell]:
        """The rows of these finished cells, the merged ones from one opening of their file."""
        keys, found = list(keys), {}
        apart = {path.stem for path in self._apart()}
        if self.merged.is_file():
            with opened(self.merged, FORMAT, SCHEMA) as file:
                inside = [key for key in keys if key not in apart and key in file["cells"]]
                found = {key: _read_cell(file["cells"][key], {}, True) for key in inside}
        return [found[key] if key in found else self.read(key, rows_only=True) for key in keys]

    def merge(self) -> None:
        """All cells in one file, equal arrays of theirs once; then their own files go."""
        with full_disk(self.path), self._alone():
            waiting = self._apart()
            if waiting:
                with written_whole(self.merged) as file:
                    write_header(file, FORMAT, SCHEMA)
                    group, known = file.create_group("cells"), dict[bytes, str]()
                    for path in waiting:
                        with opened(path, FORMAT, SCHEMA) as source:
                            copy(source, group.create_group(path.stem), known)
                    if self.merged.is_file():
                        with opened(self.merged, FORMAT, SCHEMA) as old:
                            for key in set(old["cells"]) - set(group):
                                copy(old["cells"][key], group.create_group(key), known)
            for path in waiting:  # these and no others: another process may add some meanwhile
                path.unlink(missing_ok=True)
            inside = set(self._inside())
            for path in [*self.cells.glob(".*.part"), *self.path.glob(".m*.part")]:
                # of processes that were killed; another one may be writing a run that is not merged
                if path.parent == self.path or path.name.split(".")[1] in inside:
                    path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.cells.rmdir()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time, where the file system can lock; a process that is killed lets go."""
        try:
            import fcntl

            handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        except (ImportError, OSError):
            yield
            return
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


@contextlib.contextmanager
def full_disk(path, advice: str = "what is finished is kept: make room, and the same call goes on"):
    """A full disk in plain words."""
    try:
        yield
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _FULL:
            raise StorageError(f"{path}: cannot be written ({os.strerror(cause.errno)}); {advice}") from cause
        raise


def _is_ours(path: Path) -> bool:
    """Whether a process that was killed before it had written the manifest leaves this."""
    return path.name == ".lock" or (path.name.startswith(".manifest.json.") and path.suffix == ".part")


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


def _differences(there: dict, now: dict) -> list[str]:
    """Every difference, in words."""
    found = []
    for name in sorted(set(there) | set(now)):
        old, new = there.get(name), now.get(name)
        if name == "grid" and isinstance(old, dict) and isinstance(new, dict):
            found += _grown(old, new)
        elif isinstance(old, dict) and isinstance(new, dict):
            for part in sorted(set(old) | set(new)):
                before, after = old.get(part, "not given"), new.get(part, "not given")
                if before == after:
                    continue
                if part == "code":
                    found.append(f"{name}: other code, defaults or enclosed values than those there")
                else:
                    found.append(f"{name} {part}: {before} there, {after} now")
        elif old != new and name == "problems":
            found.append("problems: other teachers, students or inputs than those there")
        elif old != new:
            found.append(f"{name}: {_short(old)} there, {_short(new)} now")
    return found


def _short(value: Any) -> str:
    return "none" if value is None else str(value.get("name", value) if isinstance(value, dict) else value)


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
        here = set(
            map(json.dumps, grid.get(axis, []))
        )  # in which 1, 1.0 and true differ, as in a cell's name
        missing = [value for value in values if json.dumps(value) not in here]
        if missing:
            found.append(f"axis {axis}: without {', '.join(map(repr, missing[:5]))}, which are there")
    return found
