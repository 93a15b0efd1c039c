"""Results in HDF5 files."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...activations import ACTIVATIONS, Activation
from ...infinity import Channel, Infinity, Limit, Recession, Saturation
from ...infinity.limit import Approach
from ...infinity.limit_network import LimitNetwork, Unit
from ...inputs import Gaussian, Mixture, Samples
from ...losses.from_jax import StoredLoss
from ...losses.problem import Problem
from ...networks import MLP
from ...objective import Counts
from ...refiners import Extended, Refinement, Stalled
from ...solvers import Events, Flow
from ...support.eigen import Inertia
from ...support.errors import StorageError
from ...support.files import opened, write_array, write_header, written_whole
from ...support.stopping import StopReason
from ..end import End
from ..result import Result
from ..spectrum import Spectrum
from .descriptions import describe
from .problems import read_problem, write_problem

FORMAT = "gradflow result"
SCHEMA = 1

_KINDS: dict[type, str] = {
    Channel: "pair",
    Saturation: "neuron",
    Recession: "direction",
    Limit: "network",
}

_CONVENTIONS = {
    "loss": "mean over inputs of the sum over outputs of (f_theta - f_star)^2, no 1/2; dimensionless",
    "time": "d theta/dt = -rates * grad L; dimensionless",
    "theta": "per layer: weights (out, in) row by row, then the bias if any; first layer first",
    "grad_norm": "infinity norm of grad L over the parameters with rate > 0",
}

_FLOW_ARRAYS = (
    "times",
    "theta",
    "losses",
    "grad_norms",
    "step_times",
    "step_theta",
    "step_velocity",
    "step_acceleration",
    "stiffness",
)


def save(result: Result, path: str | os.PathLike) -> None:
    """Write `result` to an HDF5 file at `path`, replacing it in one step.

    Parameters
    ----------
    result : Result
        What `gradflow.train` returned.
    path : path
        The file; its folder must exist.

    Raises
    ------
    StorageError
        Where the file cannot be written.

    Notes
    -----
    Groups: student, teacher, inputs (or jax), end, flow, refinement, channel; settings are JSON in
    attributes, reasons are stored by name and as sentences. A user's own activation, teacher function or
    loss is code and is not stored: an activation by its name, a function by its values at the samples, a
    loss in JAX by its source text, which is a note.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> result = gf.train(teacher, student, progress=False)
    >>> save(result, "run.h5")
    >>> load("run.h5").loss == result.loss
    True
    """
    with written_whole(path) as file:
        write_result(file, result)


def load(
    path: str | os.PathLike,
    *,
    activations: Mapping[str, Activation] | None = None,
    loss: Callable[..., Any] | None = None,
) -> Result:
    """The result stored at `path`, with the same bits.

    Parameters
    ----------
    path : path
        What `save` wrote.
    activations : mapping of str to Activation, optional
        A user's own activations by the names they were saved under.
    loss : callable, optional
        Of a result of `Problem.from_jax` that is to be gone on with: its loss again, which is code and not in
        the file. Without it the numbers are there, and what needs the loss says so.

    Returns
    -------
    Result

    Raises
    ------
    StorageError
        For a file that is missing, truncated, foreign or of a newer schema, and for an activation that is
        neither in the table nor given.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, progress=False).save("run.h5")
    >>> load("run.h5").student
    MLP(4-2-1, erf, no biases, 10 parameters)
    """
    with opened(path, FORMAT, SCHEMA) as file:
        return read_result(file, {**ACTIVATIONS, **(activations or {})}, loss)


def write_result(file, result: Result) -> None:
    """Write a result into an HDF5 file or a group of one."""
    write_header(file, FORMAT, SCHEMA)
    file.attrs["conventions"] = json.dumps(_CONVENTIONS)
    write_problem(file, result.problem)
    end = file.create_group("end")
    write_array(end, "theta", result.theta)
    write_array(end, "rates", result.rates)
    end.attrs.update(
        loss=result.loss, grad_norm=result.grad_norm, converged=result.converged, seconds=result.seconds
    )
    end.attrs["end"] = result.end.to_json()
    if result.problem.student is None:
        names = ("critical", "zero_loss", "flow_ended", "flat_directions")
        end.attrs["verdicts"] = json.dumps({name: getattr(result, name) for name in names})
    if result.reduced_dim is not None:
        end.attrs["reduced_dim"] = result.reduced_dim
    spectrum = result.spectrum_at_hand
    if spectrum is not None:
        _write_spectrum(end, spectrum)
    if result.seed is not None:
        end.attrs["seed"] = result.seed
    if result.flow is not None:
        group = file.create_group("flow")
        for name in _FLOW_ARRAYS:
            write_array(group, name, getattr(result.flow, name))
        group.attrs.update(
            accepted=result.flow.accepted,
            rejected=result.flow.rejected,
            compile_seconds=result.flow.compile_seconds,
        )
        if result.flow.events is not None:
            events = group.create_group("events")
            for name, value in dataclasses.asdict(result.flow.events).items():
                write_array(events, name, value)
        _write_stage(group, result.flow)
    if result.channel is not None:
        group = file.create_group("channel")
        group.attrs["kind"] = _KINDS[type(result.channel)]
        numbers: dict = {}
        if isinstance(result.channel, Limit):
            _write_limit(group, result.channel)
        else:
            numbers = dataclasses.asdict(result.channel)
        for name, value in numbers.items():
            if isinstance(value, np.ndarray):
                write_array(group, name, value)
            elif value is not None:
                group.attrs[name] = value
    if result.refinement is not None:
        group = file.create_group("refinement")
        write_array(group, "theta", result.refinement.theta)
        group.attrs.update(
            loss=result.refinement.loss,
            grad_norm=result.refinement.grad_norm,
            iterations=result.refinement.iterations,
        )
        _write_stage(group, result.refinement)
        if result.refinement.stalled is not None:
            group.attrs["stalled"] = np.array(result.refinement.stalled, dtype=np.float64)
        extended = result.refinement.extended
        if extended is not None:
            write_array(group, "theta_low", extended.theta_low)
            group.attrs.update(
                loss_low=extended.loss_low,
                loss_bound=extended.loss_bound,
                extended_iterations=extended.iterations,
            )
    kinds = {
        "student": (MLP,), "teacher": (MLP, Problem), "jax": (Problem,),
        "inputs": (Samples, Gaussian, Mixture), "flow/events": (Events,), "flow": (Flow,),
        "refinement": (Refinement, Extended), "channel": (Channel, Recession, LimitNetwork),
        "end": (Result, Spectrum),
    }  # fmt: skip
    for name, described in kinds.items():
        if name in file:
            describe(file[name], *described)


def _write_stage(group, stage) -> None:
    group.attrs["stop_reason"] = stage.stop_reason.name
    group.attrs["stop_sentence"] = stage.stop_reason.value
    group.attrs["seconds"] = stage.seconds
    group.attrs["counts"] = np.array(stage.counts, dtype=np.int64)
    group.attrs["counts_of"] = ", ".join(Counts._fields)
    group.attrs["settings"] = json.dumps(stage.settings)


def read_result(
    file, activations: Mapping[str, Activation], loss: Callable[..., Any] | None = None
) -> Result:
    """The result in a file or group, with the user's own activations by name, and own loss."""
    end = file["end"]
    flow = refinement = None
    if "flow" in file:
        group = file["flow"]
        flow = Flow(
            **{name: group[name][()] for name in _FLOW_ARRAYS},
            accepted=int(group.attrs["accepted"]),
            rejected=int(group.attrs["rejected"]),
            compile_seconds=float(group.attrs["compile_seconds"]),
            events=_read_events(group),
            **_read_stage(group),
        )
    if "refinement" in file:
        group = file["refinement"]
        refinement = Refinement(
            theta=group["theta"][()],
            loss=float(group.attrs["loss"]),
            grad_norm=float(group.attrs["grad_norm"]),
            iterations=int(group.attrs["iterations"]),
            extended=_read_extended(group),
            stalled=_read_stalled(group),
            **_read_stage(group),
        )
    problem = read_problem(file, activations, loss)
    rates = end["rates"][()]
    reduced_dim = int(end.attrs["reduced_dim"]) if "reduced_dim" in end.attrs else None
    result = Result(
        problem=problem,
        theta=end["theta"][()],
        rates=rates,
        loss=float(end.attrs["loss"]),
        grad_norm=float(end.attrs["grad_norm"]),
        seconds=float(end.attrs["seconds"]),
        seed=int(end.attrs["seed"]) if "seed" in end.attrs else None,
        flow=flow,
        refinement=refinement,
        reduced_dim=reduced_dim,
        channel=_read_channel(file["channel"], activations) if "channel" in file else None,
    )
    if "hessian_eigenvalues" in end and "numbers" in end["hessian_eigenvalues"].attrs:
        result.__dict__["_spectrum"] = _read_spectrum(end["hessian_eigenvalues"])
    if isinstance(problem.objective, StoredLoss):  # what the loss would be needed for
        verdicts = json.loads(end.attrs["verdicts"])
        known = End.from_json(end.attrs["end"])
        result.__dict__.update(verdicts, kernel_error=0.0, end=known)
        return result
    result.with_stepper()
    recomputed = result.problem.loss(result.theta)
    if (
        not abs(recomputed - result.loss)
        <= 1e-9 * abs(result.loss) + 1e3 * result.problem.objective.loss_floor
    ):
        if np.isfinite(result.loss):
            raise StorageError(
                f"the loss of the stored point is {recomputed:.17g}, but {result.loss:.17g} was stored: "
                "not the activations that the file was written with, or a damaged file"
            )
    if "end" in end.attrs:
        result.__dict__["end"] = End.from_json(end.attrs["end"])
    return result


