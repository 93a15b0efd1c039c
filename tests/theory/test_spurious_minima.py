"""Spurious minima: closed forms against dense Hessians, and each check fails when its claim is broken."""

from __future__ import annotations

import numpy as np
import pytest

import gradflow as gf
from gradflow.landscape import Ansatz, critical_point
from gradflow.theory import spurious_minima, symmetric_family


@pytest.mark.parametrize("width, dim", [(3, 3), (4, 4), (5, 8), (9, 9)])
def test_spectrum_at_the_global_minimum(width, dim):
    values = spurious_minima.global_spectrum(width, dim)
    assert sum(count for _, count in values) == width * dim
    assert spurious_minima.global_hessian(width, dim).holds


def test_the_block_formula_of_the_digest_at_a_generic_point(rng):
    """H_ii and H_ij of Safran & Shamir, written out here, against the kernel's Hessian."""
    k = 4
    W = rng.standard_normal((k, k))
    problem = spurious_minima.problem(k, W)
    H = problem.hessian(problem.theta0)[: k * k, : k * k] / 2

    def h1(w, v):
        unit = w / np.linalg.norm(w)
        cosine = unit @ v / np.linalg.norm(v)
        sine = np.sqrt(1 - cosine**2)
        n = (v / np.linalg.norm(v) - cosine * unit) / sine
        factor = sine * np.linalg.norm(v) / (2 * np.pi * np.linalg.norm(w))
        return factor * (np.eye(k) - np.outer(unit, unit) + np.outer(n, n))

    for i in range(k):
        block = 0.5 * np.eye(k) + sum(h1(W[i], W[j]) for j in range(k) if j != i)
        block -= sum(h1(W[i], v) for v in np.eye(k))
        np.testing.assert_allclose(H[i * k : i * k + k, i * k : i * k + k], block, atol=1e-13)


def test_checks_fail_when_broken():
    perturbed = np.eye(6) + 1e-6 * np.arange(36).reshape(6, 6)
    assert not spurious_minima.global_hessian(6, 6, perturbed).holds
    assert not spurious_minima.family([10], 10, shift=1e-9).holds
    assert not spurious_minima.frozen_weights(6, 0, rates=np.ones(42)).holds
    # At k = 7 spurious minima are still rare: the claim for k = 12 does not hold there.
    assert not spurious_minima.rates(40, hard=7).holds


def test_family_blocks_are_the_full_hessian():
    point = symmetric_family.solve(9, spurious_minima.FAMILY_AT_8)
    problem = spurious_minima.problem(9, point.weights())
    full = np.linalg.eigvalsh(problem.hessian(problem.theta0)[:81, :81])
    blocks = np.sort(np.repeat(point.eigenvalues, point.multiplicities))
    np.testing.assert_allclose(blocks, full, atol=2e-14)
    assert abs(point.loss - problem.loss(problem.theta0)) < 1e-14
    assert point.index == 0


def test_family_index_counts_negative_eigenvalues_with_multiplicity():
    """Away from the minimum: the blocks at any symmetric point are those of the full Hessian."""
    entries = np.array([0.2, 0.1, -0.3, 0.4, -0.9])
    orbits = symmetric_family._Orbits(8, entries)
    values, counts = orbits.spectrum()
    problem = spurious_minima.problem(8, symmetric_family.matrix(8, entries))
    full = np.linalg.eigvalsh(problem.hessian(problem.theta0)[:64, :64])
    np.testing.assert_allclose(np.sort(np.repeat(values, counts)), full, atol=5e-14)
    gradient = problem.gradient(problem.theta0)[:64].reshape(8, 8)
    expected = [gradient[0, 0], gradient[0, 1], gradient[0, 7], gradient[7, 0], gradient[7, 7]]
    np.testing.assert_allclose(orbits.gradient(), expected, atol=1e-14)


@pytest.mark.parametrize("width", [8, 40])
def test_family_is_the_one_of_the_general_ansatz(width):
    """Sums over orbits here, blocks of refined ansätze there: two derivations of the same numbers."""
    family = symmetric_family.follow([8, width], spurious_minima.FAMILY_AT_8)[-1]
    ansatz = Ansatz(teachers=(width - 1, 1), groups=(0, 1), activation="relu", train_outputs=False)
    a, b, c, d, e = family.entries
    point = critical_point(ansatz, [a, b, c, d, e])
    np.testing.assert_allclose(point.x, family.entries, atol=1e-12)
    assert abs(point.loss - family.loss) < 1e-12 and point.residual < 1e-25
    found = point.spectrum.eigenvalues()
    expected = np.sort(np.repeat(family.eigenvalues, family.multiplicities))
    np.testing.assert_allclose(np.sort(found), expected, atol=1e-11)


def test_family_to_ten_thousand():
    points = symmetric_family.follow([8, 10_000], spurious_minima.FAMILY_AT_8)
    assert points[-1].grad_norm < 5e-12
    assert points[-1].index == 0
    assert points[-1].multiplicities.sum() == 10_000**2
    # At large k the largest eigenvalues are those of the global minimum.
    largest = spurious_minima.global_spectrum(10_000)[-1][0]
    assert abs(points[-1].eigenvalues[-1] / largest - 1) < 1e-3


def test_classes_are_up_to_permutations(rng):
    point = symmetric_family.solve(8, spurious_minima.FAMILY_AT_8)
    W = point.weights()
    outcomes = []
    for seed in range(3):
        rows, columns = rng.permutation(8), rng.permutation(8)
        outcomes.append(spurious_minima.Outcome(seed, W[rows][:, columns], point.loss, 1e-16, 0.04))
    outcomes.append(spurious_minima.Outcome(3, np.eye(8), 0.0, 1e-16, 0.18))
    found = spurious_minima.classes(outcomes)
    assert [c.hits for c in found] == [1, 3]
    assert found[1].row_classes == (7, 1)
    assert [c.example.spurious for c in found] == [False, True]


def test_bad_arguments():
    with pytest.raises(gf.ArgumentError, match="width"):
        symmetric_family.solve(7, spurious_minima.FAMILY_AT_8)
    with pytest.raises(gf.ArgumentError, match="entries"):
        symmetric_family.solve(8, [1.0, 2.0])
    with pytest.raises(gf.ArgumentError, match="width"):
        spurious_minima.global_spectrum(2)
