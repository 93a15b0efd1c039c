"""Memory that one gradient at n = k = 1000, d = 1001 takes beyond what the loss itself holds.

Each activation in a process of its own, after its kernels have been compiled at a small size: the peak of
resident memory (Linux: VmHWM of /proc/self/status, set back by writing 5 to /proc/self/clear_refs) over
what was resident before the call, beside the 8 (n (n + k) + (n + k) d) bytes of the Gram matrix and rows.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

ACTIVATIONS = ("erf", "tanh")
SHAPE = (1000, 1000, 1001)


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process in bytes."""
    found = re.search(rf"^{field}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return 1024 * int(found.group(1)) if found else 0


def growth(activation: str, shape: tuple[int, int, int]) -> dict:
    """Peak growth in bytes during the first gradient of a loss, and during the second."""
    from . import _population_expansions

    def loss_and_theta(shape):
        import gradflow as gf
        from gradflow.losses.population import PopulationLoss

        student, teacher = _population_expansions.networks(activation, shape, "random")
        return PopulationLoss(student, teacher, gf.Gaussian()), student.flat()

    small, theta = loss_and_theta((10, 20, 21))
    small.loss_and_gradient(theta)
    loss, theta = loss_and_theta(shape)
    found = []
    for _ in range(2):
        theta = np.nextafter(theta, 9.0)
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
        loss.loss_and_gradient(theta)
        found.append(resident("VmHWM") - before)
    n, k, d = shape
    return {"first": found[0], "second": found[1], "formula": 8 * (n * (n + k) + (n + k) * d)}


def measure() -> dict:
    """`growth` of each activation in a new process; empty where there is no /proc."""
    if not sys.platform.startswith("linux"):
        return {}
    root = Path(__file__).parents[1]
    found = {}
    for activation in ACTIVATIONS:
        command = [sys.executable, "-m", "benchmarks._population_memory", activation]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        found[activation] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(found: dict) -> str:
    """One line per activation."""
    return "\n".join(
        f"  {activation:<5} {SHAPE!s:<18} peak resident memory of a gradient +{row['first'] / 1e6:.1f} MB, "
        f"of the second +{row['second'] / 1e6:.1f} MB; 8 (n(n+k) + (n+k)d) = {row['formula'] / 1e6:.1f} MB"
        for activation, row in found.items()
    )


if __name__ == "__main__":
    print(json.dumps(growth(sys.argv[1], SHAPE)))
