"""Markdown of texts from data: a table keeps its rows and cells, and nothing in them is a link, HTML or a heading."""

from __future__ import annotations

import re

import pytest

from cluster.records.markdown import as_code, in_markdown, markdown_list, markdown_rows


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("26.99 [26.41, 27.58]", "26.99 [26.41, 27.58]"),
        ("video_mme, R@0.5, 1.0 -> 0.7 (B)", "video_mme, R@0.5, 1.0 -> 0.7 (B)"),
        ("[click](http://x.y)", r"[click\](http\://x.y)"),
        ("[a]: //x [b][c]", r"[a\]: //x [b\][c]"),
        ("www.x.y https://x me@x.org", r"www\.x.y https\://x me&#64;x.org"),
        ("<img src=x> <b>", r"\<img src=x> \<b>"),
        ("a | b\nc \\| d", r"a \| b\\nc \\\| d"),
        ("_a_ *b* ~~c~~ `d`", r"\_a\_ \*b\* \~\~c\~\~ \`d\`"),
        ("&#x202e;x\u202e", r"&amp;#x202e;x\\u202e"),
        ("# heading", r"\# heading"),
        ("> quoted", r"\> quoted"),
        ("- one", r"\- one"),
        ("12) one", r"12\) one"),
        ("---", r"\---"),
        ("+1.2 ± 0.5", "+1.2 ± 0.5"),
    ],
)
def test_a_text_is_shown_as_it_is(text: str, escaped: str) -> None:
    assert in_markdown(text) == escaped


def test_a_table_keeps_its_rows_and_cells() -> None:
    table = markdown_rows(("Task", "a|b"), [("x\n| y | z |", "2 \\"), ("[/]", "3")])
    lines = table.splitlines()
    assert len(lines) == 4
    assert all(len(re.split(r"(?<!\\)(?:\\\\)*\|", line)) == 4 for line in lines)
    assert markdown_list(["a\n- b", "c"]) == "- a\\\\n- b\n- c"


@pytest.mark.parametrize("text", ["plain", "a `b` ``c``", "`"])
def test_code_has_a_longer_fence_than_what_it_holds(text: str) -> None:
    found = as_code(text)
    fence = re.match("`+", found)
    assert fence and not re.search(f"(?<!`){fence[0]}(?!`)", text) and text in found
