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


def finite_case(seed: int, number: int) -> Case:
    """A problem whose minimum is known to be finite: a teacher, and a start near it.

    The targets are the teacher's with noise that is orthogonal to all ∂f/∂θ_i there: the teacher is a
    critical point. Its Hessian is positive definite, the smallest eigenvalue above 1e-5 of the largest.
    """
    for attempt in range(100):
        rng = np.random.default_rng((seed, number, 1, attempt))
        activation = str(rng.choice([name for name in ACTIVATIONS if name not in KINKED]))
        inputs, outputs, width = int(rng.integers(1, 4)), int(rng.integers(1, 3)), int(rng.integers(1, 4))
        one, two = (int(n) for n in rng.integers(2**31, size=2))
        sizes, bias = (inputs, width, outputs), bool(rng.integers(2))
        teacher = gf.teachers.random(sizes, activation, bias=bias, seed=one)
        draws = np.random.default_rng(two)
        start = teacher.with_flat(teacher.flat() + 0.01 * draws.standard_normal(teacher.size))
        name = f"{activation} {start.sizes}, near its teacher"
        if rng.integers(3) == 0:
            problem = gf.Problem(teacher, start)
        else:
            X = draws.standard_normal((int(rng.integers(100, 501)), inputs))
            exact = gf.Problem(teacher, teacher, X)
            jacobian = exact.objective.least_squares(teacher.flat())[1]
            # Residuals are output by output or sample by sample: the noise takes the same road.
            noise = 1e-2 * draws.standard_normal(len(jacobian))
            basis = np.linalg.qr(jacobian)[0]
            noise -= basis @ (basis.T @ noise)
            shape = (len(X), outputs)
            base = np.asarray(teacher(X))
            for order in ("C", "F"):
                targets = base + noise.reshape(shape, order=order)
                problem = gf.Problem(targets, start, X)
                if np.abs(problem.gradient(teacher.flat())).max() < 1e-12:
                    break
        values = np.linalg.eigvalsh(problem.hessian(teacher.flat()))
        if values[0] > 1e-5 * values[-1]:
            return Case(name, "finite", activation, start.sizes, problem)
    raise AssertionError("no such problem")
