"""Both ends of the spectrum by products: against the whole spectrum, at a saddle, in reports."""

import numpy as np
import pytest

import gradflow as gf
from gradflow.run import report, result
from gradflow.support.errors import ArgumentError


@pytest.fixture(scope="module")
def minimum():
    student = gf.MLP.random((7, 4, 1), "erf", False, seed=0)
    return gf.train(gf.teachers.orthonormal(6, 7), student, progress=False)


def test_ends_are_those_of_the_whole_spectrum(minimum):
    values = minimum.spectrum().eigenvalues
    one, some = minimum.extremes(), minimum.extremes(3)
    assert one.smallest[0] == pytest.approx(values[0], abs=one.smallest_residuals[0])
    assert one.largest[-1] == pytest.approx(values[-1], abs=one.largest_residuals[-1])
    assert one.smallest_residuals[0] < 1e-8 * values[-1] and not one.negative and one.bound <= values[0]
    assert some.largest == pytest.approx(values[-3:], abs=1e-10)
    assert some.smallest[0] == pytest.approx(values[0], abs=1e-10)
    # Copies of a multiple eigenvalue may be missed; each found is an eigenvalue within its residual.
    for value, residual in zip(some.smallest, some.smallest_residuals):
        assert np.abs(values - value).min() <= residual + 1e-12


def test_a_large_saddle_is_called_one_in_the_report(monkeypatch):
    teacher = gf.teachers.orthonormal(4, 5)
    student = gf.MLP([np.ones((2, 5)) @ np.diag([1.0, 1, 1, 1, 0]) * 0.3, np.ones((1, 2))], activation="erf")
    found = gf.train(
        teacher,
        student,
        progress=False,
        solver=None,
        refiner=gf.refiners.TrustRegionNewton(target="critical point"),
    )
    assert found.converged and found.spectrum().index > 0
    del found.__dict__["_spectrum"]
    for module in (result, report):
        monkeypatch.setattr(module, "SPECTRUM_SIZE", 5)
    text = str(found)
    assert "a saddle: an eigenvalue is -" in text and "index at least 1" in text
    assert found.extremes().negative


def test_frozen_parameters_are_left_out():
    rates = np.ones(12)
    rates[:4] = 0.0
    student = gf.MLP.random((4, 2, 2), "erf", False, seed=1)
    found = gf.train(student.with_flat(student.flat() * 1.1), student, rates=rates, progress=False)
    values = found.spectrum().eigenvalues
    ends = found.extremes()
    assert ends.order == 8 == values.size
    assert ends.largest[-1] == pytest.approx(values[-1], rel=1e-12)


def test_the_report_of_a_large_minimum_states_both_ends(minimum, monkeypatch, tmp_path):
    minimum.save(tmp_path / "run.h5")
    again = gf.load(tmp_path / "run.h5")
    again.__dict__.pop("_spectrum", None)
    for module in (result, report):
        monkeypatch.setattr(module, "SPECTRUM_SIZE", 5)
    assert "no negative eigenvalue" in str(again) and "residual" in str(again)


def test_bad_counts_are_refused(minimum):
    for wrong in (0, -1):
        with pytest.raises(ArgumentError):
            minimum.extremes(wrong)
