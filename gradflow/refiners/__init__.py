"""How θ is finished: from the end of a flow to a critical point at the floor of Float64.

Refiners see an `Objective`, never a network. A refiner is its settings; `refine` does the work.
"""

from .base import Extended, Refinement, Refiner
from .double_double import polish
from .large import LBFGS
from .newton import TrustRegionNewton

__all__ = ["LBFGS", "Extended", "Refinement", "Refiner", "TrustRegionNewton", "default_refiner", "polish"]

NEWTON_SIZE = 1000
"""Above this many parameters an eigendecomposition per step costs more than it saves."""


def default_refiner(size: int) -> Refiner:
    """The refiner used when none is named: Newton up to 1,000 parameters, L-BFGS beyond."""
    return TrustRegionNewton() if size <= NEWTON_SIZE else LBFGS()
