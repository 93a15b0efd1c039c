"""A sweep on dask.distributed: workers die in mid-run, nothing is lost, nothing is done twice, same bits."""

import os
import signal
import threading
import time
import uuid

import numpy as np
import pytest

import gradflow as gf

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings("default")  # dask's own warnings are not ours


def problem(seed, log):
    with open(log, "a") as file:
        file.write(f"{seed} {os.getpid()}\n")
    teacher = gf.teachers.orthonormal(3, 4)
    time.sleep(0.1)
    return teacher, gf.MLP.random((4, 2, 1), "erf", False, seed=seed)


def token(result):
    return {"token": uuid.uuid4().hex}


@pytest.fixture(scope="module")
def client():
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


def test_workers_that_are_killed_cost_only_their_cell(client, tmp_path):
    log, store = tmp_path / "log", tmp_path / "runs"
    grid = {"seed": range(24), "log": [str(log)]}
    options = {"solver": None, "refiner": gf.refiners.TrustRegionNewton(max_iterations=50)}
    finished = []

    def kill_twice():
        for count in (4, 12):
            while not store.exists() or len(list(store.glob("cells/*.h5"))) < count:
                time.sleep(0.02)
            os.kill(int(log.read_text().split()[-1]), signal.SIGKILL)
            finished.extend((row["seed"], row["token"]) for row in gf.Sweep.load(store).rows())

    killer = threading.Thread(target=kill_twice)
    killer.start()
    with client.get_executor() as executor:
        settings = {"store": store, "executor": executor, "measure": token, "progress": False}
        found = gf.sweep(grid, problem, **settings, **options)
    killer.join()
    assert not found.unfinished and not found.failures
    begun = [int(line.split()[0]) for line in log.read_text().splitlines()]
    assert len(begun) <= 24 + 4  # at most two under way at each death began again
    kept = {row["seed"]: row["token"] for row in found.rows()}
    assert len(finished) >= 16 and all(kept[seed] == there for seed, there in finished)
    for cell, result in zip(found.cells, found.results(), strict=True):
        student = gf.MLP.random((4, 2, 1), "erf", False, seed=cell["seed"])
        alone = gf.train(gf.teachers.orthonormal(3, 4), student, progress=False, **options)
        assert np.array_equal(result.theta, alone.theta)


def test_what_dask_cannot_send_and_executors_that_are_closed(client):
    lock = threading.Lock()
    with client.get_executor() as executor:
        with pytest.raises(gf.ArgumentError, match="make: .*cannot be sent .* closes over no locks"):
            gf.sweep({"part": [1]}, lambda part: {"value": lock}, executor=executor, progress=False)
        found = gf.sweep({"part": [1, 2]}, lambda part: {"value": part}, executor=executor, progress=False)
        assert [row["value"] for row in found.rows()] == [1, 2]
    with pytest.raises(gf.ArgumentError, match="^executor: .*takes no work"):
        gf.sweep({"part": [1]}, lambda part: {"value": part}, executor=executor, progress=False)


def test_a_batch_on_dask_has_the_bits_of_train(client):
    students = [gf.MLP.random((4, 2, 1), "erf", False, seed=seed) for seed in range(2)]
    options = {"solver": None, "refiner": gf.refiners.TrustRegionNewton(max_iterations=50), "progress": False}
    teacher = gf.teachers.orthonormal(3, 4)
    with client.get_executor() as executor:
        batch = gf.train_many(teacher, students, executor=executor, **options)
    for student, result in zip(students, batch, strict=True):
        assert np.array_equal(result.theta, gf.train(teacher, student, **options).theta)
