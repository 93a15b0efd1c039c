"""Two certified points, proved to be different whatever symmetry is applied."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..support.errors import ArgumentError
from .balls import arb, exact, from_text, precision
from .proof import Proof
from .settings import build, floats

BITS = 96


class Distinction(NamedTuple):
    """Whether two points are proved distinct, up to what, and how; true if they are.

    Attributes
    ----------
    proved : bool
        Whether they are proved distinct.
    up_to : str
        "every symmetry of the problem" (permutations and rotations of inputs and teachers that leave the
        loss as it is included), or "the network's symmetries" (order of neurons, signs, scales).
    reason : str
        How, or why not.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(2, 2)
    >>> proof = gf.certify(gf.Problem(teacher, teacher), teacher.flat())
    >>> bool(gf.proofs.distinct(proof, proof))
    False
    """

    proved: bool
    up_to: str
    reason: str

    def __bool__(self) -> bool:
        return self.proved


def distinct(first: Proof, second: Proof) -> Distinction:
    """Whether two certified critical points of one problem are proved not to be images of each other.

    Parameters
    ----------
    first, second : Proof
        Of the same problem, both with `exists`.

    Returns
    -------
    Distinction

    Raises
    ------
    ArgumentError
        For proofs that are none, or are about different problems.

    Notes
    -----
    What a symmetry of the problem leaves as it is: the loss, the index, and of the neurons the multiset of
    (w·Cw, |a|²), for relu of w·Cw |a|², whose scales are free. If two enclosures of one of these are
    disjoint the points are distinct; for the multisets there must be no matching of overlapping neurons.
    Then the neurons themselves, up to sign and scale, are tried.

    Examples
    --------
    >>> import gradflow as gf, numpy as np
    >>> from gradflow.theory.copy_average import bucket_student
    >>> one, other = (bucket_student(sizes, np.eye(4)) for sizes in ([1, 3], [2, 2]))
    >>> problem = gf.Problem(gf.teachers.orthonormal(4, 4), one)
    >>> gf.proofs.distinct(gf.certify(problem, one.flat()), gf.certify(problem, other.flat())).reason
    'the losses are in disjoint intervals'
    """
    for name, proof in (("first", first), ("second", second)):
        if not isinstance(proof, Proof) or not proof.exists:
            raise ArgumentError(name, "no proof" if isinstance(proof, Proof) else type(proof).__name__,
                                "a Proof of a critical point")  # fmt: skip
    if first.problem != second.problem or first.free != second.free:
        raise ArgumentError("second", "a proof about another problem", "the problem of the first one")
    if first.loss[1] < second.loss[0] or second.loss[1] < first.loss[0]:
        return Distinction(True, _ALL, "the losses are in disjoint intervals")
    if first.index is not None and second.index is not None and first.index != second.index:
        return Distinction(True, _ALL, f"the indices are {first.index} and {second.index}")
    if "family" in (first.kind, second.kind) or "zero loss" in (first.kind, second.kind):
        return Distinction(False, "", "the losses overlap, and neurons move along the family")
    if first.problem["kind"] == "ansatz":
        return Distinction(False, "", "the losses overlap and the indices agree: certify the full networks")
    with precision(BITS):
        one, other = _neurons(first), _neurons(second)
        if first.problem["kind"] == "population" and not _matched(one, other, _same_invariants):
            return Distinction(True, _ALL, "the norms and output weights of the neurons are different")
        if not _matched(one, other, _same_vector):
            return Distinction(True, _OWN, "the neurons are different")
    return Distinction(False, "", "neurons of one may be those of the other")


_ALL, _OWN = "every symmetry of the problem", "the network's symmetries"


class _Neuron(NamedTuple):
    relu: bool
    odd: bool
    even: bool
    rows: list
    outputs: list
    square: Any
    weight: Any


def _neurons(proof: Proof) -> list[_Neuron]:
    setting = proof.problem
    d, n, o = setting["sizes"]
    around = arb(0, proof.radius)
    box = [t + around for t in exact(floats(list(proof.theta)))]
    frozen = set(range(len(box))) - set(proof.free)
    held = {i for i, _ in proof.gauges}
    for i in frozen | held:
        box[i] = box[i].mid()
    # A held number has the value of the centre.
    for i in held:
        box[i] = from_text(proof.center[i])
    bias = setting["bias"]
    relu = setting["activation"] == "relu"
    # sigmoid(−z) = 1 − sigmoid(z), softplus(−z) = softplus(z) − z and relu likewise: what is left over may
    # cancel among neurons or go into an output bias, so that a change of sign may leave f as it is.
    odd = setting["activation"] in ("erf", "tanh", "sigmoid")
    even = setting["activation"] == "softplus"
    C = getattr(build(setting), "C", None)
    result = []
    for i in range(n):
        w = box[i * d : (i + 1) * d]
        a = [box[n * (d + bias) + r * n + i] for r in range(o)]
        image = w if C is None else [sum((c * e for c, e in zip(row, w)), arb(0)) for row in C]
        square = sum((p * e for p, e in zip(image, w)), arb(0))
        weight = sum((e * e for e in a), arb(0))
        rows = [*w, *([box[n * d + i]] if bias else [])]
        result.append(_Neuron(relu, odd, even, rows, a, square, weight))
    return result


def _same_invariants(u: _Neuron, v: _Neuron) -> bool:
    if u.relu:
        return bool((u.square * u.weight).overlaps(v.square * v.weight))
    return bool(u.square.overlaps(v.square) and u.weight.overlaps(v.weight))


def _same_vector(u: _Neuron, v: _Neuron) -> bool:
    if u.relu:  # w |a| is free of the scale, and so is a/|a|; signs are not
        one, other = u.weight.nonnegative_part().sqrt(), v.weight.nonnegative_part().sqrt()
        left = [*(a * one for a in u.rows), *(a * other for a in u.outputs)]
        right = [*(b * other for b in v.rows), *(b * one for b in v.outputs)]
        if all(a.overlaps(b) for a, b in zip(left, right)):
            return True
        flipped = [*(-b * other for b in v.rows), *(b * one for b in v.outputs)]
        return all(a.overlaps(b) for a, b in zip(left, flipped))
    if all(a.overlaps(b) for a, b in zip(u.outputs, v.outputs)):
        if all(a.overlaps(b) for a, b in zip(u.rows, v.rows)):
            return True
        if u.even:
            return all(a.overlaps(-b) for a, b in zip(u.rows, v.rows))
    return u.odd and all(a.overlaps(-b) for a, b in zip([*u.rows, *u.outputs], [*v.rows, *v.outputs]))


def _matched(one: list, other: list, alike) -> bool:
    """Whether there is a perfect matching of neurons that may be alike (augmenting paths)."""
    edges = [[j for j, v in enumerate(other) if alike(u, v)] for u in one]
    owner: dict[int, int] = {}

    def place(i: int, seen: set) -> bool:
        for j in edges[i]:
            if j not in seen:
                seen.add(j)
                if j not in owner or place(owner[j], seen):
                    owner[j] = i
                    return True
        return False

    return all(place(i, set()) for i in range(len(one)))
