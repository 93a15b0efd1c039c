"""From one student at the floor to the smallest network that is: removal as long as the rest stays there."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from .students import Student, Task, fit

TRIES = 4
"""So many single neurons are tried before a network counts as irreducible."""


def removal_costs(task: Task, student: Student, each: float = 5.0) -> np.ndarray:
    """By how much the loss rises if a neuron is removed and all output weights are refitted, for every one.

    With G = ΦᵀΦ the rise is Σ_o C_io² / (G⁻¹)_ii, the distance of φ_i from the others times its weight.
    """
    model = task.model(task.points(student.width, each))
    Phi = model.basis(student.V)[0]
    scale = np.linalg.norm(Phi, axis=0)
    scale[scale == 0.0] = 1.0
    R = np.array(np.linalg.qr(Phi / scale, mode="r"))
    # Dependent functions: the inverse is large there, the cost small, and its digits do not matter.
    R += np.diag(np.where(np.abs(np.diag(R)) < 1e-14, 1e-14, 0.0))
    inverse = scipy.linalg.solve_triangular(R, np.eye(len(R)))
    apart = 1.0 / (inverse**2).sum(axis=1)
    C = student.C * scale[:, None]
    return ((C**2).sum(axis=1) * apart)[: student.width]


def reduce(
    task: Task, student: Student, *, iterations: int = 60, each: float = 5.0, goal: float | None = None
) -> tuple[Student, float]:
    """The smallest network at the floor that removals lead to, and the least loss with one neuron fewer.

    The neurons whose removal costs least go first, half of them at once where that is possible (bisection);
    after each removal the rest is fitted again and must be at the floor, or below `goal` if that is given.
    """
    limit = task.goal if goal is None else goal
    least = np.inf
    while student.width > 0:
        least = np.inf
        order = np.argsort(removal_costs(task, student, each), kind="stable")
        share = student.width // 2 if student.width > 2 else 1
        smaller = None
        while share >= 1 and smaller is None:
            choices = (
                [order[:share]] if share > 1 else [order[i : i + 1] for i in range(min(TRIES, len(order)))]
            )
            for drop in choices:
                rest = np.delete(student.V, drop, axis=0)
                trial = fit(task, rest, iterations=iterations, each=each, window=15)
                if trial.loss <= limit:
                    smaller = trial
                    break
                if len(drop) == 1:
                    least = min(least, trial.loss)
            share //= 2
        if smaller is None:
            break
        student = smaller
    return student, least


def without_one(task: Task, student: Student, each: float = 5.0) -> float:
    """The least loss that was found with one neuron fewer, of the `TRIES` cheapest removals."""
    order = np.argsort(removal_costs(task, student, each), kind="stable")[:TRIES]
    trials = [
        fit(task, np.delete(student.V, [i], axis=0), iterations=60, each=each, window=15) for i in order
    ]
    return min((trial.loss for trial in trials), default=np.nan)
