"""Interrupted runs: a checkpoint continues to the same bits, wherever the run was stopped."""

import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

import gradflow as gf
from gradflow import ArgumentError, StorageError

TEACHER = gf.teachers.orthonormal(4, 5)
STUDENT = gf.MLP.random((5, 3, 1), "erf", False, seed=3)
ARRAYS = ("times", "theta", "losses", "grad_norms", "step_times", "step_theta", "step_velocity",
          "step_acceleration", "stiffness")  # fmt: skip


def assert_same_bits(a, b):
    assert (a.theta == b.theta).all() and a.loss == b.loss and a.grad_norm == b.grad_norm
    for name in ARRAYS:
        assert (getattr(a.flow, name) == getattr(b.flow, name)).all(), name
    assert a.flow.stop_reason is b.flow.stop_reason
    assert a.flow.counts == b.flow.counts
    assert (a.flow.accepted, a.flow.rejected) == (b.flow.accepted, b.flow.rejected)
    assert a.stop_reason is b.stop_reason and a.flow.settings == b.flow.settings


@pytest.fixture
def eager(monkeypatch):
    """One step per piece, a checkpoint after each, and the run stops by itself after some."""
    monkeypatch.setattr(gf.run.checkpoint, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(gf.solvers.integration, "SECONDS_PER_CALL", 0.0)

    class Stopped(Exception):
        pass

    write = gf.run.checkpoint.CheckpointFile.write

    def stop_after(count):
        def counted(self, state):
            self.written = getattr(self, "written", 0) + 1
            write(self, state)
            self._next = 0.0
            if self.written == count:
                raise Stopped

        monkeypatch.setattr(gf.run.checkpoint.CheckpointFile, "write", counted)
        return Stopped

    return stop_after


@pytest.mark.parametrize("solver", ["KenCarp58", "Rodas5P", "BDF", "RKC2", "Dopri8"])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_run_stopped_at_any_step_continues_to_the_same_bits(solver, frozen, tmp_path, eager, monkeypatch):
    rates = np.where(np.arange(18) >= 15, 0.0 if frozen else 2.0, 1.0)
    kind = getattr(gf.solvers, solver)(t1=50.0 if solver in ("Dopri8", "RKC2") else np.inf)
    asked = {"solver": kind, "rates": rates, "progress": False, "seed": 4}
    whole = gf.train(TEACHER, STUDENT, **asked)
    path = tmp_path / "run.h5"
    stopped = eager(4)
    with pytest.raises(stopped):
        gf.train(TEACHER, STUDENT, checkpoint=path, **asked)
    stopped = eager(3)
    with pytest.raises(stopped):
        gf.resume(path, progress=False)
    monkeypatch.undo()
    continued = gf.resume(path, progress=False)
    assert_same_bits(whole, continued)
    assert continued.seed == 4
    assert_same_bits(whole, gf.resume(path, progress=False))  # a finished run refines again


def test_samples_weights_and_thinned_paths_continue(tmp_path, eager, monkeypatch):
    X = np.random.default_rng(0).standard_normal((40, 5))
    inputs = gf.Samples(X, sample_weight=np.linspace(0.5, 1.5, 40))
    student = gf.MLP.random((5, 3, 1), "tanh", seed=1)
    asked = {"solver": gf.solvers.Kvaerno3(rtol=1e-9, atol=1e-9, t1=30.0), "progress": False}
    path = tmp_path / "run.h5"
    with pytest.MonkeyPatch.context() as context:
        context.setattr(gf.solvers.records, "STORED_NUMBERS", 23 * 300)
        context.setattr(gf.solvers.records, "FEWEST_STEPS", 100)
        whole = gf.train(lambda x: np.sin(x[:, :1]), student, inputs, **asked)
        assert whole.flow.step_times.size <= 302 < whole.flow.accepted
        stopped = eager(5)
        with pytest.raises(stopped):
            gf.train(lambda x: np.sin(x[:, :1]), student, inputs, checkpoint=path, **asked)
        monkeypatch.undo()
        assert_same_bits(whole, gf.resume(path, progress=False))
        # Between two of the steps that were kept, `at` integrates again.
        t = 0.5 * (whole.flow.step_times[5] + whole.flow.step_times[6])
        assert np.isfinite(whole.flow.at(t)).all()


def test_kill_9_and_ctrl_c_lose_nothing(tmp_path):
    path, script = tmp_path / "run.h5", tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        "import numpy as np, gradflow as gf\n"
        "X = np.random.default_rng(0).standard_normal((20_000, 3))\n"
        "T = gf.teachers.random((3, 3, 1), 'softplus', seed=1)\n"
        "S = gf.MLP.random((3, 4, 1), 'softplus', seed=2)\n"
        "solver = gf.solvers.KenCarp58(rtol=1e-10, atol=1e-10, t1=300.0)\n"
        "gf.run.checkpoint.EVERY_SECONDS = 0.2\n"
        "asked = dict(solver=solver, refiner=None, progress=False)\n"
        "if sys.argv[1] == 'whole':\n"
        "    r = gf.train(T, S, X, **asked)\n"
        "elif sys.argv[1] == 'begin':\n"
        "    print('ready', flush=True)\n"
        f"    r = gf.train(T, S, X, checkpoint={str(path)!r}, **asked)\n"
        "else:\n"
        "    print('ready', flush=True)\n"
        f"    r = gf.resume({str(path)!r}, progress=False)\n"
        "print(r.stop_reason.name, r.flow.accepted, r.flow.step_theta.tobytes().hex())\n"
    )

    def start(mode):
        return subprocess.Popen(
            [sys.executable, str(script), mode], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def stop(mode, number):
        process = start(mode)
        assert process.stdout.readline().strip() == "ready"
        before = path.stat().st_mtime_ns if path.exists() else 0
        for _ in range(600):
            time.sleep(0.05)
            if process.poll() is not None or (path.exists() and path.stat().st_mtime_ns > before):
                break
        process.send_signal(number)
        return process.communicate(timeout=120), process.returncode

    _, code = stop("begin", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".h5")] == []
    (out, err), code = stop("resume", signal.SIGINT)
    assert code == 0 and out.split()[0] == "INTERRUPTED", err
    (resumed, _), (whole, err) = start("resume").communicate(), start("whole").communicate()
    assert whole.split()[0] == "END_TIME", err
    assert resumed.split()[-3:] == whole.split()


