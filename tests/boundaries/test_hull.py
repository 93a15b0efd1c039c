"""The element of least norm of a hull of gradients."""

import numpy as np
import pytest
import scipy.optimize

from gradflow.boundaries.hull import interior, least_norm, normal_space


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_the_element_of_least_norm_is_the_best_point_of_the_hull(count, rng):
    for _ in range(20):
        base, edges = rng.normal(size=6), rng.normal(size=(count, 6))
        found = least_norm(base, edges)
        assert ((found.fractions >= 0) & (found.fractions <= 1)).all()
        assert np.allclose(found.vector, base + found.fractions @ edges, atol=1e-14)
        # at the least element the norm falls in no direction of the box: the truth of a convex problem
        slope = edges @ found.vector
        inside = (found.fractions > 0) & (found.fractions < 1)
        assert np.abs(slope[inside]).max(initial=0.0) < 1e-12
        assert (slope[found.fractions == 0] >= -1e-12).all() and (slope[found.fractions == 1] <= 1e-12).all()
        other = scipy.optimize.minimize(
            lambda x, base=base, edges=edges: np.sum((base + x @ edges) ** 2),
            np.full(count, 0.5),
            bounds=[(0, 1)] * count,
        )
        assert np.sum(found.vector**2) <= other.fun + 1e-9


def test_dependent_edges_have_no_interior_solution_but_a_least_element(rng):
    edge = rng.normal(size=4)
    edges = np.array([edge, 2 * edge, rng.normal(size=4)])
    assert interior(-edge, edges) is None
    found = least_norm(-0.5 * edge, edges)
    assert np.linalg.norm(found.vector) < 1e-12


def test_the_span_of_normals_and_its_complement(rng):
    normals = rng.normal(size=(2, 5))
    inside, outside = normal_space(np.concatenate([normals, normals[:1] - normals[1:]]))
    assert inside.shape == (5, 2) and outside.shape == (5, 3)
    assert np.abs(normals @ outside).max() < 1e-14
    assert normal_space(np.zeros((1, 5)))[1].shape == (5, 5)
