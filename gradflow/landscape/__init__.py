"""What was found: spectra, neurons, critical points, symmetric points, and slices through the loss."""

from .ansatz import Ansatz
from .isotypic import Block, Blocks, blocks
from .symmetric import ReducedLoss, SymmetricPoint, critical_point

__all__ = [
    "Ansatz",
    "Block",
    "Blocks",
    "ReducedLoss",
    "SymmetricPoint",
    "blocks",
    "critical_point",
]
