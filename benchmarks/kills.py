"""A sweep that is killed at random moments and resumed: nothing finished is lost, the bits are the same.

    python -m benchmarks kills [--kills 200] [--runs 200] [--seed 0]

A sweep of short runs (erf students of 2 neurons, flow and refinement) on two spawned processes is started in
a process group of its own, and the whole group is killed by SIGKILL at a moment drawn within the time that an
undisturbed one takes. The next start goes on from the folder; where a sweep gets to its end before all kills
are done, a new one begins. After every kill each file that is there must be readable and have the bits of a
sweep that nobody disturbed.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import gradflow as gf

from . import _timing

ROOT = Path(__file__).parents[1]


def make(seed: int) -> gf.Problem:
    """One short run."""
    return gf.Problem(gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), "erf", False, seed=seed))


def bits(result: gf.Result) -> dict:
    """The bits of the end point and of all steps of the flow."""
    digest = hashlib.sha256(result.theta.tobytes() + result.flow.step_theta.tobytes())
    return {"bits": digest.hexdigest()}


def run(store: Path, runs: int) -> gf.Sweep:
    """The sweep itself, on two processes."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        return gf.sweep({"seed": range(runs)}, make, measure=bits, store=store, executor=pool, progress=False)


def start(store: Path, runs: int) -> subprocess.Popen:
    """The sweep in a process group of its own."""
    command = [sys.executable, "-m", "benchmarks", "kills", "--inside", str(store), "--runs", str(runs)]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True)


def kept(store: Path) -> dict[int, str]:
    """The bits of every finished run, by its seed."""
    if not (store / "manifest.json").exists():
        return {}
    return {row["seed"]: row["bits"] for row in gf.Sweep.load(store).rows()}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks kills")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.inside is not None:
        run(chosen.inside, chosen.runs)
        return
    facts = _timing.machine()
    print(_timing.describe(facts))
    draw = np.random.default_rng(chosen.seed)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        start(Path(folder) / "whole", chosen.runs).wait()
        whole = time.monotonic() - began
        truth = kept(Path(folder) / "whole")
        assert len(truth) == chosen.runs
        kills, sweeps, lost, wrong, most, left = 0, 1, 0, 0, 0, 0
        store, before = Path(folder) / "killed1", {}
        while kills < chosen.kills:
            process = start(store, chosen.runs)
            # within the work, also within the start and the merge at the end
            moment = draw.uniform(0.0, whole)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
            now = kept(store)
            lost += len(set(before) - set(now))
            wrong += sum(truth[seed] != value for seed, value in now.items())
            most = max(most, len(now) - len(before))
            before = now
            if len(now) == chosen.runs and process.returncode == 0:
                left += len(list(store.rglob("*.part")))
                sweeps += 1
                store, before = Path(folder) / f"killed{sweeps}", {}
        print(
            f"  {kills} kills in {sweeps} sweeps of {chosen.runs} runs: {lost} finished runs lost, "
            f"{wrong} with other bits, {left} files left over; up to {most} runs between two kills"
        )
        results = {
            "kills": kills, "sweeps": sweeps, "runs": chosen.runs, "lost": lost, "other_bits": wrong,
            "left_over": left, "seconds_undisturbed": whole, "seconds": time.monotonic() - began,
        }  # fmt: skip
    print(f"written: {_timing.write('kills', results, facts)}")
