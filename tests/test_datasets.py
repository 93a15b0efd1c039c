"""Files of images, made here: what is read, and what is refused."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

import gradflow as gf
from gradflow.datasets import read_cifar10, read_idx, read_images


def idx(array: np.ndarray, code: int) -> bytes:
    head = struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def test_idx_of_every_type(tmp_path):
    for code, kind in ((8, "u1"), (9, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")):
        array = np.arange(24).reshape(2, 3, 4).astype(kind)
        (tmp_path / "a").write_bytes(idx(array, code))
        found = read_idx(tmp_path / "a")
        assert found.dtype == array.dtype and (found == array).all()


def test_mnist_as_idx_and_npz_is_the_same(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (5, 28, 28)).astype(np.uint8), np.array([1, 2, 3, 4, 5], np.uint8)
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx(images, 8)))
    (tmp_path / "y").write_bytes(idx(labels, 8))
    np.savez(tmp_path / "both.npz", X=images, y=labels)
    one, two = read_images(tmp_path / "x.gz", tmp_path / "y"), read_images(tmp_path / "both.npz")
    assert (one[0] == two[0]).all() and (one[1] == two[1]).all() and one[0].shape == (5, 784)
    assert one[0].max() <= 1.0 and (one[0] * 255 == images.reshape(5, -1)).all()
    assert read_images(tmp_path / "x.gz")[1] is None


def test_cifar10(tmp_path):
    records = np.random.default_rng(1).integers(0, 256, (3, 3073)).astype(np.uint8)
    records[:, 0] = [9, 0, 4]
    records.tofile(tmp_path / "batch.bin")
    X, y = read_cifar10(tmp_path / "batch.bin", tmp_path / "batch.bin")
    assert X.shape == (6, 3072) and y.tolist() == [9, 0, 4] * 2 and (X[0] * 255 == records[0, 1:]).all()


def test_what_is_refused(tmp_path):
    path = tmp_path / "a"
    cases = [
        b"",
        b"\0\0\x08\x03\0\0",
        b"\x01\0\x08\x01\0\0\0\x01a",
        idx(np.zeros((2, 2), np.uint8), 8)[:-1],
        b"\x1f\x8b",
    ]
    for data in cases:
        path.write_bytes(data)
        with pytest.raises(gf.StorageError):
            read_idx(path)
    with pytest.raises(gf.StorageError, match="cannot be read"):
        read_idx(tmp_path / "none")
    np.savez(tmp_path / "p.npz", X=np.array([{}], dtype=object))
    np.savez(tmp_path / "q.npz", other=np.zeros(3))
    np.savez(tmp_path / "r.npz", X=np.zeros((3, 2)), y=np.zeros(2))
    for name, match in (("p", "not an NPZ"), ("q", "other"), ("r", "labels of shape")):
        with pytest.raises(gf.StorageError, match=match):
            read_images(tmp_path / f"{name}.npz")
    path.write_bytes(b"abc")
    with pytest.raises(gf.StorageError, match="records"):
        read_cifar10(path)
    with pytest.raises(gf.StorageError, match="named"):
        read_cifar10()
