"""Copy/average: the checks hold, their formulas against many digits, transitions and phases."""

import math

import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow import theory
from gradflow.landscape import blocks
from gradflow.support.errors import ArgumentError
from gradflow.theory.copy_average import configurations as ca
from gradflow.theory.copy_average import index as indices
from gradflow.theory.copy_average import phase, points, transition


@pytest.mark.parametrize(
    "name",
    [
        "anisotropic",
        "best_partition",
        "branch",
        "concave",
        "critical",
        "full_hessian",
        "index",
        "norms",
        "one_neuron",
        "orthogonal",
        "perturbed",
        "relu_convex",
        "relu_critical",
    ],
)
def test_quick_checks_hold(name):
    found = list(theory.run(f"copy_average.{name}", "quick"))
    assert found and all(check.holds for check in found), [check.text() for check in found]


@pytest.mark.parametrize("l", [1, 2, 7, 40])
def test_one_neuron_against_many_digits(l):
    for activation in ("erf", "relu"):
        closed = ca.one_neuron(l, activation)
        precise = points.minimise_along_the_sum(l, activation)
        assert closed.loss == pytest.approx(precise.loss, abs=2e-15 * l * l)
        assert closed.output * closed.norm == pytest.approx(precise.output * precise.norm, rel=1e-14)
    with mpmath.workdps(30):
        exact = mpmath.mpf(l) / 3 - 2 * mpmath.mpf(l) ** 2 / mpmath.pi * mpmath.asin(mpmath.mpf(1) / (2 * l))
    assert ca.one_neuron(l).loss == pytest.approx(float(exact), abs=1e-15 * l)
    with pytest.raises(ArgumentError, match="activation"):
        ca.one_neuron(l, "tanh")


def test_partitions_are_counted():
    counts = [sum(1 for n in range(1, k + 1) for _ in ca.partitions(k, n)) for k in range(1, 11)]
    assert counts == [1, 2, 3, 5, 7, 11, 15, 22, 30, 42]  # the partition numbers


def test_both_ways_to_write_the_best_point_agree():
    for n, k in ((2, 5), (4, 6)):
        a, x = ca.best_ansatz(n, k)
        b, y = ca.bucket_ansatz([1] * (n - 1) + [k - n + 1])
        assert np.abs(blocks(a, x).eigenvalues() - blocks(b, y).eigenvalues()).max() <= 1e-12
        point = ca.perturbed_average(n, k, "erf")
        assert np.abs(point.x - x).max() <= 1e-15 and point.residual <= 1e-30


@pytest.mark.parametrize("l", [1, 2, 3, 10, 1000, 10**7])
def test_influence_and_resistance_against_many_digits(l):
    with mpmath.workdps(50):
        z = mpmath.mpf(1) / (4 * mpmath.mpf(l) ** 2)
        push = 1 / ((1 - z) ** -0.5 - 1)
        assert float(indices.influence(l) / push - 1) == pytest.approx(0, abs=2e-14)
        bear = 1 / ((1 - z) ** 1.5 / (1 - 2 * z) - 1)
        assert bear < push  # so that of two averages the smaller one splits
        if l > 1:
            assert float(indices.resistance(l) / bear - 1) == pytest.approx(0, abs=2e-14)
    assert indices.influence(1) == pytest.approx(3 + 2 * math.sqrt(3), rel=1e-15)


def test_splitting_an_average_is_a_mode_of_the_full_hessian():
    sizes = (5, 3, 1)
    student = ca.bucket_student(sizes, np.eye(9, 10))
    hessian = gf.Problem(gf.teachers.orthonormal(9, 10), student).hessian(student.flat())
    mode = np.zeros((3, 10))
    mode[:, 5:7] = np.outer([1.0, 1.0, 1.0], [1.0, -1.0])  # teachers 5 and 6, of the second bucket
    rows = [np.append((mode * (np.arange(3) == m)[:, None]).ravel(), np.zeros(3)) for m in range(3)]
    block = np.array(rows) @ hessian @ np.array(rows).T / 2
    u = np.sqrt([l * (2 * l - 1) / 2 for l in sizes])
    delta = 4 * u**2 / [indices.influence(5), -1 - indices.resistance(3), indices.influence(1)]
    np.testing.assert_allclose(block, (np.diag(delta) + 4 * np.outer(u, u)) / math.pi, atol=1e-13)
    assert indices.index(sizes) == 2 == (np.linalg.eigvalsh(hessian) < -1e-10).sum()


def test_transitions_at_small_k_have_both_stable_points_between():
    stable, cross, best = (12 * value for value in transition.gammas(12).values())
    assert 6 < stable < 7 and 9 < cross < 10 < best < 11
    assert not transition.perturbed_is_stable(6, 12) and transition.perturbed_is_stable(7, 12)
    assert indices.best_is_stable(10, 12) and not indices.best_is_stable(11, 12)
    assert math.isnan(indices.critical_bucket(6)) and math.isnan(transition.gammas(4)["gamma_1"])


def test_transitions_are_where_the_functions_vanish():
    """A step of Newton's method that ends beside the branch shows as a limit at which nothing vanishes."""
    k = 1_000
    stable = transition.crossing(k, transition.perturbed_margin)
    cross = transition.crossing(k, transition.loss_gap)
    below, above, low, high = ca.follow([0.999 * stable, 1.001 * stable, cross - 0.1, cross + 0.1], k)
    assert transition.perturbed_margin(below) < 0 < transition.perturbed_margin(above)
    assert transition.loss_gap(low) > 0 > transition.loss_gap(high)
    assert stable / k == pytest.approx(0.22345409, abs=2e-7)
    assert k * (cross / k - transition.CROSSING_LIMIT) == pytest.approx(-1.43796, abs=1e-5)


def test_phase_cells_and_boundaries():
    found = list(phase.ends(2, 4, range(3), threads=2))
    assert [e.seed for e in found] == [0, 1, 2] and phase.shares(found) == {"C-A": 1.0}
    assert all(e.grad_norm <= 1e-14 and e.smallest > 0 for e in found)
    assert found == list(phase.ends(2, 4, range(3)))
    diagram = {(1, 4): {"C-A": 1.0}, (2, 4): {"C-A": 0.5, "P-n-C": 0.5}, (3, 4): {"P-n-C": 1.0}}
    assert phase.boundaries(diagram, 4) == (0.25, 0.75) and phase.half_way(diagram, 4) == 0.5
    assert math.isnan(phase.half_way({(1, 4): {"C-A": 1.0}}, 4))
    assert phase.unseen(50) == pytest.approx(0.0582, abs=1e-4)
    with pytest.raises(ArgumentError, match="n"):
        list(phase.ends(5, 4, range(1)))
