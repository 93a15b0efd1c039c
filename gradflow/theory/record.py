"""The file of `gradflow verify --resume`: checks that are done, so that they need not run again."""

from __future__ import annotations

import json
from pathlib import Path

from .._version import __version__
from ..support.errors import StorageError
from ..support.files import replacing
from .check import Check

__all__ = [
    "Record",
]


def __dir__() -> list[str]:
    return sorted(__all__)


class Record:
    """Finished functions of the registry and their checks, as lines of JSON, one per function.

    Each line has the version of the package, the size, the name of the function and its checks. Written
    anew under a temporary name and moved into place after each function, with the lines that other
    processes have added meanwhile. Lines of other versions or sizes are kept and not used.

    Parameters
    ----------
    path : path
        The file.
    size : str
        "quick" or "full".

    Raises
    ------
    StorageError
        For files that are something else, and where the folder cannot be written.

    Examples
    --------
    >>> record = Record("checks.jsonl", "quick")
    >>> record.add("alignment.stationarity", list(gf.theory.run("alignment.stationarity")))
    >>> [check.holds for check in Record("checks.jsonl", "quick").finished("alignment.stationarity")]
    [True]
    """

    def __init__(self, path: str | Path, size: str):
        self.path = Path(path)
        self.size = size
        if not self.path.absolute().parent.is_dir():
            raise StorageError(f"{self.path}: its folder does not exist")
        self._lines()

    def finished(self, name: str) -> list[Check] | None:
        """The checks of the function called `name` if it is done, or None."""
        line = self._lines().get((__version__, self.size, name))
        return None if line is None else [Check.from_dict(values) for values in line["checks"]]

    def add(self, name: str, checks: list[Check]) -> None:
        """Note the `checks` of the function called `name`, which has ended."""
        lines = self._lines()
        values = [check.as_dict() for check in checks]
        lines[__version__, self.size, name] = {
            "version": __version__,
            "size": self.size,
            "name": name,
            "checks": values,
        }
        text = "".join(
            json.dumps(line, allow_nan=False, ensure_ascii=False) + "\n" for line in lines.values()
        )
        with replacing(self.path.absolute()) as temporary:
            Path(temporary).write_text(text, encoding="utf-8")

    def _lines(self) -> dict[tuple[str, str, str], dict]:
        if not self.path.exists():
            return {}
        try:
            lines = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
            for line in lines:
                for values in line["checks"]:
                    Check.from_dict(values)
            return {(line["version"], line["size"], line["name"]): line for line in lines}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{self.path} is not a file of finished checks ({type(error).__name__}: {error})"
            ) from error
