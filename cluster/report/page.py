"""The shell of a page that needs nothing but itself."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from pathlib import Path

from rewards.terminal import printable

REPORT_FILE = "report.html"

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · zoetrope</title><style>{style}</style></head>
<body><main>{body}</main><script>{script}</script></body></html>
"""


def page_html(title: str, body: str) -> str:
    """A whole page around its sections, in which no character of the data hides or reorders what is read."""
    style, script = _asset("report.css"), _asset("report.js")
    return PAGE.format(title=escape(printable(title)), style=style, script=script, body=printable(body))


def write_html(path: Path, page: str) -> Path:
    """Write a page in one rename and return its path."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def _asset(name: str) -> str:
    return files("cluster").joinpath(name).read_text(encoding="utf-8")
