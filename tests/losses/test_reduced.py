"""The span of all weights: the same path, the same spectrum, and when it is not used."""

import dataclasses

import numpy as np
import pytest

import gradflow as gf
from gradflow import ArgumentError
from gradflow.losses.reduced import Reduced, find_span, span
from gradflow.run import frames

TIGHT = {"rtol": 1e-11, "atol": 1e-12}


def networks(activation="erf", d=14, n=2, k=3):
    teacher = gf.teachers.random((d, k, 1), activation, bias=False, seed=2, gain=d**-0.5)
    return teacher, gf.MLP.random((d, n, 1), activation, bias=False, seed=1, init="normal", gain=d**-0.5)


def both(teacher, student, inputs=None, **options):
    """The same run in the span and in the full space."""
    options = {"progress": False, "solver": gf.solvers.Kvaerno5(t1=30.0, **TIGHT), **options}
    runs = [gf.train(gf.Problem(teacher, student, inputs, reduce=flag), **options) for flag in (True, False)]
    assert runs[1].reduced_dim is None and runs[0].reduced_dim is not None
    return runs


CASES = [("erf", None), ("relu", None), ("relu", gf.Sphere(2.0)), ("gelu", gf.Gaussian(cov=0.5 * np.eye(14)))]


@pytest.mark.parametrize(("activation", "inputs"), CASES)
def test_the_same_path_and_spectrum(activation, inputs):
    teacher, student = networks(activation)
    fast, full = both(teacher, student, inputs)
    assert fast.reduced_dim == 5 and "5-dimensional span" in str(fast)
    assert "5-dimensional" not in str(full)
    for t in (0.0, 0.3, 4.0, 30.0):
        np.testing.assert_allclose(fast.flow.at(t), full.flow.at(t), atol=1e-8)
    assert (fast.flow.theta[0] == student.flat()).all() and fast.flow.theta.shape[1] == student.size
    # The parts of a flow belong together: gradients are those of the full problem.
    i = fast.flow.theta.shape[0] // 2
    gradient = full.problem.gradient(fast.flow.theta[i])
    assert fast.flow.grad_norms[i] == pytest.approx(np.abs(gradient).max(), rel=1e-9)
    np.testing.assert_allclose(
        fast.flow.step_velocity[0], -full.problem.gradient(student.flat()), atol=1e-14 * student.size
    )
    assert fast.converged and fast.grad_norm == np.abs(full.problem.gradient(fast.theta)).max()
    assert fast.loss == pytest.approx(full.loss, abs=1e-14)
    at_the_end = np.linalg.eigvalsh(full.problem.hessian(fast.theta))
    spectrum = fast.spectrum()
    assert spectrum.eigenvalues.size == student.size and spectrum.order <= student.size - 2 * 9
    np.testing.assert_allclose(spectrum.eigenvalues, at_the_end, atol=1e-13 * at_the_end[-1])


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_biases_are_not_rotated(activation):
    teacher = gf.teachers.random((9, 2, 1), activation, seed=2, gain=0.4)
    student = gf.MLP.random((9, 2, 1), activation, seed=1, init="normal", gain=0.4)
    fast, full = both(teacher, student, refiner=None)
    assert fast.reduced_dim == 4
    for t in (0.3, 4.0, fast.flow.end_time):
        np.testing.assert_allclose(fast.flow.at(t), full.flow.at(t), atol=1e-8)
    values = np.linalg.eigvalsh(full.problem.hessian(fast.theta))
    np.testing.assert_allclose(fast.spectrum().eigenvalues, values, atol=1e-13 * values[-1])


def test_steps_that_would_fill_the_memory(monkeypatch):
    """Some are left out; the path between those that stay is as accurate."""
    teacher, student = networks()
    monkeypatch.setattr(frames, "STEP_NUMBERS", 8 * student.size)
    few, full = both(teacher, student, refiner=None)
    assert few.flow.step_times.size <= 10 < few.flow.accepted
    assert few.flow.stiffness.size == few.flow.step_times.size - 1
    for t in (0.01, 0.3, 4.0, 17.0, 30.0):
        np.testing.assert_allclose(few.flow.at(t), full.flow.at(t), atol=1e-8)


def test_rates_and_frozen_neurons():
    """Rates that differ between neurons are fine; frozen ones stay in the span and out of the spectrum."""
    teacher, student = networks(n=3)
    rates = np.concatenate([np.repeat([1.0, 0.0, 0.5], 14), [1.0, 0.0, 2.0]])
    fast, full = both(teacher, student, rates=rates)
    np.testing.assert_allclose(fast.flow.at(20.0), full.flow.at(20.0), atol=1e-8)
    frozen = rates == 0
    assert np.abs(fast.theta - student.flat())[frozen].max() <= 1e-15
    hessian = full.problem.hessian(fast.theta)[np.ix_(~frozen, ~frozen)]
    values = np.linalg.eigvalsh(hessian)
    np.testing.assert_allclose(fast.spectrum().eigenvalues, values, atol=1e-13 * values[-1])


