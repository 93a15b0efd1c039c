"""Theorem 5 of Tian 2020: how far from aligned a student can be where every gradient is small."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.optimize
import scipy.stats

from ..check import Check, at_most
from ..registry import Progress, register
from .gradients import PAPER

__all__ = [
    "exponent",
    "smallest_gradient",
    "theorem_5",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def smallest_gradient(error: float, kind: str, extra: int, seed: int, activation=None) -> float:
    """The least sup_x |g(x)|/α that students with an alignment error can have.

    Parameters
    ----------
    error : float
        η.
    kind : str
        "weights" or "biases".
    extra : int
        Random students beside.
    seed : int
        Of the draw.
    activation : callable, optional
        ReLU unless given.

    Returns
    -------
    float

    Notes
    -----
    One teacher node in the plane; students: one turned by η (kind "weights") or shifted by η ("biases"), in
    both signs, and `extra` random ones in both signs. Their output weights minimise the largest residual
    (a linear programme, in units of η), over points of the unit disc that resolve the strip of width η.

    Examples
    --------
    >>> bool(smallest_gradient(0.1, "weights", extra=1, seed=0) > 0)
    True
    """
    sigma = activation or (lambda z: np.maximum(z, 0.0))
    rng = np.random.default_rng(seed)
    turned = (
        np.array([np.cos(error), np.sin(error), 0.0]) if kind == "weights" else np.array([1.0, 0.0, error])
    )
    others = np.column_stack([rng.standard_normal((extra, 2)), 0.5 * rng.standard_normal(extra)])
    rows = np.vstack([turned, -turned, others, -others])
    depth = np.concatenate([error * np.linspace(-2, 2, 17), np.linspace(-1, 1, 21)])
    X = np.stack(np.meshgrid(depth, np.linspace(-1, 1, 21)), axis=-1).reshape(-1, 2)
    X = np.column_stack([X, np.ones(len(X))])
    # relu(v·x) − relu(w·x) = O(η): the unknowns are what is added to the aligned solution, over η.
    target = (sigma(X[:, 0]) - sigma(X @ turned)) / error
    features = sigma(X @ rows.T)
    ones = np.ones((len(X), 1))
    limits = np.vstack([np.hstack([features, -ones]), np.hstack([-features, -ones])])
    found = scipy.optimize.linprog(
        np.append(np.zeros(len(rows)), 1.0), limits, np.concatenate([target, -target]), bounds=(None, None)
    )
    return error * float(found.fun) if found.success else float("nan")


def exponent(gradients: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Slope of ln(error) over ln(gradient) by least squares, and half its 99.9 % interval (Student's t).

    Parameters
    ----------
    gradients, errors : ndarray, shape (m,)
        Positive.

    Returns
    -------
    tuple of two floats

    Examples
    --------
    >>> slope, half = exponent(np.array([1e-3, 1e-2, 1e-1, 1.0]), np.array([1e-6, 1e-4, 1e-2, 1.0]))
    >>> round(slope, 12)
    2.0
    """
    fit = scipy.stats.linregress(np.log(gradients), np.log(errors))
    return float(fit.slope), float(scipy.stats.t.isf(5e-4, gradients.size - 2) * fit.stderr)


def theorem_5(extra: int, seed: int, expected: float = 1.0, activation=None) -> Iterator[Check]:
    """Alignment error against gradient size: its exponent, for weights and for biases."""
    errors = np.logspace(-1, -5, 9)
    for kind in ("weights", "biases"):
        gradients = np.array([smallest_gradient(e, kind, extra, seed, activation) for e in errors])
        seen = bool((gradients > 1e-9 * errors).all())  # else no kink: the error does not show at all
        slope, half = exponent(gradients[2:], errors[2:]) if seen else (float("nan"), float("nan"))
        yield Check(
            name=f"specialization.theorem_5.{kind}",
            statement=f"If the gradient of every sample is at most eps, the alignment error of the {kind} "
            "of a teacher observed with alpha is at most of order eps^(1-delta)/|alpha| (weights) or "
            "eps^(1-2 delta)/|alpha| (biases) for every delta > 0. Measured: the smallest possible eps "
            "for errors from 1e-2 to 1e-5, by a linear programme; the error goes like eps^1/|alpha| (the "
            "residual is linear in alpha), which satisfies both.",
            source=f"{PAPER}, Theorem 5: exponents only",
            parts=[
                at_most(
                    "|exponent − 1| and half its 99.9 % interval",
                    abs(slope - expected) + half,
                    0.01,
                    cases=int(np.isfinite(gradients[2:]).sum()),
                )
            ],
            computed={
                "errors": errors,
                "smallest_gradients_over_alpha": gradients,
                "exponent": slope,
                "interval": [slope - half, slope + half],
            },
        )


@register("specialization.theorem_5")
def _theorem_5(size: str, progress: Progress) -> Iterator[Check]:
    for seed in range(1 if size == "quick" else 5):
        yield from theorem_5(3 if size == "quick" else 8, seed)
