"""Student specialization (Tian 2020): Lemma 1, Theorems 1 to 6, and the dynamics.

gradients    Lemma 1; critical: Theorems 1 to 3 at critical points; deep: Theorem 4; noisy: Theorem 5
spherical    Theorem 6 for every spherically symmetric law
norms        what the flow conserves; dynamics, slow: who specialises, and how long it takes
online_sgd   the papers' SGD, for comparison
"""

from . import critical, deep, dynamics, gradients, noisy, norms, online_sgd, slow, spherical

__all__ = [
    "critical",
    "deep",
    "dynamics",
    "gradients",
    "noisy",
    "norms",
    "online_sgd",
    "slow",
    "spherical",
]


def __dir__() -> list[str]:
    return sorted(__all__)
