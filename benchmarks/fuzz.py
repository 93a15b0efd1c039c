"""Random problems against quadrature, sampling, NumPy and identities: every number within its own claim.

    python -m benchmarks fuzz [--cases 2000] [--seed 0] [--workers 1] [--kind line|plane|space|samples]
                              [--resume] [--folder FOLDER] [--chunk 1000]
    python -m benchmarks fuzz --again [--folder FOLDER]
    python -m benchmarks fuzz --case N [--seed 0]

Case N is determined by the seed and N alone. Cases run in chunks, each in a process of its own, which names
a case before it starts it: one that crashes or does not come back costs one case, is run once more alone, and
the chunk goes on behind it. Results are written to `fuzz.json` after each chunk; `--resume` goes on there.
`--again` runs what was found once more, in the tree as it is now, and notes the outcome beside the first;
`--case` prints the problem as Python code and every check. Exit status 1 if anything was found.

What is held against what (`_fuzz_checks`): the loss and its claimed error against Gauss–Kronrod quadrature
where the weights span a line ("line", with gradient and Hessian) or a plane ("plane", with the gradient), and
against draws ("space"); equal networks against zero; permuted, mirrored and reflected problems against each
other; gradient, Hessian and products against each other and against differences; networks on samples
("samples") against reverse mode in NumPy. Each check is a pair (error, bound).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from . import _timing

PATIENCE = 300.0
"""Seconds that one case may take, compilation included."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GRADFLOW_NUM_THREADS")


def chunk(seed: int, first: int, last: int, kind: str | None) -> None:
    """Run cases first … last − 1 here: their numbers, then their records, as lines of JSON."""
    import faulthandler

    faulthandler.enable()
    from ._fuzz_cases import kind_of, make
    from ._fuzz_checks import check
    from ._fuzz_totals import record

    for index in range(first, last):
        if kind is None or kind_of(index) == kind:
            print(f"@{index}", flush=True)
            case = make(seed, index)
            print(json.dumps(record(case, check(case))), flush=True)


class _Process:
    """A chunk in a process of its own, read line by line."""

    def __init__(self, seed: int, first: int, last: int, kind: str | None):
        command = [sys.executable, "-m", "benchmarks", "fuzz", "--seed", str(seed)]
        command += ["--run", str(first), str(last)] + (["--kind", kind] if kind else [])
        self.errors = tempfile.TemporaryFile("w+")
        environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment,
            cwd=Path(__file__).parents[1],
        )  # fmt: skip
        self.lines: queue.Queue = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def __iter__(self):
        """Lines until the process ends; `TimeoutError` where none comes."""
        while True:
            try:
                line = self.lines.get(timeout=PATIENCE)
            except queue.Empty:
                raise TimeoutError from None
            if line is None:
                self.process.wait()
                return
            yield line

    def close(self) -> str:
        """End it, and what it last said to stderr."""
        self.process.kill()
        self.process.wait()
        self.errors.seek(0)
        said = [line.strip() for line in self.errors.read().splitlines() if line.strip()]
        self.errors.close()
        frames = [line for line in said if line.startswith("File")]
        head = [line for line in said if "Error" in line or "error" in line][-1:]
        return " | ".join([*head, *frames[:1]])[:300]


def run_chunk(seed: int, first: int, last: int, kind: str | None, records: list, lost: list) -> None:
    """Records of the cases first … last − 1; in `lost` the numbers of those that took the process along.

    A lost case is (number, "crashed" or "hung", where): where it runs well alone, that is said too.
    """
    while first < last:
        current, fault = None, None
        process = _Process(seed, first, last, kind)
        try:
            for line in process:
                if line.startswith("@"):
                    current = int(line[1:])
                else:
                    records.append(json.loads(line))
                    first, current = current + 1, None
            if process.process.returncode != 0:
                fault = "crashed"
        except TimeoutError:
            fault = "hung"
        finally:
            said = process.close()
        if fault is None:
            return
        if current is None:  # between two cases: nobody's fault that could be named
            raise RuntimeError(f"the process of cases {first} … {last - 1} ended: {said}")
        if last - first > 1:
            again: list = []
            alone: list = []
            run_chunk(seed, current, current + 1, kind, again, alone)
            fault = alone[0][1] if alone else f"{fault} in company only"
            said = alone[0][2] if alone else said
        lost.append((current, fault, said))
        first = current + 1


