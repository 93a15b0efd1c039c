"""The copy/average phase diagram: where gradient flow ends over student width n and teacher width k.

    python -m benchmarks phase [--smallest 4] [--largest 12] [--starts 50] [--executor threads] [--workers 2]
                               [--folder FOLDER] [--store FOLDER] [--anew]
    python -m benchmarks phase --k 100 [--starts 50] [--minutes 90] [--widths 1 2 …]

For k = 4…12 (or more) and n = 1…k, flows from Glorot-normal erf students in d = k + 1 with rtol 1e-6,
followed to a gradient of 1e-6 and then refined; the share of starts that end at the C-A optimal point, at
P-n-C, and elsewhere. γ₁: the largest n/k up to which all end at C-A optimal; γ₂: the smallest from which none
does; between them the n/k at which half of the starts do.
Beside them, from the blocks of the Hessian, where P-n-C becomes and C-A optimal ceases to be a minimum.
Meant: k ≤ 12 in under 10 minutes, k ≤ 20 in under an hour on two cores. Finished runs are kept in
FOLDER/phase.runs (`gradflow.sweep`), and the next call goes on from there, also with more starts or larger k;
`--anew` begins anew. The seconds are those of the runs, added up.

With `--k` one teacher width of hundreds, without matrices: five starts of every width, from coarse to fine,
then all starts where they disagree, then those elsewhere, and no more begun after so many minutes; the next
call goes on. Where the share of C-A falls
through 95, 50 and 5 % with 95 % intervals, beside the theory's limits; every end that is neither C-A optimal
nor P-n-C is listed with its loss, spectrum and symmetry. Into `phase_K.json` and `phase_K.png`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from concurrent.futures import Executor

import numpy as np

import gradflow as gf
from gradflow.theory.copy_average import phase, transition

from . import _runs, _timing


def run(k: int, n: int, seed: int) -> dict:
    """The end of one start."""
    began = time.perf_counter()
    end = phase.end(n, k, seed)
    row = {name: value for name, value in dataclasses.asdict(end).items() if name != "seed"}
    return row | {"seconds": time.perf_counter() - began}


def summary(n: int, k: int, rows: list[dict]) -> dict:
    """Shares, the worst gradient and the number of steps of a cell of the diagram."""
    fields = [field.name for field in dataclasses.fields(phase.End)]
    found = [phase.End(**{name: row[name] for name in fields}) for row in rows]
    return {
        "n": n,
        "k": k,
        "starts": len(found),
        "shares": phase.shares(found),
        "other_losses": sorted({round(e.loss, 9) for e in found if e.configuration == "other"}),
        "worst_gradient": max(e.grad_norm for e in found),
        "longest_time": max(e.time for e in found),
        "steps": int(np.median([e.steps for e in found])),
        "seconds": sum(row["seconds"] for row in rows),
    }


def width(k: int, chosen: argparse.Namespace, pool: Executor | None) -> list[dict]:
    """The cells of one teacher width."""
    grid = {"k": [k], "n": range(1, k + 1), "seed": range(chosen.starts)}
    ends = _runs.sweep(f"k{k}", grid, run, chosen, pool)
    return [summary(n, k, [row for row in ends if row["n"] == n]) for n in grid["n"]]


LIMIT_STYLES = ("k--", "k-", "k:")
LIMIT_NAMES = ("P-n-C a minimum to the right", "equal losses", "C-A optimal a minimum to the left")
"""How the values of `transition.gammas` are drawn, in their order."""


def picture(rows: list[dict], path) -> None:
    """The share of C-A optimal over (n/k, k), with the limits of stability."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.8, 4.4), layout="constrained")
    inner = [row for row in rows if row["n"] < row["k"]]
    shade = [row["shares"].get("C-A", 0.0) for row in inner]
    points = axes.scatter(
        [row["n"] / row["k"] for row in inner], [row["k"] for row in inner],
        c=shade, cmap="coolwarm", vmin=0, vmax=1, s=90, edgecolors="k", linewidths=0.4,
    )  # fmt: skip
    widths = sorted({row["k"] for row in rows if row["k"] >= 6})
    limits = [list(transition.gammas(k).values()) for k in widths]
    for values, style, name in zip(zip(*limits), LIMIT_STYLES, LIMIT_NAMES):
        axes.plot(values, widths, style, label=name)
    axes.set(xlabel="n / k", ylabel="k", title="share of flows that end at C-A optimal")
    if widths:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    figure.colorbar(points)
    figure.savefig(path, dpi=110)
    plt.close(figure)


