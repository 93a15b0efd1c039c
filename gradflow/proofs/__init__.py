"""Proofs in ball arithmetic: critical points, their index and loss, as theorems with explicit constants.

`certify` makes a `Proof` from what the package found, `verify_proof` checks a saved one again. Balls come
from FLINT (python-flint, the extra `prove`).

balls, pairs, parallel            arithmetic, and the formulas of single pairs
population (with assembly), empirical, ansatz     losses in balls: value, gradient, Hessian over a box
krawczyk, inertia, isotypic       the two theorems, and the blocks of a symmetric point's Hessian
rotations, families, zero_loss    what makes a critical point a manifold
settings, prove, proof, verify    a problem in exact numbers, the proof of a point, its file, its check
results, distinctness             what users call

What belongs here computes in balls or states what was computed. Only `results` knows networks, problems
and results; all others may import FLINT, NumPy and `support`, so that a proof is checked again without the
kernels and solvers that found the point. A test runs them without the rest of the package.
"""

import importlib as _importlib

_LATE = {
    "Distinction": "distinctness",
    "Proof": "proof",
    "Verification": "verify",
    "certify": "results",
    "distinct": "distinctness",
    "load_proof": "proof",
    "verify_proof": "verify",
}
"""Imported when first used: without FLINT the package works, and a check of proofs loads no kernels."""

__all__ = ["Distinction", "Proof", "Verification", "certify", "distinct", "load_proof", "verify_proof"]


def __getattr__(name: str):
    if name in _LATE:
        return getattr(_importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
