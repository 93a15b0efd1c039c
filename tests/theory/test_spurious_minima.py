"""Spurious minima: closed forms against dense Hessians, and each check fails when its claim is broken."""

from __future__ import annotations

import numpy as np
import pytest

import gradflow as gf
from gradflow.landscape import blocks, critical_point, follow
from gradflow.theory.spurious_minima import rates as spurious_minima
from gradflow.theory.spurious_minima import spectra


@pytest.mark.parametrize("width, dim", [(3, 3), (4, 4), (5, 8), (9, 9)])
def test_spectrum_at_the_global_minimum(width, dim):
    values = spectra.global_spectrum(width, dim)
    assert sum(count for _, count in values) == width * dim
    assert spectra.global_hessian(width, dim).holds


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
    assert not spectra.global_hessian(6, 6, perturbed).holds
    assert not spectra.family([10], 10, shift=1e-9).holds
    assert not spurious_minima.frozen_weights(6, 0, rates=np.ones(42)).holds
    # At k = 7 spurious minima are still rare: the claim for k = 12 does not hold there.
    assert not spurious_minima.rates(40, hard=7).holds


def test_family_blocks_are_the_full_hessian():
    point = critical_point(spectra.family_ansatz(9), spectra.FAMILY_AT_8)
    problem = spurious_minima.problem(9, point.ansatz.student(point.x).weights[0])
    full = np.linalg.eigvalsh(problem.hessian(problem.theta0)[:81, :81])
    np.testing.assert_allclose(point.spectrum.eigenvalues(), full, atol=2e-14)
    assert abs(point.loss - problem.loss(problem.theta0)) < 1e-14
    assert point.spectrum.index == 0 and point.residual < 1e-30


def test_family_index_counts_negative_eigenvalues_with_multiplicity():
    """Away from the minimum: the blocks at any symmetric point are those of the full Hessian."""
    ansatz, entries = spectra.family_ansatz(8), np.array([0.2, 0.1, -0.3, 0.4, -0.9])
    found = blocks(ansatz, entries)
    problem = spurious_minima.problem(8, ansatz.student(entries).weights[0])
    full = np.linalg.eigvalsh(problem.hessian(problem.theta0)[:64, :64])
    np.testing.assert_allclose(found.eigenvalues(), full, atol=5e-14)
    assert found.index == (full < 0).sum() > 0


def test_family_to_ten_thousand():
    first, last = follow(spectra.family_ansatz, [8, 10_000], spectra.FAMILY_AT_8)
    assert first.ansatz.teachers == (7, 1) and last.residual < 1e-28
    assert last.spectrum.index == 0 and last.spectrum.size == 10_000**2
    # Entries and eigenvalues from a separate derivation: sums over orbits of rows and columns, in Float64.
    entries = [1.00000002514456, -1.283445839357e-08, 1.99954808998e-04, 1.28295168876e-04, -0.99946634629625]
    np.testing.assert_allclose(last.x, entries, rtol=2e-11)
    values = {
        "trivial": [0.181734852613, 0.4921596095255, 3182.4054860460, 5000.4997561357, 5001.6933319300],
        "standard(0)": [0.1796096970647, 0.1816900965311, 0.499963198382, 0.816301963295, 5000.4998925423],
        "symmetric(0)": [0.8182462276354],
        "antisymmetric(0)": [0.1816264643808],
    }
    for block in last.spectrum.blocks:
        np.testing.assert_allclose(block.eigenvalues, values[block.symmetry], rtol=2e-14, atol=5e-12)
    counts = {block.symmetry: block.multiplicity for block in last.spectrum.blocks}
    assert counts == dict(zip(values, (1, 9998, 49975002, 49975003)))
    # At large k the largest eigenvalues are those of the global minimum.
    largest = spectra.global_spectrum(10_000)[-1][0]
    assert abs(last.spectrum.largest / largest - 1) < 1e-3


def test_classes_are_up_to_permutations(rng):
    point = critical_point(spectra.family_ansatz(8), spectra.FAMILY_AT_8)
    W = point.ansatz.student(point.x).weights[0]
    outcomes = []
    for seed in range(3):
        rows, columns = rng.permutation(8), rng.permutation(8)
        outcomes.append(spurious_minima.Outcome(seed, W[rows][:, columns], point.loss, 1e-16, 0.04))
    outcomes.append(spurious_minima.Outcome(3, np.eye(8), 0.0, 1e-16, 0.18))
    found = spurious_minima.classes(outcomes)
    assert [c.hits for c in found] == [1, 3]
    assert found[1].row_classes == (7, 1)
    assert [c.example.spurious for c in found] == [False, True]


def test_classes_of_equal_loss_and_equal_entries_can_differ(rng):
    """Sorted entries do not make a point: the same numbers in other places are another class."""
    W = rng.standard_normal((5, 5))
    other = W.ravel()[rng.permutation(25)].reshape(5, 5)
    found = [spurious_minima.Outcome(i, w, 0.04, 1e-16, 0.1) for i, w in enumerate((W, other, W.copy()))]
    assert sorted(c.hits for c in spurious_minima.classes(found)) == [1, 2]


def test_bad_arguments():
    with pytest.raises(gf.ArgumentError, match="width"):
        spectra.global_spectrum(2)