def run(chosen, facts: dict) -> dict:
    """All chunks that are not there yet; the results, which are written after each."""
    from ._fuzz_totals import empty, merge

    path = chosen.folder / "fuzz.json"
    results = empty(chosen.seed, chosen.kind)
    if chosen.resume and path.exists():
        results = json.loads(path.read_text())["results"]
        if (results["seed"], results["kind"]) != (chosen.seed, chosen.kind):
            raise SystemExit(f"{path} holds seed {results['seed']}, kind {results['kind']}: not this run")
    done = {tuple(pair) for pair in results["chunks"]}
    firsts = range(0, chosen.cases, chosen.chunk)
    todo = [(a, min(a + chosen.chunk, chosen.cases)) for a in firsts]
    todo = [pair for pair in todo if pair not in done]
    lock = threading.Lock()

    def work(pair: tuple[int, int]) -> None:
        records: list = []
        lost: list = []
        start = time.perf_counter()
        run_chunk(chosen.seed, *pair, chosen.kind, records, lost)
        with lock:
            merge(results, pair, records, lost, time.perf_counter() - start)
            chosen.folder.mkdir(parents=True, exist_ok=True)
            _timing.write("fuzz", results, facts, chosen.folder)
            found = sum(len(r["outside"]) > 0 for r in records)
            print(
                f"  cases {pair[0]} … {pair[1] - 1}: {len(records)} checked, {found} outside, "
                f"{len(lost)} lost, {time.perf_counter() - start:.0f} s",
                flush=True,
            )

    with concurrent.futures.ThreadPoolExecutor(chosen.workers) as pool:
        for future in [pool.submit(work, pair) for pair in todo]:
            future.result()
    return results


def once_more(chosen, facts: dict) -> dict:
    """The results of before, with what the cases found there show now."""
    from ._fuzz_totals import again, found

    results = json.loads((chosen.folder / "fuzz.json").read_text())["results"]
    for case in found(results):
        records: list = []
        lost: list = []
        run_chunk(results["seed"], case, case + 1, None, records, lost)
        again(results, case, records, lost)
        print(f"  case {case}: {results['again'][str(case)]}"[:160], flush=True)
        _timing.write("fuzz", results, facts, chosen.folder)
    return results


def one(seed: int, index: int) -> int:
    """Print everything about one case; 1 if it is outside."""
    from ._fuzz_cases import make
    from ._fuzz_checks import check
    from ._fuzz_totals import source

    case = make(seed, index)
    print(f"# case {index} of seed {seed}: {case.kind}, {case.tags}")
    print(source(case), flush=True)
    outcome = check(case)
    print(f"# {outcome.status} {outcome.message} ({outcome.seconds:.2f} s)")
    for name, value in outcome.facts.items():
        print(f"#   {name:<24} {value:.6g}")
    if outcome.truth is not None:
        print(f"#   {'true loss':<24} {outcome.truth.loss:.17g} ± {outcome.truth.error:.1e}")
    for name, (error, bound) in outcome.checks.items():
        print(f"#   {name:<24} error {error:.3e}  bound {bound:.3e}{'' if error <= bound else '  OUTSIDE'}")
    return int(bool(outcome.outside) or outcome.status == "raised")


def main(argv: list[str]) -> None:
    from ._fuzz_cases import KINDS

    parser = argparse.ArgumentParser(prog="python -m benchmarks fuzz")
    parser.add_argument("--cases", type=int, default=2000, help="cases 0 … CASES − 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes at a time")
    parser.add_argument("--kind", choices=KINDS, help="only the cases of this kind")
    parser.add_argument("--resume", action="store_true", help="go on with the results that are there")
    parser.add_argument("--again", action="store_true", help="run once more what was found before")
    parser.add_argument("--chunk", type=int, default=1000, help="cases per process")
    parser.add_argument("--folder", type=Path, default=_timing.RESULTS)
    parser.add_argument("--case", type=int, help="print everything about this case")
    parser.add_argument("--run", type=int, nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.run is not None:
        return chunk(chosen.seed, *chosen.run, chosen.kind)
    if chosen.case is not None:
        raise SystemExit(one(chosen.seed, chosen.case))
    facts = _timing.machine()
    print(_timing.describe(facts))
    from ._fuzz_totals import faults, report

    results = once_more(chosen, facts) if chosen.again else run(chosen, facts)
    print(report(results))
    print(f"written: {chosen.folder / 'fuzz.json'}")
    if faults(results):
        raise SystemExit(1)
