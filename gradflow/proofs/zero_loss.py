"""Students that reproduce the teacher: L = 0, and the dimension of the manifold on which it is.

Every student neuron is taken for a copy of one teacher (w_i = v_j, for erf also −v_j, for relu λ v_j with
λ > 0) or for a member of a silent group, whose neurons copy one another in the same sense and whose outputs
cancel (alone: a_i = 0; for erf without biases also w_i = 0). At θ°, where that holds exactly and the
copies' outputs add up to the teacher's, f_θ = f* unit by unit and L = 0. So it stays along

    m copies of one teacher     o (m − 1) dimensions of their outputs, for relu m scales more
    a silent group of m         d for their weight, one for a bias, and o (m − 1); for relu m − 1 scales more
    a neuron with w_i = 0       o for its outputs

together D. The Hessian at θ° is ≥ 0 and vanishes on their tangents; if it is positive on a space of P − D
dimensions, which Gershgorin's discs prove, then its rank is P − D, the points with ∇L = 0 near θ° lie
in a manifold of dimension D (implicit functions), and so the zeros of L there are this family. Where several
neurons copy one teacher the rank is smaller, since their weights part at second order only: then the
dimension is at least D, and the other directions in which the Hessian vanishes are not decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..support.threads import single_threaded_blas
from .balls import arb, arb_mat, exact, midpoint, precision, upper, version
from .inertia import by_discs
from .proof import Proof, no_proof
from .settings import build, floats, hexadecimal, measured

BITS = 160
"""Precision of θ°, a ball of this relative width where a division does not come out even."""

RANK_BITS = 64
"""Precision of the Hessian there."""


def prove_zero(
    setting: dict,
    theta: Sequence[float],
    free: Sequence[int] | None = None,
    *,
    within: float = 1e-6,
    loss=None,
) -> Proof:
    """The proof that L = 0 is attained near θ, with the manifold's dimension; arguments as `prove.prove`."""
    given = tuple(hexadecimal(list(theta)))
    loss = build(setting) if loss is None else loss
    free = tuple(range(loss.size)) if free is None else tuple(free)
    if setting["kind"] != "population" or len(free) != loss.size:
        return no_proof(
            "a loss of zero is proved for population losses with all parameters free", setting, given, free
        )
    with precision(BITS):
        found = _exact_point(setting, np.array(theta, dtype=np.float64), within)
        if isinstance(found, str):
            return no_proof(found, setting, given, free)
        point, dimension, structure = found
        radius = max(upper(a - b) for a, b in zip(point, exact(theta)))
        if not measured(setting, theta, [a - b for a, b in zip(point, exact(theta))]) <= within:
            return no_proof(
                f"the zero found is {radius:.3g} away, more than {within:.3g}", setting, given, free
            )
    with precision(RANK_BITS):
        positive = _rank(loss.hessian(point), loss.size - dimension)
    known: dict[str, Any] = {
        "bits": BITS, "kind": "zero loss", "arithmetic": version(), "dimension": dimension,
        "structure": structure, "within": within, "contraction": 0.0, "step": 0.0,
    }  # fmt: skip
    return Proof(
        exists=True, radius=radius * 1.25, unique_radius=0.0, index=0, is_minimum=True, loss=(0.0, 0.0),
        undecided=loss.size - dimension - positive, signs=(0, positive), loss_text="0", box=0.0, gauges=(),
        reason="",
        problem=setting, theta=given, center=given, free=free, **known,
    )  # fmt: skip


def _rank(rows, most: int) -> int:
    """A rank that the Hessian is proved to have at least, on eigenvectors of its largest eigenvalues."""
    middle = np.array([[midpoint(v) for v in row] for row in rows])
    if not np.isfinite(middle).all():
        return 0
    with single_threaded_blas():
        values, vectors = np.linalg.eigh(0.5 * (middle + middle.T))
    clear = min(most, int((values > 1e-11 * values[-1]).sum()))
    if clear <= 0:
        return 0
    V = arb_mat(vectors[:, len(rows) - clear :].tolist())
    return by_discs((V.transpose() * (arb_mat(rows) * V)).tolist()).positive


