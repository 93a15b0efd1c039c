"""Copy/average: what the numbers of P-n-C tend to at large width k and fixed ν = n/k.

Each neuron carries its share of the linear part of the k − n teachers that are not copied, γ → 1/n, a part of
squared length ε = (1−ν)/(ν²k). It costs ε(2/√3−1)/π, and own weight and output weight give way by the order
of ε: w_ii = 1 − 23.1606 ε, a = 1 + 38.7765 ε, so that |w|² = 1 − 45.3213 ε. Derived: docs/copy-average.md.
"""

from __future__ import annotations

import math

from ..check import Check, at_most
from ..registry import Progress, register
from .configurations import SOURCE, follow

__all__ = [
    "SHORTER",
    "check_large",
]


def __dir__() -> list[str]:
    return sorted(__all__)


SHORTER = 2 * (144 * math.sqrt(3) + 24 * math.pi + 5 * math.pi**2 - 144) / (
    288 + 24 * math.pi - 37 * math.pi**2
) - 24 * math.sqrt(3) * math.pi * (1 + math.pi) / (288 + 24 * math.pi - 37 * math.pi**2)
"""The limit of (1 − |w|²)/ε, 45.3213."""


@register("copy_average.large")
def check_large(size: str, progress: Progress, shorter: float = SHORTER, share: float = 1.0) -> Check:
    """P-n-C at large width: γ, |w|² and the loss against their limits.

    Parameters
    ----------
    shorter : float, default SHORTER
        Of (1 − |w|²)/ε.
    share : float, default 1.0
        Of nγ.

    Returns
    -------
    Check
    """
    widths = (10**3, 10**4) if size == "quick" else (10**3, 10**4, 10**5, 10**6)
    carried, shortened, prices, rows = [], [], [], {}
    for k in widths:
        for ratio in (0.5, 0.8):
            progress(f"P-n-C at k = {k:,}, n/k = {ratio}")
            n = ratio * k
            point = follow([n], k)[0]
            own, others, gamma = point.x[:3]
            epsilon = (1 - ratio) / (ratio**2 * k)
            squared = own**2 + (n - 1) * others**2 + (k - n) * gamma**2
            price = point.loss - (k - n) * (1 / 3 - 1 / math.pi)
            carried.append(abs(n * gamma - share) / epsilon)
            shortened.append(abs((1 - squared) / epsilon - shorter) * k)
            prices.append(abs(price - (1 - ratio) / ratio * (2 / math.sqrt(3) - 1) / math.pi) * k)
            rows[f"n = {ratio} · {k}"] = [n * gamma, squared, price]
    return Check(
        name="copy_average.large",
        statement=(
            "At large k and fixed ν = n/k, with ε = (1−ν)/(ν²k), P-n-C has nγ = 1 + O(ε), "
            "|w|² = 1 − 45.3213 ε and L = (k−n)(1/3−1/π) + ((1−ν)/ν)(2/√3−1)/π, both to O(1/k) relative to "
            "the second term."
        ),
        source=f"{SOURCE} for the points; the limits are derived here",
        parts=[
            at_most("|nγ − 1|/ε", carried, 60.0),
            at_most("k |(1 − |w|²)/ε − 45.3213|", shortened, 8000.0),
            at_most("k |L − its limit|", prices, 4.0),
        ],
        computed={"nγ, |w|², L − (k−n)(1/3−1/π)": rows},
    )
