"""Critical points as a search returns them."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..networks import MLP
from ..support.eigen import Inertia
from .table import Frame, table


@dataclasses.dataclass(eq=False)
class CriticalPoint:
    """One critical point, or one class of them under the symmetries.

    Attributes
    ----------
    student : MLP
        The point of smallest gradient norm among the hits.
    loss, grad_norm : float
        L and the ∞-norm of ∇L there.
    eigenvalues : ndarray, shape (p,)
        Of ∇²L over the parameters that move, ascending.
    inertia : Inertia
        Index and number of zeros, where they are certain (`support.eigen.inertia`).
    isotropy : int or None
        Order of the group of teacher permutations that leave the point fixed; None unless the teachers are
        orthogonal.
    hits : dict of str to int
        How many runs ended there, by method.

    Examples
    --------
    >>> problem = gf.Problem(gf.teachers.orthonormal(2, 2), gf.MLP.random((2, 1, 1), bias=False, seed=0))
    >>> point = gf.landscape.critical_points(problem, 5, seed=0, methods=["minimum"])[0]
    >>> point.index, point.zero, point.eigenvalues.size
    (0, 0, 3)
    """

    student: MLP
    loss: float
    grad_norm: float
    eigenvalues: np.ndarray
    inertia: Inertia
    isotropy: int | None
    hits: dict

    @property
    def index(self) -> int | None:
        """The number of negative eigenvalues, None where it is not determined."""
        return self.inertia.negative

    @property
    def zero(self) -> int | None:
        """The number of zero eigenvalues, None where it is not determined."""
        return self.inertia.zero


class CriticalPoints(list):
    """Critical points in the order of their losses: a list of `CriticalPoint`.

    Parameters
    ----------
    points : list of CriticalPoint
        In any order.
    runs, ended : int
        How many runs were made, and how many of them ended at a critical point.

    Examples
    --------
    >>> problem = gf.Problem(gf.teachers.orthonormal(2, 2), gf.MLP.random((2, 1, 1), bias=False, seed=0))
    >>> points = gf.landscape.critical_points(problem, 5, seed=0, methods=["minimum"])
    >>> points.runs, points.ended
    (5, 5)
    """

    def __init__(self, points: list, runs: int, ended: int):
        super().__init__(sorted(points, key=lambda point: point.loss))
        self.runs, self.ended = runs, ended

    def __str__(self) -> str:
        lines = [
            f"{self.ended} of {self.runs} runs ended at a critical point, at {len(self)} different ones",
            str(self.table()),
        ]
        lines += [f"{i}: {p.inertia}" for i, p in enumerate(self) if p.index is None]
        return "\n".join(lines)

    def table(self) -> Frame:
        """One row per point; a DataFrame if pandas is installed."""
        names = ("loss", "grad_norm", "index", "zero", "isotropy")
        used = sorted({method for p in self for method in p.hits})
        rows = [
            {
                **{name: getattr(p, name) for name in names},
                "hits": sum(p.hits.values()),
                **{method: p.hits.get(method, 0) for method in used},
            }
            for p in self
        ]
        return table(rows, (*names, "hits", *used))
