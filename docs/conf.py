"""Settings of the documentation's site: `make docs`."""

from itertools import groupby
from typing import Any

import magvit

project = "magvit"
release = magvit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]

default_role = "literal"  # docstrings write code between single backticks
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = "magvit"
html_show_sphinx = html_show_copyright = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def show_tables(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Tables in docstrings are Markdown's, which reStructuredText does not know: they are shown as written."""
    shown: list[str] = []
    for is_table, group in groupby(lines, lambda line: line.startswith("|")):
        part = list(group)
        shown += ["::", "", *(f"    {line}" for line in part), ""] if is_table else part
    lines[:] = shown


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", show_tables)
