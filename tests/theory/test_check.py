"""Checks as values, the registry, and `gradflow verify`."""

import json
import math
import os
import signal

import numpy as np
import pytest

from gradflow.cli import main
from gradflow.support.errors import ArgumentError
from gradflow.theory import (
    Check,
    Part,
    Record,
    at_least,
    at_most,
    names,
    never,
    register,
    registry,
    run,
    seldom,
    verify,
)


def check(residual=0.5, **changes):
    values = {
        "name": "test_only.one",
        "statement": "One is one.",
        "source": "derived",
        "computed": {"one": np.float64(1.0), "many": np.arange(2)},
        "parts": [at_most("residual", [0.25, residual], 1.0)],
    }
    return Check(**{**values, **changes})


@pytest.fixture
def registered():
    """Three functions: one check that holds; one that holds and one that fails; one that raises."""
    names()  # every file is imported: none would register again
    before = dict(registry._registered)
    register("test_only.one")(lambda size, progress: check())
    register("test_only.two")(
        lambda size, progress: [check(name="test_only.two.a"), check(2.0, name="test_only.two.b")]
    )

    def raises(size, progress):
        raise ZeroDivisionError("on purpose")

    register("test_only.worse")(raises)
    yield
    registry._registered.clear()
    registry._registered.update(before)


@pytest.mark.parametrize("residual", [1.0 + 1e-15, math.nan, math.inf])
def test_holds_only_within_the_bound(residual):
    assert check(1.0) and check(1.0).holds
    assert not check(residual).holds and "FAILS" in str(check(residual))
    # One part that does not hold is enough, wherever it stands.
    bad, good = at_most("residual", residual, 1.0), at_most("other", 0.0, 1.0)
    assert not check(parts=[bad, good]).holds and not check(parts=[good, bad]).holds
    assert check(parts=[good, bad]).tightest == bad


@pytest.mark.parametrize(
    "part", [at_most("x", [], 1.0), at_least("x", [], 1.0), never("x", []), seldom("x", [], 0.5)]
)
def test_nothing_holds_over_no_cases(part):
    assert part.cases == 0 and not part.holds and part.strain == math.inf
    assert not check(parts=[at_most("residual", 0.0, 1.0), part]).holds
    assert check(parts=[at_most("residual", 0.0, 1.0), part]).cases == 0
    assert not at_most("a mean of nothing", 0.0, 1.0, cases=0).holds


@pytest.mark.parametrize("parts", [[], ()])
def test_a_check_has_parts(parts):
    with pytest.raises(ArgumentError, match="parts"):
        check(parts=parts)


def test_parts_take_the_worst_case_and_lose_no_nan():
    """max(0.0, nan) is 0.0 in Python: a residual that is no number would hold."""
    assert at_most("x", [1.0, 3.0, 2.0], 2.5).worst == 3.0 and at_least("x", [1.0, 3.0], 2.0).worst == 1.0
    for side in (at_most, at_least):
        for values in ([math.nan, 0.5], [0.5, math.nan], np.array([[0.5], [math.nan]])):
            assert math.isnan(side("x", values, 0.5).worst) and not side("x", values, 0.5).holds
    assert at_least("x", 2.0, 2.0).holds and not at_least("x", 2.0 - 1e-15, 2.0).holds
    assert never("x", [False, False]) == Part("x", 2, 0.0, 0.0) and not never("x", [False, True]).holds
    assert seldom("x", [True, *[False] * 9], 0.1).holds and not seldom("x", [True, False], 0.4).holds


def test_the_line_shows_the_part_with_the_least_room():
    parts = [at_most("a", 1e-16, 1e-14), at_least("b", 1.0, 0.9), at_most("c", -1.0, 0.0)]
    assert check(parts=parts).tightest == parts[1] and "b 1 ≥ 0.9 (1 case)" in str(check(parts=parts))


def test_prints_and_goes_to_json():
    line, text = str(check()), check().text()
    assert "\n" not in line and line.startswith("holds") and text.startswith(line)
    assert "One is one." in text and "one = 1" in text and "many = [0, 1]" in text
    assert "residual 0.5 ≤ 1 (2 cases)" in line and "holds: residual 0.5 ≤ 1 (2 cases)" in text
    values = json.loads(check(math.nan).json())
    assert values["parts"][0]["worst"] == "nan" and values["parts"][0]["cases"] == 2
    assert values["holds"] is False and values["computed"]["many"] == [0, 1]


@pytest.mark.parametrize("bound", [math.nan, math.inf])
def test_a_bound_is_a_finite_number(bound):
    with pytest.raises(ArgumentError, match="bound"):
        at_most("residual", 0.0, bound)


def test_registry_finds_by_prefix_and_goes_on_after_an_error(registered):
    assert names("test_only") == ["test_only.one", "test_only.two", "test_only.worse"]
    found = list(verify("test_only"))
    assert [c.holds for c in found] == [True, True, False, False]
    assert "on purpose" in found[-1].statement
    assert all(c.seconds >= 0 for c in found)
    with pytest.raises(ArgumentError, match="name"):
        names("no such check")
    with pytest.raises(ArgumentError, match="size"):
        list(run("test_only.one", "huge"))
    with pytest.raises(ArgumentError, match="name"):
        list(run("test_only"))


