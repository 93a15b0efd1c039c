"""The folder of a sweep: what is refused and in which words, full disks, two processes at once, kills."""

import functools
import json
import os
import resource
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import gradflow as gf
from gradflow import StorageError
from gradflow.many.fingerprints import described, fingerprint
from gradflow.many.store import Cell, Store


def part_of(part, factor=1):
    return {"value": factor * part}


def numbers(part):
    return {"values": np.random.default_rng(part).standard_normal(3000)}  # 60 kB as text


def run(grid, make, folder, **options):
    return gf.sweep(grid, make, store=folder, progress=False, workers=1, **options)


def test_what_differs_is_said_in_words(tmp_path):
    store = tmp_path / "runs"
    run({"part": [1, 2]}, part_of, store, solver=gf.solvers.BDF(rtol=1e-6))
    with pytest.raises(StorageError, match=r"2 finished in it; settings solver: BDF\(rtol=1e-06.* there"):
        run({"part": [1, 2]}, part_of, store, solver=gf.solvers.BDF(rtol=1e-7))
    with pytest.raises(StorageError, match=r"BDF\(.* there, not given now\. Name a new folder"):
        run({"part": [1, 2]}, part_of, store)
    with pytest.raises(StorageError, match=r"make name: .*part_of there, .*numbers now"):
        run({"part": [1, 2]}, numbers, store, solver=gf.solvers.BDF(rtol=1e-6))
    with pytest.raises(StorageError, match=r"measure: none there, .*<lambda> now"):
        run({"part": [1, 2]}, part_of, store, solver=gf.solvers.BDF(rtol=1e-6), measure=lambda result: {})
    with pytest.raises(StorageError, match=r"axis part: without 1, 2, which are there"):
        run({"part": [1.0, 3]}, part_of, store, solver=gf.solvers.BDF(rtol=1e-6))  # 1.0 is not 1


def test_a_function_counts_by_what_it_does(tmp_path):
    store = tmp_path / "runs"
    assert run({"part": [1]}, functools.partial(part_of, factor=2), store).rows()[0]["value"] == 2
    with pytest.raises(StorageError, match="make: other code, defaults or enclosed values"):
        run({"part": [1]}, functools.partial(part_of, factor=3), store)

    def enclosing(factor):
        return lambda part, power=1: {"value": factor * part**power}

    assert fingerprint(enclosing(2)) == fingerprint(enclosing(2)) != fingerprint(enclosing(3))
    of_two = enclosing(2)
    of_two.__defaults__ = (2,)
    assert fingerprint(of_two) != fingerprint(enclosing(2))
    typed = [{}, {}]
    for space, text in zip(typed, ("part + 1", "part + 2")):  # at a prompt: no source to be found
        exec(f"def make(part):\n    return {{'value': {text}}}", space)
    assert fingerprint(typed[0]["make"]) != fingerprint(typed[1]["make"])


SAME_EVERYWHERE = """
import math
import gradflow as gf
from gradflow.many.fingerprints import fingerprint
scale = gf.teachers.orthonormal(3, 4)
def make(part, kinds=frozenset(["a", "b", "c", "d"])):
    return part in {"x", "y", "z"}, [p for p in kinds], scale
def enclosing(network, own=object()):
    return lambda part: (network, own)
bump = gf.Activation(lambda z: math.exp(-z * z), lambda z: -2 * z * math.exp(-z * z),
                     lambda z: (4 * z * z - 2) * math.exp(-z * z), name="bump")
print(fingerprint([make, enclosing(scale), bump, gf.Gaussian(), gf.solvers.BDF()]))
"""


def test_fingerprints_are_the_same_in_every_process():
    found = set()
    for seed in "1", "2":
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", SAME_EVERYWHERE]
        found.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1


def test_settings_are_described_for_people():
    assert described("BDF") == "'BDF'" and described(None) == "None"
    assert described(gf.solvers.BDF()).startswith("BDF(rtol=")
    rates = [described(np.array([1.0, r])) for r in (1.0, 1.0, np.nextafter(1.0, 2.0))]
    assert rates[0] == rates[1] != rates[2] and rates[0].startswith("ndarray ")