def _write_spectrum(group, spectrum: Spectrum) -> None:
    write_array(group, "hessian_eigenvalues", spectrum.eigenvalues)
    numbers = {field.name: getattr(spectrum, field.name) for field in dataclasses.fields(spectrum)}
    del numbers["eigenvalues"]
    group["hessian_eigenvalues"].attrs["numbers"] = json.dumps(numbers)


def _read_spectrum(dataset) -> Spectrum:
    numbers = json.loads(dataset.attrs["numbers"])
    numbers["inertia"] = Inertia(*numbers["inertia"])
    return Spectrum(dataset[()], **numbers)


def _read_events(group) -> Events | None:
    return Events(**{name: rows[()] for name, rows in group["events"].items()}) if "events" in group else None


def _write_limit(group, limit: Limit) -> None:
    network = limit.network
    units = [
        [[u.kind, u.neurons, u.activation.name, u.side, u.base, u.free] for u in layer]
        for layer in network.layers
    ]
    group.attrs["units"] = json.dumps(units)
    group.attrs["constants"] = json.dumps(network.constants)
    group.attrs["approaches"] = json.dumps([dataclasses.astuple(a) for a in limit.approaches])
    for name in ("loss", "loss_error", "grad_norm", "distance"):
        group.attrs[name] = getattr(limit, name)
    for k, W in enumerate(network.weights):
        write_array(group, f"weights{k}", W)
    write_array(
        group, "values", np.concatenate([np.zeros(0), *(v for layer in network.values for v in layer)])
    )


