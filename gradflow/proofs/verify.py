"""A saved proof, checked again from its exact numbers: balls only, no kernel and no solver."""

from __future__ import annotations

import os
from typing import NamedTuple

from ..support.errors import ArgumentError
from .families import prove_family
from .proof import Proof, load_proof
from .prove import SLACK, prove
from .settings import floats


class Verification(NamedTuple):
    """Whether a proof holds, why not, and the proof as it was found again; true if it holds."""

    holds: bool
    reason: str
    proof: Proof

    def __bool__(self) -> bool:
        return self.holds

    def __repr__(self) -> str:
        return f"Verification(holds={self.holds}, reason={self.reason!r}, proof={self.proof!r})"


def verify_proof(proof: Proof | str | os.PathLike) -> Verification:
    """Check a proof again, from the exact numbers that it holds.

    Parameters
    ----------
    proof : Proof or path
        A proof, or the file that `Proof.save` wrote.

    Returns
    -------
    Verification
        `holds`: everything that the proof claims (existence, radius, index, loss) follows again.

    Raises
    ------
    StorageError
        For a file that is missing, foreign or incomplete.
    ArgumentError
        For anything else than a proof or a path.

    Notes
    -----
    Only `gradflow.proofs` and FLINT compute: the enclosures of the gradient and the Hessian are evaluated
    anew at the centre and over the box of the proof, with its precision and without looking for a better
    centre. The claims must be implied by what is found.

    Examples
    --------
    >>> import gradflow as gf
    >>> teacher = gf.teachers.orthonormal(2, 2)
    >>> proof = gf.certify(gf.Problem(teacher, teacher), teacher.flat())
    >>> gf.verify_proof(proof).holds
    True
    """
    if isinstance(proof, (str, os.PathLike)):
        proof = load_proof(proof)
    if not isinstance(proof, Proof):
        raise ArgumentError("proof", type(proof).__name__, "a Proof, or the path of a saved one")
    if not proof.exists:
        return Verification(False, "it proves nothing: " + proof.reason, proof)
    if proof.kind == "zero loss":
        from .zero_loss import prove_zero

        theta = floats(list(proof.theta))
        again = prove_zero(proof.problem, theta, proof.free, within=proof.within)
    else:
        again = (prove_family if proof.kind == "family" else prove)(
            proof.problem,
            floats(list(proof.theta)),
            proof.free,
            within=proof.within,
            precisions=(proof.bits,),
            box=proof.box,
            center=proof.center,
        )
    return Verification(*_compare(proof, again), again)


def _compare(claimed: Proof, found: Proof) -> tuple[bool, str]:
    if not found.exists:
        return False, found.reason
    raw = 1 + 1e-12  # the division by SLACK is rounded
    if not found.radius / SLACK * raw <= claimed.radius:
        return False, f"radius {found.radius:.3g}, not the {claimed.radius:.3g} claimed"
    if not found.unique_radius * SLACK >= claimed.unique_radius * raw:
        return False, f"unique within {found.unique_radius:.3g}, not the {claimed.unique_radius:.3g} claimed"
    for name in ("index", "is_minimum", "signs", "undecided", "dimension", "gauges", "blocks", "structure"):
        if getattr(found, name) != getattr(claimed, name):
            return False, f"{name} {getattr(found, name)}, not the {getattr(claimed, name)} claimed"
    low, high = claimed.loss
    if not (low <= found.loss[0] and found.loss[1] <= high):
        return False, f"L between {found.loss}, not within the {claimed.loss} claimed"
    return True, ""


__all__ = ["Verification", "verify_proof"]
