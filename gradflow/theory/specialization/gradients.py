"""Gradients of deep ReLU teacher–student networks: Lemma 1 and Theorem 1.

Y. Tian, Student Specialization in Deep ReLU Networks With Finite Width and Input Dimension, ICML 2020.
Notation: layers 1 … L, f_l the activations of layer l with a constant 1 appended (biases are the weights
of that constant), W̃_l the matrix that maps f_{l−1} to layer l, D_l its gates (0 or 1; the constant's is 1,
D_L = I); stars mark the teacher. The papers' loss per sample is ½|f* − f|²: half of this package's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from ... import teachers
from ...networks import MLP
from ...run.training import train
from ..check import Check, at_least, at_most
from ..registry import Progress, register

__all__ = [
    "deep_pair",
    "forward",
    "lemma_1",
    "not_interpolating",
    "overrealised",
    "recursion",
    "theorem_1",
    "top_down",
    "without_biases",
]


def __dir__() -> list[str]:
    return sorted(__all__)


PAPER = "Tian 2020"


def forward(network: MLP, x: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Activations f_0 … f_L, gates D_1 … D_L (as vectors) and matrices W̃_1 … W̃_L at one input.

    Parameters
    ----------
    network : MLP
        Of ReLU, with biases.
    x : ndarray, shape (d,)
        The input.

    Returns
    -------
    activations, gates, matrices : list of ndarray

    Examples
    --------
    >>> student, teacher = deep_pair(0, hidden=(2,))
    >>> [len(found) for found in forward(teacher, np.ones(4))]
    [3, 2, 2]
    """
    f, activations, gates, matrices = np.append(x, 1.0), [np.append(x, 1.0)], [], []
    last = len(network.weights) - 1
    for l, (W, b) in enumerate(zip(network.weights, network.biases)):
        column = np.zeros(W.shape[0]) if b is None else b
        matrix = np.column_stack([W, column])
        if l < last:
            matrix = np.vstack([matrix, np.eye(1, matrix.shape[1], matrix.shape[1] - 1)])
        z = matrix @ f
        gate = np.ones(z.size) if l == last else (z > 0).astype(np.float64)
        f = gate * z
        activations.append(f)
        gates.append(gate)
        matrices.append(matrix)
    return activations, gates, matrices


def top_down(gates: list[np.ndarray], matrices: list[np.ndarray]) -> list[np.ndarray]:
    """The matrices V_0 … V_L: V_L = I, V_{l−1} = V_l D_l W̃_l, so that V_l f_l is the output.

    Parameters
    ----------
    gates, matrices : list of ndarray
        As `forward` gives them.

    Returns
    -------
    list of ndarray

    Examples
    --------
    >>> student, teacher = deep_pair(0, hidden=(2,))
    >>> activations, gates, matrices = forward(teacher, np.ones(4))
    >>> V = top_down(gates, matrices)
    >>> bool(np.abs(V[0] @ activations[0] - activations[-1]).max() < 1e-14)
    True
    """
    V = [np.eye(matrices[-1].shape[0])]
    for gate, matrix in zip(reversed(gates), reversed(matrices)):
        V.append((V[-1] * gate) @ matrix)
    return V[::-1]


