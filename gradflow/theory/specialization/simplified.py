"""Tian 2020, section 5.2: the simplified dynamics (Eq. 10) of students whose norms and outputs are held.

Two layers, ReLU, no biases: teachers w*_j with outgoing weights v*_j, students w_k with v_k, α_kj = v_k·v*_j,
β_kk' = v_k·v_k'. For spherically symmetric inputs with E|x|²/d = 1 the flow of L = E|f − f*|² turns a
student, u_k = w_k/|w_k|, by

    |w_k| du_k/dt = 2 P⊥_k r_k,   r_k = Σ_j α_kj ψ(θ_kj) w*_j − Σ_k' β_kk' ψ(θ_kk') w_k',   ψ(θ) = (π − θ)/2π,

exactly (Theorem 6: the rest of the gradient is along w_k). The simplified dynamics are this with |w_k| and
v_k as they were at the start: the gradient flow of L on a product of spheres. Assumption 2 of the paper is
the same form, with another falling ψ, for laws without the symmetry, where it is an approximation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy.integrate

from ... import solvers
from ...losses.problem import Problem
from ...networks import MLP
from ...run.training import train
from ..check import Check, at_least, at_most
from ..geometry import angles
from ..registry import Progress, register
from .dynamics import networks
from .gradients import PAPER

__all__ = [
    "angles_along",
    "assumption_2",
    "departure",
    "energy",
    "full_path",
    "gaussian_psi",
    "nodes_in_time",
    "path",
    "pulls_of_samples",
    "residues",
    "turning",
    "units",
    "velocities",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def gaussian_psi(angle):
    """ψ(θ) = (π − θ)/2π of spherically symmetric inputs with E|x|²/d = 1.

    Parameters
    ----------
    angle : float or ndarray
        θ.

    Returns
    -------
    float or ndarray

    Examples
    --------
    >>> gaussian_psi(0.0), gaussian_psi(math.pi)
    (0.5, 0.0)
    """
    return (math.pi - angle) / (2 * math.pi)


def units(W: np.ndarray) -> np.ndarray:
    """The rows of W over their lengths.

    Parameters
    ----------
    W : ndarray, shape (..., d)
        No row is zero.

    Returns
    -------
    ndarray, shape (..., d)

    Examples
    --------
    >>> units(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]])
    """
    return W / np.linalg.norm(W, axis=-1, keepdims=True)


def residues(student: MLP, teacher: MLP, psi: Callable = gaussian_psi) -> np.ndarray:
    """The residues r_k of Eq. 10, one row for each student.

    Parameters
    ----------
    student, teacher : MLP
        Of ReLU, one hidden layer, no biases.
    psi : callable
        ψ(θ).

    Returns
    -------
    ndarray, shape (n, d)

    Examples
    --------
    >>> teacher = gf.MLP([[[1.0, 0.0]], [[1.0]]], None, "relu")
    >>> residues(gf.MLP([[[0.0, 1.0]], [[2.0]]], None, "relu"), teacher)  # α/4 w* − β/2 w
    array([[ 0.5, -2. ]])
    """
    (W, A), (V, C) = student.weights, teacher.weights
    pulled = (A.T @ C * psi(angles(W, V))) @ V
    return pulled - (A.T @ A * psi(angles(W, W))) @ W


def turning(student: MLP, teacher: MLP, psi: Callable = gaussian_psi) -> np.ndarray:
    """du_k/dt = 2 P⊥_k r_k/|w_k|: how the directions move in the time of the flow of L.

    Parameters
    ----------
    student, teacher, psi
        As in `residues`.

    Returns
    -------
    ndarray, shape (n, d)

    Examples
    --------
    >>> teacher = gf.MLP([[[1.0, 0.0]], [[1.0]]], None, "relu")
    >>> turning(gf.MLP([[[0.0, 1.0]], [[2.0]]], None, "relu"), teacher)
    array([[1., 0.]])
    """
    W, r = student.weights[0], residues(student, teacher, psi)
    U = units(W)
    across = r - np.sum(r * U, axis=1, keepdims=True) * U
    return 2.0 * across / np.linalg.norm(W, axis=1, keepdims=True)


def path(
    student: MLP,
    teacher: MLP,
    times: Sequence[float] | np.ndarray,
    psi: Callable = gaussian_psi,
    rtol: float = 1e-12,
) -> np.ndarray:
    """The directions along the simplified dynamics: |w_k| and v_k stay those of the student given.

    Parameters
    ----------
    student, teacher, psi
        As in `residues`.
    times : sequence of float
        Rising from 0, in units of the flow of L.
    rtol : float, default 1e-12
        Of DOP853.

    Returns
    -------
    ndarray, shape (times, n, d)
        Unit vectors.

    Examples
    --------
    >>> teacher = gf.MLP([[[1.0, 0.0]], [[1.0]]], None, "relu")
    >>> student = gf.MLP([[[0.0, 1.0]], [[1.0]]], None, "relu")
    >>> bool(abs(path(student, teacher, [0.0, 50.0])[-1] - [1.0, 0.0]).max() < 1e-6)
    True
    """
    W, A = student.weights
    lengths = np.linalg.norm(W, axis=1, keepdims=True)

    def field(t, flat):
        there = MLP([units(flat.reshape(W.shape)) * lengths, A], None, "relu")
        return turning(there, teacher, psi).ravel()

    span = (0.0, float(times[-1]))
    found = scipy.integrate.solve_ivp(
        field, span, units(W).ravel(), "DOP853", t_eval=times, rtol=rtol, atol=rtol
    )
    return units(found.y.T.reshape(-1, *W.shape))


def full_path(
    student: MLP, teacher: MLP, times: Sequence[float] | np.ndarray, rtol: float = 1e-10
) -> tuple[np.ndarray, np.ndarray]:
    """The weights along the exact flow of L, x ~ N(0, I).

    Parameters
    ----------
    student, teacher : MLP
        As in `residues`.
    times : sequence of float
        Rising from 0.
    rtol : float, default 1e-10
        Of the solver.

    Returns
    -------
    W : ndarray, shape (times, n, d)
    A : ndarray, shape (times, outputs, n)

    Examples
    --------
    >>> student, teacher = networks(2, 1, dim=3, outputs=2, polarity=0.0, seed=0)
    >>> [found.shape for found in full_path(student, teacher, [0.0, 0.5])]
    [(2, 2, 3), (2, 2, 2)]
    """
    solver = solvers.Dopri8(rtol=rtol, atol=1e-2 * rtol, t1=float(times[-1]), gtol=0.0)
    flow = train(teacher, student, solver=solver, refiner=None, progress=False).flow
    assert flow is not None
    found = [student.with_flat(flow.at(t)).weights for t in times]
    return np.array([W for W, _ in found]), np.array([A for _, A in found])


def nodes_in_time(t1: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Legendre in time on 40 intervals that grow: paths are smooth where no angle passes 0 or π.

    Parameters
    ----------
    t1 : float
        The end.

    Returns
    -------
    times : ndarray
        0, the nodes, and t1.
    weights : ndarray
        Of the nodes.

    Examples
    --------
    >>> times, weights = nodes_in_time(2.0)
    >>> round(float(weights @ times[1:-1]), 12)
    2.0
    """
    edges = t1 * np.linspace(0.0, 1.0, 41) ** 2
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half = 0.5 * np.diff(edges)[:, None]
    times = (half * (nodes + 1.0) + edges[:-1, None]).ravel()
    return np.concatenate([[0.0], times, [t1]]), (half * weights).ravel()


