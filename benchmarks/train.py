"""The main job: copy/average runs on infinite data, and sample problems, ten seeds each.

    python -m benchmarks train [--quick]

1. erf, orthonormal teachers k = 4…8 in dimension k + 1, students n = 1…k, ten seeds each: the share that
   ends with a gradient ∞-norm ≤ 1e-14 (meant: 98 %), the others one by one, and steps per second.
2. The 33-parameter problem: input 2, teacher of 4 softplus neurons with standard normal parameters,
   student of 8 (Glorot), 10,000 standard normal samples.
3. A realisable problem: input 2, teacher and student of 3 "g" neurons, 1,000 samples: the share that
   reaches a mean squared error ≤ 1e-28 (meant: at least 3 of 10).

`--quick` takes two seeds of everything.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import gradflow as gf

from . import _timing


def population(seeds: int) -> dict:
    """Item 1."""
    rows = []
    for k in range(4, 9):
        teacher = gf.teachers.orthonormal(k, k + 1)
        for n in range(1, k + 1):
            for seed in range(seeds):
                student = gf.MLP.random((k + 1, n, 1), "erf", False, seed=seed)
                result = gf.train(teacher, student, progress=False)
                rows.append({"k": k, "n": n, "seed": seed, **_row(result)})
                row = rows[-1]
                if not row["grad_norm"] <= 1e-14:
                    print(
                        f"    k {k} n {n} seed {seed}: |grad| {row['grad_norm']:.1e}, "
                        f"loss {row['loss']:.6g}, smallest eigenvalue {row['smallest_eigenvalue']:.2e}, "
                        f"max |theta| {row['largest_theta']:.3g}, {row['stop_reason']}"
                    )
    met = sum(row["grad_norm"] <= 1e-14 for row in rows)
    print(f"  gradient ≤ 1e-14: {met} of {len(rows)} ({met / len(rows):.1%})")
    print(f"  never NaN: {all(np.isfinite([r['loss'], r['grad_norm']]).all() for r in rows)}")
    return _summary("erf population", rows)


def samples(
    name: str, teacher_width: int, student_width: int, activation: str, count: int, seeds: int
) -> dict:
    """Items 2 and 3."""
    rows = []
    for seed in range(seeds):
        X = np.random.default_rng(100 + seed).standard_normal((count, 2))
        teacher = gf.teachers.random((2, teacher_width, 1), activation, seed=seed + 50)
        student = gf.MLP.random((2, student_width, 1), activation, seed=seed)
        result = gf.train(teacher, student, X, progress=False)
        rows.append({"seed": seed, **_row(result)})
        row = rows[-1]
        print(
            f"    seed {seed}: flow to {row['flow_loss']:.2e} in {row['steps']} steps, "
            f"{row['flow_seconds']:.1f} s; end {row['loss']:.2e}, "
            f"|grad| {row['grad_norm']:.1e}, {row['stop_reason']}"
        )
    print(f"  mean squared error ≤ 1e-28: {sum(r['loss'] <= 1e-28 for r in rows)} of {len(rows)}")
    return _summary(name, rows)


def _row(result: gf.Result) -> dict:
    assert result.flow is not None and result.refinement is not None
    return {
        "loss": result.loss,
        "flow_loss": result.flow.loss,
        "grad_norm": result.grad_norm,
        "smallest_eigenvalue": result.spectrum().smallest,
        "largest_theta": float(np.abs(result.theta).max()),
        "stop_reason": result.stop_reason.name,
        "steps": result.flow.accepted,
        "rejected": result.flow.rejected,
        "gradients": result.flow.counts.gradients,
        "hessians": result.flow.counts.hessians,
        "flow_seconds": result.flow.seconds,
        "compile_seconds": result.flow.compile_seconds,
        "refinement_seconds": result.refinement.seconds,
        "seconds": result.seconds,
    }


def _summary(name: str, rows: list[dict]) -> dict:
    steps = sum(row["steps"] for row in rows)
    flowing = sum(row["flow_seconds"] for row in rows)
    compiling = sum(row["compile_seconds"] for row in rows)
    print(
        f"  {name}: {steps} steps in {flowing:.1f} s of flow: {steps / flowing:,.0f} steps per second; "
        f"{compiling:.1f} s compiling, {sum(row['seconds'] for row in rows):.1f} s in all"
    )
    return {"steps_per_second": steps / flowing, "rows": rows}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks train")
    parser.add_argument("--quick", action="store_true", help="two seeds instead of ten")
    seeds = 2 if parser.parse_args(argv).quick else 10
    facts = _timing.machine()
    print(_timing.describe(facts))
    began = time.perf_counter()
    results = {}
    print("1. erf, infinite data, k = 4…8, n = 1…k")
    results["population"] = population(seeds)
    print("2. 33 parameters, softplus, 10,000 samples")
    results["samples_33"] = samples("33 parameters", 4, 8, "softplus", 10_000, seeds)
    print('3. realisable, "g", 1,000 samples')
    results["realisable"] = samples("realisable", 3, 3, "g", 1_000, seeds)
    print(f"{time.perf_counter() - began:.0f} s in all")
    print(f"written: {_timing.write('train', results, facts)}")
