"""What every test session shares: strict types, strict dtypes, reproducible properties, no windows."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import hypothesis
import jax
import numpy as np
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

# A shell that starts the tests in the background makes them, and their children, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Annotations are checked at run time, in tests only, and before gradflow's first import. Two kinds of
# modules are left out: kernels, which Numba compiles, and those whose own job is to refuse what a user
# hands in wrongly (a check by beartype would come first and hide their errors from the tests).
CHECKED_ROOMS = (
    "landscape", "objective", "losses.compiled", "losses.from_jax", "refiners.lbfgs",
    "run.report", "run.result", "run.storage", "solvers.compiled_run", "solvers.dense_output", "solvers.flow",
    "solvers.integration", "solvers.modes", "solvers.tableaus", "support.progress", "support.stopping",
    "theory",
)  # fmt: skip
_HOME = Path(importlib.util.find_spec("gradflow").origin).parent  # found, not imported
for _room in CHECKED_ROOMS:
    assert (_HOME / _room.replace(".", "/")).is_dir() or (_HOME / f"{_room.replace('.', '/')}.py").exists()
if importlib.util.find_spec("jaxtyping") and importlib.util.find_spec("beartype"):
    import jaxtyping

    jaxtyping.install_import_hook([f"gradflow.{room}" for room in CHECKED_ROOMS], "beartype.beartype")

jax.config.update("jax_numpy_dtype_promotion", "strict")

# Compilation takes seconds at the first example: no deadlines. In CI the same examples every time.
hypothesis.settings.register_profile("local", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def rng() -> np.random.Generator:
    """A random generator, the same in every test."""
    return np.random.default_rng(20260101)
