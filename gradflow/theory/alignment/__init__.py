"""Alignment with one teacher neuron (Zhu, Ying & Zuo 2021).

one_teacher   minima of ReLU students, and flows to them; activations: what else aligns
angular       how a teacher turns a student, for every activation
"""

from . import activations, angular, one_teacher

__all__ = [
    "activations",
    "angular",
    "one_teacher",
]


def __dir__() -> list[str]:
    return sorted(__all__)
