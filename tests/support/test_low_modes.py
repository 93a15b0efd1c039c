"""The lowest eigenpairs by products, against LAPACK's."""

import numpy as np
import pytest

from gradflow.support.low_modes import lowest_modes


def matrix(rng, values):
    Q = np.linalg.qr(rng.standard_normal((values.size, values.size)))[0]
    return (Q * values) @ Q.T


@pytest.mark.parametrize(
    ("size", "count", "guesses"), [(1, 1, 1), (5, 2, 1), (30, 30, 3), (300, 1, 1), (300, 4, 2)]
)
def test_the_lowest_of_random_matrices(rng, size, count, guesses):
    values = np.sort(rng.standard_normal(size) ** 3)
    H = matrix(rng, values)
    found = lowest_modes(lambda v: H @ v, rng.standard_normal((size, guesses)), count, 1e-8, 0.0, 2000)
    largest = np.abs(values).max()
    assert found.values == pytest.approx(values[:count], abs=1e-12 * largest)
    assert found.vectors.T @ found.vectors == pytest.approx(np.eye(count), abs=1e-12)
    true = np.linalg.norm(H @ found.vectors - found.vectors * found.values, axis=0)
    assert (true <= found.residuals).all() and (found.residuals <= 1.1e-8 * largest).all()


def test_multiple_eigenvalues_and_invariant_subspaces(rng):
    for values in (np.ones(40), np.zeros(40), np.repeat([-2.0, -1.0, 3.0], [2, 1, 37])):
        H = matrix(rng, values)
        found = lowest_modes(lambda v, H=H: H @ v, rng.standard_normal((40, 1)), 3, 1e-10, 0.0, 200)
        assert found.values == pytest.approx(np.sort(values)[:3], abs=1e-12)


def test_guesses_are_used_and_useless_ones_do_no_harm(rng):
    values = np.concatenate([[-1e-3], np.linspace(1e-2, 10.0, 399)])
    H = matrix(rng, values)
    mode = np.linalg.eigh(H)[1][:, 0]
    near = mode + 1e-3 * rng.standard_normal(400) / 20.0
    cold = lowest_modes(lambda v: H @ v, rng.standard_normal((400, 1)), 1, 1e-6, 0.1, 2000)
    warm = lowest_modes(lambda v: H @ v, np.column_stack([np.zeros(400), near, near]), 1, 1e-6, 0.1, 2000)
    assert abs(mode @ warm.vectors[:, 0]) > 1.0 - 1e-4
    assert warm.products < 0.5 * cold.products


def test_its_products_are_limited(rng):
    H = matrix(rng, np.linspace(0.0, 1.0, 200))
    found = lowest_modes(lambda v: H @ v, rng.standard_normal((200, 1)), 2, 1e-14, 0.0, 30)
    assert 30 <= found.products <= 31
    assert (found.residuals > 0.0).all()
