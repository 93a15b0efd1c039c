"""The command line: demo and train, their files, and their exit codes."""

import subprocess
import sys

import numpy as np
import pytest

import gradflow as gf
from gradflow.cli import main

COMMANDS = ("demo", "train", "resume", "show", "plot", "verify", "info", "warm")


def test_demo_writes_a_file_and_a_picture(tmp_path, capsys):
    out, plot = tmp_path / "demo.h5", tmp_path / "demo.png"
    assert main(["demo", "--out", str(out), "--plot", str(plot)]) == 0
    text = capsys.readouterr().out
    assert "converged to a critical point" in text and str(out) in text
    assert gf.load(out).converged
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_train_on_a_law_on_samples_and_on_files(tmp_path, capsys, rng):
    assert main(["train", "--student", "4-1-1", "--orthonormal", "3"]) == 0
    X = rng.standard_normal((60, 2))
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "Y.npy", X[:, :1] - 0.3 * X[:, 1:])
    files = ["--inputs", str(tmp_path / "X.npy"), "--targets", str(tmp_path / "Y.npy")]
    assert main(["train", "--student", "2-1", *files]) == 0
    sampled = ["--student", "2-1-1", "--teacher", "2-1-1", "--activation", "g", "--samples", "50", "--bias"]
    assert main(["train", *sampled, "--plot", str(tmp_path / "run.png")]) in (0, 1)
    assert capsys.readouterr().out.count("gradflow:") == 3


def test_demo_goes_without_matplotlib(tmp_path, capsys, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    out, plot = tmp_path / "demo.h5", tmp_path / "demo.png"
    assert main(["demo", "--out", str(out), "--plot", str(plot)]) == 0
    assert "gradflow[plot]" in capsys.readouterr().err and out.exists() and not plot.exists()


def shell(command: str, folder) -> subprocess.CompletedProcess:
    """A command as a user types it, with `gradflow` for the command line; its own exit code comes last."""
    gradflow = f"{sys.executable} -W error -m gradflow"
    command = f'{command.replace("gradflow", gradflow, 1)}; echo "${{PIPESTATUS[0]}}"'
    return subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("gradflow demo | head -2", "0"),  # goes on and saves
        ("gradflow demo | true", "0"),
        ("gradflow verify --list | head -1", "141"),
        ("gradflow train --help | head -1", "141"),
    ],
)
def test_a_reader_that_leaves_gets_no_traceback(command, code, tmp_path):
    run = shell(command, tmp_path)
    assert run.stderr == ""
    *shown, exit_code = run.stdout.splitlines()
    assert len(shown) <= 2 and exit_code in (code, "0")
    if "demo" in command:
        assert gf.load(tmp_path / "gradflow-demo.h5").converged
        assert (tmp_path / "gradflow-demo.png").exists()


def test_files_that_exist_are_replaced_when_asked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = ["train", "--student", "4-1-1", "--orthonormal", "3", "--out", "run.h5"]
    assert main(run) == 0 and "saved " in capsys.readouterr().out
    kept = (tmp_path / "run.h5").read_bytes()
    assert main(run) == 2
    assert "run.h5, which exists; allowed: a new file, or --force" in capsys.readouterr().err
    assert (tmp_path / "run.h5").read_bytes() == kept
    assert main([*run, "--force"]) == 0 and "replaced " in capsys.readouterr().out
    # The demo numbers its files anew.
    for name in ("gradflow-demo", "gradflow-demo-2", "gradflow-demo-3"):
        assert main(["demo"]) == 0
        assert all((tmp_path / f"{name}{ending}").exists() for ending in (".h5", ".png"))
    assert "gradflow-demo-3.png" in capsys.readouterr().out
    assert main(["demo", "--force"]) == 0 and "replaced " in capsys.readouterr().out
    assert not (tmp_path / "gradflow-demo-4.h5").exists()
    assert main(["demo", "--out", "run.h5"]) == 2


def test_exit_code_1_says_not_converged_and_is_in_the_help(capsys, monkeypatch):
    monkeypatch.setattr(
        "gradflow.cli.train", lambda problem, **options: gf.train(problem, refiner=None, **options)
    )
    assert main(["train", "--student", "4-1-1", "--orthonormal", "3"]) == 1
    assert "flow only, not refined" in capsys.readouterr().out
    for command in ([], *([name] for name in COMMANDS)):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
        text = capsys.readouterr().out
        assert ended.value.code == 0 and "\n  1    finished, but not converged" in text


