"""Networks recovered from their outputs: Expand-and-Cluster's tasks, by its recipe and by consensus.

    python -m benchmarks recovery SLICE … [--draws 0] [--dims 2 …] [--widths 2 …] [--teachers 10]
                                  [--expansions 1 …] [--data mnist10k.npz] [--executor threads] [--workers 1]
                                  [--folder FOLDER] [--store FOLDER] [--anew]

Slices: parity (150 teachers d = 2 … 32, r = 2, 4, 8 by `recover`), baseline (the same by
`expand_and_cluster`), expansion (students of 1, 2, 4 and 8 times the width; figures 4C and 5), sensitivity
(number of students, γ and β; A.7 and A.8), noise, deep (8-4-2-1, 16-8-4-2), activations (8×8 digits), queries
(other images than the teacher's; table 2), pruning (figure 6B), mnist (with `--data`). Finished teachers
are kept and not repeated. Each slice is written to `recovery-SLICE.json` (draws other than the first to
`recovery-SLICE-DRAW.json`), some with a picture. Seconds are CPU seconds of the thread that did the work. A
comparison with the teacher is made after the recovery, which never sees it.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import Executor
from pathlib import Path

import numpy as np

from . import _recovery_cases as cases
from . import _recovery_pictures as pictures
from . import _recovery_pruning as pruning
from . import _runs, _timing

DIMS, WIDTHS = (2, 4, 8, 16, 32), (2, 4, 8)
TABLE = ("tanh", "sigmoid", "g", "softplus", "gelu", "relu", "leaky_relu")

Slice = tuple[list[dict], dict]


def summary(rows: list[dict]) -> dict:
    """How many teachers were recovered, and the worst of those that were."""
    good = [r for r in rows if r["excess"] == 0 and r["rmse"] <= 1e-14]
    wrong = [r for r in rows if r["exact"] and not (r["excess"] == 0 and r["difference"] <= 1e-6)]
    return {
        "teachers": len(rows),
        "recovered": len(good),
        "rmse_1e-14": sum(r["rmse"] <= 1e-14 for r in rows),
        "called_exact": sum(r["exact"] for r in rows),
        "called_exact_wrongly": len(wrong),
        "worst_rmse": max((r["rmse"] for r in good), default=None),
        "worst_difference": max((r["difference"] for r in good), default=None),
        "cpu_seconds": sum(r["cpu"] for r in rows),
        "missed": [
            {k: r.get(k) for k in ("input_dim", "width", "teacher", "draw", "rmse", "excess")}
            for r in rows
            if r not in good
        ],
    }


def teachers(make, name: str, chosen: argparse.Namespace, pool: Executor | None) -> Slice:
    """150 teachers, or those that were asked for."""
    rows: list[dict] = []
    for draw in chosen.draws:
        for d in chosen.dims:
            for r in chosen.widths:
                grid = {"input_dim": [d], "width": [r], "teacher": range(chosen.teachers), "draw": [draw]}
                part = _runs.sweep(f"{name}-{draw}-{d}-{r}", grid, make, chosen, pool, keep="rows")
                rows += part
                good = summary(part)
                print(
                    f"  draw {draw} d {d:2d} r {r}: {good['recovered']:2d} of {len(part)}, called exact "
                    f"{good['called_exact']:2d}, {good['cpu_seconds'] / len(part):6.2f} CPU s each",
                    flush=True,
                )
    totals = {"all": summary(rows)}
    for draw in chosen.draws:
        totals[f"draw {draw}"] = summary([r for r in rows if r["draw"] == draw])
    whole = totals["all"]
    print(
        f"  {whole['recovered']} of {whole['teachers']} with the right width and RMSE ≤ 1e-14, "
        f"{whole['called_exact']} called exact, {whole['called_exact_wrongly']} of them wrongly; "
        f"{whole['cpu_seconds']:.0f} CPU seconds"
    )
    return rows, totals


def _parity(chosen, pool) -> Slice:
    return teachers(cases.parity, "parity", chosen, pool)


def _baseline(chosen, pool) -> Slice:
    return teachers(cases.baseline, "baseline", chosen, pool)


def _expansion(chosen, pool) -> Slice:
    grid = {
        "input_dim": chosen.dims,
        "width": chosen.widths,
        "expansion": chosen.expansions,
        "teacher": range(chosen.teachers),
    }
    rows = _runs.sweep("expansion", grid, cases.expansion, chosen, pool, keep="rows")
    totals = {}
    for d in chosen.dims:
        for rho in grid["expansion"]:
            part = [row for row in rows if row["input_dim"] == d and row["expansion"] == rho]
            losses = [loss for row in part for loss in row["losses"]]
            good = summary(part)
            totals[f"d {d}, {rho} times the width"] = {
                "teachers": len(part),
                "students": len(losses),
                "below_1e-14": sum(loss <= 1e-14 for loss in losses),
                "right_width_and_zero": good["recovered"],
                "called_exact": good["called_exact"],
                "called_exact_wrongly": good["called_exact_wrongly"],
            }
            print(f"  d {d}, ρ {rho}: {totals[f'd {d}, {rho} times the width']}")
    pictures.expansion(rows, chosen.folder / "recovery-expansion.png")
    return rows, totals


def _sensitivity(chosen, pool) -> Slice:
    grid = {"input_dim": chosen.dims, "width": chosen.widths, "teacher": range(chosen.teachers)}
    rows = _runs.sweep("sensitivity", grid, cases.sensitivity, chosen, pool, keep="rows")
    totals: dict = {"teachers": len(rows), "cpu_seconds": sum(row["cpu"] for row in rows)}
    axes = {"count": cases.COUNTS, "gamma": cases.GAMMAS, "beta": cases.BETAS}
    for name, values in axes.items():
        for k, value in enumerate(values):
            part = [(row[name][k], row["width"]) for row in rows]
            totals[f"{name} {value:.3g}"] = {
                "right": sum(excess == 0 and near == width for (excess, near), width in part),
                "mean_excess": float(np.mean([excess for (excess, _), _ in part])),
                "found": float(np.mean([near / width for (_, near), width in part])),
            }
            print(f"  {name} {value:.3g}: {totals[f'{name} {value:.3g}']}")
    pictures.sensitivity(totals, axes, chosen.folder / "recovery-sensitivity.png")
    return rows, totals


def _classifiers(rows: list[dict], axis: str) -> Slice:
    totals = {"cpu_seconds": sum(row["cpu"] for row in rows)}
    for row in rows:
        print(
            f"  {row[axis]:<15} {row['activation']:<10} r {row['width']}: RMSE {row['rmse']:.1e} (on its "
            f"images {row['rmse_on_its_images']:.1e}), m/r {row['ratio']:.3f}, in {row['in_mean']:.0e} "
            f"({row['in_max']:.0e}), out {row['out_mean']:.0e} ({row['out_max']:.0e}), exact {row['exact']}, "
            f"{row['undetermined']} weights undetermined, {row['cpu']:.0f} CPU s"
        )
    return rows, totals


def _activations(chosen, pool) -> Slice:
    rows = []
    for width in chosen.image_widths:
        for name in chosen.activations:  # a folder each: one that takes long does not keep the others
            grid = {"activation": [name], "width": [width]}
            part = f"activations-{name}-{width}"
            rows += _classifiers(
                _runs.sweep(part, grid, cases.digits, chosen, pool, keep="rows"), "activation"
            )[0]
    return rows, {"cpu_seconds": sum(row["cpu"] for row in rows)}


def _queries(chosen, pool) -> Slice:
    grid = {"kind": cases.QUERYING, "activation": chosen.activations[:1], "width": chosen.image_widths[:1]}
    return _classifiers(_runs.sweep("queries", grid, cases.queries, chosen, pool, keep="rows"), "kind")


def _mnist(chosen, pool) -> Slice:
    if chosen.data is None:
        raise SystemExit("mnist: --data names an NPZ or IDX file of its images")
    rows = []
    for name in chosen.activations:
        grid = {"activation": [name], "width": [64], "data": [str(chosen.data)]}
        rows += _classifiers(
            _runs.sweep(f"mnist-{name}", grid, cases.mnist, chosen, pool, keep="rows"), "activation"
        )[0]
    for row in rows:
        del row["data"]
    return rows, {"cpu_seconds": sum(row["cpu"] for row in rows)}


def _deep(chosen, pool) -> Slice:
    rows, totals = [], {}
    for sizes in chosen.deep:
        for draw in chosen.draws:
            numbers = [1000 * draw + teacher for teacher in range(chosen.teachers)]
            grid = {"sizes": [sizes], "teacher": numbers}
            name = f"deep-{sizes}" if draw == 0 else f"deep-{sizes}-{draw}"
            part = _runs.sweep(name, grid, cases.deep, chosen, pool, keep="rows")
            rows += part
            totals[f"{sizes}, draw {draw}"] = {
                "teachers": len(part),
                "right": sum(row["right"] and row["rmse"] <= 1e-13 for row in part),
                "called_exact": sum(row["exact"] for row in part),
                "called_exact_wrongly": sum(
                    row["exact"] and not (row["right"] and row["first_layer"] <= 1e-6) for row in part
                ),
                "cpu_seconds": sum(row["cpu"] for row in part),
            }
            print(f"  {sizes}, draw {draw}: {totals[f'{sizes}, draw {draw}']}", flush=True)
    return rows, totals


def _noise(chosen, pool) -> Slice:
    grid = {"level": [10.0**-k for k in range(8, 1, -1)], "teacher": range(chosen.teachers)}
    rows = _runs.sweep("noise", grid, cases.noisy, chosen, pool, keep="rows")
    totals = {}
    for level in grid["level"]:
        part = [row for row in rows if row["level"] == level]
        right = [row for row in part if row["excess"] == 0]
        totals[f"{level:g}"] = {
            "right_width": len(right),
            "teachers": len(part),
            "called_exact": sum(row["exact"] for row in part),
            "called_exact_wrongly": sum(
                row["exact"] and (row["excess"] != 0 or row["difference"] > row["bound"]) for row in part
            ),
            "median_error": float(np.median([row["difference"] for row in right])) if right else None,
            "largest_error": max((row["difference"] for row in right), default=None),
            "largest_bound": max((row["bound"] for row in right if row["bound"]), default=None),
        }
        print(f"  noise {level:g}: {totals[f'{level:g}']}")
    pictures.noise(rows, chosen.folder / "recovery-noise.png")
    return rows, totals


def _pruning(chosen, pool) -> Slice:
    width = chosen.image_widths[0]
    rows = _runs.sweep("pruning-recover", {"width": [width]}, pruning.recovered, chosen, pool, keep="rows")
    grid = {"method": pruning.PRUNING, "width": [width], "seconds": [round(rows[0]["cpu"])]}
    rows += _runs.sweep("pruning", grid, pruning.pruned, chosen, pool, keep="rows")
    totals: dict = {"cpu_seconds": sum(row["cpu"] for row in rows)}
    for row in rows:
        points = list(zip(row["neurons"], row["parameters"], row["rmse"]))
        at_size = [rmse for neurons, _, rmse in points if neurons <= width]
        best = min(points, key=lambda point: point[2])
        totals[row["method"]] = {
            "best_rmse": best[2],
            "neurons_there": best[0],
            "best_rmse_at_the_teachers_width": min(at_size) if at_size else None,
            "fewest_neurons": min(row["neurons"]),
            "cpu": row["cpu"],
        }
        print(f"  {row['method']}: {totals[row['method']]}")
    pictures.pruning(rows, width, chosen.folder / "recovery-pruning.png")
    return rows, totals


SLICES = {
    "parity": _parity,
    "baseline": _baseline,
    "expansion": _expansion,
    "sensitivity": _sensitivity,
    "noise": _noise,
    "deep": _deep,
    "activations": _activations,
    "queries": _queries,
    "pruning": _pruning,
    "mnist": _mnist,
}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks recovery")
    parser.add_argument("slices", nargs="+", choices=sorted(SLICES), metavar="SLICE")
    parser.add_argument("--draws", type=int, nargs="+", default=[0])
    parser.add_argument("--dims", type=int, nargs="+", default=list(DIMS))
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--teachers", type=int, default=10)
    parser.add_argument("--expansions", type=int, nargs="+", default=[1, 2, 4, 8], help="ρ of expansion")
    parser.add_argument("--activations", nargs="+", choices=TABLE, default=list(TABLE))
    parser.add_argument("--deep", nargs="+", choices=list(cases.NETWORKS), default=["8-4-2-1", "16-8-4-2"])
    parser.add_argument("--image-widths", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--data", type=Path, help="MNIST as NPZ or IDX files")
    _runs.add_options(parser, "recovery", workers=1)
    chosen = parser.parse_args(argv)
    facts = _timing.machine()
    print(_timing.describe(facts))
    chosen.folder.mkdir(parents=True, exist_ok=True)
    with _runs.executor(chosen) as pool:
        for name in chosen.slices:
            print(name)
            began = time.perf_counter()
            rows, totals = SLICES[name](chosen, pool)
            totals["wall_seconds_of_this_call"] = time.perf_counter() - began
            other = "" if 0 in chosen.draws else "".join(f"-{draw}" for draw in chosen.draws)
            path = _timing.write(
                f"recovery-{name}{other}", {"totals": totals, "rows": rows}, facts, chosen.folder
            )
            print(f"written: {path}")
