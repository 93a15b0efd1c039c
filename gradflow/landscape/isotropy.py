"""The isotropy group of a point: permutations of the teachers that leave it as it is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..losses.problem import Problem
from ..networks import MLP
from ..support.errors import ArgumentError
from ..support.validate import number, real_array
from .function_space import FunctionSpace, Neurons, units
from .symmetries import SIGNS, mirror, network, remainder

ORTHOGONAL = 1e-12
"""Cosines of teacher vectors below this are those of orthogonal ones."""


def isotropy(problem, student, tolerance: float = 1e-6) -> int | None:
    """The order of the group of teacher permutations that leave a student fixed, up to its own symmetries.

    Parameters
    ----------
    problem : Problem
        Its teacher says what is exchanged.
    student : MLP or Result
        The point.
    tolerance : float, default 1e-6
        Of numbers that are to be equal: distances of neurons in function space, x ~ N(0, I), in units of
        the largest one (`FunctionSpace.chart`).

    Returns
    -------
    int or None
        None unless the problem's teacher has orthogonal weight vectors and neither network has biases.

    Raises
    ------
    ArgumentError
        For anything but a `Problem` and a network.

    Notes
    -----
    Teachers are exchanged as functions: only those of one c σ(v·x) up to the direction of v, while (v, c) and
    (−v, −c) of an odd σ, or (v, c) and (2v, c/2) of relu, are one. A teacher of an even σ may be mirrored as
    well, and then its signed permutations count. The student's symmetries are those of `same_point`.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(3, 3)
    >>> student = gf.MLP([[[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]], [[1.0, 0.8]]])
    >>> gf.landscape.isotropy(gf.Problem(teacher, student), student)
    2
    """
    if not isinstance(problem, Problem):
        raise ArgumentError("problem", type(problem).__name__, "a Problem")
    student, tolerance = network("student", student), number("tolerance", tolerance, minimum=0.0)
    teacher = problem.teacher
    if not isinstance(teacher, MLP) or len(teacher.weights) != 2 or teacher.sizes[0] != student.sizes[0]:
        return None
    if any(b is not None for b in (*teacher.biases, *student.biases)):
        return None
    axes = teacher_axes(teacher)
    if axes is None:
        return None
    even = [j for j, sigma in enumerate(axes.neurons.kinds) if sigma.symmetry == "even"]
    which = np.append(np.arange(len(axes.vectors)), even).astype(int)
    columns = axes.vectors[which] * np.where(np.arange(which.size) < len(axes.vectors), 1.0, -1.0)[:, None]

    # A neuron and its mirror image both: sets of such pairs are equal if the neurons are, up to signs.
    own, a = units(student, False)
    d, flips = student.sizes[0], mirror(student, (*SIGNS, "even+linear"))
    directions, labels = FunctionSpace().chart(own, a)
    images = np.column_stack([labels[:, :1], labels[:, 1:] * flips[:, d:]])
    linear = remainder(student, range(student.sizes[1]))[:, :d]
    largest = float((np.linalg.norm(a, axis=1) * np.sqrt(FunctionSpace().squares(own))).max())
    rows = np.concatenate([directions, directions * flips[:, :d], linear / max(largest, 1e-300)])
    coordinates = rows @ columns.T
    outside = rows - rows @ axes.vectors.T @ axes.vectors

    count, outputs = len(rows), len(linear)
    numbers = [own.kinds.index(sigma) for sigma in own.kinds] * 2 + [-1 - o for o in range(outputs)]
    known = np.zeros((count, labels.shape[1]))
    known[: count - outputs] = np.concatenate([labels, images])
    fixed = [np.array(numbers)[:, None], value_classes(outside, tolerance)]
    fixed += [value_classes(known[:, [i]], tolerance) for i in range(known.shape[1])]
    neurons = value_classes(coordinates, tolerance), np.concatenate(fixed, axis=1)
    return automorphisms(*_with_marks(*neurons, _marks(axes, tolerance)[:, which], even))


class Axes(NamedTuple):
    """Orthogonal teachers: unit vectors (k, d), the neurons along them, and their output weights (k, m).

    Of (v, c) and (−v, −c), where σ is odd, the one whose first large output weight is positive; homogeneous
    ones at |v| = 1.
    """

    vectors: np.ndarray
    neurons: Neurons
    c: np.ndarray


def teacher_axes(teacher: MLP) -> Axes | None:
    """The teachers as `Axes`, None where they are not orthogonal or one of them is zero."""
    neurons, c = units(teacher, False)
    norms = np.linalg.norm(neurons.rows, axis=1)
    if not norms.all():
        return None
    vectors = neurons.rows / norms[:, None]
    if np.abs(vectors @ vectors.T - np.eye(len(norms))).max() > ORTHOGONAL:
        return None
    odd = np.array([sigma.symmetry == "odd" for sigma in neurons.kinds])
    large = np.abs(c) >= 0.5 * np.abs(c).max(axis=1, keepdims=True)
    first = c[np.arange(len(c)), large.argmax(axis=1)]
    signs = np.where(odd & (first < 0), -1.0, 1.0)[:, None]
    return Axes(signs * vectors, neurons._replace(rows=signs * neurons.rows), signs * c)


def _marks(axes: Axes, tolerance: float) -> np.ndarray:
    """Rows of whole numbers that tell teachers apart, (m + 2, k): activation, |v| and c."""
    labels = FunctionSpace().chart(axes.neurons, axes.c)[1]
    kinds = [axes.neurons.kinds.index(sigma) for sigma in axes.neurons.kinds]
    return np.stack([np.array(kinds), *(value_classes(column[None], tolerance)[0] for column in labels.T)])


def _with_marks(columns: np.ndarray, fixed: np.ndarray, marks: np.ndarray, even: list[int]):
    """The rows of the neurons, and below them marks of the teachers and of the pairs ±v of even ones."""
    count = marks.shape[1] - len(even)
    pairs = np.zeros((len(even), marks.shape[1]), dtype=int)
    for row, j in enumerate(even):
        pairs[row, [j, count + row]] = 1
    below = np.concatenate([marks, pairs])
    # A mark stays where it is; pairs may be exchanged with each other.
    places = np.append(np.arange(len(marks)), np.full(len(pairs), len(marks)))
    own = np.zeros((len(below), fixed.shape[1]), dtype=int)
    own[:, 0] = 10**6 + places
    return np.concatenate([columns, below]), np.concatenate([fixed, own])


def isotropy_order(matrix: np.ndarray, rows: np.ndarray | None = None, tolerance: float = 1e-6) -> int:
    """How many permutations of the columns are undone by a permutation of the rows.

    Parameters
    ----------
    matrix : ndarray, shape (n, k)
        For a network the weights on k equal orthonormal teachers.
    rows : ndarray, shape (n, m), optional
        Numbers that belong to the rows: output weights.
    tolerance : float, default 1e-6
        Numbers within it of each other count as equal.

    Returns
    -------
    int

    Raises
    ------
    ArgumentError
        For `rows` of another length.

    Notes
    -----
    The order of the isotropy group of a critical point is that of its student in teacher coordinates.

    Examples
    --------
    >>> gf.landscape.isotropy_order(np.eye(4))
    24
    >>> gf.landscape.isotropy_order(np.array([[2.0, 1.0, 1.0]]))
    2
    """
    matrix = real_array("matrix", matrix, 2)
    own = np.zeros((len(matrix), 0)) if rows is None else real_array("rows", rows, 2)
    if len(own) != len(matrix):
        raise ArgumentError("rows", f"{len(own)} rows", f"{len(matrix)}, as the matrix has")
    tolerance = number("tolerance", tolerance, minimum=0.0)
    classes = value_classes(np.column_stack([matrix, own]), tolerance)
    return automorphisms(classes[:, : matrix.shape[1]], classes[:, matrix.shape[1] :])


def automorphisms(columns: np.ndarray, fixed: np.ndarray) -> int:
    """How many permutations of the columns (n, k) are undone by one of the rows that keeps `fixed` (n, m).

    Found along a stabiliser chain with a backtracking search for each orbit.
    """
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
