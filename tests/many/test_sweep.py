"""Sweeps: the same bits whatever runs them, kept cell by cell, resumed, refused where something differs."""

import io
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import gradflow as gf
from gradflow import ArgumentError, StorageError

GRID = {"width": [1, 2], "seed": range(3)}


def make(width, seed):
    teacher = gf.teachers.orthonormal(3, 4)
    return gf.Problem(teacher, gf.MLP.random((4, width, 1), "erf", False, seed=seed))


def as_tuple(width, seed):
    return gf.teachers.orthonormal(3, 4), gf.MLP.random((4, width, 1), "erf", False, seed=seed)


def as_dictionary(width, seed):
    teacher, student = as_tuple(width, seed)
    return {"teacher": teacher, "student": student, "refiner": None, "seed": seed}


def plain(width, seed):
    if width == 2 and seed == 1:
        raise ValueError("this cell fails")
    return {"sum": width + seed, "half": np.float64(0.5), "word": "yes"}


def test_every_cell_has_the_bits_of_train(tmp_path):
    inside = gf.sweep(GRID, make, progress=False)
    kept = gf.sweep(GRID, as_tuple, store=tmp_path / "runs", workers=2, progress=False)
    for cell, a, b in zip(inside.cells, inside.results(), kept.results(), strict=True):
        alone = gf.train(make(**cell), progress=False)
        assert np.array_equal(a.theta, alone.theta) and np.array_equal(b.theta, alone.theta)
    assert inside.cells[1] == {"width": 1, "seed": 1}  # the last axis runs fastest
    assert [row["loss"] for row in inside.rows()] == [row["loss"] for row in kept.rows()]
    assert [row["seed"] for row in kept.rows()] == [0, 1, 2, 0, 1, 2]  # an axis has the last word
    assert kept.result({"width": 2, "seed": 0}).student.sizes == (4, 2, 1)
    assert not (tmp_path / "runs/cells").exists()  # merged
    assert "6 of 6 cells finished" in str(gf.Sweep.load(tmp_path / "runs"))


def test_a_dictionary_has_options_of_its_own():
    found = gf.sweep({"width": [1], "seed": [7]}, as_dictionary, progress=False, measure=lambda r: {"n": 3})
    (row,) = found.rows()
    assert row["refinement_stop"] is None and row["seed"] == 7 and row["n"] == 3


def test_rows_of_plain_values_and_failures(tmp_path):
    found = gf.sweep(GRID, plain, store=tmp_path / "runs", progress=False)
    ((cell, text),) = found.failures
    assert cell == {"width": 2, "seed": 1} and "ValueError: this cell fails" in text and "plain" in text
    assert found.rows()[0]["sum"] == 1 and found.rows()[0]["failure"] is None
    again = gf.sweep(GRID, plain, store=tmp_path / "runs", progress=False)
    assert len(again.failures) == 1
    pandas = pytest.importorskip("pandas")
    assert isinstance(again.to_pandas(), pandas.DataFrame)
    xarray = pytest.importorskip("xarray")
    cube = again.to_xarray()
    assert isinstance(cube, xarray.Dataset) and cube["sum"].sel(width=1, seed=2) == 3
    assert np.isnan(cube["sum"].sel(width=2, seed=1))


def test_failures_run_again_when_asked(tmp_path):
    broken = tmp_path / "broken"
    broken.touch()

    def fragile(path, part):
        if os.path.exists(path) and part == 1:
            raise OSError("not yet")
        return {"value": part}

    grid = {"path": [str(broken)], "part": [0, 1]}
    assert len(gf.sweep(grid, fragile, store=tmp_path / "runs", progress=False).failures) == 1
    broken.unlink()
    assert len(gf.sweep(grid, fragile, store=tmp_path / "runs", progress=False).failures) == 1
    mended = gf.sweep(grid, fragile, store=tmp_path / "runs", retry=True, progress=False)
    assert not mended.failures and mended.rows()[1]["value"] == 1
    assert not gf.Sweep.load(tmp_path / "runs").failures


