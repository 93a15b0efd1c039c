"""Several hidden layers: whole students by Levenberg–Marquardt, neurons removed over all layers."""

from __future__ import annotations

import numpy as np

from ..activations import Activation
from ..losses.empirical import EmpiricalLoss
from ..networks import MLP
from ..refiners.gram import descend, finish
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.threads import single_threaded_blas
from ..support.validate import generator, integer, number
from .certificate import CLEAR, NULL, Certificate
from .consensus import consensus
from .one_layer import default_floor, queries
from .result import Recovery
from .search import NEAR
from .students import Student, Task
from .symmetry import symmetry_of
from .units import Units

PER = 20.0
"""Equations per parameter: deep students fit fewer without being right."""

CLOSE = 1e-6
"""A student below this share of the variance is reduced, as long as the loss does not rise."""

WIDTHS = (8, 16)
"""Widths of the first layer of random students; the layers above have half as many as the one below."""

EACH = 4
"""Random students of each width."""

GAIN = 1.5
"""Of the random weights, in units of Glorot's: steeper ones end in worse minima."""

BETTER = 1e3
"""Students within this factor of the best are asked which neurons of the first layer they agree on."""

ROUND = 6
"""Students from one consensus before it is formed anew."""

TRIES = 6
"""So many single neurons are tried before a network counts as irreducible."""


def recover_deep(
    X=None,
    Y=None,
    activation: str | Activation = "g",
    *,
    teacher=None,
    inputs=None,
    hidden_layers: int = 2,
    floor: float | None = None,
    students: int = 120,
    seed=0,
    progress: bool | None = None,
) -> Recovery:
    """Find a network of several hidden layers from its answers.

    Parameters
    ----------
    X, Y, activation, teacher, inputs, floor, seed, progress
        As in `recover`.
    hidden_layers : int, default 2
        Number of hidden layers, which has to be known.
    students : int, default 120
        Limit on the number of students.

    Returns
    -------
    Recovery
        `widths` has all layers. `exact` as in `recover`, from the errors of the weights of every hidden
        neuron relative to their size; `certificate.neuron_errors` has the layers one after the other.

    Raises
    ------
    ArgumentError
        As `recover`, and for fewer queries than a student of the smallest width needs.

    Notes
    -----
    Eight random students are followed by some that start from the neurons of the first layer which the better
    ones have in common. One that comes near zero loss is reduced: a neuron of any layer is removed, the
    layer above it fitted by least squares to its pre-activations as they were, and all parameters by
    Levenberg–Marquardt; the removal that costs least and does not raise the loss stands. Where what is left
    is not determined by the queries, further students are asked.

    Examples
    --------
    >>> teacher = gf.teachers.parity(8, (4, 2), seed=1)
    >>> X = gf.teachers.uniform_inputs(8, 2000, seed=1)
    >>> found = gf.recovery.recover_deep(X, teacher(X), activation="g", students=1)
    >>> found.exact  # one student is too few
    False
    """
    X, Y, eps = queries(X, Y, teacher, inputs)
    symmetry_of(activation)
    depth = integer("hidden_layers", hidden_layers, 1)
    students = integer("students", students, 1)
    if floor is not None:
        floor = number("floor", floor, minimum=0.0, exclusive=True)
    least = MLP.random((X.shape[1], *_sizes(WIDTHS[0], depth), Y.shape[1]), activation, seed=0).size
    if len(X) * Y.shape[1] < 4 * least:
        raise ArgumentError(
            "X", f"{len(X)} queries", f"{4 * least // Y.shape[1]} at least for {depth} hidden layers"
        )
    units = Units.of(X, Y)
    X, Y = units.inside(X, Y)
    zero = default_floor(Y, eps) if floor is None else floor / units.answers
    rng = generator("seed", seed)
    monitor = Monitor(progress)
    with single_threaded_blas(), monitor.listening():
        task = _Deep(X, Y, activation, zero, eps, rng, monitor)
        return units.original(task.run(depth, students))


def _first_layer(network: MLP) -> np.ndarray:
    """Its rows [w, b]."""
    W, b = network.weights[0], network.biases[0]
    return np.column_stack([W, np.zeros(len(W)) if b is None else b])


