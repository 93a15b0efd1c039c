"""The one road: problem → flow → refinement → result."""

from __future__ import annotations

import dataclasses
import inspect
import os
import time
from collections.abc import Mapping
from typing import Never

import numpy as np

from ..activations import Activation
from ..losses.problem import Problem, check_hessian_memory, check_precision
from ..networks import MLP
from ..refiners import Refiner, TrustRegionNewton, default_refiner
from ..solvers import CompiledSolver, FlowSolver, default_solver
from ..support import families
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.settings import one_of
from ..support.validate import check_rates, integer
from .checkpoint import CheckpointFile, check_checkpoint, read_checkpoint
from .coordinates import Coordinates, choose_span
from .result import Result
from .stages import carry_out


def train(
    teacher,
    student: MLP | None = None,
    inputs=None,
    *,
    solver: FlowSolver | str | None = "auto",
    refiner: Refiner | str | None = "auto",
    rates=None,
    precision: str = "double",
    checkpoint: str | os.PathLike | None = None,
    seed: int | None = None,
    progress: bool | Monitor | None = None,
    **misplaced: Never,
) -> Result:
    """Follow the gradient flow dθ/dt = −r ⊙ ∇L(θ) from the student's parameters, then refine its end.

    L(θ) = mean over inputs of the sum over outputs of (f_θ − f*)², no ½.

    teacher   a network; with samples also a function of X or an array of targets (samples, outputs);
              or a `Problem`, and then neither student nor inputs
    student   an `MLP`: architecture and starting point
    inputs    None: x ~ N(0, I), infinitely many; a `Gaussian`; samples X (samples, features); `Samples`
    solver    "auto", a solver with its settings (`gradflow.solvers`) or its name, None for refinement only
    refiner   "auto", a refiner with its settings (`gradflow.refiners`) or its name, None for the flow only
    rates     r ≥ 0, flat (P,), one each unless given; zero freezes a parameter, which is then left out
              of the gradient norm, the refinement and the spectrum
    precision "double", or "double-double": the refinement ends with Newton steps on a residual of 32
              digits (erf or ReLU, no biases, one output, Gaussian inputs); `Result.theta_low`
    checkpoint path of a file to which the flow's state is written every few seconds, for `gradflow.resume`
    seed      recorded on the result; nothing in a flow or a refinement is random
    progress  True or False; by default a line is shown where standard error is a terminal

    A population problem whose inputs have no direction is solved in the span of the teacher's and the
    initial weights where that is smaller than the input space (`losses.reduced`): the same path. The
    rates within each hidden neuron must be equal for that; `Problem(..., reduce=False)` forbids it.

    Returns a `Result`. Ctrl-C returns the best point so far as a result marked interrupted. Raises
    `ArgumentError` for input that cannot be used, before anything is compiled.
    """
    for name in misplaced:
        raise ArgumentError(name, "an argument that train does not have", _where(name))
    if progress is not None and not isinstance(progress, (bool, np.bool_, Monitor)):
        raise ArgumentError("progress", repr(progress), "True, False or None")
    began = time.monotonic()
    known = teacher if isinstance(teacher, Problem) else student
    if known is None or not isinstance(known, (Problem, MLP)):
        raise ArgumentError("student", repr(student), "a gradflow.MLP")
    rates = check_rates(rates, known.size)
    basis, moving = None, int((rates != 0).sum())
    if precision != "double-double":  # a rotation in Float64 would spoil its digits
        basis, moving = choose_span(teacher, student, inputs, rates)
    chosen_solver = choose("solver", solver, FlowSolver, default_solver, moving)
    chosen_refiner = choose("refiner", refiner, Refiner, default_refiner, moving)
    if chosen_solver is None and chosen_refiner is None:
        raise ArgumentError("refiner", "None, with solver=None", "a refiner, or a solver: one of the two")
    check_precision(precision, teacher, student, inputs)
    if precision == "double-double" and chosen_refiner is None:
        raise ArgumentError("refiner", None, "a refiner: precision='double-double' is its last step")
    if getattr(chosen_solver, "implicit", False) or isinstance(chosen_refiner, TrustRegionNewton):
        check_hessian_memory(known.size if basis is None else moving)
    if checkpoint is not None and not isinstance(chosen_solver, CompiledSolver):
        given = "a run without a flow" if chosen_solver is None else f"solver={chosen_solver.name}"
        raise ArgumentError("checkpoint", given, "a flow, by a method of continuous time")
    seed = None if seed is None else integer("seed", seed, 0)
    monitor = progress if isinstance(progress, Monitor) else Monitor(progress)
    with monitor.listening():
        with monitor.compiling():
            problem = _problem(teacher, student, inputs)
        coordinates = Coordinates(problem, rates, basis)
        automatic = isinstance(refiner, str) and refiner == "auto"
        if automatic:  # now the kind of problem is known
            chosen_refiner = default_refiner(coordinates.size, coordinates.objective.sum_of_squares)
        file = None
        if checkpoint is not None:
            check_checkpoint(checkpoint, problem)
            plan = {
                "solver": chosen_solver.settings(),
                "refiner": None if chosen_refiner is None else chosen_refiner.settings(),
                "precision": precision,
                "seed": seed,
                "reduced": basis is not None,
                "automatic": automatic,
            }
            file = CheckpointFile(checkpoint, problem, rates, plan)
        work = carry_out(coordinates, chosen_solver, chosen_refiner, automatic, precision, monitor, file)
    return Result(
        problem=problem,
        rates=rates,
        seconds=time.monotonic() - began,
        seed=seed,
        reduced_dim=None if basis is None else basis.shape[0],
        **work,
    )


