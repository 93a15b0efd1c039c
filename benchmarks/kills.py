"""A sweep that is killed at random moments and resumed: nothing finished is lost, the bits are the same.

    python -m benchmarks kills [--kills 200] [--runs 200] [--seed 0] [--folder FOLDER] [--anew]

A sweep of short runs (erf students of 2 neurons, flow and refinement) on two spawned processes is started in
a process group of its own, and the whole group is killed by SIGKILL at a random moment: one in five within
the time that the processes take to start, the others within the time that the runs which are left take, and
the merge of all after them. The next start goes on from the folder; where a sweep gets to its end before all
kills are done, a new one begins. After every kill each file that is
there must be readable and have the bits of a sweep that nobody disturbed, and the file of a run that was
finished before must be the same one: each run carries a number drawn when it was made.
The benchmark itself can be killed, and goes on from its folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import gradflow as gf

from . import _timing

ROOT = Path(__file__).parents[1]


def make(seed: int) -> gf.Problem:
    """One short run."""
    return gf.Problem(gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), "erf", False, seed=seed))


def facts_of(result: gf.Result) -> dict:
    """The bits of the end point and of all steps of the flow, and a number that no other run has."""
    digest = hashlib.sha256(result.theta.tobytes() + result.flow.step_theta.tobytes())
    return {"bits": digest.hexdigest(), "token": uuid.uuid4().hex}


def run(store: Path, runs: int) -> gf.Sweep:
    """The sweep itself, on two processes."""
    options = {"measure": facts_of, "store": store, "progress": False}
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        return gf.sweep({"seed": range(runs)}, make, executor=pool, **options)


def start(store: Path, runs: int) -> subprocess.Popen:
    """The sweep in a process group of its own."""
    command = [sys.executable, "-m", "benchmarks", "kills", "--inside", str(store), "--runs", str(runs)]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True)


def kept(store: Path) -> dict[str, list[str]]:
    """The bits and the number of every finished run, by its seed."""
    if not (store / "manifest.json").exists():
        return {}
    return {str(row["seed"]): [row["bits"], row["token"]] for row in gf.Sweep.load(store).rows()}


def undisturbed(folder: Path, runs: int) -> dict:
    """What a sweep gives that nobody kills, and the seconds that it takes when all is compiled."""
    run(folder / "compiled", 2)
    began = time.monotonic()
    process = start(folder / "whole", runs)
    wait_for_a_run(folder / "whole", 0, process)
    starting = time.monotonic() - began
    assert process.wait() == 0
    working = time.monotonic() - began - starting
    truth = {seed: bits for seed, (bits, _) in kept(folder / "whole").items()}
    assert len(truth) == runs
    times = {"starting": starting, "working": working}
    return times | {"truth": truth, "sweeps": 1, "before": {}, "kills": [], "endings": 0, "left_over": 0}


def wait_for_a_run(store: Path, finished: int, process: subprocess.Popen) -> None:
    """Until one run more than so many is finished, or the sweep has come to its end."""
    while process.poll() is None and len(list(store.glob("cells/*.h5"))) <= finished:
        time.sleep(0.002)


def kill_once(folder: Path, state: dict, runs: int, seed: int) -> None:
    """One start of the sweep, killed or not, and what is in its folder then."""
    store = folder / f"killed{state['sweeps']}"
    truth, before = state["truth"], state["before"]
    draw = np.random.default_rng([seed, len(state["kills"]), state["endings"]])
    early, share = draw.random() < 0.2, float(draw.random())
    began = time.monotonic()
    process = start(store, runs)
    if early:
        moment = share * state["starting"]
    else:
        wait_for_a_run(store, len(before), process)
        moment = share * state["working"] * (1.1 - len(before) / runs)
    killed = False
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed = True
    now = kept(store)
    found = {
        "starting": early,
        "moment": moment,
        "new": len(now) - len(before),
        "finished": len(now),
        "lost": len(set(before) - set(now)),
        "other_bits": sum(truth[run] != bits for run, (bits, _) in now.items()),
        "run_again": sum(now[run] != there for run, there in before.items() if run in now),
        "merging": (store / "merged.h5").exists() or any(store.glob(".merged.h5.*.part")),
        "half_written": len(list(store.rglob("*.part"))),
        "seconds": time.monotonic() - began,
    }
    if killed:
        state["kills"].append(found)
    else:
        assert process.returncode == 0 and len(now) == runs and found["lost"] == found["other_bits"] == 0
        state["endings"] += 1
    state["before"] = now
    if len(now) == runs and not killed:
        state["left_over"] += len(list(store.rglob("*.part")))
        state["sweeps"], state["before"] = state["sweeps"] + 1, {}
        shutil.rmtree(store)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks kills")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=_timing.RESULTS)
    parser.add_argument("--store", type=Path, help="where the sweeps are, by default FOLDER/kills.runs")
    parser.add_argument("--anew", action="store_true", help="begin anew")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.inside is not None:
        run(chosen.inside, chosen.runs)
        return
    facts = _timing.machine()
    print(_timing.describe(facts))
    folder = chosen.store or chosen.folder / "kills.runs"
    if chosen.anew and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "state.json"
    if file.exists():
        state = json.loads(file.read_text())
    else:
        shutil.rmtree(folder)  # what a benchmark leaves that is killed in its first sweep
        folder.mkdir()
        state = undisturbed(folder, chosen.runs)
    while len(state["kills"]) < chosen.kills:
        kill_once(folder, state, chosen.runs, chosen.seed)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(state))
        temporary.replace(file)
    kills = state["kills"]
    results = {
        "kills": len(kills),
        "sweeps": state["sweeps"],
        "runs": chosen.runs,
        "before_a_run_was_finished": sum(k["new"] == 0 for k in kills),
        "among_the_runs": sum(k["new"] > 0 and k["finished"] < chosen.runs for k in kills),
        "while_or_after_merging": sum(k["finished"] == chosen.runs for k in kills),
        "with_half_written_files": sum(k["half_written"] > 0 for k in kills),
        "most_runs_between_kills": max(k["new"] for k in kills),
        "left_over": state["left_over"],
        "seconds_undisturbed": [state["starting"], state["working"]],
        "seconds": sum(k["seconds"] for k in kills),
    } | {name: sum(k[name] for k in kills) for name in ("lost", "other_bits", "run_again")}
    found = results
    print(
        f"  {found['kills']} kills in {found['sweeps']} sweeps of {found['runs']} runs: {found['lost']} "
        f"finished runs lost, {found['other_bits']} with other bits, {found['run_again']} run again, "
        f"{found['left_over']} files left over; {found['before_a_run_was_finished']} kills before a run was "
        f"finished, {found['among_the_runs']} among the runs, {found['while_or_after_merging']} while or "
        f"after all were merged, {found['with_half_written_files']} with half-written files, up to "
        f"{found['most_runs_between_kills']} runs between two kills"
    )
    print(f"written: {_timing.write('kills', results, facts, chosen.folder)}")