def test_a_larger_grid_goes_on_from_a_smaller_one(tmp_path):
    gf.sweep({"width": [1], "seed": [0, 1]}, plain, store=tmp_path / "runs", progress=False)
    called = []

    def noted(width, seed):
        called.append((width, seed))
        return plain(width, seed)

    with pytest.raises(StorageError, match="make"):
        gf.sweep(GRID, noted, store=tmp_path / "runs", progress=False)
    found = gf.sweep({"width": [1], "seed": range(4)}, plain, store=tmp_path / "runs", progress=False)
    assert [row["sum"] for row in found.rows()] == [1, 2, 3, 4]
    with pytest.raises(StorageError, match=r"axis seed: without 0"):
        gf.sweep({"width": [1, 2], "seed": [1, 2]}, plain, store=tmp_path / "runs", progress=False)
    part = gf.sweep({"width": [1], "seed": [2]}, plain, store=tmp_path / "runs", progress=False)
    assert len(part) == 1 and part.rows()[0]["sum"] == 3 and len(gf.Sweep.load(tmp_path / "runs")) == 4
    with pytest.raises(StorageError, match="axes of the grid: width, seed there, seed, width now"):
        gf.sweep({"seed": range(4), "width": [1]}, plain, store=tmp_path / "runs", progress=False)
    with pytest.raises(StorageError, match="settings refiner"):
        gf.sweep(
            {"width": [1], "seed": range(4)}, plain, store=tmp_path / "runs", refiner=None, progress=False
        )


def test_two_processes_may_fill_one_folder(tmp_path):
    from gradflow.many.store import Cell, Store

    first = gf.sweep({"part": [0, 1]}, lambda_free, store=tmp_path / "runs", progress=False)
    store = Store(tmp_path / "runs")  # another process that was still at work when the first had merged all
    store.write("f" * 20, Cell({"value": 7}))
    store.write(first._keys[0], Cell({"value": 0}))
    store.merge()
    assert store.read("f" * 20).row == {"value": 7} and len(store.finished()) == 3
    assert not store.cells.exists()


def test_another_version_is_refused(tmp_path):
    gf.sweep(GRID, plain, store=tmp_path / "runs", progress=False)
    name = tmp_path / "runs/manifest.json"
    manifest = json.loads(name.read_text())
    manifest["versions"]["numpy"] = "1.0"
    name.write_text(json.dumps(manifest))
    with pytest.raises(StorageError, match=r"versions numpy: 1\.0 there"):
        gf.sweep(GRID, plain, store=tmp_path / "runs", progress=False)
    name.write_text("{")
    with pytest.raises(StorageError, match="cannot be read"):
        gf.sweep(GRID, plain, store=tmp_path / "runs", progress=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").touch()
    with pytest.raises(StorageError, match="other files"):
        gf.sweep(GRID, plain, store=tmp_path / "other", progress=False)


def test_ctrl_c_keeps_what_is_finished(tmp_path):
    def slow(part):
        time.sleep(0.05)
        return {"value": part}

    timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    first = gf.sweep({"part": range(100)}, slow, store=tmp_path / "runs", workers=1, progress=False)
    timer.join()
    assert 0 < len(first) - len(first.unfinished) < 100
    assert len(list((tmp_path / "runs/cells").glob("*.h5"))) == len(first) - len(first.unfinished)


def test_processes_and_a_worker_that_dies(tmp_path):
    context = multiprocessing.get_context("spawn")
    options = {"store": tmp_path / "runs", "progress": False}
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        with pytest.warns(RuntimeWarning, match="1 cells are unfinished"):
            found = gf.sweep({"kill": [False, True]}, suicidal, executor=executor, **options)
        with pytest.raises(ArgumentError, match="^executor: .*BrokenProcessPool"):
            gf.sweep({"kill": [False, True]}, suicidal, executor=executor, **options)
    assert found.trouble is not None and len(found.unfinished) == 1 and "goes on from here" in str(found)
    with pytest.raises(ArgumentError, match=r"make: .*top level of a module"):
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            gf.sweep({"part": [1]}, lambda part: {}, executor=executor, progress=False)


def suicidal(kill):
    if kill:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"alive": True}


class Full(Executor):
    """Runs at once, with a disk that has no room left."""

    def submit(self, work, job):
        future = Future()
        try:
            future.set_result(work(job))
        except Exception as error:
            future.set_exception(error)
        return future


def test_a_full_disk_is_an_error_and_the_store_stays_whole(tmp_path, monkeypatch):
    from gradflow.many.store import Store

    gf.sweep({"part": [0]}, lambda_free, store=tmp_path / "runs", progress=False)

    def no_room(self, key, cell, again):
        raise StorageError(f"{self.path}: cannot be written ([Errno 28] No space left on device)")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", no_room)
        with pytest.raises(StorageError, match="No space left"):
            gf.sweep({"part": [0, 1]}, lambda_free, store=tmp_path / "runs", executor=Full(), progress=False)
    found = gf.sweep({"part": [0, 1]}, lambda_free, store=tmp_path / "runs", progress=False)
    assert [row["value"] for row in found.rows()] == [0, 1]


def lambda_free(part):
    return {"value": part}


