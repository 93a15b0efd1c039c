"""Results in files: the same bits back, and clear errors for everything else."""

import json
import math
import os

import h5py
import numpy as np
import pytest

import gradflow as gf
from gradflow import StorageError


def assert_same(a, b):
    assert (a.theta == b.theta).all() and a.loss == b.loss and a.grad_norm == b.grad_norm
    assert a.stop_reason is b.stop_reason and a.converged == b.converged
    assert (a.rates == b.rates).all() and a.seconds == b.seconds
    assert (a.spectrum().eigenvalues == b.spectrum().eigenvalues).all()
    for name in ("times", "theta", "losses", "grad_norms", "step_times", "step_theta", "stiffness"):
        assert (getattr(a.flow, name) == getattr(b.flow, name)).all()
    t = math.sqrt(a.flow.end_time)
    assert (a.flow.at(t) == b.flow.at(t)).all()
    assert a.flow.settings == b.flow.settings and a.flow.counts == b.flow.counts
    assert a.refinement.settings == b.refinement.settings
    assert a.problem.loss(a.theta) == b.problem.loss(b.theta)
    assert str(a) == str(b)


@pytest.fixture(scope="module")
def result():
    teacher = gf.teachers.orthonormal(3, 4)
    return gf.train(teacher, gf.MLP.random((4, 2, 1), "erf", False, seed=1), progress=False)


def test_population_results_come_back_bit_by_bit(result, tmp_path):
    path = tmp_path / "run.h5"
    result.save(path)
    assert_same(result, gf.load(path))
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]
    result.save(path)  # again, over the old one
    assert_same(result, gf.load(str(path)))
    assert path.stat().st_mode & 0o044 == 0o044 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_sample_results_come_back_bit_by_bit(tmp_path, rng):
    X = rng.standard_normal((50, 2))
    student = gf.MLP.random((2, 3, 2, 1), [("erf", "g", "tanh"), "softplus"], [True, False, True], seed=0)
    for teacher in (
        gf.teachers.random((2, 2, 1), "tanh", seed=1),
        X[:, :1] ** 2,
        lambda x: x[:, :1] * x[:, 1:],
    ):
        run = gf.train(
            teacher,
            student,
            gf.Samples(X, rng.uniform(0.5, 2.0, 50)),
            solver=gf.solvers.Kvaerno5(max_steps=40),
            refiner=gf.refiners.TrustRegionNewton(max_iterations=5),
            progress=False,
        )
        run.save(tmp_path / "run.h5")
        assert_same(run, gf.load(tmp_path / "run.h5"))


def test_a_users_activation_is_stored_by_name(tmp_path, rng):
    sine = gf.Activation(math.sin, math.cos, lambda z: -math.sin(z), symmetry="odd", name="sine")
    X = rng.standard_normal((30, 2))
    run = gf.train(
        X[:, :1],
        gf.MLP.random((2, 2, 1), sine, seed=0),
        X,
        solver=gf.solvers.Kvaerno5(max_steps=20),
        progress=False,
    )
    run.save(tmp_path / "run.h5")
    with pytest.raises(StorageError, match="'sine'"):
        gf.load(tmp_path / "run.h5")
    assert_same(run, gf.load(tmp_path / "run.h5", activations={"sine": sine}))


def test_activations_are_told_apart(tmp_path, rng):
    X = rng.standard_normal((30, 2))
    one = gf.Activation(lambda z: z, lambda z: 1.0, lambda z: 0.0, name="mine")
    two = gf.Activation(lambda z: 2.0 * z, lambda z: 2.0, lambda z: 0.0, name="mine")
    settings = {"solver": gf.solvers.Kvaerno5(max_steps=5), "refiner": None, "progress": False}
    both = gf.train(X[:, :1], gf.MLP.random((2, 2, 1), (one, two), seed=0), X, **settings)
    with pytest.raises(StorageError, match="'mine'"):
        both.save(tmp_path / "run.h5")
    gf.train(X[:, :1], gf.MLP.random((2, 2, 1), one, seed=0), X, **settings).save(tmp_path / "run.h5")
    assert gf.load(tmp_path / "run.h5", activations={"mine": one}).problem.student.activations == (one,)
    with pytest.raises(StorageError, match="not the activations"):
        gf.load(tmp_path / "run.h5", activations={"mine": two})


