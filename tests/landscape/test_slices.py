"""Planes, their complements, and paths."""

import itertools

import numpy as np
import pytest
import scipy.optimize

import gradflow as gf
from gradflow import landscape


def test_planes_and_their_complements(trained):
    result = trained()
    problem = result.problem
    origin, directions = landscape.plane([result.theta, problem.theta0, np.ones(problem.size)])
    grid = np.array([-0.4, 0.0, 0.4])
    plain = landscape.slice_plane(problem, origin, directions, grid, grid)
    assert plain.losses[1, 1] == pytest.approx(result.loss, abs=1e-15)
    point = origin + 0.4 * directions[0] - 0.4 * directions[1]
    assert plain.losses[2, 0] == pytest.approx(problem.loss(point), abs=1e-14)
    least = landscape.slice_plane(problem, origin, directions, grid, grid, minimised=True)
    assert (least.losses <= plain.losses + 1e-14).all() and least.grad_norms.max() <= 1e-10
    assert least.losses.min() >= result.loss - 1e-12
    with pytest.raises(gf.ArgumentError, match="line"):
        landscape.plane([np.zeros(3), np.ones(3), 2 * np.ones(3)])


def test_matching_removes_the_barrier_between_images(rng, trained, transformed):
    result = trained()
    image = transformed(result.student, rng, -1.0)
    while landscape.same_point(result, image).signs.min() == 1:
        image = transformed(image, rng, -1.0)
    matched = landscape.connectivity(result.problem, result, image)
    direct = landscape.connectivity(result.problem, result, image, matched=False)
    assert matched.barrier <= 1e-14 and matched.distance <= 1e-13
    assert direct.barrier > 0.1 and direct.losses[0] == pytest.approx(result.loss, abs=1e-14)


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_matching_lowers_barriers_between_minima(activation, trained):
    """Not each (nearest is not lowest), but most of them, with the same ends on the line."""
    runs = [trained(activation, 3, 4, 5, seed) for seed in range(8)]
    lower = 0
    for a, b in itertools.combinations(runs, 2):
        direct = landscape.connectivity(a.problem, a, b, matched=False)
        matched = landscape.connectivity(a.problem, a, b)
        lower += matched.barrier <= direct.barrier + 1e-12
        assert activation == "relu" or matched.distance <= direct.distance + 1e-12
        assert matched.losses[[0, -1]] == pytest.approx([a.loss, b.loss], abs=1e-13)
    assert 0.75 * 28 <= lower


def test_mirrored_relus_are_used_on_the_way_only_if_nothing_changes(rng):
    """Three relus whose Σ a_i w_i is zero may be mirrored, two of them not, even if nearer."""
    W = np.array([[1.0, 0.2], [0.3, -1.0], [-1.3, 0.8]])
    teacher = gf.MLP([W, np.ones((1, 3))], None, "relu")
    problem = gf.Problem(teacher, teacher)
    mirrored = gf.MLP([-W[[2, 0, 1]], np.ones((1, 3))], None, "relu")
    assert landscape.connectivity(problem, teacher, mirrored, matched=False).barrier > 0.05
    path = landscape.connectivity(problem, teacher, mirrored)
    assert path.barrier <= 1e-14 and path.distance <= 1e-14
    two = gf.MLP([W * [[-1], [-1], [1]], np.ones((1, 3))], None, "relu")
    path = landscape.connectivity(problem, teacher, two)
    assert path.losses[-1] == pytest.approx(problem.loss(two.flat())) and path.losses[-1] > 0.1


def test_scalings_are_left_alone_where_output_weights_are_frozen(rng):
    teacher = gf.teachers.orthonormal(3, 3, "relu")
    problem = gf.Problem(teacher, teacher)
    other = gf.MLP([2.0 * np.eye(3)[[2, 0, 1]], np.ones((1, 3))], None, "relu")
    path = landscape.connectivity(problem, teacher, other, scaled=False)
    # (1 + s) I on the whole line, with a = 1: L = s² E f*².
    norm = problem.loss(1e-300 * np.ones(12))
    np.testing.assert_allclose(path.losses, path.fractions**2 * norm, atol=1e-15)
    assert path.distance == pytest.approx(3**0.5)
    assert landscape.connectivity(problem, teacher, other).losses[25] != path.losses[25]


