"""A batch: table, classes, best, file, and the folder from which it goes on."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

import gradflow as gf
from gradflow import ArgumentError, StorageError
from gradflow.many import starts

TEACHER = gf.teachers.orthonormal(3, 4)
SHAPE = gf.MLP.random((4, 2, 1), "erf", False, seed=0)


@pytest.fixture(scope="module")
def batch():
    return gf.train_many(TEACHER, SHAPE, starts=12, seed=3, progress=False)


def test_classes_are_points_up_to_symmetry(batch):
    found = batch.classes()
    assert sum(len(group.members) for group in found) == sum(result.converged for result in batch)
    for group in found:
        losses = [batch[i].loss for i in group.members]
        assert np.ptp(losses) < 1e-12
        exact = scipy.stats.binomtest(len(group.members), 12).proportion_ci(0.95, method="wilson")
        if all(result.converged for result in batch):
            assert group.interval == (exact.low, exact.high)
        # the same network with neurons permuted and mirrored is in the class
        W, A = group.example.student.weights
        turned = gf.MLP([-W[::-1], -A[:, ::-1]], None, "erf")
        assert gf.landscape.same_point(group.example, turned).same
    for a, b in itertools.combinations(found, 2):
        assert not gf.landscape.same_point(a.example, b.example).same


def test_the_best_has_the_lowest_loss(batch):
    assert batch.best.loss <= min(result.loss for result in batch) + 2 * batch.best.loss_bound
    assert isinstance(batch[2:5], gf.Batch) and len(batch[2:5]) == 3 and batch[2:5][0] is batch[2]
    with pytest.raises(gf.GradflowError, match="no start"):
        _ = gf.Batch([gf.Failure(0, ValueError("x"))]).best


def test_table_counts_labels_and_names_classes(batch):
    rows = batch.table()
    assert list(rows["start"]) == list(range(12)) and list(rows["seed"]) == [r.seed for r in batch]
    assert np.array_equal(np.array(rows["loss"]), [r.loss for r in batch])
    for i, group in enumerate(batch.classes()):
        assert all(rows["class"][m] == i for m in group.members)
    assert all(
        text and sum(int(part.split()[0]) for part in text.split(", ")) == 2 for text in rows["labels"]
    )
    assert len(set(rows["labels"])) == 1  # in one order, so that they can be grouped
    assert {"grad_norm", "converged", "flow_stop", "refinement_stop", "seconds", "failure"} <= set(rows)


def test_a_failure_is_a_row_and_survives_the_file(batch, tmp_path):
    mixed = gf.Batch([batch[0], gf.Failure(1, ArgumentError("student", "this", "that"))])
    mixed.save(tmp_path / "batch.h5")
    again = gf.load(tmp_path / "batch.h5")
    assert isinstance(again, gf.Batch) and len(again.failures) == 1
    assert np.array_equal(again[0].theta, batch[0].theta) and again[0].seed == batch[0].seed
    assert "this" in str(again[1]) and "this" in mixed.table()["failure"][1]
    with pytest.raises(StorageError):
        gf.Batch.load(tmp_path / "none.h5")


def test_a_batch_goes_on_from_its_folder(tmp_path, monkeypatch):
    options = {"starts": 4, "seed": 1, "progress": False, "checkpoint": tmp_path / "runs"}
    whole = gf.train_many(TEACHER, SHAPE, starts=4, seed=1, progress=False)
    calls = []
    genuine = starts.run_one

    def counted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("lost")
        return genuine(*arguments)

    monkeypatch.setattr(starts, "run_one", counted)
    first = gf.train_many(TEACHER, SHAPE, workers=1, **options)
    assert len(first.failures) == 1
    second = gf.train_many(TEACHER, SHAPE, workers=1, **options)
    assert len(calls) == 5  # the lost one alone ran again
    for a, b in zip(whole, second, strict=True):
        assert np.array_equal(a.theta, b.theta) and a.loss == b.loss and a.seed == b.seed
    with pytest.raises(StorageError, match="seed: 1 there, 2 now"):
        gf.train_many(TEACHER, SHAPE, **{**options, "seed": 2})
    with pytest.raises(StorageError, match="settings refiner"):
        gf.train_many(TEACHER, SHAPE, refiner=None, **options)


def test_a_batch_with_an_activation_of_ones_own_goes_on(tmp_path, rng):
    bump = gf.Activation(
        lambda z: math.exp(-z * z),
        lambda z: -2.0 * z * math.exp(-z * z),
        lambda z: (4.0 * z * z - 2.0) * math.exp(-z * z),
        name="bump",
    )
    student, X = gf.MLP.random((4, 2, 1), bump, False, seed=0), rng.standard_normal((50, 4))
    options = {"solver": None, "refiner": gf.refiners.TrustRegionNewton(max_iterations=2), "progress": False}
    first = gf.train_many(TEACHER, student, X, starts=2, checkpoint=tmp_path / "runs", **options)
    again = gf.train_many(TEACHER, student, X, starts=2, checkpoint=tmp_path / "runs", **options)
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.theta, b.theta) and a.seconds == b.seconds  # read, not done again
    with pytest.raises(StorageError, match="problems: other teachers, students or inputs"):
        gf.train_many(TEACHER, student, -X, starts=2, checkpoint=tmp_path / "runs", **options)


def test_a_loss_of_ones_own_has_no_checkpoint(tmp_path):
    bowl = gf.Problem.from_jax(lambda theta: (theta**2).sum(), np.ones(2))
    with pytest.raises(ArgumentError, match="^checkpoint: .*from_jax"):
        gf.train_many([bowl], checkpoint=tmp_path / "runs", progress=False)
