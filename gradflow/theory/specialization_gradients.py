"""Gradients of deep ReLU teacher–student networks: Lemma 1, Theorem 1 and the conserved weight norms.

Y. Tian, Student Specialization in Deep ReLU Networks With Finite Width and Input Dimension, ICML 2020.
Notation: layers 1 … L, f_l the activations of layer l with a constant 1 appended (biases are the weights
of that constant), W̃_l the matrix that maps f_{l−1} to layer l, D_l its gates (0 or 1; the constant's is 1,
D_L = I); stars mark the teacher. The papers' loss per sample is ½|f* − f|²: half of this package's.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from .. import solvers, teachers
from .._train import train
from ..losses.problem import Problem
from ..networks import MLP
from .check import Check
from .registry import Progress, register

PAPER = "Tian 2020"


def forward(network: MLP, x: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Activations f_0 … f_L, gates D_1 … D_L (as vectors) and matrices W̃_1 … W̃_L at one input x (d,)."""
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
    """V_0 … V_L: V_L = I, V_{l−1} = V_l D_l W̃_l, so that V_l f_l is the output."""
    V = [np.eye(matrices[-1].shape[0])]
    for gate, matrix in zip(reversed(gates), reversed(matrices)):
        V.append((V[-1] * gate) @ matrix)
    return V[::-1]


def recursion(student: MLP, teacher: MLP, x: np.ndarray) -> list[np.ndarray]:
    """g_1 … g_L of Lemma 1 at one input: g_l = D_l [A_l f*_l − B_l f_l], A_l = V_lᵀ V*_l, B_l = V_lᵀ V_l.

    Entry l−1 has the nodes of layer l; g_l is minus the derivative of ½|f* − f|² by the pre-activations.
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
    """A student with `width` times the nodes per hidden layer that computes the same function.

    Every node is split at random (incoming weights times λ > 0, outgoing ones times μ/λ, Σμ = 1), and one
    node in each layer is random with zero outgoing weights.
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
    """Derivatives of ½|f* − f|² at one input by JAX: by all pre-activations, and by all weights and "
    "biases."""
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
    worst = scale = 0.0
    for x in X:
        found = recursion(student, teacher, x)
        shifts, _, _ = _gradients(student, teacher, x)
        for mine, derivative in zip(found, shifts, strict=True):
            worst = max(worst, float(np.abs(mine + np.asarray(derivative)).max()))
            scale = max(scale, float(np.abs(mine).max()))
    return Check(
        name="specialization.lemma_1",
        statement="In a ReLU network of any depth the backpropagated gradient of |f* - f|^2/2 is g_l = D_l "
        "[A_l f*_l "
        "- B_l f_l], A_l = V_l^T V*_l, B_l = V_l^T V_l, with V_L = I and V_{l-1} = V_l D_l W_l top-down.",
        source=f"{PAPER}, Lemma 1 (its formulas reconstructed), against automatic differentiation",
        computed={
            "student": list(student.sizes),
            "teacher": list(teacher.sizes),
            "samples": len(X),
            "largest_g": scale,
        },
        residual=worst / scale,
        tolerance=1e-13,
    )


def theorem_1(student: MLP, teacher: MLP, X: np.ndarray, critical: MLP | None = None) -> Check:
    """Per sample, ∇_{W_l} is of rank one, g_l f_{l−1}ᵀ; at a point critical for every batch all g_l "
    "vanish."""
    worst = scale = 0.0
    for x in X:
        g = recursion(student, teacher, x)
        f, _, _ = forward(student, x)
        _, by_weights, by_biases = _gradients(student, teacher, x)
        for l, (dW, db) in enumerate(zip(by_weights, by_biases)):
            norm = float(np.sqrt(np.sum(np.square(dW)) + np.sum(np.square(db))))
            product = float(np.linalg.norm(g[l]) * np.linalg.norm(f[l]))
            worst = max(worst, abs(norm - product))
            scale = max(scale, norm)
    there = overrealised(teacher, 3, np.random.default_rng(0)) if critical is None else critical
    largest = max(float(np.abs(g).max()) for x in X for g in recursion(there, teacher, x))
    residual = float(np.abs(there(X) - teacher(X)).max())
    return Check(
        name="specialization.theorem_1",
        statement="The gradient of one sample by W_l is g_l f_{l-1}^T, so where every batch's gradient "
        "vanishes "
        "either g_l or f_{l-1} does, sample by sample; with biases |f_{l-1}| >= 1, hence g_l = 0 at all "
        "layers and "
        "the student interpolates. Shown at an over-realised student made of split teacher nodes.",
        source=f"{PAPER}, Theorem 1",
        computed={
            "samples": len(X),
            "critical_student": list(there.sizes),
            "largest_g": largest,
            "misfit": residual,
        },
        residual=max(worst / scale, largest / scale, residual / scale),
        tolerance=1e-13,
    )


