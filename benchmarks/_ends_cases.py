"""Random ordinary problems, each known by a seed and its number: what a user might fit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import gradflow as gf

ACTIVATIONS = (
    "erf", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "gelu", "silu", "selu", "elu", "g",
)  # fmt: skip

SORTS = ("Gaussian inputs", "exact targets", "noisy targets", "two hidden layers")
"""Infinitely many Gaussian inputs; samples with targets of the teacher, with noise of 0.1, and with a deeper
student, whose targets are exact."""

KINKED = frozenset({"relu", "leaky_relu", "selu"})
"""On samples their flow slides along kinks, which is another matter: they come with Gaussian inputs only."""


class Case(NamedTuple):
    """A problem and what there is to say of it."""

    name: str
    sort: str
    activation: str
    sizes: tuple[int, ...]
    problem: gf.Problem


def case(seed: int, number: int) -> Case:
    """The problem of this number."""
    rng = np.random.default_rng((seed, number))
    activation = str(rng.choice(ACTIVATIONS))
    sort = "Gaussian inputs" if activation in KINKED else str(rng.choice(SORTS))
    inputs, outputs = int(rng.integers(1, 6)), int(rng.integers(1, 3))
    neurons, width, bias = int(rng.integers(1, 6)), int(rng.integers(1, 8)), bool(rng.integers(2))
    hidden = (width, int(rng.integers(1, 8))) if sort == "two hidden layers" else (width,)
    one, two, three = (int(n) for n in rng.integers(2**31, size=3))
    teacher = gf.teachers.random((inputs, neurons, outputs), activation, bias=bias, seed=one)
    student = gf.MLP.random((inputs, *hidden, outputs), activation, bias, seed=two)
    name = f"{activation} {student.sizes} on {neurons}"
    if sort == "Gaussian inputs":
        return Case(name, sort, activation, student.sizes, gf.Problem(teacher, student))
    draws = np.random.default_rng(three)
    X = draws.standard_normal((int(rng.integers(20, 501)), inputs))
    name += f", {len(X)} samples"
    if sort == "noisy targets":
        targets = np.asarray(teacher(X)) + 0.1 * draws.standard_normal((len(X), outputs))
        return Case(name, sort, activation, student.sizes, gf.Problem(targets, student, X))
    return Case(name, sort, activation, student.sizes, gf.Problem(teacher, student, X))