def velocities(cases: Sequence[tuple[int, int, int, int]], factor: float = 1.0) -> Check:
    """The turning of Eq. 10 against the gradient of the population loss, on random networks.

    Parameters
    ----------
    cases : sequence of (int, int, int, int)
        Teachers, students per teacher, inputs and outputs.
    factor : float, default 1.0
        Of the turning, 1 in the claim.

    Returns
    -------
    Check
    """
    off = []
    for seed, (width, times, dim, outputs) in enumerate(cases):
        student, teacher = networks(width, times, dim, outputs, 1.0, seed)
        W = student.weights[0]
        problem = Problem(teacher, student)
        slope = -problem.gradient(problem.theta0)[: W.size].reshape(W.shape)
        U, lengths = units(W), np.linalg.norm(W, axis=1, keepdims=True)
        exact = (slope - np.sum(slope * U, axis=1, keepdims=True) * U) / lengths
        apart = np.abs(factor * turning(student, teacher) - exact).max(axis=1)
        off += (apart / np.linalg.norm(slope / lengths, axis=1)).tolist()
    return Check(
        name="specialization.simplified.velocities",
        statement="For standard Gaussian inputs the flow of L = E|f - f*|^2 turns ReLU students by du_k/dt = "
        "2 P_k r_k/|w_k|, P_k the projection across w_k, r_k = sum_j alpha_kj psi(theta_kj) w*_j - sum_k' "
        "beta_kk' psi(theta_kk') w_k', psi(theta) = (pi - theta)/2pi: Eq. 10 is exact for the directions.",
        source=f"{PAPER}, Eq. 10 (its formula derived), against the gradient of the closed-form loss",
        parts=[at_most("difference over |dL/dw_k|/|w_k|", off, 1e-14)],
        computed={"cases": [list(case) for case in cases]},
    )