def test_what_cannot_be_stored_is_refused_at_the_start(tmp_path):
    path = tmp_path / "run.h5"
    with pytest.raises(ArgumentError, match="^checkpoint:"):
        gf.train(TEACHER, STUDENT, checkpoint=3)
    with pytest.raises(ArgumentError, match="^checkpoint:.*folder"):
        gf.train(TEACHER, STUDENT, checkpoint=tmp_path / "no" / "run.h5")
    with pytest.raises(ArgumentError, match="^checkpoint:.*GradientDescent"):
        gf.train(TEACHER, STUDENT, solver=gf.solvers.GradientDescent(), checkpoint=path)
    with pytest.raises(ArgumentError, match="^checkpoint:.*without a flow"):
        gf.train(TEACHER, STUDENT, solver=None, checkpoint=path)
    with pytest.raises(ArgumentError, match="^checkpoint:.*from_jax"):
        gf.train(gf.Problem.from_jax(lambda x: (x**2).sum(), [1.0]), checkpoint=path)
    own = gf.Activation(lambda z: z**3, lambda z: 3 * z**2, lambda z: 6 * z, name="mine")
    with pytest.raises(ArgumentError, match="^checkpoint:.*'mine'"):
        gf.train(np.ones((4, 1)), gf.MLP.random((2, 2, 1), own, seed=0), np.ones((4, 2)), checkpoint=path)
    assert not path.exists()


def test_a_folder_is_no_checkpoint(tmp_path):
    teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), "erf", False, seed=0)
    with pytest.raises(ArgumentError, match="checkpoint: got the folder"):
        gf.train(teacher, student, checkpoint=tmp_path)


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    path = tmp_path / "run.h5"
    with pytest.raises(StorageError, match="no such file"):
        gf.resume(path)
    path.write_bytes(b"nothing")
    with pytest.raises(StorageError):
        gf.resume(path)
    gf.train(TEACHER, STUDENT, progress=False).save(path)
    with pytest.raises(StorageError, match="gradflow checkpoint"):
        gf.resume(path)
    gf.train(TEACHER, STUDENT, checkpoint=path, progress=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StorageError):
        gf.resume(path)
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        file.attrs["schema"] = 1
    with pytest.raises(StorageError, match="schema 1.*reads schema 3 to 3"):
        gf.resume(path)