def recursion(student: MLP, teacher: MLP, x: np.ndarray) -> list[np.ndarray]:
    """g_1 … g_L of Lemma 1 at one input.

    Parameters
    ----------
    student, teacher : MLP
        ReLU networks of the same numbers of layers, inputs and outputs, of any widths.
    x : ndarray (d,)
        One input.

    Returns
    -------
    list of ndarray
        Entry l − 1 has the nodes of layer l: minus the derivative of ½|f* − f|² by the pre-activations.

    Notes
    -----
    g_l = D_l [A_l f*_l − B_l f_l], A_l = V_lᵀ V*_l, B_l = V_lᵀ V_l, V_L = I and V_{l−1} = V_l D_l W̃_l.

    References
    ----------
    Tian, Student specialization in deep ReLU networks with finite width and input dimension, ICML 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import gradflow as gf
    >>> from gradflow.theory.specialization.gradients import recursion
    >>> student, teacher = (gf.teachers.random((2, 3, 1), "relu", seed=seed) for seed in (0, 1))
    >>> x = np.array([0.5, -1.0])
    >>> bool(abs(recursion(student, teacher, x)[-1] - (teacher(x[None]) - student(x[None]))[0]) < 1e-14)
    True
    """
    f, gates, matrices = forward(student, x)
    V = top_down(gates, matrices)
    f_star, gates_star, matrices_star = forward(teacher, x)
    V_star = top_down(gates_star, matrices_star)
    g = []
    for l in range(1, len(gates) + 1):
        A, B = V[l].T @ V_star[l], V[l].T @ V[l]
        g.append((gates[l - 1] * (A @ f_star[l] - B @ f[l]))[: student.weights[l - 1].shape[0]])
    return g


def overrealised(teacher: MLP, width: int, rng: np.random.Generator) -> MLP:
    """A student with several times the nodes per hidden layer that computes the same function.

    Every node is split at random (incoming weights times λ > 0, outgoing ones times μ/λ, Σμ = 1), and one
    node in each layer is random with zero outgoing weights.

    Parameters
    ----------
    teacher : MLP
        Of ReLU, with biases.
    width : int
        How many times.
    rng : numpy.random.Generator
        Draws λ and μ.

    Returns
    -------
    MLP

    Examples
    --------
    >>> _, teacher = deep_pair(0, hidden=(2,))
    >>> wide = overrealised(teacher, 2, np.random.default_rng(0))
    >>> bool(np.abs(wide(np.eye(4)) - teacher(np.eye(4))).max() < 1e-13)
    True
    """
    weights, biases = [], []
    parents, factors = np.arange(teacher.sizes[0]), np.ones(teacher.sizes[0])
    for l, (W, b) in enumerate(zip(teacher.weights, teacher.biases)):
        matrix = W[:, parents] * factors
        column = np.zeros(W.shape[0]) if b is None else np.asarray(b)
        if l == len(teacher.weights) - 1:
            weights.append(matrix)
            biases.append(column)
            break
        count = W.shape[0]
        parents = rng.permutation(
            np.concatenate([np.arange(count), rng.integers(count, size=(width - 1) * count)])
        )
        scales = np.exp(rng.uniform(-1.0, 1.0, parents.size))
        shares = rng.uniform(0.2, 1.0, parents.size)
        shares /= np.bincount(parents, shares)[parents]
        spare = rng.standard_normal((1, matrix.shape[1]))
        weights.append(np.vstack([scales[:, None] * matrix[parents], spare]))
        biases.append(np.append(scales * column[parents], rng.standard_normal()))
        parents, factors = np.append(parents, 0), np.append(shares / scales, 0.0)
    return MLP(weights, biases, "relu")


def _gradients(student: MLP, teacher: MLP, x: np.ndarray):
    """Derivatives of ½|f* − f|² at one input by JAX: by all pre-activations, weights, and biases."""
    target = jnp.asarray(teacher(x[None])[0])

    def loss(shifts, weights, biases):
        h = jnp.asarray(x)
        for l, (W, b) in enumerate(zip(weights, biases)):
            h = W @ h + b + shifts[l]
            if l < len(weights) - 1:
                h = jnp.where(h > 0, h, 0.0)
        return 0.5 * jnp.sum((target - h) ** 2)

    zeros = [jnp.zeros(W.shape[0]) for W in student.weights]
    biases = [
        jnp.zeros(W.shape[0]) if b is None else jnp.asarray(b)
        for W, b in zip(student.weights, student.biases)
    ]
    return jax.grad(loss, argnums=(0, 1, 2))(zeros, [jnp.asarray(W) for W in student.weights], biases)


