"""Spurious minima: closed forms against dense Hessians, which exist, and classes of ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

import gradflow as gf
from gradflow.landscape import blocks, follow, symmetric_point
from gradflow.theory.soft_committee import soft_committee
from gradflow.theory.spurious_minima import minima, spectra
from gradflow.theory.spurious_minima import rates as spurious_minima


@pytest.mark.parametrize("width, dim", [(3, 3), (4, 4), (5, 8), (9, 9)])
def test_spectrum_at_the_global_minimum(width, dim):
    values = spectra.global_spectrum(width, dim)
    assert sum(count for _, count in values) == width * dim
    assert spectra.global_hessian(width, dim).holds


def test_the_block_formula_of_the_digest_at_a_generic_point(rng):
    """H_ii and H_ij of Safran & Shamir, written out here, against the kernel's Hessian."""
    k = 4
    W = rng.standard_normal((k, k))
    problem = soft_committee("relu", W, np.eye(k))
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


def test_family_blocks_are_the_full_hessian():
    point = symmetric_point(spectra.family_ansatz(9), spectra.FAMILY_AT_8)
    problem = soft_committee("relu", point.ansatz.student(point.x).weights[0], np.eye(9))
    full = np.linalg.eigvalsh(problem.hessian(problem.theta0)[:81, :81])
    np.testing.assert_allclose(point.spectrum.eigenvalues(), full, atol=2e-14)
    assert abs(point.loss - problem.loss(problem.theta0)) < 1e-14
    assert point.spectrum.index == 0 and point.residual < 1e-30


def test_family_index_counts_negative_eigenvalues_with_multiplicity():
    """Away from the minimum: the blocks at any symmetric point are those of the full Hessian."""
    ansatz, entries = spectra.family_ansatz(8), np.array([0.2, 0.1, -0.3, 0.4, -0.9])
    found = blocks(ansatz, entries)
    problem = soft_committee("relu", ansatz.student(entries).weights[0], np.eye(8))
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
    point = symmetric_point(spectra.family_ansatz(8), spectra.FAMILY_AT_8)
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


def test_reflected_students_stand_together():
    """For m = k = 40 w_i = −e_i + (2/k) Σ e_j is a minimum, nearly; at k = 5 there is none."""
    point = minima.standing("together", 40, 40)
    np.testing.assert_allclose(point.x, [2 / 40 - 1, 2 / 40], atol=0.01)
    assert minima.is_minimum(point) and not minima.is_minimum(minima.standing("together", 5, 5))


def test_minima_of_eight():
    """The losses that an independent descent reached are among them (½L); so is the usual one."""
    found = minima.minima(8)
    assert [(m.kind, m.count) for m in found] == [
        ("apart", 1), ("apart", 2), ("together", 6), ("together", 7), ("together", 8)
    ]  # fmt: skip
    assert abs(found[3].loss / 2 - 0.061834622174271) < 1e-15
    assert abs(found[4].loss / 2 - 0.067731691360437) < 1e-15
    assert abs(found[0].loss - symmetric_point(spectra.family_ansatz(8), spectra.FAMILY_AT_8).loss) < 1e-15
    assert gf.landscape.isotropy_order(found[3].weights()) == math.factorial(7)
    losses = [found[0].loss + 1e-15, found[0].loss, found[3].loss, 0.05]
    assert minima.tally(losses, found) == [2, 0, 0, 1, 0]
    assert minima.unknown([0.05], found)[0] == pytest.approx(0.05 - found[0].loss)


def test_two_samples_of_one_rate():
    assert spurious_minima.same_rate(126, 1000, 126) == pytest.approx(1.0)
    # 12.6 % in 1,000 against 30 % in 60, by the hypergeometric sum.
    table = scipy.stats.hypergeom(1060, 144, 60)
    expected = sum(table.pmf(x) for x in range(61) if table.pmf(x) <= table.pmf(18) * (1 + 1e-7))
    assert spurious_minima.same_rate(18, 60, 126) == pytest.approx(expected, rel=1e-6)


def test_bad_arguments():
    with pytest.raises(gf.ArgumentError, match="width"):
        spectra.global_spectrum(2)
    with pytest.raises(gf.ArgumentError, match="kind"):
        minima.standing("alone", 8, 1)
    with pytest.raises(gf.ArgumentError, match="count"):
        minima.standing("apart", 8, 9)
