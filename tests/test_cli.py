"""The command line: demo and train, their files, and their exit codes."""

import subprocess
import sys

import numpy as np
import pytest

import gradflow as gf
from gradflow.cli import main


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
    assert "run.h5, which exists; allowed: a new file, or --overwrite" in capsys.readouterr().err
    assert (tmp_path / "run.h5").read_bytes() == kept
    assert main([*run, "--overwrite"]) == 0 and "replaced " in capsys.readouterr().out
    # The demo's own names are no one else's.
    for said in ("saved ", "replaced "):
        assert main(["demo"]) == 0 and said in capsys.readouterr().out
    assert main(["demo", "--out", "run.h5"]) == 2


def test_exit_code_1_says_not_converged_and_is_in_the_help(capsys, monkeypatch):
    monkeypatch.setattr("gradflow.cli.train", lambda *given: gf.train(*given, refiner=None))
    assert main(["train", "--student", "4-1-1", "--orthonormal", "3"]) == 1
    assert "flow only, not refined" in capsys.readouterr().out
    for command in ([], ["demo"], ["train"], ["verify"]):
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
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, words, capsys):
    assert main(["train", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.err.count("\n") == 1 and captured.out == ""
