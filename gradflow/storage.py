"""Results in HDF5 files: self-describing, no pickle, written whole or not at all."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ._coordinates import coordinates_of
from ._version import __version__
from .activations import ACTIVATIONS, Activation, resolve
from .channels import Channel
from .errors import GradflowError, StorageError
from .inputs import Gaussian, Inputs, Mixture, Samples
from .losses.base import Counts
from .losses.problem import Problem
from .networks import MLP
from .refiners import Extended, Refinement, SmallEigenvalues
from .result import Result, Spectrum
from .saturation import Saturation
from .solvers import Flow
from .spherical import LAWS, Spherical
from .stopping import StopReason

FORMAT = "gradflow result"
SCHEMA = 1

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

    Groups: student, teacher, inputs, end, flow, refinement, channel; settings are JSON in attributes, reasons
    are stored by name and as sentences. A user's own activation or teacher function is code and is
    not stored: an activation by its name, a function by its values at the samples. Raises
    `StorageError` where the file cannot be written, or for a problem made by `Problem.from_jax`.
    """
    with written_whole(path) as file:
        _write(file, result)


@contextmanager
def written_whole(path: str | os.PathLike):
    """A new HDF5 file that replaces `path` in one step at the end of the block, or not at all."""
    import h5py

    target = Path(path)
    handle = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        os.close(handle)
        try:
            with h5py.File(name, "w") as file:
                yield file
            # mkstemp makes the file private; give it the permissions that open() would have given.
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({error})") from error


def load(path: str | os.PathLike, *, activations: Mapping[str, Activation] | None = None) -> Result:
    """The result stored at `path`, with the same bits.

    activations   a user's own activations by the names they were saved under

    Raises `StorageError` for a file that is missing, truncated, foreign or of a newer schema, and for
    an activation that is neither in the table nor given.
    """
    with opened(path, FORMAT, SCHEMA) as file:
        return _read(file, {**ACTIVATIONS, **(activations or {})})


@contextmanager
def opened(path: str | os.PathLike, form: str, newest: int):
    """An HDF5 file of this format, up to this schema, for reading; trouble becomes a `StorageError`."""
    import h5py

    if not isinstance(path, (str, os.PathLike)):
        raise StorageError(f"path: got {path!r}; allowed: the path of a file")
    if not Path(path).is_file():
        raise StorageError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != form:
                raise StorageError(f"{path}: an HDF5 file, but not a {form!r}")
            schema = int(file.attrs["schema"])
            if schema < 1 or schema > newest:
                raise StorageError(
                    f"{path}: schema {schema}, written by gradflow {file.attrs.get('gradflow')}; "
                    f"this gradflow {__version__} reads up to schema {newest}"
                )
            yield file
    except StorageError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, GradflowError) as error:
        raise StorageError(f"{path}: not a complete {form} ({error})") from error


