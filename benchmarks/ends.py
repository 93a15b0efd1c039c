"""What random ordinary problems end at, by kind, activation and sort of problem.

    python -m benchmarks ends [--cases 1000] [--seed 0] [--first 0] [--finite] [--folder FOLDER] [--anew]
                              [--table] [--quick]

One of eleven activations; 1 to 5 inputs; teachers of 1 to 5 neurons (`teachers.random`); students of 1 to 7
neurons, 1 or 2 outputs, with biases or without; infinitely many Gaussian inputs, or 20 to 500 samples with
exact targets, with noise of 0.1, or with a student of two hidden layers; activations with a kink have
Gaussian inputs only. Each is given to `gradflow.train` as it is. Finished cases are kept in
FOLDER/ends.runs, a line of JSON each, and the next call goes on from there. With --finite the cases are
problems whose minimum is known to be finite, and none may be called infinite. Times are processor seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections import Counter
from pathlib import Path

import gradflow as gf

from . import _ends_cases, _timing

KINDS = ("critical point", "manifold of minima", "kink", "infinity", "unfinished")


def run(seed: int, number: int, finite: bool = False) -> dict:
    """One case to its end."""
    case = (_ends_cases.finite_case if finite else _ends_cases.case)(seed, number)
    began = time.process_time()
    row = {"number": number, "name": case.name, "sort": case.sort, "activation": case.activation}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = gf.train(case.problem, progress=False)
    end = result.end
    return row | {
        "kind": end.kind,
        "what": str(end),
        "stop": result.stop_reason.name,
        "loss": result.loss,
        "grad_norm": result.grad_norm,
        "largest": float(abs(result.theta).max()),
        "parameters": result.theta.size,
        "seconds": time.process_time() - began,
    }


def _count(rows: list[dict], name: str) -> str:
    lines = [f"{name:<18}{'cases':>6}" + "".join(f"{kind:>20}" for kind in KINDS)]
    for value in (*sorted({row[name] for row in rows}), None):
        chosen = [row for row in rows if value is None or row[name] == value]
        found = Counter(row["kind"] for row in chosen)
        label = "all" if value is None else value
        lines.append(f"{label:<18}{len(chosen):>6}" + "".join(f"{found[kind]:>20}" for kind in KINDS))
    return "\n".join(lines)


def summary(rows: list[dict]) -> str:
    """The table by sort and activation, the share that has a name, and the times."""
    seconds = sorted(row["seconds"] for row in rows)
    named = sum(row["kind"] != "unfinished" for row in rows)
    late = seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))]
    return "\n\n".join(
        [
            _count(rows, "sort"),
            _count(rows, "activation"),
            f"{named} of {len(rows)} named ({named / len(rows):.1%}); processor seconds: median "
            f"{statistics.median(seconds):.2f}, 95 % below {late:.2f}, most {seconds[-1]:.1f}",
        ]
    )


def finished(path: Path) -> dict[int, dict]:
    """The finished cases in a file; a line that was cut off is no case."""
    rows = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows[row["number"]] = row
    return rows


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks ends", description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=_timing.RESULTS, help="where the results go")
    parser.add_argument("--anew", action="store_true", help="forget the finished cases")
    parser.add_argument("--finite", action="store_true", help="problems whose minimum is known to be finite")
    parser.add_argument("--table", action="store_true", help="what is finished; nothing is run")
    parser.add_argument("--quick", action="store_true", help="ten cases")
    chosen = parser.parse_args(argv)
    cases = 10 if chosen.quick else chosen.cases
    name = "ends-finite" if chosen.finite else "ends"
    path = chosen.folder / f"{name}.runs" / f"{chosen.seed}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    if chosen.anew:
        path.unlink(missing_ok=True)
    rows = finished(path)
    numbers = sorted(rows) if chosen.table else range(chosen.first, chosen.first + cases)
    with path.open("a") as file:
        for number in numbers:
            if number not in rows:
                rows[number] = run(chosen.seed, number, chosen.finite)
                file.write(json.dumps(rows[number]) + "\n")
                file.flush()
            row = rows[number]
            print(f"{number:>5} {row['seconds']:7.2f} s  {row['name']}: {row['what']}", flush=True)
    found = [rows[number] for number in numbers]
    print("\n" + summary(found))
    report = {"seed": chosen.seed, "cases": len(found), "runs": found}
    _timing.write(name, report, folder=chosen.folder)
