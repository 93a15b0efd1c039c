"""Where shares fall through a level, with intervals; ends of large networks by their losses."""

import numpy as np
import pytest

from gradflow.theory.copy_average import phase


def test_intervals_against_shares_that_are_known():
    """Shares of a logistic curve: the intervals hold its crossings in 95 % of samples, or nearly."""
    n = np.arange(1, 20)
    true = 1.0 / (1.0 + np.exp(1.5 * (n - 9.3)))
    where = {"gamma_1": 9.3 - np.log(19) / 1.5, "half": 9.3, "gamma_2": 9.3 + np.log(19) / 1.5}
    generator, inside, tries = np.random.default_rng(0), dict.fromkeys(where, 0), 60
    for _ in range(tries):
        counts = [(int(m), int(generator.binomial(200, p)), 200) for m, p in zip(n, true)]
        found = phase.intervals(counts, 20, draws=400)
        for name, at in where.items():
            middle, low, high = found[name]
            assert low <= middle <= high
            inside[name] += low - 0.01 <= at / 20 <= high + 0.01
    assert min(inside.values()) >= 0.85 * tries


def test_nothing_to_cross():
    found = phase.intervals([(1, 50, 50), (2, 50, 50)], 10)
    assert np.isnan(found["half"]).all()


def test_ends_of_large_networks_have_the_losses_of_small_formulas():
    """n = 26, k = 40, 1,066 parameters: P-n-C, whose loss comes from four numbers."""
    end, other = phase.end_at_size(26, 40, seed=0)
    assert other is None and end.configuration in ("C-A", "P-n-C")
    assert end.loss == pytest.approx(phase.losses(26, 40)[end.configuration], abs=1e-12)
    assert end.grad_norm < 1e-12 and end.smallest > 0
