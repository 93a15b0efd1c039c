"""Copy/average: the checks hold, and each fails when its claim is broken on purpose."""

import math

import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow import theory
from gradflow.errors import ArgumentError
from gradflow.landscape import blocks
from gradflow.theory import copy_average as ca
from gradflow.theory import copy_average_phase as phase
from gradflow.theory import copy_average_points as points
from gradflow.theory import copy_average_transition as transition
from gradflow.theory import copy_average_variations as variations


def silent(words):
    pass


def one(found):
    return [found] if isinstance(found, theory.Check) else list(found)


@pytest.mark.parametrize(
    "name",
    ["anisotropic", "best_partition", "concave", "critical", "index", "norms", "one_neuron", "perturbed"],
)
def test_quick_checks_hold(name):
    found = list(theory.run(f"copy_average.{name}", "quick"))
    assert found and all(check.holds for check in found), [check.text() for check in found]


def wrong_optimum(teachers, activation="erf"):
    right = ca.one_neuron(teachers, activation)
    return ca.OneNeuron(right.output * (1 + 1e-6), right.norm, right.loss)


def wrong_norm(teachers, r):
    w, a = variations.equal_norms(teachers, r)
    return w * (1 + 1e-6), a


def leaning(sizes, vectors, activation, optimum):
    """A copy-average point whose weight vectors are no longer orthogonal."""
    right = ca.copy_average(sizes, vectors, activation, optimum)
    W, a = right.weights
    return gf.MLP([W + 1e-6 * W.sum(axis=0), a], None, activation)


BROKEN = {
    # a constant that is off by one in a million
    "one_neuron.erf": lambda: points.check_one_neuron("quick", silent, wrong_optimum)[0],
    "one_neuron.relu": lambda: points.check_one_neuron("quick", silent, wrong_optimum)[1],
    "one_neuron.bounds": lambda: points.check_one_neuron("quick", silent, norm_bound=0.9)[2],
    "critical.gradient": lambda: points.check_critical("quick", silent, optimum=wrong_optimum)[0],
    "critical.orthogonal": lambda: points.check_critical("quick", silent, build=leaning)[2],
    # relu neurons interact although they are orthogonal
    "relu gradient": lambda: points.check_critical("quick", silent, "relu")[0],
    "relu loss": lambda: points.check_critical("quick", silent, "relu")[1],
    # a convex loss, and that of relu
    "concave": lambda: points.check_concave("quick", silent, lambda l: l * l / 1000),
    "best partition": lambda: points.check_best_partition("quick", silent, "relu"),
    # points that are moved
    "perturbed": lambda: transition.check_perturbed("quick", silent, shift=1e-6),
    # claims about other points
    "index": lambda: transition.check_index("quick", silent, lambda sizes: max(sizes) > 1),
    "transition": lambda: transition.check_transition(
        "quick", silent, lambda point: transition.loss_gap(point) + 1e-3, (12,)
    ),
    "norms": lambda: variations.check_norms("quick", silent, wrong_norm)[0],
    "norms.mixed": lambda: variations.check_norms("quick", silent, spreads=(0.0, 1e-4))[2],
    "anisotropic": lambda: variations.check_anisotropic("quick", silent, aligned=False),
    "different norms": lambda: variations.check_ends("quick", silent, [1.0] * 6, (5,)),
    "phase": lambda: phase.check_phase("quick", silent, lambda n, k: False, widths=(4,)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_claim_fails(name):
    assert not BROKEN[name]().holds


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


def test_transitions_at_small_k_have_both_stable_points_between():
    stable = transition.crossing(12, transition.perturbed_margin)
    cross = transition.crossing(12, transition.loss_gap)
    bucket = transition.critical_bucket(12)
    assert 6 < stable < 7 and 9 < cross < 10 and 2 < bucket < 3
    assert not transition.perturbed_is_stable(6, 12) and transition.perturbed_is_stable(7, 12)
    assert transition.best_is_stable(10, 12) and not transition.best_is_stable(11, 12)
    assert math.isnan(transition.critical_bucket(6))


def test_phase_cells_and_boundaries():
    found = list(phase.ends(2, 4, range(3), threads=2))
    assert [e.seed for e in found] == [0, 1, 2] and phase.shares(found) == {"C-A": 1.0}
    assert all(e.grad_norm <= 1e-14 and e.smallest > 0 for e in found)
    assert found == list(phase.ends(2, 4, range(3)))
    diagram = {(1, 4): {"C-A": 1.0}, (2, 4): {"C-A": 0.5, "P-n-C": 0.5}, (3, 4): {"P-n-C": 1.0}}
    assert phase.boundaries(diagram, 4) == (0.25, 0.75)
    with pytest.raises(ArgumentError, match="n"):
        list(phase.ends(5, 4, range(1)))
