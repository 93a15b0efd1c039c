"""Problems in HDF5 groups: student, teacher, inputs, options."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...activations import ACTIVATIONS, Activation, resolve
from ...inputs import Gaussian, Inputs, Mixture, Samples
from ...losses.problem import Problem
from ...losses.structure import Structure
from ...networks import MLP
from ...spherical import LAWS, Spherical
from ...support.errors import StorageError
from ...support.files import write_array


def write_problem(file, problem: Problem) -> None:
    """Groups student, teacher and inputs, and the attribute problem."""
    if problem.student is None:
        _write_jax(file.create_group("jax"), problem)
        return
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
    if problem.classes_ is not None:
        file.attrs["classes"] = json.dumps(problem.classes_.tolist())


def read_problem(
    file, activations: Mapping[str, Activation], loss: Callable[..., Any] | None = None
) -> Problem:
    """The problem that `write_problem` stored; for one of `Problem.from_jax` with its `loss`, if given."""
    if "jax" in file:
        return _read_jax(file["jax"], loss)
    if loss is not None:
        raise StorageError("loss is for results of Problem.from_jax: this one knows its own")
    student = _read_network(file["student"], activations)
    if file["teacher"].attrs["kind"] == "network":
        teacher = _read_network(file["teacher"], activations)
    else:
        teacher = file["teacher/targets"][()]
    law = _read_inputs(file["inputs"])
    problem = Problem(teacher, student, law, **json.loads(file.attrs["problem"]))
    if "classes" in file.attrs:
        problem.classes_ = np.array(json.loads(file.attrs["classes"]))
    return problem


def _write_jax(group, problem: Problem) -> None:
    """The starting point, its structure, and the source text of the loss, which is a note and never run."""
    write_array(group, "theta0", problem.theta0)
    group.attrs["floor"] = problem.objective.loss_floor
    if problem.structure is not None:
        group.attrs["structure"] = problem.structure.text()
    if problem.source is not None:
        group.attrs["source"] = problem.source


def _read_jax(group, loss: Callable[..., Any] | None) -> Problem:
    structure = Structure.read(group.attrs["structure"]) if "structure" in group.attrs else None
    theta0 = group["theta0"][()]
    if loss is None:
        source = group.attrs.get("source")
        return Problem.stored(theta0, structure, source, float(group.attrs["floor"]))
    return Problem.from_jax(loss, theta0 if structure is None else structure.tree(theta0))


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