def test_a_damaged_number_is_noticed(result, tmp_path):
    result.save(tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5") as file:
        offset = file["flow/step_theta"].id.get_chunk_info(0).byte_offset
    content = bytearray((tmp_path / "run.h5").read_bytes())
    content[offset + 5] ^= 0x10
    (tmp_path / "run.h5").write_bytes(content)
    with pytest.raises(StorageError):
        gf.load(tmp_path / "run.h5")


def test_files_describe_themselves(result, tmp_path):
    result.save(tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5") as file:
        assert file.attrs["format"] == "gradflow result" and file.attrs["gradflow"] == gf.__version__
        assert "no 1/2" in json.loads(file.attrs["conventions"])["loss"]
        assert json.loads(file["flow"].attrs["settings"])["rtol"] == 1e-7
        assert file["refinement"].attrs["stop_sentence"] == result.refinement.stop_reason.value
        assert file["end/hessian_eigenvalues"].shape == (10,)


def test_unreadable_files_are_refused(result, tmp_path):
    path = tmp_path / "run.h5"
    with pytest.raises(StorageError, match="no such file"):
        gf.load(path)
    path.write_bytes(b"not HDF5 at all")
    with pytest.raises(StorageError, match="not a complete gradflow result"):
        gf.load(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1.0
    with pytest.raises(StorageError, match="not a 'gradflow result'"):
        gf.load(path)
    result.save(path)
    whole = path.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(StorageError):
            gf.load(path)
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        del file["end/theta"]
    with pytest.raises(StorageError, match="not a complete"):
        gf.load(path)
    result.save(path)
    with h5py.File(path, "a") as file:
        file.attrs["schema"] = 99
    with pytest.raises(StorageError, match="schema 99"):
        gf.load(path)


def test_unwritable_places_are_refused(result, tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        result.save(tmp_path / "missing" / "run.h5")
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_an_interrupted_write_remains(result, tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        result.save(path)
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["run.h5"]


def test_flow_only_results(tmp_path):
    run = gf.train(
        gf.teachers.orthonormal(2, 3),
        gf.MLP.random((3, 1, 1), "erf", False, seed=0),
        refiner=None,
        solver=gf.solvers.Kvaerno5(t1=1.0),
        progress=False,
    )
    run.save(tmp_path / "run.h5")
    again = gf.load(tmp_path / "run.h5")
    assert again.refinement is None and (again.flow.theta == run.flow.theta).all()
    assert np.isinf(gf.load(tmp_path / "run.h5").flow.settings["max_seconds"])


def undescribed(path) -> list[str]:
    found: list[str] = []

    def look(name, item):
        if isinstance(item, h5py.Dataset) and not item.attrs.get("description"):
            found.append(name)

    with h5py.File(path) as file:
        file.visititems(look)
        assert file["flow"].attrs["counts_of"] == "gradients, hessians, products"
    return found


def test_every_data_set_says_what_it_is(result, tmp_path):
    result.spectrum()
    result.save(tmp_path / "population.h5")
    X, start = np.random.default_rng(0).standard_normal((20, 3)), gf.MLP.random((3, 2, 1), "relu", seed=0)
    followed = {"solver": gf.solvers.Filippov(max_steps=50), "refiner": None, "progress": False}
    kinked = gf.train(X[:, :1], start, gf.Samples(X, sample_weight=np.ones(20)), **followed)
    assert kinked.flow.events.times.size
    kinked.save(tmp_path / "kinked.h5")
    own = gf.train(gf.Problem.from_jax(lambda t: ((t - 1.0) ** 2).sum(), np.zeros(2)), progress=False)
    own.save(tmp_path / "own.h5")
    for path in tmp_path.iterdir():
        assert undescribed(path) == []
    with h5py.File(tmp_path / "population.h5") as file:
        assert file["flow/theta"].attrs["form"] == "ndarray, shape (m, P)"
        assert "row" not in file["student/weights_0"].attrs["form"]
