"""What leaves the loss as it is: neurons in another order or mirrored, and inputs turned."""

from __future__ import annotations

import numpy as np

import gradflow as gf

from ._fuzz_activations import REFERENCES
from ._fuzz_cases import Case
from ._fuzz_truth import Stacked, names_of


def turned(case: Case, parts: list[Stacked], rng) -> tuple[float, float]:
    """The loss of an equal problem, and what rounding of its turned weights may move.

    Neurons are permuted, odd and even ones mirrored: (w, b, a) -> (−w, −b, −a) or (−w, −b, a). Inputs are
    reflected and their axes permuted, which is exact, or rotated. Where a law has a covariance they are left
    alone: its root would be another one in rounding, and what that moves has no bound.
    """
    dim = case.student.sizes[0]
    rotation, law, slack = np.eye(dim), case.inputs, 0.0
    if not _has_covariance(law):
        if rng.random() < 0.5:
            rotation = np.eye(dim)[rng.permutation(dim)] * rng.choice([-1.0, 1.0], dim)
        else:
            rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
            slack = 4.0 * dim * 2.0**-52
        law = _rotated(law, rotation)
    teacher, student = (_equal(network, rotation, rng) for network in (case.teacher, case.student))
    problem = gf.Problem(teacher, student, law)
    return problem.loss(student.flat()), slack * sum(part.sensitivity() for part in parts)


def _equal(network: gf.MLP, rotation: np.ndarray, rng) -> gf.MLP:
    """The same function of inputs that are turned."""
    (W, A), (b, c) = network.weights, network.biases
    order, names = rng.permutation(network.sizes[1]), names_of(network)
    layer = network.activations[0]
    layer = tuple(layer[j] for j in order) if isinstance(layer, tuple) else layer
    flips = np.array([REFERENCES[names[j]].parity if rng.random() < 0.5 else 0 for j in order])
    inner, outer = np.where(flips != 0, -1.0, 1.0), np.where(flips < 0, -1.0, 1.0)
    weights = [(W[order] * inner[:, None]) @ rotation, A[:, order] * outer]
    return gf.MLP(weights, [None if b is None else b[order] * inner, c], layer)


def _has_covariance(law) -> bool:
    parts = law.components if isinstance(law, gf.Mixture) else (law,)
    return any(isinstance(part, gf.Gaussian) and part.cov is not None for part in parts)


def _rotated(law, rotation: np.ndarray):
    """The law of the turned inputs."""
    if isinstance(law, gf.Mixture):
        return gf.Mixture([_rotated(part, rotation) for part in law.components], law.weights)
    if not isinstance(law, gf.Gaussian) or law.mean is None:
        return law
    return gf.Gaussian(law.mean @ rotation)
