"""Checkpoints: a run that is interrupted anywhere, and goes on from its file with the same bits."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..activations import ACTIVATIONS, Activation
from ..losses.problem import Problem
from ..networks import MLP
from ..objective import Counts
from ..solvers import Checkpoint, FlowState
from ..support.errors import ArgumentError
from ..support.files import opened, write_array, write_header, written_whole
from .plan import Plan
from .storage.problems import read_problem, write_problem

FORMAT = "gradflow checkpoint"
SCHEMA = 3
"""Of the compiled loop's state: an older one cannot be continued."""

EVERY_SECONDS = 2.0
"""A checkpoint is written so often, but never takes more than a tenth of the time."""

_ARRAYS = ("numbers", "integers", "vectors", "rows")


class CheckpointFile(Checkpoint):
    """The file of a run: its problem and settings, and the state of its flow (`solvers.FlowState`).

    plan    what `train` was asked to do
    state   the state that was read, None for a new run

    Written under another name and moved into place in one step, so that at every moment the file is
    whole. Raises `StorageError` for what cannot be stored.
    """

    def __init__(self, path, problem: Problem, rates: np.ndarray, plan: Plan, state: FlowState | None = None):
        self.path, self.problem, self.rates, self.plan, self.state = Path(path), problem, rates, plan, state
        self._next = 0.0

    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() >= self._next

    def write(self, state: FlowState) -> None:
        began = time.monotonic()
        with written_whole(self.path) as file:
            write_header(file, FORMAT, SCHEMA)
            write_problem(file, self.problem)
            file.attrs["plan"] = json.dumps(self.plan.settings())
            write_array(file, "rates", self.rates)
            group = file.create_group("flow")
            for name in _ARRAYS:
                write_array(group, name, getattr(state, name))
            group.attrs.update(count=state.count, stride=state.stride, seconds=state.seconds)
            group.attrs["counts"] = np.array(state.counts, dtype=np.int64)
            group.attrs["finished"] = state.finished or ""
        now = time.monotonic()
        self._next = now + max(EVERY_SECONDS, 9.0 * (now - began))


def read_checkpoint(path, activations: Mapping[str, Activation] | None = None) -> CheckpointFile:
    """The run that a checkpoint file belongs to. Raises `StorageError` for a file that is not one."""
    with opened(path, FORMAT, SCHEMA, SCHEMA) as file:
        group = file["flow"]
        state = FlowState(
            **{name: group[name][()] for name in _ARRAYS},
            count=int(group.attrs["count"]),
            stride=int(group.attrs["stride"]),
            counts=Counts(*(int(n) for n in group.attrs["counts"])),
            seconds=float(group.attrs["seconds"]),
            finished=group.attrs["finished"] or None,
        )
        problem = read_problem(file, {**ACTIVATIONS, **(activations or {})})
        plan = Plan.from_settings(json.loads(file.attrs["plan"]))
        return CheckpointFile(path, problem, file["rates"][()], plan, state)


def check_checkpoint(path, problem: Problem) -> None:
    """Raise `ArgumentError` for a path or a problem that a checkpoint cannot be made of."""
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentError("checkpoint", repr(path), "the path of a file")
    if not Path(path).absolute().parent.is_dir():
        raise ArgumentError("checkpoint", str(path), "a path in a folder that exists")
    if Path(path).is_dir():
        raise ArgumentError("checkpoint", f"the folder {path}", "the path of a file")
    if problem.student is None:
        raise ArgumentError("checkpoint", repr(problem), "a problem of networks: from_jax is code")
    for network in (problem.student, problem.teacher):
        for activation in _activations(network):
            if ACTIVATIONS.get(activation.name) != activation:
                given = f"the activation {activation.name!r}, a user's own"
                raise ArgumentError("checkpoint", given, "activations of the table: code cannot be stored")


def _activations(network) -> list[Activation]:
    layers = range(len(network.activations)) if isinstance(network, MLP) else ()
    return [sigma for layer in layers for sigma in network.neuron_activations(layer)]
