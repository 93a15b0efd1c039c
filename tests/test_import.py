"""`import gradflow`: what it brings, what it switches on, what it leaves for later."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

import gradflow

PUBLIC = (
    "MLP", "Activation", "Gaussian", "Samples", "Problem", "Result", "GradflowError",
    "train", "load", "teachers", "solvers", "refiners",
)  # fmt: skip


def after_import(expression: str, statement: str = "import gradflow") -> object:
    """The JSON value of an expression in a fresh interpreter that has run `statement` only."""
    code = f"import json, sys\n{statement}\nprint(json.dumps({expression}))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return json.loads(finished.stdout)


def test_heavy_packages_wait_for_the_first_solve():
    late = ["diffrax", "optimistix", "lineax", "equinox", "matplotlib", "pandas", "torch", "sklearn"]
    assert after_import(f"[name for name in {late} if name in sys.modules]") == []


def test_import_switches_on_x64():
    dtype = after_import("str(jax.numpy.zeros(1).dtype)", "import gradflow, jax")
    assert dtype == "float64"


def test_import_initialises_no_xla_backend():
    assert (
        after_import(
            "xla_bridge.backends_are_initialized()", "import gradflow\nfrom jax._src import xla_bridge"
        )
        is False
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_exists(name):
    assert hasattr(gradflow, name)


def test_all_names_resolve_and_are_listed():
    assert len(set(gradflow.__all__)) == len(gradflow.__all__)
    for name in gradflow.__all__:
        getattr(gradflow, name)
    assert set(gradflow.__all__) <= set(dir(gradflow))


def public_modules() -> dict[str, types.ModuleType]:
    """The package and every module that is a public name of a public module."""
    found, waiting = {}, [gradflow]
    while waiting:
        module = waiting.pop()
        if module.__name__ not in found:
            found[module.__name__] = module
            values = [getattr(module, name) for name in module.__all__]
            waiting += [value for value in values if isinstance(value, types.ModuleType)]
    return found


def test_public_modules_show_public_names_only():
    modules = public_modules()
    assert set(modules) >= {
        f"gradflow.{name}" for name in ("landscape", "plot", "solvers", "teachers", "theory")
    }
    for name, module in modules.items():
        assert dir(module) == sorted(module.__all__), name
        for public in module.__all__:
            value = getattr(module, public)
            assert public == "__version__" or not public.startswith("_"), (name, public)
            # What is shown is the package's own, not an import from elsewhere.
            home = getattr(value, "__module__", None) or getattr(value, "__name__", "gradflow")
            assert home.startswith("gradflow"), (name, public, home)


def test_train_stays_a_function():
    kind = after_import("type(gradflow.train).__name__", "import gradflow, gradflow.run.training")
    assert kind == "function"


def test_unknown_name_is_an_attribute_error():
    assert isinstance(gradflow, types.ModuleType)
    with pytest.raises(AttributeError, match="no_such_name"):
        gradflow.no_such_name  # noqa: B018


def test_version_is_the_installed_one():
    try:
        installed = importlib.metadata.version("gradflow")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("gradflow runs from its source folder, not installed")
    assert gradflow.__version__ == installed


def test_package_is_typed():
    assert (Path(gradflow.__file__).parent / "py.typed").exists()
