"""The figures of each benchmark's results, with their peers and aims, for one table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Figure(NamedTuple):
    """A number of a benchmark beside its peer's and its aim; None where there is none."""

    benchmark: str
    what: str
    here: str
    peer: str = ""
    ratio: float | None = None
    aim: str = ""
    met: bool | None = None

    def row(self) -> tuple[str, ...]:
        """Its cells."""
        met = "" if self.met is None else "yes" if self.met else "no"
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}"
        return self.benchmark, self.what, self.here, self.peer, ratio, self.aim, met


def figures(document: dict) -> list[Figure]:
    """What a document says; one row with the reason where it is not as this file expects."""
    name = document["benchmark"]
    make = next((function for key, function in _MAKERS.items() if name.startswith(key)), None)
    if make is None:
        return [Figure(name, "results", document["utc"])]
    try:
        rows = [Figure(name, *row) for row in make(document["results"])]
        return rows or [Figure(name, "results", document["utc"])]
    except (KeyError, IndexError, TypeError, ValueError, statistics.StatisticsError) as error:
        return [Figure(name, "results of another form", f"{type(error).__name__}: {error}")]


def _at_least(value: float, aim: float) -> tuple[str, bool]:
    return f"≥ {aim:g}", value >= aim


def _at_most(value: float, aim: float) -> tuple[str, bool]:
    return f"≤ {aim:g}", value <= aim


def _kernels(results: dict) -> Iterator[tuple]:
    for peer, first, middle in (("torch", 2.5, 5.0), ("jax", 1.5, 3.0)):
        known = {
            name: cell[peer]["ratio"]
            for name, cell in results["cells"].items()
            if "ratio" in cell.get(peer, {})
        }
        grid = [ratio for name, ratio in known.items() if name.startswith("softplus 2-")]
        if grid:
            least, median = min(grid), statistics.median(grid)
            yield f"gradient, softplus, least of {len(grid)}", "1", peer, least, *_at_least(least, first)
            yield f"gradient, softplus, median of {len(grid)}", "1", peer, median, *_at_least(median, middle)
        others = [ratio for name, ratio in known.items() if not name.startswith("softplus 2-")]
        if others:
            yield f"gradient, others, least of {len(others)}", "1", peer, min(others)


def _population(results: dict) -> Iterator[tuple]:
    for size, cell in results.items():
        if isinstance(cell, dict) and "jax_over_gradient" in cell:
            seconds = cell["timings"]["gradient"]["median"]
            yield f"gradient {size}", f"{1e6 * seconds:.3g} µs", "jax", cell["jax_over_gradient"]


def _startup(results: dict) -> Iterator[tuple]:
    ratio = results["import_ratio"]["median"]
    seconds = results["import"]["gradflow"]["median"]
    yield "import", f"{seconds:.2f} s", "its packages", 1.0 / ratio, "≥ 0.667", ratio <= 1.5
    for state, aim in (("cold", 60.0), ("warm", 15.0)):
        if "demo" in results:
            median = results["demo"][state]["median"]
            yield f"demo, {state}", f"{median:.1f} s", "", None, *_at_most(median, aim)
    if "sizes" in results:
        found = results["sizes"]["compile_seconds"]
        yield "50 sizes, compilation", f"{found:.0f} s", "", None, *_at_most(found, 60.0)


def _train(results: dict) -> Iterator[tuple]:
    rows = results["population"]["rows"]
    share = sum(row["grad_norm"] <= 1e-14 for row in rows) / len(rows)
    yield f"population, |∇L| ≤ 1e-14 of {len(rows)}", f"{share:.1%}", "", None, "≥ 99%", share >= 0.99
    for part, found in results.items():
        yield f"{part}, steps a second", f"{found['steps_per_second']:.0f}"


def _solvers(results: dict) -> Iterator[tuple]:
    for name, case in results.items():
        good = [
            r for r in case["rows"] if r["error"] is not None and r["error"] <= 1e-6 and r.get("resolved")
        ]
        own = [r["seconds"] for r in good if r["solver"] == case["default"]]
        peers = [r["seconds"] for r in good if r["solver"].startswith("SciPy")]
        if own and peers:
            ratio = min(peers) / min(own)
            yield f"{name}, error 1e-6", f"{1e3 * min(own):.3g} ms", "SciPy", ratio, *_at_least(ratio, 1.0)


def _certify(results: dict) -> Iterator[tuple]:
    for kind, aim in (("P ≤ 50", 600.0), ("P ≤ 200", 60.0)):
        found = [c["per_minute"] for c in results.get("speed", {}).values() if c["class"] == kind]
        if found:
            yield (
                f"proofs a minute, {kind}, least",
                f"{min(found):.0f}",
                "",
                None,
                *_at_least(min(found), aim),
            )
    if "share" in results:
        share = results["share"]["proved"] / results["share"]["runs"]
        yield f"proved of {results['share']['runs']}", f"{share:.1%}", "", None, "≥ 99%", share >= 0.99


