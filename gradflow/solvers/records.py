"""What an integration keeps and hands over: accepted steps, and the state from which it continues."""

from __future__ import annotations

import abc
import dataclasses

import numpy as np

from ..objective import Counts

STORED_NUMBERS = 10_000_000
"""Parameters times kept steps beyond which every other step is dropped (three arrays of so many)."""


FEWEST_STEPS = 32
"""So many steps are kept however large they are."""


class AcceptedSteps:
    """Rows of accepted steps (`compiled.layout.R_TIME`…), thinned where they fill the memory.

    Kept are the steps whose number is a multiple of `stride`, and the last one: which these are follows
    from the number of steps alone, not from the pieces in which they came.
    """

    def __init__(self, rows: np.ndarray, count: int, stride: int = 1):
        self._pieces, self.count, self.stride = [rows], count, stride
        self._last = rows[-1:]
        if (count - 1) % stride:  # the last one is here only because it is the last
            self._pieces = [rows[:-1]]
        self._kept = len(self._pieces[0])

    def add(self, rows: np.ndarray) -> None:
        """Append the rows of the steps that follow."""
        first = -self.count % self.stride
        self._pieces.append(rows[first :: self.stride].copy())
        self._kept += len(self._pieces[-1])
        self._last = rows[-1:].copy()
        self.count += len(rows)
        size = rows.shape[1] // 3
        while self._kept * size > STORED_NUMBERS and self._kept > FEWEST_STEPS:
            self.stride *= 2
            self._pieces = [np.concatenate(self._pieces)[::2]]
            self._kept = len(self._pieces[0])

    def rows(self) -> np.ndarray:
        """All that is kept, in order, the last step included."""
        extra = [self._last] if (self.count - 1) % self.stride else []
        return np.concatenate([*self._pieces, *extra])


@dataclasses.dataclass(frozen=True, eq=False)
class FlowState:
    """Where an integration stands: continued from here it gives the same bits as without a stop.

    Attributes
    ----------
    numbers, integers, vectors : ndarray
        The state of the compiled loop; empty if it never began.
    rows : ndarray, shape (s, …)
        The accepted steps that are kept (`AcceptedSteps`).
    count, stride : int
        How many steps there were, and of which multiples they are kept.
    counts : Counts
        Evaluations so far.
    seconds : float
        Wall-clock time so far.
    finished : str or None
        The name of the `StopReason` if the flow is over.

    Examples
    --------
    >>> class Kept(gf.solvers.Checkpoint):
    ...     state = None
    ...     def due(self):
    ...         return True
    ...     def write(self, state):
    ...         self.state = state
    >>> problem = gf.Problem(gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 1, 1), bias=False, seed=0))
    >>> kept, rates = Kept(), np.ones(problem.size)
    >>> monitor = gf.support.progress.Monitor()
    >>> flow = gf.solvers.BDF().integrate(problem.objective, problem.theta0, rates, monitor, kept)
    >>> kept.state.finished, kept.state.seconds <= flow.seconds
    ('GRADIENT', True)
    """

    numbers: np.ndarray
    integers: np.ndarray
    vectors: np.ndarray
    rows: np.ndarray
    count: int
    stride: int
    counts: Counts
    seconds: float
    finished: str | None


class Checkpoint(abc.ABC):
    """Where an integration leaves its state now and then; an abstract class, of which `train` has a file.

    Attributes
    ----------
    state : FlowState or None
        The state to go on from, None for a new integration.

    Examples
    --------
    >>> class Never(Checkpoint):
    ...     state = None
    ...     def due(self):
    ...         return False
    ...     def write(self, state):
    ...         pass
    >>> Never().due()
    False
    """

    state: FlowState | None
    """The state to continue from, or None to begin."""

    @abc.abstractmethod
    def due(self) -> bool:
        """Whether it is time to write."""

    @abc.abstractmethod
    def write(self, state: FlowState) -> None:
        """Keep this state."""
