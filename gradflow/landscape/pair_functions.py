"""Pair kernels as functions of three scalars: K(s, s', q), s = |w|², s' = |w'|², q = w·w', x ~ N(0, I).

Symmetric points have few different triples (s, s', q) however wide the networks are.
"""

from __future__ import annotations

from collections.abc import Callable

from ..activations import ACTIVATIONS, Activation
from ..kernels.pairs.units import Scalars
from ..support.errors import ArgumentError

NAMES = [name for name, sigma in ACTIVATIONS.items() if sigma.record.scalars is not None]


def find(activation: str) -> tuple[Callable[..., Scalars], Callable[..., tuple]]:
    """The Float64 and the arbitrary-precision function of an activation; else `ArgumentError`."""
    found = ACTIVATIONS[activation].record.scalars if activation in NAMES else None
    if found is None:
        raise ArgumentError("activation", repr(activation), " or ".join(map(repr, NAMES)))
    return found


def known(kinds: set[Activation]) -> bool:
    """Whether all neurons have one activation, and it is one of these."""
    return len(kinds) == 1 and all(sigma.record.scalars is not None for sigma in kinds)
