"""The command line: `gradflow demo`, `train`, `resume`, `show`, `plot`, `verify`, `info`, `warm`."""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import importlib.util
import itertools
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from . import teachers
from ._version import __version__
from .activations import ACTIVATIONS
from .losses.problem import Problem
from .many import Batch, load, train_many
from .many.batch import row_of
from .networks import MLP
from .run.checkpoint import FORMAT as CHECKPOINT
from .run.checkpoint import read_checkpoint
from .run.result import Result
from .run.training import resume, train
from .solvers import default_solver, known_solvers
from .support.errors import ArgumentError, GradflowError, StorageError
from .support.files import form_of, replacing
from .support.memory import check_memory
from .support.progress import Monitor
from .support.settings import one_of
from .support.stopping import StopReason

EXIT_CODES = """exit codes:
  0    done: converged (every start of a batch), or every check holds
  1    finished, but not converged, or a check does not hold
  2    bad input: one line on standard error says what is allowed
  3    converged, but from where the flow was stopped before its end: perhaps not to where it leads
  4    finished: there is no minimum on this path, and the end at infinity to which it leads is named
  130  interrupted (Ctrl-C); what had been reached is printed and saved
  141  the reader of the output has left (as in `gradflow verify | head`)"""

DEMO = ("gradflow-demo.h5", "gradflow-demo.png")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit code is one of `EXIT_CODES`."""
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        _drop_output()
        return 128 + signal.SIGPIPE


def _run(argv: list[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="gradflow",
        description="Gradient flow of small neural networks, to machine precision.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gradflow {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (_add_demo, _add_train, _add_resume, _add_show, _add_plot, _add_verify, _add_info, _add_warm):
        add(commands)
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments)
    except GradflowError as error:
        print(f"gradflow: {error}", file=sys.stderr)
        return 2


def _drop_output() -> None:
    """Let what is still to be written to standard output go nowhere, without another complaint."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _command(commands, name: str, summary: str, description: str | None = None):
    return commands.add_parser(
        name,
        help=summary,
        description=description or summary,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_outputs(parser, out: str | None = None, plot: str | None = None, csv: bool = False) -> None:
    for name, what, default in (("--out", "HDF5 file", out), ("--plot", "picture", plot)):
        known = "" if default is None else f" (default {default}, numbered anew if it exists)"
        parser.add_argument(name, type=Path, help=f"{what} to write{known}")
    if csv:
        parser.add_argument(
            "--csv", type=Path, help="table to write: the flow's samples, or one line for each start"
        )
    parser.add_argument(
        "--force", "--overwrite", action="store_true", dest="force", help="replace files that exist"
    )


def _add_demo(commands) -> None:
    demo = _command(
        commands, "demo", "train an erf student of 3 neurons on 8 orthonormal teacher neurons, infinite data"
    )
    _add_outputs(demo, *DEMO)
    demo.add_argument("--seed", type=int, default=0, help="of the student's weights (default %(default)s)")
    demo.set_defaults(run=_demo)


def _demo(arguments) -> int:
    drawn = importlib.util.find_spec("matplotlib") is not None
    if not drawn:
        print("no picture: matplotlib is not installed (pip install 'gradflow[plot]')", file=sys.stderr)
        arguments.plot = None
    _name_anew(arguments, drawn)
    _check_outputs(arguments)
    teacher = teachers.orthonormal(width=8, input_dim=9, activation="erf")
    student = MLP.random((9, 3, 1), activation="erf", bias=False, seed=arguments.seed)
    return _finish(train(teacher, student), arguments)


def _name_anew(arguments, drawn: bool) -> None:
    """Names for the demo's files where none are given: both with the first number that neither has."""
    for number in itertools.count(1):
        ends = ["" if number == 1 else f"-{number}"] * 2
        names = [Path(name).with_stem(Path(name).stem + end) for name, end in zip(DEMO, ends)]
        if arguments.force or not any(path.exists() for path in names):
            break
    arguments.out = arguments.out or names[0]
    if drawn:
        arguments.plot = arguments.plot or names[1]


def _add_train(commands) -> None:
    names = ", ".join(ACTIVATIONS)
    parser = _command(
        commands,
        "train",
        "train a student network on a teacher, or on samples from .npy files",
        "Infinite standard Gaussian data unless --inputs is given.",
    )
    parser.add_argument("--student", required=True, metavar="SIZES", help="sizes in-hidden…-out, e.g. 9-3-1")
    parser.add_argument("--activation", default="erf", help=f"of student and teacher: {names}")
    parser.add_argument("--bias", action="store_true", help="student (and random teacher) with biases")
    parser.add_argument("--seed", type=int, default=0, help="of the student's weights (default %(default)s)")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--orthonormal", type=int, metavar="K", help="teacher of K orthonormal neurons")
    source.add_argument("--teacher", metavar="SIZES", help="random teacher of these sizes, e.g. 2-4-1")
    source.add_argument("--targets", type=Path, metavar="Y.npy", help="targets (samples, outputs)")
    parser.add_argument(
        "--teacher-seed", type=int, default=1, help="of a random teacher (default %(default)s)"
    )
    parser.add_argument("--inputs", type=Path, metavar="X.npy", help="samples (samples, features)")
    parser.add_argument(
        "--samples", type=int, metavar="N", help="N standard Gaussian samples drawn with --seed"
    )
    how = parser.add_argument_group("how to follow the flow")
    how.add_argument("--solver", metavar="NAME", help="method, or none: refinement only (default: by size)")
    how.add_argument("--rtol", type=float, help="tolerance per step, absolute too")
    how.add_argument("--t1", type=float, help="time at which the flow is stopped")
    how.add_argument("--starts", type=int, metavar="N", help="a batch of N students drawn with --seed")
    how.add_argument(
        "--checkpoint",
        type=Path,
        metavar="PATH",
        help="file from which `gradflow resume` goes on; with --starts a folder, and the same line goes on",
    )
    what = parser.add_argument_group("what is minimised, with samples")
    what.add_argument("--loss", default="squared", help="squared or cross_entropy (default %(default)s)")
    what.add_argument("--weight-decay", type=float, default=0.0, metavar="λ", help="adds λ‖θ‖²")
    _add_outputs(parser, csv=True)
    parser.set_defaults(run=_train)


def _train(arguments) -> int:
    _check_outputs(arguments)
    sizes = _sizes("--student", arguments.student)
    student = MLP.random(sizes, arguments.activation, arguments.bias, seed=arguments.seed)
    if arguments.inputs is not None and arguments.samples is not None:
        raise ArgumentError("--samples", arguments.samples, "only without --inputs")
    inputs = None
    if arguments.inputs is not None:
        inputs = _read("--inputs", arguments.inputs)
    elif arguments.samples is not None:
        if arguments.samples < 1:
            raise ArgumentError("--samples", arguments.samples, "an integer ≥ 1")
        check_memory("--samples", 8 * arguments.samples * sizes[0], "samples that")
        rng = np.random.default_rng(np.random.SeedSequence([arguments.seed, 1]))
        inputs = rng.standard_normal((arguments.samples, sizes[0]))
    teacher: MLP | np.ndarray
    if arguments.targets is not None:
        if arguments.inputs is None:
            raise ArgumentError("--targets", arguments.targets, "targets together with --inputs")
        teacher = _read("--targets", arguments.targets)
    elif arguments.orthonormal is not None:
        teacher = teachers.orthonormal(arguments.orthonormal, sizes[0], arguments.activation)
    else:
        teacher = teachers.random(
            _sizes("--teacher", arguments.teacher),
            arguments.activation,
            arguments.bias,
            seed=arguments.teacher_seed,
        )
    problem = _problem(teacher, student, inputs, arguments)
    options = {"solver": _solver(arguments, problem)}
    kept = arguments.checkpoint
    if arguments.starts is not None:
        if arguments.starts < 1:
            raise ArgumentError("--starts", arguments.starts, "an integer ≥ 1")
        drawn = {"starts": arguments.starts, "seed": arguments.seed}
        return _finish(train_many(problem, checkpoint=kept, **drawn, **options), arguments)
    if kept is not None and kept.exists() and not arguments.force:
        raise ArgumentError(
            "--checkpoint", f"{kept}, which exists", "gradflow resume, a new file, or --force"
        )
    return _finish(train(problem, checkpoint=kept, **options), arguments)


def _problem(teacher, student: MLP, inputs, arguments) -> Problem:
    return Problem(teacher, student, inputs, loss=arguments.loss, weight_decay=arguments.weight_decay)


def _solver(arguments, problem: Problem) -> Any:
    """The method with its settings; the default one of this problem unless it is named."""
    given = {"rtol": arguments.rtol, "atol": arguments.rtol, "t1": arguments.t1}
    settings = {name: value for name, value in given.items() if value is not None}
    name = arguments.solver
    if name is not None and name.casefold() == "none":
        if settings:
            raise ArgumentError("--solver", "none, with --rtol or --t1", "a method: these are its settings")
        return None
    if name is None:
        usual = default_solver(problem.size, problem.places)
        return dataclasses.replace(usual, **settings) if settings else "auto"
    known = known_solvers()
    if name not in known:
        raise ArgumentError("--solver", repr(name), f"none, or {one_of(name, sorted(known))}")
    return known[name](**settings)


def _add_resume(commands) -> None:
    parser = _command(commands, "resume", "go on with the run of a checkpoint file, to the same bits")
    parser.add_argument("file", type=Path, metavar="FILE", help="what --checkpoint named")
    _add_outputs(parser, csv=True)
    parser.set_defaults(run=_resume)


def _resume(arguments) -> int:
    _check_outputs(arguments)
    if arguments.file.is_dir():
        allowed = "a file: the folder of a batch goes on by the line that began it"
        raise ArgumentError("FILE", f"{arguments.file}, a folder", allowed)
    return _finish(resume(arguments.file), arguments)


def _add_show(commands) -> None:
    parser = _command(commands, "show", "print the report of a file: a result, a batch, a checkpoint")
    parser.add_argument("file", type=Path, metavar="FILE", help="HDF5 file")
    _add_outputs(parser, csv=True)
    parser.set_defaults(run=_show)


def _show(arguments) -> int:
    _check_outputs(arguments)
    if form_of(arguments.file) == CHECKPOINT:
        found = read_checkpoint(arguments.file)
        assert found.state is not None
        _say(f"checkpoint of {found.problem!r}")
        _say(f"  {found.state.finished or 'not finished'}; {found.state.seconds:.1f} s of work")
        _say(f"  to go on: gradflow resume {arguments.file}")
        return 0
    return _finish(load(arguments.file), arguments)


def _add_plot(commands) -> None:
    from .plot import PICTURES

    parser = _command(commands, "plot", "draw the result or the batch of a file")
    parser.add_argument("file", type=Path, metavar="FILE", help="HDF5 file")
    parser.add_argument("picture", type=Path, nargs="?", metavar="PICTURE", help="default: FILE.png")
    names = ", ".join(PICTURES)
    parser.add_argument("--kind", help=f"{names} (default: overview, of a batch losses)")
    parser.add_argument("--force", action="store_true", help="replace a picture that exists")
    parser.set_defaults(run=_plot, out=None, csv=None)


def _plot(arguments) -> int:
    from .plot import PICTURES, save

    arguments.plot = arguments.picture or arguments.file.with_suffix(".png")
    _check_outputs(arguments, "PICTURE")
    found = load(arguments.file)
    kind = arguments.kind or ("overview" if isinstance(found, Result) else "losses")
    if kind not in PICTURES:
        raise ArgumentError("--kind", repr(kind), one_of(kind, PICTURES))
    if isinstance(found, Batch) and kind not in ("losses", "gradients"):
        raise ArgumentError("--kind", f"{kind!r} of a batch", "losses or gradients")
    said = "replaced" if arguments.plot.exists() else "picture"
    save(found, arguments.plot, kind)
    _say(f"{said} {arguments.plot}")
    return 0


def _add_info(commands) -> None:
    parser = _command(commands, "info", "versions, cores, where compiled code is kept, how to cite")
    parser.set_defaults(run=_info)


def _info(arguments) -> int:
    from .citing import cite
    from .information import information

    for name, value in information().items():
        _say(f"{name:<12} {value}")
    _say("")
    _say(cite())
    return 0


def _add_warm(commands) -> None:
    parser = _command(commands, "warm", "compile all kinds of problems now, once for this machine")
    parser.add_argument("--jobs", type=int, help="processes (default: as many as cores)")
    parser.set_defaults(run=_warm)


def _warm(arguments) -> int:
    from .warming import KINDS, warm

    if arguments.jobs is not None and arguments.jobs < 1:
        raise ArgumentError("--jobs", arguments.jobs, "an integer ≥ 1")
    began = time.monotonic()
    for number, (name, seconds) in enumerate(warm(arguments.jobs), 1):
        _say(f"{number:>3} of {len(KINDS)}  {seconds:6.1f} s  {name}")
    _say(f"all kinds are compiled, {time.monotonic() - began:.0f} s")
    return 0


def _add_verify(commands) -> None:
    parser = _command(commands, "verify", "check theorems of the field numerically, one line per check")
    parser.add_argument(
        "name", nargs="*", default=[""], help="checks whose names begin so (default: all of them)"
    )
    parser.add_argument("--full", action="store_true", help="full size: minutes to hours")
    parser.add_argument(
        "--prove", action="store_true", help="the checks that are proofs in ball arithmetic (extra 'prove')"
    )
    parser.add_argument("--list", action="store_true", help="print the names only")
    parser.add_argument("--text", action="store_true", help="statement, source and numbers as well")
    parser.add_argument("--json", action="store_true", help="one line of JSON per check")
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="keep finished checks in this file; do not run them again"
    )
    parser.set_defaults(run=_verify)


