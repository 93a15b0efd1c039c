"""Rows with named columns: a pandas DataFrame where pandas is installed, else a plain table."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, TypeAlias


class Table(list):
    """A list of dictionaries with equal keys, printed in columns; table["name"] is a column, as in pandas."""

    def __getitem__(self, key):
        return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if not self:
            return "(no rows)"
        header = list(self[0])
        cells = [header, *([_cell(row[name]) for name in header] for row in self)]
        widths = [max(len(line[c]) for line in cells) for c in range(len(header))]
        return "\n".join("  ".join(text.rjust(w) for text, w in zip(line, widths)) for line in cells)


if TYPE_CHECKING:
    import pandas

    Frame: TypeAlias = pandas.DataFrame | Table
else:
    Frame = Any  # pandas is optional, and slow to import


def table(rows: list[dict], columns=None) -> Frame:
    """The rows as a DataFrame if pandas is installed, else as a `Table`.

    columns   their names, those of the first row unless given (a DataFrame without rows has columns too)

    Whole numbers stay whole in a DataFrame where some are missing (None).
    """
    if importlib.util.find_spec("pandas") is None:
        return Table(rows)
    import pandas

    frame = pandas.DataFrame(rows, columns=None if columns is None else list(columns))
    for name in frame.columns:
        values = [row[name] for row in rows]
        if None in values and all(value is None or isinstance(value, int) for value in values):
            frame[name] = pandas.array(values, dtype="Int64")
    return frame


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
