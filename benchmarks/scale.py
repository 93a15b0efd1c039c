"""Large networks: flows against CVODE with GMRES, whole runs to the floor, growth of time with size.

    python -m benchmarks scale [flow | ends | growth] [--quick]

`flow` hands CVODE the same gradient and product, and compares both over tolerances: error at five times
against a flow at 1e-12, processor seconds, gradients and products. `ends` trains from ten seeds a cell and
says where they end. `growth` is one whole run a size. Every cell is kept in `results/scale.json` as soon as
it is done, and is not done again (`--anew` forgets them); `results/scale.png` shows them.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial

import numpy as np

import gradflow as gf
from gradflow.solvers import RKC2, FlowSolver, KrylovBDF
from gradflow.support.progress import Monitor

from ._timing import RESULTS, describe, machine, write

TIMES = np.array([1.0, 10.0, 100.0, 1e3, 1e4])
TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)

FLOWS = ((25, 50), (50, 100), (100, 200))
ENDS = {
    "erf": ((26, 40), (50, 100), (76, 100), (90, 100), (250, 500)),
    "relu": ((26, 40), (50, 100), (76, 100), (90, 100), (250, 500)),
    "softplus": ((26, 40), (50, 100)),
}
GROWTH = ((13, 25), (25, 50), (50, 100), (100, 200), (250, 500), (500, 1000), (750, 1000), (1000, 1000))


def problem(activation: str, n: int, k: int, seed: int = 0) -> gf.Problem:
    """k orthonormal teachers in k + 1 dimensions, n students."""
    teacher = gf.teachers.orthonormal(k, k + 1, activation)
    return gf.Problem(teacher, gf.MLP.random((k + 1, n, 1), activation, False, seed=seed))


def cvode(objective, theta: np.ndarray, tolerance: float) -> tuple[np.ndarray, dict]:
    """θ at TIMES by CVODE's BDF with GMRES (20 vectors), on the gradient and product of the objective."""
    from sksundae.cvode import CVODE, CVODEJacTimes

    def velocity(t, y, slope):
        slope[:] = -objective.gradient(np.ascontiguousarray(y))

    def product(t, y, slope, v, result):
        result[:] = -objective.hvp(np.ascontiguousarray(y), np.ascontiguousarray(v))

    before, began = objective.counts(), time.process_time()
    solver = CVODE(
        velocity, linsolver="gmres", krylov_dim=20, jactimes=CVODEJacTimes(None, product),
        rtol=tolerance, atol=tolerance, max_num_steps=10**7,
    )  # fmt: skip
    found = solver.solve(np.concatenate([[0.0], TIMES]), theta)
    return found.y[1:], _cost(objective, before, time.process_time() - began)


def ours(solver: FlowSolver, objective, theta: np.ndarray) -> tuple[np.ndarray, dict]:
    """The same by one of this package's solvers: with its samples, without what `at` needs."""
    before, began = objective.counts(), time.process_time()
    flow = solver.integrate(objective, theta.copy(), np.ones(theta.size), Monitor(False))
    cost = _cost(objective, before, time.process_time() - began)
    return flow.at(TIMES), {**cost, "steps": flow.accepted, "rejected": flow.rejected}


def _cost(objective, before, seconds: float) -> dict:
    gradients, _, products = (int(b - a) for a, b in zip(before, objective.counts()))
    return {"seconds": seconds, "gradients": gradients, "products": products}


def compare_flows(cells: dict, quick: bool) -> None:
    try:
        import sksundae.cvode  # noqa: F401
    except ImportError:
        print("  flows are not compared: pip install scikit-sundae")
        return
    for n, k in FLOWS[: 1 if quick else None]:
        key = f"flow erf {n} {k}"
        if key in cells:
            continue
        p = problem("erf", n, k)
        objective, theta = p.objective, p.theta0
        exact, _ = cvode(objective, theta, 1e-12)
        rows: dict = {"CVODE": [], "KrylovBDF": [], "RKC2": []}
        for solver in (KrylovBDF(t1=1.0), RKC2(t1=1.0)):  # compiled before the clock runs
            solver.integrate(objective, theta.copy(), np.ones(theta.size), Monitor(False))
        for tolerance in TOLERANCES:
            settings = {"rtol": tolerance, "atol": tolerance, "t1": float(TIMES[-1]), "gtol": 0.0}
            runs = {
                "CVODE": partial(cvode, objective, theta, tolerance),
                "KrylovBDF": partial(ours, KrylovBDF(**settings), objective, theta),
            }
            if tolerance == 1e-6 and n < 100:
                runs["RKC2"] = partial(ours, RKC2(**settings), objective, theta)
            for name, run in runs.items():
                path, cost = run()
                errors = np.abs(path - exact).max(axis=1)
                rows[name].append({"tolerance": tolerance, "errors": errors.tolist(), **cost})
                print(f"  {key} {name:<10} {tolerance:.0e}  error {_middle(errors):.1e}  {cost}", flush=True)
        cells[key] = {**rows, "ratio": ratio_at_equal_error(rows["CVODE"], rows["KrylovBDF"])}
        print(f"  {key}: CVODE / KrylovBDF at equal error {cells[key]['ratio']:.2f}")
        keep(cells)


def _middle(errors) -> float:
    """The geometric mean of errors at the times."""
    return float(np.exp(np.mean(np.log(errors))))


