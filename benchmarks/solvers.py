"""Solvers of the gradient flow: error at a fixed time against wall time, beside SciPy's and CVODE.

    python -m benchmarks solvers [--quick] [--solvers NAME …] [--folder FOLDER]

Work–precision diagrams (tolerances 1e-3 … 1e-12, rtol = atol) on three problems, every solver of the
package beside SciPy's Radau, BDF and LSODA (the steppers of `solve_ivp`; `odeint` is the same LSODA with
its loop in compiled code) and SUNDIALS CVODE (`pip install scikit-sundae`). All get the same compiled
gradient and Hessian with nothing in between, on one thread. The error is the root mean square of
(θ(t) − θ*(t)) / (1 + |θ*(t)|) against a reference made by two methods; it counts where it is 100 times
their distance. Times are the shortest of several runs in turn, compilation apart. A solver
that takes longer than the limit of a cell is named and not asked for tighter tolerances.

The last table compares at equal achieved error, by interpolation in log–log: meant are a default that
is the fastest or within 1.2× of the fastest, and 2.5× faster than SciPy's best on the erf problem.
Written: `solvers.json` and `solvers.png`. `--quick` is a small size for tests.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import threadpoolctl

import gradflow as gf
from gradflow.solvers.methods import CompiledSolver
from gradflow.support.progress import Monitor

from . import _solver_picture, _timing
from ._solver_peers import Field, TooLate, peers
from ._solver_reference import difference, explicit, reference

ERRORS = [10.0**-i for i in range(3, 11)]
"""Achieved errors at which solvers are compared."""

TURNS = 9
"""Runs of a cell at most; a quarter of a second of them is enough. Whatever else the machine does
lengthens milliseconds, and nothing shortens them: the shortest counts."""


@dataclass
class Case:
    """A flow, the time at which it is compared, and how long one run may take."""

    name: str
    problem: gf.Problem
    t: float
    seconds: float
    second_method: object = None


def cases(quick: bool) -> list[Case]:
    """The three problems; quick: the first and a smaller second one, for a short time."""

    def softplus(inputs, teacher_width, width, count):
        X = np.random.default_rng(100).standard_normal((count, inputs))
        teacher = gf.teachers.random((inputs, teacher_width, 1), "softplus", seed=50)
        return gf.Problem(teacher, gf.MLP.random((inputs, width, 1), "softplus", seed=0), X, threads=1)

    student = gf.MLP.random((11, 6, 1), "erf", False, seed=0)
    erf = gf.Problem(gf.teachers.orthonormal(10, 11), student)
    if quick:
        return [
            Case("erf population, 72 parameters", erf, 10.0, 0.5, explicit),
            Case("softplus, 33 parameters, 200 samples", softplus(2, 4, 8, 200), 5.0, 0.5),
        ]
    return [
        Case("erf population, 72 parameters", erf, 300.0, 1.5, explicit),
        Case("softplus, 33 parameters, 10,000 samples", softplus(2, 4, 8, 10_000), 1000.0, 3.0),
        Case("softplus, 601 parameters, 2,000 samples", softplus(4, 8, 100, 2_000), 100.0, 4.0),
    ]


def own_solvers() -> dict[str, type]:
    """Every method of the compiled loop by name, and one of diffrax's own for comparison."""
    found = [getattr(gf.solvers, name) for name in gf.solvers.__all__]
    compiled = [
        cls for cls in found if isinstance(cls, type) and issubclass(cls, CompiledSolver) and cls.name
    ]
    return {cls.name: cls for cls in [*compiled, gf.solvers.diffrax.Kvaerno5]}