def _fuzz(results: dict) -> Iterator[tuple]:
    status = results["status"]
    for what in ("lost", "raised"):
        count = len(results[what]) if isinstance(results[what], list) else results[what]
        yield f"cases {what}", str(count), "", None, "0", count == 0
    outside = len(results["outside"])
    yield "cases outside their error", f"{outside} of {sum(status.values())}", "", None, "0", outside == 0


def _kills(results: dict) -> Iterator[tuple]:
    for what in ("lost", "other_bits", "run_again"):
        words = f"{results['kills']} kills, {what.replace('_', ' ')}"
        yield words, str(results[what]), "", None, "0", results[what] == 0


def _recovery(results: dict) -> Iterator[tuple]:
    totals = results["totals"]
    for part, found in {"": totals, **totals}.items():
        if isinstance(found, dict) and "called_exact" in found and not part.startswith("draw"):
            right, count = found.get("recovered", found.get("right")), found["teachers"]
            if right is not None:
                yield f"{part} recovered", f"{right} of {count}", "", None, "all", right == count
            wrong = found["called_exact_wrongly"]
            yield f"{part} called exact wrongly", str(wrong), "", None, "0", wrong == 0


def _spurious(results: dict) -> Iterator[tuple]:
    for row in results["rows"]:
        yield f"k = {row['width']}, spurious of {row['starts']}", f"{row['rate']:.1%}"


def _phase(results: dict) -> Iterator[tuple]:
    rows = results["rows"] if "rows" in results else results["cells"]  # of one width, `--k`
    worst = max(row["worst_gradient"] for row in rows)
    yield f"{len(rows)} cells, worst |∇L|", f"{worst:.1e}"
    for name, (middle, low, high) in results.get("intervals", {}).items():
        yield f"{name} of the flows, n/k", f"{middle:.3f} [{low:.2f}, {high:.2f}]"


def _kinks(results: dict) -> Iterator[tuple]:
    if "hand" in results:
        error = results["hand"]["error"]
        yield "event times of the case by hand", f"{error:.1e}", "", None, "≤ 1e-10", error <= 1e-10
    for sort in ("xor", "regression"):
        cells = [cell for name, cell in results.items() if name.split()[0] == sort]
        ended = sum(cell["flow_ended"] for cell in cells)
        if cells:
            yield (
                f"{sort}, followed to an end",
                f"{ended} of {len(cells)}",
                "",
                None,
                "all",
                ended == len(cells),
            )


def _scale(results: dict) -> Iterator[tuple]:
    ends = [cell for name, cell in results.items() if name.split()[0] == "end"]
    if ends:
        good = sum(bool(cell["converged"] or cell["channel"]) for cell in ends)
        most = max(cell["parameters"] for cell in ends)
        yield (
            f"ends named, to {most:,} parameters",
            f"{good} of {len(ends)}",
            "",
            None,
            "all",
            good == len(ends),
        )


def _finite_ends(results: dict) -> Iterator[tuple]:
    runs = results["runs"]
    wrong = sum(run["kind"] == "infinity" for run in runs)
    yield f"{len(runs)} problems with finite ends, called infinite", str(wrong), "", None, "0", wrong == 0


def _ends(results: dict) -> Iterator[tuple]:
    runs = results["runs"]
    share = sum(run["kind"] != "unfinished" for run in runs) / len(runs)
    yield f"{len(runs)} problems, named", f"{share:.1%}", "", None, "≥ 99%", share >= 0.99


def _papers(results: dict) -> Iterator[tuple]:
    for row in results["rows"]:
        (share, half), (flow, _) = row["sgd_success_late"], row["flow_success_late"]
        cell = f"{row['width']} teachers, {row['factor']}x, p = {row['polarity']:g}"
        yield f"{cell}: learned by SGD (flow)", f"{share:.2f} ± {half:.2f} ({flow:.2f})"


def _minima(results: dict) -> Iterator[tuple]:
    groups: dict[str, dict[str, float]] = {}
    for key, cell in results.items():
        problem, seed, method = key.split("/", 2)
        losses = [value for name, value in cell.items() if name.startswith("loss_")]
        groups.setdefault(f"{problem}, seed {seed}", {})[method] = losses[-1]
    for name, found in groups.items():
        if "train" in found and len(found) > 1:
            best = min((m for m in found if m != "train"), key=found.__getitem__)
            ratio = found[best] / max(found["train"], 1e-300)
            yield f"{name}, loss", f"{found['train']:.2e}", best, ratio, *_at_least(ratio, 1.0)


_MAKERS: dict[str, Callable[[dict], Iterator[tuple]]] = {
    "kernels": _kernels,
    "population": _population,
    "startup": _startup,
    "train": _train,
    "solvers": _solvers,
    "certify": _certify,
    "fuzz": _fuzz,
    "kills": _kills,
    "recovery": _recovery,
    "spurious": _spurious,
    "phase": _phase,
    "kinks": _kinks,
    "scale": _scale,
    "ends-finite": _finite_ends,
    "ends": _ends,
    "papers": _papers,
    "minima": _minima,
}
