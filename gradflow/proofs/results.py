"""`certify`: from what this package found to a proof. The only file here that knows problems and results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..inputs import Gaussian, Samples
from ..landscape.symmetric import SymmetricPoint
from ..losses.problem import Problem
from ..networks import MLP
from ..run.result import Result
from ..support.errors import ArgumentError
from ..support.validate import number, real_array, sequence
from . import empirical, population
from .balls import exact, midpoint, precision, upper
from .families import prove_family
from .krawczyk import PRECISIONS
from .proof import Proof, no_proof
from .prove import WITHIN, prove
from .settings import build, hexadecimal
from .zero_loss import prove_zero

ZERO_WITHIN = (1e-5, 1e-3)
"""Tried in turn beyond `within` for a loss of zero: where several neurons copy one teacher, L is of fourth
order in their distance, so that the best of Float64 is 1e-4 away."""

AGREE = 1e-10
"""Float64 gradients and enclosures may differ by so much, relative to the scale of the gradient."""


def certify(
    result,
    theta=None,
    *,
    within: float = WITHIN,
    precisions: Sequence[int] = PRECISIONS,
    rates=None,
) -> Proof:
    """A proof, in ball arithmetic, that there is a critical point at the end of a run.

    Parameters
    ----------
    result : Result, Problem, or SymmetricPoint
        What was found; with a `Problem` give `theta` too. A `SymmetricPoint` of `gradflow.landscape` is
        proved within its ansatz, with the index of the full Hessian.
    theta : array_like, shape (P,), optional
        The point, for a `Problem`.
    within : float
        No proof is given for a critical point farther than this from θ (∞-norm): it would be about another
        point than the one that was meant. A loss of zero may be up to 1e-3 away: its `radius` says how far.
    precisions : sequence of int
        Bits of the working precision, tried in turn until the proof succeeds or more bits do not help.
    rates : array_like, shape (P,), optional
        With a `Problem`: parameters of rate zero do not move, as in `train`.

    Returns
    -------
    Proof
        `exists` says whether there is one, `reason` why not; `print(proof)` gives the theorem.

    Raises
    ------
    ArgumentError
        For problems whose loss cannot be enclosed (kinked activations with samples, laws other than the
        Gaussian, more than one hidden layer, …), naming what can be, and for a result that has not converged.
    MissingExtraError
        Without python-flint.

    Notes
    -----
    Krawczyk's test for ∇L = 0 in the eigenbasis of the Hessian: with κ = ‖Λ⁻¹VᵀJV − I‖_∞ < 1 over a box,
    and Newton's step short enough, there is one zero in it, and the index is the number of negative Λ.
    Where the student reproduces the teacher with more neurons than it needs, the proof is of L = 0 and of
    the dimension of the manifold on which it is attained. See docs/proofs.md.

    References
    ----------
    R. Krawczyk, Newton-Algorithmen zur Bestimmung von Nullstellen mit Fehlerschranken, Computing 4 (1969);
    S. M. Rump, Verification methods: rigorous results using floating-point arithmetic, Acta Numerica 2010;
    I. Safran and O. Shamir, Spurious local minima are common in two-layer ReLU neural networks, ICML 2018.

    Examples
    --------
    >>> import gradflow as gf
    >>> from gradflow.theory.copy_average import bucket_student
    >>> import numpy as np
    >>> student = bucket_student([3, 3], np.eye(6, 7))
    >>> problem = gf.Problem(gf.teachers.orthonormal(6, 7), student)
    >>> proof = gf.certify(problem, student.flat())
    >>> proof.exists, proof.index, proof.radius < 1e-14
    (True, 4, True)
    """
    within = number("within", within, minimum=0.0, exclusive=True)
    bits = tuple(sequence("precisions", precisions, "a list of numbers of bits, such as (64, 128)"))
    if not bits or not all(isinstance(b, (int, np.integer)) and b >= 53 for b in bits):
        raise ArgumentError("precisions", precisions, "whole numbers of bits, at least 53")
    if isinstance(result, SymmetricPoint):
        return _symmetric(result, within, bits)
    if isinstance(result, Result):
        if theta is not None or rates is not None:
            raise ArgumentError("theta", "a point beside a Result", "a Result alone, or a Problem and θ")
        problem, theta, free = result.problem, result.theta, result.rates != 0
        if not result.converged:
            raise ArgumentError(
                "result",
                f"a result that has not converged (|∇L|_∞ = {result.grad_norm:.3g}, "
                f"{result.stop_reason.value})",
                "a converged one: refine it further, or give (problem, theta) to try all the same",
            )
    elif isinstance(result, Problem):
        problem = result
        if theta is None:
            raise ArgumentError("theta", "None", f"the point, shape ({problem.size},)")
        theta = real_array("theta", theta, 1)
        if theta.size != problem.size:
            raise ArgumentError("theta", f"shape {theta.shape}", f"shape ({problem.size},)")
        free = np.ones(theta.size, dtype=bool)
        if rates is not None:
            free = real_array("rates", rates, 1) != 0
            if free.size != theta.size or not free.any():
                raise ArgumentError(
                    "rates", f"{int(free.sum())} that move", f"shape ({theta.size},), some not 0"
                )
    else:
        raise ArgumentError(
            "result", type(result).__name__, "a Result, a Problem with θ, or a SymmetricPoint"
        )
    setting = setting_of(problem)
    moving = tuple(int(i) for i in np.flatnonzero(free))
    loss = build(setting)
    disagreement = _disagreement(problem, loss, theta)
    if disagreement:
        return no_proof(disagreement, setting, tuple(hexadecimal(theta)), moving)
    if _near_zero(problem, theta):
        for near in sorted({within, *(room for room in ZERO_WITHIN if room > within)}):
            found = prove_zero(setting, theta.tolist(), moving, within=near, loss=loss)
            if found.exists:
                return found
    found = prove(setting, theta.tolist(), moving, within=within, precisions=bits, loss=loss)
    if not found.exists and found.undecided:
        family = prove_family(setting, theta.tolist(), moving, within=within, precisions=bits, loss=loss)
        return family if family.exists else found
    return found


def _near_zero(problem: Problem, theta: np.ndarray) -> bool:
    """Whether the loss may be zero, as far as Float64 says."""
    return abs(problem.loss(theta)) <= max(
        1e-10 * problem.objective.gradient_scale, problem.objective.loss_floor
    )


def _disagreement(problem: Problem, loss, theta: np.ndarray) -> str:
    """The kernels' gradient against its enclosure, which shares nothing with it. "" if they agree."""
    with precision(64):
        enclosed = loss.value_and_gradient(exact(theta), False)[1]
        if not all(ball.is_finite() for ball in enclosed):
            return "the gradient has no finite enclosure at θ (a ReLU neuron of weight zero?)"
        given = problem.gradient(theta)
        apart = max(upper(ball - value) for ball, value in zip(enclosed, exact(given)))
        size = max(1.0, float(np.abs(theta).max())) * max(1.0, problem.objective.gradient_scale)
        wide = max(float(ball.rad()) for ball in enclosed)
    error = 0.0 if isinstance(problem.inputs, Samples) else problem.objective.kernel_error(theta)
    if apart <= wide + (AGREE + 10 * error) * size * max(1.0, max(abs(midpoint(b)) for b in enclosed)):
        return ""
    return (
        f"the gradient of the package's kernels is {apart:.3g} from its enclosure: one of the two is wrong, "
        "so nothing is proved about this problem"
    )


