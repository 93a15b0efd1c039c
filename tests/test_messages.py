"""Wrong uses that are natural: what the message says to do instead."""

from __future__ import annotations

import numpy as np
import pytest

import gradflow as gf
from gradflow import ArgumentError

TEACHER = gf.teachers.orthonormal(2, 3)
STUDENT = gf.MLP.random((3, 2, 1), "erf", False, seed=0)
CLASSES = gf.MLP.random((3, 2, 2), "erf", False, seed=0)
X = np.arange(15.0).reshape(5, 3) / 7.0


def solvers_and_refiners():
    def leaves(kind):
        below = kind.__subclasses__()
        return [leaf for cls in below for leaf in leaves(cls)] if below else [kind]

    return [
        cls
        for kind in (gf.solvers.FlowSolver, gf.refiners.Refiner)
        for cls in leaves(kind)
        if cls.__module__.startswith("gradflow.")
    ]


@pytest.mark.parametrize(
    "cls", [*solvers_and_refiners(), gf.online.OnlineSGD], ids=lambda cls: cls.__qualname__
)
def test_settings_are_given_by_name(cls):
    with pytest.raises(ArgumentError, match=rf"^{cls.__name__}: got 1e-09 without a name; .* by name"):
        cls(1e-9)
    with pytest.raises(
        ArgumentError, match=rf"^tolerance: got .*{cls.__name__} does not have; allowed: .*one of"
    ):
        cls(tolerance=1.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gf.train(TEACHER, STUDENT, rtol=1e-9), r"^rtol: .*solver=\w+\(rtol=…\)"),
        (lambda: gf.train(TEACHER, STUDENT, t1=1.0), r"^t1: .*solver=\w+\(t1=…\)"),
        (
            lambda: gf.train(TEACHER, STUDENT, gtol=1.0),
            r"^gtol: .*solver=\w+\(gtol=…\) or refiner=\w+\(gtol=…\)",
        ),
        (lambda: gf.train(TEACHER, STUDENT, target="minimum"), r"^target: .*refiner=TrustRegionNewton"),
        (lambda: gf.train(TEACHER, STUDENT, loss="squared"), r"^loss: .*train\(Problem\(.*loss=…"),
        (lambda: gf.train(TEACHER, STUDENT, weight_decay=1.0), r"^weight_decay: .*Problem\("),
        (lambda: gf.train(TEACHER, STUDENT, rate=np.ones(8)), r"^rate: .*solver=\w+\(rate=…\)"),
        (lambda: gf.train(TEACHER, STUDENT, chekpoint="a"), r"^chekpoint: .*did you mean 'checkpoint'\?"),
        (lambda: gf.train(TEACHER, STUDENT, solver=gf.solvers.BDF), r"^solver: got the class BDF; .*BDF\(\)"),
        (
            lambda: gf.train(TEACHER, STUDENT, refiner=gf.refiners.LBFGS),
            r"^refiner: got the class LBFGS; .*LBFGS\(\)",
        ),
        (lambda: gf.train(TEACHER, STUDENT, solver="bdf"), r"^solver: got 'bdf'; .*did you mean 'BDF'\?"),
        (lambda: gf.solvers.BDF(rtoll=1e-9), r"^rtoll: .*did you mean 'rtol'\? One of rtol, atol"),
        (
            lambda: gf.refiners.TrustRegionNewton(target="saddle"),
            r"^target: .*EigenvectorFollowing\(index=1\)",
        ),
        (
            lambda: gf.Problem.from_jax(lambda t: t.sum(), STUDENT.flat),
            r"^theta0: .*'flat'.*did you mean flat\(\)",
        ),
        (lambda: gf.MLP.random((3, 2, 1), "ReLU", seed=0), "^activation: got 'ReLU'; .*did you mean 'relu'"),
        (lambda: gf.MLP.random((3, 2, 1), "leaky-relu", seed=0), "did you mean 'leaky_relu'"),
        (lambda: gf.MLP.random((3, 2, 1), "sinus", seed=0), r"^activation: got 'sinus'; allowed: .*tanh"),
        (
            lambda: gf.MLP.random((3, 2, 1), seed=0, init="xavier"),
            "^init: got 'xavier'; .*one of glorot_normal",
        ),
        (
            lambda: gf.Problem(np.ones((5, 1)), CLASSES, X, loss="cross_entropy"),
            r"^teacher: got targets of shape \(5, 1\); allowed: integer labels \(5,\), as of y\[:, 0\]",
        ),
        (
            lambda: gf.Problem(np.array(["a", "b"] * 2 + ["a"]), CLASSES, X),
            "^teacher: got text; .*loss='cross_entropy'",
        ),
        (
            lambda: gf.Problem(np.array(["a", "b", "c", "a", "a"]), CLASSES, X, loss="cross_entropy"),
            r"^teacher: got 3 classes \('a', 'b', 'c'\); allowed: at most 2, the student's outputs",
        ),
        (
            lambda: gf.Problem([0, 1, 0, 1, 0], STUDENT, X, loss="cross_entropy"),
            "^student: got one output with loss='cross_entropy'; .*two or more",
        ),
        (
            lambda: gf.Problem(TEACHER, STUDENT, X, loss="cross_entropy"),
            "^student: got one output with loss='cross_entropy'; .*two or more",
        ),
        (lambda: gf.Problem(X[:, :1], STUDENT, X, loss="crossentropy"), "did you mean 'cross_entropy'"),
    ],
)
def test_the_message_says_what_to_do(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()


def test_a_picture_is_of_a_result():
    pytest.importorskip("matplotlib")
    with pytest.raises(ArgumentError, match=r"^result: got a list; allowed: one gradflow.Result"):
        gf.plot.overview([object()])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_soft_labels_are_probabilities_to_the_digits_they_were_given_in(dtype, rng):
    jnp = pytest.importorskip("jax.numpy")
    exact = rng.dirichlet(np.ones(2), size=5)
    given = jnp.asarray(exact).astype(dtype) if dtype == "bfloat16" else exact.astype(dtype)
    problem = gf.Problem(given, CLASSES, X, loss="cross_entropy")
    targets = np.asarray(given).astype(np.float64)
    targets /= targets.sum(axis=1, keepdims=True)
    f = CLASSES(X)
    shifted = f - f.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    assert problem.loss(CLASSES.flat()) == pytest.approx(-(targets * logs).sum(axis=1).mean(), rel=1e-14)
    assert np.abs(problem.targets - targets).max() <= 2e-16
    wrong = exact.copy()
    wrong[3] *= 1.2
    with pytest.raises(ArgumentError, match="rows of probabilities"):
        gf.Problem(wrong.astype("float32"), CLASSES, X, loss="cross_entropy")
