"""BibTeX of what a result used agrees with CITATION.cff and with itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gradflow as gf
from gradflow.citing import ENTRIES

CITATION = (Path(__file__).parents[1] / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", ENTRIES)
def test_entries_are_whole(key):
    entry = ENTRIES[key]
    assert re.match(rf"@\w+{{{key},\n", entry) and entry.endswith("\n}")
    assert entry.count("{") == entry.count("}")
    fields = re.findall(r"^  (\w+) = ", entry, re.M)
    assert {"author", "title", "year"} <= set(fields) and len(fields) == len(set(fields))


def test_the_same_version_and_papers_as_in_the_citation_file():
    assert f"version: {gf.__version__}\n" in CITATION
    assert gf.__version__ in ENTRIES["gradflow"]
    for key in ("brea2023", "kennedy2019"):
        title = re.search(r"title = \{\{(.*)\}\}", ENTRIES[key]).group(1)
        assert title in CITATION


@pytest.mark.parametrize("wrong", [3, "run.h5"])
def test_only_results_are_cited(wrong):
    with pytest.raises(gf.ArgumentError, match="^result"):
        gf.cite(wrong)
