"""Symmetric points: networks that a group of permutations leaves fixed, in the few numbers that remain."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..networks import MLP
from ..support.errors import ArgumentError
from ..support.memory import check_memory
from ..support.validate import integer, number, real_array, sequence
from ..teachers import orthonormal
from . import pair_functions


class Parameter(NamedTuple):
    """One number of a symmetric point: which neurons and coordinates it stands for.

    group   of student neurons
    block   of coordinates; −1 for the output weight
    own     True for w_ii of a group tied to the block, False for everything else
    size    how many entries of θ have this value
    """

    group: int
    block: int
    own: bool
    size: float | int


class Terms(NamedTuple):
    """L = constant + Σ_t count_t · A_t · K(s_t, s'_t, q_t), everything quadratic in the parameters x.

    For the pairs of students A = a_g a_g', for a student and a teacher A = −2 a_g c, s' = teacher's norm².
    s = ½ x·Sx and so on; `outputs` holds the positions of a_g and a_g' (−1: the number 1).
    """

    counts: np.ndarray
    outputs: np.ndarray
    S: np.ndarray
    T: np.ndarray
    Q: np.ndarray
    teacher_norm: np.ndarray
    linear: np.ndarray


@dataclasses.dataclass(frozen=True)
class Ansatz:
    """Students Σ_i a_i σ(w_i·x) and orthonormal teachers Σ_j c_j σ(r_j e_j·x), x ~ N(0, I), in blocks.

    Attributes
    ----------
    teachers : tuple
        Sizes m_t of the blocks of teachers; all permutations within a block are symmetries.
    groups : tuple
        For each group of student neurons the block it is tied to (one neuron per teacher of the block,
        permuted with it), or None for a single neuron, which no symmetry moves.
    unused : float or int
        Number of input dimensions without a teacher: one more block.
    activation : str
        "erf" or "relu".
    teacher_outputs : tuple or None
        c of each block, 1 unless given.
    teacher_norms : tuple or None
        r of each block, 1 unless given.
    train_outputs : bool
        False: every a_i is 1 and does not move.

    Raises
    ------
    ArgumentError
        For blocks and groups that do not fit together, sizes that are not positive, other activations.

    Notes
    -----
    A point is x: for each group its weight on every block, where a group tied to a block of two or more
    has two there, own (w_ii) and the others (w_ij), then a. By symmetry a critical point of L(x) is one
    of the full loss. Sizes may be fractions as long as nothing is expanded: families are then followed
    in a continuous size. L is that of `PopulationLoss` (no ½).

    Examples
    --------
    >>> ansatz = gf.landscape.Ansatz(teachers=(3,), groups=(0, None))
    >>> x = ansatz.point([[(1.0, 0.1), 0.9], [0.5, -0.3]])
    >>> ansatz.student(x).weights[0]
    array([[1. , 0.1, 0.1],
           [0.1, 1. , 0.1],
           [0.1, 0.1, 1. ],
           [0.5, 0.5, 0.5]])
    """

    teachers: tuple
    groups: tuple
    unused: float | int = 0
    activation: str = "erf"
    teacher_outputs: tuple | None = None
    teacher_norms: tuple | None = None
    train_outputs: bool = True

    def __post_init__(self):
        pair_functions.find(self.activation)
        for name in ("teachers", "groups", "teacher_outputs", "teacher_norms"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, tuple(sequence(name, given, "a sequence")))
        sizes = real_array("teachers", self.teachers, 1)
        if sizes.size == 0 or not (sizes > 0).all():
            raise ArgumentError("teachers", self.teachers, "a positive size for each block")
        if not np.isfinite(number("unused", self.unused, minimum=0.0)):
            raise ArgumentError("unused", self.unused, "a finite number")
        if not self.groups:
            raise ArgumentError("groups", self.groups, "one group at least")
        for g in self.groups:
            if g is not None:
                integer("groups", g, 0, sizes.size - 1)
        for name in ("teacher_outputs", "teacher_norms"):
            given = getattr(self, name)
            if given is not None:
                numbers = real_array(name, given, 1)
                if numbers.size != sizes.size:
                    raise ArgumentError(name, given, f"{sizes.size} numbers, one per block")
                object.__setattr__(self, name, tuple(numbers.tolist()))
        if not isinstance(self.train_outputs, (bool, np.bool_)):
            raise ArgumentError("train_outputs", repr(self.train_outputs), "True or False")

    @property
    def blocks(self) -> tuple:
        """Sizes of the blocks of coordinates, that of the unused ones last."""
        return (*self.teachers, self.unused) if self.unused else self.teachers

    def neurons(self, group: int) -> float | int:
        """How many student neurons a group has."""
        tied = self.groups[group]
        return 1 if tied is None else self.teachers[tied]

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What each entry of x stands for."""
        found = []
        for g, tied in enumerate(self.groups):
            count = self.neurons(g)
            for b, size in enumerate(self.blocks):
                if b == tied:
                    found.append(Parameter(g, b, True, count))
                if b != tied or size > 1:
                    found.append(Parameter(g, b, False, count * (size - 1 if b == tied else size)))
            if self.train_outputs:
                found.append(Parameter(g, -1, False, count))
        return tuple(found)

    @cached_property
    def sizes(self) -> np.ndarray:
        """How many entries of θ each entry of x stands for, (p,)."""
        return np.array([parameter.size for parameter in self.parameters], dtype=np.float64)

    def position(self, group: int, block: int, own: bool = False) -> int:
        """Where a number of the ansatz stands in x.

        Parameters
        ----------
        group, block : int
            Of student neurons, of coordinates (−1 for the output weight).
        own : bool, default False
            Whether it is w_ii of a group tied to the block.

        Returns
        -------
        int
            −1 where there is no such number (own weights apart, a block of one; a fixed).
        """
        return self._positions.get((group, block, own), -1)

    @cached_property
    def _positions(self) -> dict[tuple[int, int, bool], int]:
        return {(p.group, p.block, p.own): i for i, p in enumerate(self.parameters)}

    def point(self, values: Sequence) -> np.ndarray:
        """The point x of such values: one row per group, its weights on the blocks, then a.

        Parameters
        ----------
        values : sequence
            Rows with one weight per block, a pair (own, others) where the group is tied, and then a. The
            second number of a pair is left out where the block has one teacher; a is needed in any case.

        Returns
        -------
        ndarray, shape (p,)

        Raises
        ------
        ArgumentError
            For rows that do not fit.
        """
        x = np.zeros(len(self.parameters))
        rows = sequence("values", values, "one row per group")
        if len(rows) != len(self.groups):
            raise ArgumentError("values", f"{len(rows)} rows", f"{len(self.groups)}, one per group")
        for g, row in enumerate(rows):
            *weights, output = sequence("values", row, "rows of weights, then a") or [0.0]
            if len(weights) != len(self.blocks):
                raise ArgumentError("values", row, f"{len(self.blocks)} weights and a for each group")
            for b, weight in enumerate(weights):
                tied = b == self.groups[g]
                pair = real_array("values", weight if tied else (0.0, weight), 1)
                if pair.size != 2:
                    raise ArgumentError("values", weight, "a pair (own, others) on the block it is tied to")
                own, others = pair
                if tied:
                    x[self.position(g, b, True)] = own
                if self.position(g, b) >= 0:
                    x[self.position(g, b)] = others
            if self.train_outputs:
                x[self.position(g, -1)] = output
        return x

    def check(self, argument: str, x) -> np.ndarray:
        """The point x as an array (p,); else `ArgumentError`, which calls it by the name `argument`."""
        point = real_array(argument, x, 1)
        if point.size != len(self.parameters):
            allowed = f"shape ({len(self.parameters)},): see parameters"
            raise ArgumentError(argument, f"shape {point.shape}", allowed)
        return point

    def student(self, x: np.ndarray) -> MLP:
        """The full network at x, groups one after the other; sizes must be integers."""
        x = self.check("x", x)
        if any(size != int(size) for size in self.blocks):
            raise ArgumentError("teachers", self.blocks, "integer sizes, to write the network down")
        starts = np.concatenate([[0], np.cumsum(self.blocks)]).astype(int)
        check_memory("teachers", 8 * int(starts[-1]) * int(sum(map(self.neurons, range(len(self.groups))))))
        rows, outputs = [], []
        for g, tied in enumerate(self.groups):
            count = int(self.neurons(g))
            row = np.zeros((count, starts[-1]))
            for b in range(len(self.blocks)):
                position = self.position(g, b)
                row[:, starts[b] : starts[b + 1]] = x[position] if position >= 0 else 0.0
                if b == tied:
                    index = np.arange(count)
                    row[index, starts[b] + index] = x[self.position(g, b, True)]
            rows.append(row)
            outputs.append(np.full(count, x[self.position(g, -1)] if self.train_outputs else 1.0))
        return MLP([np.concatenate(rows), np.concatenate(outputs)[None, :]], None, self.activation)

    def teacher(self) -> MLP:
        """The full teacher."""
        counts = [int(m) for m in self.teachers]
        norms = np.repeat(self._per_block(self.teacher_norms), counts)
        outputs = np.repeat(self._per_block(self.teacher_outputs), counts)
        total = sum(counts)
        return orthonormal(
            total, total + int(self.unused), self.activation, norms=norms, output_weights=outputs
        )

    def _per_block(self, given) -> np.ndarray:
        return np.ones(len(self.teachers)) if given is None else np.array(given, dtype=np.float64)

    def _vector(self, group: int, block: int, own: bool) -> np.ndarray:
        """The row of x that picks a weight; zeros where there is none."""
        row = np.zeros(len(self.parameters))
        position = self.position(group, block, own)
        if position >= 0:
            row[position] = 1.0
        return row

    def _product(self, g: int, h: int, same: bool) -> np.ndarray:
        """Symmetric M with w·w' = ½ x·Mx for neurons of groups g and h, of the same or of other index."""
        total = np.zeros((len(self.parameters),) * 2)
        for b, size in enumerate(self.blocks):
            own_g, own_h = self.groups[g] == b, self.groups[h] == b
            off = self._vector(g, b, False), self._vector(h, b, False)
            own = self._vector(g, b, True), self._vector(h, b, True)
            pairs = []  # coordinates: those of the two neurons' own indices, then all others
            if own_g and own_h and same:
                pairs = [(1, own[0], own[1])]
            else:
                pairs += [(1, own[0], off[1])] if own_g else []
                pairs += [(1, off[0], own[1])] if own_h else []
            pairs.append((size - sum(count for count, _, _ in pairs), *off))
            for count, left, right in pairs:
                total += count * np.outer(left, right)
        return total + total.T

    @cached_property
    def terms(self) -> Terms:
        """Every kind of pair once, with how often it occurs."""
        p = len(self.parameters)
        rows: list[tuple] = []
        squares = [self._product(g, g, True) for g in range(len(self.groups))]
        zero = np.zeros((p, p))

        def output(g):
            return self.position(g, -1) if self.train_outputs else -1

        for g, tied in enumerate(self.groups):
            for h, other in enumerate(self.groups[: g + 1]):
                twice = 1.0 if g == h else 2.0
                both = (twice, output(g), output(h), squares[g], squares[h])
                n, m = self.neurons(g), self.neurons(h)
                together = (tied is not None and tied == other) or g == h
                if together:
                    rows.append((*both, self._product(g, h, True), 0.0, np.zeros(p), n))
                if n * m - (n if together else 0) > 0:
                    pairs = n * m - (n if together else 0)
                    rows.append((*both, self._product(g, h, False), 0.0, np.zeros(p), pairs))
            norms, outputs = self._per_block(self.teacher_norms), self._per_block(self.teacher_outputs)
            for b, size in enumerate(self.teachers):
                kinds = [(True, self.neurons(g))] if b == tied else []
                others = self.neurons(g) * (size - 1 if b == tied else size)
                kinds += [(False, others)] if others > 0 else []
                for own, count in kinds:
                    row = norms[b] * self._vector(g, b, own)
                    factor = -2.0 * outputs[b]
                    rows.append((factor, output(g), -1, squares[g], zero, zero, norms[b] ** 2, row, count))
        factors, left, right, S, T, Q, teacher_norm, linear, counts = zip(*rows)
        return Terms(
            np.array(factors) * np.array(counts, dtype=np.float64),
            np.array([left, right]).T,
            np.array(S),
            np.array(T),
            np.array(Q),
            np.array(teacher_norm),
            np.array(linear),
        )