def write_header(file, form: str, schema: int) -> None:
    """Which format this is, and what wrote it."""
    file.attrs["format"] = form
    file.attrs["schema"] = schema
    file.attrs["gradflow"] = __version__
    file.attrs["written"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    file.attrs["versions"] = json.dumps(
        {"python": platform.python_version()}
        | {package: version(package) for package in ("numpy", "scipy", "numba", "jax", "diffrax", "h5py")}
    )


def write_problem(file, problem: Problem) -> None:
    """Groups student, teacher and inputs, and the attribute problem."""
    if problem.student is None:
        raise StorageError("a problem made by Problem.from_jax is code and cannot be stored")
    _write_network(file.create_group("student"), problem.student)
    teacher = file.create_group("teacher")
    if isinstance(problem.teacher, MLP):
        teacher.attrs["kind"] = "network"
        _write_network(teacher, problem.teacher)
    else:
        teacher.attrs["kind"] = "targets"
        assert problem.targets is not None
        write_array(teacher, "targets", problem.targets)
    _write_inputs(file.create_group("inputs"), problem.inputs)
    file.attrs["problem"] = json.dumps({"reduce": problem.reduce, **problem.options})


def read_problem(file, activations: Mapping[str, Activation]) -> Problem:
    """The problem that `write_problem` stored."""
    student = _read_network(file["student"], activations)
    if file["teacher"].attrs["kind"] == "network":
        teacher = _read_network(file["teacher"], activations)
    else:
        teacher = file["teacher/targets"][()]
    law = _read_inputs(file["inputs"])
    return Problem(teacher, student, law, **json.loads(file.attrs["problem"]))


def _write(file, result: Result) -> None:
    write_header(file, FORMAT, SCHEMA)
    file.attrs["conventions"] = json.dumps(_CONVENTIONS)
    write_problem(file, result.problem)
    end = file.create_group("end")
    write_array(end, "theta", result.theta)
    write_array(end, "rates", result.rates)
    end.attrs.update(
        loss=result.loss, grad_norm=result.grad_norm, converged=result.converged, seconds=result.seconds
    )
    if result.reduced_dim is not None:
        end.attrs["reduced_dim"] = result.reduced_dim
    spectrum = result.spectrum_at_hand
    if spectrum is not None:
        write_array(end, "hessian_eigenvalues", spectrum.eigenvalues)
        end.attrs["hessian_order"] = spectrum.order or spectrum.eigenvalues.size
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
        _write_stage(group, result.flow)
    if result.channel is not None:
        group = file.create_group("channel")
        group.attrs["kind"] = "pair" if isinstance(result.channel, Channel) else "neuron"
        for name, value in dataclasses.asdict(result.channel).items():
            if isinstance(value, np.ndarray):
                write_array(group, name, value)
            else:
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
        if result.refinement.small_eigenvalues is not None:
            group.attrs["small_eigenvalues"] = np.array(result.refinement.small_eigenvalues)
        extended = result.refinement.extended
        if extended is not None:
            write_array(group, "theta_low", extended.theta_low)
            group.attrs.update(
                loss_low=extended.loss_low,
                loss_bound=extended.loss_bound,
                extended_iterations=extended.iterations,
            )


def write_array(group, name: str, values: np.ndarray) -> None:
    """A data set with a checksum, so that a damaged file is noticed."""
    checked = (
        {"fletcher32": True, "chunks": values.shape if values.nbytes < 2**30 else True} if values.size else {}
    )
    group.create_dataset(name, data=values, **checked)


def _write_network(group, network: MLP) -> None:
    layers = [entry if isinstance(entry, tuple) else (entry,) for entry in network.activations]
    known: dict[str, Activation] = dict(ACTIVATIONS)
    for activation in (a for layer in layers for a in layer):
        if known.setdefault(activation.name, activation) != activation:
            raise StorageError(
                f"two activations are called {activation.name!r}: give them names of their own to store them"
            )
    names = [[a.name for a in layer] for layer in layers]
    group.attrs["activations"] = json.dumps(names)
    group.attrs["layers"] = len(network.weights)
    for i, (W, b) in enumerate(zip(network.weights, network.biases)):
        write_array(group, f"weights_{i}", W)
        if b is not None:
            write_array(group, f"bias_{i}", b)


def _write_inputs(group, inputs) -> None:
    if isinstance(inputs, Spherical):
        name = type(inputs).__name__
        if LAWS.get(name) is not type(inputs):
            raise StorageError(f"the law {name!r} of the inputs is a user's own: code cannot be stored")
        group.attrs.update(kind=name, parameters=json.dumps(inputs.parameters))
    elif isinstance(inputs, Mixture):
        group.attrs["kind"] = "mixture"
        write_array(group, "weights", inputs.weights)
        for i, law in enumerate(inputs.components):
            _write_inputs(group.create_group(f"component_{i}"), law)
    else:
        group.attrs["kind"] = "gaussian" if isinstance(inputs, Gaussian) else "samples"
        names = ("mean", "cov") if isinstance(inputs, Gaussian) else ("X", "sample_weight")
        for name in names:
            if getattr(inputs, name) is not None:
                write_array(group, name, getattr(inputs, name))


def _write_stage(group, stage) -> None:
    group.attrs["stop_reason"] = stage.stop_reason.name
    group.attrs["stop_sentence"] = stage.stop_reason.value
    group.attrs["seconds"] = stage.seconds
    group.attrs["counts"] = np.array(stage.counts, dtype=np.int64)
    group.attrs["settings"] = json.dumps(stage.settings)


def _read(file, activations: Mapping[str, Activation]) -> Result:
    end = file["end"]
    flow = refinement = None
    if "flow" in file:
        group = file["flow"]
        flow = Flow(
            **{name: group[name][()] for name in _FLOW_ARRAYS},
            accepted=int(group.attrs["accepted"]),
            rejected=int(group.attrs["rejected"]),
            compile_seconds=float(group.attrs["compile_seconds"]),
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
            small_eigenvalues=SmallEigenvalues(*(int(n) for n in group.attrs["small_eigenvalues"]))
            if "small_eigenvalues" in group.attrs
            else None,
            **_read_stage(group),
        )
    problem = read_problem(file, activations)
    rates = end["rates"][()]
    reduced_dim = int(end.attrs["reduced_dim"]) if "reduced_dim" in end.attrs else None
    if flow is not None:
        flow = coordinates_of(problem, rates, reduced_dim).attach(flow)
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
        channel=_read_channel(file["channel"]) if "channel" in file else None,
    )
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
    if "hessian_eigenvalues" in end:
        values = end["hessian_eigenvalues"][()]
        result.__dict__["_spectrum"] = Spectrum(values, int(end.attrs.get("hessian_order", values.size)))
    return result


