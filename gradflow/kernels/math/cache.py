"""Compiled code kept on disk: one file for each function, whole and checked, or compiled anew.

Numba's own cache has an index beside its data files, looks at one source file only (numba issues 1833 and
9483), and fails for good where a file of it is damaged. Here the folder is named after all sources, a file
after what else decides on the code (signature, processor), and begins with a checksum. Whatever
is wrong with a file is a miss; what cannot be written is not kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import platform
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numba
from numba.core import serialize
from numba.core.compiler import CompileResult

from ...support import memory
from ...support.errors import StorageError
from ...support.files import replacing

PATIENCE = 300.0
"""Seconds for which a process waits for another's code before it compiles for itself."""

_CHECKSUM_BYTES = hashlib.sha256().digest_size


@cache
def cache_folder(source: Path) -> Path | None:
    """Where code is kept that is compiled from kernels and from the folder `source`; None: nowhere.

    One folder per state of all these sources, of Numba and of Python, in GRADFLOW_CACHE_DIR or
    ~/.cache/gradflow.
    """
    digest = hashlib.sha256(f"{numba.__version__} {platform.python_version()}".encode())
    kernels = Path(__file__).parent.parent
    outside = [] if kernels in (source, *source.parents) else sorted(source.glob("*.py"))
    outside.append(Path(memory.__file__))  # the layout of the words that kernels share with it
    root = os.environ.get("GRADFLOW_CACHE_DIR")
    try:
        for path in [*sorted(kernels.rglob("*.py")), *outside]:
            digest.update(path.read_bytes())
        base = Path(root).expanduser() if root else Path.home() / ".cache" / "gradflow"
    except (OSError, RuntimeError):  # no home
        return None
    return base / digest.hexdigest()[:16]


@cache
def _say_once(folder: Path, trouble: str) -> None:
    logging.getLogger("gradflow").warning(
        "compiled code cannot be kept in %s (%s): every process compiles anew; "
        "GRADFLOW_CACHE_DIR names another folder",
        folder,
        trouble,
    )


class Claims:
    """Which process compiles what: a locked byte of one file for each function, free when a process ends.

    Where files cannot be locked everybody compiles for himself.
    """

    def __init__(self, folder: Path):
        self._path = folder / "claims"
        self._file: int | None = None

    def take(self, name: str, patience: float) -> bool:
        """Claim a function; whether another process had it, for whose end this one waits so many seconds."""
        place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7]) >> 1
        until, waited = time.monotonic() + patience, False
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            while True:
                try:
                    fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                    return waited
                except (BlockingIOError, PermissionError):
                    waited = True
                    if time.monotonic() > until:
                        return True
                time.sleep(0.01)
        except OSError:
            return waited

    def release(self) -> None:
        """Give all up that was claimed by this object."""
        if self._file is not None:
            os.close(self._file)  # this ends the locks that the process has on the file
            self._file = None


class CodeCache:
    """What Numba's `CFunc` asks for compiled code before it compiles, and gives it to afterwards.

    For functions without a closure: what those close over has no name that lasts.
    """

    def __init__(self, function: Callable, folder: Path):
        self._function = function
        self._folder = folder
        self._claims = Claims(folder)

    def load_overload(self, signature, target_context) -> CompileResult | None:
        """The code of an earlier process, or None."""
        target_context.refresh()
        path = self._path(signature, target_context.codegen())
        found = self._load(path, target_context)
        if found is None and self._claims.take(path.name, PATIENCE):  # somebody else was at it
            found = self._load(path, target_context)
        if found is not None:
            self.give_up()
        return found

    def has(self, signature, target_context) -> bool:
        """Whether there is a file, whole or not."""
        return self._path(signature, target_context.codegen()).exists()

    def claim(self, signature, target_context) -> bool:
        """Whether a function is not here and nobody compiles it: this process does, until it is saved."""
        if self.has(signature, target_context):
            return False
        name = self._path(signature, target_context.codegen()).name
        return not self._claims.take(name, 0.0)

    def give_up(self) -> None:
        """Claim nothing any longer."""
        self._claims.release()

    def _load(self, path: Path, target_context) -> CompileResult | None:
        try:
            stored = path.read_bytes()
        except OSError:
            return None
        checksum, payload = stored[:_CHECKSUM_BYTES], stored[_CHECKSUM_BYTES:]
        if hashlib.sha256(payload).digest() != checksum:
            return None
        try:
            return CompileResult._rebuild(target_context, *serialize.loads(payload))
        except Exception:  # written by a Numba that was not quite this one: whatever that raises, a miss
            return None

    def save_overload(self, signature, result: CompileResult) -> None:
        """Keep the code for later processes, if that is possible."""
        try:
            self._save(signature, result)
        finally:
            self.give_up()

    def _save(self, signature, result: CompileResult) -> None:
        if result.library.has_dynamic_globals:  # addresses that are only valid in this process
            return
        path = self._path(signature, result.library.codegen)
        payload = serialize.dumps(result._reduce())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as name, open(name, "wb") as file:
                file.write(hashlib.sha256(payload).digest() + payload)
        except (OSError, StorageError) as error:
            cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
            _say_once(self._folder, str(getattr(cause, "strerror", None) or cause))

    def _path(self, signature, codegen) -> Path:
        key = hashlib.sha256(repr((signature, codegen.magic_tuple())).encode())
        key.update(self._function.__code__.co_code)
        name = self._function.__qualname__.replace("<", "").replace(">", "")
        module = self._function.__module__.rpartition(".")[2]
        return self._folder / f"{module}.{name}-{key.hexdigest()[:16]}.code"
