"""Spurious minima of k ReLU neurons on k orthonormal ones (Safran & Shamir 2018; Arjevani & Field 2020–23).

minima    which exist, as symmetric points
rates     how many starts end where, by classes up to symmetry
spectra   at the global minimum, and along families
"""

from . import minima, rates, spectra

__all__ = [
    "minima",
    "rates",
    "spectra",
]


def __dir__() -> list[str]:
    return sorted(__all__)