@pytest.mark.parametrize("option", ["--out", "--plot"])
def test_places_that_cannot_be_written_are_refused_before_the_work(option, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gradflow.cli.train", None)  # no work is begun
    (tmp_path / "folder.png").mkdir()
    for path, words in [
        (".", "a folder"),
        (tmp_path, "a folder"),
        (tmp_path / "folder.png", "a folder"),
        (tmp_path / "nowhere" / "run.png", "a file in a folder that exists"),
    ]:
        assert main(["demo", option, str(path)]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith(f"gradflow: {option}: ") and words in captured.err
        assert captured.out == ""
    assert main(["demo", "--out", "same.png", "--plot", "same.png"]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--student", "4x1", "--orthonormal", "3"], "--student"),
        (["--student", "4-1-1", "--orthonormal", "9"], "width"),
        (["--student", "4-1-1", "--orthonormal", "3", "--activation", "sine"], "activation"),
        (["--student", "4-1-1", "--targets", "Y.npy"], "--targets"),
        (["--student", "4-1-1", "--orthonormal", "3", "--inputs", "missing.npy"], "missing.npy"),
        (["--student", "4-1-1", "--orthonormal", "3", "--samples", "0"], "--samples"),
        (["--student", "4-2-1-1", "--orthonormal", "3"], "hidden layers"),
        (["--student", "4-1-1", "--orthonormal", "3", "--out", "/nonexistent/run.h5"], "--out"),
        (["--student", "4-1-1", "--orthonormal", "3", "--plot", "run.foo"], "run.foo"),
        (["--student", "4-1-1", "--orthonormal", "3", "--samples", "1000000000000"], "--samples"),
        (["--student", "4-1-1", "--orthonormal", "3", "--solver", "bdf"], "did you mean 'BDF'"),
        (["--student", "4-1-1", "--orthonormal", "3", "--solver", "none", "--t1", "3"], "--solver"),
        (["--student", "4-1-1", "--orthonormal", "3", "--rtol", "2"], "rtol"),
        (["--student", "4-1-1", "--orthonormal", "3", "--loss", "cross"], "loss"),
        (["--student", "4-1-1", "--orthonormal", "3", "--weight-decay", "1"], "weight_decay"),
        (["--student", "4-1-1", "--orthonormal", "3", "--starts", "0"], "--starts"),
        (["--student", "4-1-1", "--orthonormal", "3", "--checkpoint", "/nonexistent/a.h5"], "checkpoint"),
        (["--student", "4-1-1", "--orthonormal", "3", "--csv", "a.h5", "--out", "a.h5"], "--csv"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, words, capsys):
    assert main(["train", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.err.count("\n") == 1 and captured.out == ""


SMALL = ["train", "--student", "4-2-1", "--orthonormal", "3"]


def test_a_run_is_stopped_resumed_shown_and_drawn(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stopped = [*SMALL, "--solver", "KenCarp58", "--rtol", "1e-6", "--t1", "0.5"]
    # Stopped before its end, and refined from there.
    assert main([*stopped, "--checkpoint", "run.ckpt", "--out", "run.h5", "--csv", "run.csv"]) == 3
    text = capsys.readouterr().out
    assert "try        follow further: solver=gf.solvers.KenCarp58(t1=5)" in text
    result = gf.load("run.h5")
    assert (result.flow.settings["rtol"], result.flow.settings["atol"]) == (1e-6, 1e-6)
    header, *rows = (tmp_path / "run.csv").read_text().splitlines()
    assert header == "t,loss,grad_norm" and len(rows) == result.flow.times.size
    assert [float(x) for x in rows[-1].split(",")] == [0.5, result.flow.loss, result.flow.grad_norm]
    assert main(["show", "run.ckpt"]) == 0
    assert "to go on: gradflow resume run.ckpt" in capsys.readouterr().out
    assert main(["resume", "run.ckpt", "--out", "again.h5"]) == 3
    assert (gf.load("again.h5").theta == result.theta).all()
    assert main([*SMALL, "--checkpoint", "run.ckpt"]) == 2
    assert "--checkpoint: got run.ckpt, which exists" in capsys.readouterr().err
    assert main(["show", "run.h5", "--csv", "shown.csv"]) == 3
    assert (tmp_path / "shown.csv").read_bytes() == (tmp_path / "run.csv").read_bytes()
    for kind in ("losses", "weights", "spectrum"):
        assert main(["plot", "run.h5", f"{kind}.pdf", "--kind", kind]) == 0
        assert (tmp_path / f"{kind}.pdf").read_bytes().startswith(b"%PDF")
    assert main(["plot", "run.h5"]) == 0 and (tmp_path / "run.png").exists()
    assert main(["plot", "run.h5"]) == 2 and main(["plot", "run.h5", "--force"]) == 0
    capsys.readouterr()
    for wrong, words in (
        (["plot", "run.h5", "a.png", "--kind", "wights"], "did you mean 'weights'"),
        (["plot", "missing.h5"], "no such file"),
        (["show", "run.csv"], "run.csv"),
        (["resume", "run.h5"], "run.h5"),
        (["resume", "."], "a folder"),
    ):
        assert main(wrong) == 2
        captured = capsys.readouterr()
        assert words in captured.err and captured.err.count("\n") == 1


def test_starts_are_a_batch(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    batch = [*SMALL, "--starts", "3", "--checkpoint", "kept"]
    assert main([*batch, "--out", "batch.h5", "--csv", "batch.csv"]) == 0
    assert "batch of 3: 3 converged" in capsys.readouterr().out
    header, *rows = (tmp_path / "batch.csv").read_text().splitlines()
    assert header.startswith("start,seed,loss") and len(rows) == 3
    for row, entry in zip(rows, gf.load("batch.h5")):  # each start by its seed
        again = gf.MLP.random((4, 2, 1), bias=False, seed=int(row.split(",")[1]))
        assert (again.flat() == entry.problem.theta0).all()
    losses = [entry.loss for entry in gf.load("batch.h5")]
    assert main([*batch, "--out", "same.h5"]) == 0  # from the folder
    assert [entry.loss for entry in gf.load("same.h5")] == losses
    assert main(["show", "batch.h5"]) == 0 and main(["plot", "batch.h5", "--kind", "losses"]) == 0
    assert main(["plot", "batch.h5", "a.png", "--kind", "weights"]) == 2


def test_losses_of_samples(tmp_path, capsys, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    X = rng.standard_normal((40, 2))
    np.save("X.npy", X)
    np.save("y.npy", np.where(X[:, 0] > 0.3 * X[:, 1] ** 2, "inside", "outside"))
    classes = ["train", "--student", "2-2-2", "--activation", "tanh", "--bias", "--inputs", "X.npy"]
    options = ["--targets", "y.npy", "--loss", "cross_entropy", "--weight-decay", "0.05", "--out", "run.h5"]
    assert main([*classes, *options]) == 0
    result = gf.load("run.h5")
    assert result.problem.options["weight_decay"] == 0.05
    assert result.problem.classes_.tolist() == ["inside", "outside"]
    none = ["--solver", "none", "--samples", "40"]
    assert main([*SMALL, *none, "--csv", "none.csv"]) in (0, 1)
    assert len((tmp_path / "none.csv").read_text().splitlines()) == 2


def test_info(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    for word in (
        gf.__version__,
        "numba ",
        "cores",
        "GRADFLOW_CACHE_DIR",
        "@software{gradflow",
        "@article{brea2023",
    ):
        assert word in text


def test_warm_compiles_in_processes_of_its_own(capsys, monkeypatch):
    from gradflow import warming

    monkeypatch.setattr(warming, "KINDS", {"all activations": warming.KINDS["all activations"]})
    assert main(["warm", "--jobs", "1"]) == 0
    assert "1 of 1" in capsys.readouterr().out
    assert main(["warm", "--jobs", "0"]) == 2


def test_an_end_at_infinity_has_a_code_of_its_own():
    from types import SimpleNamespace

    from gradflow.cli import _finish

    for kind, code in (("infinity", 4), ("unfinished", 1)):
        end = SimpleNamespace(kind=kind)
        found = SimpleNamespace(converged=False, interrupted=False, stop_reason=None, end=end)
        assert _finish(found, SimpleNamespace(out=None, csv=None, plot=None)) == code
