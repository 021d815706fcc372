"""How the documentation is built: Sphinx, Markdown by MyST, the theme Furo."""

from __future__ import annotations

from lockgate import __version__

project = "lockgate"
author = "The lockgate authors"
project_copyright = "The lockgate authors, Apache-2.0"
version = release = __version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"lockgate {__version__}"
html_copy_source = False
html_show_sphinx = False
