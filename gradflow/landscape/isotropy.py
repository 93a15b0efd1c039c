"""The isotropy group of a point: permutations of the teachers that leave it as it is."""

from __future__ import annotations

import numpy as np

from ..losses.problem import Problem
from ..networks import MLP
from ..support.errors import ArgumentError
from ..support.validate import number, real_array
from .symmetries import SIGNS, mirror, network, neuron_vectors, remainder


def isotropy(problem, student, tolerance: float = 1e-6) -> int | None:
    """The order of the group of teacher permutations that leave a student fixed, up to its own symmetries.

    student   an `MLP` or a `Result`

    None unless the problem's teacher has orthogonal weight vectors and neither network has biases.
    Permutations of teachers of different norm or output weight do not count. The student's symmetries are
    those of `same_point`.
    """
    if not isinstance(problem, Problem):
        raise ArgumentError("problem", type(problem).__name__, "a Problem")
    student, tolerance = network("student", student), number("tolerance", tolerance, minimum=0.0)
    teacher = problem.teacher
    if not isinstance(teacher, MLP) or len(teacher.weights) != 2 or teacher.sizes[0] != student.sizes[0]:
        return None
    if any(b is not None for b in (*teacher.biases, *student.biases)):
        return None
    V = teacher.weights[0]
    gram = V @ V.T
    norms = np.sqrt(np.diag(gram))
    if not norms.all() or np.abs(gram - np.diag(norms**2)).max() > 1e-12 * norms.max() ** 2:
        return None
    d, unit, rows = student.sizes[0], V / norms[:, None], neuron_vectors(student)
    # A neuron and its mirror image both: sets of such pairs are equal if the neurons are, up to signs.
    rows = np.concatenate([rows, rows * mirror(student, (*SIGNS, "even+linear"))])
    linear = remainder(student, range(student.sizes[1]))[:, :d]
    weights = np.concatenate([rows[:, :d], linear])
    coordinates = weights @ unit.T
    # Teachers that differ are told apart by rows of their own.
    marks = np.vstack([norms, teacher.weights[1]])
    scale = max(1.0, float(np.abs(coordinates).max()))
    matrix = np.vstack([coordinates, 1e3 * scale + marks])
    kinds = np.zeros((len(matrix), 1))
    kinds[len(rows) :, 0] = 1e6 * scale * (1 + np.arange(len(matrix) - len(rows)))
    labels = np.zeros((len(matrix), d + student.sizes[-1]))
    labels[: len(weights), :d] = weights - coordinates @ unit
    labels[: len(rows), d:] = rows[:, d:]
    return isotropy_order(matrix, np.column_stack([kinds, labels]), tolerance * scale)


def isotropy_order(matrix: np.ndarray, rows: np.ndarray | None = None, tolerance: float = 1e-6) -> int:
    """How many permutations of the columns are undone by a permutation of the rows.

    matrix   (n, k), for a network the weights on k equal orthonormal teachers
    rows     (n, m) numbers that belong to the rows: output weights

    The order of the isotropy group of a critical point is that of its student in teacher coordinates.
    Numbers within `tolerance` of each other count as equal. Found along a stabiliser chain with a
    backtracking search for each orbit.
    """
    matrix = real_array("matrix", matrix, 2)
    own = np.zeros((len(matrix), 0)) if rows is None else real_array("rows", rows, 2)
    if len(own) != len(matrix):
        raise ArgumentError("rows", f"{len(own)} rows", f"{len(matrix)}, as the matrix has")
    tolerance = number("tolerance", tolerance, minimum=0.0)
    labels = np.column_stack([matrix, own])
    classes = value_classes(labels, tolerance)
    columns, fixed = classes[:, : matrix.shape[1]], classes[:, matrix.shape[1] :]
    order = 1
    prefix: list[int] = []
    for j in range(columns.shape[1]):
        order *= sum(
            exchanged(columns, fixed, i, j) or _extends(columns, fixed, [*prefix, i])
            for i in range(j, columns.shape[1])
        )
        prefix.append(j)
    return order


def value_classes(matrix: np.ndarray, tolerance: float) -> np.ndarray:
    """Whole numbers in place of entries, equal where a chain of steps within the tolerance joins them."""
    flat = np.sort(matrix.ravel())
    steps = np.concatenate([[0], np.cumsum(np.diff(flat) > tolerance)])
    return steps[np.searchsorted(flat, matrix, side="left")]


def exchanged(columns: np.ndarray, fixed: np.ndarray, i: int, j: int) -> bool:
    """Whether exchanging two columns is an automorphism: the usual case, and a quick one."""
    images = np.arange(columns.shape[1])
    images[[i, j]] = j, i
    here, there = np.column_stack([fixed, columns]), np.column_stack([fixed, columns[:, images]])
    return bool(np.array_equal(_sorted_rows(here), _sorted_rows(there)))


def _extends(columns: np.ndarray, fixed: np.ndarray, images: list[int]) -> bool:
    """Whether some automorphism sends the first columns to `images`."""
    count = len(images)
    here = np.column_stack([fixed, columns[:, :count]])
    there = np.column_stack([fixed, columns[:, images]])
    if not np.array_equal(_sorted_rows(here), _sorted_rows(there)):
        return False
    if count == columns.shape[1]:
        return True
    rest = [i for i in range(columns.shape[1]) if i not in images]
    return any(_extends(columns, fixed, [*images, i]) for i in rest)


def _sorted_rows(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.lexsort(matrix.T[::-1])]
