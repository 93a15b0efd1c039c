"""Proofs in ball arithmetic: how many a minute, for which share of end points, spurious minima k ≤ 20.

    python -m benchmarks certify [--runs 300] [--part speed table share]

A proof is counted with its index and with its re-verification from the exact numbers. `share` trains erf
students of n ≤ k = 4 … 8 neurons from Glorot starts and certifies where they end; those that are not proved
are listed with the reason. CPU seconds are those of the process.
"""

from __future__ import annotations

import argparse
import collections
import statistics
import time

import gradflow as gf
from gradflow.theory.spurious_minima.minima import standing

from . import _timing

SIZES = {
    "P ≤ 50": [(3, 8, 9), (4, 6, 7), (5, 8, 9)],
    "P ≤ 200": [(9, 12, 13), (9, 20, 21), (14, 12, 13)],
}
"""(n, k, d) by number of parameters n (d + 1)."""


def _trained(n: int, k: int, d: int, seed: int, activation: str = "erf"):
    teacher = gf.teachers.orthonormal(k, d, activation)
    student = gf.MLP.random((d, n, 1), activation, bias=False, seed=seed)
    return gf.train(teacher, student, progress=False)


def speed(seconds: float) -> dict:
    """Proofs per minute, index and re-verification included."""
    rows = {}
    for activation in ("erf", "relu"):
        for name, sizes in SIZES.items():
            for n, k, d in sizes:
                result = next(r for seed in range(50) if (r := _trained(n, k, d, seed, activation)).converged)
                proof = gf.certify(result)
                count, began, wall = 0, time.process_time(), time.perf_counter()
                while time.perf_counter() - wall < seconds or count < 3:
                    proof = gf.certify(result)
                    holds = gf.verify_proof(proof).holds
                    count += 1
                cpu = (time.process_time() - began) / count
                key = f"{activation} ({n}, {k}, {d})"
                rows[key] = {
                    "class": name,
                    "parameters": result.theta.size,
                    "per_minute": 60.0 / cpu,
                    "cpu_seconds": cpu,
                    "exists": proof.exists,
                    "verified": bool(holds),
                    "index": proof.index,
                    "radius": proof.radius if proof.exists else None,
                    "newton_step": proof.step if proof.exists else None,
                    "reason": proof.reason,
                }
                print(
                    f"  {name:8} {key:22} P = {result.theta.size:3d}: {60 / cpu:7.0f} per minute, radius "
                    f"{proof.radius:.1e}, Newton's step {proof.step:.1e} {proof.reason}"
                )
    return rows


def table() -> dict:
    """Safran and Shamir's spurious minima, k = 6 … 20, within the ansatz and in the full space."""
    rows = {}
    began = time.process_time()
    for k in range(6, 21):
        for m in (1, 2):
            point = standing("apart", k, m)
            proof = gf.certify(point)
            verified = gf.verify_proof(proof).holds
            student = point.ansatz.student(point.x)
            rates = [1.0] * (k * k) + [0.0] * k
            start = time.process_time()
            full = gf.certify(gf.Problem(point.ansatz.teacher(), student), student.flat(), rates=rates)
            key = f"{k}, ({m}, {k - m})"
            rows[key] = {
                "loss": proof.loss_text,
                "index": proof.index,
                "verified": bool(verified),
                "full_exists": full.exists,
                "full_index": full.index,
                "full_cpu_seconds": time.process_time() - start,
                "full_reason": full.reason,
            }
            print(
                f"  k = {k:2d}, type ({m}, {k - m}): L = {proof.loss_text[1:18]}, index {proof.index}, in "
                f"the full space {full.index}, P = {k * k}, {rows[key]['full_cpu_seconds']:.2f} s"
            )
    total = time.process_time() - began
    print(f"  {total:.1f} s of CPU in all")
    return {"rows": rows, "cpu_seconds": total}


def share(runs: int) -> dict:
    """How many of the end points of erf runs are proved."""
    sizes = [(n, k) for k in range(4, 9) for n in range(1, k + 1)]
    reasons: dict = collections.Counter()
    kinds: dict = collections.Counter()
    failed, steps, radii, proved, cpu = [], [], [], 0, 0.0
    for run in range(runs):
        n, k = sizes[run % len(sizes)]
        result = _trained(n, k, k + 1, seed=run)
        began = time.process_time()
        if result.converged:
            proof = gf.certify(result)
        else:
            proof = gf.certify(result.problem, result.theta)
        cpu += time.process_time() - began
        if proof.exists:
            proved += 1
            kinds[f"{proof.kind}, index {proof.index}"] += 1
            if proof.kind == "point":
                steps.append(proof.step)
                radii.append(proof.radius)
        else:
            what = proof.reason if result.converged else f"not converged: {result.stop_reason.value}"
            reasons[what] += 1
            failed.append({"n": n, "k": k, "seed": run, "reason": what, "gradient": result.grad_norm})
            print(f"  n = {n}, k = {k}, seed {run}: {what}; {proof.reason}")
    print(f"  {proved} of {runs} proved ({proved / runs:.1%}), {cpu:.1f} s of CPU; {dict(kinds)}")
    print(
        f"  median radius {statistics.median(radii):.1e}, median Newton step {statistics.median(steps):.1e}"
    )
    return {
        "runs": runs,
        "proved": proved,
        "kinds": dict(kinds),
        "failed": failed,
        "cpu_seconds": cpu,
        "median_radius": statistics.median(radii),
        "largest_radius": max(radii),
        "median_newton_step": statistics.median(steps),
    }


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks certify")
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=3.0, help="per size")
    parser.add_argument("--part", nargs="+", default=["speed", "table", "share"])
    chosen = parser.parse_args(argv)
    facts = _timing.machine()
    print(_timing.describe(facts))
    results = {}
    for name, part in (
        ("speed", lambda: speed(chosen.seconds)),
        ("table", table),
        ("share", lambda: share(chosen.runs)),
    ):
        if name in chosen.part:
            print(name)
            results[name] = part()
    if set(chosen.part) == {"speed", "table", "share"}:
        print(f"written: {_timing.write('certify', results, facts)}")
