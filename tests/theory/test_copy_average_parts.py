"""Training by parts, the best neuron of other activations, distances to copy-average points."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import gradflow as gf
from gradflow.theory.copy_average import activations, bucket_student, guided, one_neuron, parts
from gradflow.theory.copy_average.variations import one_neuron_for


def test_neuron_of_a_bucket(rng):
    """By Newton's method on the package's loss, the closed form of equal teachers, at other scales."""
    w, a, loss = parts.bucket_neuron([1.0, 0.5, 2.0], [1.0] * 3)
    other = one_neuron_for([1.0, 0.5, 2.0])
    assert abs(loss - other[2]) < 1e-13
    np.testing.assert_allclose(w, other[0], atol=1e-6)
    assert abs(parts.bucket_neuron([1.0] * 5, [1.0] * 5)[2] - one_neuron(5).loss) < 1e-12
    for scale in (1e-8, 1e3):
        again = parts.bucket_neuron([1.0, 0.5, 2.0], [scale] * 3)
        np.testing.assert_allclose(again[2], scale**2 * loss, rtol=1e-6)
        np.testing.assert_allclose(again[0], w, atol=1e-5)
    student = gf.MLP([np.append(w, 0.0)[None], [[a]]], None, "erf")
    problem = gf.Problem(parts.teachers_of([1.0, 0.5, 2.0], [1.0] * 3), student)
    assert abs(problem.loss(problem.theta0) - loss) < 1e-13


def test_dynamic_programming_against_all_partitions(rng):
    k = 5
    value = {b: rng.uniform() for n in range(1, k + 1) for b in itertools.combinations(range(k), n)}
    for n in (1, 2, 3, 5):
        every = [p for p in guided.set_partitions(k) if len(p) == n]
        best = min(every, key=lambda p: sum(value[b] for b in p))
        found = parts.best_of_subsets(k, n, value.__getitem__)
        assert found.buckets == tuple(sorted(best)) and abs(found.loss - sum(value[b] for b in best)) < 1e-14
        runs = [p for p in every if all(b[-1] - b[0] == len(b) - 1 for b in p)]
        assert (
            abs(
                parts.best_of_runs(k, n, value.__getitem__).loss - min(sum(value[b] for b in p) for p in runs)
            )
            < 1e-14
        )


def test_smoothed_neurons_are_means(rng):
    """E[Σσ(v_j·x) | u·x = t] by Gauss-Hermite against the neuron, for every closed activation."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    for name in activations.CLOSED:
        sigma = gf.activations.ACTIVATIONS[name]
        for l in (1, 2, 5):
            neuron = activations.smoothed_neuron(l, name)
            for t in (-1.3, 0.4):
                z = t / math.sqrt(l) + math.sqrt(1 - 1 / l) * nodes
                mean = l * float(weights @ sigma(z)) / math.sqrt(2 * math.pi)
                assert abs(mean - neuron.output * float(sigma(np.array([neuron.norm * t]))[0])) < 1e-12


@pytest.mark.parametrize("sizes", [(3, 1), (2, 2), (4,)])
def test_distance_to_a_point_is_zero_there_only(sizes):
    student = bucket_student(sizes, np.eye(4, 5))
    found, counts = guided.distances([student], 4)
    nearest = [found[0, counts == m].min() for m in range(1, 5)]
    assert nearest[len(sizes) - 1] < 1e-7 and all(
        value > 1e-2 for m, value in enumerate(nearest, 1) if m != len(sizes)
    )
