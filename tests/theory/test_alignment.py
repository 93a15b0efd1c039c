"""Alignment with one teacher: where it holds, and where it does not."""

from __future__ import annotations

import numpy as np
import pytest

import gradflow as gf
from gradflow.activations import ACTIVATIONS
from gradflow.theory.alignment import activations as alignment_activations
from gradflow.theory.alignment import one_teacher as alignment
from gradflow.theory.soft_committee import soft_committee


def ends(activation, starts, **options):
    return alignment.ends(activation, options.pop("students", 3), options.pop("dim", 3), starts, **options)


def test_relu_students_align():
    check = alignment_activations.aligns(ends("relu", 4))
    assert check.holds and check.name == "alignment.relu" and check.cases == 4


def test_stationarity_over_many_networks():
    cases = [(students, dim) for students in (1, 2, 6) for dim in (2, 3, 20)]
    check = alignment.stationarity(cases, seed=3)
    assert check.holds and check.parts[0].cases == 27


def test_a_dying_student_is_followed_to_zero():
    """From this start the first student shrinks to zero in finite time, and the flow goes on without it."""
    end = alignment.descend("relu", 3, 3, 2)
    assert end.minimum and end.distance < 1e-7 and end.grad_norm < 1e-14
    assert (np.linalg.norm(end.weights, axis=1) == 0.0).any()


def test_newton_ends_beside_a_vanishing_relu():
    """From this end of a flow Newton's model overflowed, and no step was ever taken or refused."""
    weights = np.array([[0.9696286193780779, -0.24458200165403243], [-3.26e-08, 5.29e-09]])
    there = soft_committee("relu", weights, weights[:1] / np.linalg.norm(weights[0]))
    end = alignment.descend("relu", 2, 2, 93)
    assert end.minimum and end.distance < 1e-7
    result = gf.train(there, rates=np.repeat([1.0, 0.0], [4, 2]), solver=None, progress=False)
    assert result.refinement.iterations < 100


@pytest.mark.parametrize("activation", ["erf", "normal_cdf", "identity", "cube"])
def test_cancelling_pairs(activation):
    assert alignment_activations.cancelling_pair(activation).holds


def test_even_students_align_up_to_sign():
    assert alignment_activations.aligns(ends("square", 2)).holds


def test_cosines_stray():
    assert alignment_activations.strays(ends("cos", 2)).holds


@pytest.mark.parametrize(
    "order, names",
    [
        (1, ["softplus", "exp", "g", "selu"]),
        (2, ["relu", "leaky_relu"]),
        (3, ["gelu", "silu", "elu", "square"]),
    ],
)
def test_orders_of_what_a_gradient_leaves(order, names):
    assert [alignment_activations.order(name) for name in names] == [order] * len(names)


def test_distance_from_the_ray():
    v = np.array([0.0, 2.0])
    assert alignment.distance(np.array([[0.0, 3.0], [0.0, 0.0]]), v) == 0.0
    assert alignment.distance(np.array([[0.0, -3.0]]), v) == 1.5
    assert alignment.distance(np.array([[0.0, -3.0], [1.0, 1.0]]), v, even=True) == 0.5


def test_every_activation_is_in_one_class():
    assert set(alignment_activations.ODD) >= {
        "erf",
        "tanh",
        "sigmoid",
        "sin",
        "identity",
        "cube",
        "normal_cdf",
    }
    assert set(alignment_activations.ALIGNING) >= {
        "relu",
        "softplus",
        "gelu",
        "silu",
        "elu",
        "selu",
        "square",
        "g",
    }
    classes = (*alignment_activations.ODD, *alignment_activations.STRAYS, *alignment_activations.ALIGNING)
    assert sorted(classes) == sorted(ACTIVATIONS)


def test_what_is_off_by_rounding_raises_the_loss_when_stretched():
    """gelu students left at 1e-5 from zero are aligned; erf students v, w, −w are off along a valley."""
    left = alignment.descend("gelu", 3, 3, 0)
    assert 1e-9 < left.distance < 1e-4 and left.rise() > 1e-6
    v, w = np.array([1.0, 0.0]), np.array([0.0, 0.01])
    valley = alignment.End(np.stack([v, w, -w]), 0.0, 0.0, True, v, "erf")
    assert abs(valley.rise()) < 1e-15 and valley.distance == pytest.approx(0.01)


@pytest.mark.parametrize("activation", ["silu", "softplus", "elu"])
def test_other_lengths_of_the_teacher(activation):
    assert alignment_activations.aligns(ends(activation, 2, dim=4, students=2, length=2.0)).holds
