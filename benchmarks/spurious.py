"""Spurious minima of k ReLU neurons on k orthonormal ones, output weights fixed: rates and classes.

    python -m benchmarks spurious [--widths 6 7 8 9 10] [--starts 1000] [--threads 2] [--again]

For each k, flows from W = randn/√k with tolerances 1e-6, followed to a gradient of 1e-6 and refined; the
share that ends at a minimum that is not global, its 95 % interval; the minima that exist, as symmetric
points, each with its loss, smallest eigenvalue and how many starts reached it; and the classes found (up to
permutations of students and teachers). Meant: k = 6…10 with 1,000 starts each in under 15 minutes on two
cores. Every 50 starts the state goes to the file
benchmarks/results/spurious.part, and the next call goes on from there; `--again` begins anew.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator

import numpy as np
import scipy.stats

from gradflow.theory.spurious_minima import minima
from gradflow.theory.spurious_minima import rates as spurious_minima

from . import _timing

PIECE = 50


def rate(width: int, starts: int, threads: int, state: dict) -> Iterator[None]:
    """Fill the state of one k up to `starts`, going on from where it is; yields after every piece."""
    row = state.setdefault(str(width), {"seconds": 0.0, "ends": []})
    while len(row["ends"]) < starts:
        began = time.perf_counter()
        seeds = range(len(row["ends"]), min(starts, len(row["ends"]) + PIECE))
        for end in spurious_minima.outcomes(width, seeds, threads=threads):
            weights = end.weights.tolist() if end.loss > minima.GLOBAL else None
            row["ends"].append([end.seed, weights, end.loss, end.grad_norm, end.smallest])
        row["seconds"] += time.perf_counter() - began
        yield


def summary(width: int, row: dict) -> dict:
    """Rate, its interval, and the classes of the minima that are not global."""
    ends = [
        spurious_minima.Outcome(seed, np.eye(width) if weights is None else np.array(weights), *numbers)
        for seed, weights, *numbers in row["ends"]
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
        "seconds": row["seconds"],
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
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="forget what the file has")
    chosen = parser.parse_args(argv)
    facts = _timing.machine()
    print(_timing.describe(facts))
    partial = _timing.RESULTS / "spurious.part"
    state = {} if chosen.again or not partial.exists() else json.loads(partial.read_text())
    rows = []
    for width in chosen.widths:
        for _ in rate(width, chosen.starts, chosen.threads, state):
            temporary = partial.with_suffix(".tmp")
            temporary.write_text(json.dumps(state))
            temporary.replace(partial)
        rows.append(summary(width, state[str(width)]))
        _show(rows[-1])
    print(f"{sum(row['seconds'] for row in rows):.0f} s in all")
    print(f"written: {_timing.write('spurious', {'rows': rows}, facts)}")
