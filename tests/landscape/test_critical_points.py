"""The search for critical points."""

import math
import os
import signal
import threading

import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow import landscape
from gradflow.theory.copy_average import bucket_student, one_neuron, partitions
from gradflow.theory.copy_average.index import index as closed_index
from gradflow.theory.duplicates import split


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


def test_every_copy_average_point_of_two_neurons_is_found():
    """Four teachers in buckets of 3 + 1 (a minimum) and 2 + 2 (a saddle); losses add up."""
    teacher = gf.teachers.orthonormal(4, 4)
    problem = gf.Problem(teacher, gf.MLP.random((4, 2, 1), "erf", False, seed=0))
    found = landscape.critical_points(problem, 25, seed=1, methods=["gradient norm", "eigenvectors"])
    for sizes, index, order in (((3, 1), 0, 6), ((2, 2), 2, 8)):
        loss = sum(l / 3 - 2 * l * l / math.pi * math.asin(1 / (2 * l)) for l in sizes)
        (point,) = [p for p in found if abs(p.loss - loss) < 1e-12]
        assert (point.index, point.zero, point.isotropy) == (index, 0, order)
        kinds = landscape.kinds((point.student, teacher))
        assert sorted(kinds) == sorted("average" if l > 1 else "copy" for l in sizes)
    theta = [point.student.flat() for point in found]
    again = landscape.critical_points(problem, 25, seed=1, methods=["gradient norm", "eigenvectors"])
    assert all(np.array_equal(p.student.flat(), t) for p, t in zip(again, theta))
    assert [p.hits for p in again] == [p.hits for p in found]


def exact_inertia(W, a, k):
    """Negative and zero eigenvalues of ∇²L for erf students of k orthonormal teachers, in 50 digits.

    W, a are functions of an mpmath context: exact points. Differences of the closed-form gradient.
    """
    with mpmath.workdps(60):
        mp, h = mpmath.mp, mpmath.mpf(10) ** -20
        rows, outputs = W(mp), a(mp)
        n, d = len(rows), k
        teachers = [[mp.mpf(int(i == j)) for j in range(d)] for i in range(k)]

        def gradient(t):
            units = [(t[i * d : (i + 1) * d], t[n * d + i]) for i in range(n)] + [
                (v, mp.mpf(-1)) for v in teachers
            ]
            squares = [1 + mp.fdot(u, u) for u, _ in units]
            weights, slopes = [], []
            for i in range(n):
                u, own = units[i]
                row, slope = [mp.mpf(0)] * d, mp.mpf(0)
                for (v, b), square in zip(units, squares):
                    inner = mp.fdot(u, v)
                    root = mp.sqrt(squares[i] * square - inner**2)
                    slope += 4 / mp.pi * b * mp.atan2(inner, root)
                    factor = 4 * own * b / (mp.pi * root)
                    row = [r + factor * (y - inner / squares[i] * x) for r, x, y in zip(row, u, v)]
                weights += row
                slopes.append(slope)
            return weights + slopes

        point = [x for row in rows for x in row] + list(outputs)
        assert max(abs(g) for g in gradient(point)) < mp.mpf(10) ** -50
        columns = []
        for j in range(len(point)):
            ahead, behind = list(point), list(point)
            ahead[j] += h
            behind[j] -= h
            columns.append([(x - y) / (2 * h) for x, y in zip(gradient(ahead), gradient(behind))])
        hessian = mp.matrix(columns)
        values = mp.eigsy((hessian + hessian.T) / 2, eigvals_only=True)
        small = mp.mpf(10) ** -25
        return sum(v < -small for v in values), sum(abs(v) <= small for v in values)


def averaging(k, b=None, second=None, off=None):
    """Two students of k teachers: the average of all, (w, b), and another neuron that adds nothing.

    b         output weight of the other neuron; the first has k − b if they are equal, else k
    second    the other neuron's w as a multiple of the first one's
    off       instead, w along Σ_{j<m} v_j / norm with a = 0, where that is critical
    """

    def average(mp):
        return [1 / mp.sqrt(k * (2 * k - 1))] * k

    def rows(mp):
        w = average(mp)
        return [w, [mp.mpf(second) * x for x in w]]

    def outputs(mp):
        return [mp.mpf(k - b) if second in (1,) else mp.mpf(k), mp.mpf(b)]

    return rows, outputs


