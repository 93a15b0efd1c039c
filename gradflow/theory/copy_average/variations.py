"""Copy/average beyond the doubly symmetric model: teachers of different norms, anisotropic inputs.

Open questions of the source; what is stated here is derived or measured here. Teachers r_j e_j with
orthonormal e_j, erf, x ~ N(0, C). In w̃ = C^{1/2} w the inputs are isotropic, so a covariance whose axes are
the teachers' is the same landscape as isotropic inputs with norms r_j √C_jj.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from ...inputs import Gaussian
from ...landscape import kinds, neurons
from ...losses.problem import Problem
from ...networks import MLP
from ...refiners import TrustRegionNewton
from ...run.training import train
from ...teachers import orthonormal
from ..check import Check, at_least, at_most, never, seldom
from ..quadrature import gaussian_grid
from ..registry import Progress, register
from .configurations import SOURCE
from .phase import FLOW

__all__ = [
    "assembled",
    "check_anisotropic",
    "check_ends",
    "check_norms",
    "check_spread",
    "equal_norms",
    "kind_of_end",
    "one_neuron_for",
    "spread_problem",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def one_neuron_for(norms: Sequence[float]) -> tuple[np.ndarray, float, float]:
    """The best erf neuron for teachers r_j e_j, by Newton on the loss.

    Parameters
    ----------
    norms : sequence of float
        r_j.

    Returns
    -------
    w : ndarray, shape (ℓ,)
    a : float
        Positive.
    loss : float
        Its loss.

    Examples
    --------
    >>> w, a, loss = one_neuron_for([1.0, 1.0])
    >>> bool(abs(loss - gf.theory.copy_average.one_neuron(2).loss) < 1e-14)
    True
    """
    l = len(norms)
    start = MLP([np.full((1, l), 0.5 / l), [[float(l)]]], None, "erf")
    found = train(
        orthonormal(l, l, norms=np.array(norms)),
        start,
        solver=None,
        refiner=TrustRegionNewton(),
        progress=False,
    )
    w, a = found.student.weights[0][0], float(found.student.weights[1][0, 0])
    return math.copysign(1.0, a) * w, abs(a), found.loss


def equal_norms(l: int, r: float) -> tuple[np.ndarray, float]:
    """The optimum for ℓ teachers of one norm r: a = ℓ, |w|² = ρ/(ℓ−ρ), ρ = r²/(1+r²) (derived).

    Parameters
    ----------
    l : int
        ℓ.
    r : float
        Their norm.

    Returns
    -------
    w : ndarray, shape (ℓ,)
    a : float

    Examples
    --------
    >>> w, a = equal_norms(2, 1.0)
    >>> w.shape, a
    ((2,), 2.0)
    """
    share = r * r / (1 + r * r)
    return np.full(l, math.sqrt(share / (l - share) / l)), float(l)


def assembled(buckets: Sequence[Sequence[float]], neuron: Callable) -> tuple[float, float]:
    """What a CA point of neurons for teachers of several norms is: |∇L|_∞ there, and L − Σ L_i.

    Parameters
    ----------
    buckets : sequence of sequences of float
        The norms of the teachers in each bucket.
    neuron : callable
        Norms → the bucket's neuron, as `one_neuron_for`.

    Returns
    -------
    tuple of two floats

    Examples
    --------
    >>> gradient, gap = assembled([[1.0], [0.5, 2.0]], one_neuron_for)
    >>> bool(gradient < 1e-12), bool(abs(gap) < 1e-12)
    (False, True)
    """
    norms = np.concatenate([np.array(b, dtype=np.float64) for b in buckets])
    k, start, total = norms.size, 0, 0.0
    W, outputs = np.zeros((len(buckets), k + 1)), []
    for i, bucket in enumerate(buckets):
        w, a, loss = neuron(bucket)
        W[i, start : start + len(bucket)] = w
        outputs.append(a)
        start, total = start + len(bucket), total + loss
    student = MLP([W, [outputs]], None, "erf")
    loss, gradient = Problem(orthonormal(k, k + 1, norms=norms), student).loss_and_gradient(student.flat())
    return float(np.abs(gradient).max()), loss - total


@register("copy_average.norms")
def check_norms(
    size: str,
    progress: Progress,
    optimum: Callable = equal_norms,
    mixed_norms: Callable = lambda s: (1 - s, 1 + s),
    neuron: Callable = one_neuron_for,
) -> list[Check]:
    """CA points with teachers of different norms: critical when no bucket mixes norms, else not.

    Parameters
    ----------
    mixed_norms : Callable, default lambda s: (1 - s, 1 + s)
        Those in the bucket that mixes them, by their spread s.
    neuron : Callable, default one_neuron_for
        The best neuron for norms: w, a and its loss.

    Returns
    -------
    list[Check]
    """
    rng = np.random.default_rng(7)
    count = 6 if size == "quick" else 60
    formula, pure, mixed, additive = [], [], [], []
    for index in range(count):
        progress(f"teachers of different norms, {index} of {count}")
        l, r = int(rng.integers(1, 6)), float(rng.uniform(0.4, 2.0))
        w, a, _ = one_neuron_for([r] * l)
        closed = optimum(l, r)
        formula.append(max(abs(a - closed[1]) / l, float(np.abs(w - closed[0]).max())))
        others = rng.uniform(0.4, 2.0, 2)
        gradient, difference = assembled([[r] * l, [others[0]] * 2, [others[1]]], neuron)
        pure.append(gradient)
        additive.append(abs(difference))
        spread = float(rng.uniform(0.3, 0.6))
        mixed.append(assembled([mixed_norms(spread), [r]], neuron)[0] / spread**2)
    return [
        Check(
            name="copy_average.norms.formula",
            statement=(
                "The best erf neuron for ℓ orthogonal teachers of one norm r has a = ℓ and "
                "|w|² = ρ/(ℓ−ρ), ρ = r²/(1+r²) (Newton on the loss against the closed form)."
            ),
            source="derived",
            parts=[at_most("difference of w and of a/ℓ", formula, 1e-11)],
        ),
        Check(
            name="copy_average.norms.critical",
            statement=(
                "Copy-average points stay critical, with additive loss, for teachers of different norms if "
                "every bucket holds teachers of one norm."
            ),
            source=f"{SOURCE}, open question; derived",
            parts=[at_most("|∇L|_∞", pure, 1e-13), at_most("|L − Σ L(bucket)|", additive, 1e-13)],
        ),
        Check(
            name="copy_average.norms.mixed",
            statement=(
                "Two teachers with norms 1 ± s, 0.3 ≤ s ≤ 0.6, in one bucket make the copy-average point "
                "beside a copy not critical: |∇L|_∞ is at least s²/100."
            ),
            source=f"{SOURCE}, open question; measured",
            parts=[at_least("|∇L|_∞/s²", mixed, 0.01)],
        ),
    ]


@register("copy_average.different_norms")
def check_ends(
    size: str, progress: Progress, norms: Sequence[float] | None = None, widths: Sequence[int] | None = None
) -> Check:
    """Where flows end with teachers of different norms: n − 1 perturbed copies and one perturbed average."""
    given = [0.5, 0.7, 0.9, 1.1, 1.3, 1.5] if norms is None else list(norms)
    k, starts = len(given), (6 if size == "quick" else 50)
    rows, wrong, not_best = {}, [], []
    teacher = orthonormal(k, k + 1, norms=np.array(given))
    for n in widths or ((2, 3) if size == "quick" else (2, 3, 4)):
        groups: dict[str, list] = {}
        for seed in range(starts):
            progress(f"flows with different norms, n {n}, seed {seed}")
            student = MLP.random((k + 1, n, 1), "erf", False, seed=seed)
            result = train(teacher, student, solver=FLOW, progress=False)
            table = neurons(result, loose=1.0)
            found = table.to_dict("records") if hasattr(table, "to_dict") else table
            copied = sorted(r["teachers"][0] for r in found if r["kind"].endswith("copy"))
            averaged = sum(kind.endswith("average") for kind in kinds(result, loose=1.0))
            wrong.append(
                not (len(copied) == n - 1 == len(set(copied)) and averaged == 1 and result.converged)
            )
            key = "copies of " + ", ".join(f"{given[j]:g}" for j in copied)
            groups.setdefault(key, []).append(result.loss)
        rows[f"n = {n}"] = {key: [len(v) / starts, min(v)] for key, v in sorted(groups.items())}
        best = min(groups, key=lambda key: min(groups[key]))
        largest = "copies of " + ", ".join(f"{r:g}" for r in sorted(given)[k - n + 1 :])
        not_best.append(best != largest)
    return Check(
        name="copy_average.different_norms",
        statement=(
            f"With teachers of norms {', '.join(f'{r:g}' for r in given)} and n small, flows end with n − 1 "
            "(perturbed) copies of different teachers and one (perturbed) average of the others; the copies "
            "of the largest teachers have the smallest loss."
        ),
        source=f"{SOURCE}, open question; measured",
        parts=[
            never("runs that end elsewhere", wrong),
            never("widths at which others have the smallest loss", not_best),
        ],
        computed={"share and loss": rows},
    )


@register("copy_average.anisotropic")
def check_anisotropic(size: str, progress: Progress, aligned: bool = True) -> Check:
    """Inputs N(0, C) with C diagonal in the teachers' basis: the landscape of norms r_j √C_jj.

    `aligned=False` rotates C, for which the claim is false.
    """
    rng = np.random.default_rng(11)
    losses, gradients = [], []
    for index in range(4 if size == "quick" else 40):
        progress(f"anisotropic inputs, {index}")
        axes, n = rng.uniform(0.3, 2.0, 2), 1 + index % 3
        turn = np.eye(2) if aligned else np.linalg.qr(rng.standard_normal((2, 2)))[0]
        student = MLP.random((2, n, 1), "erf", False, seed=index)
        inputs = gaussian_grid(2, turn @ np.diag(axes) @ turn.T)
        sampled = Problem(orthonormal(2, 2), student, inputs)
        scaled = MLP([student.weights[0] * np.sqrt(axes), student.weights[1]], None, "erf")
        closed = Problem(orthonormal(2, 2, norms=np.sqrt(axes)), scaled)
        loss, gradient = sampled.loss_and_gradient(student.flat())
        same, slope = closed.loss_and_gradient(scaled.flat())
        slope[: scaled.weights[0].size] *= np.tile(np.sqrt(axes), n)
        losses.append(abs(loss - same))
        gradients.append(float(np.abs(gradient - slope).max()))
    return Check(
        name="copy_average.anisotropic",
        statement=(
            "For inputs N(0, C) whose axes are the teachers', L(W, a) is the isotropic loss with teacher "
            "norms √C_jj at W C^{1/2}, gradients included: anisotropy acts as different norms do. The closed "
            "form of the isotropic one against quadrature over N(0, C) in the plane."
        ),
        source=f"{SOURCE}, open question; derived",
        parts=[
            at_most("difference of the losses", losses, 3e-14),
            at_most("difference of the gradients", gradients, 3e-14),
        ],
    )


def spread_problem(k: int, spread: float, kind: str) -> tuple[MLP, Gaussian | None]:
    """Teacher and inputs: norms evenly from 1 − s to 1 + s, or a covariance with such eigenvalues.

    Parameters
    ----------
    k : int
        Teachers.
    spread : float
        s.
    kind : str
        "norms", or "rotated": the axes of the covariance are a fixed random rotation of the teachers'.

    Returns
    -------
    teacher : MLP
    inputs : Gaussian or None

    Examples
    --------
    >>> teacher, inputs = spread_problem(3, 0.5, "norms")
    >>> np.linalg.norm(teacher.weights[0], axis=1)
    array([0.5, 1. , 1.5])
    """
    if kind == "norms":
        return orthonormal(k, k + 1, norms=np.linspace(1 - spread, 1 + spread, k)), None
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((k + 1, k + 1)))[0]
    values = np.linspace(1 - spread, 1 + spread, k + 1)
    return orthonormal(k, k + 1), Gaussian(cov=turn @ np.diag(values) @ turn.T)


def kind_of_end(result) -> tuple[str, float]:
    """What a run ended at, and how near.

    Parameters
    ----------
    result : Result
        Of erf networks on orthogonal teachers.

    Returns
    -------
    kind : str
        "C-A": n − 1 copies of different teachers and one average; "P-n-C": n copies; "other". Copies and
        averages may be perturbed.
    distance : float
        The largest distance of a neuron in function space to what it stands for, relative to its norm.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> kind_of_end(gf.train(teacher, student, progress=False))[0]
    'C-A'
    """
    table = neurons(result, loose=1.0)
    rows = table.to_dict("records") if hasattr(table, "to_dict") else table
    copied = [row["teachers"][0] for row in rows if row["kind"].endswith("copy")]
    averages = sum(row["kind"].endswith("average") for row in rows)
    distance = max(float(row["residual"]) for row in rows)
    if not result.converged or len(set(copied)) < len(copied) or len(copied) + averages < len(rows):
        return "other", distance
    return {0: "P-n-C", 1: "C-A"}.get(averages, "other"), distance


@register("copy_average.spread")
def check_spread(
    size: str, progress: Progress, kinds: Sequence[str] = ("C-A", "P-n-C"), spreads: Sequence | None = None
) -> Check:
    """How the two configurations share the flows when norms or axes of the inputs are spread."""
    k, starts = 8, (6 if size == "quick" else 50)
    widths = (6,) if size == "quick" else (5, 6, 7)
    if spreads is None:
        spreads = (0.0, 0.2, 0.5) if size == "quick" else (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
    rows, others, distances = {}, [], []
    for kind, n, spread in itertools.product(("norms", "rotated"), widths, spreads):
        teacher, inputs = spread_problem(k, spread, kind)
        found = []
        for seed in range(starts):
            progress(f"{kind} spread by {spread}, n {n}, seed {seed}")
            student = MLP.random((k + 1, n, 1), "erf", False, seed=seed)
            result = train(teacher, student, inputs=inputs, solver=FLOW, progress=False)
            found.append(kind_of_end(result))
        names = [name for name, _ in found]
        shares = {name: names.count(name) / starts for name in sorted(set(names))}
        rows[f"{kind} n = {n}, s = {spread:g}"] = shares | {
            "distance": max(distance for _, distance in found)
        }
        others += [name not in kinds for name in names]
        distances += [distance for name, distance in found if name in kinds]
    return Check(
        name="copy_average.spread",
        statement=(
            "With k = 8 teachers whose norms are spread evenly from 1 − s to 1 + s, or inputs whose "
            "covariance has eigenvalues so spread along other axes than the teachers', s ≤ 0.5, flows still "
            "end with n (perturbed) copies or with n − 1 and one (perturbed) average, all but one in a "
            "hundred, perturbed by up to 0.8 of their norms in function space."
        ),
        source=f"{SOURCE}, open questions; measured",
        parts=[
            seldom("runs that end elsewhere", others, 0.01),
            at_most("distance to a copy or an average", distances, 0.8),
        ],
        computed={"shares, and the largest distance": rows},
    )
