"""What the modules of `theory` show: public names with docstrings."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

from gradflow import theory

MODULES = ["gradflow.theory", *(m.name for m in pkgutil.walk_packages(theory.__path__, "gradflow.theory."))]


@pytest.mark.parametrize("name", MODULES)
def test_public_names(name):
    module = importlib.import_module(name)
    assert dir(module) == sorted(module.__all__) and len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        value = getattr(module, public)
        assert not callable(value) or inspect.getdoc(value), public
    defined = {
        key
        for key, value in vars(module).items()
        if getattr(value, "__module__", None) == name and inspect.getdoc(value) and not key.startswith("_")
    }
    assert {key for key in defined if callable(getattr(module, key))} <= set(module.__all__)


def test_papers_share_no_code_but_what_is_shared():
    """A paper's folder imports what stands beside the folders, never another paper's."""
    papers = (
        "alignment",
        "copy_average",
        "duplicates",
        "expand_and_cluster",
        "specialization",
        "spurious_minima",
    )
    for name in MODULES:
        here = name.split(".")[2:3]
        if here and here[0] in papers:
            source = inspect.getsource(importlib.import_module(name))
            assert not any(f"from ..{other}" in source for other in papers), name