def _sizes(first: int, depth: int) -> list[int]:
    return [max(first // 2**layer, 4) for layer in range(depth)]


class _Deep:
    """Queries in a random order, the last ones held out."""

    def __init__(self, X, Y, activation, zero: float, eps: float, rng, monitor: Monitor):
        order = rng.permutation(len(X))
        aside = min(1000, len(X) // 10)
        self.X, self.Y = X[order], Y[order]
        self.count = len(X) - aside
        self.activation, self.zero, self.rng, self.monitor = activation, zero, rng, monitor
        fitted = self.Y[: self.count]
        self.variance = float(((fitted - fitted.mean(axis=0)) ** 2).sum(axis=1).mean())
        self.goal = (0.2 * zero) ** 2
        self.known = eps * float(np.sqrt((Y**2).sum(axis=1).mean()))
        self.trail: list[dict] = []
        symmetry = symmetry_of(activation)
        self.task = Task(X, Y, symmetry, zero, rng)
        self.first: list[Student] = []
        self.common = np.zeros((0, X.shape[1] + 1))

    def loss(self, network: MLP, points: int) -> EmpiricalLoss:
        return EmpiricalLoss(network, self.X[:points], self.Y[:points], threads=1)

    def points(self, network: MLP) -> int:
        return min(self.count, max(2000, int(PER * network.size / self.Y.shape[1])))

    def fit(
        self, network: MLP, iterations: int, window: int = 40, damping: float = 1e-2
    ) -> tuple[MLP, float]:
        objective = self.loss(network, self.points(network))
        end = descend(
            objective.least_squares,
            objective.residual_vector,
            network.flat(),
            iterations=iterations,
            goal=self.goal,
            window=window,
            damping=damping,
        )
        return network.with_flat(end.theta), end.loss

    def run(self, depth: int, students: int) -> Recovery:
        """Random students of each width, then students from the neurons of the first layer agreed on."""
        best: tuple[MLP, float] | None = None
        tried, smaller = CLOSE * self.variance, np.nan
        for k in range(students):
            network = self.start(k, depth)
            found = self.fit(network, 150)
            self.trail.append({"width": network.sizes[1], "loss": found[1], "iterations": 150})
            self.monitor.report("recover_deep", loss=found[1], grad_norm=np.nan, steps=k + 1)
            self.first.append(self.task.inside(_first_layer(found[0]), np.zeros((0, 0))))
            self.first[-1].loss = found[1]
            if best is None or found[1] < best[1]:
                best = found
            if found[1] <= tried:
                tried = max(0.1 * found[1], self.goal)
                network, loss, least = self.reduce(*found)
                if loss <= self.goal:
                    end = self.finished(network, least)
                    if end.exact:
                        return end
                    tried = CLOSE * self.variance
                if loss <= best[1]:
                    best, smaller = (network, loss), least
        assert best is not None
        network, loss = best
        if loss <= NEAR * self.variance:
            return self.finished(network, smaller)
        rmse = self.rmse(network, slice(None))
        return Recovery(network, rmse, None, self.rows(self.agreed()), tuple(self.trail), "recover_deep")

    def start(self, k: int, depth: int) -> MLP:
        """The k-th student: random ones of each width first, then from most of the first layer agreed on."""
        rng = self.rng
        common = self.common if k >= EACH * len(WIDTHS) else None
        if k >= EACH * len(WIDTHS) and (k - EACH * len(WIDTHS)) % ROUND == 0:
            common = self.common = self.agreed()
        if common is None or not len(common):
            sizes = _sizes(WIDTHS[min(k // EACH, len(WIDTHS) - 1)], depth)
            common = np.zeros((0, self.X.shape[1] + 1))
        else:
            common = common[rng.random(len(common)) > rng.choice([0.0, 0.1, 0.3])]
            sizes = [len(common) + int(rng.choice([1, 2, 3, 4, 6, 8]))]
            sizes += [int(rng.choice([4, 6, 8])) for _ in range(depth - 1)]
        sizes = [self.X.shape[1], *sizes, self.Y.shape[1]]
        network = MLP.random(sizes, self.activation, seed=rng, gain=GAIN)
        rows = _first_layer(network)
        rows[: len(common)] = self.rows(common)
        weights, biases = list(network.weights), list(network.biases)
        weights[0], biases[0] = rows[:, :-1], rows[:, -1]
        return MLP(weights, biases, self.activation)

    def agreed(self) -> np.ndarray:
        """Rows of the first layer that a third of the better students have."""
        best = min(student.loss for student in self.first)
        return consensus(self.task, self.first, better=min(BETTER * best / self.variance, 1e-3))

    def rows(self, V: np.ndarray) -> np.ndarray:
        """Rows [w, b] of the first layer for the inputs as given."""
        W = V[:, :-1] / self.task.scale
        return np.column_stack([W, V[:, -1] - W @ self.task.mean])

    def reduce(self, network: MLP, loss: float) -> tuple[MLP, float, float]:
        """The network without neurons that are not needed, its loss, and the least with one fewer."""
        smaller = np.inf
        while True:
            smaller = np.inf
            trials = []
            for layer, width in enumerate(network.sizes[1:-1]):
                trials += [without(network, layer, i, self.X[:2000]) for i in range(width) if width > 1]
            trials.sort(key=lambda trial: trial[0])
            accepted, close = False, []
            for _, candidate in trials[:TRIES]:
                found, value = self.fit(candidate, 60, window=20, damping=1e-4)
                if value <= max(self.goal, loss):
                    network, loss, accepted = found, value, True
                    break
                close.append((value, found))
            if not accepted and close:
                value, found = min(close, key=lambda trial: trial[0])
                if value <= NEAR * self.variance:  # JᵀJ has lost the flat directions: by QR
                    end = self.digits(found, self.points(found))
                    if end[1] <= max(self.goal, loss):
                        network, loss = end
                        accepted = True
            if accepted:
                continue
            smaller = min((value for value, _ in close), default=np.inf)
            if loss <= self.goal:
                return network, loss, smaller
            found, value = self.fit(network, 300)
            if value > 0.3 * loss:
                return network, loss, smaller
            network, loss = found, value

    def finished(self, network: MLP, smaller: float) -> Recovery:
        """The last digits on all queries but those held out, and the certificate."""
        network = self.digits(network, self.count)[0]
        certificate = self.certify(network, smaller)
        rmse = self.rmse(network, slice(None))
        return Recovery(network, rmse, certificate, np.zeros((0, 0)), tuple(self.trail), "recover_deep")

    def digits(self, network: MLP, points: int) -> tuple[MLP, float]:
        """The last digits, by QR steps."""
        objective = self.loss(network, points)
        end = finish(objective.least_squares, objective.residual_vector, network.flat(), iterations=15)
        return network.with_flat(end.theta), end.loss

    def certify(self, network: MLP, smaller: float) -> Certificate:
        gram = np.zeros((network.size, network.size))
        for start in range(0, self.count, 4000):
            stop = min(start + 4000, self.count)
            part = EmpiricalLoss(network, self.X[start:stop], self.Y[start:stop], threads=1)
            J = part.least_squares(network.flat())[1]
            gram += J.T @ J * ((stop - start) / self.count)
        scale = np.sqrt(gram.diagonal())
        dead = scale == 0.0
        scale[dead] = 1.0
        values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
        null = values <= NULL * values[-1]
        rmse = self.rmse(network, slice(self.count))
        rows = vectors[:, ~null] / np.sqrt(values[~null]) / scale[:, None]
        lost = (vectors[:, null] ** 2).sum(axis=1) > 1e-6
        errors = np.where(lost, np.inf, max(rmse, self.known) * np.linalg.norm(rows, axis=1))
        theta = np.abs(network.flat())
        relative = network.with_flat(np.minimum(errors / np.maximum(theta, CLEAR * theta.max()), 1e300))
        hidden = list(zip(relative.weights, relative.biases))[:-1]
        neuron_errors = np.concatenate(
            [np.column_stack([W] if b is None else [W, b]).max(axis=1) for W, b in hidden]
        )
        singular = float(np.sqrt(max(values[~null].min(initial=np.inf), 0.0)))
        return Certificate(
            rmse,
            self.rmse(network, slice(self.count, None)) if self.count < len(self.X) else 0.0,
            self.zero,
            float(np.sqrt(smaller)),
            singular,
            lost,
            errors,
            np.where(neuron_errors < 1e300, neuron_errors, np.inf),
            int((null & (np.abs(vectors[dead]).sum(axis=0) < 0.5 if dead.any() else True)).sum()),
        )

    def rmse(self, network: MLP, chosen: slice) -> float:
        difference = network(self.X[chosen]) - self.Y[chosen]
        return float(np.sqrt((difference**2).sum(axis=1).mean()))


def without(network: MLP, layer: int, neuron: int, X: np.ndarray) -> tuple[float, MLP]:
    """The network without a neuron of a hidden layer, and the mean square by which the layer above is off.

    The weights into the layer above are fitted to its pre-activations on X as they were, by least squares.
    """
    width = network.sizes[layer + 1]
    names = list(network.activations[: layer + 1])
    weights = [*network.weights[: layer + 1], np.eye(width)]
    H = MLP(weights, [*network.biases[: layer + 1], None], names)(X)
    W, b = network.weights[layer + 1], network.biases[layer + 1]
    Z = H @ W.T + (0.0 if b is None else b)
    keep = np.arange(width) != neuron
    Phi = np.column_stack([H[:, keep], np.ones(len(X))])
    C = np.linalg.lstsq(Phi, Z, rcond=1e-10)[0]
    error = float(((Phi @ C - Z) ** 2).mean() / max(float(Z.var()), 1e-300))
    weights, biases = list(network.weights), list(network.biases)
    own = biases[layer]
    weights[layer], biases[layer] = weights[layer][keep], None if own is None else own[keep]
    weights[layer + 1], biases[layer + 1] = C[:-1].T, C[-1]
    return error, MLP(weights, biases, list(network.activations))
