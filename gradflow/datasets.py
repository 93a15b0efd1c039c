"""Images that a user has as files: IDX (MNIST, FashionMNIST), NPZ, and CIFAR10's binary version."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import numpy as np

from .support.errors import StorageError

__all__ = ["read_cifar10", "read_idx", "read_images"]

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_LARGEST = 1 << 32
"""Bytes that a file may claim to hold."""

_NAMES = (("X", "y"), ("x_train", "y_train"), ("images", "labels"), ("data", "target"), ("arr_0", "arr_1"))


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """The array of an IDX file, gzipped or not, in its own type.

    Parameters
    ----------
    path : path
        As "train-images-idx3-ubyte.gz".

    Returns
    -------
    numpy.ndarray

    Raises
    ------
    StorageError
        Where there is no such file, or it is none of this kind, or shorter than it says.

    Notes
    -----
    Two zero bytes, a type, the number of dimensions, these as big-endian 32-bit integers, the values [1]_.

    References
    ----------
    .. [1] Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten digits.

    Examples
    --------
    >>> with open("two-idx1-ubyte", "wb") as file:
    ...     _ = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    >>> gf.datasets.read_idx("two-idx1-ubyte")
    array([7, 9], dtype=uint8)
    """
    data = _bytes(path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_TYPES:
        raise StorageError(f"{path}: not an IDX file")
    kind, dimensions = np.dtype(_IDX_TYPES[data[2]]), data[3]
    start = 4 + 4 * dimensions
    if len(data) < start:
        raise StorageError(f"{path}: an IDX file that is cut off in its header")
    shape = [int.from_bytes(data[4 + 4 * k : 8 + 4 * k], "big") for k in range(dimensions)]
    count = 1
    for size in shape:
        count *= size
    if count * kind.itemsize != len(data) - start:
        raise StorageError(
            f"{path}: {len(data) - start} bytes of values where {shape} needs {count * kind.itemsize}"
        )
    return np.frombuffer(data, kind, count, start).reshape(shape).astype(kind.newbyteorder("="))


def read_cifar10(*paths: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Images (samples, 3072) in [0, 1] and labels (samples,) of files of CIFAR10's binary version.

    Parameters
    ----------
    *paths : path
        "data_batch_1.bin", …: records of a label and 3072 bytes, channel by channel.

    Returns
    -------
    X, y : numpy.ndarray

    Raises
    ------
    StorageError
        For other files. The Python version of CIFAR10 is pickled, and nothing is unpickled here.

    Examples
    --------
    >>> with open("batch.bin", "wb") as file:
    ...     _ = file.write(bytes([3]) + bytes(3072))
    >>> X, y = gf.datasets.read_cifar10("batch.bin")
    >>> X.shape, y
    ((1, 3072), array([3]))
    """
    records = []
    for path in paths:
        data = _bytes(path)
        if len(data) == 0 or len(data) % 3073:
            raise StorageError(f"{path}: {len(data)} bytes, not a number of records of 3073")
        records.append(np.frombuffer(data, np.uint8).reshape(-1, 3073))
    if not records:
        raise StorageError("no file of CIFAR10 was named")
    table = np.concatenate(records)
    if table[:, 0].max() > 9:
        raise StorageError(f"{paths[0]}: a label {table[:, 0].max()}, not CIFAR10's binary version")
    return table[:, 1:] / 255.0, table[:, 0].astype(np.int64)


def read_images(
    path: str | os.PathLike, labels: str | os.PathLike | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images as rows (samples, pixels) and labels, from an NPZ file or from IDX files.

    Parameters
    ----------
    path : path
        An NPZ file with arrays X and y (or x_train and y_train, images and labels, data and target), or an
        IDX file of images.
    labels : path, optional
        An IDX file of labels.

    Returns
    -------
    X : numpy.ndarray, shape (samples, pixels)
        Float64; bytes are divided by 255.
    y : numpy.ndarray, shape (samples,), or None

    Raises
    ------
    StorageError
        For files of other kinds, arrays that were pickled, and as many labels as there are no images.

    Examples
    --------
    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "two.npz")
    ...     np.savez(path, X=np.array([[[0, 255]], [[51, 0]]], dtype=np.uint8), y=[3, 1])
    ...     X, y = gf.datasets.read_images(path)
    >>> X, y
    (array([[0. , 1. ],
           [0.2, 0. ]]), array([3, 1]))
    """
    if zipfile.is_zipfile(path):
        images, found = _npz(path)
    else:
        images, found = read_idx(path), None
    if labels is not None:
        found = read_idx(labels)
    if images.ndim < 2:
        raise StorageError(f"{path}: an array of shape {images.shape}, not images")
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    X = images.reshape(len(images), -1).astype(np.float64) / scale
    if found is not None and found.shape != (len(X),):
        raise StorageError(f"{labels or path}: labels of shape {found.shape} for {len(X)} images")
    return X, None if found is None else found.astype(np.int64)


def _npz(path) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        with np.load(path, allow_pickle=False) as file:
            for images, labels in _NAMES:
                if images in file:
                    return file[images], file[labels] if labels in file else None
            names = ", ".join(file.files)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise StorageError(f"{path}: not an NPZ file of numbers ({error})") from error
    raise StorageError(f"{path}: arrays {names}; X and y are looked for, or {_NAMES[1:]}")


def _bytes(path) -> bytes:
    try:
        data = Path(path).read_bytes()
        if data[:2] == b"\x1f\x8b":
            with gzip.open(path) as file:
                data = file.read(_LARGEST)
    except (OSError, EOFError) as error:
        raise StorageError(f"{path}: cannot be read ({error})") from error
    return data


def __dir__() -> list[str]:
    return sorted(__all__)
