"""What is certain about a recovered network, decided without its teacher."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..losses.separable import HiddenLayer

NULL = 1e-13
"""Eigenvalues of JᵀJ (columns of unit norm) below this share of the largest are zero."""

FEW = 0.01
"""A direction that acts on fewer than this share of the inputs is due to them."""

CLEAR = 1e-3
"""A neuron is known where its pre-activation is, to this share of its size."""


@dataclasses.dataclass(frozen=True, eq=False)
class Certificate:
    """The evidence on which `Recovery.exact` rests.

    Attributes
    ----------
    rmse, held_out : float
        Root of the loss on the queries used in fits, and on those that no fit has seen.
    floor : float
        What counts as zero for both.
    smaller : float
        The least root of the loss that was found with one neuron fewer; NaN if none was tried.
    singular : float
        The smallest singular value of the Jacobian J of the outputs, its columns of unit norm, along
        directions that the queries determine.
    undetermined : ndarray, shape (P,)
        Bool: parameters that the queries do not determine, as weights from a pixel that is never lit; flat
        as in `MLP.flat`.
    errors : ndarray, shape (P,)
        Bound |δθ_p| ≤ max(rmse, ε |answers|) |row p of J⁺| with ε the unit in the last place of their type;
        infinite where undetermined.
    neuron_errors : ndarray, shape (m,)
        The same for the pre-activations of each neuron, relative to their size.
    hidden : int
        Number of directions in parameter space that change neurons, on more than 1 % of the queries, but
        not the outputs.

    Examples
    --------
    >>> teacher = gf.teachers.parity(2, 2, seed=0)
    >>> X = np.random.default_rng(0).uniform(-(3**0.5), 3**0.5, (2000, 2))
    >>> certificate = gf.recovery.recover(X, teacher(X), activation="g").certificate
    >>> certificate.at_floor, certificate.irreducible, certificate.identified
    (True, True, True)
    """

    rmse: float
    held_out: float
    floor: float
    smaller: float
    singular: float
    undetermined: np.ndarray
    errors: np.ndarray
    neuron_errors: np.ndarray
    hidden: int

    @property
    def at_floor(self) -> bool:
        """Whether the loss is zero on fitted and held-out queries, up to the floor."""
        return bool(self.rmse <= self.floor and self.held_out <= 2.0 * self.floor)

    @property
    def irreducible(self) -> bool:
        """Whether no neuron could be removed: it was tried, and the loss was well above the floor."""
        return bool(self.smaller > 3.0 * self.floor)

    @property
    def identified(self) -> bool:
        """Whether the outputs determine every neuron: no hidden direction, and small errors."""
        largest = float(self.neuron_errors.max()) if self.neuron_errors.size else 0.0
        return self.hidden == 0 and largest <= CLEAR

    @property
    def exact(self) -> bool:
        """All three."""
        return self.at_floor and self.irreducible and self.identified

    def __str__(self) -> str:
        known = self.errors[np.isfinite(self.errors)]
        weights = f"{known.max():.1g}" if known.size else "none"
        lost = int(self.undetermined.sum())
        worst = float(self.neuron_errors.max()) if self.neuron_errors.size else 0.0
        return "\n".join(
            [
                f"  RMSE {self.rmse:.2g}, on held-out queries {self.held_out:.2g}; "
                f"zero means {self.floor:.1g}: {_yes(self.at_floor)}",
                f"  with one neuron fewer {self.smaller:.2g}: {_yes(self.irreducible, 'irreducible')}",
                f"  smallest singular value {self.singular:.2g}, weights known to {weights}, pre-activations "
                f"to {worst:.1g} of their size"
                + (f"; {lost} weights that the queries do not determine" if lost else "")
                + (f"; {self.hidden} directions that do not show in the outputs" if self.hidden else "")
                + f": {_yes(self.identified, 'identified')}",
            ]
        )


def _yes(flag: bool, word: str = "at the floor") -> str:
    return word if flag else f"not {word}"


def certify(
    model: HiddenLayer,
    V: np.ndarray,
    C: np.ndarray,
    *,
    rmse: float,
    held_out: float,
    floor: float,
    smaller: float,
    scaling: bool,
    eps: float,
    block: int = 2000,
) -> Certificate:
    """The certificate of V (m, d + 1), C (m + 1, outputs) on the points of a model without an affine part.

    JᵀJ is summed over blocks of points. Answers are known to their resolution `eps` at best: a step, which a
    saturated neuron fits with an RMSE of zero, has no slope that could be known. For a class with positive
    scaling the directions (w, b, −a) of the m neurons, along which nothing changes, are taken out first.
    """
    m, D = V.shape
    outputs = C.shape[1]
    size = V.size + C.size
    gram = np.zeros((size, size))
    for start in range(0, len(model.inputs), block):
        _, J = _part(model, slice(start, start + block)).linearise(V, C)
        gram += J.T @ J
    free = gram.diagonal() > 0.0
    scale = np.where(free, np.sqrt(gram.diagonal()), 1.0)
    scaled = gram / np.outer(scale, scale)
    largest = float(np.linalg.eigvalsh(scaled)[-1]) if size else 1.0
    if scaling:
        for i in range(m):
            row = np.zeros(size)
            row[i * D : (i + 1) * D] = V[i]
            row[m * D + i * outputs : m * D + (i + 1) * outputs] = -C[i]
            row *= scale
            scaled += largest * np.outer(row, row) / max(float(row @ row), 1e-300)
    values, vectors = np.linalg.eigh(scaled)
    null = values <= NULL * largest
    kernel = vectors[:, null] / scale[:, None]
    second = model.inputs.T @ (model.inputs * model.root**2)
    spread, basis = np.linalg.eigh(second)
    root = basis * np.sqrt(np.maximum(spread, 0.0))
    sizes = np.maximum(np.linalg.norm(V @ root, axis=1), 1e-300)
    hidden = _hidden(model, V, kernel, sizes) if kernel.size else 0
    inverse = vectors[:, ~null] / np.sqrt(values[~null])
    rows = inverse / scale[:, None]
    lost = (vectors[:, null] ** 2).sum(axis=1) > 1e-6
    known = max(rmse, eps * float(np.linalg.norm(model.targets)))
    errors = np.where(lost, np.inf, known * np.linalg.norm(rows, axis=1))
    neuron_errors = np.array(
        [known * np.linalg.norm(root.T @ rows[i * D : (i + 1) * D]) / sizes[i] for i in range(m)]
    )
    singular = float(np.sqrt(values[~null].min())) if not null.all() else np.nan
    order = flat_order(m, D, outputs)
    return Certificate(
        rmse,
        held_out,
        floor,
        smaller,
        singular,
        lost[order],
        errors[order],
        neuron_errors,
        hidden,
    )


def _hidden(model: HiddenLayer, V: np.ndarray, kernel: np.ndarray, sizes: np.ndarray) -> int:
    """How many independent null directions move the neurons on more than a few inputs.

    A pixel that is lit in one image alone gives one equation per output, and may have more weights: such a
    direction moves pre-activations on that image only, a matter of the queries, not of the network.
    The number of inputs on which a direction acts is (Σδz²)²/Σδz⁴.
    """
    m, D = V.shape
    kernel = kernel / np.maximum(np.linalg.norm(kernel, axis=0), 1e-300)
    moved = np.stack([model.inputs @ kernel[i * D : (i + 1) * D] / sizes[i] for i in range(m)])
    count, directions = moved.shape[1], moved.shape[2]
    flat = moved.reshape(m * count, directions)
    _, values, right = np.linalg.svd(flat.T @ flat)
    shown = np.sqrt(values / count) > 1e-6
    squares = ((moved @ right[shown].T) ** 2).sum(axis=0)
    acting = squares.sum(axis=0) ** 2 / np.maximum((squares**2).sum(axis=0), 1e-300)
    bare = np.linalg.norm(kernel[m * D :] @ right.T, axis=0) > CLEAR  # output weights alone
    return int((acting > max(FEW * count, 5.0)).sum()) + int((bare & ~shown).sum())


def flat_order(m: int, D: int, outputs: int) -> np.ndarray:
    """Where the parameters of `MLP.flat` stand in (V, C), both row by row."""
    V = np.arange(m * D).reshape(m, D)
    C = m * D + np.arange((m + 1) * outputs).reshape(m + 1, outputs)
    return np.concatenate([V[:, :-1].ravel(), V[:, -1], C[:m].T.ravel(), C[m]])


def _part(model: HiddenLayer, chosen: slice) -> HiddenLayer:
    part = object.__new__(HiddenLayer)
    part.__dict__.update(model.__dict__)
    for name in ("inputs", "scaled", "targets", "root", "extra"):
        setattr(part, name, getattr(model, name)[chosen])
    return part
