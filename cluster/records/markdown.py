"""Markdown from text that may hold Markdown: what data says stands in a table or a list as it is, and does nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rewards.terminal import one_line

# What marks code, emphasis, HTML, cells and strikes in GitHub's Markdown wherever it stands; `&` would spell any of
# them out. An underscore inside a word does not, and a bracket only does before what it leads to.
_ANYWHERE = str.maketrans({mark: f"\\{mark}" for mark in "\\`*<|~"} | {"&": "&amp;"})
_IN_PLACES = re.compile(r"(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])")
# What is made a link without any mark.
_LINK = re.compile(
    r"(?i)[:.](?:(?:(?<=http:)|(?<=https:)|(?<=ftp:))(?=//)|(?<=mailto:)|(?<=xmpp:)|(?<=www\.))"
)
_ADDRESS = re.compile(r"@(?=[\w-]+(?:\.[\w-]+)*\.[A-Za-z])")
# What begins a heading, a list, a quotation or a rule at the start of a line.
_FIRST = re.compile(r"^(\s*)(?:(?=>|[#+=-]+(?:\s|$))|(\d+)(?=[.)](?:\s|$)))")


def in_markdown(text: str) -> str:
    """The text so that Markdown shows it as it is, on one line."""
    escaped = _IN_PLACES.sub(lambda found: f"\\{found[0]}", one_line(text).translate(_ANYWHERE))
    escaped = _ADDRESS.sub("&#64;", _LINK.sub(lambda found: f"\\{found[0]}", escaped))
    return _FIRST.sub(lambda found: f"{found[1]}{found[2] or ''}\\", escaped)


def as_code(text: str) -> str:
    """The text as code, between more backticks than it has in a row."""
    line = one_line(text)
    longest = max(map(len, re.findall("`+", line)), default=0)
    fence, blank = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{blank}{line}{blank}{fence}"


def markdown_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts, all columns but the first to the right."""
    head, *shown = ([in_markdown(cell) for cell in line] for line in (columns, *rows))
    lines = [head, ["---"] + ["---:"] * (len(columns) - 1), *shown]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_list(items: Iterable[str]) -> str:
    """A list of texts, a line for each."""
    return "\n".join(f"- {in_markdown(item)}" for item in items)
