"""Weights from outputs: the classes of activations, the catalogue of neurons, signs, certificates."""

from __future__ import annotations

import numpy as np

from ... import teachers
from ...networks import MLP
from ...recovery import compare, recover, simplify
from ..check import Check, at_least, at_most, never
from ..registry import Progress, register

__all__ = ["CLASSES", "SOURCE", "catalogue", "classes", "expanded", "noise"]


def __dir__() -> list[str]:
    return sorted(__all__)


SOURCE = "Martinelli, Simsek, Gerstner & Brea, ICML 2024"

CLASSES = ("g", "tanh", "sigmoid", "softplus", "gelu", "silu", "relu", "leaky_relu", "selu")


@register("recovery.classes")
def classes(size: str, progress: Progress, disturb: float = 0.0) -> Check:
    """Every activation of table 1 and A.2.3: the teacher's width, weights and signs from its outputs.

    `disturb` is added to the weights of the teacher that is compared with, for tests of this check.
    """
    count = 1 if size == "quick" else 10
    widths, differences, errors, flags, mirrored, wrong = [], [], [], [], [], []
    X = teachers.uniform_inputs(4, 4000, seed=5)
    for activation in CLASSES:
        for seed in range(count):
            progress(f"{activation}, teacher {seed}")
            teacher = teachers.parity(4, 3, seed=seed + 1, activation=activation)
            found = recover(X, teacher(X), activation, seed=seed, progress=False)
            beside = compare(found.network, teacher.with_flat(teacher.flat() + disturb), X)
            widths.append(beside.excess)
            differences.append(beside.parameters)
            flags.append(not found.exact)
            wrong.append(found.exact and (beside.excess != 0 or beside.parameters > 1e-8))
            if found.signs is not None and found.signs.determined:
                mirrored += beside.mirrored.tolist()
            if found.certificate is not None:
                errors.append(float(found.certificate.errors.max()))
    return Check(
        "recovery.classes",
        "A network of one hidden layer is determined by its outputs up to permutation and the symmetry class "
        "of its activation; for even + linear ones the linear remainder determines the signs as well.",
        f"{SOURCE}, sections 4 and 5, A.2.3; signs: derived",
        [
            at_most("neurons in excess", np.abs(widths), 0.0),
            at_most("largest difference of a parameter", differences, 1e-13),
            never("network not called exact", flags),
            never("wrong network called exact", wrong),
            never("neuron with the wrong sign although determined", mirrored),
            at_most("largest estimated error of a weight", errors, 1e-11),
        ],
    )


@register("recovery.catalogue")
def catalogue(size: str, progress: Progress, disturb: float = 0.0) -> Check:
    """Students made of a teacher's neurons by the symmetries of section 4, in random combinations.

    `disturb` is added to one weight of each student, for tests of this check.
    """
    count = 20 if size == "quick" else 500
    differences, residuals, excess = [], [], []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        activation = ("softplus", "gelu", "tanh", "sigmoid", "g")[seed % 5]
        teacher = teachers.random((3, 3, 2), activation, seed=seed)
        student = expanded(teacher, rng)
        student = student.with_flat(student.flat() + disturb * (np.arange(student.size) == 1))
        X = rng.standard_normal((400, 3))
        small = simplify(student, X)
        beside = compare(small.network, teacher, X)
        excess.append(abs(beside.excess))
        differences.append(beside.parameters)
        residuals.append(small.residual)
    return Check(
        "recovery.catalogue",
        "A student at zero loss is made of duplicates, zero, constant, linear and linear-duplicate groups; "
        "merged and removed they leave the teacher.",
        f"{SOURCE}, section 4 and figure 2",
        [
            at_most("neurons in excess", excess, 0.0),
            at_most("largest difference of a parameter", differences, 1e-8),
            at_most("change of the outputs", residuals, 3e-13),
        ],
    )


