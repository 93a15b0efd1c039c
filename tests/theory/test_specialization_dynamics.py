"""Strong teachers first, over-realisation: numbers, and the checks with broken claims."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import gradflow as gf
from gradflow.theory.specialization import dynamics


def test_correlation_against_samples(rng):
    W, V = rng.standard_normal((3, 4)), rng.standard_normal((2, 4))
    X = rng.standard_normal((400_000, 4))
    h, g = np.maximum(X @ W.T, 0), np.maximum(X @ V.T, 0)
    found = np.corrcoef(h.T, g.T)[:3, 3:]
    np.testing.assert_allclose(dynamics.correlation(W, V), found, atol=0.01)
    np.testing.assert_allclose(np.diag(dynamics.correlation(W, W)), 1.0, atol=1e-15)


@pytest.fixture(scope="module")
def runs():
    pairs = [dynamics.networks(4, 2, 8, 6, 1.0, seed) for seed in range(2)]
    return [dynamics.learn_by_sgd(*pair, 0.1, 16, 1500, seed) for seed, pair in enumerate(pairs)]


def test_what_was_learned(runs):
    """Strong first, over-realisation, what unspecialised students pass on, polarity, of runs made so."""
    ordered = [dataclasses.replace(run, times=np.sort(run.times)) for run in runs]
    strong = dynamics.strong_first(ordered, "sgd", 1.0)
    assert strong.holds and strong.cases > 5
    better = [dataclasses.replace(run, correlations=run.correlations + 0.06) for run in runs]
    assert dynamics.overrealisation({1: runs, 2: better}, "sgd", 1.0).holds
    with pytest.raises(gf.ArgumentError, match="runs"):
        dynamics.overrealisation({1: runs}, "sgd", 1.0)
    assert dynamics.passing_on(runs, "sgd", 1.0).holds
    none = [dataclasses.replace(run, times=np.full(run.times.size, np.inf)) for run in runs]
    assert dynamics.harder({0.0: runs, 2.0: none}, "sgd").holds
    assert not dynamics.harder({0.0: none, 2.0: runs}, "sgd").holds


def test_flow_and_sgd_of_a_small_rate_learn_alike():
    pair = dynamics.networks(3, 2, 6, 4, 1.0, 0)
    flow = dynamics.learn_by_flow(*pair, t1=30.0)
    sgd = dynamics.learn_by_sgd(*pair, 0.005, 64, 12_000, 0)
    np.testing.assert_allclose(sgd.correlations, flow.correlations, atol=0.03)
    np.testing.assert_allclose(sgd.times[0], flow.times[0], rtol=0.1)


def test_polarity_of_the_teacher():
    _, teacher = dynamics.networks(5, 2, 8, 6, 2.0, 0)
    norms = np.linalg.norm(teacher.weights[1], axis=0)
    np.testing.assert_allclose(norms, np.arange(1, 6) ** -2.0)