def _verify(arguments) -> int:
    from .theory import Record, names, run

    if arguments.prove:
        from .proofs import certify  # noqa: F401 - without python-flint: one line that says what is missing
    prefixes = arguments.name
    chosen = list(dict.fromkeys(name for prefix in prefixes for name in names(prefix, arguments.prove)))
    if arguments.list:
        print("\n".join(chosen))
        return 0
    size = "full" if arguments.full else "quick"
    record = None if arguments.resume is None else Record(arguments.resume, size)
    monitor = Monitor()
    began = time.monotonic()
    held = done = 0
    shown_at = -1.0

    def show(checks) -> list:
        nonlocal held, done
        shown = []
        for check in checks:
            monitor.clear()
            line = check.json() if arguments.json else check.text() if arguments.text else str(check)
            print(line, flush=True)
            shown.append(check)
            held, done = held + check.holds, done + 1
        return shown

    interrupted = False
    try:
        with monitor.listening():
            for number, name in enumerate(chosen, 1):
                where = f"{number} of {len(chosen)}, {name}"

                def progress(words: str, where=where) -> None:
                    nonlocal shown_at
                    if monitor.interrupted:
                        raise KeyboardInterrupt
                    now = time.monotonic() - began
                    if now - shown_at >= monitor.interval:
                        shown_at = now
                        monitor.message(f"{where}: {words}, {now:.0f} s")

                finished = None if record is None else record.finished(name)
                if finished is not None:
                    show(finished)
                    continue
                progress("begins")
                checks = show(run(name, size, progress))
                if record is not None:
                    record.add(name, checks)
    except KeyboardInterrupt:
        interrupted = True
    words = f"{held} of {done} checks hold, {time.monotonic() - began:.0f} s"
    print(words + (", interrupted" if interrupted else ""), file=sys.stderr if arguments.json else sys.stdout)
    if interrupted:
        return 130
    return 0 if held == done else 1


