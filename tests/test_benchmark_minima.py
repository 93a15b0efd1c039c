"""`python -m benchmarks minima`: a quick run, resumed where it was."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_quick_run_is_written_and_not_repeated(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "minima", "--quick", "--folder", str(tmp_path)]

    def benchmark(*methods):
        found = subprocess.run(
            [*command, "--methods", *methods], cwd=Path(__file__).parents[1], capture_output=True, text=True
        )
        assert found.returncode == 0, found.stderr
        return found.stdout

    benchmark("train", "L-BFGS")
    first = json.loads((tmp_path / "minima.json").read_text())["results"]
    assert set(first) == {f"{p}/0/{m}" for p in ("33", "same-width") for m in ("train", "L-BFGS")}
    for row in first.values():
        assert 0 < row["loss_0.3s"] <= row["loss_0.1s"]
    assert "seed 0  Adam" in benchmark("train", "L-BFGS", "Adam")
    second = json.loads((tmp_path / "minima.json").read_text())["results"]
    assert all(second[key] == row for key, row in first.items()) and len(second) == 6  # seconds and all
