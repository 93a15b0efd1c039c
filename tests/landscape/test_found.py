"""Spectra, neuron labels, symmetry matching, critical-point search, slices and paths."""

import itertools
import math

import numpy as np
import pytest

import gradflow as gf
from gradflow import landscape
from gradflow.landscape.table import Table, table


def trained(activation="erf", width=2, teachers=4, dim=5, seed=0):
    teacher = gf.teachers.orthonormal(teachers, dim, activation)
    student = gf.MLP.random((dim, width, 1), activation, False, seed=seed)
    return gf.train(teacher, student, solver=None, progress=False)


def at(student, teacher):
    """A `Result` at a given student: one refinement step's worth of work, the point as it is."""
    refiner = gf.refiners.TrustRegionNewton(target="critical point", gtol=1e-12)
    return gf.train(teacher, student, solver=None, refiner=refiner, progress=False)


def transformed(student, rng, sign, scale=False):
    W, a = student.weights
    order = rng.permutation(W.shape[0])
    signs = np.where(rng.random(W.shape[0]) < 0.5, sign, 1.0)
    c = rng.uniform(0.5, 2.0, W.shape[0]) if scale else np.ones(W.shape[0])
    return gf.MLP(
        [(signs * c)[:, None] * W[order], (signs / c)[None, :] * a[:, order]], None, student.activations[0]
    )


@pytest.mark.parametrize(("activation", "sign", "scale"), [("erf", -1.0, False), ("relu", 1.0, True)])
def test_same_point_divides_symmetries_out(activation, sign, scale, rng):
    student = gf.MLP.random((5, 6, 1), activation, False, seed=1)
    other = transformed(student, rng, sign, scale)
    match = landscape.same_point(student, other)
    assert match.same and match.distance <= 1e-14
    W, a = (w.copy() for w in other.weights)
    W[2, 1] += 1e-3
    moved = landscape.same_point(student, gf.MLP([W, a], None, activation))
    assert not moved.same and 1e-4 < moved.distance < 2e-3
    assert landscape.same_point(student, gf.MLP([W, a], None, activation), tolerance=1.0).same
    with pytest.raises(gf.ArgumentError, match="b"):
        landscape.same_point(student, gf.MLP.random((5, 5, 1), activation, False, seed=1))


def test_isotropy_order_counts_permutations(rng):
    def brute(matrix):
        rows = sorted(map(tuple, matrix.tolist()))
        k = matrix.shape[1]
        return sum(
            sorted(map(tuple, matrix[:, p].tolist())) == rows for p in itertools.permutations(range(k))
        )

    for _ in range(20):
        matrix = rng.integers(0, 2, (3, 5)).astype(float)
        assert landscape.isotropy_order(matrix) == brute(matrix)
    assert landscape.isotropy_order(np.eye(9)) == math.factorial(9)
    assert landscape.isotropy_order(np.eye(3), np.array([[1.0], [1.0], [2.0]])) == 2


def test_spectrum_groups_eigenvalues_and_tells_symmetry_apart():
    result = trained("erf", 2, 4, 40)
    found = landscape.spectrum(result)
    full = np.linalg.eigvalsh(result.hessian())
    assert found.reduced_dim == 7
    assert found.eigenvalues.size == full.size
    assert np.abs(found.eigenvalues - full).max() <= 2e-15 * full.max()
    assert sum(group.multiplicity for group in found.groups) == full.size
    assert max(group.multiplicity for group in found.groups) >= 34
    assert found.index == 0 and found.symmetry_zeros == found.other_zeros == 0
    assert found.condition == pytest.approx(full[-1] / full[0], rel=1e-8)
    assert "40" not in str(found).splitlines()[0] and "index 0" in str(found)

    scaled = landscape.spectrum(trained("relu", 1, 4, 5))
    assert scaled.symmetry_zeros == 1 and scaled.other_zeros == 0 and scaled.symmetry_error <= 1e-14


def test_spectrum_at_saddles_and_degenerate_points():
    # A dead neuron's output weight and the sum of two equal neurons' are free.
    teacher = gf.teachers.orthonormal(2, 4)
    W = np.array([[1.0, 0, 0, 0], [1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 0]])
    student = gf.MLP([W, [[0.25, 0.75, 1.0, 0.3]]], None, "erf")
    found = landscape.spectrum(at(student, teacher))
    # One output weight of the dead neuron and one shift between the two equal ones.
    assert found.symmetry_zeros == 2 and found.symmetry_error <= 1e-14
    # With a = 0 and w orthogonal to the teacher the point is critical, and w can be rotated.
    for dim in (4, 30):
        W = np.eye(dim)[[2]] * 0.7
        flat = gf.MLP([W, [[0.0]]], None, "erf")
        found = landscape.spectrum(at(flat, gf.teachers.orthonormal(1, dim)))
        assert found.symmetry_zeros == dim - 2 and found.symmetry_error <= 1e-14
        assert found.eigenvalues.size == dim + 1 and found.index == 1


