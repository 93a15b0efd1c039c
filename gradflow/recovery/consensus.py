"""Neurons that several students have in common."""

from __future__ import annotations

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist

from .students import Student, Task
from .symmetry import row_signs

TOLERANCE = 0.02
"""Neurons whose pre-activations differ by less than this share are one."""

SHARE = 1 / 3
"""A neuron counts as found where so many of the better students have it."""

BETTER = 1e-3
"""Students whose loss is below this share of the answers' variance are the better ones."""

LARGEST = 30
"""At most so many of them are asked."""


def embedded(task: Task, V: np.ndarray) -> np.ndarray:
    """Rows whose distances are those of pre-activations, up to the symmetry class, in units of their size.

    Directions in which the inputs do not vary have no part in them.
    """
    rows = task.symmetry.canonical(V)[0] @ task.metric
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    if task.symmetry.mirror:  # the sign by what the neuron does, not by one weight, which may be undetermined
        rows = rows * row_signs(rows)[:, None]
    return rows / np.where(task.symmetry.scaling, np.where(size > 0, size, 1.0), np.maximum(size, 1.0))


def consensus(task: Task, students: list[Student], better: float = BETTER) -> np.ndarray:
    """Rows [w, b] that a third of the better students have, each from the best student that has it."""
    chosen = sorted((s for s in students if s.loss <= better * task.variance), key=lambda s: s.loss)[:LARGEST]
    if len(chosen) < 2:
        return np.zeros((0, task.inputs.shape[1] + 1))
    V = np.vstack([s.V for s in chosen])
    owner = np.repeat(np.arange(len(chosen)), [s.width for s in chosen])
    rows = embedded(task, V)
    active = np.linalg.norm(V[:, :-1] @ task.metric[:-1], axis=1) > 0.1
    V, owner, rows = V[active], owner[active], rows[active]
    if len(V) < 2:
        return V[:0]
    labels = hierarchy.fcluster(hierarchy.average(pdist(rows)), TOLERANCE, "distance")
    found = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(np.unique(owner[members])) >= max(2, SHARE * len(chosen)):
            found.append(V[members[owner[members].argmin()]])
    return np.array(found).reshape(-1, V.shape[1])
