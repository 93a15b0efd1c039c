"""Slow worst cases, strong teachers first, over-realisation: numbers, and the checks with broken claims."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradflow as gf
from gradflow.theory import specialization_dynamics as dynamics


def test_correlation_against_samples(rng):
    W, V = rng.standard_normal((3, 4)), rng.standard_normal((2, 4))
    X = rng.standard_normal((400_000, 4))
    h, g = np.maximum(X @ W.T, 0), np.maximum(X @ V.T, 0)
    found = np.corrcoef(h.T, g.T)[:3, 3:]
    np.testing.assert_allclose(dynamics.correlation(W, V), found, atol=0.01)
    np.testing.assert_allclose(np.diag(dynamics.correlation(W, W)), 1.0, atol=1e-15)


def test_escape_takes_longer_the_closer_to_opposite():
    flow, worst = dynamics.slow_escape(gaps=(1e-1, 1e-2))
    assert flow.holds and worst.holds
    assert flow.computed["times"][1] > flow.computed["times"][0] + 2
    # Without the shrinking of |w| the time would go like 1/gap, not like its logarithm.
    assert not list(dynamics.slow_escape(gaps=(1e-1,), expected_slope=2.0))[1].holds


def test_escape_time_while_the_norm_is_nearly_constant():
    """For a long student ln(1 + π r/gap) is what δ̇ = δ²/(π r), ṙ = −r gives until |w| is small."""
    assert abs(dynamics.escape_time(1e-9) - math.log(math.pi / 1e-9)) < 2.5


@pytest.fixture(scope="module")
def runs():
    pairs = [dynamics.networks(4, 2, 8, 6, 1.0, seed) for seed in range(2)]
    return [dynamics.learn_by_sgd(*pair, 0.1, 16, 1500, seed) for seed, pair in enumerate(pairs)]


def test_strong_first_and_the_reverse(runs):
    assert dynamics.strong_first(runs, "sgd", 1.0).holds
    reverse = [dynamics.Learning(run.times[::-1], run.correlations) for run in runs]
    assert not dynamics.strong_first(reverse, "sgd", 1.0).holds


def test_overrealisation_and_no_difference(runs):
    better = [dynamics.Learning(run.times, run.correlations + 0.02) for run in runs]
    assert dynamics.overrealisation({1: runs, 2: better}, "sgd", 1.0).holds
    assert not dynamics.overrealisation({1: runs, 2: runs}, "sgd", 1.0).holds
    with pytest.raises(gf.ArgumentError, match="runs"):
        dynamics.overrealisation({1: runs}, "sgd", 1.0)


def test_polarity_of_the_teacher():
    _, teacher = dynamics.networks(5, 2, 8, 6, 2.0, 0)
    norms = np.linalg.norm(teacher.weights[1], axis=0)
    np.testing.assert_allclose(norms, np.arange(1, 6) ** -2.0)


def test_sgd_without_noise_of_the_target_goes_down():
    student, teacher = dynamics.networks(3, 2, 5, 4, 0.0, 1)
    run = dynamics.learn_by_sgd(student, teacher, 0.05, 16, 3000, 0)
    assert (
        run.correlations.mean()
        > dynamics.correlation(student.weights[0], teacher.weights[0]).max(axis=0).mean()
    )