def test_neurons_of_a_copy_average_point():
    rows = [[0, 0, 1, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 1, 0.4], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    W = np.array(rows, dtype=float)
    W[1] /= math.sqrt(2 * 3)
    student = gf.MLP([W, [[1.0, 2.0, 1.3, 0.5, 0.7]]], None, "erf")
    teacher = gf.teachers.orthonormal(4, 5)
    rows = landscape.neurons((student, teacher))
    kinds = [row["kind"] for row in rows] if isinstance(rows, list) else list(rows["kind"])
    assert kinds == ["copy", "average", "perturbed copy", "duplicate", "dead"]
    teachers = [row["teachers"] for row in rows] if isinstance(rows, list) else list(rows["teachers"])
    assert teachers[0] == (2,) and teachers[1] == (0, 1) and teachers[2] == (3,)
    # Moved by more than the tolerance, exact labels go; with a smaller `loose`, perturbed ones too.
    W[0, 0] += 1e-3
    moved = landscape.neurons((gf.MLP([W, student.weights[1]], None, "erf"), teacher), loose=1e-4)
    kinds = [row["kind"] for row in moved] if isinstance(moved, list) else list(moved["kind"])
    assert kinds[0] == "other" and kinds[2] == "other"
    with pytest.raises(gf.ArgumentError, match="tolerance"):
        landscape.neurons((student, teacher), tolerance=-1.0)


def test_channel_pairs_are_seen(rng):
    w = rng.standard_normal(5)
    W = np.stack([w, w + 1e-3 * rng.standard_normal(5)])
    student = gf.MLP([W, [[200.0, -199.5]]], None, "softplus")
    rows = landscape.neurons((student, None))
    kinds = [row["kind"] for row in rows] if isinstance(rows, list) else list(rows["kind"])
    assert kinds == ["channel pair", "channel pair"]


def test_tables_print_without_pandas(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    rows = table([{"a": 1.5, "b": (1, 2), "c": None}])
    assert isinstance(rows, Table) and "1+2" in str(rows) and "a" in str(rows)
    assert str(Table()) == "(no rows)"


def test_critical_points_of_a_small_problem():
    teacher = gf.teachers.orthonormal(3, 3)
    problem = gf.Problem(teacher, gf.MLP.random((3, 2, 1), "erf", False, seed=0))
    found = landscape.critical_points(problem, 12, seed=3)
    assert found.ended <= found.runs and found[0].index == 0
    # The best copy-average point: its loss in closed form, and the two teachers it averages exchanged.
    best = 2 / 3 - (8 / math.pi) * math.asin(0.25)
    assert found[0].loss == pytest.approx(best, abs=1e-14) and found[0].isotropy == 2
    assert [p.loss for p in found] == sorted(p.loss for p in found)
    for point in found:
        theta = point.student.flat()
        assert np.abs(problem.gradient(theta)).max() <= 1e-12
        assert (np.linalg.eigvalsh(problem.hessian(theta)) < -1e-9).sum() == point.index
    assert any(point.index for point in found)
    again = landscape.critical_points(problem, 12, seed=3)
    assert [p.loss for p in again] == [p.loss for p in found]
    single = landscape.critical_points(problem, 12, seed=3, methods=["minimum"], images=False)
    assert len(single) >= 2 and sum(sum(p.hits.values()) for p in single) == single.ended
    assert len(found.table()) == len(found)
    with pytest.raises(gf.ArgumentError, match="methods"):
        landscape.critical_points(problem, 1, seed=0, methods=["guessing"])


def test_planes_and_their_complements():
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


def test_matching_removes_the_barrier_between_images(rng):
    result = trained()
    image = transformed(result.student, rng, -1.0)
    while landscape.same_point(result, image).signs.min() == 1:
        image = transformed(image, rng, -1.0)
    matched = landscape.connectivity(result.problem, result, image)
    direct = landscape.connectivity(result.problem, result, image, matched=False)
    assert matched.barrier <= 1e-14 and matched.distance <= 1e-13
    assert direct.barrier > 0.1 and direct.losses[0] == pytest.approx(result.loss, abs=1e-14)
