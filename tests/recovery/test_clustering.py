"""The paper's recipe: the cut of the tree, and recovery of easy teachers; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster import hierarchy

import gradflow as gf
from gradflow.recovery import cluster, compare, expand_and_cluster


@pytest.fixture(scope="module")
def cube():
    return gf.teachers.uniform_inputs(4, 3000, seed=5)


def test_the_cut_has_most_large_clusters():
    rng = np.random.default_rng(0)
    centres = 3.0 * rng.standard_normal((5, 6))
    rows = np.vstack(
        [centres + 1e-3 * rng.standard_normal((5, 6)) for _ in range(10)] + [4 * rng.standard_normal((20, 6))]
    )
    found = cluster(rows, 10, 0.8, np.pi / 24)
    assert len(found.kept) == 5 and len(found.large) == 5
    for c in range(5):
        assert len(set(found.labels[c:50:5])) == 1
    # the number of large clusters, against SciPy's own cut at every height
    counts = [
        (np.unique(hierarchy.fcluster(found.merges, h, "distance"), return_counts=True)[1] >= 8).sum()
        for h in found.merges[:, 2]
    ]
    assert max(counts) == 5 and counts[int(np.searchsorted(found.merges[:, 2], found.height))] == 5
    above = found.merges[found.merges[:, 2] > found.height, 2]
    labels = hierarchy.fcluster(found.merges, above[0], "distance")
    assert (np.unique(labels, return_counts=True)[1] >= 8).sum() < 5


def test_clusters_without_a_direction_are_dropped():
    rng = np.random.default_rng(1)
    rows = np.vstack(
        [
            np.tile([5.0, 0.0, 0.0], (8, 1)) + 1e-3 * rng.standard_normal((8, 3)),
            1e-3 * rng.standard_normal((8, 3)),
        ]
    )
    found = cluster(rows, 8, 0.8, np.pi / 24)
    assert len(found.large) == 2 and len(found.kept) == 1


@pytest.mark.parametrize(("activation", "width"), [("g", 2), ("tanh", 2)])
def test_easy_teachers(cube, activation, width):
    teacher = gf.teachers.parity(4, width, seed=2, activation=activation)
    found = expand_and_cluster(cube, teacher(cube), activation, width=width, students=8)
    assert found.width == width and found.rmse < 1e-14 and found.exact
    assert compare(found.network, teacher, cube).parameters < 1e-12
    assert found.method == "expand_and_cluster" and len(found.details["rows"]) == 8 * 4 * width


def test_the_width_by_doubling(cube):
    teacher = gf.teachers.parity(4, 2, seed=0)
    found = expand_and_cluster(cube, teacher(cube), "g", students=8)
    assert found.students[-1]["width"] in (4, 8, 16) and len(found.students) >= 8
    assert min(s["loss"] for s in found.students) < 1e-8


@pytest.mark.parametrize(
    ("match", "settings"),
    [
        ("gamma", {"gamma": 0.0}),
        ("gamma", {"gamma": 1.5}),
        ("beta", {"beta": 0.0}),
        ("beta", {"beta": 4.0}),
        ("students.*at least", {"students": 3, "gamma": 0.5}),
        ("students", {"students": 1}),
        ("width", {"width": 0}),
    ],
)
def test_bad_settings(cube, match, settings):
    with pytest.raises(gf.ArgumentError, match=match):
        expand_and_cluster(cube, cube[:, :1], "g", **settings)
