"""Equal arrays of many runs, the samples that all of them have, once in a file."""

from __future__ import annotations

import hashlib


def share(group, known: dict[bytes, object]) -> None:
    """Put in the place of each array in an HDF5 group a link to an equal one that is known.

    group   its data sets become known, by checksums of their bytes
    known   data sets of the same file; the same dictionary in every call for one file

    Readers see no difference: a hard link is the data set.
    """
    import h5py

    names: list[str] = []
    group.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    for name in names:
        array = group[name]
        if array.nbytes < SMALL:
            continue
        digest = hashlib.sha256(repr((array.dtype.str, array.shape)).encode())
        digest.update(array[()].tobytes())
        there = known.setdefault(digest.digest(), array)
        if there is not array:
            del group[name]
            group[name] = there


SMALL = 1024
"""Bytes below which an array is not worth a link."""
