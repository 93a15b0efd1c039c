"""Matrices up to permutations of rows and columns: against all permutations, and with much symmetry."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import gradflow as gf
from gradflow.landscape import permuted


def shuffled(matrix, rng):
    rows, columns = rng.permutation(matrix.shape[0]), rng.permutation(matrix.shape[1])
    return matrix[rows][:, columns]


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (4, 4)])
@pytest.mark.parametrize("values", [2, 3])
def test_against_all_permutations(shape, values, rng):
    """Few different entries: pairs that share every multiset of row and column contents and still differ."""
    agreed = 0
    for _ in range(60):
        a, b = rng.integers(values, size=(2, *shape)).astype(float)
        exists = any(
            (a == b[list(rows)][:, list(columns)]).all()
            for rows in itertools.permutations(range(shape[0]))
            for columns in itertools.permutations(range(shape[1]))
        )
        assert (permuted(a, b) is not None) == exists
        agreed += exists
    assert agreed < 60


@pytest.mark.parametrize("width", [6, 20])
def test_found_permutations_map_one_to_the_other(width, rng):
    bordered = np.eye(width)
    bordered[-1] = bordered[:, -1] = 0.2
    pairs = np.kron(np.eye(width // 2), np.ones((2, 2)))
    for a in (np.eye(width), bordered, pairs, np.ones((width, width)), rng.standard_normal((width, width))):
        b = shuffled(a, rng)
        rows, columns = permuted(a, b + 1e-8 * rng.uniform(-1, 1, b.shape), 1e-6)
        np.testing.assert_array_equal(b[rows][:, columns], a)


def test_equal_colours_are_not_enough():
    """Cycles of 6, and two of 3: every row and column has the same contents, and they differ."""
    ring = np.eye(6) + np.roll(np.eye(6), 1, axis=1)
    two = np.kron(np.eye(2), np.eye(3) + np.roll(np.eye(3), 1, axis=1))
    assert permuted(ring, two) is None
    assert permuted(ring, np.roll(ring, 2, axis=0)) is not None


def test_tolerance_shapes_and_arguments():
    a = np.diag([1.0, 2.0])
    assert permuted(a, np.diag([2.0, 1.0 + 1e-7])) is not None
    assert permuted(a, np.diag([2.0, 1.0 + 1e-5])) is None
    assert permuted(a, np.ones((2, 3))) is None
    with pytest.raises(gf.ArgumentError, match="a:"):
        permuted([1.0], a)
    with pytest.raises(gf.ArgumentError, match="tolerance"):
        permuted(a, a, -1.0)
