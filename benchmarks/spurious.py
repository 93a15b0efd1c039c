"""Spurious minima of k ReLU neurons on k orthonormal ones, output weights fixed: rates and classes.

    python -m benchmarks spurious [--widths 6 7 8 9 10] [--starts 1000] [--executor threads] [--workers 2]
                                  [--folder FOLDER] [--store FOLDER] [--anew]

For each k, flows from W = randn/√k with tolerances 1e-6, followed to a gradient of 1e-6 and refined; the
share that ends at a minimum that is not global, its 95 % interval; the minima that exist, as symmetric
points, each with its loss, smallest eigenvalue and how many starts reached it; and the classes found (up to
permutations of students and teachers). Meant: k = 6…10 with 1,000 starts each in under 15 minutes on two
cores. Finished runs are kept in FOLDER/spurious.runs (`gradflow.sweep`), and the next call goes on from
there, also with more starts; `--anew` begins anew. The seconds are those of the runs, added up.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import scipy.stats

from gradflow.theory.spurious_minima import minima
from gradflow.theory.spurious_minima import rates as spurious_minima

from . import _runs, _timing


def run(width: int, seed: int) -> dict:
    """The end of one start; its weights where it is no global minimum."""
    began = time.perf_counter()
    (end,) = spurious_minima.outcomes(width, [seed])
    return {
        "weights": end.weights.tolist() if end.loss > minima.GLOBAL else None,
        "loss": end.loss,
        "grad_norm": end.grad_norm,
        "smallest": end.smallest,
        "seconds": time.perf_counter() - began,
    }


def summary(width: int, rows: list[dict]) -> dict:
    """Rate, its interval, and the classes of the minima that are not global."""
    ends = [
        spurious_minima.Outcome(
            row["seed"],
            np.eye(width) if row["weights"] is None else np.array(row["weights"]),
            row["loss"],
            row["grad_norm"],
            row["smallest"],
        )
        for row in rows
    ]
    spurious = [end for end in ends if end.spurious]
    interval = scipy.stats.binomtest(len(spurious), len(ends)).proportion_ci(0.95, method="wilson")
    losses = [end.loss for end in spurious]
    exist = minima.minima(width)
    hits = minima.tally(losses, exist)
    return {
        "width": width,
        "starts": len(ends),
        "spurious": len(spurious),
        "rate": len(spurious) / len(ends),
        "interval": [float(interval.low), float(interval.high)],
        "other_ends": sum(end.loss > minima.GLOBAL and not end.spurious for end in ends),
        "worst_gradient": max(end.grad_norm for end in ends),
        "seconds": sum(row["seconds"] for row in rows),
        "exist": [
            {
                "kind": m.kind,
                "count": m.count,
                "loss": m.loss,
                "smallest": m.point.spectrum.smallest,
                "hits": h,
            }
            for m, h in zip(exist, hits)
        ],
        "not_among_them": len(losses) - sum(hits),
        "classes": [
            {
                "hits": group.hits,
                "loss": group.example.loss,
                "smallest": group.example.smallest,
                "grad_norm": group.example.grad_norm,
                "row_classes": list(group.row_classes),
                "seed": group.example.seed,
            }
            for group in sorted(spurious_minima.classes(spurious), key=lambda group: -group.hits)
        ],
    }


def _show(found: dict) -> None:
    low, high = found["interval"]
    print(
        f"  k {found['width']:2d}: {found['spurious']:4d} of {found['starts']} spurious, "
        f"{found['rate']:6.1%} ({low:.1%} to {high:.1%}), {len(found['classes'])} classes, worst |grad| "
        f"{found['worst_gradient']:.1e}, {found['other_ends']} other ends, {found['seconds']:.0f} s; at none "
        f"of the minima known: {found['not_among_them']}"
    )
    for minimum in found["exist"]:
        print(
            f"        {minimum['hits']:4d} hits, loss {minimum['loss']:.10f}, smallest eigenvalue "
            f"{minimum['smallest']:.6f}, {minimum['count']} {minimum['kind']}"
        )


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks spurious")
    parser.add_argument("--widths", type=int, nargs="+", default=[6, 7, 8, 9, 10])
    parser.add_argument("--starts", type=int, default=1000)
    _runs.add_options(parser, "spurious")
    chosen = parser.parse_args(argv)
    facts = _timing.machine()
    print(_timing.describe(facts))
    rows = []
    with _runs.executor(chosen) as pool:
        for width in chosen.widths:
            grid = {"width": [width], "seed": range(chosen.starts)}
            rows.append(summary(width, _runs.sweep(f"k{width}", grid, run, chosen, pool)))
            _show(rows[-1])
    print(f"{sum(row['seconds'] for row in rows):.0f} s of runs in all")
    print(f"written: {_timing.write('spurious', {'rows': rows}, facts, chosen.folder)}")
