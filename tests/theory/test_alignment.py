"""Alignment with one teacher: where it holds, where it does not, and the checks with their claims broken."""

from __future__ import annotations

import numpy as np
import pytest

from gradflow.theory import alignment


def test_stationarity_and_a_wrong_factor():
    assert alignment.stationarity(4, 5, 0).holds
    assert not alignment.stationarity(4, 5, 0, factor=1 + 1e-12).holds


def test_relu_students_align_and_erf_students_do_not():
    assert alignment.relu_aligns(3, 3, 4).holds
    assert not alignment.relu_aligns(3, 3, 2, activation="erf").holds


def test_a_dying_student_is_followed_to_zero():
    """From this start the first student shrinks to zero in finite time, and the flow goes on without it."""
    end = alignment.descend("relu", 3, 3, 8)
    assert end.minimum and end.distance < 1e-7 and end.grad_norm < 1e-14
    assert (np.linalg.norm(end.weights, axis=1) == 0.0).any()


@pytest.mark.parametrize("activation", ["erf", "normal_cdf", "identity", "cube"])
def test_cancelling_pairs(activation):
    assert alignment.cancelling_pair(activation, 4, 0).holds


@pytest.mark.parametrize("activation", ["relu", "gelu", "square"])
def test_pairs_do_not_cancel(activation):
    assert not alignment.cancelling_pair(activation, 4, 0).holds


def test_even_students_align_up_to_sign_and_odd_ones_do_not():
    assert alignment.aligns("square", 2).holds
    assert not alignment.aligns("erf", 2).holds


def test_cosines_stray_and_squares_do_not():
    assert alignment.strays("cos", 2).holds
    assert not alignment.strays("square", 2).holds


def test_distance_from_the_ray():
    v = np.array([0.0, 2.0])
    assert alignment.distance(np.array([[0.0, 3.0], [0.0, 0.0]]), v) == 0.0
    assert alignment.distance(np.array([[0.0, -3.0]]), v) == 1.5
    assert alignment.distance(np.array([[0.0, -3.0], [1.0, 1.0]]), v, even=True) == 0.5


def test_every_activation_is_in_one_class():
    found = alignment.supported()
    assert found["relu"] is False and found["erf"] is True
    assert alignment.angular(0.0) == np.pi
    assert abs(alignment.angular(np.pi)) < 1e-15
