"""What is kept of the cases of the fuzz run, and how it is reported."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

import gradflow as gf

from ._fuzz_activations import POLYNOMIAL_NAMES
from ._fuzz_cases import Case
from ._fuzz_checks import Outcome

ON_LOSS = ("finite", "negative", "loss paths", "equal networks", "loss", "loss beside Hessian", "symmetries",
           "sampled")  # fmt: skip
"""Checks of the loss against its own claim; the others are about derivatives."""

KEPT = 5000
"""Entries that a list of findings has at most."""

BINS = 20
"""Bins of a histogram per decade."""

SAID = 1e-13
"""A kernel error above this is what the package reports as "cannot be computed to 1e-13"."""

NORMS = 30.0


def record(case: Case, outcome: Outcome) -> dict:
    """One line about a case, for the parent process."""
    outside = {name: [_plain(x) for x in outcome.checks[name]] for name in outcome.outside}
    ratios = {
        name: _plain(error / bound) for name, (error, bound) in outcome.checks.items() if bound > 0 < error
    }
    return {
        "case": case.index,
        "kind": case.kind,
        "about": " ".join(f"{k}={v}" for k, v in case.tags.items()),
        "status": outcome.status,
        "message": outcome.message[:300],
        "outside": outside,
        "ratios": ratios,
        "facts": {name: _plain(value) for name, value in outcome.facts.items()},
        "seconds": outcome.seconds,
    }


def _plain(x) -> float | str:
    """A number for JSON; what is not finite becomes its name."""
    return float(x) if math.isfinite(x) else str(float(x))


def empty(seed: int, kind: str | None) -> dict:
    """Results before the first case."""
    return {
        "seed": seed, "kind": kind, "chunks": [], "kinds": {}, "status": {}, "truths": {}, "checks": {},
        "outside": [], "lost": [], "raised": [], "refused": {}, "worst": {}, "histograms": {},
        "said": {f"norms up to {NORMS:g}": [0, 0], "all norms": [0, 0]}, "blunt": 0, "seconds": 0.0,
        "again": {},
    }  # fmt: skip


def merge(results: dict, pair, records: list, lost: list, seconds: float) -> None:
    """Add the records of one chunk."""
    results["chunks"] = sorted([*results["chunks"], list(pair)])
    results["seconds"] += seconds
    results["lost"] = sorted([*results["lost"], *map(list, lost)])
    counters = {name: Counter(results[name]) for name in ("kinds", "status", "truths", "checks", "refused")}
    for row in records:
        facts = row["facts"]
        counters["kinds"][row["kind"]] += 1
        counters["status"][row["status"]] += 1
        if row["status"] == "raised":
            results["raised"].append([row["case"], row["message"], row["about"]])
        if row["status"] == "refused":
            counters["refused"][row["message"].partition(";")[0][:80]] += 1
        for name, ratio in row["ratios"].items():
            counters["checks"][name] += 1
            old = results["worst"].get(name, [0.0, -1])
            if float(ratio) > float(old[0]):
                results["worst"][name] = [ratio, row["case"]]
        if row["outside"] and len(results["outside"]) < KEPT:
            results["outside"].append(
                {key: row[key] for key in ("case", "kind", "about", "outside")} | {"facts": facts}
            )
        if "claim" not in facts:
            continue
        counters["truths"][str(facts.get("truth", "none"))] += 1
        error = float(facts["kernel error"])
        for name, limit in ((f"norms up to {NORMS:g}", NORMS), ("all norms", math.inf)):
            if float(facts["norm"]) <= limit:
                results["said"][name][0] += 1
                results["said"][name][1] += not error <= SAID
        _count(results, "kernel error", error)
        if "truth" in facts:
            results["blunt"] += bool(facts.get("blunt"))
            actual, claim = float(facts["actual"]), float(facts["claim"])
            if actual > 0.0 and not facts.get("blunt"):
                _count(results, "claim/actual error", claim / actual)
                if float(facts["norm"]) <= NORMS:
                    _count(results, f"claim/actual error, norms up to {NORMS:g}", claim / actual)
    for name, counter in counters.items():
        results[name] = dict(sorted(counter.items()))


def _count(results: dict, name: str, value: float) -> None:
    level = math.floor(BINS * math.log10(value)) if 0.0 < value < math.inf else 10**6
    histogram = results["histograms"].setdefault(name, {})
    histogram[str(level)] = histogram.get(str(level), 0) + 1


def quantile(histogram: dict, share: float) -> float:
    """The value below which this share of a histogram lies; infinite where that is beyond Float64."""
    levels = sorted((int(level), count) for level, count in histogram.items())
    wanted, seen = share * sum(count for _, count in levels), 0
    for level, count in levels:
        seen += count
        if seen >= wanted:
            return 10.0 ** ((level + 0.5) / BINS) if level < 10**6 else math.inf
    return math.nan


def found(results: dict) -> list[int]:
    """The numbers of the cases that were outside, lost or raised."""
    lists = (
        [row["case"] for row in results["outside"]],
        *([e[0] for e in results[k]] for k in ("lost", "raised")),
    )
    return sorted(set().union(*lists))


def again(results: dict, case: int, records: list, lost: list) -> None:
    """Note what a case showed when it was run once more, after what it had shown was mended."""
    row = records[0] if records else {"status": lost[0][1], "outside": {}, "message": lost[0][2]}
    results.setdefault("again", {})[str(case)] = {k: row[k] for k in ("status", "outside", "message")}


def faults(results: dict) -> int:
    """Cases outside, lost or raised; of those run again what they showed then."""
    later = {int(case): row for case, row in results.get("again", {}).items()}
    return sum(
        case not in later
        or bool(later[case]["outside"])
        or later[case]["status"] not in ("checked", "refused")
        for case in found(results)
    )


def report(results: dict) -> str:
    """The table at the end."""
    kinds = ", ".join(f"{n} {kind}" for kind, n in results["kinds"].items())
    count, seconds = sum(results["kinds"].values()), results["seconds"]
    lines = ["", f"seed {results['seed']}: {count} cases in {seconds:.0f} s of their processes: {kinds}"]
    lines.append("  " + ", ".join(f"{n} {name}" for name, n in results["status"].items()))
    lines += [f"    refused {n}: {message}" for message, n in results["refused"].items()]
    names = {"0": "equal networks", "1.0": "a line", "2.0": "a plane", "none": "draws or none", "0.0": "zero"}
    truths = ", ".join(f"{names.get(name, name)} {n}" for name, n in results["truths"].items())
    lines.append(f"  truth of the loss: {truths}; {results['blunt']} known worse than claimed")
    for title, chosen in (
        ("outside the claim on the loss", lambda row: set(row["outside"]) & set(ON_LOSS)),
        ("derivatives beyond tolerance", lambda row: set(row["outside"]) - set(ON_LOSS)),
    ):
        rows = [row for row in results["outside"] if chosen(row)]
        by_check = Counter(name for row in rows for name in chosen(row))
        lines.append(f"  {title}: {len(rows)}" + "".join(f", {name} {n}" for name, n in by_check.items()))
        cases = [row["case"] for row in rows]
        more = " …" if len(cases) > 25 else ""
        lines += [f"    cases {', '.join(map(str, cases[:25]))}{more}"] * bool(cases)
    lost = Counter(fault for _, fault, _ in results["lost"])
    lines.append(f"  lost: {len(results['lost'])}" + "".join(f", {n} {fault}" for fault, n in lost.items()))
    lines += [f"    case {case}: {fault}; {where}" for case, fault, where in results["lost"][:10]]
    lines.append(f"  raised: {len(results['raised'])}")
    lines += [f"    case {case}: {message}" for case, message, _ in results["raised"][:10]]
    if results.get("again"):
        left = faults(results)
        lines.append(
            f"  run again after mending: {len(results['again'])} of these cases, {left} of them still found"
        )
    for name, histogram in results["histograms"].items():
        shares = "  ".join(f"{100 * q:g} % {quantile(histogram, q):.2g}" for q in (0.01, 0.1, 0.5, 0.9, 0.99))
        lines.append(f"  {name}: {shares}")
    for name, (count, said) in results["said"].items():
        lines.append(f"  beyond {SAID:g} and said so, {name}: {said} of {count} ({said / max(count, 1):.2%})")
    lines.append("  largest error in units of its bound:")
    for name, (ratio, case) in results["worst"].items():
        lines.append(f"    {name:<24} {float(ratio):.3g} (case {case}; {results['checks'][name]} checks)")
    return "\n".join(lines)


def source(case: Case) -> str:
    """The problem as Python code."""
    lines = ["import numpy as np", "from numpy import array", "import gradflow as gf",
             "from benchmarks._fuzz_activations import activation"]  # fmt: skip
    with np.printoptions(threshold=10**6, floatmode="unique", linewidth=110):
        for name, given in (("teacher", case.teacher), ("student", case.student)):
            text = _network(given) if isinstance(given, gf.MLP) else repr(given)
            lines.append(f"{name} = {text}")
        lines.append(f"inputs = {_law(case.inputs)}")
    lines.append(f"problem = gf.Problem(teacher, student, inputs, **{case.options!r})")
    return "\n".join(lines)


def _network(network: gf.MLP) -> str:
    def called(sigma) -> str:
        if isinstance(sigma, tuple):
            return "(" + ", ".join(map(called, sigma)) + ",)"
        return f"activation({POLYNOMIAL_NAMES.get(sigma.name, sigma.name)!r})"

    layers = ", ".join(called(sigma) for sigma in network.activations)
    return f"gf.MLP({list(network.weights)!r},\n    {list(network.biases)!r},\n    [{layers}])"


def _law(law) -> str:
    if law is None:
        return "None"
    if isinstance(law, gf.Samples):
        return f"gf.Samples({law.X!r}, {law.sample_weight!r})"
    if isinstance(law, gf.Mixture):
        return f"gf.Mixture([{', '.join(map(_law, law.components))}], {law.weights!r})"
    if isinstance(law, gf.Gaussian):
        return f"gf.Gaussian({law.mean!r}, {law.cov!r})"
    return repr(law)
