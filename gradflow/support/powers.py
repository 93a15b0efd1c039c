"""Powers of two as units: dividing by them rounds nothing."""

from __future__ import annotations

import numpy as np


def nearest_power_of_two(size) -> np.ndarray:
    """The power of two that is nearest to each size, by the logarithm; one where it is zero or not finite.

    Parameters
    ----------
    size : float or ndarray
        Not negative.

    Returns
    -------
    ndarray
        Within 2^±1000.

    Examples
    --------
    >>> nearest_power_of_two(np.array([0.0, 0.3, 5.0])).tolist()
    [1.0, 0.25, 4.0]
    """
    size = np.asarray(size, dtype=np.float64)
    usable = (size > 0.0) & np.isfinite(size)
    exponent = np.where(usable, np.rint(np.log2(np.where(usable, size, 1.0))), 0.0)
    return np.ldexp(1.0, np.clip(exponent, -1000, 1000).astype(int))
