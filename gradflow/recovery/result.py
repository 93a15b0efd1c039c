"""What a recovery found."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..landscape.table import Frame, table
from ..networks import MLP
from ..support.errors import ArgumentError
from ..support.validate import real_array
from .certificate import Certificate
from .signs import Signs
from .symmetry import symmetry_of


@dataclasses.dataclass(frozen=True, eq=False)
class Recovery:
    """A network found from queries and answers, and how certain it is.

    Attributes
    ----------
    network : MLP
        The network; where no student reached the floor, the best one.
    rmse : float
        √(mean Σ_o (network − answers)²) over all queries.
    certificate : Certificate or None
        What that rests on; None where no student reached the floor.
    agreed : ndarray
        Rows [w, b] that the better students have in common (m', d + 1).
    students : tuple[dict, ...]
        Number, widths and losses of the students, in the order in which they were fitted.
    method : str
        "recover" or "expand_and_cluster".
    affine : ndarray or None
        Θ (outputs, d) of a linear remainder that signs could not explain: answers = network(x) + Θx; None
        where there is none.
    signs : Signs or None
        Of the neurons, for even + linear activations; else None.
    groups : dict or None
        Kinds of neurons in the student that was reduced: kind → number.
    equivalent : tuple[str, ...]
        Other activations of which the same network can be made, if the activation was searched.
    details : dict
        What a method tells of its way; see there.

    Examples
    --------
    >>> teacher = gf.teachers.parity(2, 2, seed=0)
    >>> X = np.random.default_rng(0).uniform(-(3**0.5), 3**0.5, (2000, 2))
    >>> found = gf.recovery.recover(X, teacher(X), activation="g")
    >>> found.exact, found.width
    (True, 2)
    """

    network: MLP
    rmse: float
    certificate: Certificate | None
    agreed: np.ndarray
    students: tuple[dict, ...]
    method: str
    affine: np.ndarray | None = None
    signs: Signs | None = None
    groups: dict | None = None
    equivalent: tuple[str, ...] = ()
    details: dict = dataclasses.field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether loss, removal and Jacobian say that this is the network: `certificate.exact`."""
        return self.certificate is not None and self.certificate.exact and self.affine is None

    @property
    def width(self) -> int:
        """Number of hidden neurons (of the first hidden layer)."""
        return self.network.sizes[1]

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of neurons of all hidden layers."""
        return self.network.sizes[1:-1]

    def table(self) -> Frame:
        """One row per neuron of the first hidden layer: norm, bias, output norm, error, sign known.

        A pandas DataFrame, or a list of dictionaries where pandas is not installed.
        """
        W, b = self.network.weights[0], self.network.biases[0]
        rows = []
        for i, w in enumerate(W):
            row = {
                "neuron": i,
                "weight_norm": float(np.linalg.norm(w)),
                "bias": 0.0 if b is None else float(b[i]),
                "output_norm": float(np.linalg.norm(self.network.weights[1][:, i])),
            }
            certificate = self.certificate
            if certificate is not None and i < len(certificate.neuron_errors):
                row["error"] = float(certificate.neuron_errors[i])
            if self.signs is not None and len(self.signs.values) == len(W):
                row["sign_known"] = self.signs.determined
            rows.append(row)
        return table(rows, None)

    def __str__(self) -> str:
        verdict = "exact" if self.exact else "not exact"
        shape = "-".join(map(str, self.network.sizes))
        count = len(self.students)
        lines = [
            f"{self.method}: {verdict}, {shape}, RMSE {self.rmse:.2g}, {count} student" + "s" * (count != 1)
        ]
        if self.certificate is None:
            best = min((s["loss"] for s in self.students), default=np.nan)
            lines.append(
                f"  no student reached the floor; the best has {best**0.5:.2g}, and students agree on "
                f"{len(self.agreed)} neurons"
            )
        else:
            lines.append(str(self.certificate))
        if self.groups:
            lines.append(
                "  in the student: " + ", ".join(f"{n} {kind}" for kind, n in self.groups.items() if n)
            )
        if self.signs is not None:
            known = "determined" if self.signs.determined else "not determined"
            lines.append(f"  signs {known}, residual {self.signs.residual:.1g}")
        if self.affine is not None:
            lines.append("  a linear function of the inputs is left over")
        if self.equivalent:
            lines.append("  the same with " + ", ".join(self.equivalent))
        return "\n".join(lines)

    def __repr__(self) -> str:
        verdict = "exact" if self.exact else "not exact"
        return f"<Recovery: {verdict}, widths {self.widths}, RMSE {self.rmse:.3g}>"


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """A network beside the teacher it should be.

    Attributes
    ----------
    pairs : ndarray, shape (k, 2)
        Numbers of the matched neurons, network's and teacher's.
    excess : int
        Neurons of the network more than the teacher has (negative: fewer).
    inputs : ndarray, shape (k,)
        Cosine distances 1 − cos between weight vectors [w, b], up to the class's mirror image, over
        directions in which the inputs vary.
    outputs : ndarray, shape (k,)
        The same between output weight vectors.
    mirrored : ndarray, shape (k,)
        Whether the matched neuron is the mirror image.
    parameters : float
        Largest difference of a parameter, up to permutation and the symmetry class; over directions in
        which inputs vary.

    Examples
    --------
    >>> teacher = gf.MLP([[[1.0, 2.0], [3.0, 0.0]], [[1.0, -1.0]]], [[0.5, 0.1], [0.0]], "tanh")
    >>> comparison = gf.recovery.compare(teacher, teacher)
    >>> comparison.excess, comparison.parameters
    (0, 0.0)
    """

    pairs: np.ndarray
    excess: int
    inputs: np.ndarray
    outputs: np.ndarray
    mirrored: np.ndarray
    parameters: float

    def __str__(self) -> str:
        return (
            f"{len(self.pairs)} neurons matched, {self.excess:+d} in excess, cosine distance in "
            f"{self.inputs.mean():.1e} (largest {self.inputs.max():.1e}), out {self.outputs.mean():.1e} "
            f"(largest {self.outputs.max():.1e}), {int(self.mirrored.sum())} mirrored, parameters differ by "
            f"{self.parameters:.1e}"
        )


def compare(network: MLP, teacher: MLP, X=None, certificate: Certificate | None = None) -> Comparison:
    """How the neurons of a network of one hidden layer agree with those of a teacher.

    Parameters
    ----------
    network, teacher : MLP
        One hidden layer, of the same activation.
    X : array_like, shape (samples, d), optional
        Directions in which these inputs do not vary are left out of the comparison: by the null space of
        their covariance, at 1e-10 of its largest eigenvalue.
    certificate : Certificate, optional
        Weights that it says are undetermined are left out as well.

    Returns
    -------
    Comparison

    Raises
    ------
    ArgumentError
        For networks of other shapes.

    Examples
    --------
    >>> teacher = gf.MLP([[[1.0, 2.0], [3.0, 0.0]], [[1.0, -1.0]]], [[0.5, 0.1], [0.0]], "tanh")
    >>> found = gf.MLP([[[-3.0, 0.0], [1.0, 2.0]], [[1.0, 1.0]]], [[-0.1, 0.5], [0.0]], "tanh")
    >>> print(gf.recovery.compare(found, teacher).pairs.tolist())
    [[0, 1], [1, 0]]
    """
    for name, given in (("network", network), ("teacher", teacher)):
        if len(given.weights) != 2 or given.sizes[0] != teacher.sizes[0]:
            raise ArgumentError(name, repr(given), f"one hidden layer on {teacher.sizes[0]} inputs")
    symmetry = symmetry_of(teacher.neuron_activations(0)[0])
    rows, outs = [], []
    projector = np.eye(teacher.sizes[0] + 1)
    if X is not None:
        X = real_array("X", X, 2)
        augmented = np.column_stack([X, np.ones(len(X))])
        values, vectors = np.linalg.eigh(augmented.T @ augmented / len(X))
        seen = vectors[:, values > 1e-10 * values[-1]]
        projector = seen @ seen.T
    for given in (network, teacher):
        bias = given.biases[0]
        V = np.column_stack([given.weights[0], np.zeros(given.sizes[1]) if bias is None else bias])
        V = V @ projector
        norms = np.linalg.norm(V, axis=1) if symmetry.scaling else np.ones(len(V))
        norms = np.where(norms > 0.0, norms, 1.0)
        rows.append(V / norms[:, None])
        outs.append(given.weights[1].T * norms[:, None])
    known = np.ones_like(rows[0])
    if certificate is not None and certificate.undetermined.size == network.size:
        m, d = network.weights[0].shape
        lost = certificate.undetermined[: m * (d + 1)]
        known = 1.0 - np.column_stack([lost[: m * d].reshape(m, d), lost[m * d :]])
    plus = np.linalg.norm(known[:, None] * (rows[0][:, None] - rows[1][None]), axis=2)
    minus = np.linalg.norm(known[:, None] * (rows[0][:, None] + rows[1][None]), axis=2)
    distance = np.minimum(plus, minus) if symmetry.mirror else plus
    i, j = linear_sum_assignment(distance)
    mirrored = (minus < plus)[i, j] & (symmetry.mirror != 0)
    sign = np.where(mirrored, -1.0, 1.0)
    left, right = known[i] * rows[0][i] * sign[:, None], known[i] * rows[1][j]
    out_left, out_right = outs[0][i] * (sign[:, None] if symmetry.mirror < 0 else 1.0), outs[1][j]
    parameters = max(
        float(np.abs(left - right).max(initial=0.0)), float(np.abs(out_left - out_right).max(initial=0.0))
    )
    return Comparison(
        np.column_stack([i, j]),
        network.sizes[1] - teacher.sizes[1],
        _cosine_distance(left, right),
        _cosine_distance(out_left, out_right),
        mirrored,
        parameters,
    )


def _cosine_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1 − cos by the difference of unit vectors: small values keep their digits."""
    size = np.linalg.norm(a, axis=1, keepdims=True), np.linalg.norm(b, axis=1, keepdims=True)
    unit = [v / np.where(s > 0.0, s, 1.0) for v, s in zip((a, b), size)]
    return 0.5 * ((unit[0] - unit[1]) ** 2).sum(axis=1)
