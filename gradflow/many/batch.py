"""What a batch of runs brings back: results and failures in order, as a table, in classes, in one file."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import scipy.stats

from ..activations import ACTIVATIONS, Activation
from ..landscape.neurons import kinds
from ..landscape.symmetries import SAME_POINT, same_point
from ..landscape.table import Frame, table
from ..run.result import Result
from ..run.storage import load as load_result
from ..run.storage.results import read_result, write_result
from ..support.errors import GradflowError
from ..support.files import form_of, in_memory, opened, write_header, written_whole
from .pool import NotStarted
from .shared import copy
from .store import full_disk

FORMAT, SCHEMA = "gradflow batch", 1
CONFIDENCE = 0.95
"""Level of the intervals of shares."""


@dataclasses.dataclass(frozen=True, eq=False)
class Failure:
    """A start without a result: its place in the batch and the exception that ended it.

    Attributes
    ----------
    index : int
        Its place in the batch.
    error : BaseException
        What ended it.

    Examples
    --------
    >>> gf.Failure(3, ValueError("nothing to train"))
    Failure(index=3, error=ValueError('nothing to train'))
    """

    index: int
    error: BaseException

    def __str__(self) -> str:
        return f"start {self.index} failed: {type(self.error).__name__}: {self.error}"


@dataclasses.dataclass(frozen=True, eq=False)
class PointClass:
    """Runs that ended at one point up to the symmetries of its hidden neurons.

    Attributes
    ----------
    members : tuple of int
        Their places in the batch.
    example : Result
        The one with the smallest gradient.
    share : float
        len(members) over the runs that ended at any critical point.
    interval : tuple of two floats
        Wilson's 95 % interval of that share.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> found = gf.train_many(teacher, student, starts=3, progress=False).classes()[0]
    >>> len(found.members), found.example.converged
    (2, True)
    """

    members: tuple[int, ...]
    example: Result
    share: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        return f"{len(self.members)} runs ({low:.1%} to {high:.1%}), loss {self.example.loss:.12g}"


class Batch(Sequence):
    """The results of `train_many`, in the order of the students; a start that failed is a `Failure`.

    Parameters
    ----------
    entries : iterable of Result and Failure
        A batch is a sequence of them; slices are batches.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> batch = gf.train_many(teacher, student, starts=3, progress=False)
    >>> len(batch), len(batch.failures), batch.best.converged
    (3, 0, True)
    >>> [len(found.members) for found in batch.classes()]
    [2, 1]
    """

    def __init__(self, entries: Iterable[Result | Failure]):
        self._entries = tuple(entries)
        self._classes: dict[float, list[PointClass]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index):
        return Batch(self._entries[index]) if isinstance(index, slice) else self._entries[index]

    @property
    def results(self) -> list[Result]:
        """The entries that are results."""
        return [entry for entry in self._entries if isinstance(entry, Result)]

    @property
    def failures(self) -> list[Failure]:
        """The entries that are none."""
        return [entry for entry in self._entries if isinstance(entry, Failure)]

    @property
    def best(self) -> Result:
        """The result with the lowest loss; of losses that agree within their rounding, the smallest gradient.

        Raises `GradflowError` where no start has a result.
        """
        if not self.results:
            raise GradflowError("no start of this batch has a result: see its failures")
        lowest = min(self.results, key=lambda result: result.loss)
        level = lowest.loss + 2.0 * lowest.loss_bound
        return min((r for r in self.results if r.loss <= level), key=lambda result: result.grad_norm)

    def classes(self, tolerance: float = SAME_POINT) -> list[PointClass]:
        """The different critical points that were reached, most frequent first.

        Two runs are in one class if `landscape.same_point` says so within `tolerance`. Runs that did not
        converge are in none. Points that a symmetry of the teacher takes to each other (another choice of
        which of its neurons are copied) count as different; their losses agree.
        """
        if tolerance not in self._classes:
            self._classes[tolerance] = self._grouped(tolerance)
        return self._classes[tolerance]

    def _grouped(self, tolerance: float) -> list[PointClass]:
        ended = [(i, r) for i, r in enumerate(self._entries) if isinstance(r, Result) and r.converged]
        groups: list[list[tuple[int, Result]]] = []
        for place, result in ended:
            for group in groups:
                if same_point(group[0][1], result, tolerance).same:
                    group.append((place, result))
                    break
            else:
                groups.append([(place, result)])
        found = []
        for group in sorted(groups, key=lambda g: (-len(g), g[0][1].loss)):
            test = scipy.stats.binomtest(len(group), len(ended))
            interval = test.proportion_ci(CONFIDENCE, method="wilson")
            found.append(
                PointClass(
                    tuple(place for place, _ in group),
                    min((result for _, result in group), key=lambda result: result.grad_norm),
                    len(group) / len(ended),
                    (float(interval.low), float(interval.high)),
                )
            )
        return found

    def table(self, *, classes: bool = True, labels: bool = True) -> Frame:
        """One row a start: a pandas DataFrame where pandas is installed, else a list of dictionaries.

        start, seed, loss, grad_norm, converged, end (the kind of `Result.end`), flow_ended
        (`Result.flow_ended`), flow_stop, refinement_stop, seconds, failure; with `classes` the number of its
        class in `classes()`, most frequent first; with `labels` how many of its neurons have each label of
        `landscape.neurons`, in words. Both for one hidden layer.
        """
        place = {}
        if classes and self._one_hidden_layer():
            place = {member: i for i, group in enumerate(self.classes()) for member in group.members}
        rows = []
        for i, entry in enumerate(self._entries):
            row: dict = {"start": i} | row_of(entry)
            if classes:
                row["class"] = place.get(i)
            if labels:
                row["labels"] = labels_of(entry)
            rows.append(row)
        return table(rows)

    def _one_hidden_layer(self) -> bool:
        students = [r.problem.student for r in self.results]
        return all(s is not None and len(s.weights) == 2 for s in students)

    def save(self, path: str | os.PathLike) -> None:
        """Write all entries to one HDF5 file at `path`, in one step; `gradflow.load` reads it.

        Long arrays are compressed, and equal ones (the samples, the teacher) are there once. Failures are
        kept as their text. Raises `StorageError` as `Result.save` does.
        """
        known: dict[bytes, str] = {}
        with full_disk(path, "make room, and save again"), written_whole(path) as file:
            write_header(file, FORMAT, SCHEMA)
            file.attrs["count"] = len(self)
            for i, entry in enumerate(self._entries):
                group = file.create_group(str(i))
                if isinstance(entry, Result):
                    with in_memory() as single:
                        write_result(single, entry)
                        copy(single, group, known)
                else:
                    group.attrs["failure"] = json.dumps([type(entry.error).__name__, str(entry.error)])

    @staticmethod
    def load(path: str | os.PathLike, *, activations: Mapping[str, Activation] | None = None) -> Batch:
        """The batch stored at `path`; failures come back as `GradflowError` with their text.

        `activations` as in `gradflow.load`.
        """
        known = {**ACTIVATIONS, **(activations or {})}
        entries: list[Result | Failure] = []
        with opened(path, FORMAT, SCHEMA) as file:
            for i in range(int(file.attrs["count"])):
                group = file[str(i)]
                if "failure" in group.attrs:
                    kind, text = json.loads(group.attrs["failure"])
                    entries.append(Failure(i, GradflowError(f"{kind}: {text}")))
                else:
                    entries.append(read_result(group, known))
        return Batch(entries)

    def __str__(self) -> str:
        results = self.results
        converged = sum(r.converged for r in results)
        lines = [f"batch of {len(self)}: {converged} converged, {len(results) - converged} not, "
                 f"{len(self.failures)} failed"]  # fmt: skip
        kinds_of_ends = Counter(r.end.kind for r in results)
        if results:
            lines.append("  ends: " + ", ".join(f"{n} {kind}" for kind, n in kinds_of_ends.most_common()))
        stopped = sum(r.converged and r.flow_ended is False for r in results)
        if stopped:
            lines.append(
                f"  {stopped} converged from where the flow was stopped, perhaps not to where it leads"
            )
        if results:
            lines.append(f"  lowest loss {self.best.loss:.12g} (|∇L| = {self.best.grad_norm:.1e})")
        if converged and self._one_hidden_layer():
            lines += [f"  class {i}: {group}" for i, group in enumerate(self.classes()[:10])]
            if len(self.classes()) > 10:
                lines.append(f"  … {len(self.classes()) - 10} more: batch.classes()")
        lines += [f"  {failure}" for failure in self.failures[:3]]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Batch: {len(self.results)} results, {len(self.failures)} failures>"


def load(
    path: str | os.PathLike,
    *,
    activations: Mapping[str, Activation] | None = None,
    loss: Callable[..., Any] | None = None,
) -> Result | Batch:
    """What `Result.save` or `Batch.save` wrote, with the same bits.

    Parameters
    ----------
    path : path
        The file.
    activations : mapping of str to Activation, optional
        A user's own activations by the names they were saved under.
    loss : callable, optional
        Of a result of `Problem.from_jax` that is to be gone on with: its loss again, which is code and not in
        the file. Without it the numbers are there, and what needs the loss says so.

    Returns
    -------
    Result or Batch

    Raises
    ------
    StorageError
        For a file that is missing, truncated, foreign or of a newer schema, and for an activation that is
        neither in the table nor given.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> result = gf.train(teacher, student, progress=False)
    >>> result.save("run.h5")
    >>> bool((gf.load("run.h5").theta == result.theta).all())
    True
    """
    if form_of(path) == FORMAT:
        return Batch.load(path, activations=activations)
    return load_result(path, activations=activations, loss=loss)


def row_of(entry: Result | Failure) -> dict:
    """The plain values of one run."""
    if isinstance(entry, Failure):
        unknown = dict.fromkeys(
            (
                "seed",
                "loss",
                "grad_norm",
                "converged",
                "end",
                "flow_ended",
                "flow_stop",
                "refinement_stop",
                "seconds",
            )
        )
        word = (
            "not started"
            if isinstance(entry.error, NotStarted)
            else f"{type(entry.error).__name__}: {entry.error}"
        )
        return unknown | {"failure": word}
    return {
        "seed": entry.seed,
        "loss": float(entry.loss),
        "grad_norm": float(entry.grad_norm),
        "converged": bool(entry.converged),
        "end": entry.end.kind,
        "flow_ended": entry.flow_ended,
        "flow_stop": None if entry.flow is None else entry.flow.stop_reason.name,
        "refinement_stop": None if entry.refinement is None else entry.refinement.stop_reason.name,
        "seconds": float(entry.seconds),
        "failure": None,
    }


def labels_of(entry: Result | Failure) -> str | None:
    """The labels of a result's neurons, counted: "2 copy, 1 average"."""
    if isinstance(entry, Failure) or entry.problem.student is None or len(entry.problem.student.weights) != 2:
        return None
    counted = sorted(Counter(kinds(entry)).items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {kind}" for kind, count in counted)
