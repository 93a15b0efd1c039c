"""Figures 7, 9, 10, 12 of Tian 2020: which teacher nodes are learned, by SGD and by gradient flow.

    python -m benchmarks papers [--polarities 0 0.5 …] [--widths 5 10 20] [--factors 1 2 5 10] [--seeds 32]
                                [--dim 100] [--outputs 50] [--samples 10000] [--epochs 100] [--rate 0.01]
                                [--quick] [--executor threads] [--workers 2] [--folder FOLDER]
                                [--store FOLDER] [--anew]

Two-layer ReLU networks without biases on standard Gaussian inputs (half of them activate a node), outgoing
norms 1/j^p, students of 1, 2, 5, 10 times as many nodes. SGD goes through stored samples in batches of 16
(the settings of the published code are the defaults); the flow goes on for as long, rate·steps/2. After 5
epochs and at the end: the share of teacher nodes with a correlation above 0.95, the mean best correlation,
the loss on infinitely many inputs over E|f*|²; means over seeds with 95 % intervals (Student's t), and the
difference of SGD and flow, paired by seeds. Finished runs are kept in FOLDER/papers.runs and the next call
goes on from there, with more seeds as well. What was run stands in the results.
"""

from __future__ import annotations

import argparse
import json
import math
import time

import numpy as np
import scipy.stats

from gradflow import solvers
from gradflow.losses.problem import Problem
from gradflow.networks import MLP
from gradflow.run.training import train
from gradflow.theory.specialization import dynamics
from gradflow.theory.specialization.online_sgd import sgd

from . import _runs, _timing

BATCH = 16
QUICK = {"polarities": [0.0, 1.0], "widths": [5], "factors": [1, 2], "seeds": 2, "dim": 10, "outputs": 5}
QUICK |= {"samples": 320, "epochs": 10, "rate": 0.05}


def look(student: MLP, teacher: MLP) -> dict:
    """What a student has learned."""
    found = dynamics.correlation(student.weights[0], teacher.weights[0])
    problem, nothing = Problem(teacher, student), student.with_flat(0.0 * student.flat())
    zero = Problem(teacher, MLP([student.weights[0], nothing.weights[1]], None, "relu"))
    return {
        "best": found.max(axis=0).tolist(),
        "loss": problem.loss(problem.theta0) / zero.loss(zero.theta0),
    }


