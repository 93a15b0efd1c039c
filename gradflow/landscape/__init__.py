"""What was found: spectra, neurons, critical points, symmetric points, and slices through the loss.

spectrum, neurons      the end point of a run: `Result.spectrum`, and a label for every hidden neuron
critical_points        a search from many starts; points, what it finds
symmetries, isotropy   when two points are one, and which permutations of the teachers leave a point alone
ansatz, ansatz_loss, symmetric, isotypic   symmetric points: few numbers, many digits, the whole spectrum
slices                 planes through the loss and straight paths

May import everything below, run included; knows nothing of papers.
"""

from ..run.result import Result
from ..run.spectrum import Spectrum
from ..support.errors import ArgumentError
from .ansatz import Ansatz
from .ansatz_loss import AnsatzLoss
from .critical_points import critical_points
from .find_ansatz import find_ansatz
from .isotropy import isotropy, isotropy_order
from .isotypic import Block, Blocks, blocks
from .neurons import kinds, neurons
from .permuted import permuted
from .points import CriticalPoint, CriticalPoints
from .slices import Path, Slice, connectivity, plane, slice_plane
from .symmetric import SymmetricPoint, follow, symmetric_point
from .symmetries import Match, arranged, mirror, neuron_vectors, same_point

__all__ = [
    "Ansatz",
    "AnsatzLoss",
    "Block",
    "Blocks",
    "CriticalPoint",
    "CriticalPoints",
    "Match",
    "Path",
    "Slice",
    "SymmetricPoint",
    "arranged",
    "blocks",
    "connectivity",
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
    "symmetric_point",
]


def spectrum(result, tolerance: float | None = None) -> Spectrum:
    """The spectrum of ∇²L at the end point of a result: `Result.spectrum`.

    Parameters
    ----------
    result : Result
        Of any problem.
    tolerance : float, optional
        Relative to the largest |λ|: what counts as zero, 8 p ε unless given.

    Returns
    -------
    Spectrum

    Raises
    ------
    ArgumentError
        For anything but a `Result`.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.landscape.spectrum(gf.train(teacher, student, progress=False)).index
    0
    """
    if not isinstance(result, Result):
        raise ArgumentError("result", type(result).__name__, "a Result")
    return result.spectrum(tolerance)


def __dir__() -> list[str]:
    return sorted(__all__)
