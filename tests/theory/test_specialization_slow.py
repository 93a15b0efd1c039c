"""A student opposite to its teacher: escape times, and the checks with broken claims."""

from __future__ import annotations

import math

from gradflow.theory.specialization import slow


def test_escape_takes_longer_the_closer_to_opposite():
    flow, worst = slow.slow_escape(gaps=(1e-1, 1e-2))
    assert flow.holds and worst.holds
    assert flow.computed["times"][1] > flow.computed["times"][0] + 2
    # A student of another length is not what the flow follows.
    assert not next(slow.slow_escape(gaps=(1e-1,), length=1.0 + 1e-6)).holds
    # Without the shrinking of |w| the time would go like 1/gap, not like its logarithm.
    assert not list(slow.slow_escape(gaps=(1e-1,), expected_slope=2.0))[1].holds


def test_escape_time_while_the_norm_is_nearly_constant():
    """For a long student ln(1 + π r/gap) is what δ̇ = δ²/(π r), ṙ = −r gives until |w| is small."""
    assert abs(slow.escape_time(1e-9) - math.log(math.pi / 1e-9)) < 2.5
