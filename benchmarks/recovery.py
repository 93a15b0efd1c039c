"""Networks recovered from their outputs: Expand-and-Cluster's tasks, by its recipe and by consensus.

    python -m benchmarks recovery SLICE … [--draws 0] [--data mnist10k.npz]
                                  [--workers 1] [--executor processes] [--store FOLDER] [--anew]

Slices: parity (150 teachers d = 2 … 32, r = 2, 4, 8 by `recover`), baseline (the same by
`expand_and_cluster`), activations (8×8 digits, r = 16, 32), mnist (r = 64), deep (8-4-2-1, 16-8-4-2),
noise, sensitivity, pruning. Finished teachers are kept and not repeated. Each slice is written to
`recovery-SLICE.json` and, runs by runs, `recovery-SLICE.h5`. Seconds are CPU seconds of the thread
that did the work. A comparison with the teacher is made after the recovery, which never sees it.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import numpy as np

import gradflow as gf

from . import _runs, _timing

DIMS, WIDTHS = (2, 4, 8, 16, 32), (2, 4, 8)
QUERIES = 30_000


def outcome(found, teacher: gf.MLP, X: np.ndarray, seconds: float) -> dict:
    """The row of one recovery of a network of one hidden layer."""
    certificate = found.certificate
    beside = gf.recovery.compare(found.network, teacher, X, certificate)
    return {
        "exact": found.exact,
        "found_width": found.width,
        "excess": beside.excess,
        "rmse": found.rmse,
        "difference": beside.parameters,
        "in_mean": float(beside.inputs.mean()),
        "in_max": float(beside.inputs.max()),
        "out_mean": float(beside.outputs.mean()),
        "out_max": float(beside.outputs.max()),
        "mirrored": int(beside.mirrored.sum()),
        "students": len(found.students),
        "held_out": None if certificate is None else certificate.held_out,
        "estimate": None if certificate is None else float(certificate.neuron_errors.max(initial=0.0)),
        "cpu": seconds,
    }


def parity(input_dim: int, width: int, teacher: int, draw: int) -> dict:
    """One teacher of A.4 by `recover`, its width unknown."""
    seed = np.random.SeedSequence([draw, teacher, input_dim, width])
    made = gf.teachers.parity(input_dim, width, seed=seed)
    X = gf.teachers.uniform_inputs(input_dim, QUERIES, seed=seed.spawn(1)[0])
    began = time.thread_time()
    found = gf.recovery.recover(X, made(X), activation="g", seed=teacher, progress=False)
    return outcome(found, made, X, time.thread_time() - began)


def baseline(input_dim: int, width: int, teacher: int, draw: int) -> dict:
    """The same teacher by the paper's recipe, told four times the width and A.6.4's numbers of students."""
    seed = np.random.SeedSequence([draw, teacher, input_dim, width])
    made = gf.teachers.parity(input_dim, width, seed=seed)
    X = gf.teachers.uniform_inputs(input_dim, QUERIES, seed=seed.spawn(1)[0])
    began = time.thread_time()
    found = gf.recovery.expand_and_cluster(
        X, made(X), activation="g", width=width, students=10 if width == 8 else 20, seed=teacher
    )
    row = outcome(found, made, X, time.thread_time() - began)
    return row | {"zero_loss": sum(s["loss"] <= 1e-10 for s in found.students)}


TABLE = ("tanh", "sigmoid", "g", "softplus", "gelu", "relu", "leaky_relu")


def image_teacher(activation: str, width: int, X: np.ndarray, y: np.ndarray) -> gf.MLP:
    """A classifier of images: cross-entropy with a weight decay of 1e-4, 150 steps of L-BFGS."""
    start = gf.MLP.random((X.shape[1], width, 10), activation, seed=0)
    problem = gf.Problem(y, start, X, loss="cross_entropy", weight_decay=1e-4, threads=1)
    return gf.train(
        problem, solver=None, refiner=gf.refiners.LBFGS(max_iterations=150), progress=False
    ).student


def digits(activation: str, width: int) -> dict:
    """One classifier of the 8×8 digits, from its ten logits on the 1,797 images."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    X = images / 16.0
    teacher = image_teacher(activation, width, X, labels)
    began = time.thread_time()
    found = gf.recovery.recover(X, teacher(X), activation, students=20, widest=2 * width, progress=False)
    row = outcome(found, teacher, X, time.thread_time() - began)
    accuracy = float((teacher(X).argmax(axis=1) == labels).mean())
    return row | {"ratio": found.width / width, "teacher_accuracy": accuracy}