@contextmanager
def room_for_files_of(size):
    """No file may grow beyond this: writing then fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 1000, 10_000, 40_000])
def test_no_room_for_a_cell(tmp_path, size):
    store = tmp_path / "runs"
    run({"part": [1]}, numbers, store)
    with (
        room_for_files_of(size),
        pytest.raises(StorageError, match=r"cannot be written \(File too large"),
    ):
        run({"part": [1, 2, 3]}, numbers, store)
    assert not list(store.rglob("*.part"))
    assert len(gf.Sweep.load(store).rows()) == 1
    assert len(run({"part": [1, 2, 3]}, numbers, store).rows()) == 3


def test_no_room_for_all_in_one(tmp_path):
    store = tmp_path / "runs"
    with room_for_files_of(200_000), pytest.warns(RuntimeWarning, match="not merged: .*File too large"):
        found = run({"part": range(6)}, numbers, store)
    assert not found.unfinished and not (store / "merged.h5").exists()
    assert len(gf.Sweep.load(store).rows()) == 6
    assert run({"part": range(6)}, numbers, store).rows() == found.rows()
    assert (store / "merged.h5").exists() and not (store / "cells").exists()


def test_no_room_for_a_batch(tmp_path):
    student = gf.MLP.random((4, 2, 1), "erf", False, seed=0)
    batch = gf.train_many(gf.teachers.orthonormal(3, 4), student, starts=1, solver=None, progress=False)
    batch.save(tmp_path / "batch.h5")
    before = (tmp_path / "batch.h5").read_bytes()
    with room_for_files_of(2000), pytest.raises(StorageError, match="make room, and save again"):
        batch.save(tmp_path / "batch.h5")
    assert (tmp_path / "batch.h5").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_processes_that_merge_at_once_lose_nothing(tmp_path):
    run({"part": [0]}, part_of, tmp_path / "runs")

    def fill(name):
        store = Store(tmp_path / "runs")
        for i in range(15):
            store.write(f"{name}{i:02d}", Cell({"value": i}))
            store.merge()
            store.finished()

    threads = [threading.Thread(target=fill, args=name) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = Store(tmp_path / "runs")
    keys = [f"{name}{i:02d}" for name in "abc" for i in range(15)]
    assert store.finished() >= set(keys) and [c.row["value"] for c in store.rows(keys)] == 3 * list(range(15))


def test_nothing_finished_is_written_twice(tmp_path):
    run({"part": [1]}, part_of, tmp_path / "runs")
    store = Store(tmp_path / "runs")
    assert store.write("key", Cell({"value": 1})) and not store.write("key", Cell({"value": 2}))
    store.merge()
    assert not store.write("key", Cell({"value": 3})) and store.read("key").row == {"value": 1}
    assert store.write("key", Cell({"value": 4}), again=True) and store.read("key").row == {"value": 4}


def test_what_a_kill_leaves_is_no_hindrance(tmp_path):
    store = tmp_path / "runs"
    store.mkdir()
    (store / ".lock").touch()
    (store / ".manifest.json.abc.part").touch()
    assert len(run({"part": [1, 2]}, part_of, store).rows()) == 2
    (store / "cells").mkdir()
    key = next(iter(Store(store).finished()))
    half, other = store / f"cells/.{key}.h5.abc.part", store / "cells/.ffff.h5.abc.part"
    for path in (half, other, store / ".merged.h5.abc.part"):
        path.touch()
    run({"part": [1, 2]}, part_of, store)
    assert [path.name for path in store.rglob("*.part")] == [other.name]  # perhaps of one who is at work


def test_samples_of_all_runs_are_stored_once(tmp_path, rng):
    X = rng.standard_normal((4000, 4))
    teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), "erf", False, seed=0)
    options = {"solver": None, "refiner": gf.refiners.TrustRegionNewton(max_iterations=2), "progress": False}
    batch = gf.train_many(teacher, student, X, starts=5, **options)
    batch.save(tmp_path / "batch.h5")
    assert Path(tmp_path / "batch.h5").stat().st_size < 1.5 * X.nbytes
    for a, b in zip(batch, gf.load(tmp_path / "batch.h5"), strict=True):
        assert np.array_equal(b.problem.inputs.X, X) and np.array_equal(a.theta, b.theta)
    make = functools.partial(_on_samples, teacher=teacher, X=X)
    found = gf.sweep({"seed": range(5)}, make, store=tmp_path / "runs", **options)
    assert (tmp_path / "runs/merged.h5").stat().st_size < 1.5 * X.nbytes
    assert all(np.array_equal(result.problem.inputs.X, X) for result in found.results())


def _on_samples(seed, teacher, X):
    return teacher, gf.MLP.random((4, 2, 1), "erf", False, seed=seed), X


def test_a_store_that_is_none(tmp_path):
    with pytest.raises(gf.ArgumentError, match="^store: got 3"):
        run({"part": [1]}, part_of, 3)
    with pytest.raises(StorageError, match="not a folder of finished runs"):
        gf.Sweep.load(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be made"):
        run({"part": [1]}, part_of, tmp_path / "file")
    with pytest.raises(StorageError, match="cannot be made"):
        run({"part": [1]}, part_of, tmp_path / "no/such")
    run({"part": [1]}, part_of, tmp_path / "runs")
    assert json.loads((tmp_path / "runs/manifest.json").read_text())["grid"] == {"part": [1]}
