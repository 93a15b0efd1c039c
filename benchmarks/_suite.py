"""All benchmarks as one thing: their small sizes, one table of figures, and what moved between two runs."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

from . import _figures, _timing

HERE = Path(__file__).parent
SMALL = HERE / "quick"
"""Where `all --quick` puts what it measures: the committed results stay."""

QUICK = {
    "certify": ["--runs", "10", "--seconds", "0.3", "--part", "speed", "share"],
    "fuzz": ["--cases", "30"],
    "kills": ["--kills", "3", "--runs", "20"],
    "phase": ["--smallest", "4", "--largest", "4", "--starts", "5"],
    "population": ["--largest", "2", "--no-accuracy"],
    "recovery": ["parity", "--dims", "2", "--widths", "2", "--teachers", "2"],
    "spurious": ["--widths", "6", "--starts", "20"],
    "startup": ["--rounds", "7", "--demos", "1", "--no-sizes"],
}
"""What `--quick` means for those whose own options say it otherwise."""

FULL = {"recovery": ["parity", "activations", "deep"]}
"""What has to be said at full size."""

NOISE = 1.5
"""A median has moved if it is farther from the old one than so many times both quartile ranges together."""

SINGLE = 0.3
"""A number without quartiles has moved if it changed by more than this part."""


def native(name: str) -> set[str]:
    """Which of the common options a benchmark reads itself."""
    text = (HERE / f"{name}.py").read_text(encoding="utf-8")
    return {option for option in ("--quick", "--folder", "--resume") if f'"{option}"' in text} | (
        {"--folder"} if "_runs.add_options" in text else set()
    )


def arguments(name: str, quick: bool, folder: Path | None, resume: bool, rest: list[str]) -> list[str]:
    """The arguments of a benchmark for the options that all have alike."""
    known, given = native(name), list(rest)
    if quick:
        given += ["--quick"] if "--quick" in known else [a for a in QUICK[name] if not rest]
    elif not rest:
        given += FULL.get(name, [])
    if folder is not None and "--folder" in known:
        given += ["--folder", str(folder)]
    if resume and "--resume" in known:
        given += ["--resume"]
    return given


def common(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options that all benchmarks have alike, and the others."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--resume", action="store_true")
    return parser.parse_known_args(argv)


def run_all(names: list[str], argv: list[str]) -> int:
    """Every benchmark in a process of its own, then the table of what they measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks all")
    parser.add_argument("--quick", action="store_true", help="every one at its small size")
    parser.add_argument("--folder", type=Path, help=f"where the results go (with --quick: {SMALL.name})")
    parser.add_argument("--resume", action="store_true", help="leave out those that are in the folder")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    chosen = parser.parse_args(argv)
    folder = chosen.folder or (SMALL if chosen.quick else _timing.RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    marks = folder / "done.json"
    done = json.loads(marks.read_text()) if chosen.resume and marks.exists() else {}
    failed = []
    for name in chosen.only:
        key = f"{name}{' --quick' if chosen.quick else ''}"
        if key in done:
            print(f"{name}: kept, {done[key]:.0f} s", flush=True)
            continue
        options = ["--folder", str(folder)] + (["--quick"] if chosen.quick else [])
        options += ["--resume"] if chosen.resume else []
        began = time.monotonic()
        with open(folder / f"{name}.log", "w", encoding="utf-8") as log:
            command = [sys.executable, "-m", "benchmarks", name, *options]
            code = subprocess.run(
                command, cwd=HERE.parent, stdout=log, stderr=subprocess.STDOUT, check=False
            ).returncode
        seconds = time.monotonic() - began
        print(f"{name}: {'done' if code == 0 else 'FAILED'}, {seconds:.0f} s", flush=True)
        if code == 0:
            done[key] = seconds
            marks.write_text(json.dumps(done))
        else:
            failed.append(name)
            print("".join((folder / f"{name}.log").read_text().splitlines(keepends=True)[-3:]))
    print()
    print(table(folder))
    return 1 if failed else 0


def table(folder: Path) -> str:
    """The figures of all results in a folder."""
    rows = [("benchmark", "figure", "here", "peer", "ratio", "aim", "met")]
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(document, dict) and "benchmark" in document:
            rows += [figure.row() for figure in _figures.figures(document)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def origins(folder: Path) -> str:
    """When and on what machine each result was measured, a line each."""
    lines = []
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(document, dict) and "benchmark" in document:
            machine = _timing.describe(document["machine"])
            lines.append(f"{document['benchmark']:<22} {document['utc']}  {machine}")
    return "\n".join(lines)


def compare(argv: list[str]) -> int:
    """Print what moved beyond the noise between two results or folders of results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks compare")
    parser.add_argument("old", type=Path, help="a JSON file, or a folder of them")
    parser.add_argument("new", type=Path, help="the same of another run")
    chosen = parser.parse_args(argv)
    pairs = [(chosen.old, chosen.new)]
    if chosen.old.is_dir():
        both = {p.name for p in chosen.old.glob("*.json")} & {p.name for p in chosen.new.glob("*.json")}
        pairs = [(chosen.old / name, chosen.new / name) for name in sorted(both - {"done.json"})]
    if not pairs:
        print("nothing that both have", file=sys.stderr)
        return 2
    for old, new in pairs:
        before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (old, new))
        print(f"{new.stem}: {before['utc']} → {after['utc']}")
        for side, document in (("old", before), ("new", after)):
            print(f"  {side}: {_timing.describe(document['machine'])}")
        lines = list(moved(before["results"], after["results"]))
        print("\n".join(f"  {line}" for line in lines) if lines else "  nothing moved beyond the noise")
    return 0


def moved(old, new, place: str = ""):
    """Lines about the numbers that both have and that differ by more than their noise."""
    if isinstance(old, dict) and isinstance(new, dict):
        if {"median", "lower_quartile", "upper_quartile"} <= old.keys() & new.keys():
            noise = NOISE * sum(d["upper_quartile"] - d["lower_quartile"] for d in (old, new))
            if abs(new["median"] - old["median"]) > max(noise, 1e-3 * abs(old["median"])):
                yield _line(place, old["median"], new["median"])
            return
        for key in old:
            if key in new:
                yield from moved(old[key], new[key], f"{place} / {key}" if place else str(key))
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) == len(new):
            for i, (a, b) in enumerate(zip(old, new)):
                yield from moved(a, b, f"{place}[{i}]")
    elif isinstance(old, bool) or isinstance(new, bool) or isinstance(old, str):
        if old != new and type(old) is type(new):
            yield f"{place}: {old} → {new}"
    elif isinstance(old, (int, float)) and isinstance(new, (int, float)):
        large = max(abs(old), abs(new))
        # Residues at rounding are noise.
        if large > 1e-12 and abs(new - old) > SINGLE * large:
            yield _line(place, old, new)


def _line(place: str, old: float, new: float) -> str:
    ratio = f" (× {new / old:.3g})" if old and math.isfinite(new / old) else ""
    return f"{place}: {old:.4g} → {new:.4g}{ratio}"


def main_of(name: str, argv: list[str]) -> None:
    """One benchmark with the common options, whether it knows them itself or not."""
    import importlib

    options, rest = common(argv)
    if options.folder is not None:
        _timing.RESULTS = options.folder.absolute()
        os.makedirs(_timing.RESULTS, exist_ok=True)
    elif options.quick:
        _timing.RESULTS = SMALL
        SMALL.mkdir(exist_ok=True)
    known = native(name)
    if options.resume and "--resume" not in known and not _keeps(name):
        path = _timing.RESULTS / f"{name}.json"
        if path.exists():
            print(f"{name}: {path} is there; without --resume it is measured again")
            return
    folder = _timing.RESULTS if (options.folder is not None or options.quick) else None
    chosen = arguments(name, options.quick, folder, options.resume, rest)
    importlib.import_module(f"benchmarks.{name}").main(chosen)


def _keeps(name: str) -> bool:
    """Whether a benchmark goes on by itself from what it has kept."""
    text = (HERE / f"{name}.py").read_text(encoding="utf-8")
    return "_runs.add_options" in text or '"--anew"' in text