def energy(seeds: Sequence[int], t1: float = 20.0, power: float = 1.0) -> Check:
    """L along the simplified dynamics, from its own energy balance and from the closed form at the end.

    Parameters
    ----------
    seeds : sequence of int
        Of the networks.
    t1 : float, default 20.0
        The end.
    power : float, default 1.0
        Of |w_k|² in the balance, 1 in the claim.

    Returns
    -------
    Check
    """
    off, fallen = [], []
    for seed in seeds:
        student, teacher = networks(3, 2, 6, 4, 1.0, seed)
        W, A = student.weights
        lengths = np.linalg.norm(W, axis=1)
        times, weights = nodes_in_time(t1)
        U = path(student, teacher, times)
        at = [MLP([u * lengths[:, None], A], None, "relu") for u in U]
        lost = [
            float(np.sum(lengths ** (2 * power) * np.square(turning(there, teacher)).sum(axis=1)))
            for there in at[1:-1]
        ]
        spent = float(weights @ lost)
        first, last = (Problem(teacher, there) for there in (at[0], at[-1]))
        drop = first.loss(first.theta0) - last.loss(last.theta0)
        off.append(abs(spent / drop - 1.0))
        fallen.append(drop / first.loss(first.theta0))
    return Check(
        name="specialization.simplified.energy",
        statement="The simplified dynamics are the gradient flow of L with |w_k| and v_k held: L falls by "
        "the integral of sum_k |w_k|^2 |du_k/dt|^2 along their paths.",
        source=f"{PAPER}, Eq. 10; derived",
        parts=[
            at_most("relative difference of the integral and the fall of L", off, 1e-9),
            at_least("share by which L falls", fallen, 0.01),
        ],
    )


def departure(
    seeds: Sequence[int], order: float = 2.0, size: tuple[int, int, int, int] = (5, 2, 15, 10)
) -> Check:
    """How far the simplified dynamics stay with the exact flow: the order in time, and angles and times.

    Parameters
    ----------
    seeds : sequence of int
        Of the networks.
    order : float, default 2.0
        Of the difference in time that is claimed.
    size : tuple of four int, default (5, 2, 15, 10)
        Teachers, students per teacher, inputs and outputs.

    Returns
    -------
    Check
    """
    small, late = np.geomspace(1e-3, 1e-2, 5), np.linspace(0.0, 8.0, 161)
    slopes, times, turned, ends, freed = [], [], [], [], []
    for seed in seeds:
        student, teacher = networks(*size, 1.0, seed)
        grid = np.concatenate([[0.0], small, late[1:]])
        held, (W, _) = path(student, teacher, grid, rtol=1e-11), full_path(student, teacher, grid)
        exact = units(W)
        apart = 2.0 * np.arcsin(np.minimum(1.0, 0.5 * np.linalg.norm(held - exact, axis=2)))
        slopes.append(np.polyfit(np.log(small), np.log(apart[1:6].max(axis=1)), 1)[0])
        worst, moved = apart.mean(axis=1), angles_along(exact)
        beyond = np.flatnonzero(worst > 0.1)
        at = int(beyond[0]) if beyond.size else grid.size - 1
        times.append(grid[at])
        turned.append(moved[at])
        ends.append(worst[-1])
        freed.append(moved[-1])
    return Check(
        name="specialization.simplified.departure",
        statement="Students that start from the same weights along the simplified dynamics and along the "
        "exact flow: their directions part like t^2 (the velocities agree, and only norms and outputs "
        "differ). Computed: the time at which the mean angle between the two passes 0.1, and how far the "
        "students have turned by then.",
        source=f"{PAPER}, section 5.2; derived and measured",
        parts=[
            at_most("|order in time less 2|", np.abs(np.array(slopes) - order), 0.05),
            at_least("mean angle turned by the exact flow when the two are 0.1 apart", turned, 0.15),
        ],
        computed={
            "times_of_0.1": times,
            "turned_by_then": turned,
            "mean_angle_apart_at_8": ends,
            "turned_at_8": freed,
        },
    )


