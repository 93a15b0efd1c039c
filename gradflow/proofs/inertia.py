"""How many eigenvalues of a symmetric matrix of balls are negative, proved by a congruence and Gershgorin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..support.threads import single_threaded_blas
from .balls import arb, arb_mat, midpoint


def inertia(rows: Sequence[Sequence]) -> tuple[int, int, int]:
    """(negative, undecided, positive) eigenvalues of every symmetric matrix within the balls.

    Undecided ones make the other two counts lower bounds only where they are not zero.
    """
    middle = np.array([[midpoint(v) for v in row] for row in rows])
    p = len(rows)
    if not np.isfinite(middle).all():
        return 0, p, 0
    with single_threaded_blas():
        values, vectors = np.linalg.eigh(0.5 * (middle + middle.T))
    V = arb_mat(vectors.tolist())
    M = (V.transpose() * (arb_mat(rows) * V)).tolist()
    negative = undecided = positive = 0
    for i, row in enumerate(M):
        radius = sum((abs(entry) for j, entry in enumerate(row) if j != i), arb(0))
        if row[i] + radius < 0:
            negative += 1
        elif row[i] - radius > 0:
            positive += 1
        else:
            undecided += 1
    if undecided:  # discs that overlap may share their eigenvalues: nothing is claimed
        return 0, p, 0
    return negative, 0, positive


__all__ = ["inertia"]
