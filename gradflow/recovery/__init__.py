"""Recovery of a network from its answers to queries: its width and its weights, exactly.

    found = gf.recovery.recover(X, Y, activation="g")
    print(found)

one_layer, search, students, the default: students that start from what others agree on, until one is at the
consensus, reduction         floor; neurons removed from it as long as it stays there
certificate, result          what is certain, decided without the teacher; what comes back
symmetry, signs,             which neurons compute the same, by the activation's class; mirror images; what
neuron_types                 the neurons of a wide student are
clustering                   the paper's own recipe, as a baseline
deep                         several hidden layers

Source: Martinelli, Simsek, Gerstner and Brea, Expand-and-Cluster: Parameter Recovery of Neural Networks,
ICML 2024; consensus and reduction are derived here. May import the rooms below (`landscape`, `refiners`,
`losses`, …), not `theory`, which has its checks.
"""

from .certificate import Certificate
from .clustering import Clusters, cluster, expand_and_cluster
from .deep import recover_deep
from .neuron_types import Group, Simplified, simplify
from .one_layer import recover
from .result import Comparison, Recovery, compare
from .signs import Signs
from .symmetry import Symmetry, symmetry_of

__all__ = [
    "Certificate",
    "Clusters",
    "Comparison",
    "Group",
    "Recovery",
    "Signs",
    "Simplified",
    "Symmetry",
    "cluster",
    "compare",
    "expand_and_cluster",
    "recover",
    "recover_deep",
    "simplify",
    "symmetry_of",
]


def __dir__() -> list[str]:
    return sorted(__all__)