def _read_limit(group, activations: Mapping[str, Activation]) -> Limit:
    layers = tuple(
        tuple(
            Unit(kind, tuple(neurons), activations[name], side, base, tuple(free))
            for kind, neurons, name, side, base, free in layer
        )
        for layer in json.loads(group.attrs["units"])
    )
    weights = tuple(group[f"weights{k}"][()] for k in range(len(layers) + 1))
    values = tuple(tuple(np.zeros(len(unit.free)) for unit in layer) for layer in layers)
    network = LimitNetwork(layers, weights, tuple(json.loads(group.attrs["constants"])), values)
    phi = np.concatenate([*(W.ravel() for W in weights), group["values"][()]])
    numbers = {name: float(group.attrs[name]) for name in ("loss", "loss_error", "grad_norm", "distance")}
    approaches = tuple(Approach(*entry) for entry in json.loads(group.attrs["approaches"]))
    return Limit(network.with_flat(phi), approaches=approaches, **numbers)


def _read_channel(group, activations: Mapping[str, Activation]) -> Infinity:
    apart = ("kind", "pair", "signs", "units", "constants", "approaches")
    numbers = {name: value.item() for name, value in group.attrs.items() if name not in apart}
    if group.attrs["kind"] == "neuron":
        return Saturation(**numbers)
    if group.attrs["kind"] == "network":
        return _read_limit(group, activations)
    arrays = {name: group[name][()] for name in group}
    if group.attrs["kind"] == "direction":
        return Recession(**numbers, **arrays)
    i, j = (int(n) for n in group.attrs["pair"])
    s, t = (int(n) for n in group.attrs["signs"])
    return Channel(pair=(i, j), signs=(s, t), **numbers, **arrays)


def _read_stalled(group) -> Stalled | None:
    if "stalled" not in group.attrs:
        return None
    residual, products, condition = (float(x) for x in group.attrs["stalled"])
    return Stalled(residual, int(products), condition)


def _read_extended(group) -> Extended | None:
    if "theta_low" not in group:
        return None
    return Extended(
        theta_low=group["theta_low"][()],
        loss_low=float(group.attrs["loss_low"]),
        loss_bound=float(group.attrs["loss_bound"]),
        iterations=int(group.attrs["extended_iterations"]),
    )


def _read_stage(group) -> dict:
    return {
        "stop_reason": StopReason[group.attrs["stop_reason"]],
        "seconds": float(group.attrs["seconds"]),
        "counts": Counts(*(int(n) for n in group.attrs["counts"])),
        "settings": json.loads(group.attrs["settings"]),
    }
