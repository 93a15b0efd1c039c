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
from ..losses.problem import Problem
from ..networks import MLP
from ..refiners import Refiner
from ..solvers import CompiledSolver, Filippov, FlowSolver
from ..support import families
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.settings import one_of
from ..support.validate import check_rates
from .checkpoint import CheckpointFile, check_checkpoint, read_checkpoint
from .coordinates import Coordinates, choose_span
from .plan import Plan
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

    Parameters
    ----------
    teacher : MLP, callable, array_like or Problem
        A network; with samples also a function of X or an array of targets, shape (samples, outputs). Or a
        `Problem`, and then neither student nor inputs.
    student : MLP, optional
        Architecture and starting point.
    inputs : optional
        None: x ~ N(0, I), infinitely many; a `Gaussian` or another law; samples X, shape
        (samples, features); `Samples`.
    solver : FlowSolver, str or None, default "auto"
        A solver with its settings (`gradflow.solvers`) or its name, None for refinement only.
    refiner : Refiner, str or None, default "auto"
        A refiner with its settings (`gradflow.refiners`) or its name, None for the flow only.
    rates : array_like, shape (P,), optional
        r ≥ 0, one each unless given; zero freezes a parameter, which is then left out of the gradient norm,
        the refinement and the spectrum.
    precision : {"double", "double-double"}
        "double-double": the refinement ends with Newton steps on a residual of 32 digits (erf or ReLU, no
        biases, one output, Gaussian inputs); `Result.theta_low`.
    checkpoint : path, optional
        A file to which the flow's state is written every few seconds, for `gradflow.resume`.
    seed : int, optional
        Recorded on the result; nothing in a flow or a refinement is random.
    progress : bool, optional
        By default a line is shown where standard error is a terminal.
    **misplaced
        Settings that belong to a solver or a refiner: refused, with a word on where they go.

    Returns
    -------
    Result
        Ctrl-C returns the best point so far as a result marked interrupted.

    Raises
    ------
    ArgumentError
        For input that cannot be used, before anything is compiled.

    Notes
    -----
    L(θ) = mean over inputs of the sum over outputs of (f_θ − f*)², no ½.

    A population problem whose inputs have no direction is solved in the span of the teacher's and the
    initial weights where that is smaller than the input space (`losses.reduced`): the same path. The
    rates within each hidden neuron must be equal for that; `Problem(..., reduce=False)` forbids it.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(width=3, input_dim=4, activation="erf")
    >>> student = gf.MLP.random((4, 2, 1), "erf", bias=False, seed=0)
    >>> result = train(teacher, student, progress=False)
    >>> result.converged, round(result.loss, 8)
    (True, 0.02322168)
    """
    for name in misplaced:
        raise ArgumentError(name, "an argument that train does not have", _where(name))
    if progress is not None and not isinstance(progress, (bool, np.bool_, Monitor)):
        raise ArgumentError("progress", repr(progress), "True, False or None")
    began = time.monotonic()
    problem = problem_of(teacher, student, inputs)
    rates = check_rates(rates, problem.size)
    plan, basis = Plan.of(problem, rates, solver, refiner, precision, seed)
    if checkpoint is not None and not isinstance(plan.solver, (CompiledSolver, Filippov)):
        given = "a run without a flow" if plan.solver is None else f"solver={plan.solver.name}"
        raise ArgumentError("checkpoint", given, "a flow, by a method of continuous time")
    monitor = progress if isinstance(progress, Monitor) else Monitor(progress)
    if plan.solver is not None:
        plan.solver.compile_ahead()
    with monitor.listening():
        coordinates = _coordinates(problem, rates, basis, monitor)
        plan = plan.for_kind(coordinates.size, coordinates.objective.sum_of_squares)
        file = None
        if checkpoint is not None:
            check_checkpoint(checkpoint, problem)
            file = CheckpointFile(checkpoint, problem, rates, plan)
        return _carried_out(coordinates, plan, monitor, file, began)


def resume(
    path: str | os.PathLike,
    *,
    activations: Mapping[str, Activation] | None = None,
    progress: bool | Monitor | None = None,
) -> Result:
    """Go on with the run whose checkpoint file this is, to the same bits as without interruption.

    The file says what was asked for; `max_seconds` counts anew. The refinement begins where the flow
    ends, so a run stopped in it refines again.

    Parameters
    ----------
    path : path
        What `train` had as `checkpoint`.
    activations : mapping of str to Activation, optional
        A user's own activations by name, if the problem has such.
    progress : bool, optional
        As in `train`.

    Returns
    -------
    Result

    Raises
    ------
    StorageError
        For a file that is not a whole checkpoint.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> first = gf.train(teacher, student, checkpoint="run.h5", progress=False)
    >>> bool(np.all(resume("run.h5", progress=False).theta == first.theta))
    True
    """
    began = time.monotonic()
    monitor = progress if isinstance(progress, Monitor) else Monitor(progress)
    with monitor.listening():
        with monitor.compiling():
            file = read_checkpoint(path, activations)
        basis = choose_span(file.problem, file.rates)[0] if file.plan.reduced else None
        coordinates = _coordinates(file.problem, file.rates, basis, monitor)
        return _carried_out(coordinates, file.plan, monitor, file, began)


def problem_of(teacher, student: MLP | None, inputs, threads: int | None = None) -> Problem:
    """The problem that `train` is given, or poses, with so many threads: nothing is compiled yet."""
    if not isinstance(teacher, Problem):
        return Problem.posed(teacher, student, inputs, threads)
    if student is not None or inputs is not None:
        raise ArgumentError("student", "a student or inputs beside a Problem", "the Problem alone")
    return teacher


def _coordinates(
    problem: Problem, rates: np.ndarray, basis: np.ndarray | None, monitor: Monitor
) -> Coordinates:
    """The coordinates that a run works in; here the kernels are compiled."""
    with monitor.compiling():
        _ = problem.objective
    return Coordinates(problem, rates, basis)


def _carried_out(
    coordinates: Coordinates, plan: Plan, monitor: Monitor, file: CheckpointFile | None, began: float
) -> Result:
    work = carry_out(coordinates, plan, monitor, file)
    return Result(
        problem=coordinates.problem,
        rates=coordinates.all_rates,
        seconds=time.monotonic() - began,
        seed=plan.seed,
        reduced_dim=coordinates.reduced_dim,
        **work,
    )


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
