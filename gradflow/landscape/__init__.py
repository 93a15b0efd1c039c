"""What was found: spectra, neurons, critical points, symmetric points, and slices through the loss."""

from .ansatz import Ansatz
from .critical_points import CriticalPoint, CriticalPoints, critical_points
from .find_ansatz import find_ansatz
from .isotropy import isotropy, isotropy_order
from .isotypic import Block, Blocks, blocks
from .neurons import kinds, neurons
from .permuted import permuted
from .slices import Path, Slice, connectivity, plane, slice_plane
from .spectrum import GroupedSpectrum, spectrum
from .symmetric import ReducedLoss, SymmetricPoint, critical_point, follow
from .symmetries import Match, arranged, mirror, neuron_vectors, same_point

__all__ = [
    "Ansatz",
    "Block",
    "Blocks",
    "CriticalPoint",
    "CriticalPoints",
    "GroupedSpectrum",
    "Match",
    "Path",
    "ReducedLoss",
    "Slice",
    "SymmetricPoint",
    "arranged",
    "blocks",
    "connectivity",
    "critical_point",
    "critical_points",
    "find_ansatz",
    "follow",
    "isotropy",
    "isotropy_order",
    "kinds",
    "mirror",
    "neuron_vectors",
    "neurons",
    "permuted",
    "plane",
    "same_point",
    "slice_plane",
    "spectrum",
]


def __dir__() -> list[str]:
    return sorted(__all__)