def strata(k):
    """Index and zeros at every kind of critical point whose function is the average of all k teachers."""
    kinds = {
        "split inside": averaging(k, 1, 1),
        "split outside": averaging(k, -1, 1),
        "the same neuron, silent": averaging(k, 0, 1),
        "along the average, silent": averaging(k, 0, 2),
        "zero weights": averaging(k, 1, 0),
        "zero weights, other sign": averaging(k, -1, 0),
        "nothing at all": averaging(k, 0, 0),
    }
    found = {exact_inertia(*kind, k) for kind in kinds.values()}
    # And w on the hypersurface E (f − f*) σ(w·x) = 0 with a = 0: its normal makes a saddle, the rest is flat.
    return found | {(1, k - 1)}


@pytest.mark.parametrize(
    ("k", "starts"), [(3, 10), (4, 10), pytest.param(3, 80, marks=pytest.mark.slow),
                      pytest.param(4, 80, marks=pytest.mark.slow)]
)  # fmt: skip
def test_indices_are_those_of_exact_points(k, starts):
    """Two students: copy-average points in closed form, and degenerate ones of one average or none."""
    problem = gf.Problem(gf.teachers.orthonormal(k, k), gf.MLP.random((k, 2, 1), "erf", False, seed=0))
    found = landscape.critical_points(problem, starts, seed=0)
    known = {k / 3: {(2, 2 * k - 2)}, one_neuron(k).loss: strata(k)}
    for sizes in partitions(k, 2):
        known.setdefault(sum(one_neuron(l).loss for l in sizes), set()).add((closed_index(sizes), 0))
    met = set()
    for point in found:
        near = [loss for loss in known if abs(loss - point.loss) <= 1e-11]
        if near and point.index is not None:
            assert (point.index, point.zero) in known[near[0]]
            met.add((near[0], point.index, point.zero))
        elif not near:
            assert point.index is not None and point.zero == 0
            assert np.abs(point.eigenvalues).min() >= 1e-6 * point.eigenvalues[-1]
    undetermined = sum(sum(p.hits.values()) for p in found if p.index is None)
    assert undetermined <= 0.02 * found.ended and len(met) >= 4
    assert "index not determined" in str(found) or not undetermined


@pytest.mark.parametrize("k", [3, 4])
def test_degenerate_points_from_near_by(k):
    """From starts beside every kind of exact point: the index stated is that of a point of this function."""
    teacher, allowed, undetermined = gf.teachers.orthonormal(k, k), strata(k), 0
    refiner = gf.refiners.TrustRegionNewton(target="critical point", max_iterations=300)
    v = np.ones(k) / (k * (2 * k - 1)) ** 0.5
    points = [(1, 1), (-1, 1), (0, 1), (0, 2), (1, 0), (-1, 0), (0, 0)]
    for seed, (b, multiple) in enumerate(points):
        rng = np.random.default_rng(seed)
        for distance in (1e-6, 1e-4, 1e-3, 1e-2):
            a = [k - b if multiple == 1 else k, b]
            exact = gf.MLP([[v, multiple * v], [a]], None, "erf")
            start = exact.with_flat(exact.flat() + distance * rng.standard_normal(exact.size))
            result = gf.train(teacher, start, solver=None, refiner=refiner, progress=False)
            spectrum = result.spectrum()
            if abs(result.loss - one_neuron(k).loss) > 1e-11:
                continue  # another point is near
            undetermined += spectrum.index is None
            if spectrum.index is not None:
                assert (spectrum.index, spectrum.zero) in allowed and result.converged
    assert undetermined <= 1


