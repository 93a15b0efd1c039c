"""The name of an end: its kind, what justifies it, what is open, and how to go on."""

import numpy as np
import pytest

import gradflow as gf
from gradflow.run.end import KINDS, End


def test_a_critical_point(tmp_path):
    teacher = gf.teachers.orthonormal(3, 4)
    result = gf.train(teacher, gf.MLP.random((4, 2, 1), bias=False, seed=0), progress=False)
    end = result.end
    assert end.kind == "critical point" and end.reached == result.converged and not end.advice
    assert all(entry.holds for entry in end.evidence) and end.dimension == 0
    assert str(result).splitlines()[0].startswith(f"gradflow: {end}")
    result.save(tmp_path / "run.h5")
    loaded = gf.load(tmp_path / "run.h5").end
    assert loaded.to_json() == end.to_json() and isinstance(loaded, End)


def test_scales_of_relu_neurons_are_a_manifold():
    teacher = gf.teachers.orthonormal(2, 3, "relu")
    result = gf.train(teacher, gf.MLP.random((3, 1, 1), "relu", False, seed=0), progress=False)
    assert result.end.kind == "manifold of minima" and result.end.dimension == 1
    assert dict(result.end.directions) == {"scale of neurons": 1}


@pytest.mark.parametrize("seed", range(3))
def test_every_relu_neuron_has_its_scale(seed):
    rng, teacher = np.random.default_rng(seed), gf.teachers.orthonormal(3, 4, "relu")
    W, sizes = np.array(teacher.weights[0]), 10.0 ** rng.uniform(-3, 3, 3)
    start = gf.MLP([W * sizes[:, None], np.array(teacher.weights[1]) / sizes], None, "relu")
    result = gf.train(teacher, start, solver=None, progress=False)
    assert dict(result.end.directions)["scale of neurons"] == result.end.dimension == 3


def test_what_moves_does_not_depend_on_units():
    """The same motion in other units: frozen hidden weights leave a linear flow of the output layer."""
    X = np.random.default_rng(0).standard_normal((50, 2))
    y, start = np.sin(2 * X[:, :1]), gf.MLP.random((2, 3, 1), "tanh", seed=0)
    listed = []
    for size in (1.0, 1e-12, 1e12):
        weights = [start.weights[0], size * start.weights[1]]
        student = gf.MLP(weights, [start.biases[0], size * start.biases[1]], "tanh")
        rates = gf.MLP([0 * start.weights[0], 1 + 0 * start.weights[1]],
                       [0 * start.biases[0], 1 + 0 * start.biases[1]], "tanh").flat()  # fmt: skip
        solver = gf.solvers.BDF(t1=3.0)
        cut = gf.train(size * y, student, X, solver=solver, refiner=None, rates=rates, progress=False)
        listed.append([entry.name for entry in cut.end.moving])
    assert listed[0] and listed[0] == listed[1] == listed[2]


def test_a_zero_behind_far_kinks():
    """A kink at 6 |w| changes L by 1e-12: Newton's method does not place it, nor a neuron that is shut."""
    teacher = gf.MLP([[[0.8, 1.2], [0.01, 0.08]], [[0.8, -1.1]]], [[0.3, 0.6], [-0.9]], "relu")
    W = [[0.8, 1.2], [0.0175, 0.12], [0.04, -0.01]]
    student = gf.MLP([W, [[0.8, -0.72, 0.3]]], [[0.3, 0.71, -0.26], [-1.0]], "relu")
    result = gf.train(teacher, student, solver=None, progress=False)
    assert result.zero_loss and result.end.kind == "manifold of minima"
    assert dict(result.end.directions)["scale of neurons"] == 3


def test_samples_that_fix_fewer_numbers_than_there_are_parameters():
    X = np.random.default_rng(0).standard_normal((8, 2))
    targets = np.random.default_rng(1).standard_normal((8, 1))
    result = gf.train(targets, gf.MLP.random((2, 5, 1), "tanh", seed=0), X, progress=False)
    end = result.end
    # Eight numbers and 21 parameters: zero loss on a manifold of dimension 13.
    assert result.zero_loss and end.kind == "manifold of minima" and end.dimension == 13
    gap = next(entry.value for entry in end.evidence if "gap" in entry.what)
    assert gap > 1e6 and not end.unsure


def test_what_is_unfinished_says_what_moves_and_how_to_go_on(capsys):
    teacher, student = gf.teachers.orthonormal(4, 5), gf.MLP.random((5, 2, 1), "erf", False, seed=0)
    cut = gf.train(teacher, student, solver=gf.solvers.BDF(t1=3.0), refiner=None, progress=False)
    end = cut.end
    assert end.kind == "unfinished" and not end.reached and not cut.converged
    assert end.moving and all(np.isfinite(entry.exponent) for entry in end.moving)
    assert "gf.train(teacher, result.student" in str(cut) and str(end).startswith("flow only, not refined")
    # The exponent of the loss is that of a fit to the flow's own losses.
    late = cut.flow.times >= 0.03
    slope = np.polyfit(np.log(cut.flow.times[late]), np.log(cut.flow.losses[late]), 1)[0]
    found = next(entry.value for entry in end.evidence if entry.what == "d log loss / d log t")
    assert found == pytest.approx(slope, abs=0.05)


def test_batches_count_the_kinds():
    teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), "erf", False, seed=0)
    batch = gf.train_many(teacher, student, starts=2, progress=False)
    assert set(batch.table()["end"]) <= set(KINDS)
    assert "ends: 2 critical point" in str(batch)