def _invariants(student: MLP, theta: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """|w|²/r_w + b²/r_b − |v|²/r_v of each hidden node, all layers; rates are constant within w and v."""
    network, speed = student.with_flat(theta), student.with_flat(rates)
    values = []
    for l in range(len(network.weights) - 1):
        incoming = (np.square(network.weights[l]) / speed.weights[l]).sum(axis=1)
        bias, bias_speed = network.biases[l], speed.biases[l]
        if bias is not None and bias_speed is not None:
            incoming = incoming + np.square(bias) / bias_speed
        outgoing = (np.square(network.weights[l + 1]) / speed.weights[l + 1]).sum(axis=0)
        values.append(incoming - outgoing)
    return np.concatenate(values)


def norm_velocities(student: MLP, teacher: MLP, X: np.ndarray) -> Check:
    """w·∂_w L + b ∂_b L − v·∂_v L = 0 for every hidden node, at arbitrary parameters."""
    problem = Problem(teacher, student, X)
    theta = problem.theta0
    gradient = problem.gradient(theta)
    # d/dt of the invariants for unit rates is −2 (w·∂_w L + b ∂_b L − v·∂_v L), by polarisation.
    ones = np.ones(theta.size)
    sums = _invariants(student, theta + gradient, ones) - _invariants(student, theta - gradient, ones)
    scale = float(np.abs(theta).max() * np.abs(gradient).max() * max(student.sizes))
    return Check(
        name="specialization.weight_norms.velocities",
        statement="For linear and ReLU nodes of any layer w.dL/dw + b dL/db = v.dL/dv (v the outgoing "
        "weights), "
        "so that |w|^2 + b^2 - |v|^2 does not change along the gradient flow.",
        source=f"{PAPER}, section 5.1 (in words); derived, with biases",
        computed={"sizes": list(student.sizes), "samples": len(X), "gradient": float(np.abs(gradient).max())},
        residual=float(np.abs(sums).max()) / scale,
        tolerance=1e-13,
    )


def conserved_norms(activation: str, rates: tuple[float, float], t1: float = 20.0) -> Check:
    """|w|²/r_w − |v|²/r_v along a population flow with rates (r_w, r_v)."""
    width, students = 3, 5
    teacher = teachers.orthonormal(width, 4, activation)
    student = MLP.random((4, students, 1), activation, False, seed=1)
    per_parameter = np.repeat(rates, [4 * students, students])
    solver = solvers.Kvaerno5(rtol=1e-10, atol=1e-12, t1=t1, gtol=0.0)
    flow = train(teacher, student, solver=solver, refiner=None, rates=per_parameter, progress=False).flow
    assert flow is not None
    values = np.array([_invariants(student, theta, per_parameter) for theta in flow.theta])
    drift = float(np.abs(values - values[0]).max())
    moved = float(np.abs(flow.theta[-1] - flow.theta[0]).max())
    return Check(
        name="specialization.weight_norms.flow",
        statement=f"Along the gradient flow of an {activation} student with rates r_w = {rates[0]:g} and "
        f"r_v = "
        f"{rates[1]:g}, |w|^2/r_w - |v|^2/r_v of every node stays what it was.",
        source=f"{PAPER}, section 5.1 (in words); derived, with rates",
        computed={
            "t1": t1,
            "loss_from": flow.losses[0],
            "loss_to": flow.losses[-1],
            "parameters_moved_by": moved,
        },
        residual=drift / max(1.0, float(np.abs(values[0]).max())),
        tolerance=1e-8,
    )


def deep_pair(seed: int, width: int = 1) -> tuple[MLP, MLP]:
    """A random ReLU student and teacher of three hidden layers with biases, and 4 inputs and 3 outputs."""
    teacher = teachers.random((4, 3, 5, 4, 3), "relu", seed=seed)
    student = teachers.random((4, 3 + width, 5 + width, 4 + width, 3), "relu", seed=seed + 1)
    return student, teacher


@register("specialization.lemma_1")
def _lemma_1(size: str, progress: Progress) -> Check:
    X = np.random.default_rng(2).standard_normal((10 if size == "quick" else 1000, 4))
    return lemma_1(*deep_pair(0, 2), X)


@register("specialization.theorem_1")
def _theorem_1(size: str, progress: Progress) -> Check:
    X = np.random.default_rng(3).standard_normal((10 if size == "quick" else 1000, 4))
    return theorem_1(*deep_pair(4, 2), X)


@register("specialization.weight_norms")
def _weight_norms(size: str, progress: Progress) -> Iterator[Check]:
    X = np.random.default_rng(5).standard_normal((200, 4))
    yield norm_velocities(*deep_pair(6, 3), X)
    yield conserved_norms("relu", (1.0, 0.3))
    if size == "full":
        yield conserved_norms("relu", (0.2, 1.0), t1=1000.0)
        yield conserved_norms("identity", (1.0, 0.5))
