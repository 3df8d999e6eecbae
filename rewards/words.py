"""Words beside a number: which units it may have, what may follow it, and what makes it another value or kind."""

from __future__ import annotations

from collections.abc import Mapping

# Seconds in a unit of time.
TIME_UNITS: Mapping[str, float] = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "秒", "秒钟", "秒鐘"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "分", "分钟", "分鐘"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "小时", "小時"), 3600.0),
}
# A question that wants a quantity names its unit: these say which one was understood, and leave the value as written.
# `m` is told apart elsewhere.
MEASURES = """
mm millimeter millimeters millimetre millimetres cm centimeter centimeters centimetre centimetres meter meters metre
metres km kilometer kilometers kilometre kilometres inch inches ft foot feet g gram grams kg kilogram kilograms °C °F °
℃ degrees degree s sec secs second seconds
"""

# After a number they begin what is said of it, and never count or measure it.
FUNCTION_WORDS = """
the this that these those it its he his him she her they their them we our us you your i my who whose whom which what
when where while until till as because since so if then thus and or but with without by from to into onto in inside
within on at of for during before after through throughout is are was were be been being has have had does did do can
could will would shall should may might there here respectively approximately roughly about around exactly inclusive
only also overall altogether total seconds second sec secs start
starts end ends
"""
# Beside a figure without a blank, in the same sense.
CJK_FUNCTION_WORDS = "到 至 和 与 與 之间 之間 为止 為止 左右 的 是 了 と から まで の です"
CJK_COUNTERS = "个 個 人 只 隻 次 名 位"

# Wherever they stand, figures are no plain numbers and no seconds. Units that were read with a number are not seen.
KINDS = """
frame frames fps percent percents percentage percentages pct cent cents permille ms msec msecs millisecond milliseconds
microsecond microseconds nanosecond nanoseconds min mins minute minutes hr hrs hour hours day days week weeks month
months year years decade decades pixel pixels px dozen dozens hundred hundreds hundredth hundredths thousand thousands
thousandth thousandths lakh lakhs crore crores million millions millionth mio billion billions trillion trillions
squared cubed fraction fractions ratio normalised normalized minus negative us tenths tick ticks centisecond
centiseconds decisecond deciseconds kilosecond kiloseconds keyframe keyframes timestep timesteps percentile percentiles
relative backwards backward hh binary hexadecimal hex octal
"""
CJK_KINDS = "帧 幀 百分 毫 フレーム パーセント"
# After the first figure they change a value that was already written.
PARTS = "half halves quarter quarters third thirds tenth tenths"
MULTIPLES = "double triple twice times fold power pair pairs couple couples more fewer less greater longer"
# In touch with a figure: numerals, ordinals, signs and units of their own.
CJK_NUMERALS = (
    "一二三四五六七八九十百千万萬亿億兆两兩半第负負零成倍点點时時天日月年折割度数數不非几幾超于於过過足少多"
)
# Directly before a number, and before little words before it.
CHANGES_AHEAD = """
not cannot no nor never neither except than least most under over below above exceeds exceeding max maximum minimum
half twice double triple thrice times by plus last every each lasts lasting duration length outside
"""
# Directly before a number they make it a name.
NAMES_AHEAD = """
scenes? shots? steps? chapters? episodes? pages? questions? options? cameras? rooms? levels? rounds? laps? takes? lines?
rows? versions? index indices ids? figures? tables? point clips? images? sqrt root log ln lg sin cos tan abs exp square
cube factorial reciprocal inverse opposite pair
"""
NUMERALS = """
two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
twenty thirty forty fifty sixty seventy eighty ninety zero third fourth fifth sixth seventh eighth ninth tenth
"""

# Keys of an interval that is written as an object, or as one without its braces.
# As keys, or in a sentence: `starts at 5 s and ends at 10 s`.
STARTS_AT, ENDS_AT = r"(?:starts?|begins?)(?: at)?", r"(?:ends?|stops?|finish(?:es)?)(?: at)?"
STARTS = r"(?:start|begin)(?:ning)?(?:[_\s]?(?:time|seconds?|secs?|s))?|from"
ENDS = r"(?:end|stop|finish)(?:ing)?(?:[_\s]?(?:time|seconds?|secs?|s))?|to"


def any_of(words: str) -> str:
    """A pattern of one of these words, which blanks separate, the longest first."""
    return "(?:" + "|".join(sorted(words.split(), key=len, reverse=True)) + ")"
