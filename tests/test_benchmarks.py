"""`python -m benchmarks`: the list, a wrong name, and how `_timing` measures."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def timing():
    spec = importlib.util.spec_from_file_location("benchmark_timing", ROOT / "benchmarks" / "_timing.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_every_benchmark_is_listed_with_a_line_of_its_own():
    listed = benchmarks()
    assert listed.returncode == 0, listed.stderr
    lines = {line.split()[0]: line.split()[1:] for line in listed.stdout.splitlines()[2:]}
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if not path.stem.startswith("_")}
    assert set(lines) == names | {"all", "table", "compare"}
    assert all(lines.values())


def test_unknown_benchmark_is_named():
    refused = benchmarks("no_such_benchmark")
    assert refused.returncode == 2
    assert "no_such_benchmark" in refused.stderr and "startup" in refused.stderr


def test_competitors_run_in_turn(timing):
    calls = []
    timings = timing.in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=7)
    assert "".join(calls) == "ab" + "abba" * 3 + "ab"
    assert len(timings.ratios("a", "b")) == 7
    assert timings.ratio("a", "a") == 1.0


def test_short_calls_are_repeated(timing):
    calls = []
    seconds = timing.median_seconds(lambda: calls.append(None), shortest=1e-3)
    assert 0.0 < seconds < 1e-4
    assert len(calls) > 7 * 10


def test_fewer_than_seven_rounds_are_refused(timing):
    with pytest.raises(ValueError, match="rounds: got 3"):
        timing.in_turn({"a": lambda: None}, rounds=3)


def test_results_are_written_whole(timing, tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "RESULTS", tmp_path / "results")
    path = timing.write("example", {"ratio": timing.summary([1.0, 2.0, 3.0])})
    document = json.loads(path.read_text())
    assert document["results"]["ratio"]["median"] == 2.0
    assert document["machine"]["packages"]["numpy"]
    assert [entry.name for entry in path.parent.iterdir()] == ["example.json"]


def test_solvers_are_compared_at_equal_error(tmp_path):
    done = benchmarks(
        "solvers", "--quick", "--solvers", "Tsit5", "SciPy LSODA", "odeint", "--folder", str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "solvers.json").read_text())["results"]
    assert len(results) == 2
    for found in results.values():
        assert found["reference_distance"] < 1e-13
        assert {"Tsit5", "SciPy LSODA", "odeint", found["default"]} == set(found["at_equal_error"]["seconds"])
        finished = [row for row in found["rows"] if row["error"] is not None]
        assert len(finished) >= 12
        for row in finished:  # every tolerance is met within a factor, and is not met for nothing
            assert 1e-3 * row["tolerance"] < row["error"] < 30 * row["tolerance"], row
            assert row["seconds"] > 0 and row["gradients"] > row["steps"]
        # At equal error the times cannot be below the fastest single run, nor fall with the error.
        for solver, values in found["at_equal_error"]["seconds"].items():
            known = [v for v in values if v is not None]
            assert known == sorted(known), solver
    assert (tmp_path / "solvers.png").read_bytes()[:4] == b"\x89PNG"


RESULTS = ROOT / "benchmarks" / "results"


def test_one_table_of_all_figures():
    shown = benchmarks("table")
    assert shown.returncode == 0, shown.stderr
    names = {line.split()[0] for line in shown.stdout.splitlines()[2:]}
    committed = {json.loads(path.read_text())["benchmark"] for path in RESULTS.glob("*.json")}
    assert names == committed
    assert "another form" not in shown.stdout
    assert shown.stdout.splitlines()[0].split() == [
        "benchmark",
        "figure",
        "here",
        "peer",
        "ratio",
        "aim",
        "met",
    ]


def test_compare_shows_what_moved_beyond_the_noise(tmp_path):
    document = json.loads((RESULTS / "startup.json").read_text())
    same = tmp_path / "same.json"
    same.write_text(json.dumps(document))
    assert "nothing moved" in benchmarks("compare", str(same), str(RESULTS / "startup.json")).stdout
    document["results"]["demo"]["warm"]["median"] *= 1.5  # beyond its quartiles
    document["results"]["demo"]["cold"]["median"] *= 1.01  # within
    document["results"]["sizes"]["compile_seconds"] *= 1.2  # within a third
    slower = tmp_path / "slower.json"
    slower.write_text(json.dumps(document))
    shown = benchmarks("compare", str(same), str(slower)).stdout
    assert "demo / warm" in shown and "× 1.5" in shown
    assert "cold" not in shown and "compile_seconds" not in shown
    folder = benchmarks("compare", str(RESULTS), str(RESULTS))
    assert folder.returncode == 0 and folder.stdout.count("nothing moved") == len(
        list(RESULTS.glob("*.json"))
    )


def test_all_take_the_same_options():
    code = """
from benchmarks import _suite, __main__ as main
from pathlib import Path
for name in main.names():
    quick = _suite.arguments(name, True, Path("there"), True, [])
    known = _suite.native(name)
    assert ("--quick" in quick) == ("--quick" in known), name
    assert "--quick" in known or _suite.QUICK[name], name
    assert ("--folder" in known) == ("--folder" in quick), name
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_all_runs_benchmarks_and_goes_on(tmp_path):
    options = ("all", "--quick", "--folder", str(tmp_path), "--only", "spurious")
    first = benchmarks(*options)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "spurious: done" in first.stdout and "k = 6, spurious of 20" in first.stdout
    again = benchmarks(*options, "--resume")
    assert "spurious: kept" in again.stdout and "k = 6, spurious of 20" in again.stdout
    assert not list(RESULTS.glob("*.log"))
