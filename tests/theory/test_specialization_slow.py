"""A student opposite to its teacher: escape times."""

from __future__ import annotations

import math

import scipy.integrate

from gradflow.theory.specialization import slow


def test_escape_takes_longer_the_closer_to_opposite():
    flow = slow.escape_from_opposite(gaps=(1e-1, 1e-2))
    assert flow.holds and flow.computed["times"][1] > flow.computed["times"][0] + 2


def test_the_gradient_across_is_the_closed_form():
    """∫ π r/(δ sin δ) dδ from δ to π/2, by SciPy, against the time from the package's gradient."""
    expected, _ = scipy.integrate.quad(
        lambda u: math.pi / math.sin(math.exp(u)), math.log(0.01), math.log(math.pi / 2)
    )
    for length in (0.5, 1.0, 3.0):
        assert abs(slow.fixed_norm_time(0.01, length) / (length * expected) - 1) < 1e-9


def test_escape_time_while_the_norm_is_nearly_constant():
    """For a long student ln(1 + π r/gap) is what δ̇ = δ²/(π r), ṙ = −r gives until |w| is small."""
    assert abs(slow.escape_time(1e-9) - math.log(math.pi / 1e-9)) < 2.5