BLOCK = 5
"""Starts of a width that are done before those of the next begin."""


def run_at_size(k: int, n: int, seed: int) -> dict:
    """The end of one start, and what is known of one that is neither configuration."""
    began = time.process_time()
    end, other = phase.end_at_size(n, k, seed)
    row = {name: value for name, value in dataclasses.asdict(end).items() if name != "seed"}
    return row | {"other": json.dumps(other), "seconds": time.process_time() - began}


def coarse_to_fine(k: int) -> list[list[int]]:
    """Widths 1 … k − 1 in blocks: every sixteenth, then those half way between, and so on."""
    blocks, seen, stride = [], set(), max(k // 6, 1)
    while len(seen) < k - 1:
        block = [n for n in range(stride, k, stride) if n not in seen]
        seen.update(block)
        blocks += [block] if block else []
        if stride == 1:
            break
        stride = max(stride // 2, 1)
    return blocks


def kept(k: int, chosen: argparse.Namespace) -> dict[int, list[dict]]:
    """The finished runs of every width of students, from this call and earlier ones."""
    folder = chosen.store or chosen.folder / f"{chosen.name}.runs"
    parts = {n: folder / f"k{k}-n{n}" for n in range(1, k + 1)}
    return {n: gf.Sweep.load(part).rows() for n, part in parts.items() if part.exists()}


def in_transition(shares: dict[int, float]) -> list[int]:
    """The widths about which starts disagree, and those between a width of all and a width of none."""
    low = max((n for n, share in shares.items() if share == 1.0), default=min(shares))
    high = min((n for n, share in shares.items() if share == 0.0 and n > low), default=max(shares))
    mixed = [n for n, share in shares.items() if 0.0 < share < 1.0]
    return [n for n in shares if min([low, *mixed]) <= n <= max([high, *mixed])]


def one_width(chosen: argparse.Namespace, facts: dict) -> None:
    """The column of the diagram of one teacher width, as far as the minutes go.

    A few starts of every width, from coarse to fine; then all starts of the widths in the transition; then
    those of the others.
    """
    k, began = chosen.k, time.monotonic()
    shares: dict[int, float] = {}

    def follow(widths: list[int], starts: int) -> None:
        for n in widths:
            if time.monotonic() - began > 60.0 * chosen.minutes:
                return
            grid = {"k": [k], "n": [n], "seed": range(starts)}
            rows = _runs.sweep(f"k{k}-n{n}", grid, run_at_size, chosen, pool)
            found = summary(n, k, rows)["shares"]
            shares[n] = found.get("C-A", 0.0)
            words = ", ".join(f"{name} {part:.0%}" for name, part in found.items())
            print(f"  k {k} n {n:3d}: {words} of {len(rows)}", flush=True)

    with _runs.executor(chosen) as pool:
        for block in [chosen.widths] if chosen.widths else coarse_to_fine(k):
            follow(block, min(BLOCK, chosen.starts))
        chosen.anew = False
        middle = in_transition(shares)
        for group in (middle, sorted(set(shares) - set(middle))):
            for last in range(2 * BLOCK, chosen.starts + BLOCK, BLOCK):
                follow(group, min(last, chosen.starts))
    cells, others, counts = [], [], []
    for n, rows in kept(k, chosen).items():
        cells.append(summary(n, k, rows))
        counts.append((n, sum(row["configuration"] == "C-A" for row in rows), len(rows)))
        for row in rows:
            if row["other"] != "null":
                known = {name: row[name] for name in ("seed", "configuration", "loss", "grad_norm")}
                others.append({"n": n, **known, **json.loads(row["other"])})
    found = phase.intervals(counts, k) if len(counts) > 1 else {}
    theory = transition.gammas(k)
    for name, (middle, low, high) in found.items():
        print(f"  {name}: {middle:.3f} [{low:.3f}, {high:.3f}]")
    print(f"  by stability and loss: {theory}")
    for row in others:
        print(f"  neither: {row}")
    found = {name: row for name, row in found.items() if np.isfinite(row).all()}
    theory = {name: at for name, at in theory.items() if np.isfinite(at)}
    results = {"k": k, "cells": cells, "intervals": found, "theory": theory, "others": others}
    picture_of_width(results, chosen.folder / f"phase_{k}.png")
    print(f"written: {_timing.write(f'phase_{k}', results, facts, chosen.folder)}")


def picture_of_width(results: dict, path) -> None:
    """The shares over n/k with the theory's limits."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    k, cells = results["k"], results["cells"]
    figure, axes = plt.subplots(figsize=(6.8, 3.8), layout="constrained")
    for name, colour in (("C-A", "C3"), ("P-n-C", "C0")):
        share = [cell["shares"].get(name, 0.0) for cell in cells]
        axes.plot([cell["n"] / k for cell in cells], share, "o-", color=colour, label=name, markersize=3)
    rest = [1.0 - sum(c["shares"].get(name, 0.0) for name in ("C-A", "P-n-C")) for c in cells]
    if max(rest) > 1e-9:
        axes.plot([cell["n"] / k for cell in cells], rest, "k.", label="neither")
    for at, style, name in zip(results["theory"].values(), LIMIT_STYLES, LIMIT_NAMES):
        axes.axvline(at, linestyle=style[1:], color="k", linewidth=0.8, label=name)
    found = results["intervals"]
    if {"gamma_1", "gamma_2"} <= set(found):
        span = (found["gamma_1"][1], found["gamma_2"][2])
        axes.axvspan(*span, color="0.92", zorder=0, label="from 95 to 5 % (95 % sure)")
    if "half" in found:
        axes.axvspan(*found["half"][1:], color="0.78", zorder=0, label="half of the flows (95 % sure)")
    axes.set(xlabel="n / k", ylabel="share of flows", title=f"k = {k}: where flows end")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks phase")
    parser.add_argument("--smallest", type=int, default=4)
    parser.add_argument("--largest", type=int, default=12)
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--k", type=int, help="one teacher width of hundreds instead")
    parser.add_argument("--widths", type=int, nargs="+", help="with --k: these student widths only")
    parser.add_argument("--minutes", type=float, default=90.0, help="with --k: begin nothing after these")
    _runs.add_options(parser, "phase")
    chosen = parser.parse_args(argv)
    facts = _timing.machine()
    print(_timing.describe(facts))
    if chosen.k is not None:
        one_width(chosen, facts)
        return
    began = time.perf_counter()
    phase.end(2, 4, 0)
    print(f"  compiled, or found compiled, in {time.perf_counter() - began:.1f} s")
    rows: list[dict] = []
    diagram: dict[tuple[int, int], dict[str, float]] = {}
    widths = range(chosen.smallest, chosen.largest + 1)
    with _runs.executor(chosen) as pool:
        for k in widths:
            for row in width(k, chosen, pool):
                rows.append(row)
                diagram[row["n"], k] = row["shares"]
                words = ", ".join(f"{name} {share:.0%}" for name, share in row["shares"].items())
                print(
                    f"  k {k:2d} n {row['n']:2d}: {words:<28} worst |grad| {row['worst_gradient']:.1e}, "
                    f"t to {row['longest_time']:.2g}, {row['seconds']:.1f} s",
                    flush=True,
                )
            first, second = phase.boundaries(diagram, k)
            half = phase.half_way(diagram, k)
            print(
                f"  k {k}: all C-A up to n/k = {first:.3f}, half at {half:.3f}, none from {second:.3f}",
                flush=True,
            )
    gammas = {k: [*phase.boundaries(diagram, k), phase.half_way(diagram, k)] for k in widths}
    results = {
        "rows": rows,
        "boundaries": {str(k): [g if np.isfinite(g) else None for g in row] for k, row in gammas.items()},
        "seconds": sum(row["seconds"] for row in rows),
    }
    print(f"{results['seconds']:.0f} s of runs in all")
    picture(rows, chosen.folder / "phase.png")
    print(f"written: {_timing.write('phase', results, facts, chosen.folder)}")
