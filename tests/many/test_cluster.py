"""A sweep on dask.distributed: workers die in mid-run, nothing is lost, nothing is done twice, same bits."""

import os
import signal
import time

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


def test_workers_that_are_killed_cost_only_their_cell(tmp_path):
    log, store = tmp_path / "log", tmp_path / "runs"
    grid = {"seed": range(24), "log": [str(log)]}
    options = {"solver": None, "refiner": gf.refiners.TrustRegionNewton(max_iterations=50)}
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        import threading

        def kill_twice():
            for count in (4, 12):
                while not store.exists() or len(list(store.glob("cells/*.h5"))) < count:
                    time.sleep(0.02)
                os.kill(int(log.read_text().split()[-1]), signal.SIGKILL)

        killer = threading.Thread(target=kill_twice)
        killer.start()
        with client.get_executor() as executor:
            found = gf.sweep(grid, problem, store=store, executor=executor, progress=False, **options)
        killer.join()
    assert not found.unfinished and not found.failures
    begun = [int(line.split()[0]) for line in log.read_text().splitlines()]
    assert len(begun) <= 24 + 4  # at most two under way at each death began again
    for cell, result in zip(found.cells, found.results(), strict=True):
        student = gf.MLP.random((4, 2, 1), "erf", False, seed=cell["seed"])
        alone = gf.train(gf.teachers.orthonormal(3, 4), student, progress=False, **options)
        assert np.array_equal(result.theta, alone.theta)
