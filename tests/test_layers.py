"""Rules that a reader of the source can check; import-linter checks the rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import gradflow

ROOT = Path(gradflow.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
KERNELS = [path for path in SOURCES if ROOT / "kernels" in path.parents]


def imported(path: Path) -> set[str]:
    """The modules that a file imports anywhere, relative ones with their dots."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names |= {module} if node.module else {f"{module}{alias.name}" for alias in node.names}
    return names


def called(path: Path) -> set[str]:
    """The last names of everything that a file calls or mentions as an attribute."""
    tree = ast.parse(path.read_text())
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return attributes | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [path for path in KERNELS if path.name != "xla.py"], ids=name)
def test_only_the_bridge_of_the_kernels_knows_jax(path):
    assert not {module for module in imported(path) if module.split(".")[0] == "jax"}
    assert not {module for module in imported(path) if module.split(".")[-1] == "xla"}


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_source(path):
    used = called(path)
    assert not used & {"pure_callback", "io_callback", "pickle"}  # the typed FFI only; nothing is unpickled
    assert not used & {"arccos", "acos"}  # STYLE: angles come from the named primitives
    assert ast.get_docstring(ast.parse(path.read_text())), "a module says what it is"
