"""The ansatz of a point that was found: which teachers are alike at it, and which neurons go with them."""

from __future__ import annotations

import numpy as np

from ..networks import MLP
from ..run.result import Result
from ..support.errors import ArgumentError
from ..support.threads import single_threaded_blas
from ..support.validate import number
from . import pair_functions
from .ansatz import Ansatz
from .function_space import FunctionSpace, units
from .isotropy import Axes, exchanged, teacher_axes, value_classes
from .symmetries import balanced, network

UNIT = 1e-14
"""A teacher's norm within this of 1 is that of a unit vector after rounding."""


def find_ansatz(result, tolerance: float = 1e-6) -> tuple[Ansatz, np.ndarray]:
    """The ansatz of a student on orthogonal teachers, and x: for `symmetric_point`, `follow`, `blocks`.

    Parameters
    ----------
    result : Result or tuple of two MLP
        A `Result` for standard Gaussian inputs, or a student and its teacher. One hidden layer, one output,
        no biases, erf or relu, weights in the teachers' span. Output weights that rates of zero hold at one
        are left out of x.
    tolerance : float, default 1e-6
        Numbers that differ by less are equal: distances of neurons in function space, in units of the
        largest one (`FunctionSpace.chart`).

    Returns
    -------
    ansatz : Ansatz
    x : ndarray, shape (p,)

    Raises
    ------
    ArgumentError
        For any other problem.

    Notes
    -----
    Teachers are in one block if exchanging them is undone by a permutation of the neurons. A block in which
    some neuron has more than one weight of its own, or whose neurons have one in another block too, is split
    into single teachers: less symmetry than the point has, but a valid ansatz. Signs of erf neurons are
    those with a > 0, those of erf teachers with c > 0; relu neurons are `balanced` unless a is frozen, relu
    teachers have |v| = 1.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(3, 3)
    >>> student = gf.MLP([[[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]], [[1.0, 0.8]]])
    >>> ansatz, x = gf.landscape.find_ansatz((student, teacher))
    >>> ansatz.teachers, ansatz.groups
    ((1, 2), (None, None))
    """
    student, axes, frozen = _pair(result)
    tolerance = number("tolerance", tolerance, minimum=0.0)
    sigma = student.neuron_activations(0)[0]
    V, c = axes.vectors, axes.c[:, 0]
    r = np.linalg.norm(axes.neurons.rows, axis=1)
    r[np.abs(r - 1.0) <= UNIT] = 1.0
    with single_threaded_blas():
        if sigma.symmetry == "odd":
            signs = np.array([_sign(w @ V.T, a) for w, a in zip(student.weights[0], student.weights[1][0])])
            student = MLP([signs[:, None] * student.weights[0], signs * student.weights[1]], None, sigma)
        elif not frozen:
            student = balanced(student)
        W, a = student.weights[0] @ V.T, student.weights[1][0]
        directions, labels = FunctionSpace().chart(*units(student, False))
        outside = directions - directions @ V.T @ V
    if np.abs(outside).max() > tolerance:
        raise ArgumentError("result", "weights outside the teachers' span", "weights in it")
    columns = value_classes(directions @ V.T, tolerance)
    outputs = np.concatenate([value_classes(column[:, None], tolerance) for column in labels.T], axis=1)
    blocks = _blocks(columns, outputs, np.column_stack([r, c]))
    groups, rows = _groups(W, columns, outputs, blocks)
    unused = V.shape[1] - len(V)
    values = [[*weights, *([0.0] if unused else []), float(a[i])] for i, weights in rows]
    first = [block[0] for block in blocks]
    ansatz = Ansatz(
        tuple(map(len, blocks)),
        tuple(groups),
        unused,
        sigma.name,
        teacher_outputs=tuple(c[first]),
        teacher_norms=tuple(r[first]),
        train_outputs=not frozen,
    )
    return ansatz, ansatz.point(values)


def _sign(weights: np.ndarray, a: float) -> float:
    """The sign of an erf neuron with a > 0; where a = 0, with a positive sum of weights, or of cubes."""
    for terms in (np.array([a]), weights, weights**3):
        total = float(terms.sum())
        if abs(total) > 1e-9 * float(np.abs(terms).sum()):
            return float(np.sign(total))
    return 1.0


