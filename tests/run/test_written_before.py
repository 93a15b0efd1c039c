"""Files that an earlier state of the package wrote load, or are refused by their schema in one sentence.

The folder `written_before` was written by 064bdf5: orthonormal(2, 2) and MLP.random((2, 1, 1), bias=False),
KenCarp58 at 1e-3. A change of a format keeps these files and adds its own.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import pytest

import gradflow as gf
from gradflow.many.sweep import Sweep

BEFORE = Path(__file__).parent / "written_before"
LOSS = 0.023221680625336716
"""L of the best single neuron for two teachers, `landscape.symmetric_point`."""


def proof(path) -> float:
    pytest.importorskip("flint")
    found = gf.proofs.load_proof(path)
    assert gf.verify_proof(found)
    return sum(found.loss) / 2


READERS = {
    "result.h5": lambda path: gf.load(path).loss,
    "batch.h5": lambda path: gf.load(path).best.loss,
    "checkpoint.h5": lambda path: gf.resume(path, progress=False).loss,
    "sweep": lambda path: Sweep.load(path).results()[0].loss,
    "proof.json": proof,
}


@pytest.fixture(params=READERS)
def copied(request, tmp_path) -> Path:
    source, path = BEFORE / request.param, tmp_path / request.param
    shutil.copytree(source, path) if source.is_dir() else shutil.copy(source, path)
    return path


def test_what_was_written_before_loads_or_is_refused_by_its_schema(copied):
    try:
        loss = READERS[copied.name](copied)
    except gf.StorageError as error:
        assert "schema" in str(error) and "\n" not in str(error)
    else:
        assert abs(loss - LOSS) < 1e-15


def test_another_schema_is_refused_in_one_sentence(copied):
    if copied.suffix == ".json":
        copied.write_text(json.dumps(json.loads(copied.read_text()) | {"schema": 99}))
    else:
        with h5py.File(copied / "merged.h5" if copied.is_dir() else copied, "r+") as file:
            file.attrs["schema"] = 99
    with pytest.raises(gf.StorageError, match="schema 99.* reads") as caught:
        READERS[copied.name](copied)
    assert "\n" not in str(caught.value)


def test_every_kind_of_file_is_among_them():
    assert {path.name for path in BEFORE.iterdir()} == set(READERS)
