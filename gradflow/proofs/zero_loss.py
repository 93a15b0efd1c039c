"""Students that reproduce the teacher: L = 0, and the dimension of the manifold on which it is."""

from __future__ import annotations

from .proof import no_proof
from .settings import hexadecimal


def prove_zero(setting, theta, free, within=1e-8, loss=None):
    return no_proof("x", setting, tuple(hexadecimal(theta)), tuple(free))
