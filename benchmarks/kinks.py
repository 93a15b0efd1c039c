"""Kinks: flows of ReLU networks on samples, to their ends, against small steps, smooth runs and a slow truth.

    python -m benchmarks kinks [xor | regression | truth | hand | large | tolerance] [--quick]

`xor` and `regression` train 40 and 20 networks with everything automatic and say where they end, beside
gradient descent with small steps, and processor seconds beside softplus networks of the same size. `truth`
compares θ(t) with `tests/solvers/filippov_truth.py`, `hand` event times with a case worked out by hand.
`large` is one run with 10,000 samples. `tolerance` measures what passing over crossings costs in accuracy,
against a run that locates them. Every cell is kept in `results/kinks.json` as soon as it is done, and is not
done again (`--anew` forgets them).
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import sys
import time
from pathlib import Path

import numba
import numpy as np

import gradflow as gf
from gradflow.solvers import Filippov
from gradflow.solvers.kinked import following

from ._timing import RESULTS, describe, machine, write

TESTS = Path(__file__).parents[1] / "tests" / "solvers"
TIMES = (1.0, 10.0, 100.0)
DESCENT_STEPS = 1_000_000


def xor(activation: str, seed: int) -> gf.Problem:
    X = np.array(list(itertools.product([0.0, 1.0], repeat=2)))
    student = gf.MLP.random((2, 4, 1), activation, True, seed=seed)
    return gf.Problem(np.array([[0.0], [1.0], [1.0], [0.0]]), student, X)


def regression(activation: str, k: int) -> gf.Problem:
    """Noisy values of a random tanh network: 1–4 inputs, 10–200 samples, 3–20 neurons."""
    rng = np.random.default_rng(100 + k)
    dim, count, width = 1 + k % 4, (10, 20, 40, 80, 200)[k % 5], (3, 5, 8, 12, 20)[k // 2 % 5]
    X = rng.normal(size=(count, dim))
    teacher = gf.MLP.random((dim, 5, 1), "tanh", True, seed=1000 + k, init="normal")
    y = teacher(X) + 0.1 * rng.normal(size=(count, 1))
    return gf.Problem(y, gf.MLP.random((dim, width, 1), activation, True, seed=k), X)


def sine(seed: int) -> gf.Problem:
    x = np.linspace(-1.0, 1.0, 21)[:, None]
    return gf.Problem(np.sin(3.0 * x), gf.MLP.random((1, 4, 1), "relu", True, seed=seed), x)


def large(count: int = 10_000) -> gf.Problem:
    X = np.random.default_rng(0).normal(size=(count, 2))
    teacher = gf.MLP.random((2, 4, 1), "tanh", True, seed=5, init="normal")
    return gf.Problem(teacher(X), gf.MLP.random((2, 8, 1), "relu", True, seed=0), X)


def run(problem: gf.Problem, **settings) -> dict:
    """`gf.train`, and what it says."""
    began, clock = time.process_time(), time.perf_counter()
    result = gf.train(problem, progress=False, **settings)
    seconds, wall = time.process_time() - began, time.perf_counter() - clock
    flow, events = result.flow, result.flow.events
    return {
        "processor_seconds": seconds,
        "seconds": wall,
        "end": result.end.kind,
        "sentence": result.end.sentence,
        "flow_ended": bool(result.flow_ended),
        "converged": result.converged,
        "why": flow.stop_reason.name,
        "t": flow.end_time,
        "loss": result.loss,
        "flow_loss": flow.loss,
        "grad_norm": result.grad_norm,
        "steps": flow.accepted,
        "rejected": flow.rejected,
        "events": None if events is None else {kind: events.count(kind) for kind in set(events.kinds)},
        "kink": None if result.kink is None else {"places": len(result.kink), "minimum": result.kink.minimum},
    }


@numba.njit(error_model="numpy")
def _descend(W, b, a, c, X, y, rate, steps):  # pragma: no cover: compiled
    """So many small steps of gradient descent on one hidden layer of relus; in place, L at the end."""
    count, width = X.shape[0], W.shape[0]
    z, loss = np.empty(width), 0.0
    dW, db, da = np.zeros_like(W), np.zeros_like(b), np.zeros_like(a)
    for step in range(steps + 1):
        dW[:], db[:], da[:] = 0.0, 0.0, 0.0
        dc, loss = 0.0, 0.0
        for i in range(count):
            f = c
            for j in range(width):
                z[j] = b[j]
                for k in range(X.shape[1]):
                    z[j] += W[j, k] * X[i, k]
                if z[j] > 0.0:
                    f += a[j] * z[j]
            r = f - y[i]
            loss += r * r / count
            r *= 2.0 / count
            dc += r
            for j in range(width):
                if z[j] > 0.0:
                    da[j] += r * z[j]
                    db[j] += r * a[j]
                    for k in range(X.shape[1]):
                        dW[j, k] += r * a[j] * X[i, k]
        if step < steps:
            W -= rate * dW
            b -= rate * db
            a -= rate * da
            c -= rate * dc
    return loss


def descent_loss(problem: gf.Problem, end: float) -> dict:
    """L after a million small steps of gradient descent, to the time `end` or as far as they reach."""
    rate = min(5e-3, max(end / DESCENT_STEPS, 1e-4))
    start = problem.student
    steps = min(DESCENT_STEPS, int(end / rate))
    W, a = np.array(start.weights[0]), np.array(start.weights[1][0])
    b, c = np.array(start.biases[0]), float(start.biases[1][0])
    loss = _descend(W, b, a, c, problem.inputs.X, problem.teacher[:, 0], rate, steps)
    return {"rate": rate, "t": steps * rate, "loss": float(loss)}


def _group(cells: dict, name: str, make, count: int) -> None:
    for k in range(count):
        key = f"{name} {k}"
        if key in cells:
            continue
        run(make("softplus", k)), run(make("relu", k), solver=Filippov(t1=1e-3), refiner=None)  # compiled
        cell = run(make("relu", k))
        smooth = run(make("softplus", k))
        cell["softplus_processor_seconds"] = smooth["processor_seconds"]
        cell["ratio"] = cell["processor_seconds"] / smooth["processor_seconds"]
        cell["descent"] = descent_loss(make("relu", k), cell["t"])
        cells[key] = cell
        small = cell["descent"]
        print(
            f"  {key}: {cell['sentence'][:70]}, loss {cell['loss']:.6g} (small steps {small['loss']:.6g} at "
            f"t = {small['t']:.3g}), {cell['events']}, {cell['processor_seconds']:.2f} s, "
            f"{cell['ratio']:.1f} times softplus",
            flush=True,
        )
        keep(cells)
    done = [cells[f"{name} {k}"] for k in range(count) if f"{name} {k}" in cells]
    ended = sum(cell["flow_ended"] for cell in done)
    converged, ratio = sum(c["converged"] for c in done), np.median([c["ratio"] for c in done])
    print(f"  {name}: {ended} of {len(done)} flows ended, {converged} converged, median ratio {ratio:.1f}")


def all_xor(cells: dict, quick: bool) -> None:
    _group(cells, "xor", xor, 2 if quick else 40)


def all_regression(cells: dict, quick: bool) -> None:
    _group(cells, "regression", regression, 1 if quick else 20)


def _truth():
    spec = importlib.util.spec_from_file_location("filippov_truth", TESTS / "filippov_truth.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def against_truth(cells: dict, quick: bool) -> None:
    truth = _truth()
    for seed in range(1 if quick else 6):
        key = f"truth sine {seed}"
        if key in cells:
            continue
        problem = sine(seed)
        net = truth.Net(problem.inputs.X, problem.teacher[:, 0], 4)
        flow = gf.train(problem, solver=Filippov(t1=TIMES[-1]), refiner=None, progress=False).flow
        errors, counts = [], []
        for t in TIMES[: 2 if quick else None]:
            theta, events = truth.follow(net, problem.theta0, t)
            errors.append(float(np.abs(flow.at(t) - theta).max() / np.abs(theta).max()))
            counts.append([len(events), int((flow.events.times <= t).sum())])
        cells[key] = {"errors": errors, "events": counts, "rtol": 1e-7}
        print(f"  {key}: errors {errors}, events (truth, here) {counts}", flush=True)
        keep(cells)


def by_hand(cells: dict, quick: bool) -> None:
    key = "hand"
    if key not in cells:
        sys.path.insert(0, str(TESTS.parent))
        test = importlib.import_module("solvers.test_filippov")
        times, _ = test.by_hand()
        problem, rates = test.hand_problem()
        solver = Filippov(rtol=1e-12, atol=1e-12, t1=3.0)
        events = gf.train(problem, solver=solver, refiner=None, rates=rates, progress=False).flow.events
        error = float(np.abs(events.times - times).max())
        cells[key] = {"times": times, "error": error, "kinds": events.kinds}
        keep(cells)
    print(f"  hand: largest error of an event's time {cells[key]['error']:.1e}")


def with_many_samples(cells: dict, quick: bool) -> None:
    key = "large 10000"
    if key not in cells and not quick:
        cells[key] = run(large(), solver=Filippov(max_seconds=3600.0))
        print(f"  {key}: {cells[key]}", flush=True)
        keep(cells)


def switch_over(cells: dict, quick: bool) -> None:
    """The same flow with all crossings located, and with those passed over that the tolerance lets pass."""
    for count in (100, 300) if quick else (100, 300, 1000, 3000):
        key = f"tolerance {count}"
        if key in cells:
            continue
        rows, problem, end = [], large(count), 0.5
        exact = _flow(problem, 1e-9, end, passing=False)
        for rtol in (1e-4, 1e-5, 1e-6, 1e-7):
            for passing in (True, False):
                began = time.process_time()
                flow = _flow(problem, rtol, end, passing)
                error = float(np.abs(flow.step_theta[-1] - exact.step_theta[-1]).max())
                rows.append({
                    "rtol": rtol, "passing": passing, "error": error, "steps": flow.accepted,
                    "passed": flow.events.count("passing"), "located": flow.events.count("crossing"),
                    "processor_seconds": time.process_time() - began,
                })  # fmt: skip
                print(f"  {key}: {rows[-1]}", flush=True)
        cells[key] = rows
        keep(cells)


def _flow(problem: gf.Problem, rtol: float, end: float, passing: bool) -> gf.solvers.Flow:
    before, following.PASSED = following.PASSED, following.PASSED if passing else 1e-300
    try:
        solver = Filippov(rtol=rtol, atol=rtol, t1=end)
        return gf.train(problem, solver=solver, refiner=None, progress=False).flow
    finally:
        following.PASSED = before


def keep(cells: dict) -> None:
    """Write all cells; quick ones are not kept."""
    if "quick" not in cells:
        write("kinks", cells)


PARTS = {
    "hand": by_hand, "truth": against_truth, "xor": all_xor, "regression": all_regression,
    "tolerance": switch_over, "large": with_many_samples,
}  # fmt: skip


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks kinks", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    parser.add_argument("--quick", action="store_true", help="the smallest cells only, nothing kept")
    parser.add_argument("--anew", action="store_true", help="forget the cells that are there")
    chosen = parser.parse_args(argv)
    print(describe(machine()))
    path = RESULTS / "kinks.json"
    cells: dict = {"quick": True} if chosen.quick else {}
    if path.exists() and not (chosen.anew or chosen.quick):
        cells = json.loads(path.read_text())["results"]
    for part in chosen.parts or PARTS:
        PARTS[part](cells, chosen.quick)