def resume(
    path: str | os.PathLike,
    *,
    activations: Mapping[str, Activation] | None = None,
    progress: bool | Monitor | None = None,
) -> Result:
    """Go on with the run whose `checkpoint` file this is, to the same bits as without interruption.

    The file says what was asked for; `max_seconds` counts anew. The refinement begins where the flow
    ends, so a run stopped in it refines again.

    activations   a user's own activations by name, if the problem has such

    Raises `StorageError` for a file that is not a whole checkpoint.
    """
    began = time.monotonic()
    monitor = progress if isinstance(progress, Monitor) else Monitor(progress)
    with monitor.listening():
        with monitor.compiling():
            file = read_checkpoint(path, activations)
        problem, rates, plan = file.problem, file.rates, file.plan
        basis = choose_span(problem, None, None, rates)[0] if plan["reduced"] else None
        solver, refiner = families.from_settings(FlowSolver, "solver", plan["solver"]), None
        if plan["refiner"] is not None:
            refiner = families.from_settings(Refiner, "refiner", plan["refiner"])
        coordinates = Coordinates(problem, rates, basis)
        work = carry_out(coordinates, solver, refiner, plan["automatic"], plan["precision"], monitor, file)
    return Result(
        problem=problem,
        rates=rates,
        seconds=time.monotonic() - began,
        seed=plan["seed"],
        reduced_dim=None if basis is None else basis.shape[0],
        **work,
    )


def _problem(teacher, student, inputs) -> Problem:
    if isinstance(teacher, Problem):
        if student is not None or inputs is not None:
            raise ArgumentError("student", "a student or inputs beside a Problem", "the Problem alone")
        return teacher
    if student is None:
        raise ArgumentError("student", None, "a gradflow.MLP")
    return Problem(teacher, student, inputs)


def choose(argument: str, given, kind: type, default, size: int):
    """The solver or refiner that is given as an object, by name, as "auto" or None; else `ArgumentError`."""
    if given is None or isinstance(given, kind):
        return given
    if isinstance(given, str) and given == "auto":
        return default(size)
    known = families.by_name(kind)
    if isinstance(given, str) and given in known:
        return known[given]()
    if isinstance(given, type) and issubclass(given, kind):
        raise ArgumentError(argument, f"the class {given.__name__}", f"an object: {given.__name__}()")
    names = one_of(given, sorted(known))
    raise ArgumentError(argument, repr(given), f"None, 'auto', or by name or with settings {names}")


def _where(name: str) -> str:
    """Where a name belongs that is no argument of `train`."""
    own = [p.name for p in inspect.signature(train).parameters.values() if p.kind is p.KEYWORD_ONLY]
    if name in inspect.signature(Problem).parameters:
        return f"as a part of the problem: train(Problem(teacher, student, inputs, {name}=…))"
    homes = []
    for argument, kind in (("solver", FlowSolver), ("refiner", Refiner)):
        known = families.by_name(kind).values()
        having = [cls for cls in known if name in {field.name for field in dataclasses.fields(cls)}]
        if having:
            homes.append(f"{argument}={having[0].__name__}({name}=…)")
    return f"a setting: train(…, {' or '.join(homes)})" if homes else one_of(name, own)
