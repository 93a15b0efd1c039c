"""When two matrices are the same up to a permutation of rows and one of columns."""

from __future__ import annotations

import numpy as np

from ..support.validate import number, real_array
from .isotropy import value_classes


def permuted(a, b, tolerance: float = 1e-6) -> tuple[np.ndarray, np.ndarray] | None:
    """The permutations of rows and columns that take one matrix to another.

    Parameters
    ----------
    a, b : array_like, shape (n, k)
        For networks the weights on k equal orthonormal teachers.
    tolerance : float, default 1e-6
        Entries within it of each other, in a chain of such, count as equal.

    Returns
    -------
    tuple of two ndarrays, or None
        (rows, columns) with a = b[rows][:, columns], entry by entry, or None where there are none.

    Notes
    -----
    Exact: colours of rows and columns are refined by what they contain; where symmetry keeps some of them
    equal, one is fixed and all its possible images are tried.

    Examples
    --------
    >>> a = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> rows, columns = gf.landscape.permuted(a, a[::-1, ::-1])
    >>> rows, columns
    (array([1, 0]), array([1, 0]))
    """
    a, b = real_array("a", a, 2), real_array("b", b, 2)
    tolerance = number("tolerance", tolerance, minimum=0.0)
    if a.shape != b.shape:
        return None
    labels = value_classes(np.stack([a, b]), tolerance)
    return _search(labels, np.zeros((2, a.shape[0]), int), np.zeros((2, a.shape[1]), int))


def _search(labels: np.ndarray, rows: np.ndarray, columns: np.ndarray):
    """The same for integer labels (2, n, k) and colours of rows (2, n) and columns (2, k) to be kept."""
    found = -1
    while rows.max(initial=0) + columns.max(initial=0) > found:
        found = rows.max(initial=0) + columns.max(initial=0)
        rows = _refined(labels, rows, columns)
        columns = _refined(labels.transpose(0, 2, 1), columns, rows)
    if any((np.sort(colours[0]) != np.sort(colours[1])).any() for colours in (rows, columns)):
        return None
    for which, colours in enumerate((columns, rows)):
        values, counts = np.unique(colours[0], return_counts=True)
        if counts.max(initial=1) == 1:
            continue
        chosen = values[counts > 1][counts[counts > 1].argmin()]
        first = int(np.flatnonzero(colours[0] == chosen)[0])
        for image in np.flatnonzero(colours[1] == chosen):
            fixed = colours.copy()
            fixed[0, first] = fixed[1, image] = colours.max() + 1
            match = _search(labels, rows, fixed) if which == 0 else _search(labels, fixed, columns)
            if match is not None:
                return match
        return None
    images = [np.argsort(colours[1])[np.argsort(np.argsort(colours[0]))] for colours in (rows, columns)]
    return tuple(images) if (labels[0] == labels[1][images[0]][:, images[1]]).all() else None


def _refined(labels: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """New colours (2, n) of the rows: the old one, and which labels stand in columns of which colours."""
    contents = np.sort(labels * (columns.max(initial=0) + 1) + columns[:, None, :], axis=2)
    keys = np.concatenate([rows[:, :, None], contents], axis=2).reshape(rows.size, -1)
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(rows.shape)
