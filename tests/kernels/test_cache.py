"""Compiled code on disk: whatever is wrong with a file is a miss."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time

import pytest
from numba import types
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature

from gradflow.kernels.math import cache

SIGNATURE = types.int64(types.int64)


def twice(n):
    return 2 * n


def compiled(folder) -> CFunc:
    """`twice` as a fresh process would get it from this folder, and checked."""
    callback = CFunc(twice, normalize_signature(SIGNATURE), {}, {})
    callback._cache = cache.CodeCache(twice, folder)
    callback.compile()
    assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(callback.address)(21) == 42
    return callback


def hit(folder) -> bool:
    return compiled(folder).cache_hits == 1


def the_file(folder):
    (path,) = folder.glob("*.code")
    return path


def test_code_is_found_again(tmp_path):
    assert not hit(tmp_path / "new")
    assert hit(tmp_path / "new")
    assert the_file(tmp_path / "new").stat().st_size > 1000


def flip(stored: bytes) -> bytes:
    middle = len(stored) // 2
    return stored[:middle] + bytes([stored[middle] ^ 1]) + stored[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda stored: b"",
        lambda stored: stored[:7],
        lambda stored: stored[:-1],
        lambda stored: stored[: len(stored) // 2],
        lambda stored: stored + b"more",
        lambda stored: b"garbage " * 1000,
        lambda stored: bytes(len(stored)),
        lambda stored: stored[32:],
        flip,
    ],
    ids=["empty", "start", "last byte", "half", "longer", "garbage", "zeros", "no checksum", "one bit"],
)
def test_a_damaged_file_is_a_miss_and_is_replaced(tmp_path, damage):
    compiled(tmp_path)
    path = the_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert not hit(tmp_path)
    assert path.stat().st_size > 1000 and hit(tmp_path)


def test_a_file_that_unpickles_to_something_else_is_a_miss(tmp_path):
    import hashlib

    compiled(tmp_path)
    payload = cache.serialize.dumps(("of", "another", "Numba"))
    the_file(tmp_path).write_bytes(hashlib.sha256(payload).digest() + payload)
    assert not hit(tmp_path) and hit(tmp_path)


def test_a_folder_that_cannot_be_written_costs_the_compilation_only(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    for _ in range(2):
        assert not hit(tmp_path / "file" / "folder")
    assert caplog.text.count("cannot be kept") == 1 and "GRADFLOW_CACHE_DIR" in caplog.text
    compiled(tmp_path / "folder")
    path = the_file(tmp_path / "folder")
    path.unlink()
    path.mkdir()
    assert not hit(tmp_path / "folder")


def run(code: str, folder, **popen) -> subprocess.Popen:
    environment = os.environ | {"GRADFLOW_CACHE_DIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen,
    )  # fmt: skip


RELU = "import gradflow as gf; print(gf.ACTIVATIONS['relu'](2.5), gf.ACTIVATIONS['square'](3.0))"


def test_a_full_disk_costs_the_compilation_only(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    process = run(limit + RELU, tmp_path)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (0, "2.5 9.0\n")
    assert err.count("cannot be kept") == 1
    assert not list(tmp_path.rglob("*.code"))


def test_processes_that_write_at_once_leave_whole_files(tmp_path):
    for _ in range(2):  # the first time all compile and write, the second time all read
        processes = [run(RELU, tmp_path) for _ in range(2)]
        for process in processes:
            out, err = process.communicate(timeout=300)
            assert (process.returncode, out, err) == (0, "2.5 9.0\n", "")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "claims"]
    assert len(files) == 2 and all(path.suffix == ".code" for path in files)


def test_what_one_process_compiles_another_waits_for(tmp_path):
    kept = cache.CodeCache(twice, tmp_path)
    callback = CFunc(twice, normalize_signature(SIGNATURE), {}, {})
    assert kept.claim(callback._sig, callback._targetdescr.target_context)
    code = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {os.path.dirname(__file__)!r})
import test_cache
began = time.monotonic()
print("begins", flush=True)
print(test_cache.hit(Path({str(tmp_path)!r})))
"""
    with run(code, tmp_path) as process:
        assert process.stdout.readline() == "begins\n"
        time.sleep(0.3)
        assert process.poll() is None
        callback._cache = kept
        callback.compile()  # the claim ends when the code is there
        out, err = process.communicate(timeout=300)
    assert (out, err) == ("True\n", "")
    assert not kept.claim(callback._sig, callback._targetdescr.target_context)


def test_a_claim_ends_with_its_process(tmp_path):
    code = f"""
import sys, time
sys.path.insert(0, {os.path.dirname(__file__)!r})
from pathlib import Path
from gradflow.kernels.math import cache
print(cache.Claims(Path({str(tmp_path)!r})).take("twice", 0.0), flush=True)
time.sleep(600)
"""
    claims = cache.Claims(tmp_path)
    with run(code, tmp_path) as process:
        assert process.stdout.readline() == "False\n"
        assert claims.take("twice", 0.0) and not claims.take("thrice", 0.0)
        process.kill()
    assert not claims.take("twice", 0.0)
    claims.release()


def test_a_helper_compiles_ahead_and_ends_with_its_process(tmp_path):
    code = """
import time
from gradflow.kernels import activation_blocks
from gradflow.kernels.math import abi, ahead
ahead._can_help = lambda: True
wanted = activation_blocks.relu, abi.ACTIVATION
assert abi.is_missing(*wanted)
ahead.compile_ahead(wanted)
while abi.is_missing(*wanted):
    assert ahead._helper.poll() is None
    time.sleep(0.05)
abi._callback = None  # nothing is compiled here
print(ahead._helper.pid)
"""
    out, err = run(code, tmp_path).communicate(timeout=300)
    assert err == "" and not os.path.exists(f"/proc/{out.strip()}")
    assert [path.name.partition("-")[0] for path in tmp_path.rglob("*.code")] == ["activation_blocks.relu"]
