"""The judge's credentials: refused where they would be shown or could not be sent, and masked in what servers say."""

from __future__ import annotations

import html
import json
import re
from urllib.parse import quote, urlsplit

MASK = "[the judge's key]"

# An Authorization header holds visible ASCII; RFC 9110, section 5.5.
_KEY = re.compile(r"[!-~]*+")
_ADDRESS = re.compile(r"https?://[!-~]++", re.IGNORECASE)


def clean_key(key: str) -> str:
    """A key without the white space around it, as files and shells leave it there.

    Raises:
        ValueError: it cannot be sent. The message does not hold it.
    """
    key = key.strip()
    if not _KEY.fullmatch(key):
        raise ValueError("holds white space, a control character or one beyond ASCII, which no key has")
    return key


def address_problem(base_url: str) -> str | None:
    """Why an API cannot begin at an address, in words that do not hold it, or None."""
    if not base_url.startswith(("http://", "https://")):
        return "must begin with http:// or https://"
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:
        return "is no address"
    if "@" in parts.netloc:
        return "holds a user or a password, which files would show; give judge.api_key_variable instead"
    if "?" in base_url or "#" in base_url:
        return (
            "must end with a path: what follows ? or # may be a secret, which files and messages would show"
        )
    return None if parts.hostname and port != 0 and _ADDRESS.fullmatch(base_url) else "is no address"


def masked(text: str, key: str) -> str:
    """A text with the key masked, as it is and as JSON, HTML, a URL and Python write it."""
    if not key:
        return text
    as_json = json.dumps(key)[1:-1]
    written = {
        key,
        as_json,
        as_json.replace("/", r"\/"),
        html.escape(key),
        quote(key, safe=""),
        repr(key)[1:-1],
    }
    longest_first = sorted(written, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), MASK, text, flags=re.IGNORECASE)
