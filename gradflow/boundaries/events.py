"""What happened at the boundaries along a flow."""

from __future__ import annotations

import dataclasses

import numpy as np

KINDS = ("crossing", "sliding", "leaving", "branching", "passing", "resting")
CROSSING, SLIDING, LEAVING, BRANCHING, PASSING, RESTING = range(6)


@dataclasses.dataclass(frozen=True, eq=False)
class Events:
    """Where the flow met the boundaries of neurons on samples, in the order of time.

    Attributes
    ----------
    times : numpy.ndarray, shape (e,)
        When.
    layers, neurons, samples : numpy.ndarray, shape (e,)
        The hidden layer, from 0, the neuron in it and the sample.
    codes : numpy.ndarray, shape (e,)
        Places in `KINDS`; `kinds` has the words.

    Notes
    -----
    "crossing": from one side to the other. "sliding": from here on along the boundary. "leaving": the
    boundary along which it slid. "branching": a boundary from which it might go to either side, and goes to
    the left one (σ'(0) = 0). "passing": a crossing that was not located, because its effect is below the
    tolerance; its time is interpolated. "resting": the weights into the neuron reach zero, where they stay,
    on the boundaries of all samples; the sample is the first of these.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [1.0, 1.0]])
    >>> student = gf.MLP([[[1.0, -0.5]], [[1.0]]], None, "relu")
    >>> result = gf.train(np.array([[-1.0], [1.0]]), student, X, solver=gf.solvers.Filippov(t1=10.0),
    ...                   refiner=None, progress=False)
    >>> result.flow.events.kinds
    ('sliding',)
    """

    times: np.ndarray
    layers: np.ndarray
    neurons: np.ndarray
    samples: np.ndarray
    codes: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, layers: np.ndarray) -> Events:
        """From rows (m, 4) of time, hidden neuron of the whole network, sample, code.

        `layers` has the layer of every hidden neuron.
        """
        rows = np.asarray(rows, dtype=np.float64).reshape(-1, 4)
        number = rows[:, 1].astype(np.int64)
        layer = layers[number].astype(np.int64)
        first = np.searchsorted(layers, layer)
        return cls(
            rows[:, 0].copy(), layer, number - first, rows[:, 2].astype(np.int64), rows[:, 3].astype(np.int64)
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """What each is, in words."""
        return tuple(KINDS[code] for code in self.codes)

    def count(self, kind: str) -> int:
        """How many there are of a kind."""
        return int((self.codes == KINDS.index(kind)).sum())

    def __len__(self) -> int:
        return self.times.size

    def __repr__(self) -> str:
        parts = [f"{self.count(kind)} {kind}" for kind in KINDS if self.count(kind)]
        return f"<Events: {', '.join(parts) or 'none'}>"

    def later(self, clock: float) -> Events:
        """The same in a time that runs `clock` times as slowly."""
        return dataclasses.replace(self, times=self.times / clock)