def setting_of(problem: Problem) -> dict[str, Any]:
    """The problem in exact numbers; `ArgumentError` for one whose loss cannot be enclosed."""
    student = problem.student
    if not isinstance(student, MLP):
        raise ArgumentError("problem", "a loss from JAX", "a problem of networks: its formulas are needed")
    if len(student.weights) != 2:
        raise ArgumentError("problem", f"{student!r}", "students with one hidden layer")
    common = {
        "sizes": list(student.sizes),
        "bias": student.biases[0] is not None,
        "output_bias": student.biases[1] is not None,
    }
    if isinstance(problem.inputs, Samples):
        name = _activation(student, empirical.ACTIVATIONS, "with samples")
        if problem.options.get("loss") != "squared" or problem.options.get("weight_decay"):
            raise ArgumentError("problem", "another loss", "the squared loss without weight decay")
        if problem.options.get("barrier") is not None:
            raise ArgumentError("problem", "a barrier", "the squared loss without a barrier")
        if problem.options.get("merge") is not None:
            raise ArgumentError("problem", "a merge penalty", "the squared loss without penalties")
        X, weight = problem.inputs.X, problem.inputs.sample_weight
        return {
            "kind": "empirical", "activation": name, **common, "X": hexadecimal(X),
            "Y": hexadecimal(problem.targets), "weight": hexadecimal(weight),
        }  # fmt: skip
    name = _activation(student, population.ACTIVATIONS, "with infinitely many inputs")
    teacher, law = problem.teacher, problem.inputs
    if not isinstance(law, Gaussian):
        raise ArgumentError("problem", f"inputs {law!r}", "a Gaussian law, or samples")
    if not isinstance(teacher, MLP) or len(teacher.weights) != 2:
        raise ArgumentError("problem", f"the teacher {teacher!r}", "a teacher with one hidden layer")
    if {a.name for a in teacher.neuron_activations(0)} != {name}:
        raise ArgumentError("problem", "a teacher of other activations", f"{name}, as the student has")
    shifted = any(net.biases[0] is not None for net in (student, teacher)) or law.mean is not None
    if name == "relu" and shifted:
        raise ArgumentError(
            "problem", "relu with hidden biases or a mean", "erf there, or no biases and mean"
        )
    return {
        "kind": "population", "activation": name, **common,
        "teacher": {
            "weights": hexadecimal(teacher.weights[0]), "bias": hexadecimal(teacher.biases[0]),
            "output": hexadecimal(teacher.weights[1]), "output_bias": hexadecimal(teacher.biases[1]),
        },
        # a law may be asymmetric by rounding; what is proved is about the symmetric matrix
        "mean": hexadecimal(law.mean),
        "cov": None if law.cov is None else hexadecimal(0.5 * (law.cov + law.cov.T)),
    }  # fmt: skip