def angles_along(U: np.ndarray) -> np.ndarray:
    """The mean angle between the first directions and those at each time.

    Parameters
    ----------
    U : ndarray, shape (times, n, d)
        Unit vectors.

    Returns
    -------
    ndarray, shape (times,)

    Examples
    --------
    >>> angles_along(np.array([[[1.0, 0.0]], [[0.0, 1.0]]])).round(6)
    array([0.      , 1.570796])
    """
    return 2.0 * np.arcsin(np.minimum(1.0, 0.5 * np.linalg.norm(U - U[0], axis=2))).mean(axis=1)


def pulls_of_samples(X: np.ndarray, pairs: int, rng: np.random.Generator) -> np.ndarray:
    """E[1(w'·x > 0) relu(w·x) e·x]/(ψ(θ)|P⊥w|) of random pairs, e the unit vector of P⊥w across w'.

    Parameters
    ----------
    X : ndarray, shape (samples, d)
        The samples; E xxᵀ = I.
    pairs : int
        Of w and w'.
    rng : numpy.random.Generator
        Draws the pairs.

    Returns
    -------
    ndarray, shape (pairs,)
        One for each pair where Eq. 10 is exact, but for the error of the mean.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> bool(abs(pulls_of_samples(rng.standard_normal((100_000, 3)), 5, rng) - 1).max() < 0.1)
    True
    """
    found = []
    for _ in range(pairs):
        w, gate = units(rng.standard_normal((2, X.shape[1])))
        across = w - (w @ gate) * gate
        size = float(np.linalg.norm(across))
        mean = np.mean(np.where(X @ gate > 0, np.maximum(X @ w, 0.0), 0.0) * (X @ across) / size)
        found.append(mean / (gaussian_psi(angles(w[None], gate[None])[0, 0]) * size))
    return np.array(found)


def assumption_2(
    dims: tuple[int, int, int] = (2, 10, 100), samples: int = 200_000, pairs: int = 20, seed: int = 0
) -> Check:
    """Assumption 2 for inputs without the symmetry: components uniform in ±√3, by samples.

    Parameters
    ----------
    dims : tuple of three int, default (2, 10, 100)
        Numbers of inputs, rising.
    samples, pairs : int
        Of each.
    seed : int
        Of the draw.

    Returns
    -------
    Check
    """
    rng = np.random.default_rng(seed)

    def rms(X: np.ndarray) -> float:
        return float(np.sqrt(np.mean(np.square(pulls_of_samples(X, pairs, rng) - 1.0))))

    half = math.sqrt(3.0)
    spread = [rms(rng.uniform(-half, half, (samples, dim))) for dim in dims]
    error = rms(rng.standard_normal((samples, dims[-1])))
    return Check(
        name="specialization.simplified.assumption_2",
        statement="For inputs of independent uniform components the pull across a student, over psi(theta) "
        f"= (pi - theta)/2pi, is 1 up to a spread that falls with the number of inputs ({dims[0]}, "
        f"{dims[1]}, {dims[2]}): Assumption 2 is an approximation there. {samples} samples; Gaussian ones "
        "show the error of the means.",
        source=f"{PAPER}, Assumption 2; measured",
        parts=[
            at_least(f"rms of the ratio less 1 at {dims[0]} inputs", spread[0], 0.1, cases=pairs),
            at_most(
                f"rms of the ratio less 1 at {dims[1]} over that at {dims[0]}",
                spread[1] / spread[0],
                0.5,
                cases=pairs,
            ),
            at_most(f"rms of the ratio less 1 at {dims[2]} inputs", spread[2], 0.015, cases=pairs),
            at_most("the same for Gaussian inputs", error, 0.015, cases=pairs),
        ],
        computed={"inputs": list(dims), "rms": spread, "rms of Gaussian samples": error},
    )


@register("specialization.simplified")
def _simplified(size: str, progress: Progress) -> Iterator[Check]:
    cases = [(3, 2, 6, 4), (5, 5, 15, 10), (1, 1, 2, 1), (10, 2, 100, 50)]
    yield velocities(cases * (1 if size == "quick" else 20))
    yield energy(range(2 if size == "quick" else 10))
    progress("simplified and exact flows")
    yield departure(range(3)) if size == "quick" else departure(range(10), size=(10, 2, 100, 50))
    yield assumption_2()
