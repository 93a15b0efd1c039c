"""Copy/average configurations (Simsek, Bendjeddou, Gerstner & Brea 2023): points, indices, transitions.

configurations   one-neuron optima, copy-average and perturbed-copy points
points, index    that they are critical, and how many negative eigenvalues each has, in closed form
transition       where each configuration is born, where losses cross, where stability is lost
large            what perturbed copies tend to at large width
phase            which one a random start reaches; relu, variations: other activations, norms, axes
activations      the best neuron of every activation, and where CA points are critical
parts, guided    training bucket by bucket; saddles that trajectories pass; better: a search for lower minima
"""

from . import (
    activations,
    better,
    configurations,
    guided,
    index,
    large,
    parts,
    phase,
    points,
    relu,
    transition,
    variations,
)
from .configurations import (
    OneNeuron,
    best_ansatz,
    bucket_ansatz,
    bucket_student,
    follow,
    one_neuron,
    partitions,
    perturbed_average,
    perturbed_copy,
    perturbed_family,
)

__all__ = [
    "OneNeuron",
    "activations",
    "best_ansatz",
    "better",
    "bucket_ansatz",
    "bucket_student",
    "configurations",
    "follow",
    "guided",
    "index",
    "large",
    "one_neuron",
    "partitions",
    "parts",
    "perturbed_average",
    "perturbed_copy",
    "perturbed_family",
    "phase",
    "points",
    "relu",
    "transition",
    "variations",
]


def __dir__() -> list[str]:
    return sorted(__all__)
