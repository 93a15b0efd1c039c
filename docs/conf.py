"""Sphinx: how the documentation site is built (`python -m sphinx -W docs docs/_build`)."""

import base64
import json
import re
import sys
from pathlib import Path

from gradflow import __version__

HERE = Path(__file__).parent
GENERATED = HERE / "generated"
"""Pages that are made anew with the site: figures of the benchmarks, pictures of the notebooks."""

project = "gradflow"
author = "the gradflow authors"
version = release = __version__
copyright = "the gradflow authors"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_design",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = True
autosummary_ignore_module_all = False

html_theme = "pydata_sphinx_theme"
html_title = "gradflow"
html_theme_options = {
    "show_nav_level": 1,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_show_sourcelink = False


def _as_written(app, what, name, obj, options, lines):
    """A docstring is text with aligned columns: its first sentence, then the rest as it stands."""
    if not lines:
        return
    end = next((i for i, line in enumerate(lines) if not line.strip()), len(lines))
    first = [re.sub(r"([*|_\\\\])", r"\\\\\1", line.replace("`", "")) for line in lines[:end]]
    rest = lines[end:]
    lines[:] = first
    if any(line.strip() for line in rest):
        lines += ["", ".. code-block:: text", "", *("   " + line for line in rest[1:])]


def _benchmarks() -> None:
    """The committed figures, with when and on what they were measured."""
    sys.path.insert(0, str(HERE.parent))
    from benchmarks import _suite, _timing

    for name, text in (
        ("figures", _suite.table(_timing.RESULTS)),
        ("origins", _suite.origins(_timing.RESULTS)),
    ):
        (GENERATED / f"benchmarks-{name}.txt").write_text(text + "\n", encoding="utf-8")


def _gallery() -> None:
    """Every picture of every notebook, under the notebook's title."""
    lines = ["# Gallery", "", "The pictures of the notebooks in `notebooks/`, which have the code.", ""]
    for path in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        title = next(
            line.strip("# \n")
            for cell in cells
            if cell["cell_type"] == "markdown"
            for line in cell["source"]
            if line.startswith("# ")
        )
        lines += [f"## {title}", "", f"`notebooks/{path.name}`", ""]
        for number, cell in enumerate(cells):
            for output in cell.get("outputs", []):
                picture = output.get("data", {}).get("image/png")
                if picture is not None:
                    name = f"{path.stem}-{number}.png"
                    (GENERATED / name).write_bytes(base64.b64decode(picture))
                    lines += [f"![A picture of {path.stem}]({name})", ""]
    (GENERATED / "gallery.md").write_text("\n".join(lines), encoding="utf-8")


def setup(app):
    GENERATED.mkdir(exist_ok=True)
    _benchmarks()
    _gallery()
    app.connect("autodoc-process-docstring", _as_written)