def expanded(teacher: MLP, rng: np.random.Generator) -> MLP:
    """A wider network with the same outputs.

    Duplicates in random shares, zero groups, a constant neuron, and mirror images as the class of the
    activation allows.

    Parameters
    ----------
    teacher : MLP
        One hidden layer, with biases.
    rng : numpy.random.Generator
        Draws the shares.

    Returns
    -------
    MLP

    Examples
    --------
    >>> teacher = gf.MLP.random((2, 2, 1), "tanh", seed=0)
    >>> wide = expanded(teacher, np.random.default_rng(0))
    >>> X = np.eye(2)
    >>> wide.sizes[1] > 2, bool(np.abs(wide(X) - teacher(X)).max() < 1e-13)
    (True, True)
    """
    sigma = teacher.neuron_activations(0)[0]
    bias, last = teacher.biases
    assert bias is not None and last is not None
    V, A = np.column_stack([teacher.weights[0], bias]), teacher.weights[1].T
    beta = last.copy()
    rows, outs = [], []
    linear = np.zeros((V.shape[1], A.shape[1]))
    for v, a in zip(V, A):
        share = rng.uniform(0.2, 0.8)
        mirrored = sigma.symmetry != "none" and rng.random() < 0.5
        rows += [v, -v if mirrored else v]
        outs += [share * a, (1.0 - share) * a]
        if mirrored and sigma.symmetry.startswith("odd"):
            outs[-1] = -outs[-1]
            beta += (1.0 - share) * a * (sigma(1.0) + sigma(-1.0))
        elif mirrored:  # aσ(z) = aσ(−z) + cz a
            linear += np.outer(v, (1.0 - share) * a)
    w = rng.standard_normal(V.shape[1])
    rows += [w, w]
    outs += [np.ones_like(beta), -np.ones_like(beta)]
    constant = np.zeros(V.shape[1])
    constant[-1] = 0.8
    rows.append(constant)
    outs.append(np.full_like(beta, 2.0))
    beta -= 2.0 * sigma(0.8)
    if linear.any():  # one pair of mirror images for each output: σ(z) − σ(−z) = cz
        for o in range(beta.size):
            rows += [linear[:, o], -linear[:, o]]
            unit = np.eye(beta.size)[o]
            outs += [unit, -unit]
    R, B = np.array(rows), np.array(outs)
    return MLP([R[:, :-1], B.T], [R[:, -1], beta], sigma)


@register("recovery.noise")
def noise(size: str, progress: Progress, correlated: float = 0.0) -> Check:
    """Answers with noise: the certificate's estimate against the true errors of the weights.

    `correlated` adds so much of an input to the answers, which is no noise, for tests of this check.
    """
    levels = (1e-8, 1e-4) if size == "quick" else (1e-8, 1e-6, 1e-4, 1e-3)
    ratios, widths, slopes = [], [], []
    X = teachers.uniform_inputs(4, 4000, seed=5)
    teacher = teachers.parity(4, 3, seed=2)
    errors = []
    for level in levels:
        progress(f"noise {level:g}")
        added = level * np.random.default_rng(1).standard_normal((len(X), 1))
        found = recover(X, teacher(X) + added + correlated * X[:, :1], "g", floor=2 * level, progress=False)
        beside = compare(found.network, teacher, X)
        widths.append(abs(beside.excess))
        errors.append(beside.parameters)
        if found.certificate is not None:
            ratios.append(beside.parameters / found.certificate.errors.max())
    slopes.append(np.polyfit(np.log(levels), np.log(errors), 1)[0])
    return Check(
        "recovery.noise",
        "With noise of size s in the answers the weights are wrong by at most s |row of J⁺|, in proportion.",
        "derived",
        [
            at_most("neurons in excess", widths, 0.0),
            at_most("error over its estimate", ratios, 1.0),
            at_least("slope of the error against the noise", slopes, 0.9),
            at_most("slope of the error against the noise", slopes, 1.1),
        ],
        {"noise": list(levels), "errors": errors},
    )