def noisy(level: float, teacher: int) -> dict:
    """A parity teacher (d = 8, r = 4) whose answers have normal noise of this size."""
    made = gf.teachers.parity(8, 4, seed=teacher)
    X = gf.teachers.uniform_inputs(8, 10_000, seed=teacher + 1000)
    noise = level * np.random.default_rng(teacher).standard_normal((len(X), 1))
    began = time.thread_time()
    found = gf.recovery.recover(
        X, made(X) + noise, "g", floor=1.1 * level, students=60, widest=32, progress=False
    )
    row = outcome(found, made, X, time.thread_time() - began)
    certificate = found.certificate
    known = None if certificate is None else certificate.errors[np.isfinite(certificate.errors)]
    return row | {"bound": None if known is None or not known.size else float(known.max())}


DEEP = {"8-4-2-1": (8, (4, 2), 1), "16-8-4-2": (16, (8, 4), 2)}


def deep(sizes: str, teacher: int) -> dict:
    """A teacher of several hidden layers (A.5), its widths unknown, its depth known."""
    input_dim, widths, outputs = DEEP[sizes]
    made = gf.teachers.parity(input_dim, widths, seed=teacher, outputs=outputs)
    X = gf.teachers.uniform_inputs(input_dim, QUERIES, seed=teacher + 50)
    began = time.thread_time()
    found = gf.recovery.recover_deep(X, made(X), "g", seed=teacher, students=30, progress=False)
    seconds = time.thread_time() - began
    rows, wanted = (np.column_stack([n.weights[0], n.biases[0]]) for n in (found.network, made))
    apart = np.linalg.norm(rows[:, None] - wanted[None], axis=2).min(axis=0).max()
    return {
        "exact": found.exact,
        "right": found.widths == tuple(widths),
        "widths": list(found.widths),
        "rmse": found.rmse,
        "first_layer": float(apart),
        "students": len(found.students),
        "cpu": seconds,
    }


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


def _grid(chosen: argparse.Namespace) -> dict:
    return {
        "input_dim": chosen.dims,
        "width": chosen.widths,
        "teacher": range(chosen.teachers),
        "draw": chosen.draws,
    }


def _teachers(make, name: str, chosen: argparse.Namespace) -> tuple[list[dict], dict]:
    found = _runs.sweep(f"recovery-{name}", _grid(chosen), make, chosen, keep="rows")
    rows = []
    for cell, row in zip(found.cells, found.rows()):
        rows.append(row | cell)
    totals = {"all": summary(rows)}
    for draw in chosen.draws:
        totals[f"draw {draw}"] = summary([r for r in rows if r["draw"] == draw])
    for d in chosen.dims:
        for r in chosen.widths:
            part = [row for row in rows if row["input_dim"] == d and row["width"] == r]
            good = summary(part)
            print(
                f"  d {d:2d} r {r}: {good['recovered']:2d} of {len(part)}, called exact "
                f"{good['called_exact']:2d}, {good['cpu_seconds'] / len(part):6.2f} CPU s each"
            )
    whole = totals["all"]
    print(
        f"  {whole['recovered']} of {whole['teachers']} with the right width and RMSE ≤ 1e-14, "
        f"{whole['called_exact']} called exact, {whole['called_exact_wrongly']} of them wrongly; "
        f"{whole['cpu_seconds']:.0f} CPU seconds"
    )
    return rows, totals


def _parity(chosen):
    return _teachers(parity, "parity", chosen)


def _baseline(chosen):
    return _teachers(baseline, "baseline", chosen)


