"""The command line: `gradflow demo`, `gradflow train`, `gradflow verify`."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from . import teachers
from ._version import __version__
from .activations import ACTIVATIONS
from .networks import MLP
from .run.result import Result
from .run.training import train
from .support.errors import ArgumentError, GradflowError, StorageError
from .support.memory import check_memory
from .support.progress import Monitor
from .support.stopping import StopReason

EXIT_CODES = """exit codes:
  0    done: converged, or every check holds
  1    finished, but not converged, or a check does not hold
  2    bad input: one line on standard error says what is allowed
  3    converged, but from where the flow was stopped before its end: perhaps not to where it leads
  4    finished: there is no minimum on this path, and the end at infinity to which it leads is named
  130  interrupted (Ctrl-C); what had been reached is printed and saved
  141  the reader of the output has left (as in `gradflow verify | head`)"""


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
    _add_demo(commands)
    _add_train(commands)
    _add_verify(commands)
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


def _add_outputs(parser, out: Path | None, plot: Path | None) -> None:
    for name, what, default in (("--out", "HDF5 file", out), ("--plot", "picture", plot)):
        known = "" if default is None else " (default %(default)s, replaced if it exists)"
        parser.add_argument(name, type=Path, default=default, help=f"{what} to write{known}")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def _add_demo(commands) -> None:
    demo = _command(
        commands, "demo", "train an erf student of 3 neurons on 8 orthonormal teacher neurons, infinite data"
    )
    _add_outputs(demo, Path("gradflow-demo.h5"), Path("gradflow-demo.png"))
    demo.add_argument("--seed", type=int, default=0, help="of the student's weights (default %(default)s)")
    demo.set_defaults(run=_demo)


def _demo(arguments) -> int:
    if importlib.util.find_spec("matplotlib") is None:
        print("no picture: matplotlib is not installed (pip install 'gradflow[plot]')", file=sys.stderr)
        arguments.plot = None
    _check_outputs(arguments, (Path("gradflow-demo.h5"), Path("gradflow-demo.png")))
    teacher = teachers.orthonormal(width=8, input_dim=9, activation="erf")
    student = MLP.random((9, 3, 1), activation="erf", bias=False, seed=arguments.seed)
    return _finish(train(teacher, student), arguments)


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
    _add_outputs(parser, None, None)
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
    return _finish(train(teacher, student, inputs), arguments)


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


def _check_outputs(arguments, replaced: tuple[Path, ...] = ()) -> None:
    """Refuse places that cannot be written before the work, not after it; files that exist as well.

    replaced   files that may be replaced without being asked for
    """
    for name in ("out", "plot"):
        path = getattr(arguments, name)
        if path is None:
            continue
        if not path.absolute().parent.is_dir():
            raise ArgumentError(f"--{name}", str(path), "a file in a folder that exists")
        if path.is_dir():
            raise ArgumentError(f"--{name}", f"{path}, a folder", "a file")
        if path.exists() and not arguments.overwrite and path not in replaced:
            raise ArgumentError(f"--{name}", f"{path}, which exists", "a new file, or --overwrite")
        if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
            raise ArgumentError(f"--{name}", f"{path}, which may not be written", "a file that may")
    if arguments.out is not None and arguments.out == arguments.plot:
        raise ArgumentError("--plot", f"{arguments.plot}, as --out", "another file")
    if arguments.plot is not None:
        from .plot import check_path

        check_path(arguments.plot)


def _finish(result: Result, arguments) -> int:
    _say(str(result))
    if arguments.out is not None:
        said = "replaced" if arguments.out.exists() else "saved"
        result.save(arguments.out)
        _say(f"  {said:<10} {arguments.out}")
    if arguments.plot is not None:
        from .plot import save_overview

        said = "replaced" if arguments.plot.exists() else "picture"
        save_overview(result, arguments.plot)
        _say(f"  {said:<10} {arguments.plot}")
    if result.stop_reason is StopReason.INTERRUPTED:
        return 130
    if not result.converged:
        return 4 if result.end.kind == "infinity" else 1
    return 3 if result.flow_ended is False else 0


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