@pytest.mark.parametrize("activation", ["erf", "relu", "normal_cdf"])
def test_the_hessian_anywhere(rng, activation):
    """The complement is E ⊗ I at any point, by the full Hessian in rotated axes."""
    teacher, student = networks(activation, d=8)
    result = gf.train(teacher, student, solver=None, progress=False)
    result = dataclasses.replace(result, theta=student.flat())
    assert result.span.shape == (5, 8)
    full = np.linalg.eigvalsh(gf.Problem(teacher, student).hessian(student.flat()))
    found = result.spectrum()
    assert found.reduced_dim == 6 and found.index is None  # not a critical point
    np.testing.assert_allclose(found.eigenvalues, full, atol=1e-14 * np.abs(full).max())


def test_the_span(rng):
    weights = rng.standard_normal((3, 9)) * [[1e-100], [1.0], [1e100]]
    teacher = gf.MLP([weights, np.ones((1, 3))])
    rows = np.concatenate(
        [weights[:2] * -2.0, np.zeros((1, 9)), weights[1:2] + 1e-3 * rng.standard_normal(9)]
    )
    basis = span(gf.MLP([rows, np.ones((1, 4))]), teacher)
    assert basis.shape == (4, 9)
    np.testing.assert_allclose(basis @ basis.T, np.eye(4), atol=1e-15)
    for w in (*weights, rows[-1]):
        assert np.linalg.norm(w - (w @ basis.T) @ basis) <= 1e-14 * np.linalg.norm(w)
    zero = gf.MLP([np.zeros((1, 3)), [[1.0]]])
    assert span(zero, zero).shape == (1, 3)


def test_lift_and_lower(rng):
    teacher, student = networks(n=3)
    basis = span(student, teacher)
    reduced = Reduced(student, teacher, gf.Gaussian(), basis)
    small = rng.standard_normal((4, reduced.objective.size))
    lifted = reduced.lift(small)
    assert lifted.shape == (4, student.size)
    for row, point in zip(small, lifted):
        np.testing.assert_allclose(reduced.lower(point), row, atol=1e-14)
        np.testing.assert_allclose(reduced.lift(row), point, atol=1e-15)
    np.testing.assert_allclose(reduced.lift(reduced.lower(student.flat())), student.flat(), atol=1e-15)
    full = gf.Problem(teacher, student)
    assert reduced.objective.loss(small[0]) == pytest.approx(full.loss(lifted[0]), rel=1e-13)
    np.testing.assert_allclose(
        reduced.lift(reduced.objective.gradient(small[0])), full.gradient(lifted[0]), atol=1e-14
    )


def test_when_it_is_not_used(rng):
    teacher, student = networks(d=6)
    ones = np.ones(student.size)
    uneven = ones.copy()
    uneven[3] = 2.0
    skewed = np.diag([1.0, 1.0, 1.0, 1.0, 1.0, 1.5])
    assert find_span(student, teacher, gf.Gaussian(), ones).shape == (5, 6)
    for inputs, rates in [
        (gf.Gaussian(), uneven),
        (gf.Gaussian(cov=skewed), ones),
        (gf.Gaussian(mean=[1.0, 0, 0, 0, 0, 0]), ones),
        (gf.Mixture([gf.Gaussian()]), ones),
        (gf.Samples(rng.standard_normal((5, 6))), ones),
    ]:
        assert find_span(student, teacher, inputs, rates) is None
    teacher, student = networks(d=5)
    assert find_span(student, teacher, gf.Gaussian(), np.ones(12)) is None
    teacher, student = networks(d=6)
    options = {"refiner": None, "solver": gf.solvers.Kvaerno5(t1=0.1), "progress": False}
    assert gf.train(teacher, student, rates=uneven, **options).reduced_dim is None
    double_double = gf.train(teacher, student, precision="double-double", progress=False)
    assert double_double.reduced_dim is None and double_double.theta_low is not None
    with pytest.raises(ArgumentError, match="reduce"):
        gf.Problem(teacher, student, reduce=1)
    with pytest.raises(ArgumentError, match="7 inputs"):
        gf.train(gf.teachers.random((7, 2, 1), "erf", False, seed=0), student)


def test_ten_thousand_inputs(tmp_path):
    """Dense Hessians of 50,005 parameters would need 20 GB each; the span has ten dimensions."""
    d = 10_000
    teacher = gf.teachers.orthonormal(5, d, "erf", seed=3)
    student = gf.MLP.random((d, 5, 1), "erf", bias=False, seed=1, init="normal", gain=d**-0.5)
    result = gf.train(teacher, student, progress=False)
    assert result.converged and result.reduced_dim == 10
    spectrum = result.spectrum()
    assert spectrum.eigenvalues.size == student.size
    # Each teacher neuron is copied: E_ij = 2 a_i a_j E σ'(w_i·x)σ'(w_j·x), |w_i| = 1, orthogonal, |a_i| = 1.
    for value, multiplicity in ((1 / 3**0.5 - 0.5, 4 * (d - 10)), (1 / 3**0.5 + 2.0, d - 10)):
        found = np.isclose(spectrum.eigenvalues, 4 / np.pi * value, rtol=1e-12)
        assert found.sum() >= multiplicity
    result.save(tmp_path / "run.h5")
    loaded = gf.load(tmp_path / "run.h5")
    assert str(loaded) == str(result) and loaded.reduced_dim == 10
    assert (loaded.spectrum().eigenvalues == spectrum.eigenvalues).all()
