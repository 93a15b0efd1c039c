"""The low end of a spectrum from products: values, vectors, bounds."""

import numpy as np
import pytest

from gradflow.support.lanczos import low_end


def matrix(values, rng):
    turn = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    return turn * values @ turn.T


def test_a_negative_eigenvalue_is_found_with_its_vector(rng):
    H = matrix(np.concatenate([[-1e-3], np.linspace(0.05, 1.0, 150), np.full(49, 40.0)]), rng)
    found = low_end(lambda v: H @ v, 200, 150, 1e-8)
    assert found.negative and found.settled and found.vector is not None
    assert found.value >= -1e-3 - 1e-12 and found.steps < 120
    assert np.linalg.norm(H @ found.vector - found.value * found.vector) <= found.residual + 1e-10


def test_a_definite_matrix_has_none(rng):
    H = matrix(np.concatenate([[0.02], np.linspace(0.05, 1.0, 150), np.full(49, 40.0)]), rng)
    found = low_end(lambda v: H @ v, 200, 200, 1e-8)
    assert found.settled and not found.negative and found.vector is None
    assert found.value == pytest.approx(0.02, abs=1e-8)
    assert found.largest == pytest.approx(40.0, rel=1e-10)
    assert found.bound(200) <= found.value


def test_a_start_that_has_a_part_in_the_mode_shortens_the_search(rng):
    values = np.concatenate([[-1e-6], np.linspace(1e-3, 1.0, 299)])
    turn = np.linalg.qr(rng.standard_normal((300, 300)))[0]
    H = turn * values @ turn.T
    helped = low_end(lambda v: H @ v, 300, 300, 1e-12, turn[:, 0] + 0.01 * turn[:, 5])
    alone = low_end(lambda v: H @ v, 300, 300, 1e-12)
    assert helped.negative and alone.negative and helped.steps < alone.steps


def test_matrices_with_few_different_eigenvalues(rng):
    for values in (np.zeros(5), np.ones(5), np.array([2.0, 2.0, -1.0, -1.0, -1.0])):
        H = matrix(values, rng)
        found = low_end(lambda v, H=H: H @ v, 5, 5, 1e-8)
        assert found.value == pytest.approx(values.min(), abs=1e-14) and found.steps <= 5
