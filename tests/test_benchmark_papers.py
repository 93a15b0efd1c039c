"""The benchmark of Tian's figures: SGD and flow from one start, intervals, and what is committed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import papers

TINY = {"dim": 6, "outputs": 4, "samples": 320, "epochs": 10, "rate": 0.05}


@pytest.mark.parametrize("how", ["sgd", "flow"])
def test_one_run(how):
    row = papers.run(how, 1.0, 3, 2, 0, **TINY)
    early, late = json.loads(row["looks"])
    assert json.loads(papers.run(how, 1.0, 3, 2, 0, **TINY)["looks"]) == [early, late]
    assert late["loss"] < early["loss"] < 1.5 and len(late["best"]) == 3


def test_small_rates_of_sgd_are_the_flow():
    """At a rate twenty times smaller with as many more epochs over many samples both learn alike."""
    slow = TINY | {"rate": 0.0025, "samples": 3200, "epochs": 20}
    ends = [json.loads(papers.run(how, 1.0, 3, 2, 0, **slow)["looks"])[1] for how in ("sgd", "flow")]
    np.testing.assert_allclose(ends[0]["best"], ends[1]["best"], atol=0.03)


def test_interval():
    mean, half = papers.interval(np.array([0.0, 1.0, 0.0, 1.0]))
    assert mean == 0.5 and abs(half - 3.182 * np.sqrt(1 / 12)) < 1e-3


def test_committed_results_say_what_was_run():
    path = Path(papers.__file__).parent / "results/papers.json"
    results = json.loads(path.read_text())["results"]
    assert set(results["size"]) == {*TINY, "batch", "seeds"}
    for row in results["rows"]:
        assert row["seeds"] == results["size"]["seeds"] and 0 <= row["sgd_success_late"][0] <= 1
