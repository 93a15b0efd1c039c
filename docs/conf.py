"""Sphinx: how the documentation site is built (`python -m sphinx -W docs docs/_build`)."""

import re

from gradflow import __version__

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


def setup(app):
    app.connect("autodoc-process-docstring", _as_written)