def ratio_at_equal_error(theirs: list, mine: list) -> float:
    """Geometric mean over errors that both reach of seconds against seconds, by lines through logarithms."""
    a, b = (
        np.log([[_middle(row["errors"]), row["seconds"]] for row in sorted(rows, key=_row_error)])
        for rows in (theirs, mine)
    )
    errors = np.linspace(max(a[0, 0], b[0, 0]), min(a[-1, 0], b[-1, 0]), 20)
    return float(np.exp(np.mean(np.interp(errors, *a.T) - np.interp(errors, *b.T))))


def _row_error(row: dict) -> float:
    return _middle(row["errors"])


def whole_run(activation: str, n: int, k: int, seed: int) -> dict:
    """`gf.train` with everything automatic, and its report."""
    p = problem(activation, n, k, seed)
    began, clock = time.process_time(), time.perf_counter()
    result = gf.train(p, progress=False)
    text = str(result)
    flow, refinement = result.flow, result.refinement
    assert flow is not None and refinement is not None
    return {
        "parameters": p.size,
        "processor_seconds": time.process_time() - began,
        "seconds": time.perf_counter() - clock,
        "converged": result.converged,
        "channel": None if result.channel is None else str(result.channel),
        "loss": result.loss,
        "grad_norm": result.grad_norm,
        "flow": {"t": flow.end_time, "steps": flow.accepted, "why": flow.stop_reason.name, **_counts(flow)},
        "refinement": {
            "steps": refinement.iterations,
            "why": refinement.stop_reason.name,
            **_counts(refinement),
        },
        "report_lines": text.count("\n"),
    }


def _counts(stage) -> dict:
    return {"gradients": stage.counts.gradients, "products": stage.counts.products}


def find_ends(cells: dict, quick: bool) -> None:
    for activation, sizes in ENDS.items():
        for n, k in sizes[: 1 if quick else None]:
            for seed in range(2 if quick else 10):
                key = f"end {activation} {n} {k} seed {seed}"
                if key not in cells:
                    cells[key] = whole_run(activation, n, k, seed)
                    print(f"  {key}: {_line(cells[key])}", flush=True)
                    keep(cells)


def grow(cells: dict, quick: bool) -> None:
    for n, k in GROWTH[: 3 if quick else None]:
        key = f"growth erf {n} {k}"
        if key not in cells:
            cells[key] = whole_run("erf", n, k, 0)
            print(f"  {key}: {_line(cells[key])}", flush=True)
            keep(cells)
    done = [(n * k * (k + 1), cells[key]["processor_seconds"]) for n, k in GROWTH
            if (key := f"growth erf {n} {k}") in cells]  # fmt: skip
    if len(done) > 2:
        x, y = np.log(np.array(done)).T
        print(f"  seconds grow as (n k d)^{np.polyfit(x[-4:], y[-4:], 1)[0]:.2f}")


def _line(cell: dict) -> str:
    state = "converged" if cell["converged"] else cell["channel"] or "NOT CONVERGED"
    return (
        f"{cell['parameters']:,} parameters, {state}, loss {cell['loss']:.12g}, "
        f"|∇L| {cell['grad_norm']:.1e}, {cell['processor_seconds']:.2f} s, flow {cell['flow']}, "
        f"refinement {cell['refinement']}"
    )


def keep(cells: dict) -> None:
    """Write all cells; quick ones are not kept."""
    if "quick" not in cells:
        write("scale", cells)


def picture(cells: dict, path) -> None:
    """Seconds against error, for the flows; seconds of whole runs against n k d, with their slope."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained")
    for colour, (n, k) in zip(("C0", "C1", "C2"), FLOWS):
        found = cells.get(f"flow erf {n} {k}", {})
        for name, style in (("CVODE", "o--"), ("KrylovBDF", "s-")):
            rows = sorted(found.get(name, []), key=_row_error)
            left.loglog([_row_error(row) for row in rows], [row["seconds"] for row in rows], style,
                        color=colour, label=f"{name}, {n * (k + 2):,}", markersize=4)  # fmt: skip
    left.set(xlabel="error (geometric mean over times)", ylabel="processor seconds")
    left.set_ylim(top=5.0 * left.get_ylim()[1])
    left.legend(fontsize=7, ncols=3, loc="upper center")
    done = [(n * k * (k + 1), cells[key]["processor_seconds"]) for n, k in GROWTH
            if (key := f"growth erf {n} {k}") in cells]  # fmt: skip
    if len(done) > 2:
        x, y = np.array(done).T
        slope = np.polyfit(np.log(x[-4:]), np.log(y[-4:]), 1)[0]
        right.loglog(x, y, "ko-", label=f"whole run, slope {slope:.2f} at the end")
        right.legend(fontsize=8)
    right.set(xlabel="n k d", ylabel="processor seconds")
    figure.savefig(path, dpi=110)
    plt.close(figure)


PARTS = {"flow": compare_flows, "ends": find_ends, "growth": grow}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    parser.add_argument("--quick", action="store_true", help="the smallest cells only, nothing kept")
    parser.add_argument("--anew", action="store_true", help="forget the cells that are there")
    chosen = parser.parse_args(argv)
    print(describe(machine()))
    path = RESULTS / "scale.json"
    cells: dict = {"quick": True} if chosen.quick else {}
    if path.exists() and not (chosen.anew or chosen.quick):
        cells = json.loads(path.read_text())["results"]
    for part in chosen.parts or PARTS:
        PARTS[part](cells, chosen.quick)
    if not chosen.quick:
        picture(cells, RESULTS / "scale.png")