def _check_outputs(arguments, picture: str = "--plot") -> None:
    """Refuse places that cannot be written before the work, not after it; files that exist as well."""
    seen: dict[Path, str] = {}
    for name, argument in (("out", "--out"), ("plot", picture), ("csv", "--csv")):
        path = getattr(arguments, name, None)
        if path is None:
            continue
        if not path.absolute().parent.is_dir():
            raise ArgumentError(argument, str(path), "a file in a folder that exists")
        if path.is_dir():
            raise ArgumentError(argument, f"{path}, a folder", "a file")
        if path.exists() and not arguments.force:
            raise ArgumentError(argument, f"{path}, which exists", "a new file, or --force")
        if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
            raise ArgumentError(argument, f"{path}, which may not be written", "a file that may")
        if path in seen:
            raise ArgumentError(argument, f"{path}, as {seen[path]}", "another file")
        seen[path] = argument
    if arguments.plot is not None:
        from .plot import check_path

        check_path(arguments.plot)


def _finish(found: Result | Batch, arguments) -> int:
    """Print it, write what was asked for, and say by the exit code what it is."""
    _say(str(found))
    for name, said, write in (("out", "saved", _save), ("csv", "table", _table), ("plot", "picture", _draw)):
        path = getattr(arguments, name, None)
        if path is not None:
            replaced = path.exists()
            write(found, path)
            _say(f"  {'replaced' if replaced else said:<10} {path}")
    if isinstance(found, Batch):
        if any(entry.interrupted for entry in found.results):
            return 130
        converged = bool(found.results) and all(entry.converged for entry in found.results)
        return 0 if converged and not found.failures else 1
    if found.interrupted or found.stop_reason is StopReason.INTERRUPTED:
        return 130
    if not found.converged:
        return 4 if found.end.kind == "infinity" else 1
    return 3 if found.flow_ended is False else 0


def _save(found: Result | Batch, path: Path) -> None:
    found.save(path)


def _draw(found: Result | Batch, path: Path) -> None:
    from .plot import save

    save(found, path, "overview" if isinstance(found, Result) else "losses")


def _table(found: Result | Batch, path: Path) -> None:
    """Samples of the flow, or a line for each start, as comma-separated values of full precision."""
    if isinstance(found, Batch):
        rows = [{"start": i} | row_of(entry) for i, entry in enumerate(found)]
    elif found.flow is None:
        rows = [{"t": 0.0, "loss": found.loss, "grad_norm": found.grad_norm}]
    else:
        columns = zip(found.flow.times, found.flow.losses, found.flow.grad_norms, strict=True)
        rows = [{"t": float(t), "loss": float(L), "grad_norm": float(g)} for t, L, g in columns]
    with replacing(path) as name, open(name, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def _say(text: str) -> None:
    """Print, or go on with the work if nobody reads any more."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _drop_output()


def _sizes(argument: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split("-")]
    except ValueError:
        raise ArgumentError(argument, repr(text), "sizes joined by hyphens, e.g. 9-3-1") from None


def _read(argument: str, path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StorageError(f"{argument}: {path} is not a readable .npy file ({error})") from error