def lemma_1(student: MLP, teacher: MLP, X: np.ndarray, recursion=recursion) -> Check:
    """The recursion against automatic differentiation, at every layer and every sample."""
    off, sizes = [], []
    for x in X:
        found = recursion(student, teacher, x)
        shifts, _, _ = _gradients(student, teacher, x)
        for mine, derivative in zip(found, shifts, strict=True):
            off.append(np.abs(mine + np.asarray(derivative)).max())
            sizes.append(np.abs(mine).max())
    scale = max(sizes)
    return Check(
        name="specialization.lemma_1",
        statement="In a ReLU network of any depth the backpropagated gradient of |f* - f|^2/2 is g_l = D_l "
        "[A_l f*_l - B_l f_l], A_l = V_l^T V*_l, B_l = V_l^T V_l, with V_L = I and V_{l-1} = V_l D_l W_l "
        "top-down.",
        source=f"{PAPER}, Lemma 1 (its formulas reconstructed), against automatic differentiation",
        parts=[at_most("difference of g_l over the largest", np.array(off) / scale, 1e-14)],
        computed={
            "student": list(student.sizes),
            "teacher": list(teacher.sizes),
            "samples": len(X),
            "largest_g": scale,
        },
    )


def theorem_1(
    student: MLP, teacher: MLP, X: np.ndarray, critical: MLP | None = None, factor: float = 1.0
) -> Check:
    """Per sample ∇_{W_l} is of rank one, g_l f_{l−1}ᵀ; where every batch's vanishes all g_l do.

    Parameters
    ----------
    critical : MLP, optional
        a student that interpolates; an over-realised one unless given.
    factor : float, default 1.0
        Of |g_l||f_{l−1}|, 1 in the theorem.

    Returns
    -------
    Check
    """
    apart, above, norms = [], [], []
    for x in X:
        g = recursion(student, teacher, x)
        f, _, _ = forward(student, x)
        _, by_weights, by_biases = _gradients(student, teacher, x)
        for l, (dW, db) in enumerate(zip(by_weights, by_biases)):
            norm = float(np.sqrt(np.sum(np.square(dW)) + np.sum(np.square(db))))
            size = float(np.linalg.norm(g[l]))
            apart.append(abs(norm - factor * size * float(np.linalg.norm(f[l]))))
            above.append(size - norm)
            norms.append(norm)
    scale = max(norms)
    there = overrealised(teacher, 3, np.random.default_rng(0)) if critical is None else critical
    largest = [np.abs(g).max() / scale for x in X for g in recursion(there, teacher, x)]
    return Check(
        name="specialization.theorem_1",
        statement="The gradient of one sample by W_l is g_l f_{l-1}^T, so where every batch's gradient "
        "vanishes either g_l or f_{l-1} does, sample by sample; with biases |f_{l-1}| >= 1, hence "
        "|g_l| <= |dL/dW_l|, and g_l = 0 at all layers: the student interpolates. At an over-realised "
        "student made of split teacher nodes all g_l do vanish.",
        source=f"{PAPER}, Theorem 1",
        parts=[
            at_most("difference of |dL/dW_l| and |g_l||f_{l-1}|", np.array(apart) / scale, 1e-14),
            at_most("|g_l| less |dL/dW_l|", np.array(above) / scale, 1e-15),
            at_most("|g_l| of the over-realised student", largest, 1e-14),
        ],
        computed={"samples": len(X), "critical_student": list(there.sizes), "largest_gradient": scale},
    )


def not_interpolating(student: MLP, teacher: MLP, X: np.ndarray) -> Check:
    """A student that is critical for the whole batch only: no sample that it misses is at rest."""
    misfits, norms = [], []
    total = [np.zeros(W.shape) for W in student.weights]
    for x in X:
        _, by_weights, by_biases = _gradients(student, teacher, x)
        total = [sum_ + np.asarray(dW) / len(X) for sum_, dW in zip(total, by_weights)]
        squares = sum(float(np.sum(np.square(d))) for d in (*by_weights, *by_biases))
        norms.append(math.sqrt(squares))
        misfits.append(float(np.linalg.norm(student(x[None]) - teacher(x[None]))))
    return Check(
        name="specialization.theorem_1.one_batch",
        statement="A student with too few nodes, trained to a critical point of the whole batch, does not "
        "interpolate; it is no critical point of every batch: no sample's gradient is smaller than its "
        "|f* - f|.",
        source=f"{PAPER}, Theorem 1 (its converse on one batch; derived)",
        parts=[
            at_most("|gradient| of the whole batch", [np.abs(sum_).max() for sum_ in total], 1e-13),
            at_least("largest |f* - f|", max(misfits), 0.01, cases=len(misfits)),
            at_least("|gradient of a sample| less |f* - f|", np.array(norms) - misfits, 0.0),
        ],
        computed={"student": list(student.sizes), "samples": len(X)},
    )


