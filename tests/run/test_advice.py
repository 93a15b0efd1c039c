"""What is said to be tried next is code that runs, and a notebook shows the report."""

from __future__ import annotations

import re

import pytest

import gradflow as gf
from gradflow.run.advice import advice
from gradflow.support.progress import Monitor, compilation

TEACHER = gf.teachers.orthonormal(3, 4)
STUDENT = gf.MLP.random((4, 2, 1), "erf", False, seed=0)


def test_a_finished_run_needs_no_advice():
    result = gf.train(TEACHER, STUDENT)
    assert advice(result) == [] and "  try " not in str(result)


@pytest.mark.parametrize(
    "options",
    [
        {"solver": gf.solvers.BDF(t1=0.1)},
        {"solver": gf.solvers.BDF(max_steps=5)},
        {"solver": gf.solvers.BDF(max_steps=5), "refiner": gf.refiners.TrustRegionNewton(max_iterations=1)},
        {"solver": gf.solvers.Tsit5(max_steps=20), "refiner": None},
    ],
)
def test_the_code_of_an_advice_runs_and_leads_on(options):
    stopped = gf.train(TEACHER, STUDENT, **options)
    (text,) = advice(stopped)
    assert f"  try        {text}" in str(stopped)
    code = re.search(r"solver=(gf\.\S+\))", text).group(1)
    further = gf.train(TEACHER, STUDENT, solver=eval(code), refiner=None)
    assert further.flow.end_time > stopped.flow.end_time


def test_kinks_and_limits_have_their_own(rng):
    X = rng.standard_normal((60, 4))
    relu = gf.MLP.random((4, 3, 1), "relu", seed=0)
    stopped = gf.train(gf.teachers.orthonormal(3, 4, "relu"), relu, X, solver=gf.solvers.BDF(max_steps=20))
    if stopped.channel is None:
        assert "smooth activation" in advice(stopped)[0]
    labels = (X[:, 0] > 0).astype(int)
    separable = gf.Problem(labels, gf.MLP.random((4, 2), seed=0), X, loss="cross_entropy")
    gone = gf.train(separable)
    assert gone.channel is not None
    assert advice(gone) == [f"the limit is result.channel.loss = {gone.channel.loss:.6g}; a finite minimum: "
                            "gf.Problem(…, weight_decay=1e-4)"]  # fmt: skip


def test_a_notebook_shows_the_report():
    result = gf.train(TEACHER, STUDENT)
    text = result._repr_html_()
    assert text.count("<tr>") >= 6 and "converged to a critical point" in text
    assert "<details>" in text and "closest teacher" in text


class Stream:
    """A stream that remembers, as of a terminal, a notebook or a file."""

    def __init__(self, terminal: bool):
        self.text, self.terminal = "", terminal

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


class Notebook(Stream):
    __module__ = "ipykernel.iostream"


@pytest.mark.parametrize(
    ("stream", "progress", "said"),
    [
        (Stream(True), None, True),
        (Notebook(False), None, True),
        (Notebook(False), False, False),
        (Stream(False), None, False),
        (Stream(False), True, True),
    ],
)
def test_compilations_are_told_where_somebody_listens(stream, progress, said):
    monitor = Monitor(progress, stream)
    with compilation("nobody listens"):
        pass
    with monitor.compiling():
        for what in ("first kernel", "second kernel"):
            with compilation(what):
                pass
    assert ("compiling first kernel, once on this machine" in stream.text) == said
    assert ("number 2" in stream.text) == said and ("gradflow warm" in stream.text) == said
    assert "nobody" not in stream.text
    monitor.clear()


def test_kernels_are_called_by_their_names():
    from gradflow.kernels.math import abi
    from gradflow.kernels.population import derivatives

    assert abi._words(derivatives.derivatives) == "population derivatives"
