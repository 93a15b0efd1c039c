"""Start-up: `import gradflow` against its packages; the demo, cold and warm; new sizes.

    python -m benchmarks startup [--rounds 9] [--demos 3] [--no-demo] [--no-sizes]

Each import runs in a fresh interpreter, gradflow and `import jax, scipy, numba` in turn; the ratio of
the import times (without the interpreter's own start) is quoted and meant to stay below 1.5. Each demo
is a whole process, from the shell's point of view, in an empty folder; "cold" has an empty
GRADFLOW_CACHE_DIR, "warm" the one that the cold run has filled. Meant to stay below 60 s and 15 s.

The sizes: a fresh process with an empty GRADFLOW_CACHE_DIR trains erf networks of 50 different (n, k, d), in
turn on infinitely many Gaussian inputs and on 200 samples, twice each with short limits (300 steps of the
flow, 20 of the refinement). What the first calls take beyond the second ones is compilation, meant to stay
below 60 s in all, and the median first call below 3 s. Then `train` as it is by default, n = 6, k = 10, warm:
meant to take at most 0.1 s.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import _timing

ROOT = Path(__file__).parents[1]
IMPORTS = {"gradflow": "import gradflow", "packages": "import jax, scipy, numba"}


def import_seconds(statement: str) -> float:
    """Seconds that an import statement takes in a fresh interpreter."""
    code = f"import time; start = time.perf_counter()\n{statement}\nprint(time.perf_counter() - start)"
    return float(run([sys.executable, "-c", code], ROOT).stdout)


def imports(rounds: int) -> _timing.Timings:
    """Import times in turn; the first round fills the file cache and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for index in range(rounds + 1):
        order = list(IMPORTS.items())
        for name, statement in order if index % 2 == 0 else reversed(order):
            measured = import_seconds(statement)
            if index > 0:
                seconds[name].append(measured)
    return _timing.Timings(seconds)


def demo_seconds(cache: Path) -> float:
    """Whole-process seconds of `python -m gradflow demo` with its compiled code kept in `cache`."""
    with tempfile.TemporaryDirectory(prefix="gradflow-demo-") as folder:
        start = time.perf_counter()
        run([sys.executable, "-m", "gradflow", "demo"], folder, GRADFLOW_CACHE_DIR=str(cache))
        return time.perf_counter() - start


def demos(count: int) -> dict[str, list[float]]:
    """Cold and warm times, `count` of each, every cold one with an empty cache of its own."""
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(count):
        with tempfile.TemporaryDirectory(prefix="gradflow-cache-") as cache:
            for state in seconds:
                seconds[state].append(demo_seconds(Path(cache)))
                print(f"  demo, {state}: {seconds[state][-1]:.1f} s", flush=True)
    return seconds


SIZES = """
import json, time
import numpy as np
import gradflow as gf

rng = np.random.default_rng(0)
sizes = list(dict.fromkeys(map(tuple, rng.integers((1, 1, 2), (9, 9, 12), (80, 3)).tolist())))[:50]
first, second = [], []
cpu = time.process_time()
for i, (n, k, d) in enumerate(sizes):
    teacher = gf.teachers.random((d, k, 1), "erf", seed=i)
    inputs = rng.standard_normal((200, d)) if i % 2 else None
    refiner = gf.refiners.LevenbergMarquardt if i % 2 else gf.refiners.TrustRegionNewton
    limits = {"solver": gf.solvers.BDF(max_steps=300), "refiner": refiner(max_iterations=20)}
    for seconds in (first, second):
        start = time.perf_counter()
        gf.train(gf.Problem(teacher, gf.MLP.random((d, n, 1), "erf", seed=i), inputs), **limits)
        seconds.append(time.perf_counter() - start)
cpu = time.process_time() - cpu
warm = []
for seed in range(10):
    start = time.perf_counter()
    str(gf.train(gf.teachers.orthonormal(10, 11), gf.MLP.random((11, 6, 1), "erf", False, seed=seed)))
    warm.append(time.perf_counter() - start)
print(json.dumps({"first": first, "second": second, "cpu": cpu, "warm": warm}))
"""


def sizes() -> dict:
    """The sweep over sizes in a fresh process with an empty cache, and the warm default."""
    with tempfile.TemporaryDirectory(prefix="gradflow-cache-") as cache:
        found = json.loads(run([sys.executable, "-c", SIZES], cache, GRADFLOW_CACHE_DIR=cache).stdout)
    compiling = sum(found["first"]) - sum(found["second"])
    results = {
        "compile_seconds": compiling,
        "cpu_seconds": found["cpu"],
        "first_call": _timing.summary(found["first"]),
        "train_warm": _timing.summary(found["warm"]),
    }
    print(
        f"  50 sizes: {compiling:.0f} s of compilation (meant: under 60 s; {found['cpu']:.0f} s of processor)"
    )
    print(f"  first call of a size: median {results['first_call']['median']:.3f} s (meant: under 3 s)")
    print(
        f"  train, n = 6, k = 10, warm: median {results['train_warm']['median']:.3f} s (meant: at most 0.1 s)"
    )
    return results


def run(command: list[str], folder: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, this checkout first on the path; its errors are shown."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"} | variables
    finished = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise SystemExit(f"{' '.join(command[1:])} failed:\n{finished.stderr}")
    return finished


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks startup")
    parser.add_argument("--rounds", type=int, default=9, help="import measurements, at least 7")
    parser.add_argument("--demos", type=int, default=3, help="cold and warm demos")
    parser.add_argument("--no-demo", action="store_true", help="measure the imports only")
    parser.add_argument("--no-sizes", action="store_true", help="leave the sweep over sizes out")
    options = parser.parse_args(argv)
    if options.rounds < 7:
        parser.error("--rounds: at least 7")

    facts = _timing.machine()
    print(_timing.describe(facts))
    timings = imports(options.rounds)
    for name, statement in IMPORTS.items():
        print(f"  {statement}: {timings.median(name):.3f} s")
    ratios = _timing.summary(timings.ratios("gradflow", "packages"))
    print(f"  ratio: {ratios['median']:.2f} (meant: at most 1.5)")
    results: dict = {"import": timings.as_dict(), "import_ratio": ratios}
    if not options.no_demo:
        seconds = {state: _timing.summary(values) for state, values in demos(options.demos).items()}
        results["demo"] = seconds
        for state, limit in (("cold", 60), ("warm", 15)):
            print(f"  demo, {state}: median {seconds[state]['median']:.1f} s (meant: under {limit} s)")
    if not options.no_sizes:
        results["sizes"] = sizes()
    print(f"written: {_timing.write('startup', results, facts).relative_to(ROOT)}")
