"""The command line: demo and train, their files, and their exit codes."""

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