def _activations(chosen):
    grid = {"activation": chosen.activations, "width": chosen.image_widths}
    found = _runs.sweep("recovery-activations", grid, digits, chosen, keep="rows")
    rows = [row | cell for cell, row in zip(found.cells, found.rows())]
    for row in rows:
        print(
            f"  {row['activation']:<10} r {row['width']}: RMSE {row['rmse']:.1e}, m/r {row['ratio']:.3f}, "
            f"in {row['in_mean']:.0e} ({row['in_max']:.0e}), out {row['out_mean']:.0e} "
            f"({row['out_max']:.0e}), exact {row['exact']}, {row['cpu']:.0f} CPU s"
        )
    return rows, {"cpu_seconds": sum(row["cpu"] for row in rows)}


def _deep(chosen):
    grid = {"sizes": chosen.deep, "teacher": range(chosen.teachers)}
    found = _runs.sweep("recovery-deep", grid, deep, chosen, keep="rows")
    rows = [row | cell for cell, row in zip(found.cells, found.rows())]
    totals = {}
    for sizes in chosen.deep:
        part = [row for row in rows if row["sizes"] == sizes]
        totals[sizes] = {
            "teachers": len(part),
            "right": sum(row["right"] and row["rmse"] <= 1e-13 for row in part),
            "called_exact": sum(row["exact"] for row in part),
            "called_exact_wrongly": sum(row["exact"] and not row["right"] for row in part),
            "cpu_seconds": sum(row["cpu"] for row in part),
        }
        print(f"  {sizes}: {totals[sizes]}")
    return rows, totals


def _noise(chosen):
    grid = {"level": [10.0**-k for k in range(8, 1, -1)], "teacher": range(chosen.teachers)}
    found = _runs.sweep("recovery-noise", grid, noisy, chosen, keep="rows")
    rows = [row | cell for cell, row in zip(found.cells, found.rows())]
    totals = {}
    for level in grid["level"]:
        part = [row for row in rows if row["level"] == level]
        right = [row for row in part if row["excess"] == 0]
        worst = max((row["difference"] for row in right), default=None)
        totals[f"{level:g}"] = {
            "right_width": len(right),
            "teachers": len(part),
            "largest_error": worst,
            "largest_bound": max((row["bound"] for row in right if row["bound"]), default=None),
        }
        print(f"  noise {level:g}: {totals[f'{level:g}']}")
    _noise_picture(rows)
    return rows, totals


def _noise_picture(rows: list[dict]) -> None:
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 3.5), layout="constrained")
    right = [row for row in rows if row["excess"] == 0 and row["bound"]]
    axis.loglog([r["level"] for r in right], [r["difference"] for r in right], "o", ms=4, label="error")
    axis.loglog([r["level"] for r in right], [r["bound"] for r in right], "_", ms=9, label="its bound")
    axis.set(xlabel="noise in the answers", ylabel="largest error of a weight")
    axis.legend()
    figure.savefig(_timing.RESULTS / "recovery-noise.png", dpi=110)
    plt.close(figure)


SLICES = {
    "parity": _parity,
    "baseline": _baseline,
    "activations": _activations,
    "noise": _noise,
    "deep": _deep,
}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks recovery")
    parser.add_argument("slices", nargs="+", choices=sorted(SLICES), metavar="SLICE")
    parser.add_argument("--draws", type=int, nargs="+", default=[0])
    parser.add_argument("--dims", type=int, nargs="+", default=list(DIMS))
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--teachers", type=int, default=10)
    parser.add_argument("--activations", nargs="+", choices=TABLE, default=list(TABLE))
    parser.add_argument("--deep", nargs="+", choices=list(DEEP), default=list(DEEP))
    parser.add_argument("--image-widths", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--data", type=Path, help="MNIST as NPZ or IDX files")
    _runs.add_options(parser, workers=1)
    chosen = parser.parse_args(argv)
    facts = _timing.machine()
    print(_timing.describe(facts))
    for name in chosen.slices:
        print(name)
        began = time.perf_counter()
        rows, totals = SLICES[name](chosen)
        totals["wall_seconds_of_this_call"] = time.perf_counter() - began
        path = _timing.write(f"recovery-{name}", {"totals": totals, "rows": rows}, facts)
        merged = (chosen.store or _timing.RESULTS / "runs") / f"recovery-{name}" / "merged.h5"
        if merged.is_file():
            shutil.copyfile(merged, path.with_suffix(".h5"))
        print(f"written: {path}")
