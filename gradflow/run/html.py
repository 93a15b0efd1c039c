"""A result in a notebook: the report as a table."""

from __future__ import annotations

from html import escape

from .report import report
from .result import Result

_WIDTH = 13
"""Where the words of a report's line begin."""


def html(result: Result) -> str:
    """The report as HTML, without colours or scripts of its own."""
    head, *lines = report(result).splitlines()
    cut = next((i for i, line in enumerate(lines) if line.startswith("  neuron ")), len(lines))
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(line[:_WIDTH].strip())}</th>"
        f"<td style='text-align:left'>{escape(line[_WIDTH:].strip())}</td></tr>"
        for line in lines[:cut]
    )
    neurons = escape("\n".join(lines[cut:]))
    details = f"<details><summary>neurons</summary><pre>{neurons}</pre></details>" if neurons else ""
    return f"<div><b>{escape(head)}</b><table>{rows}</table>{details}</div>"
