"""The checks that are proofs: they hold, fail when broken on purpose, and run only where asked for."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("flint")

from gradflow.cli import main
from gradflow.theory import names, proved, run
from gradflow.theory.copy_average.index import index
from gradflow.theory.copy_average.transition import gammas
from gradflow.theory.spurious_minima.minima import standing


def silent(words):
    pass


def test_they_hold():
    assert proved.check_crossing("quick", silent, widths=[6]).holds
    assert proved.check_index("quick", silent, largest=3).holds
    assert proved.check_transitions("quick", silent, widths=[7]).holds
    assert proved.check_spurious("quick", silent, widths=[7]).holds


def shifted(k):
    return {name: value + 1 / k for name, value in gammas(k).items()}


def beside(kind, k, m):
    """A point 1e-6 from the critical one."""
    point = standing(kind, k, m)
    return dataclasses.replace(point, x=point.x + 1e-6)


def another_type(kind, k, m):
    """Type (1, k − 1) in place of (2, k − 2): a minimum where a saddle should be."""
    return standing(kind, k, 1)


@pytest.mark.parametrize(
    "broken",
    [
        lambda: proved.check_crossing("quick", silent, limits=shifted, widths=[6]),
        lambda: proved.check_index("quick", silent, formula=lambda sizes: index(sizes) + 1, largest=2),
        lambda: proved.check_transitions("quick", silent, limits=shifted, widths=[7]),
        lambda: proved.check_spurious("quick", silent, find=beside, widths=[7]),
        lambda: proved.check_spurious("quick", silent, find=another_type, widths=[6]),
        lambda: proved.check_index("quick", silent, largest=0),
    ],
)  # fmt: skip
def test_they_fail_when_broken(broken):
    assert not broken().holds


def test_they_are_apart_from_the_others(capsys):
    assert not any(name.startswith("proved.") for name in names())
    found = names(proofs=True)
    assert len(found) == 4 and all(name.startswith("proved.") for name in found)
    assert (
        names("spurious", proofs=True) == names("proved.spurious", proofs=True) == ["proved.spurious_minima"]
    )
    assert main(["verify", "--prove", "--list"]) == 0
    assert capsys.readouterr().out.split() == found


def test_from_the_command_line(capsys):
    assert main(["verify", "--prove", "copy_average.index"]) == 0
    assert "1 of 1 checks hold" in capsys.readouterr().out
    assert all(check.holds for check in run("proved.copy_average.index"))