def _read_inputs(group) -> Inputs:
    kind = group.attrs["kind"]
    if kind in LAWS:
        return LAWS[kind](**json.loads(group.attrs["parameters"]))
    if kind == "mixture":
        weights = group["weights"][()]
        law = Mixture([_read_inputs(group[f"component_{i}"]) for i in range(weights.size)])
        law.weights = weights  # as stored, not divided by their sum again
        return law
    parts = {name: group[name][()] for name in group}
    return Gaussian(**parts) if kind == "gaussian" else Samples(**parts)


def _read_channel(group) -> Channel | Saturation:
    numbers = {name: value.item() for name, value in group.attrs.items() if name not in ("pair", "kind")}
    if group.attrs["kind"] == "neuron":
        return Saturation(**numbers)
    arrays = {name: group[name][()] for name in group}
    i, j = (int(n) for n in group.attrs["pair"])
    return Channel(pair=(i, j), **numbers, **arrays)


def _read_extended(group) -> Extended | None:
    if "theta_low" not in group:
        return None
    return Extended(
        theta_low=group["theta_low"][()],
        loss_low=float(group.attrs["loss_low"]),
        loss_bound=float(group.attrs["loss_bound"]),
        iterations=int(group.attrs["extended_iterations"]),
    )


def _read_network(group, activations: Mapping[str, Activation]) -> MLP:
    layers = []
    for names in json.loads(group.attrs["activations"]):
        unknown = [n for n in names if n not in activations and not n.startswith("polynomial(")]
        if unknown:
            given = f"load(path, activations={{{unknown[0]!r}: …}})"
            raise StorageError(f"the activation {unknown[0]!r} is a user's own: {given}")
        layer = tuple(activations[name] if name in activations else resolve(name) for name in names)
        layers.append(layer[0] if len(layer) == 1 else layer)
    count = int(group.attrs["layers"])
    weights = [group[f"weights_{i}"][()] for i in range(count)]
    biases = [group[f"bias_{i}"][()] if f"bias_{i}" in group else None for i in range(count)]
    return MLP(weights, biases, layers)


def _read_stage(group) -> dict:
    return {
        "stop_reason": StopReason[group.attrs["stop_reason"]],
        "seconds": float(group.attrs["seconds"]),
        "counts": Counts(*(int(n) for n in group.attrs["counts"])),
        "settings": json.loads(group.attrs["settings"]),
    }
