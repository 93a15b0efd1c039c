"""What memory there is: the machine's, the control groups', the process's own limits."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import gradflow as gf
from gradflow import ArgumentError, MemoryLimitError
from gradflow.support import memory

GiB = 2**30
V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def system(tmp_path, cgroup: str, groups: dict, available: int = 8 * GiB):
    """A /proc and a /sys/fs/cgroup with groups {path: (limit, usage, inactive files)}."""
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(
        f"MemTotal: {16 * 2**20} kB\nMemFree: 1 kB\nMemAvailable: {available // 1024} kB\n"
    )
    (proc / "self" / "statm").write_text("1000 100 10 1 0 500 0\n")
    (proc / "self" / "cgroup").write_text(cgroup)
    for path, (limit, usage, inactive) in groups.items():
        names = V1 if path.startswith("memory") else V2
        folder = root / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / names[0]).write_text(f"{limit}\n")
        (folder / names[1]).write_text(f"{usage}\n")
        (folder / "memory.stat").write_text(f"active_file 77\n{names[2]} {inactive}\nother 5\n")
    return str(proc), str(root)


@pytest.mark.parametrize(
    ("cgroup", "groups", "expected"),
    [
        ("", {}, 8 * GiB),
        ("0::/\n", {"": ("max", 5, 0)}, 8 * GiB),
        ("0::/a/b\n", {"a/b": (3 * GiB, 1 * GiB, 0)}, 2 * GiB),
        ("0::/a/b\n", {"a/b": (3 * GiB, 2 * GiB, GiB // 2)}, 3 * GiB // 2),
        # The group above is the tighter one.
        ("0::/a/b\n", {"a/b": ("max", GiB, 0), "a": (2 * GiB, 2 * GiB - 7, 0)}, 7),
        # Inside a container: its own tree begins where the host's path ends.
        ("0::/../host/path\n", {"": (GiB, GiB // 4, 0)}, 3 * GiB // 4),
        ("4:memory:/a\n2:cpu:/\n", {"memory/a": (3 * GiB, 1 * GiB, 0)}, 2 * GiB),
        ("4:cpu,memory:/docker/x\n0::/\n", {"memory": (GiB, 0, 0)}, GiB),
        ("4:memory:/a\n", {"memory/a": (2**63 - 4096, 5 * GiB, 0)}, 8 * GiB),
        ("0::/a\n", {"a": (GiB, 2 * GiB, 0)}, 0),  # the limit was lowered below the usage
        ("0::/a\n", {"a": ("nonsense", 0, 0)}, 8 * GiB),
        ("0::/a\n", {"a": (GiB, 0, 5 * GiB)}, GiB),
    ],
)
def test_available_memory_obeys_the_control_groups(tmp_path, cgroup, groups, expected):
    assert memory.available_memory(*system(tmp_path, cgroup, groups)) == expected


def test_nothing_is_known_without_the_files(tmp_path):
    found = memory.available_memory(str(tmp_path), str(tmp_path))
    assert found is None or found > 0  # from sysconf, where there is one


LIMITED = """
import resource, sys
import gradflow as gf
from gradflow.support import memory

def used():
    pages = [int(word) for word in open("/proc/self/statm").read().split()]
    return pages[{page}] * resource.getpagesize()

{before}
limit = used() + {room}
resource.setrlimit(resource.{kind}, (limit, resource.RLIM_INFINITY))
available = memory.available_memory()
assert available is not None and {room} - 2**25 <= available <= {room}, available
try:
    {work}
except MemoryError as error:
    print(type(error).__name__, error)
else:
    print("no error")
"""


@pytest.mark.parametrize(("kind", "page"), [("RLIMIT_AS", 0), ("RLIMIT_DATA", 5)])
def test_available_memory_obeys_the_limits_of_the_process(kind, page):
    code = LIMITED.format(kind=kind, page=page, room=2**28, before="", work="memory.check_memory('x', 2**29)")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("MemoryLimitError x: got arrays that need 0.5 GiB"), run.stdout


WIDE = """
import numpy as np
t, s = gf.teachers.orthonormal(2, 2), gf.MLP.random((2, 5000, 1), bias=False, seed=0)
problem = gf.Problem(t, s)
small = gf.MLP.random((2, 3, 1), bias=False, seed=0)
gf.Problem(t, small).hessian(small.flat())
np.ones((500, 500)) @ np.ones((500, 500))  # OpenBLAS takes its memory at the first product
"""
FAILS = "memory.WORDS[memory.CEILING] = 2**62"
FORESEEN = "memory.refresh_ceiling(); resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)"


@pytest.mark.parametrize(
    ("how", "call"),
    [(FAILS, "loss_and_gradient"), (FORESEEN, "loss_and_gradient"), (FAILS, "all_derivatives")],
    ids=["fails", "foreseen", "Hessian"],
)
def test_a_call_that_gets_no_memory_raises(how, call):
    """The Gram matrix of 5,000 neurons takes 200 MB, the Hessian gigabytes; 128 MiB are there.

    malloc fails, or the ceiling says so where it would not (a control group kills instead).
    """
    work = f"{how}; problem.objective.{call}(s.flat())"
    code = LIMITED.format(kind="RLIMIT_AS", page=0, room=2**27, before=WIDE, work=work)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, (run.returncode, run.stderr)
    assert run.stdout.startswith("MemoryLimitError "), run.stdout


def test_arrays_as_large_as_a_user_makes_them(monkeypatch):
    assert memory.empty("x", 3, 4).shape == (3, 4)
    with pytest.raises(
        MemoryLimitError, match="^x: got an array of 10,000,000 × 2,000,000 numbers, which need"
    ):
        memory.empty("x", 10_000_000, 2_000_000)
    X = np.zeros((3000, 1))
    problem = gf.Problem(X, gf.MLP.random((1, 1000, 1), "tanh", seed=0), X)
    monkeypatch.setattr(memory, "available_memory", lambda: 2**26)
    try:
        for call in (problem.per_sample_gradients, problem.hessian, problem.objective.all_derivatives):
            with pytest.raises(MemoryLimitError, match="0.1 GiB available"):
                call(problem.theta0)
    finally:
        monkeypatch.undo()
        memory.refresh_ceiling()


def test_memory_errors_become_ours():
    for cause in (MemoryError(), MemoryError("of 5 GiB")):
        with pytest.raises(MemoryLimitError, match="^memory:") as caught, memory.memory_errors():
            raise cause
        assert isinstance(caught.value, (ArgumentError, MemoryError))
    with pytest.raises(MemoryLimitError, match="compiled kernel's need"), memory.memory_errors():
        memory.WORDS[memory.FAILURES] += 1
    with memory.memory_errors():
        pass
