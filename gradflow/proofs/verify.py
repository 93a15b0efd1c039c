"""A saved proof, checked again from its exact numbers: balls only, no kernel and no solver."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from ..support.errors import ArgumentError, StorageError
from .balls import arb, from_text, precision
from .families import prove_family
from .proof import Proof, load_proof
from .prove import SLACK, prove
from .settings import build, floats


class Verification(NamedTuple):
    """Whether a proof holds; true if it does.

    Attributes
    ----------
    holds : bool
        Whether all that it claims follows again.
    reason : str
        Why not.
    proof : Proof
        The proof as it was found again.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(2, 2)
    >>> proof = gf.certify(gf.Problem(teacher, teacher), teacher.flat())
    >>> verification = gf.verify_proof(proof)
    >>> bool(verification), verification.reason
    (True, '')
    """

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
    try:
        proof.check()
        size = build(proof.problem).size
        if len(proof.theta) != size:
            raise ValueError(f"{len(proof.theta)} numbers, not {size}")
        if proof.exists and proof.kind in ("point", "ansatz"):
            _check_center(proof, size)
        for text in proof.center:
            from_text(text)
        if proof.exists and not arb(proof.loss_text).is_finite():
            raise ValueError(f"L = {proof.loss_text}")
    except StorageError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise StorageError(f"not a complete proof ({error!r})") from error
    if not proof.exists:
        return Verification(False, "it proves nothing: " + proof.reason, proof)
    if proof.kind == "zero loss":
        from .zero_loss import prove_zero

        theta = floats(list(proof.theta))
        again = prove_zero(proof.problem, theta, proof.free, within=proof.within)
    else:
        try:
            again = (prove_family if proof.kind == "family" else prove)(
                proof.problem,
                floats(list(proof.theta)),
                proof.free,
                within=proof.within,
                precisions=(proof.bits,),
                box=proof.box,
                center=proof.center,
            )
        except IndexError as error:  # a centre of another student than the merged one
            raise StorageError(f"not a complete proof ({error!r})") from error
    return Verification(*_compare(proof, again), again)


def _check_center(proof: Proof, size: int) -> None:
    """What does not move is at θ itself, else the theorem would be about other numbers than those given."""
    if len(proof.center) != size:
        raise ValueError(f"a centre of {len(proof.center)} numbers, not {size}")
    for i in set(range(size)) - set(proof.free):
        if from_text(proof.center[i]) != arb(float.fromhex(proof.theta[i])):
            raise ValueError(f"the number {i} does not move, but its centre is not θ")


def _compare(claimed: Proof, found: Proof) -> tuple[bool, str]:
    if not found.exists:
        return False, found.reason
    if found.kind == "zero loss" and claimed.center != claimed.theta:
        return False, "a centre that is not θ"
    for name in ("kind", "reason"):
        if getattr(found, name) != getattr(claimed, name):
            return False, f"{name} {getattr(found, name)!r}, not the {getattr(claimed, name)!r} claimed"
    if not re.fullmatch(r"python-flint [\w.+-]+, FLINT [\w.+-]+", claimed.arithmetic):
        return False, f"{claimed.arithmetic!r} is no arithmetic that is known"
    for name in ("step", "contraction"):  # both depend a little on the approximate eigenvectors
        if not getattr(found, name) <= SLACK * getattr(claimed, name):
            return False, f"{name} {getattr(found, name):.3g}, not the {getattr(claimed, name):.3g} claimed"
    if not (claimed.contraction < 1 and claimed.box <= found.box):
        return False, f"box of radius {found.box:.3g}, not the {claimed.box:.3g} claimed"
    with precision(256):
        if not arb(claimed.loss_text).contains(arb(found.loss_text)):
            return False, f"L = {found.loss_text}, not the {claimed.loss_text} claimed"
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