def run(
    how: str, polarity: float, width: int, factor: int, seed: int,
    dim: int, outputs: int, samples: int, epochs: int, rate: float,
) -> dict:  # fmt: skip
    """One run: the best correlations of every teacher node and the loss, early and at the end."""
    began = time.process_time()
    student, teacher = dynamics.networks(width, factor, dim, outputs, polarity, seed)
    steps = epochs * samples // BATCH
    early = min(5, epochs) * samples // BATCH
    if how == "sgd":
        path = dict(sgd(student, teacher, rate, BATCH, steps, seed, max(epochs // 5, 1), samples))
        ends = [path[early], path[steps]]
    else:
        solver = solvers.RKC2(rtol=1e-3, atol=1e-5, t1=0.5 * rate * steps, gtol=1e-8)
        flow = train(teacher, student, solver=solver, refiner=None, progress=False).flow
        times = (0.5 * rate * early, flow.times[-1])
        ends = [student.with_flat(flow.at(min(t, flow.times[-1]))) for t in times]
    looks = [look(there, teacher) for there in ends]
    return {"looks": json.dumps(looks), "seconds": time.process_time() - began}


def interval(values: np.ndarray) -> list[float]:
    """The mean and half its 95 % interval."""
    if values.size < 2:
        return [float(values.mean()), math.inf]
    error = values.std(ddof=1) / math.sqrt(values.size)
    return [float(values.mean()), float(scipy.stats.t.isf(0.025, values.size - 1) * error)]


def measured(rows: list[dict]) -> dict[str, np.ndarray]:
    """One value for each seed of success, mean best correlation and loss, early and late."""
    looks = [json.loads(row["looks"]) for row in rows]
    found = {}
    for at, name in enumerate(("early", "late")):
        best = np.array([seen[at]["best"] for seen in looks])
        found[f"success_{name}"] = (best > dynamics.SUCCESS).mean(axis=1)
        found[f"correlation_{name}"] = best.mean(axis=1)
        found[f"loss_{name}"] = np.array([seen[at]["loss"] for seen in looks])
        found[f"by_teacher_{name}"] = (best > dynamics.SUCCESS).mean(axis=0)
    return found


def cell(key: tuple, rows: dict[str, list[dict]]) -> dict:
    """Means and intervals of both methods for one polarity, width and factor, and their difference."""
    polarity, width, factor = key
    each = {how: measured(found) for how, found in rows.items()}
    result: dict = {"polarity": polarity, "width": width, "factor": factor, "seeds": len(rows["sgd"])}
    for how, values in each.items():
        for name, per_seed in values.items():
            kept = per_seed.tolist() if name.startswith("by_teacher") else interval(per_seed)
            result[f"{how}_{name}"] = kept
    for name in ("success_late", "correlation_late"):
        result[f"difference_{name}"] = interval(each["sgd"][name] - each["flow"][name])
    result["seconds"] = sum(row["seconds"] for found in rows.values() for row in found)
    return result


def picture(cells: list[dict], path) -> None:
    """Success over polarity by factor, early dotted and late solid; correlation; loss."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    widths = sorted({row["width"] for row in cells})
    figure, axes = plt.subplots(len(widths), 3, figsize=(11, 3.1 * len(widths)), layout="constrained")
    for line, width in zip(np.atleast_2d(axes), widths):
        for colour, factor in enumerate(sorted({row["factor"] for row in cells})):
            chosen = [row for row in cells if (row["width"], row["factor"]) == (width, factor)]
            p = [row["polarity"] for row in chosen]
            for axis, name in zip(line, ("success", "correlation", "loss")):
                for how, mark in (("sgd", "o"), ("flow", "x")):
                    for when, style in (("early", ":"), ("late", "-")):
                        values = np.array([row[f"{how}_{name}_{when}"] for row in chosen])
                        label = f"{factor}x" if (how, when) == ("sgd", "late") else None
                        axis.errorbar(
                            p, values[:, 0], values[:, 1], fmt=f"{mark}{style}", color=f"C{colour}",
                            markersize=4, linewidth=1, capsize=2, label=label,
                        )  # fmt: skip
                axis.set(xlabel="polarity p", ylabel=name, title=f"{width} teacher nodes")
        line[2].set_yscale("log")
        line[0].legend(fontsize=8)
    figure.suptitle("o: SGD, ×: flow; dotted: after 5 epochs, solid: at the end")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks papers")
    parser.add_argument("--polarities", type=float, nargs="+", default=[0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
    parser.add_argument("--widths", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 2, 5, 10])
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--outputs", type=int, default=50)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--quick", action="store_true")
    _runs.add_options(parser, "papers")
    chosen = parser.parse_args(argv)
    if chosen.quick:
        vars(chosen).update(QUICK)
    facts = _timing.machine()
    print(_timing.describe(facts))
    fixed = {name: getattr(chosen, name) for name in ("dim", "outputs", "samples", "epochs", "rate")}
    size = "-".join(f"{value:g}" for value in fixed.values())
    cells = []
    with _runs.executor(chosen) as pool:
        for width in chosen.widths:
            for factor in chosen.factors:
                for polarity in chosen.polarities:
                    grid = {
                        "how": ["sgd", "flow"],
                        "polarity": [polarity],
                        "width": [width],
                        "factor": [factor],
                    }
                    grid |= {"seed": range(chosen.seeds)} | {name: [value] for name, value in fixed.items()}
                    part = f"{size}/w{width}-f{factor}-p{polarity:g}"
                    rows = _runs.sweep(part, grid, run, chosen, pool)
                    both = {how: [row for row in rows if row["how"] == how] for how in ("sgd", "flow")}
                    found = cell((polarity, width, factor), both)
                    cells.append(found)
                    words = ", ".join(
                        f"{how} {found[f'{how}_success_late'][0]:.2f} ± {found[f'{how}_success_late'][1]:.2f}"
                        for how in both
                    )
                    print(f"  {width} teachers, {factor}x, p {polarity:g}: success {words}", flush=True)
    results = {"size": fixed | {"batch": BATCH, "seeds": chosen.seeds}, "rows": cells}
    results["seconds"] = sum(found["seconds"] for found in cells)
    picture(cells, chosen.folder / "papers.png")
    print(f"written: {_timing.write('papers', results, facts, chosen.folder)}")
