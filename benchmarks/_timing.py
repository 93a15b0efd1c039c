"""How benchmarks measure: medians, ratios of what ran in turn, the machine beside every number.

Shared machines drift by tens of per cent within a minute. A ratio is therefore taken per round, in
which every competitor runs once, and its median over the rounds is quoted; single times are not
compared across processes.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"

PACKAGES = ("gradflow", "numpy", "scipy", "numba", "llvmlite", "jax", "jaxlib", "diffrax", "optimistix",
            "equinox", "lineax", "h5py", "torch", "scikit-learn", "scikit-sundae",
            "python-flint")  # fmt: skip

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "XLA_FLAGS",
)


@dataclass(frozen=True)
class Timings:
    """Seconds per call of each competitor, one number per round; all lists have the same length."""

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """Median seconds of one call."""
        return statistics.median(self.seconds[name])

    def ratios(self, name: str, reference: str) -> list[float]:
        """Round by round, how many times `reference`'s time `name` took."""
        return [a / b for a, b in zip(self.seconds[name], self.seconds[reference], strict=True)]

    def ratio(self, name: str, reference: str) -> float:
        """The median of `ratios`."""
        return statistics.median(self.ratios(name, reference))

    def as_dict(self) -> dict:
        """For JSON: median, quartiles and all rounds of each competitor, in seconds."""
        return {name: summary(values) for name, values in self.seconds.items()}


def summary(values: list[float]) -> dict:
    """Median, quartiles and the values themselves."""
    lower, median, upper = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * [values[0]]
    )
    return {"median": median, "lower_quartile": lower, "upper_quartile": upper, "all": values}


def in_turn(
    competitors: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 7,
    warmups: int = 1,
    shortest: float = 0.0,
) -> Timings:
    """Time every competitor once per round, in turn, the order reversed every other round.

    A call must end with its result ready (`jax.block_until_ready`). `warmups` calls of each come
    first and are not counted: compile times are measured apart. With `shortest` > 0 a measurement
    repeats the call until it lasts that many seconds and gives the time of one call.
    """
    if rounds < 7:
        raise ValueError(f"rounds: got {rounds}; allowed: at least 7")
    repeats = {}
    for name, call in competitors.items():
        for _ in range(warmups):
            call()
        repeats[name] = _repeats(call, shortest)
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for index in range(rounds):
        order = list(competitors.items())
        for name, call in order if index % 2 == 0 else reversed(order):
            seconds[name].append(_clock(call, repeats[name]))
    return Timings(seconds)


def median_seconds(call: Callable[[], object], **settings) -> float:
    """Median seconds of one call; settings as for `in_turn`."""
    return in_turn({"call": call}, **settings).median("call")


def _clock(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _repeats(call: Callable[[], object], shortest: float) -> int:
    repeats = 1
    while shortest > 0.0 and (elapsed := _clock(call, repeats) * repeats) < shortest:
        repeats = max(2 * repeats, int(1.2 * repeats * shortest / max(elapsed, 1e-9)))
    return repeats


def machine() -> dict:
    """What the numbers were measured on: processor, cores, load, Python, packages, thread settings."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "threads": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
    }


def describe(facts: dict) -> str:
    """One line about the machine, to print above results."""
    parts = [facts["processor"], f"{facts['cores']} cores"]
    if facts["load_average"]:
        parts.append(f"load {facts['load_average'][0]:.1f}")
    parts.append(f"Python {facts['python']}")
    parts += [f"{name} {facts['packages'][name]}" for name in ("numba", "jax") if name in facts["packages"]]
    return ", ".join(parts)


def write(name: str, results: dict, facts: dict | None = None, folder: Path | None = None) -> Path:
    """Write `NAME.json` in `folder` (`benchmarks/results`): the results, when, and on what machine.

    `facts` is what `machine()` said before the work; without it the load average is the work's own.
    """
    folder = RESULTS if folder is None else folder
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    document = {
        "benchmark": name,
        "utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": facts or machine(),
        "results": results,
    }
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    os.replace(temporary, path)
    return path


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