def _activation(student: MLP, known, where: str) -> str:
    names = {sigma.name for sigma in student.neuron_activations(0)}
    if len(names) != 1 or not names <= set(known):
        given = ", ".join(sorted(names))
        raise ArgumentError(
            "problem", f"activation {given} {where}", f"there one of {', '.join(sorted(known))}"
        )
    return names.pop()


def _symmetric(point: SymmetricPoint, within: float, bits: tuple) -> Proof:
    ansatz = point.ansatz
    x = real_array("result", point.x, 1)
    if x.size != len(ansatz.parameters):
        raise ArgumentError("result", f"{x.size} numbers", f"the {len(ansatz.parameters)} of its ansatz")
    sizes = [*ansatz.teachers, ansatz.unused]
    if any(size != int(size) for size in sizes):
        raise ArgumentError(
            "result", f"an ansatz of sizes {sizes}", "whole sizes: there is no network otherwise"
        )
    count = len(ansatz.teachers)
    setting = {
        "kind": "ansatz",
        "activation": ansatz.activation,
        "teachers": [int(size) for size in ansatz.teachers],
        "groups": [None if g is None else int(g) for g in ansatz.groups],
        "unused": int(ansatz.unused),
        "teacher_outputs": hexadecimal(list(ansatz.teacher_outputs or [1.0] * count)),
        "teacher_norms": hexadecimal(list(ansatz.teacher_norms or [1.0] * count)),
        "train_outputs": bool(ansatz.train_outputs),
    }
    return prove(setting, x.tolist(), within=within, precisions=bits)
