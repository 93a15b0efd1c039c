"""Tian 2020, section 5.3: the equation of two students (Theorem 7), negative feedback, symmetry breaking.

For students that turn by du_k/dt = 2 P⊥_k r_k/|w_k| (`simplified`), whatever the residues r_k are,

    d cos θ_kk'/dt = 2 [r_k·P⊥_k u_k'/|w_k| + r_k'·P⊥_k' u_k/|w_k'|],

P⊥_k u_k' = u_k' − cos θ u_k. With r_k = r_k' = r and equal norms it is 2 (1 − cos θ) r·(u_k + u_k')/|w|: the
angle closes wherever r·(u_k + u_k') > 0. What makes residues differ is ψ(θ): about n equal students in the
middle of two equal teachers a common turn by ε towards one of them grows at a rate λ₊, and turns whose sum is
zero grow at λ₋ = λ₊ + n β: each student that leaves makes room for the others to leave the other way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ... import solvers
from ...losses.problem import Problem
from ...networks import MLP
from ...run.training import train
from ..check import Check, at_least, at_most, never
from ..geometry import angles, arc_cosine
from ..registry import Progress, register
from .dynamics import networks
from .gradients import PAPER
from .simplified import full_path, gaussian_psi, nodes_in_time, path, residues, units

__all__ = [
    "feedback",
    "growth",
    "growth_rates",
    "in_the_middle",
    "pair_equation",
    "pair_rates",
    "saddle_growth",
    "winners",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def pair_rates(student: MLP, r: np.ndarray) -> np.ndarray:
    """d cos θ_kk'/dt of all pairs of students, by Theorem 7, in the time of the flow of L.

    Parameters
    ----------
    student : MLP
        Its first weights are w_k.
    r : ndarray, shape (n, d)
        The residues.

    Returns
    -------
    ndarray, shape (n, n)

    Examples
    --------
    >>> student = gf.MLP([np.eye(2), [[1.0, 1.0]]], None, "relu")
    >>> pair_rates(student, np.ones((2, 2)))
    array([[0., 4.],
           [4., 0.]])
    """
    W = student.weights[0]
    U = units(W)
    speed = 2.0 * r / np.linalg.norm(W, axis=1, keepdims=True)
    half = speed @ U.T - np.sum(speed * U, axis=1, keepdims=True) * (U @ U.T)
    return half + half.T


def pair_equation(seeds: Sequence[int], t1: float = 10.0, rates: Callable = pair_rates) -> Check:
    """Theorem 7 along both flows: cosines from the paths against cosines integrated by the equation.

    Parameters
    ----------
    seeds : sequence of int
        Of the networks.
    t1 : float, default 10.0
        The end.
    rates : callable
        The equation, `pair_rates`.

    Returns
    -------
    Check
    """
    times, weights = nodes_in_time(t1)
    off: dict[str, list] = {"simplified": [], "exact": []}
    moved = []
    for seed in seeds:
        student, teacher = networks(3, 2, 6, 4, 1.0, seed)
        lengths = np.linalg.norm(student.weights[0], axis=1, keepdims=True)
        held = [(u * lengths, student.weights[1]) for u in path(student, teacher, times)]
        for name, points in (
            ("simplified", held),
            ("exact", list(zip(*full_path(student, teacher, times, 1e-12)))),
        ):
            there = [MLP(list(point), None, "relu") for point in points]
            slopes = np.array([rates(s, residues(s, teacher)) for s in there[1:-1]])
            integral = np.tensordot(weights, slopes, axes=1)
            U, first = units(there[-1].weights[0]), units(there[0].weights[0])
            change = U @ U.T - first @ first.T
            pairs = np.triu_indices(len(U), 1)
            off[name] += np.abs(integral - change)[pairs].tolist()
            moved.append(float(np.abs(change).max()))
    return Check(
        name="specialization.theorem_7.pairs",
        statement="d cos(theta_kk')/dt = 2 [r_k.P_k u_k'/|w_k| + r_k'.P_k' u_k/|w_k'|]: integrated along the "
        "simplified dynamics and along the exact flow (with the residues, norms and outputs that it has "
        "then) it gives the cosines of the paths.",
        source=f"{PAPER}, Theorem 7 (its formula derived)",
        parts=[
            at_most("difference along the simplified dynamics", off["simplified"], 2e-11),
            at_most("difference along the exact flow", off["exact"], 2e-11),
            at_least("largest change of a cosine", moved, 0.1),
        ],
    )


def feedback(seeds: Sequence[int], students: int = 4, dim: int = 6, psi: Callable | None = None) -> Check:
    """Students of equal residues and norms: every angle closes wherever r·(u_k + u_k') > 0, at its rate.

    Parameters
    ----------
    seeds : sequence of int
        Of the draws.
    students, dim : int
        n and d.
    psi : callable, optional
        ψ; constant unless given: then all residues are equal.

    Returns
    -------
    Check
    """
    psi = psi or (lambda angle: np.full_like(angle, 0.5))
    wrong, signs, ends, rates, apart = [], [], [], [], []
    for seed in seeds:
        rng = np.random.default_rng([7, seed])
        W = units(rng.standard_normal((students, dim)))
        student = MLP([W, np.full((1, students), 0.1)], None, "relu")
        teacher = MLP([units(rng.standard_normal((2, dim))), [[8.0, 4.0]]], None, "relu")
        times = np.linspace(0.0, 40.0, 401)
        U = path(student, teacher, times, psi)
        r = np.array([residues(MLP([u, student.weights[1]], None, "relu"), teacher, psi) for u in U])
        apart.append(float(np.abs(r - r[:, :1]).max()))
        i, j = np.triu_indices(students, 1)
        pull = np.einsum("td,tpd->tp", r[:, 0], U[:, i] + U[:, j])
        gap = np.linalg.norm(U[:, i] - U[:, j], axis=2)  # 2 sin(θ/2): 1 − cos θ = gap²/2
        slope = -pull  # d ln gap/dt = −r·(u_k + u_k')/|w|
        # Where the pull keeps its sign between two looks the gap moves that way.
        kept = (np.sign(pull[1:]) == np.sign(pull[:-1])) & (gap[:-1] > 1e-9)
        wrong += (np.sign(np.diff(gap, axis=0)) != -np.sign(pull[1:]))[kept].tolist()
        signs.append((pull < 0).any())
        alike = np.einsum("tnd,td->tn", U, units(r[:, 0]))
        ends.append(float(1.0 - alike[-1].min()))
        late = slice(np.flatnonzero(gap.max(axis=1) < 1e-2)[0], np.flatnonzero(gap.max(axis=1) > 1e-7)[-1])
        fitted = np.polyfit(times[late], np.log(gap[late]), 1)[0]
        rates += np.abs(fitted / slope[late].mean(axis=0) - 1.0).tolist()
    return Check(
        name="specialization.theorem_7.feedback",
        statement="Students of equal norms, equal outputs and a constant psi have equal residues r. The "
        "angle of two of them closes wherever r.(u_k + u_k') > 0 and opens where it is negative, the last "
        "of it like exp(-t r.(u_k + u_k')/|w|), and all students end along r.",
        source=f"{PAPER}, Theorem 7 and section 5.3 (in words); the rate derived",
        parts=[
            at_most("difference of the residues", apart, 1e-14),
            never("steps in which an angle goes the other way", wrong),
            at_most("1 − cos of a student to r at the end", ends, 1e-14),
            at_most("rate of closing over the predicted one, less 1", rates, 1e-5),
        ],
        computed={"runs in which some angle opened first": int(np.sum(signs))},
    )


def in_the_middle(students: int, mass: float, half: float, dim: int = 4, outputs: int = 1) -> tuple[MLP, MLP]:
    """n equal students of |w| = 1 along the bisector of two equal unit teachers, output weights one and c.

    Parameters
    ----------
    students : int
        n.
    mass : float
        c, the output weight of each.
    half : float
        φ: the teachers are at angle 2φ.
    dim, outputs : int
        Inputs, and outputs (all in the first).

    Returns
    -------
    student, teacher : MLP

    Examples
    --------
    >>> student, teacher = in_the_middle(2, 0.5, math.pi / 4)
    >>> angles(student.weights[0], teacher.weights[0]).round(6)[0]
    array([0.785398, 0.785398])
    """
    V = np.zeros((2, dim))
    V[:, 0], V[:, 1] = math.cos(half), [math.sin(half), -math.sin(half)]
    W, A, C = np.zeros((students, dim)), np.zeros((outputs, students)), np.zeros((outputs, 2))
    W[:, 0], A[0], C[0] = 1.0, mass, 1.0
    return MLP([W, A], None, "relu"), MLP([V, C], None, "relu")


def growth_rates(students: int, mass: float, half: float) -> tuple[float, float, float]:
    """The rates at which turns about the point of `in_the_middle` grow, outputs and norms held.

    Parameters
    ----------
    students, mass, half
        As there.

    Returns
    -------
    common : float
        λ₊, of all students alike towards one teacher.
    apart : float
        λ₋ = λ₊ + nβ, of turns towards a teacher whose sum is zero.
    off : float
        Of turns out of the teachers' plane whose sum is zero.

    Notes
    -----
    With r·u = 2αψ(φ) cos φ − nβ/2, α = c, β = c²: λ₊ = 2[(α/π) sin φ − r·u − nβ/2] is 2[(α/π) sin φ −
    2αψ(φ) cos φ]; out of the plane the first term is lacking.

    Examples
    --------
    >>> common, apart, off = growth_rates(2, 0.5, math.pi / 4)
    >>> common < apart, off < apart
    (True, True)
    """
    alpha, beta = mass, mass * mass
    teachers = 2.0 * alpha * gaussian_psi(half) * math.cos(half)
    towards = alpha / math.pi * math.sin(half)
    # −β Σ ψ w_k' across u_k is −(β/2) Σ (η_k' − η_k): zero for a common turn, + nβ/2 η for others.
    room = 0.5 * students * beta
    return 2 * (towards - teachers), 2 * (towards - teachers + room), 2 * (room - teachers)


def _modes(students: int) -> dict[str, tuple[np.ndarray, int]]:
    """Turns of the students, and along which input: all alike, against each other, and out of the plane."""
    apart = np.ones(students)
    apart[1:] = -1.0 / (students - 1)
    return {"common": (np.ones(students), 1), "apart": (apart, 1), "off": (apart, 2)}


def growth(
    cases: Sequence[tuple[int, float, float]] = ((2, 0.9, 0.7), (3, 0.7, 0.7), (5, 0.6, 1.2), (2, 1.1, 0.3)),
    rates: Callable = growth_rates,
) -> Check:
    """Growth and decay of small turns along the simplified dynamics, against `growth_rates`.

    Parameters
    ----------
    cases : sequence of (int, float, float)
        n, c, φ of `in_the_middle`.
    rates : callable
        What is claimed.

    Returns
    -------
    Check
    """
    off, growing = [], []
    for students, mass, half in cases:
        student, teacher = in_the_middle(students, mass, half)
        for (shape, axis), rate in zip(_modes(students).values(), rates(students, mass, half)):
            size = 1e-7 if rate > 0 else 1e-3
            W = student.weights[0].copy()
            W[:, axis] = size * shape
            span = math.log(1e3) / abs(rate)
            times = np.linspace(0.0, span, 40)
            U = path(MLP([units(W), student.weights[1]], None, "relu"), teacher, times, rtol=1e-13)
            seen = np.log(U[:, :, axis] @ shape)
            off.append(abs(np.polyfit(times, seen, 1)[0] / rate - 1.0))
            growing.append(rate > 0)
    return Check(
        name="specialization.theorem_7.growth",
        statement="About n equal students in the middle of two equal teachers a common turn towards one of "
        "them changes at the rate 2[(alpha/pi) sin(phi) - 2 alpha psi(phi) cos(phi)], turns whose sum is "
        "zero at that rate plus n beta, and those out of the plane at 2[n beta/2 - 2 alpha psi(phi) "
        "cos(phi)]: fitted over a factor of a thousand along the simplified dynamics.",
        source=f"{PAPER}, section 5.3 (symmetry breaking, in words); the rates derived",
        parts=[
            at_most("fitted rate over the predicted one, less 1", off, 3e-4),
            at_least("modes that grow", int(np.sum(growing)), float(len(cases)), cases=len(growing)),
        ],
    )


def saddle_growth(
    students: Sequence[int] = (2, 3, 5), half: float = math.pi / 4, rates: Callable = growth_rates
) -> Check:
    """At the saddle of the exact flow itself, one output: Hessian, flow and the simplified rate agree.

    Parameters
    ----------
    students : sequence of int
        n.
    half : float, default π/4
        φ.
    rates : callable
        What is claimed.

    Returns
    -------
    Check
    """
    from_hessian, from_flow, gradients = [], [], []
    best = 2.0 * float(arc_cosine(half)) / math.pi  # Σ c of the best single neuron, |w| = 1
    for n in students:
        student, teacher = in_the_middle(n, best / n, half)
        problem = Problem(teacher, student)
        gradients.append(float(np.abs(problem.gradient(problem.theta0)).max()))
        rate = rates(n, best / n, half)[1]
        W = student.weights[0]
        # The odd turns in the plane do not mix with norms and outputs: their block of the Hessian.
        odd = np.arange(n) * W.shape[1] + 1
        away = W.copy()
        away[:, 1] = 1e-7 * _modes(n)["apart"][0]
        # On the saddle coinciding ReLU neurons have no Hessian: just beside it.
        beside = Problem(teacher, MLP([away, student.weights[1]], None, "relu"))
        values = np.linalg.eigvalsh(beside.hessian(beside.theta0)[np.ix_(odd, odd)])
        from_hessian.append(abs(-values[0] / rate - 1.0))
        times = np.linspace(0.0, math.log(1e3) / rate, 40)
        path_W, _ = full_path(MLP([away, student.weights[1]], None, "relu"), teacher, times, 1e-12)
        seen = np.log(path_W[:, :, 1] @ _modes(n)["apart"][0])
        from_flow.append(abs(np.polyfit(times, seen, 1)[0] / rate - 1.0))
    return Check(
        name="specialization.theorem_7.saddle",
        statement="n students that share the best single neuron for two equal teachers at angle 2 phi are a "
        "saddle of the exact flow (one output): there the residue along them is zero and the rate of turns "
        "whose sum is zero, (2 alpha/pi) sin(phi), is minus the smallest eigenvalue of that block of the "
        "Hessian, and the rate at which the exact flow leaves.",
        source=f"{PAPER}, section 5.3 (symmetry breaking, in words); derived",
        parts=[
            at_most("|∇L|_∞ at the saddle", gradients, 1e-14),
            at_most("−smallest eigenvalue over the rate, less 1", from_hessian, 1e-5),
            at_most("fitted rate of the exact flow over it, less 1", from_flow, 1e-4),
        ],
    )


def winners(seeds: Sequence[int], push: float = 1e-3, sign: float = 1.0, half: float = math.pi / 4) -> Check:
    """Two students next to the saddle: who is ahead in the growing mode wins the teacher.

    Parameters
    ----------
    seeds : sequence of int
        Of the pushes.
    push : float, default 1e-3
        Their size.
    sign : float, default 1.0
        Who is claimed to win: the one that is ahead.
    half : float, default π/4
        φ.

    Returns
    -------
    Check
    """
    best = 2.0 * float(arc_cosine(half)) / math.pi
    wrong, far, losses = [], [], []
    for seed in seeds:
        student, teacher = in_the_middle(2, 0.5 * best, half)
        noise = np.random.default_rng([11, seed]).standard_normal(student.flat().size) * push
        solver = solvers.Kvaerno5(rtol=1e-6, atol=1e-8, gtol=1e-8)
        start = student.with_flat(student.flat() + noise)
        found = train(teacher, start, solver=solver, progress=False)
        ahead = sign * (start.weights[0][0, 1] - start.weights[0][1, 1])
        to_first = angles(found.student.weights[0], teacher.weights[0])[:, 0]
        wrong.append((to_first[0] < to_first[1]) != (ahead > 0))
        far.append(float(np.sort(to_first)[0]))
        losses.append(found.loss)
    return Check(
        name="specialization.theorem_7.winners",
        statement=f"Two students at that saddle, all weights pushed by {push:g} randn: the exact flow ends "
        "with one student on each teacher, and the one that was ahead towards a teacher, by however "
        "little, gets it.",
        source=f"{PAPER}, section 5.3 (winners-take-all, in words); measured",
        parts=[
            never("runs in which the other one wins", wrong),
            at_most("angle of the winner to its teacher", far, 2e-13),
            at_most("L at the end", losses, 1e-14),
        ],
    )


@register("specialization.theorem_7")
def _theorem_7(size: str, progress: Progress) -> Iterator[Check]:
    quick = size == "quick"
    yield pair_equation(range(2 if quick else 20))
    yield feedback(range(6 if quick else 100))
    progress("growth about the middle of two teachers")
    yield growth()
    yield saddle_growth()
    yield winners(range(20 if quick else 200))
