"""Soft committees: networks of one hidden layer whose output weights are fixed at one."""

from __future__ import annotations

import numpy as np

from ..losses.problem import Problem
from ..networks import MLP

__all__ = [
    "frozen_outputs",
    "soft_committee",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def soft_committee(activation: str, students: np.ndarray, teachers: np.ndarray) -> Problem:
    """Students f = Σ_i σ(w_i·x) that learn teachers f* = Σ_j σ(v_j·x), x ~ N(0, I), without biases.

    Parameters
    ----------
    activation : str
        σ, of both.
    students : ndarray (neurons, inputs)
        W at the start.
    teachers : ndarray (teachers, inputs)
        V.

    Returns
    -------
    Problem
        Its θ has the output weights as well: with rates of `frozen_outputs` they do not move.

    References
    ----------
    Saad & Solla, On-line learning in soft committee machines, Phys. Rev. E 52, 4225 (1995).

    Examples
    --------
    >>> import numpy as np
    >>> from gradflow.theory.soft_committee import soft_committee
    >>> problem = soft_committee("relu", np.zeros((1, 2)), np.eye(2))
    >>> round(problem.loss(problem.theta0) - (1 + 1 / np.pi), 15)  # E f*² = 2/2 + 2/2π
    0.0
    """
    teacher = MLP([teachers, np.ones((1, len(teachers)))], None, activation)
    return Problem(teacher, MLP([students, np.ones((1, len(students)))], None, activation))


def frozen_outputs(students: np.ndarray, moving: np.ndarray | None = None) -> np.ndarray:
    """Rates of a soft committee: one for the weights, zero for the outputs.

    Parameters
    ----------
    students : ndarray, shape (m, d)
        Their weights.
    moving : ndarray, shape (m,), optional
        A mask: the other students have rate zero too.

    Returns
    -------
    ndarray, shape (P,)

    Examples
    --------
    >>> frozen_outputs(np.eye(2), np.array([True, False]))
    array([1., 1., 0., 0., 0., 0.])
    """
    rows = np.ones(len(students)) if moving is None else np.asarray(moving, dtype=np.float64)
    return np.concatenate([np.repeat(rows, students.shape[1]), np.zeros(len(students))])
