"""The option letter of a multiple-choice answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from string import ascii_uppercase

from rewards.plain import CJK, MARK, plain, plain_characters, without_marks
from rewards.result import Unreadable
from rewards.words import FUNCTION_WORDS

# An answer with more of them than this, be it the same one, is no answer.
MAX_LETTERS = 1000

_LETTERS = tuple(ascii_uppercase)
# A letter by itself: not inside a word (`Could`, `T-shirt`, `it's`), no unit or accented letter, and not in an
# abbreviation (`e.g.`, `U.S.`), which the first branch swallows.
_LONE_LETTER = re.compile(
    rf"(?<![\w°{MARK}])(?<!\w['’-])(?:(?:[A-Za-z]\.){{2,}}(?:[A-Za-z]\b)?|([A-Za-z])(?![\w+#°%{MARK}])(?!['’-]\w))"
)
# Where a Chinese or Japanese word begins or ends beside a letter, there is no blank.
_CJK_BESIDE_A_LETTER = re.compile(rf"(?<=[{CJK}])(?=[A-Za-z])|(?<=[A-Za-z])(?=[{CJK}])")
# What is said not to be the answer: `not A`, `A is wrong`, `不是A`; the article of `not a cat` is none.
_OPTION = r"(?-i:[Ab-hj-zB-HJ-Z](?![\w'’])|[aiI](?![\w'’])(?!\s\w))"
_DENYING = (
    r"(?:(?<![A-Za-z])(?:not|cannot|never|neither|nor|except|excluding|no(?=\s)|(?:any|every)thing but|all but"
    r"|rather than|instead of|rul(?:e|ed|es|ing) out|eliminat(?:e|ed|es|ing)|exclud(?:e|ed|es)"
    r"|reject(?:s|ed|ing)?|dismiss(?:es|ed|ing)?|discard(?:s|ed|ing)?|(?:other|apart|aside|far) (?:than|from)|besides"
    r"|opposite of|hardly|(?:un|least )likely|none)|n['’]t)\W{1,3}(?:be\W{1,3})?"
    r"|(?<![A-Za-z])(?:wrong|incorrect|false)\W{1,3}(?:[A-Za-z]++\W{1,3}){0,2}(?:is\W{1,3})?"
)
_BEFORE_IT = r"(?:(?:the|option|choice|answer)\W{1,3}){0,3}"
_AFTER_IT = r"(?:(?:is|was|seems|can?)(?:\s?not\b|n['’]t\b)|(?:is|was|seems) (?:clearly )?(?:wrong|incorrect|false)\b)"
# Said of the letter itself: after `C. ` begins the option's text. `I` and `a` are words there.
_IT = r"(?<!\w)[B-HJ-Zb-hj-z][)\]\"'”]{0,2}"
_REFUTED = (
    r"wrong|incorrect|false|out|eliminated|excluded|rejected|discarded|dismissed|ruled|impossible|unlikely|implausible"
    r"|invalid|worst|trap|not"
)
_FAILS = (
    rf"(?:is|was|seems|looks|gets|be|been|being)\s(?:\w{{1,12}}\s){{0,2}}(?:{_REFUTED})\b"
    rf"|(?:would|can|could|should|may|might|must|has)\s(?:be|been)\s(?:\w{{1,12}}\s){{0,2}}(?:{_REFUTED})\b"
    r"|(?:does|do|did|can|could|will|would|should|has|have|is|was|must)(?:\snot\b|n['’]t\b)|fails?\b|or none\b"
)
_MARKED_WRONG = r"\s?[:(,?–-]{1,2}\s?(?:wrong|false|incorrect)\b|\s?[,?]\s?no\W*\Z"
_CJK_DENIAL = r"\s?(?:选项|選項|项|項)?\s?(?:是|被|is\s)?\s?(?:[不错錯]|以外|排除|wrong)"
_DENIED = re.compile(
    rf"(?:{_DENYING}){_BEFORE_IT}{_OPTION}|(?<!\w)[A-Za-z]\W{{1,3}}{_AFTER_IT}|~~|[✗✘❌❎✖¬]|(?<!\w)!\s?[A-Za-z](?!\w)"
    rf"|{_IT}(?:\s(?:{_FAILS})|{_MARKED_WRONG}|{_CJK_DENIAL})"
    r"|[不非除没沒][选選是了\s]{0,3}[A-Za-z](?!\w)|(?<!\w)[A-Za-z]\s?(?:选项\s?)?(?:是\s?)?(?:[不错錯]|以外)",
    re.IGNORECASE,
)
_A_WORD = re.compile(r"(?<![\w'’-])A\s++([A-Za-z]\w*+)")
_SAID_OF_IT = frozenset(FUNCTION_WORDS.split())
_WORD_FOLLOWS = re.compile(r"\s++[\"'“‘(]?(?!(?:or|and|is)\b)(?:\w['’-]?\w|\d)")
_SENTENCE_OPENS = re.compile(r"(?:[.!?):*–-]\s?|\n)\Z")
_WRITTEN_OUT = re.compile(r"\s*\(?([A-Za-z])[.):]+\s*(\S.*)", re.DOTALL)
# An option that reads like the answer of a letter hides none: `C`, `option C`.
_NAMES_A_LETTER = re.compile(
    r"\W*+(?:(?:the )?(?:answer|option|choice)(?: is)?\W++)?[a-z]\W*+", re.IGNORECASE
)


def read_letter(answer: str, num_options: int | None = None, options: Sequence[str] = ()) -> str:
    """Read the one option letter of an answer: `C`, `(c)`, `C. a cat`, `Answer: C`, `The answer is C`.

    Args:
        num_options: How many options the question has, 1 to 26; unknown allows A to Z.
        options: Their texts, where known: a letter inside of one, as in `B. Person A`, is no answer. Nor is such a text
            alone: it is the letter that is asked for.

    Returns:
        The letter in upper case.

    Raises:
        Unreadable: no letter, two different ones, one that is said to be wrong, or a letter beyond the options.
    """
    if (alone := answer.strip()) in _LETTERS[:num_options]:
        return alone
    options = tuple(map(plain_characters, options))
    answer = _CJK_BESIDE_A_LETTER.sub(" ", without_marks(plain(answer)))
    if letter := _letter_with_its_text(answer, options):
        return letter
    own = _own_letters(options)
    found = list(islice(_letters(own.sub("text", answer) if own else answer), MAX_LETTERS + 1))
    letters = set(found)
    if len(found) > MAX_LETTERS:
        raise Unreadable(f"more than {MAX_LETTERS:,} letters in the answer")
    if len(letters) != 1:
        raise Unreadable("no letter in the answer" if not letters else "more than one letter in the answer")
    # The slowest look of all, and of no use without a letter.
    if _DENIED.search(answer):
        raise Unreadable("a letter that is said not to be the answer")
    letter = letters.pop()
    if letter == "A" and _is_article(answer, options):
        raise Unreadable("an A that may be the article of what follows")
    if letter not in ascii_uppercase[:num_options]:
        raise Unreadable(f"option {letter} does not exist")
    return letter


def _letter_with_its_text(answer: str, options: Sequence[str]) -> str | None:
    """The letter of an answer that is an option written out, `A. l`: a text may be a letter itself."""
    found = _WRITTEN_OUT.fullmatch(answer)
    if not found:
        return None
    letter, text = found[1].upper(), found[2]
    place = ascii_uppercase.index(letter)
    is_own = place < len(options) and _plain(options[place]) == _plain(text)
    return letter if is_own else None


def _is_article(answer: str, options: Sequence[str]) -> bool:
    """Whether an `A` begins a phrase that is not the text of the first option: `A dog` where that is `cat`."""
    found = _A_WORD.search(answer)
    if not found or not options or found[1].casefold() in _SAID_OF_IT:
        return False
    return not _plain(options[0]).removeprefix("a ").startswith(found[1].casefold())


def _plain(text: str) -> str:
    return text.strip().rstrip(".").casefold()


@lru_cache(maxsize=4096)
def _own_letters(options: tuple[str, ...]) -> re.Pattern[str] | None:
    """Finds the texts of options that hold a letter by themselves; None where none does."""
    texts = {option.strip().rstrip(".") for option in options if not _NAMES_A_LETTER.fullmatch(option)}
    # In any case: `A dog` is the text `a dog`.
    hiding = sorted((t for t in texts if any(_letters(t)) or any(_letters(t.upper()))), key=len, reverse=True)
    found = "|".join(map(re.escape, hiding))
    return re.compile(rf"(?<!\w)(?:{found})(?!\w)", re.IGNORECASE) if hiding else None


def _letters(answer: str) -> Iterator[str]:
    """Every lone letter that is not an English word, in upper case.

    Before another word, `a` is the article and `I` the pronoun. A capital `A` is the article only where it
    opens a sentence after an earlier letter (`C. A cat`): elsewhere it may well be the answer.
    """
    read_one = False
    for match in _LONE_LETTER.finditer(answer):
        letter = match.group(1)
        if letter is None:
            continue
        start = match.start()
        may_be_word = letter in "aiI" or (
            letter == "A" and read_one and _SENTENCE_OPENS.search(answer[max(0, start - 2) : start])
        )
        if may_be_word and _WORD_FOLLOWS.match(answer, match.end()):
            continue
        read_one = True
        yield letter.upper()
