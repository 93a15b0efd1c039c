"""Benchmarks that are many runs: the same results on threads and on dask, resumed where they were."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SIZES = {
    "phase": ("--smallest", "4", "--largest", "4", "--starts", "2"),
    "spurious": ("--widths", "6", "--starts", "4"),
    "minima": ("--quick", "--methods", "train", "L-BFGS"),
}


def benchmark(name, folder, *arguments):
    command = [sys.executable, "-m", "benchmarks", name, *SIZES[name], "--folder", str(folder), *arguments]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return json.loads((folder / f"{name}.json").read_text())["results"]


def timeless(row):
    return {name: value for name, value in row.items() if name != "seconds"}


@pytest.mark.parametrize("name", ["phase", "spurious"])
def test_dask_gives_the_same_results(name, tmp_path):
    pytest.importorskip("distributed")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    threads = benchmark(name, tmp_path / "one")["rows"]
    dask = benchmark(name, tmp_path / "two", "--executor", "dask")["rows"]
    assert [timeless(row) for row in threads] == [timeless(row) for row in dask]
    # what is committed can be read as what a run writes, and is of more starts
    committed = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())["results"]["rows"]
    for row, there in zip(threads, committed):
        assert set(there) <= set(row) and row["starts"] < there["starts"]
        assert all(row[axis] == there[axis] for axis in ("n", "k", "width") if axis in row)


@pytest.mark.slow
def test_minima_run_on_dask(tmp_path):
    pytest.importorskip("distributed")
    found = benchmark("minima", tmp_path, "--executor", "dask")
    assert set(found) == {f"{p}/0/{m}" for p in ("33", "same-width") for m in ("train", "L-BFGS")}
    assert all(0 < row["loss_0.3s"] <= row["loss_0.1s"] for row in found.values())


def test_what_is_finished_is_not_done_again(tmp_path):
    first = benchmark("phase", tmp_path)
    assert benchmark("phase", tmp_path)["rows"] == first["rows"]  # seconds and all
    assert (tmp_path / "phase.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_a_sweep_that_is_killed_loses_nothing(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "kills", "--kills", "2", "--runs", "12"]
    subprocess.run([*command, "--folder", str(tmp_path)], cwd=ROOT, capture_output=True, check=True)
    found = json.loads((tmp_path / "kills.json").read_text())["results"]
    assert found["kills"] == 2 and found["lost"] == found["other_bits"] == found["run_again"] == 0