def _exact_point(setting: dict, theta: np.ndarray, within: float):
    """(θ° as balls, D, what every neuron is), or why there is none."""
    d, n, o = setting["sizes"]
    bias, relu = setting["bias"], setting["activation"] == "relu"
    teacher = setting["teacher"]
    V, A = np.array(floats(teacher["weights"])), np.array(floats(teacher["output"]))
    vb = np.zeros(len(V)) if teacher["bias"] is None else np.array(floats(teacher["bias"]))
    if teacher["bias"] is not None and not bias and vb.any():
        return "the teacher has hidden biases and the student has none"
    c = np.zeros(o) if teacher["output_bias"] is None else np.array(floats(teacher["output_bias"]))
    if c.any() and not setting["output_bias"]:
        return "the teacher has output biases and the student has none"
    W = theta[: n * d].reshape(n, d)
    b = theta[n * d : n * (d + 1)] if bias else np.zeros(n)
    a = theta[n * (d + bias) : n * (d + bias + o)].reshape(o, n)
    rows, targets = np.column_stack([W, b]), np.column_stack([V, vb])
    groups: dict[int, list] = {j: [] for j in range(len(V))}
    structure: list[tuple[int, str]] = []
    silent: list[int] = []
    dimension = 0
    point = exact(theta)
    # A network smaller than one is measured by its size: every saddle of a tiny teacher is near its zeros.
    room = within * min(1.0, float(np.abs(targets).max()))
    quiet = within * (min(1.0, max(float(np.abs(A).max()), float(np.abs(a).max()))) if A.any() else 1.0)
    for i in range(n):
        best = min((copy_of(rows[i], targets[j], relu)[0], j) for j in range(len(V)))
        _, factor = copy_of(rows[i], targets[best[1]], relu)
        if best[0] <= (within if relu else room):
            j = best[1]
            groups[j].append((i, factor))
            structure.append((i, f"copies teacher {j}" + ("" if factor > 0 else " with opposite sign")))
            for at in range(d):
                point[i * d + at] = arb(float(factor)) * arb(float(V[j, at]))
            if bias:
                point[n * d + i] = arb(float(factor)) * arb(float(vb[j]))
        elif not relu and not bias and np.abs(rows[i]).max() <= room:
            structure.append((i, "is silent, w = 0"))
            dimension += o
            for at in range(d):
                point[i * d + at] = arb(0)
        else:
            silent.append(i)
    for members in _alike(rows, silent, relu, within if relu else room):
        first, _ = members[0]
        if len(members) == 1 and not is_silent(a[:, first], rows[first], relu, within if relu else quiet):
            return f"neuron {first} is neither a copy of a teacher nor silent"
        for i, _ in members:
            others = ", ".join(str(other) for other, _ in members if other != i)
            structure.append((i, f"cancels with neuron {others}" if others else "is silent, a = 0"))
        m = len(members)
        dimension += d + bias + o * (m - 1) + (m - 1 if relu else 0)
        for i, factor in members:
            for at in range(d):
                point[i * d + at] = arb(float(factor)) * arb(float(W[first, at]))
            if bias:
                point[n * d + i] = arb(float(factor)) * arb(float(b[first]))
        _balance(point, a, members, [arb(0)] * o, n * (d + bias), n)
    for j, copies in groups.items():
        if not copies:
            if V[j].any() or vb[j]:
                if A[:, j].any():
                    return f"no neuron copies teacher {j}"
            continue
        dimension += o * (len(copies) - 1) + (len(copies) if relu else 0)
        _balance(point, a, copies, [arb(float(A[r, j])) for r in range(o)], n * (d + bias), n)
    if setting["output_bias"]:
        point[-o:] = exact(c)
    return point, dimension, tuple(sorted(structure))


def _balance(point: list, a: np.ndarray, members: list, targets: list, start: int, n: int) -> None:
    """Set the largest output of a group so that Σ factor · a is the target."""
    last, scale = max(members, key=lambda entry: float(np.abs(a[:, entry[0]]).max()))
    for r, rest in enumerate(targets):
        for i, factor in members:
            if i != last:
                rest = rest - arb(float(a[r, i])) * arb(float(factor))
        point[start + r * n + last] = rest / arb(float(scale))


def _alike(rows: np.ndarray, indices: list[int], relu: bool, within: float) -> list[list[tuple[int, float]]]:
    """Neurons that copy one another, as lists of (neuron, factor relative to the first)."""
    groups: list[list[tuple[int, float]]] = []
    for i in indices:
        for group in groups:
            apart, factor = copy_of(rows[i], rows[group[0][0]], relu)
            if apart <= within:
                group.append((i, factor))
                break
        else:
            groups.append([(i, 1.0)])
    return groups


def is_silent(outputs: np.ndarray, row: np.ndarray, relu: bool, within: float) -> bool:
    """Whether a neuron's output weights are zero within the tolerance; for relu relative to its weight."""
    return float(np.abs(outputs).max()) <= within * (float(np.abs(row).max()) if relu else 1.0)


def copy_of(row: np.ndarray, target: np.ndarray, relu: bool) -> tuple[float, float]:
    """How far a neuron is from the nearest copy of another one, and the factor of that copy.

    For relu, whose scales are free, relative to the neuron's size: else a tiny weight would copy everything.
    """
    if not target.any() or (relu and not row.any()):
        return np.inf, 1.0
    if relu:
        length = float(target @ target)
        factor = float(row @ target) / length if length > 0.0 else 0.0
        if not 0.0 < factor < np.inf:
            return np.inf, 1.0
    else:
        factor = 1.0 if row @ target >= 0 else -1.0
    apart = float(np.abs(row - factor * target).max())
    return (apart / float(np.abs(row).max()) if relu else apart), factor