def test_bad_input():
    stopped = ThreadPoolExecutor(1)
    stopped.shutdown()
    for arguments, named in (
        ({"grid": {}}, "grid"),
        ({"grid": {"a": "xyz"}}, "grid"),
        ({"grid": {"a": []}}, "grid"),
        ({"grid": {"a": [1, 1]}}, "grid"),
        ({"grid": {"a": [np.zeros(2)]}}, "grid"),
        ({"grid": {"a": [{1, 2}]}}, "grid"),
        ({"grid": {"a": [float("nan")]}}, "grid"),
        ({"grid": {"a b": [1]}}, "grid"),
        ({"make": 3}, "make"),
        ({"measure": 3}, "measure"),
        ({"keep": "all"}, "keep"),
        ({"progress": "yes"}, "progress"),
        ({"executor": 3}, "executor"),
        ({"executor": stopped}, "executor"),
        ({"workers": 0}, "workers"),
        ({"solvr": "BDF"}, "solvr"),
    ):
        with pytest.raises(ArgumentError, match=f"^{named}:"):
            gf.sweep(**{"grid": {"a": [1]}, "make": lambda a: {}, "progress": False} | arguments)
    if "fork" in multiprocessing.get_all_start_methods():
        forked = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))
        with pytest.raises(ArgumentError, match="forked"):
            gf.sweep({"part": [1]}, lambda_free, executor=forked, progress=False)
    bad = gf.sweep({"a": [1]}, lambda a: 3, progress=False)
    assert "returns a int" in bad.failures[0][1]
    with pytest.raises(ArgumentError, match="^cell:"):
        bad.result({"b": 1})


def test_a_function_without_an_argument_for_an_axis():
    for grid in ({"part": [1], "prat": [2]}, {"prat": [1]}):
        with pytest.raises(ArgumentError, match=r"^make: got a function of \(part\), called with"):
            gf.sweep(grid, lambda_free, progress=False)
    for option, value in (("solver", "Euler"), ("refiner", 3), ("precision", "quad")):
        with pytest.raises(ArgumentError, match=f"^{option}:"):
            gf.sweep({"part": [1]}, lambda_free, progress=False, **{option: value})
    with pytest.raises(ArgumentError, match="did you mean 'solver'"):
        gf.sweep({"part": [1]}, lambda_free, progress=False, solvr="BDF")


def test_a_row_that_cannot_be_saved_is_a_failure_that_says_so(tmp_path):
    for store in (None, tmp_path / "runs"):
        found = gf.sweep({"part": [1]}, lambda part: {"x": {1, 2}}, store=store, progress=False)
        assert "make: got a row in which 'x' is a set" in found.failures[0][1]
    good = gf.sweep({"part": [1]}, lambda part: {"x": [np.float64(2), np.arange(2)]}, progress=False)
    assert good.rows()[0]["x"] == [2.0, [0, 1]]


def test_a_loss_of_ones_own_is_kept_as_a_row(tmp_path):
    def bowl(part):
        return gf.Problem.from_jax(lambda theta: ((theta - part) ** 2).sum(), np.zeros(2))

    options = {"solver": None, "progress": False}
    with pytest.raises(StorageError, match="keep='rows'"):
        gf.sweep({"part": [1, 2]}, bowl, store=tmp_path / "one", **options)
    found = gf.sweep({"part": [1, 2]}, bowl, store=tmp_path / "two", keep="rows", **options)
    assert all(row["loss"] < 1e-20 for row in found.rows())


def test_functions_of_a_notebook_do_not_go_to_processes(monkeypatch):
    import types

    notebook = types.ModuleType("__main__")
    exec("def make(part):\n    return {'value': part}", notebook.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        with pytest.raises(ArgumentError, match=r"defined in a notebook .* executor=None"):
            gf.sweep({"part": [1]}, notebook.make, executor=executor, progress=False)
    assert gf.sweep({"part": [1]}, notebook.make, progress=False).rows()[0]["value"] == 1


def test_a_bar_in_terminals_and_notebooks_only(monkeypatch):
    cases = (("ipykernel.iostream", False, True), ("_io", True, True), ("_io", False, False))
    for module, terminal, bar in cases:
        own = {"__module__": module, "isatty": lambda self, terminal=terminal: terminal}
        stream = type("Stream", (io.StringIO,), own)()
        monkeypatch.setattr(sys, "stderr", stream)
        gf.sweep({"part": [1, 2]}, lambda_free)
        assert ("2/2" in stream.getvalue()) == bar, (module, terminal)
        assert ("<" in stream.getvalue()) == bar  # the time left
        gf.sweep({"part": [1, 2]}, lambda_free, progress=False)
        assert stream.getvalue().count("2/2") <= 1
