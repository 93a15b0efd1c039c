"""Where shares fall through a level, with intervals; ends of large networks by their losses."""

import numpy as np
import pytest
import scipy.special

from gradflow.theory.copy_average import phase


@pytest.mark.parametrize(
    ("widths", "steepness", "place", "starts"),
    [(20, 1.5, 9.3, 200), (100, 1.1, 46.3, 5), (100, 1.1, 46.3, 50)],
)
def test_intervals_against_shares_that_are_known(widths, steepness, place, starts):
    """Shares of a logistic curve: the intervals hold its crossings in 95 % of samples, and are of some use.

    Also with few starts at many widths of which almost all agree: those must not widen the intervals.
    """
    n = np.arange(1, widths)
    true = scipy.special.expit(-steepness * (n - place))
    where = {
        "gamma_1": place - np.log(19) / steepness,
        "half": place,
        "gamma_2": place + np.log(19) / steepness,
    }
    generator, inside, tries = np.random.default_rng(0), dict.fromkeys(where, 0), 40
    lengths = []
    for _ in range(tries):
        counts = [(int(m), int(generator.binomial(starts, p)), starts) for m, p in zip(n, true)]
        for name, (middle, low, high) in phase.intervals(counts, widths).items():
            assert low <= middle <= high
            inside[name] += low <= where[name] / widths <= high
            lengths.append((high - low) * widths * steepness)
    assert min(inside.values()) >= 0.9 * tries
    assert np.median(lengths) <= (12.0 if starts == 5 else 5.0)


def test_nothing_to_cross():
    found = phase.intervals([(1, 50, 50), (2, 50, 50)], 10)
    assert np.isnan(found["half"]).all()


def test_ends_of_large_networks_have_the_losses_of_small_formulas():
    """n = 26, k = 40, 1,066 parameters: P-n-C, whose loss comes from four numbers."""
    end, other = phase.end_at_size(26, 40, seed=0)
    assert other is None and end.configuration in ("C-A", "P-n-C")
    assert end.loss == pytest.approx(phase.losses(26, 40)[end.configuration], abs=1e-12)
    assert end.grad_norm < 1e-12 and end.smallest > 0
