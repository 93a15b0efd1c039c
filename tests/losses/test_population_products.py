"""Hessian-vector products keep the pairs of their point: the same bits with and without, in any thread."""

import threading

import numpy as np
import pytest

import gradflow as gf
from gradflow.kernels.population import geometry as pair_geometry
from gradflow.losses import population


def problem(activation="erf", bias=False, inputs=None):
    teacher = gf.MLP.random((5, 4, 2), activation, bias, seed=2, init="normal")
    student = gf.MLP.random((5, 3, 2), activation, bias, seed=1, init="normal")
    return gf.Problem(teacher, student, inputs)


LAW = gf.Gaussian(mean=[0.3, 0.0, -0.2, 0.0, 0.1], cov=np.diag([1.0, 2.0, 0.5, 1.0, 1.5]))


@pytest.mark.parametrize(
    ("activation", "bias", "inputs"),
    [("erf", False, None), ("relu", False, None), ("erf", True, LAW), ("relu", True, LAW)],
)
def test_the_same_bits_as_a_fresh_problem(rng, activation, bias, inputs):
    """Whatever was asked for before; and it is the Hessian times v."""
    used = problem(activation, bias, inputs)
    theta = used.theta0
    points = [theta, theta + 1e-3, np.nextafter(theta, 9.0), theta]
    for point in points:
        for _ in range(3):
            v = rng.standard_normal(theta.size)
            image = used.hvp(point, v)
            assert (image == problem(activation, bias, inputs).hvp(point, v)).all()
            used.gradient(rng.standard_normal(theta.size))
            hessian = used.hessian(point)
            np.testing.assert_allclose(image, hessian @ v, atol=1e-13 * np.abs(hessian).max())


def test_threads_at_different_points(rng):
    """Threads share one memory: whoever finds it taken works without."""
    shared = problem()
    points = shared.theta0 + 0.1 * rng.standard_normal((4, shared.size))
    directions = rng.standard_normal((4, shared.size))
    wanted = [problem().hvp(x, v) for x, v in zip(points, directions)]
    wrong = []

    def work(i):
        for _ in range(500):
            for j in (i, (i + 1) % 4):
                if (shared.hvp(points[j], directions[j]) != wanted[j]).any():
                    wrong.append(j)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_without_the_memory(rng, monkeypatch):
    """Problems too large for it work row by row."""
    kept = problem("relu", True, LAW)
    monkeypatch.setattr(population, "KEPT_BYTES", 0)
    bare = problem("relu", True, LAW)
    assert bare.objective.descriptor[pair_geometry.LINEARISATION] == 0
    for _ in range(2):
        v = rng.standard_normal(kept.size)
        assert (bare.hvp(kept.theta0, v) == kept.hvp(kept.theta0, v)).all()


def test_points_that_are_not_finite_are_not_kept():
    one = problem()
    bad = np.full(one.size, np.nan)
    v = np.ones(one.size)
    before = one.hvp(one.theta0, v)
    assert np.isnan(one.hvp(bad, v)).any()
    assert (one.hvp(one.theta0, v) == before).all()


def test_mixtures_and_frozen_parameters_share_it(rng):
    law = gf.Mixture([gf.Gaussian(cov=np.diag([1.0, 2.0, 0.5, 1.0, 1.5])), gf.Gaussian()])
    mixed = problem(inputs=law)
    v = rng.standard_normal(mixed.size)
    first = mixed.hvp(mixed.theta0, v)
    assert (mixed.hvp(mixed.theta0, v) == first).all()
    parts = [problem(inputs=component).hvp(mixed.theta0, v) for component in law.components]
    np.testing.assert_allclose(first, sum(parts) / 2, rtol=1e-13, atol=1e-14)
