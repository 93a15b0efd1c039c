"""Tian 2020, section 5.3: the likeness with competitive Lotka–Volterra equations, as an identity.

One output. Let m_k = |v_k||w_k| be the mass that student k passes on, s_k the sign of v_k, and h(θ) =
F(θ)/2π = E relu(u·x) relu(u'·x). Along the flow of L = E|f − f*|²

    dm_k/dt = 2 √(4m_k² + δ_k²) (b_k − Σ_l A_kl m_l),
    A_kl = s_k s_l h(θ_kl),   b_k = s_k Σ_j |w*_j| v*_j h(θ_kj),

with δ_k = |w_k|² − v_k² conserved (derived: |w_k| and v_k move by each other times the same force). For
balanced students (δ = 0), which the flow comes to as masses grow, that is 4 m_k (b_k − Σ_l A_kl m_l):
species k of mass m_k, growing at the rate 4b_k on the resources (teachers) and competing by A_kl. The
coefficients are frozen where the students' directions are, and turn with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy.integrate

from ...losses.problem import Problem
from ...networks import MLP
from ..check import Check, at_least, at_most, never
from ..geometry import angles, arc_cosine
from ..registry import Progress, register
from .gradients import PAPER
from .simplified import full_path, units

__all__ = [
    "coefficients",
    "exclusion",
    "lotka_volterra",
    "mass_rates",
    "masses",
    "one_output",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def one_output(students: int, width: int, dim: int, seed: int, balanced: bool = True) -> tuple[MLP, MLP]:
    """Random ReLU students and teachers of one positive output weight each.

    Parameters
    ----------
    students, width, dim : int
        n, k and d.
    seed : int
        Of the draw.
    balanced : bool, default True
        Whether |w_k| = |v_k|.

    Returns
    -------
    student, teacher : MLP

    Examples
    --------
    >>> student, teacher = one_output(2, 1, 3, seed=0)
    >>> masses(student).round(12)
    array([0.01, 0.01])
    """
    rng = np.random.default_rng([13, seed])
    U, V = units(rng.standard_normal((students, dim))), units(rng.standard_normal((width, dim)))
    lengths = np.full(students, 0.1) if balanced else rng.uniform(0.3, 1.0, students)
    outputs = lengths if balanced else rng.uniform(-1.0, 1.0, students)
    teacher = MLP([V, rng.uniform(0.5, 1.5, (1, width))], None, "relu")
    return MLP([U * lengths[:, None], outputs[None]], None, "relu"), teacher


def masses(student: MLP) -> np.ndarray:
    """m_k = |v_k||w_k|.

    Parameters
    ----------
    student : MLP
        Of one hidden layer.

    Returns
    -------
    ndarray, shape (n,)

    Examples
    --------
    >>> masses(gf.MLP([[[3.0, 4.0]], [[-2.0]]], None, "relu"))
    array([10.])
    """
    W, A = student.weights
    return np.linalg.norm(W, axis=1) * np.linalg.norm(A, axis=0)


def coefficients(student: MLP, teacher: MLP) -> tuple[np.ndarray, np.ndarray]:
    """The growth b_k and the competition A_kl of the students as they stand.

    Parameters
    ----------
    student, teacher : MLP
        Of ReLU, one output.

    Returns
    -------
    b : ndarray, shape (n,)
    A : ndarray, shape (n, n)

    Examples
    --------
    >>> network = gf.MLP([np.eye(2), [[1.0, 1.0]]], None, "relu")
    >>> coefficients(network, network)[1].round(4)
    array([[0.5   , 0.1592],
           [0.1592, 0.5   ]])
    """
    (W, a), (V, c) = student.weights, teacher.weights
    signs = np.sign(a[0])
    pulls = arc_cosine(angles(W, V)) / (2 * math.pi)
    b = signs * (pulls @ (np.linalg.norm(V, axis=1) * c[0]))
    return b, np.outer(signs, signs) * arc_cosine(angles(W, W)) / (2 * math.pi)


def mass_rates(student: MLP, teacher: MLP) -> np.ndarray:
    """dm_k/dt by the equation.

    Parameters
    ----------
    student, teacher : MLP
        Of ReLU, one output.

    Returns
    -------
    ndarray, shape (n,)

    Examples
    --------
    >>> network = gf.MLP([np.eye(2), [[1.0, 1.0]]], None, "relu")
    >>> bool(abs(mass_rates(network, network)).max() < 1e-15)
    True
    """
    b, A = coefficients(student, teacher)
    W, a = student.weights
    m = masses(student)
    delta = np.square(W).sum(axis=1) - np.square(a[0])
    return 2.0 * np.sqrt(4.0 * m**2 + delta**2) * (b - A @ m)


def lotka_volterra(cases: Sequence[tuple[int, int, int]], rates: Callable = mass_rates) -> Check:
    """The equation of the masses against the gradient of L, at random networks, balanced or not.

    Parameters
    ----------
    cases : sequence of (int, int, int)
        Students, teachers and inputs.
    rates : callable
        The equation, `mass_rates`.

    Returns
    -------
    Check
    """
    off, positive = [], []
    for seed, case in enumerate(cases):
        for balanced in (True, False):
            student, teacher = one_output(*case, seed, balanced)
            problem = Problem(teacher, student)
            slope = student.with_flat(-problem.gradient(problem.theta0)).weights
            W, a = student.weights
            lengths = np.linalg.norm(W, axis=1)
            exact = (
                np.abs(a[0]) * np.sum(slope[0] * W, axis=1) / lengths + lengths * np.sign(a[0]) * slope[1][0]
            )
            scale = np.square(W).sum(axis=1) + np.square(a[0])
            off += (np.abs(rates(student, teacher) - exact) / scale).tolist()
            if balanced:
                positive.append(float(coefficients(student, teacher)[1].min()))
    return Check(
        name="specialization.competition.equation",
        statement="The masses m_k = |v_k||w_k| of ReLU students of one output obey dm_k/dt = 2 sqrt(4m_k^2 "
        "+ delta_k^2) (b_k - sum_l A_kl m_l) along the flow, delta_k = |w_k|^2 - v_k^2: for balanced "
        "students the competitive Lotka-Volterra equations 4 m_k (b_k - sum_l A_kl m_l), with A_kl >= 0 "
        "for outputs of one sign, whose coefficients turn with the directions.",
        source=f"{PAPER}, section 5.3 (the connection, in words); derived",
        parts=[
            at_most("difference from the gradient over |w|² + v²", off, 1e-14),
            at_least("competition of students of one sign", positive, 0.0),
        ],
    )


def exclusion(
    seeds: Sequence[int],
    students: int = 4,
    dim: int = 6,
    t1: float = 60.0,
    share: float = 0.05,
    rest: float = 1e4,
) -> Check:
    """Balanced students and one teacher: who keeps mass, by the exact flow and with directions frozen.

    Parameters
    ----------
    seeds : sequence of int
        Of the draws.
    students, dim : int
        n and d.
    t1 : float, default 60.0
        The end.
    share : float, default 0.05
        A student with less of the largest mass is excluded.
    rest : float, default 1e4
        The time at which the frozen equations are taken to be at rest.

    Returns
    -------
    Check
    """
    early, kept_frozen, kept_exact, equilibrium = [], [], [], []
    for seed in seeds:
        student, teacher = one_output(students, 1, dim, seed)
        b, A = coefficients(student, teacher)
        times = np.concatenate([np.linspace(0.0, 1.0, 6), [t1]])

        def field(t, logs, b=b, A=A):
            return 4.0 * (b - A @ np.exp(logs))

        frozen = scipy.integrate.solve_ivp(
            field,
            (0.0, rest),
            np.log(masses(student)),
            "LSODA",
            t_eval=[*times, rest],
            rtol=1e-10,
            atol=1e-10,
        )
        W, a = full_path(student, teacher, times)
        exact = np.linalg.norm(W, axis=2) * np.abs(a[:, 0])
        early.append(float(np.abs(np.exp(frozen.y[:, 1]) / exact[1] - 1.0).max()))
        m = np.exp(frozen.y[:, -1])
        alive = m > share * m.max()
        kept_frozen.append(int(alive.sum()))
        kept_exact.append(int((exact[-1] > share * exact[-1].max()).sum()))
        # At rest: no species that is there grows, and none that is not could come in.
        growth = b - A @ m
        equilibrium.append(max(float(np.abs(growth[alive]).max()), float(growth.max())))
    return Check(
        name="specialization.competition.exclusion",
        statement=f"{students} balanced students of mass 0.01 and one teacher. With directions frozen the "
        "equations come to rest where no student that is left grows and none that is excluded could come "
        "in; the exact flow keeps as many students or more, since they turn to the teacher before they are "
        "excluded.",
        source=f"{PAPER}, section 5.3 (in words); measured",
        parts=[
            at_most("growth at rest, of those left and of those that could come in", equilibrium, 1e-8),
            never("runs in which the exact flow keeps fewer", np.array(kept_exact) < np.array(kept_frozen)),
            at_most("difference of the masses at t = 0.2", early, 0.05),
        ],
        computed={"kept with frozen directions": kept_frozen, "kept by the exact flow": kept_exact},
    )


@register("specialization.competition")
def _competition(size: str, progress: Progress) -> Iterator[Check]:
    cases = [(1, 1, 2), (3, 2, 4), (8, 5, 20), (30, 10, 50)]
    yield lotka_volterra(cases * (1 if size == "quick" else 20))
    yield exclusion(range(6 if size == "quick" else 100))
