"""An answer in plain characters: what looks the same is made the same, and marks around a value become blanks.

Every change keeps the length, so that a place in the result is the same place in the answer.
"""

from __future__ import annotations

import re
import unicodedata

from rewards.result import Unreadable

# Stands for a mark that belongs to its neighbour: a superscript, an accent, half of a surrogate pair.
MARK = "\ufffd"
# Stands for a figure that is none of 0 to 9: a fraction, an Arabic digit, a Roman numeral, a circled number.
ODD_FIGURE = "\ufffc"
# Han, hiragana and katakana: words in them stand beside letters and figures without a blank.
CJK = "\u3005-\u3006\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"

_HIDDEN = "\u200b"
_MINUS_SIGN_AND_BULLET = "\u2212\u2043"
# Letters and a symbol without a shape: fillers of Hangul, and Braille without dots.
_LETTERS_UNSEEN = "\u115f\u1160\u3164\uffa0\u2800"
_RIGHT_ARROWS = "→⇒⟶⟹➔➙➜➝➞➡"
# Forms of a character that are read as the character; of a superscript or a fraction that would change the value.
_SAME = frozenset({"<wide>", "<narrow>", "<small>", "<font>", "<vertical>"})
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_HIDDEN_IN_A_WORD = re.compile(rf"(?<=[\w{MARK}]){_HIDDEN}++(?=[\w{MARK}])")


def says_something(text: str) -> bool:
    """Whether anything of a text can be seen."""
    return any(unicodedata.category(c)[0] not in "CZM" and c not in _LETTERS_UNSEEN for c in text)


class _Table(dict[int, str]):
    """For `str.translate`: looks each character up once."""

    def __missing__(self, code: int) -> str:
        self[code] = plain = chr(code) if code < 128 else _plain_character(chr(code))
        return plain


_TABLE = _Table()


def plain(text: str) -> str:
    """The text with full-width and styled characters in ASCII, other dashes than `-` as `–`, blanks for the unseen.

    A dash of another kind stays told apart from `-`, because it is never a sign.

    Raises:
        Unreadable: it holds characters that show it in another order than it is written in.
    """
    if text.isascii():
        return text
    if _REORDERING.search(text):
        raise Unreadable("characters that change the order in which the answer is shown")
    return plain_characters(text)


def plain_characters(text: str) -> str:
    """As `plain`, of a text that is no answer: in whatever order it is shown."""
    if text.isascii():
        return text
    text = text.translate(_TABLE)
    text = _HIDDEN_IN_A_WORD.sub(lambda found: MARK * len(found[0]), text)
    return text.replace(_HIDDEN, " ")


def _plain_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf" or character in _LETTERS_UNSEEN:
        return _HIDDEN
    if unicodedata.decomposition(character).partition(" ")[0] in _SAME:
        same = unicodedata.normalize("NFKC", character)
        return same if same.isascii() else _plain_character(same) if len(same) == 1 else character
    if category == "Pd" or character in _MINUS_SIGN_AND_BULLET:
        return "–"
    if category.startswith("Z"):
        return " "
    if character in _RIGHT_ARROWS:
        return "→"
    if category[0] == "M" or category in ("Co", "Cs", "Cn"):
        return MARK
    if category[0] == "N":
        is_raised = unicodedata.decomposition(character).startswith(("<super>", "<sub>"))
        return MARK if is_raised else ODD_FIGURE
    return character


# Around a value, never between two characters of one word or number.
_OPENS, _CLOSES = r"(?<![A-Za-z0-9_{0}])", r"(?![A-Za-z0-9_{0}])"


def _around(mark: str, opening: str, closing: str) -> re.Pattern[str]:
    """A text between two marks, the text as the last group; neither mark touches a letter or figure outside."""
    before, after = (edge.replace("{0}", re.escape(mark)) for edge in (_OPENS, _CLOSES))
    return re.compile(rf"{before}{opening}(?=\S)([^{re.escape(mark)}]++)(?<=\S){closing}{after}")


_TAG = r"</?[A-Za-z][A-Za-z_]++>"
# What a person has struck out, as `~~` does in Markdown.
_STRUCK = re.compile(r"</?(?:s|del|strike)>")
# A character that a text must hold for the pattern to be tried, and the pattern: its last group stays, if it has one.
_MARKUP = (
    # Which question of several is answered.
    ("Q", re.compile(r"\A\s*+Q[0-9]{1,2}\s?:(?=[\s\[(])")),
    ("`", re.compile(r"```(?:json|text)?")),
    # `<b>` without an end is an option: `<B> a cat`.
    ("<", re.compile(r"<([bipu])>([^<>]*+)</\1>")),
    ("<", re.compile(rf"(?<!\w){_TAG}|{_TAG}(?!\w)")),
    ("\\", re.compile(r"\\(?:boxed|text|textbf|mathbf|mathrm)\{([^{}]*+)\}")),
    ("\\", re.compile(r"\\[()\[\]]")),
    ("$", _around("$", r"\$", r"\$")),
    ("*", _around("*", r"(\*{1,3}+)", r"\1")),
    # Bold that was never ended, or never begun: a power has a number on either side.
    ("*", re.compile(r"\A\s*+\*{2,3}+(?=[^\s*])|(?<=[^\s*])\*{2,3}+\s*+\Z")),
    ("_", _around("_", r"(_{1,3}+)", r"\1")),
    ("`", _around("`", "`", "`")),
)
_QUOTES = (
    ('"', _around('"', '"', '"')),
    ("'", _around("'", "'", "'")),
    ("“", re.compile(r"“([^“”]++)”")),
    ("‘", re.compile(r"‘([^‘’]++)’(?!\w)")),
    ("「", re.compile(r"「([^「」]++)」")),
)


def without_markup(text: str) -> str:
    """A plain text with blanks for what surrounds a value: Markdown, tags, code fences and commands of LaTeX."""
    return _blanked(_struck(text), _MARKUP)


def without_emphasis(text: str) -> str:
    """A text without what Markdown puts around its words: bold, italics, code. Its other marks are its own."""
    for character, pattern in _MARKUP:
        if character in "*_`" and character in text:
            text = pattern.sub(lambda found: found[found.re.groups] if found.re.groups else "", text)
    return text


def without_marks(text: str) -> str:
    """As `without_markup`, with blanks for pairs of quotation marks too."""
    return _blanked(without_markup(text), _QUOTES)


def _struck(text: str) -> str:
    return _STRUCK.sub(lambda found: "~~".ljust(len(found[0])), text) if "<" in text else text


def _blanked(text: str, marks: tuple[tuple[str, re.Pattern[str]], ...]) -> str:
    for character, pattern in marks:
        if character in text:
            text = pattern.sub(_inside, text)
    return text


def _inside(found: re.Match[str]) -> str:
    """What a match surrounds, in its place."""
    start, end = found.span(found.re.groups)
    if not found.re.groups:
        return " " * len(found[0])
    return " " * (start - found.start()) + found[found.re.groups] + " " * (found.end() - end)
