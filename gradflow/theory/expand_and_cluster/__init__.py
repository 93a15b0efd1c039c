"""Parameter recovery (Martinelli, Simsek, Gerstner & Brea 2024): what zero loss says about weights.

recovered   recovery by symmetry class, with its certificate; the catalogue of neurons at zero loss
"""

from . import recovered

__all__ = [
    "recovered",
]


def __dir__() -> list[str]:
    return sorted(__all__)
