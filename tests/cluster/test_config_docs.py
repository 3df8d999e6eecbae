"""The page of every key is the one that the configuration would write now."""

from __future__ import annotations

from cluster.config.documentation import PAGE, page
from cluster.config.fields import every_field


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m cluster.config.documentation`"


def test_the_page_has_every_key() -> None:
    text = page()
    assert all(f"| `{key}` |" in text for key in (field.key for field in every_field()))
