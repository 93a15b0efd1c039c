"""A `Proof`: the theorem, its constants, and the exact numbers from which it is checked again."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path

from ..support.errors import StorageError
from ..support.files import replacing
from .settings import KINDS, describe, parameter_name

FORMAT = "gradflow proof"
SCHEMA = 1

FORMULAS = (
    "pair formulas of erf (Williams 1997) and relu (Cho & Saul 2009), derivatives by Price's theorem 1958; "
    "Krawczyk's test 1969; Sylvester's law of inertia and Gershgorin's discs; docs/proofs.md"
)


@dataclasses.dataclass(frozen=True, repr=False)
class Proof:
    """What was proved about a point, or why nothing was.

    Attributes
    ----------
    exists : bool
        A critical point within `radius` of θ is proved to exist.
    radius : float
        ∞-norm; infinite without a proof.
    unique_radius : float
        Within so much of the centre (the point from which the proof starts, θ after a Newton step or θ
        itself) there is no other critical point with the same held parameters.
    index : int or None
        The number of negative eigenvalues of the Hessian there, over the parameters that move.
    is_minimum : bool or None
        A strict local minimum up to the symmetries named in `gauges`; None where nothing is proved. With a
        loss of zero it is a global one, strict up to the family if `undecided` is zero.
    loss : tuple of two floats
        L there lies between them (rounded outwards).
    loss_text : str
        The same ball in decimal digits.
    step : float
        Newton's own step from the centre, an upper bound in the coordinates of the eigenvectors.
    contraction : float
        κ of Krawczyk's test.
    bits, box : int, float
        The working precision, and the radius of the box of the Hessian.
    gauges : tuple of (int, str)
        Parameters that are held at their value at the centre, and the symmetry that allows it.
    undecided : int
        Eigenvalues of the Hessian that are not separated from zero and that no symmetry explains.
    reason : str
        Why there is no proof; empty with one.
    blocks : tuple of (str, int, int)
        For an ansatz: representation, multiplicity, negative eigenvalues.
    signs : tuple of two ints
        So many eigenvalues of the Hessian are proved negative and positive, the zero ones of the symmetries
        left out.
    dimension : int
        Of the manifold of critical points through the point that the symmetries, or a loss of zero, make.
    within : float
        How far the point was allowed to be.
    structure : tuple of (int, str)
        With a loss of zero: what every student neuron is.
    problem, theta, center, free : dict, tuples
        The problem, θ, the centre and which parameters move, exactly: hexadecimal numbers.
    kind : str
        "point", "ansatz", "family" (neurons that copy one another or are silent) or "zero loss".
    arithmetic : str
        What computed.

    See Also
    --------
    gradflow.certify, gradflow.verify_proof

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(2, 2)
    >>> proof = gf.certify(gf.Problem(teacher, teacher), teacher.flat())
    >>> proof.exists, proof.index, proof.is_minimum
    (True, 0, True)
    """

    exists: bool
    radius: float
    unique_radius: float
    index: int | None
    is_minimum: bool | None
    loss: tuple[float, float]
    loss_text: str
    step: float
    contraction: float
    bits: int
    box: float
    gauges: tuple[tuple[int, str], ...]
    undecided: int
    reason: str
    problem: dict
    theta: tuple[str, ...]
    center: tuple[str, ...]
    free: tuple[int, ...]
    kind: str = "point"
    arithmetic: str = ""
    blocks: tuple[tuple[str, int, int], ...] = ()
    dimension: int = 0
    structure: tuple[tuple[int, str], ...] = ()
    signs: tuple[int, int] = (0, 0)
    within: float = 0.0

    def __bool__(self) -> bool:
        return self.exists

    @property
    def statement(self) -> str:
        """The theorem in words, with every constant."""
        where = describe(self.problem)
        if not self.exists:
            return f"Nothing is proved. Problem: {where}.\nWhy: {self.reason}."
        if self.kind == "zero loss":
            return self._zero_statement(where)
        moving = len(self.free)
        frozen = len(self.theta) - moving
        lines = [f"Problem: {where}."]
        lines.append(
            f"Theorem. L has a critical point θ* with |θ* − θ|_∞ ≤ {self.radius:.3g}, θ the point given "
            f"({len(self.theta)} numbers{f', {frozen} of which do not move' if frozen else ''})."
        )
        if self.kind == "ansatz":
            lines.append(
                "It is one within the ansatz, and hence of the full loss: the ansatz is the fixed space of a "
                "group of permutations that leave L as it is (symmetric criticality, Palais 1979)."
            )
        if self.kind == "family":
            what = "; ".join(f"neuron {i} {words}" for i, words in self.structure)
            lines.append(
                f"It lies on a family of critical points of dimension {self.dimension} with the same f: "
                f"{what}. It comes from a critical point of the student with these merged or left out."
            )
        if self.gauges:
            held = ", ".join(f"{parameter_name(self.problem, i)} ({why})" for i, why in self.gauges)
            lines.append(f"Held at their values at the centre: {held}.")
        lines.append(
            f"Among the points with the same held numbers it is the only critical one within "
            f"{self.unique_radius:.3g} of the centre"
            f"{_WHERE[self.kind]} (Newton's step there: {self.step:.2g})."
        )
        low, high = self.loss
        lines.append(f"There {low!r} ≤ L ≤ {high!r}; L = {self.loss_text}.")
        if self.index is None:
            negative, positive = self.signs
            lines.append(
                f"The index is not decided: {negative} eigenvalues of the Hessian are negative and "
                f"{positive} positive, and {self.undecided} that no symmetry explains may be zero."
                + (" It is no minimum." if negative else "")
            )
        else:
            flat = (
                f" and {self.dimension} zero one(s), the tangents of the symmetries" if self.dimension else ""
            )
            lines.append(
                f"Its Hessian over the parameters that move has exactly {self.index} negative eigenvalue(s)"
                f"{flat}; the others are positive."
            )
            up_to = " up to the symmetries named" if self.gauges else ""
            up_to = " up to the family" if self.kind == "family" else up_to
            over = " over the parameters that move" if frozen else ""
            if self.is_minimum:
                lines.append(f"It is a strict local minimum{over}{up_to}.")
            elif self.signs[1]:
                lines.append("It is a saddle (no minimum).")
            else:  # no eigenvalue is positive
                lines.append(f"It is a strict local maximum{over}{up_to}.")
        if self.blocks:
            parts = ", ".join(f"{name} {negative} × {m}" for name, m, negative in self.blocks)
            lines.append(f"Negative eigenvalues by representation (number × multiplicity): {parts}.")
        lines.append(self._how())
        return "\n".join(lines)

    def _zero_statement(self, where: str) -> str:
        rank = len(self.free) - self.dimension - self.undecided
        if self.undecided:
            size = (
                f"It is so on a family of dimension {self.dimension} through θ°; the Hessian there has at "
                f"least {rank} positive eigenvalues; {self.undecided} other directions are not decided."
            )
        else:
            size = (
                f"The zeros of L near θ° are a manifold of dimension {self.dimension}, and the Hessian there "
                f"has exactly {rank} positive eigenvalues."
            )
        what = "; ".join(f"neuron {i} {words}" for i, words in self.structure)
        return "\n".join(
            [
                f"Problem: {where}.",
                f"Theorem. L = 0 is attained at a point θ° with |θ° − θ|_∞ ≤ {self.radius:.3g}, at which the "
                f"student is the teacher unit by unit: {what}. {size}",
                f"Proof: f_θ° = f* exactly; the rank by Gershgorin's discs, {self.bits} bits. "
                f"{self._assumed()}",
            ]
        )

    def _how(self) -> str:
        return (
            f"Proof: Krawczyk's test with contraction number {_below_one(self.contraction)} < 1 on a box of "
            f"radius {self.box:.2g}, {self.bits} bits. {self._assumed()}"
        )

    def _assumed(self) -> str:
        return (
            f"Assumed: {self.arithmetic or 'ball arithmetic'} encloses what it says; IEEE arithmetic only in "
            f"approximate eigenvectors, of which nothing is assumed, and in a bound on their products; the "
            f"{FORMULAS}. All numbers of the problem are in `problem`."
        )

    def check(self) -> None:
        """`ValueError` for entries that no proof of this package has: what they say could not be checked."""
        flags = isinstance(self.exists, bool) and (
            self.is_minimum is None or isinstance(self.is_minimum, bool)
        )
        whole = [self.bits, self.undecided, self.dimension, *self.signs, *self.free]
        whole += (
            [i for i, _ in self.gauges]
            + [i for i, _ in self.structure]
            + [n for _, *m in self.blocks for n in m]
        )
        texts = [self.loss_text, self.reason, self.arithmetic, *self.theta, *self.center]
        texts += [why for _, why in self.gauges] + [words for _, words in self.structure]
        numbers = [getattr(self, name) for name in _FLOATS] + list(self.loss)
        good = (
            flags
            and all(type(n) is int for n in whole + ([] if self.index is None else [self.index]))
            and all(isinstance(text, str) for text in texts)
            and all(isinstance(value, float) for value in numbers)
            and len(self.loss) == len(self.signs) == 2
            and self.kind in ("point", "ansatz", "family", "zero loss")
            and (self.kind == "ansatz") == (self.problem["kind"] == "ansatz")
            and list(self.free) == sorted({i for i in self.free if 0 <= i < len(self.theta)})
            and all(math.isfinite(float.fromhex(text)) for text in self.theta)
        )
        if not good:
            raise ValueError("entries of the wrong kind")
        if self.exists and (self.reason or not 53 <= self.bits <= 1 << 16):
            raise ValueError(f"a proof in {self.bits} bits, reason {self.reason!r}")

    def __str__(self) -> str:
        return self.statement

    def __repr__(self) -> str:
        if not self.exists:
            return f"Proof(exists=False, reason={self.reason!r})"
        return (
            f"Proof({self.kind}, {len(self.theta)} parameters, radius={self.radius:.3g}, index={self.index}, "
            f"dimension={self.dimension}, L={self.loss_text})"
        )

    def save(self, path: str | os.PathLike) -> None:
        """Write the proof as JSON to the file at `path`, all numbers exact.

        Raises
        ------
        StorageError
            Where the file cannot be written.
        """
        document = {"format": FORMAT, "schema": SCHEMA} | dataclasses.asdict(self)
        for name in _FLOATS:
            document[name] = float(getattr(self, name)).hex()
        document["loss"] = [value.hex() for value in self.loss]
        with replacing(path) as name:
            Path(name).write_text(json.dumps(document, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


_WHERE = {
    "point": "",
    "ansatz": ", in the numbers of the ansatz",
    "family": ", in the smaller student",
}
_FLOATS = ("within", "radius", "unique_radius", "step", "contraction", "box")


def _below_one(value: float) -> str:
    """A number below one in two digits, in all of them where two would say 1."""
    return f"{value:.2g}" if value < 0.99 else repr(value)


def load_proof(path: str | os.PathLike) -> Proof:
    """A proof as it was saved; nothing is checked but that it is complete.

    Parameters
    ----------
    path : path
        What `Proof.save` wrote.

    Returns
    -------
    Proof

    Raises
    ------
    StorageError
        For files that are missing, foreign or incomplete.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(2, 2)
    >>> gf.certify(gf.Problem(teacher, teacher), teacher.flat()).save("proof.json")
    >>> gf.proofs.load_proof("proof.json").exists
    True
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        if document.pop("format", None) != FORMAT:
            raise StorageError(f"{path}: JSON, but not a {FORMAT!r}")
        schema = document.pop("schema")
        if schema != SCHEMA:
            raise StorageError(f"{path}: schema {schema}; this version reads {SCHEMA}")
        for name in _FLOATS:
            document[name] = float.fromhex(document[name])
        document["loss"] = tuple(float.fromhex(text) for text in document["loss"])
        for name in ("theta", "center", "free"):
            document[name] = tuple(document[name])
        document["gauges"] = tuple((int(i), str(why)) for i, why in document["gauges"])
        document["blocks"] = tuple((str(n), int(m), int(k)) for n, m, k in document["blocks"])
        document["signs"] = tuple(document["signs"])
        document["structure"] = tuple(tuple(entry) for entry in document["structure"])
        if document["problem"]["kind"] not in KINDS:
            raise StorageError(f"{path}: a proof about {document['problem']['kind']!r}")
        proof = Proof(**document)
        proof.check()
        return proof
    except StorageError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path}: cannot be read ({error})") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise StorageError(f"{path}: not a complete {FORMAT} ({error!r})") from error


def no_proof(reason: str, setting: dict, theta: tuple, free: tuple, **known) -> Proof:
    """A proof that is none, with its reason."""
    values: dict = {
        "radius": math.inf, "unique_radius": 0.0, "index": None, "is_minimum": None,
        "loss": (-math.inf, math.inf), "loss_text": "", "step": math.inf, "contraction": math.inf, "bits": 0,
        "box": 0.0, "gauges": (), "undecided": 0, "center": theta,
    }  # fmt: skip
    return Proof(False, reason=reason, problem=setting, theta=theta, free=free, **(values | known))
