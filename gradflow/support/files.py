"""Files that are written whole or not at all; those in HDF5 with a header and checksums."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

from .._version import __version__
from .errors import GradflowError, StorageError

COMPRESSED = 4096
"""Arrays of more bytes are compressed."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike):
    """The name of a new file that replaces `path` in one step at the end of the block, or not at all."""
    target = Path(path)
    handle = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        os.close(handle)
        try:
            yield name
            # mkstemp makes the file private; give it the permissions that open() would have given.
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({error})") from error


@contextlib.contextmanager
def written_whole(path: str | os.PathLike):
    """A new HDF5 file that replaces `path` in one step at the end of the block, or not at all.

    In the format of HDF5 1.10 (2016), whose index of a data set in one chunk takes no 2 kB. A full disk is an
    `OSError` of the system at the end of the block, and leaves nothing open.
    """
    import h5py

    with replacing(path) as name, contextlib.closing(_Spilling(name)) as target:
        with h5py.File(target, "w", libver=("v110", "v110")) as file:
            yield file
        if target.error is not None:
            raise target.error


def in_memory():
    """A new HDF5 file without a disk."""
    import h5py

    return h5py.File("memory", "w", driver="core", backing_store=False)


class _Spilling:
    """A new file that goes on in memory once the disk is full, and remembers the error.

    HDF5 cannot close a file whose last writes fail: its objects stay open, and the process ends badly.
    """

    def __init__(self, name: str):
        self.error: OSError | None = None
        self.file: io.RawIOBase | io.BytesIO = open(name, "w+b", buffering=0)

    def write(self, data) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        while len(rest):
            try:
                rest = rest[self.file.write(rest) or 0 :]
            except OSError as error:
                self._spill(error)
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return self.file.truncate(size)
        except OSError as error:
            self._spill(error)
            return self.file.truncate(size)

    def _spill(self, error: OSError) -> None:
        if self.error is not None:
            raise error
        self.error = error
        place = self.file.tell()
        self.file.seek(0)
        memory = io.BytesIO(self.file.read() or b"")
        self.file.close()
        memory.seek(place)
        self.file = memory

    def read(self, size: int = -1) -> bytes | None:
        return self.file.read(size)

    def readinto(self, buffer) -> int | None:
        return self.file.readinto(buffer)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        self.file.close()


def form_of(path: str | os.PathLike) -> str | None:
    """The format that an HDF5 file says it has; None for what is no such file."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get("format")
    except (OSError, TypeError):
        return None


@contextlib.contextmanager
def opened(path: str | os.PathLike, form: str, newest: int, oldest: int = 1):
    """An HDF5 file of this format and one of these schemas, for reading; trouble becomes a `StorageError`."""
    import h5py

    if not isinstance(path, (str, os.PathLike)):
        raise StorageError(f"path: got {path!r}; allowed: the path of a file")
    if not Path(path).is_file():
        raise StorageError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != form:
                raise StorageError(f"{path}: an HDF5 file, but not a {form!r}")
            schema = int(file.attrs["schema"])
            if not oldest <= schema <= newest:
                raise StorageError(
                    f"{path}: schema {schema}, written by gradflow {file.attrs.get('gradflow')}; "
                    f"this gradflow {__version__} reads schema {oldest} to {newest}"
                )
            yield file
    except StorageError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, GradflowError) as error:
        raise StorageError(f"{path}: not a complete {form} ({error})") from error


def write_header(file, form: str, schema: int) -> None:
    """Which format this is, and what wrote it."""
    file.attrs["format"] = form
    file.attrs["schema"] = schema
    file.attrs["gradflow"] = __version__
    file.attrs["written"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    file.attrs["versions"] = json.dumps(
        {"python": platform.python_version()}
        | {package: version(package) for package in ("numpy", "scipy", "numba", "jax", "diffrax", "h5py")}
    )


def write_array(group, name: str, values: np.ndarray) -> None:
    """A data set with a checksum, so that a damaged file is noticed."""
    options: dict = {}
    if values.size:
        options = {"fletcher32": True, "chunks": values.shape if values.nbytes < 2**30 else True}
    if values.nbytes > COMPRESSED:
        options |= {"shuffle": True, "compression": "gzip", "compression_opts": 1, "chunks": True}
    group.create_dataset(name, data=values, **options)
