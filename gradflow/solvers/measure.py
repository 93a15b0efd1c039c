"""Sizes of vectors."""

from __future__ import annotations

import numpy as np


def root_mean_square(values: np.ndarray) -> float:
    """√(mean values²), without overflow or underflow on the way."""
    largest = float(np.abs(values).max(initial=0.0))
    if not 0.0 < largest < np.inf:
        return largest
    return largest * float(np.sqrt(np.mean((values / largest) ** 2)))