def test_a_name_belongs_to_one_file(registered):
    def other(size, progress):
        raise AssertionError

    other.__module__ = "elsewhere"
    with pytest.raises(ValueError, match="two checks"):
        register("test_only.one")(other)


def test_command_line(registered, capsys):
    assert main(["verify", "test_only.one"]) == 0
    assert "1 of 1 checks hold" in capsys.readouterr().out
    assert main(["verify", "test_only.two", "test_only.one", "--json"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["holds"] for line in lines] == [True, False, True]
    assert main(["verify", "test_only", "--list"]) == 0
    assert capsys.readouterr().out.split() == names("test_only")
    assert main(["verify", "--text", "test_only.worse"]) == 1
    assert "on purpose" in capsys.readouterr().out
    assert main(["verify", "no such check"]) == 2
    assert "no such check" in capsys.readouterr().err


def test_ctrl_c_is_tidy(registered, capsys):
    def interrupted(size, progress):
        yield check(name="test_only.stop.first")
        os.kill(os.getpid(), signal.SIGINT)
        progress("the signal is seen here")
        raise AssertionError("not reached")

    register("test_only.stop")(interrupted)
    assert main(["verify", "test_only.stop", "test_only.one"]) == 130
    out = capsys.readouterr().out
    assert "1 of 1 checks hold" in out and "interrupted" in out and "test_only.one" not in out


def test_ctrl_c_inside_a_real_check(capsys):
    """The words of progress come between starts, so that a check of many starts ends within one of them."""
    seen = []

    def progress(words):
        seen.append(words)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run("spurious_minima.rates", "full", progress))
    assert len(seen) == 3


@pytest.fixture
def counted():
    """A check that counts its runs, and one that fails."""
    names()
    before, runs = dict(registry._registered), []

    def one(size, progress):
        runs.append(size)
        return check(math.nan if size == "full" else 0.5, computed={"infinite": math.inf})

    register("test_only.one")(one)
    register("test_only.two")(lambda size, progress: check(2.0, name="test_only.two"))
    yield runs
    registry._registered.clear()
    registry._registered.update(before)


def test_resume_runs_nothing_twice(counted, capsys, tmp_path):
    path = tmp_path / "verify.jsonl"
    assert main(["verify", "test_only", "--resume", str(path)]) == 1
    first = capsys.readouterr().out
    assert main(["verify", "test_only", "--resume", str(path), "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert counted == ["quick"] and [line["holds"] for line in lines] == [True, False]
    assert lines[0]["computed"] == {"infinite": "inf"} and "1 of 2 checks hold" in first
    # Another size is another run, in the same file.
    assert main(["verify", "test_only.one", "--resume", str(path), "--full"]) == 1
    assert main(["verify", "test_only.one", "--resume", str(path), "--full"]) == 1
    assert counted == ["quick", "full"] and len(path.read_text().splitlines()) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["verify.jsonl"]


def test_resume_after_an_interruption(counted, capsys, tmp_path):
    path = tmp_path / "verify.jsonl"

    def interrupted(size, progress):
        os.kill(os.getpid(), signal.SIGINT)
        progress("the signal is seen here")
        raise AssertionError("not reached")

    register("test_only.stop")(interrupted)
    assert main(["verify", "test_only.one", "test_only.stop", "test_only.two", "--resume", str(path)]) == 130
    assert len(path.read_text().splitlines()) == 1
    register("test_only.stop")(lambda size, progress: check(name="test_only.stop"))
    assert main(["verify", "test_only.one", "test_only.stop", "--resume", str(path)]) == 0
    assert counted == ["quick"] and "2 of 2" in capsys.readouterr().out


def test_two_processes_share_a_record(tmp_path):
    """Each keeps what the other has added since it began."""
    one, other = (Record(tmp_path / "record", "quick") for _ in range(2))
    one.add("a", [check()])
    other.add("b", [check(name="test_only.two")])
    assert [c.name for c in one.finished("b")] == ["test_only.two"]
    assert one.finished("a") is not None and one.finished("c") is None
    assert Record(tmp_path / "record", "full").finished("a") is None


@pytest.mark.parametrize(
    "text", ["not json", "[1]", '{"version": "1", "size": "quick"}', '{"checks": [{"name": 1}]}', "\x00"]
)
def test_a_record_that_is_something_else_is_refused(counted, capsys, tmp_path, text):
    path = tmp_path / "notes.txt"
    path.write_text(text)
    assert main(["verify", "test_only.one", "--resume", str(path)]) == 2
    assert "notes.txt is not a file of finished checks" in capsys.readouterr().err
    assert path.read_text() == text and counted == []
    assert main(["verify", "test_only.one", "--resume", str(tmp_path / "no" / "file")]) == 2
    assert main(["verify", "test_only.one", "--resume", str(tmp_path)]) == 2
    assert counted == []


def test_checks_come_back_from_their_dictionary():
    for one in (check(), check(math.nan), check(math.inf, computed={"inside": [1.5, "words"]})):
        again = Check.from_dict(one.as_dict())
        assert again.as_dict() == one.as_dict() and again.holds == one.holds