def test_the_barrier_does_not_depend_on_the_grid(trained):
    a, b = trained("erf", 2, 4, 5, 0), trained("erf", 2, 4, 5, 3)
    coarse, fine = (landscape.connectivity(a.problem, a, b, matched=False, count=c) for c in (7, 2001))
    assert fine.barrier > 0.01 and coarse.barrier == pytest.approx(fine.barrier, rel=1e-6)


def test_networks_of_any_depth_are_joined_as_they_are(rng):
    nets = [gf.MLP.random((3, 3, 2, 1), "tanh", True, seed=s) for s in (0, 1)]
    problem = gf.Problem(nets[0], nets[0], rng.standard_normal((20, 3)))
    path = landscape.connectivity(problem, *nets, matched=False, count=3)
    middle = 0.5 * (nets[0].flat() + nets[1].flat())
    assert path.losses[0] < 1e-30 and path.losses[1] == problem.loss(middle)


def test_a_minimised_slice_leaves_frozen_parameters_alone():
    """With the output weights frozen, and two of four first weights on the plane, two numbers are left."""
    teacher = gf.teachers.orthonormal(2, 2, "erf")
    student = gf.MLP([0.5 * np.eye(2), np.ones((1, 2))], None, "erf")
    problem, grid = gf.Problem(teacher, student), np.array([-0.3, 0.2])
    rates = np.array([1.0, 1, 1, 1, 0, 0])
    found = landscape.slice_plane(
        problem, problem.theta0, np.eye(2, 6), grid, grid, minimised=True, rates=rates
    )
    assert found.grad_norms.max() <= 1e-12
    for i, j in np.ndindex(2, 2):
        base = problem.theta0 + np.array([grid[i], grid[j], 0, 0, 0, 0])
        least = scipy.optimize.minimize(
            lambda z, base=base: problem.loss(base + np.array([0, 0, *z, 0, 0])), [0.0, 0.0], tol=1e-14
        )
        assert found.losses[i, j] == pytest.approx(least.fun, abs=1e-12)


NET = gf.MLP.random((2, 2, 1), "erf", False, seed=0)
DEEP = gf.MLP.random((2, 2, 2, 1), "erf", False, seed=0)
PROBLEM = gf.Problem(NET, NET)


def slice_of(directions, **settings):
    return landscape.slice_plane(PROBLEM, np.zeros(6), directions, [0.0], [0.0], **settings)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("problem", lambda: landscape.connectivity(None, NET, NET)),
        ("problem", lambda: landscape.slice_plane(None, [0.0], [[0.0]], [0.0], [0.0])),
        ("a", lambda: landscape.connectivity(PROBLEM, 3, NET)),
        ("b", lambda: landscape.connectivity(PROBLEM, NET, None, matched=False)),
        ("b", lambda: landscape.connectivity(PROBLEM, NET, DEEP)),
        ("a", lambda: landscape.connectivity(PROBLEM, gf.MLP.random((3, 2, 1), seed=0), NET)),
        ("count", lambda: landscape.connectivity(PROBLEM, NET, NET, count=1)),
        ("points", lambda: landscape.plane([np.zeros(2)])),
        ("points", lambda: landscape.plane(3)),
        (r"points\[1\]", lambda: landscape.plane([np.zeros(2), np.ones(3), np.ones(2)])),
        ("directions", lambda: slice_of(np.eye(2, 5))),
        ("directions", lambda: slice_of(np.ones((2, 6)))),
        ("directions", lambda: slice_of(np.zeros((2, 6)))),
        ("origin", lambda: landscape.slice_plane(PROBLEM, np.zeros(5), np.eye(2, 6), [0.0], [0.0])),
        ("rates", lambda: slice_of(np.eye(2, 6), rates=np.ones(5))),
        ("rates", lambda: slice_of(np.eye(2, 6), minimised=True, rates=[1, 1, 0, 0, 0, 0])),
        ("max_iterations", lambda: slice_of(np.eye(2, 6), max_iterations=0)),
        ("x", lambda: landscape.slice_plane(PROBLEM, np.zeros(6), np.eye(2, 6), [], [0.0])),
    ],
)
def test_bad_arguments(argument, call):
    with pytest.raises(gf.ArgumentError, match=f"^{argument}: "):
        call()
