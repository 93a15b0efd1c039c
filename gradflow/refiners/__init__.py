"""How θ is finished: from the end of a flow to a critical point at the floor of Float64.

Refiners see an `Objective`, never a network. A refiner is its settings; `refine` does the work.
"""

from .base import Extended, Refinement, Refiner, Stalled
from .double_double import polish
from .eigenvector_following import EigenvectorFollowing
from .gauss_newton import GaussNewton
from .gram import GramLevenbergMarquardt
from .lbfgs import LBFGS
from .levenberg_marquardt import LevenbergMarquardt
from .newton import TrustRegionNewton
from .newton_krylov import NewtonKrylov
from .packages import BFGS, SciPy
from .variable_projection import VariableProjection

__all__ = [
    "BFGS",
    "LBFGS",
    "EigenvectorFollowing",
    "Extended",
    "GaussNewton",
    "GramLevenbergMarquardt",
    "LevenbergMarquardt",
    "NewtonKrylov",
    "Refinement",
    "Refiner",
    "SciPy",
    "Stalled",
    "TrustRegionNewton",
    "VariableProjection",
    "default_refiner",
    "polish",
]

GRAM_SIZE = 2000
"""Up to so many parameters a sum of squares is refined with the Gauss–Newton matrix: at 1,153 parameters and
10,000 samples a step takes 0.4 s; at 4,810 and 1,797 it takes 2.4 s, with products 0.4 s."""

NEWTON_SIZE = 1000
"""Above this many parameters an eigendecomposition per step costs more than it saves."""


def default_refiner(size: int, sum_of_squares: bool = False) -> Refiner:
    """The refiner used when none is named, by the size of the problem and its kind.

    Up to 1,000 parameters Levenberg–Marquardt for a sum of squares over samples, which hands over to
    Newton where the loss does not go to zero, and Newton otherwise. Beyond, Gauss–Newton for a sum of
    squares, with a matrix up to 2,000 parameters and with products from there on, then Newton without
    matrices.

    Parameters
    ----------
    size : int
        Number of moving parameters.
    sum_of_squares : bool, default False
        Whether the loss is a sum of squares over samples.

    Returns
    -------
    Refiner

    Examples
    --------
    >>> default_refiner(50).name, default_refiner(50, sum_of_squares=True).name, default_refiner(5000).name
    ('TrustRegionNewton', 'LevenbergMarquardt', 'NewtonKrylov')
    """
    if size > NEWTON_SIZE:
        return GaussNewton(search=False, dense=GRAM_SIZE) if sum_of_squares else NewtonKrylov()
    return LevenbergMarquardt() if sum_of_squares else TrustRegionNewton()


def __dir__() -> list[str]:
    return sorted(__all__)