def run_own(solver: type, case: Case, tolerance: float) -> dict:
    """One integration by a solver of the package; its seconds are without compilation and sampling."""
    settings = solver(
        rtol=tolerance,
        atol=tolerance,
        t1=case.t,
        gtol=0.0,
        max_steps=10**7,
        max_seconds=case.seconds,
    )
    rates = np.ones(case.problem.size)
    flow = settings.integrate(case.problem.objective, case.problem.theta0.copy(), rates, Monitor(False))
    return {
        "theta": flow.step_theta[-1] if flow.stop_reason is gf.StopReason.END_TIME else None,
        "stopped": flow.stop_reason.name,
        "seconds": flow.seconds,
        "steps": flow.accepted + flow.rejected,
        "gradients": flow.counts.gradients,
        "hessians": flow.counts.hessians,
        "products": flow.counts.products,
    }


def run_peer(solver, case: Case, tolerance: float) -> dict:
    """One integration by somebody else's."""
    field = Field(case.problem.objective, case.seconds)
    began = time.perf_counter()
    try:
        theta, steps = solver(field, case.problem.theta0.copy(), case.t, tolerance)
        stopped = "END_TIME" if theta is not None else "FAILED"
    except TooLate:
        theta, steps, stopped = None, None, "MAX_SECONDS"
    return {
        "theta": theta,
        "stopped": stopped,
        "seconds": time.perf_counter() - began,
        "steps": steps,
        "gradients": field.gradients,
        "hessians": field.hessians,
        "products": 0,
    }


def compare(case: Case, tolerances: list[float], only: list[str] | None = None) -> dict:
    """All solvers, or some and the default, on one problem."""
    began = time.perf_counter()
    truth, distance = reference(case.problem.objective, case.problem.theta0, case.t, case.second_method)
    print(f"\n{case.name}, t = {case.t:g}; two references differ by {distance:.1e} ", end="")
    print(f"({time.perf_counter() - began:.0f} s)")
    runners = {name: (run_own, solver) for name, solver in own_solvers().items()}
    runners |= {name: (run_peer, solver) for name, solver in peers().items()}
    default = gf.solvers.default_solver(case.problem.size).name
    if only is not None:
        runners = {name: runner for name, runner in runners.items() if name in (*only, default)}
    compilation = {}
    for name, (run, solver) in runners.items():  # compiled, imported, caches filled
        began = time.perf_counter()
        first = run(solver, case, tolerances[0])
        compilation[name] = max(0.0, time.perf_counter() - began - first["seconds"])
    rows: list[dict] = []
    done: set[str] = set()
    print(
        f"  {'solver':<16}{'tol':>6}{'error':>10}{'seconds':>10}{'steps':>8}{'∇L':>8}{'∇²L':>6}{'∇²L v':>7}"
    )
    for tolerance in tolerances:
        results: dict[str, list[dict]] = {name: [] for name in runners if name not in done}
        for turn in range(TURNS):
            for name, found in results.items():
                if turn == 0 or sum(r["seconds"] for r in found) < 0.25:
                    run, solver = runners[name]
                    found.append(run(solver, case, tolerance))
        for name, found in results.items():
            rows.append(_row(name, tolerance, found, truth, distance))
            if rows[-1]["error"] is None and rows[-1]["stopped"] != "FAILED":
                done.add(name)
    return {
        "parameters": case.problem.size,
        "t": case.t,
        "reference_distance": distance,
        "limit_seconds": case.seconds,
        "default": default,
        "compile_seconds": compilation,
        "rows": rows,
    }


def _row(name: str, tolerance: float, found: list[dict], truth, distance: float) -> dict:
    last = found[-1]
    row = {"solver": name, "tolerance": tolerance, **{k: v for k, v in last.items() if k != "theta"}}
    row["seconds"] = min(r["seconds"] for r in found)
    error = None if last["theta"] is None else difference(last["theta"], truth)
    row["error"] = error
    row["resolved"] = error is not None and error >= 100 * distance
    text = f"  {name:<16}{tolerance:>6.0e}"
    if error is None:
        print(f"{text}{'—':>10}  {row['stopped']} after {row['seconds']:.1f} s")
    else:
        note = "" if row["resolved"] else "  below what the reference resolves"
        print(
            f"{text}{error:>10.1e}{row['seconds']:>10.4f}{row['steps']:>8,}{row['gradients']:>8,}"
            f"{row['hessians']:>6,}{row['products']:>7,}{note}"
        )
    return row


