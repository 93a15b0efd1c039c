"""Student specialization (Tian 2020): Lemma 1, Theorems 1 to 6, and the dynamics.

gradients    Lemma 1; critical: Theorems 1 to 3 at critical points; deep: Theorem 4; noisy: Theorem 5
spherical    Theorem 6 for every spherically symmetric law
norms        what the flow conserves; dynamics, slow: who specialises, and how long it takes
simplified   Eq. 10 and how far it carries; pairs: Theorem 7, symmetry breaking; shifting: of focus
regions      Corollary 1; independence: of ReLU nodes with different boundaries
competition  masses as species: Lotka–Volterra
online_sgd   the papers' SGD, for comparison
"""

from . import (
    competition,
    critical,
    deep,
    dynamics,
    gradients,
    independence,
    noisy,
    norms,
    online_sgd,
    pairs,
    regions,
    shifting,
    simplified,
    slow,
    spherical,
)

__all__ = [
    "competition",
    "critical",
    "deep",
    "dynamics",
    "gradients",
    "independence",
    "noisy",
    "norms",
    "online_sgd",
    "pairs",
    "regions",
    "shifting",
    "simplified",
    "slow",
    "spherical",
]


def __dir__() -> list[str]:
    return sorted(__all__)