def _pair(result) -> tuple[MLP, Axes, bool]:
    """Student, teachers, and whether the output weights are frozen at one."""
    frozen, allowed = False, "a Result, or a student MLP and its teacher"
    if isinstance(result, Result):
        student, teacher = network("result", result), result.problem.teacher
        law = result.problem.inputs
        if law is None or not law.standard:
            raise ArgumentError("result", f"inputs {law!r}", "standard Gaussian inputs")
        moving = result.rates[student.weights[0].size :] != 0
        frozen = not moving.any()
        if not (moving.all() or (frozen and (student.weights[1] == 1.0).all())):
            raise ArgumentError("result", "frozen output weights", "none, or all of them, at one")
    elif isinstance(result, tuple) and len(result) == 2:
        student, teacher = network("result", result[0]), result[1]
    else:
        raise ArgumentError("result", type(result).__name__, allowed)
    if not isinstance(teacher, MLP) or len(teacher.weights) != 2:
        raise ArgumentError("result", "another teacher", "a teacher MLP with one hidden layer")
    kinds = {sigma for net in (student, teacher) for sigma in net.neuron_activations(0)}
    if not pair_functions.known(kinds):
        given = f"activations {sorted(sigma.name for sigma in kinds)}"
        raise ArgumentError("result", given, f"{' or '.join(pair_functions.NAMES)} for all neurons")
    if any(b is not None for net in (student, teacher) for b in net.biases) or student.sizes[-1] != 1:
        raise ArgumentError("result", "biases or several outputs", "one output and no biases")
    axes = teacher_axes(teacher) if student.sizes[0] == teacher.sizes[0] else None
    if axes is None:
        raise ArgumentError("result", "teachers that are not orthogonal, or zero", "orthogonal teachers")
    return student, axes, frozen


def _blocks(columns: np.ndarray, outputs: np.ndarray, teachers: np.ndarray) -> list[list[int]]:
    """The blocks of teachers, in the order of their first one."""
    blocks: list[list[int]] = []
    for j in range(columns.shape[1]):
        for block in blocks:
            alike = np.allclose(teachers[j], teachers[block[0]], rtol=UNIT, atol=0.0)
            if alike and exchanged(columns, outputs, block[0], j):
                block.append(j)
                break
        else:
            blocks.append([j])
    while True:
        bad = next((block for block in blocks if len(block) > 1 and _unfit(columns, block, blocks)), None)
        if bad is None:
            return sorted(blocks)
        blocks.remove(bad)
        blocks += [[j] for j in bad]


def _groups(W: np.ndarray, columns: np.ndarray, outputs: np.ndarray, blocks: list[list[int]]):
    """For each group the block it is tied to or None, and its first neuron with its weights on the blocks."""
    groups: list[int | None] = []
    rows: list[tuple[int, list]] = []
    left = list(range(len(W)))
    while left:
        i = left[0]
        own = {b: _own(columns[i], block, W[i]) for b, block in enumerate(blocks) if len(block) > 1}
        tied = next((b for b, column in own.items() if column is not None), None)
        weights: list = [float(W[i, block].mean()) for block in blocks]
        if tied is None:
            left.remove(i)
        else:
            column, others = own[tied], [j for j in blocks[tied] if j != own[tied]]
            weights[tied] = (float(W[i, column]), float(W[i, others].mean()))
            for j in blocks[tied]:  # one neuron per teacher: the images of this one
                image = columns[i].copy()
                image[[column, j]] = columns[i][[j, column]]
                same = [n for n in left if (columns[n] == image).all() and (outputs[n] == outputs[i]).all()]
                left.remove(same[0])
        groups.append(tied)
        rows.append((i, weights))
    return groups, rows


def _unfit(columns: np.ndarray, block: list[int], blocks: list[list[int]]) -> bool:
    """Whether some neuron has several weights of its own in a block, or one in a larger block as well."""
    for row in columns:
        values, counts = np.unique(row[block], return_counts=True)
        if len(values) == 1:
            continue
        if len(values) > 2 or counts.min() > 1:
            return True
        for other in blocks:
            if other is not block and len(other) >= len(block) and len(np.unique(row[other])) > 1:
                return True
    return False


def _own(row: np.ndarray, block: list[int], weights: np.ndarray) -> int | None:
    """The column of a block in which a neuron has a weight of its own; the larger one of two."""
    values, counts = np.unique(row[block], return_counts=True)
    if len(values) == 1:
        return None
    if len(block) == 2:
        return max(block, key=lambda j: (float(abs(weights[j])), float(weights[j])))
    return block[int(np.flatnonzero(row[block] == values[counts.argmin()])[0])]