def seconds_at(rows: list[dict], solver: str, error: float) -> float | None:
    """Seconds of a solver for an achieved error, interpolated in log–log along its best runs.

    A run that is more accurate and faster replaces one that is less accurate and slower. No
    extrapolation to errors below the smallest achieved.
    """
    mine = sorted((row["error"], row["seconds"]) for row in rows if row["solver"] == solver and row["error"])
    front: list[tuple[float, float]] = []
    for e, s in mine:  # from the most accurate on: only what is faster
        if not front or s < front[-1][1]:
            front.append((e, s))
    if not front or error < front[0][0]:
        return None
    e, s = np.log(np.array(front).T)
    return float(np.exp(np.interp(np.log(error), e, s)))


def at_equal_error(found: dict) -> dict:
    """The table of seconds at `ERRORS`, and the two ratios that the project is measured by."""
    names = list(dict.fromkeys(row["solver"] for row in found["rows"]))
    table = {name: [seconds_at(found["rows"], name, e) for e in ERRORS] for name in names}
    print(f"\n  seconds at equal error  {''.join(f'{e:>9.0e}' for e in ERRORS)}   first call")
    for name, values in sorted(table.items(), key=lambda item: _middle(item[1])):
        cells = "".join(f"{'—':>9}" if v is None else f"{v:>9.4f}" for v in values)
        mark = "  (default)" if name == found["default"] else ""
        print(f"  {name + mark:<24}{cells}   +{found['compile_seconds'][name]:.1f} s")
    ratios: dict[str, list[float | None]] = {"default_to_fastest": [], "scipy_best_to_default": []}
    for i in range(len(ERRORS)):
        mine = table[found["default"]][i]
        everyone = [v[i] for v in table.values() if v[i] is not None]
        scipys = [v[i] for name, v in table.items() if name.startswith("SciPy") and v[i] is not None]
        ratios["default_to_fastest"].append(mine / min(everyone) if mine is not None else None)
        ratios["scipy_best_to_default"].append(min(scipys) / mine if mine is not None and scipys else None)
    for label, values in ratios.items():
        print(f"  {label.replace('_', ' '):<24}{''.join(f'{_ratio(v):>9}' for v in values)}")
    return {"errors": ERRORS, "seconds": table, **ratios}


def _middle(values: list[float | None]) -> float:
    known = [v for v in values if v is not None]
    return statistics.median(known) + 1e3 * (len(values) - len(known)) if known else np.inf


def _ratio(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks solvers")
    parser.add_argument("--quick", action="store_true", help="two small problems, four tolerances")
    parser.add_argument("--solvers", nargs="+", metavar="NAME", help="only these (the default is added)")
    parser.add_argument("--folder", type=Path, default=_timing.RESULTS, help="where the results go")
    options = parser.parse_args(argv)
    quick = options.quick
    tolerances = [10.0**-i for i in ((3, 5, 7, 9) if quick else range(3, 13))]
    options.folder.mkdir(exist_ok=True)
    peers()  # libraries that bring a BLAS of their own are loaded before the threads are limited
    facts = _timing.machine()
    print(_timing.describe(facts))
    began = time.perf_counter()
    results = {}
    with threadpoolctl.threadpool_limits(1):
        for case in cases(quick):
            found = compare(case, tolerances, options.solvers)
            results[case.name] = {**found, "at_equal_error": at_equal_error(found)}
    print(f"\n{time.perf_counter() - began:.0f} s in all")
    print(f"written: {_timing.write('solvers', results, facts, options.folder)}")
    print(f"written: {_solver_picture.draw(results, options.folder / 'solvers.png')}")