def without_biases(teacher: MLP, X: np.ndarray, lift: float = 0.0) -> Check:
    """Inputs X ≥ 0 and a student whose first layer is closed on them; `lift` > 0 opens it."""
    weights = [np.array(W) for W in MLP.random(teacher.sizes, "relu", False, seed=1).weights]
    weights[0] = lift - np.abs(weights[0]) - 0.1
    student = MLP(weights, None, "relu")
    gradients, signals = [], []
    for x in X:
        _, by_weights, _ = _gradients(student, teacher, x)
        gradients += [float(np.abs(dW).max()) for dW in by_weights]
        signals.append(float(np.abs(recursion(student, teacher, x)[-1]).max()))
    return Check(
        name="specialization.theorem_1.without_biases",
        statement='Without biases the other case of "either g_l or f_(l-1) vanishes" occurs: with the first '
        "layer closed on all inputs every gradient of every sample is zero, and so is f_1, while g_L = f* - "
        "f is not: a critical point of SGD that does not interpolate.",
        source=f"{PAPER}, Theorem 1; the example derived",
        parts=[
            at_most("|dL/dW_l| of a sample", gradients, 0.0),
            at_least("|f* - f|", signals, 1e-4),
        ],
        computed={"student": list(student.sizes), "samples": len(X)},
    )


def deep_pair(seed: int, more: int = 1, hidden: tuple[int, ...] = (3, 5, 4)) -> tuple[MLP, MLP]:
    """Random ReLU student and teacher with biases, 4 inputs, 3 outputs.

    Parameters
    ----------
    seed : int
        Of both.
    more : int, default 1
        Student nodes per layer more than teacher nodes.
    hidden : tuple of int, default (3, 5, 4)
        The teacher's hidden widths.

    Returns
    -------
    student, teacher : MLP

    Examples
    --------
    >>> [network.sizes for network in deep_pair(0, hidden=(2,))]
    [(4, 3, 3), (4, 2, 3)]
    """
    teacher = teachers.random((4, *hidden, 3), "relu", seed=seed)
    student = teachers.random((4, *(width + more for width in hidden), 3), "relu", seed=seed + 1)
    return student, teacher


@register("specialization.lemma_1")
def _lemma_1(size: str, progress: Progress) -> Iterator[Check]:
    X = np.random.default_rng(2).standard_normal((10 if size == "quick" else 100, 4))
    for hidden in ((3,), (3, 5, 4)) if size == "quick" else ((3,), (3, 5), (3, 5, 4), (6, 4, 5, 3, 4, 5)):
        progress(f"{len(hidden)} hidden layers")
        yield lemma_1(*deep_pair(0, 2, hidden), X)


@register("specialization.theorem_1")
def _theorem_1(size: str, progress: Progress) -> Iterator[Check]:
    X = np.random.default_rng(3).standard_normal((10 if size == "quick" else 200, 4))
    yield theorem_1(*deep_pair(4, 2), X)
    teacher, samples = teachers.random((2, 4, 1), "relu", seed=0), X[:, :2]
    starts = (MLP.random((2, 2, 1), "relu", seed=seed) for seed in range(2, 22))
    ends = (train(teacher, start, samples, progress=False) for start in starts)
    end = next(end for end in ends if end.converged and end.kink is None)  # at a kink ∇L is a set
    yield not_interpolating(end.student, teacher, samples)
    yield without_biases(MLP.random((3, 4, 4, 2), "relu", False, seed=0), np.abs(X[:10, :3]))