@pytest.mark.parametrize("sizes", [(2,), (4,), (2, 1), (2, 2), (3, 1), (2, 1, 1), (3, 2), (2, 2, 1), (4, 4)])
def test_the_index_of_copy_average_points_and_of_their_splits(sizes):
    """Closed form; each further neuron that shares the work of an average adds one for every difference."""
    k = sum(sizes)
    teacher = gf.teachers.orthonormal(k, k + 1)
    student = bucket_student(sizes, teacher.weights[0])
    refiner = gf.refiners.TrustRegionNewton(target="critical point", max_iterations=5)
    for splits in range(3):
        result = gf.train(teacher, student, solver=None, refiner=refiner, progress=False)
        spectrum = result.spectrum()
        assert spectrum.index == closed_index(sizes) + splits * (sizes[0] - 1)
        assert spectrum.zero >= splits and spectrum.exactly_singular >= splits
        student = split(student, 0, 0.4)


def test_a_point_that_is_not_critical_has_no_index():
    teacher = gf.teachers.orthonormal(3, 4)
    student = gf.MLP.random((4, 2, 1), "erf", False, seed=0)
    early = gf.train(teacher, student, refiner=None, solver=gf.solvers.BDF(t1=1.0), progress=False)
    assert early.spectrum().index is None and early.spectrum().lines is None
    assert "index not determined" in str(early.spectrum()) and "negative eigenvalue" not in str(early)
    assert gf.train(teacher, student, progress=False).spectrum().index == 0


def test_frozen_parameters_stay_and_are_left_out():
    teacher = gf.teachers.orthonormal(3, 3, "relu")
    student = gf.MLP([np.eye(3), np.ones((1, 3))], None, "relu")
    rates = np.concatenate([np.ones(9), np.zeros(3)])
    found = landscape.critical_points(gf.Problem(teacher, student), 3, seed=0, rates=rates)
    assert abs(found[0].loss) < 1e-14 and found[0].index == 0 and found[0].eigenvalues.size == 9
    assert all((point.student.weights[1] == 1.0).all() for point in found)
    assert found[0].isotropy == 6


def test_an_interrupt_ends_the_search_with_what_was_found():
    problem = gf.Problem(gf.teachers.orthonormal(4, 4), gf.MLP.random((4, 3, 1), "erf", False, seed=0))
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    found = landscape.critical_points(problem, 10**6, seed=0)
    timer.join()
    assert 0 < len(found) and found.runs < 10**6


NET = gf.MLP.random((2, 2, 1), "erf", False, seed=0)
PROBLEM = gf.Problem(NET, NET)
DEEP = gf.MLP.random((2, 2, 2, 1), "erf", False, seed=0)


@pytest.mark.parametrize(
    ("argument", "settings"),
    [
        ("starts", {"starts": 0}),
        ("methods", {"methods": "newton"}),
        ("methods", {"methods": ["guessing"]}),
        ("scale", {"scale": np.nan}),
        ("rates", {"rates": np.ones(3)}),
        ("rates", {"rates": np.zeros(6)}),
        ("max_iterations", {"max_iterations": 0}),
        ("seed", {"seed": -1}),
        ("problem", {"problem": gf.Problem(DEEP, DEEP, np.eye(2))}),
        ("problem", {"problem": gf.Problem.from_jax(lambda t: t @ t, np.ones(2))}),
    ],
)
def test_bad_arguments(argument, settings):
    given = {"problem": PROBLEM, "starts": 1, "seed": 0, **settings}
    with pytest.raises(gf.ArgumentError, match=f"^{argument}: "):
        landscape.critical_points(given.pop("problem"), given.pop("starts"), **given)


def test_newton_does_not_drift_along_the_scalings_of_relus():
    """Steps of bounded length would spend themselves on |w|/|a|: without `balanced` no start arrives."""
    teacher = gf.teachers.orthonormal(3, 3, "relu")
    problem = gf.Problem(teacher, gf.MLP.random((3, 2, 1), "relu", False, seed=0))
    found = landscape.critical_points(problem, 8, seed=0, methods=["newton"])
    assert found.ended >= 3
    for point in found:
        theta, norms = point.student.flat(), np.linalg.norm(point.student.weights[0], axis=1)
        assert np.abs(problem.gradient(theta)).max() <= 1e-12
        assert norms == pytest.approx(np.abs(point.student.weights[1][0]))
        values = np.linalg.eigvalsh(problem.hessian(theta))
        assert (values < -1e-9 * values[-1]).sum() == point.index
    assert str(found).startswith(f"{found.ended} of 8 runs")
