"""What students are fitted to, how they start, and one fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..losses.separable import HiddenLayer
from ..refiners.gram import descend, finish
from ..refiners.variable_projection import project
from .symmetry import Symmetry

JOINT_OUTPUTS = 3
"""Up to so many outputs all parameters move together; beyond, output weights are eliminated."""

LARGEST_JACOBIAN = 40_000_000
"""Entries of a Jacobian of all outputs, up to which the last digits come from QR."""


class Task:
    """Queries and answers in coordinates of order one, in a random order, the last of them held out.

    X, Y        (samples, features), (samples, outputs), as given
    fit, held   their numbers: those for fitting, in a random order, and those that no fit sees
    floor       the RMSE (root of the loss) that counts as zero
    """

    def __init__(self, X: np.ndarray, Y: np.ndarray, symmetry: Symmetry, floor: float, rng):
        self.X, self.Y, self.symmetry, self.floor = X, Y, symmetry, floor
        order = rng.permutation(len(X))
        aside = min(1000, len(X) // 10)
        self.fit, self.held = order[: len(X) - aside], order[len(X) - aside :]
        self.mean = X[self.fit].mean(axis=0)
        self.scale = float(np.sqrt(((X[self.fit] - self.mean) ** 2).sum(axis=1).mean() / self.varying))
        self.inputs = (X[self.fit] - self.mean) / self.scale
        self.answers = Y[self.fit]
        self.outputs = Y.shape[1]
        self.variance = float(((self.answers - self.answers.mean(axis=0)) ** 2).sum(axis=1).mean())
        augmented = np.hstack([self.inputs, np.ones((len(self.inputs), 1))])
        values, vectors = np.linalg.eigh(augmented.T @ augmented / len(augmented))
        self.metric = vectors * np.sqrt(np.maximum(values, 0.0))
        """L with |(v − v')L|² the mean square of the difference of the pre-activations of two rows v, v'."""

    @property
    def varying(self) -> int:
        """Number of features that are not constant."""
        return max(int((np.ptp(self.X[self.fit], axis=0) > 0.0).sum()), 1)

    @property
    def goal(self) -> float:
        """The loss at which a student is at the floor."""
        return self.floor**2

    def parameters(self, neurons: int) -> int:
        """Number of parameters of a student with so many neurons."""
        features = self.X.shape[1]
        extra = 1 + features * self.symmetry.affine
        return neurons * (features + 1 + self.outputs) + extra * self.outputs

    def largest(self) -> int:
        """The widest student that has half as many parameters as there are equations."""
        features = self.X.shape[1]
        room = len(self.fit) * self.outputs / 2 - self.parameters(0)
        return int(room // (features + 1 + self.outputs))

    def points(self, neurons: int, each: float) -> int:
        """`each` equations per parameter, and not fewer points than 500 and 20 per feature.

        With many outputs few points make many equations, but a hidden layer sees points.
        """
        if not np.isfinite(each):
            return len(self.fit)
        wanted = int(np.ceil(each * self.parameters(neurons) / self.outputs))
        return min(len(self.fit), max(500, 20 * (self.X.shape[1] + 1), wanted))

    def model(self, points: int) -> HiddenLayer:
        """The least-squares problem over the first so many points."""
        affine = self.symmetry.affine
        return HiddenLayer(
            self.inputs[:points], self.answers[:points], self.symmetry.activation, affine=affine
        )

    def inside(self, V: np.ndarray, C: np.ndarray) -> Student:
        """A student from V and C for the inputs as given, the inverse of `original`."""
        W = V[:, :-1] * self.scale
        return Student(np.column_stack([W, V[:, -1] + V[:, :-1] @ self.mean]), C, np.nan, 0)

    def original(self, V: np.ndarray, C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """V and C for the inputs as given."""
        W = V[:, :-1] / self.scale
        there = np.column_stack([W, V[:, -1] - W @ self.mean])
        C = C.copy()
        if self.symmetry.affine:
            m = len(V)
            C[m:-1] /= self.scale
            C[-1] -= self.mean @ C[m:-1]
        return there, C


class Student:
    """One fitted student: V (m, features + 1), C (m + extra, outputs), and its loss on its points."""

    def __init__(self, V: np.ndarray, C: np.ndarray, loss: float, iterations: int):
        self.V, self.C, self.loss, self.iterations = V, C, loss, iterations

    @property
    def width(self) -> int:
        """Number of neurons."""
        return len(self.V)


def random_neurons(task: Task, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rows [w, b] of random directions whose hyperplanes pass through random inputs.

    The pre-activations have a standard deviation around 3, spread by e^{±0.3}: steep where the data are.
    """
    features = task.inputs.shape[1]
    W = rng.standard_normal((count, features))
    size = 3.0 * np.exp(0.3 * rng.standard_normal((count, 1)))
    W *= size / np.linalg.norm(W, axis=1, keepdims=True)
    at = task.inputs[rng.integers(0, len(task.inputs), count)]
    return np.column_stack([W, -(W * at).sum(axis=1)])


def fit(
    task: Task,
    V: np.ndarray,
    *,
    iterations: int,
    each: float = 5.0,
    window: int = 30,
    damping: float = 1e-2,
    goal: float | None = None,
) -> Student:
    """A student from these neurons: output weights by least squares, then Levenberg–Marquardt to the floor.

    Or to another loss, `goal`.
    """
    points = task.points(len(V), each)
    model = task.model(points)
    goal = task.goal if goal is None else goal
    if len(V) == 0:
        C = model.coefficients(model.extra)[0]
        R = model.extra @ C - model.targets
        return Student(V, C, float(np.vdot(R, R)), 0)
    options: dict[str, Any] = {
        "iterations": iterations,
        "goal": task.goal if goal is None else goal,
        "window": window,
    }
    if task.outputs > JOINT_OUTPUTS:
        end = project(model, V, damping=0.1 * damping, **options)
        return Student(end.V, end.C, end.loss, end.iterations)
    C = model.coefficients(model.basis(V)[0])[0]
    shape, cut = V.shape, V.size

    def apart(theta):
        return theta[:cut].reshape(shape), theta[cut:].reshape(-1, task.outputs)

    theta = np.concatenate([V.ravel(), C.ravel()])
    found = descend(
        lambda t: model.linearise(*apart(t)),
        lambda t: model.residuals(*apart(t)),
        theta,
        damping=damping,
        **options,
    )
    V, C = apart(found.theta)
    return Student(V, C, found.loss, found.iterations)


def polish(model: HiddenLayer, V: np.ndarray, C: np.ndarray, iterations: int = 20) -> Student:
    """The last digits of a student on all points of a model: QR steps, or projected ones for many outputs."""
    outputs, shape, cut = C.shape[1], V.shape, V.size
    if outputs > JOINT_OUTPUTS:
        if len(model.inputs) * outputs * V.size > LARGEST_JACOBIAN:
            end = project(model, V, iterations=3 * iterations, damping=1e-10, window=5, gain=0.9)
            return Student(end.V, end.C, end.loss, end.iterations)
        return _polish_projected(model, V, iterations)

    def apart(theta):
        return theta[:cut].reshape(shape), theta[cut:].reshape(-1, outputs)

    found = finish(
        lambda t: model.linearise(*apart(t)),
        lambda t: model.residuals(*apart(t)),
        np.concatenate([V.ravel(), C.ravel()]),
        iterations=iterations,
    )
    V, C = apart(found.theta)
    return Student(V, C, found.loss, found.iterations)


def _polish_projected(model: HiddenLayer, V: np.ndarray, iterations: int) -> Student:
    """The same with the output weights eliminated: Kaufman's Jacobian of all outputs, by QR."""
    m = len(V)

    def residuals(theta: np.ndarray) -> np.ndarray:
        Phi = model.basis(theta.reshape(V.shape))[0]
        return (Phi @ model.coefficients(Phi)[0] - model.targets).T.ravel()

    def linearise(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        Phi, slopes = model.basis(theta.reshape(V.shape))
        C, Q = model.coefficients(Phi)
        moves = model.moves(slopes)
        moves -= Q @ (Q.T @ moves)
        J = np.concatenate([moves * np.repeat(C[:m, o], V.shape[1]) for o in range(C.shape[1])])
        return (Phi @ C - model.targets).T.ravel(), J

    end = finish(linearise, residuals, V.ravel(), iterations=iterations)
    found = end.theta.reshape(V.shape)
    return Student(found, model.coefficients(model.basis(found)[0])[0], end.loss, end.iterations)
