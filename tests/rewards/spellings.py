"""How people and models write values: what each text is read as, and what must not be read at all."""

# ruff: noqa: RUF001 - dashes, letters and digits that look like others are what this is about

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def listed(table: str) -> list[str]:
    """The texts of a table, which bars part; a bar at the end of a line parts it from the next."""
    return table.strip("\n").replace("|\n", "|").split("|")


def meanings(tables: Mapping[T, str]) -> dict[str, T]:
    """What each text means."""
    return {text: meaning for meaning, table in tables.items() for text in listed(table)}


# Of 65 s to 80 s, all of which are read.
INTERVALS = listed(
    """
65 to 80|from 65s to 80s|65—80|65―80|65‒80|65−80|65 ~ 80|~65→80|65 --> 80|**65** to **80**|`65` - `80`|
“65” to “80”|_65 to 80_|65 sec. to 80 sec.|65 Seconds TO 80 SECONDS|1:05 - 1:20|01:05.00 – 01:20.00|1:05 to 80|
1:05 min to 1:20 min|1 min 5 s to 1 min 20 s|1m5s to 1m20s|1 minute 5 seconds to 80 seconds|1 min. 5 s to 80 s|
00:01:05.000 --> 00:01:20.000|1 minute and 5 seconds to 1 minute and 20 seconds|65秒到80秒|从65秒到80秒|1分5秒到1分20秒|
65秒至80秒之间|６５～８０|１：０５ - １：２０|［65，80］|["01:05", "01:20"]|[[65, 80]]|{"start": 65, "end": 80}|
{"end": "1:20", "start": "1:05"}|{"interval": [65, 80]}|start: 65 s, end: 80 s|end_time = 80; start_time = 65|
Start: 65, End: 80.|\\boxed{65 to 80}|<b>65</b> to <b>80</b>|```json [65, 80] ```|
65.0 - 80.0 seconds (about 1 minute)|65\u00a0to\u202f80|\u200b65 to 80\ufeff|between 65 and 80|
The event starts at 65s and ends at 80s.|It begins at 1:05, and it ends at 1:20|starts at 65 s, ends at 80 s|
65 to 80 when she sits down|she stands (65 to about 80)|6.5e1 to 8e1|$65$ to $80$|𝟔𝟓 to 𝟖𝟎|0065 to 80|
65 to 80!|It is 65 to 80！!|00:01:05,000 --> 00:01:20,000|[(00:01:05,000, 00:01:20,000)]|Q1: 65 to 80|
Q2：[65, 80]|**65 to 80|**From 65 s to 80 s|65 to 80**|***1:05 - 1:20***|**It is 65 to 80
"""
)

# Of which a person reads other values than the figures, or several, or none.
NO_INTERVALS = listed(
    """
10 to 20 %|10% to 20%|10 to 20 percent|frames 10 to 20|frame 10 to frame 20|10 to 20 (frames)|10帧到20帧|
10 to 20 ms|10k to 20k|10 to 20 k|10 to 20 million|10 to 20 dozen|10² to 20²|10½ to 20|10 1/2 to 20|10*2 to 20|
10 x 2 to 20|10×2 to 20|10^2 to 20|10,5 to 20,5|10.000,5 to 20|1,010 to 1,020|10 to 20 days|10 to 20 pm|
In minutes: 10 to 20|10 to 20, all in minutes|minutes 10 to 20|scene 10 to 20|not 10 to 20|−10 to 20|10 to −20|
10'30" to 20'|10" to 20"|1 min 75 s to 20 min|1.5 min 5 s to 20 min|1 min 5 to 20 min|1 min to 20|
10 to 1 min 20 s|start: 1, end: 20 min|10:75 to 20|1:02 h to 1:20 h|1M to 2M|1\u200b0 to 20|1\u00ad0 to 20|
\u202e10 to 20|1٠ to 20|⑩ to 20|Ⅹ to 20|10\u0305 to 20|10--20|10..20|10 to 20 or 30|10 to 20, 30|10 20|
10 to 20 and a half|第10秒到第20秒|1分半到2分|10万到20万|10 to 20 apples|10÷2 to 20|10 to 20 $|10 to 20 €|
10! to 20|10! to 20!|10 to 20!5|
start_frame: 10, end_frame: 20|{"start": 10, "end": 20, "end": 30}|10 - - 20|10+ to 20|
twenty 10 to 20|10 –-20|不是10到20|it isn't 10 to 20|it cannot be from 10 to 20|
10 to 20 of the clip|10 to 20 of 100|10 to 20 seconds from the end|the last 10 to 20 seconds|最后10到20秒|
within 10 to 20 seconds of the end|10 to 20 seconds after the jump|10 to 20 into the second half|every 10 to 20 s|
it lasts 10 to 20 seconds|duration: 10 to 20|length 10-20|centiseconds: 10 to 20|tenths of a second: 10 to 20|
ticks: 10 to 20|10 to 20 us|keyframes 10 to 20|timesteps 10 to 20|clips 10 to 20|images 10 to 20|percentile 10 to 20|
relative: [0.5, 0.6]|{"start": 10, "end": 20, "unit": "m"}|10 to 20 is wrong|10 to 20? No|not in the range 10 to 20|
outside 10 to 20|outside of [10, 20]|everything but 10 to 20|10 to 20 does not show it|01:05 to 01:10 (hh:mm)|
90 to 2 min|<s>10 to 20</s>|<del>10 to 20</del>|❌ 10 to 20|
00:00:10,50 --> 00:00:20,50|00:00:10,5000 --> 00:00:20|00:10,500 to 00:20,500|00:00:10,500|
00:00:75,500 --> 00:02:00,000|
Q10 to 20|Q1 10 to 20|Q1: 10|Q1: 10 to 20 Q2: 30 to 40|1: 10 to 20|2**10 to 20|10 ** to 20|10**2 to 20|**10**2 to 20|
10 to 20**2|** 10 ** 20
"""
)

NUMBERS: dict[str, float | None] = meanings(
    {
        5.0: """
5|５|**5**|"5"|`5`|\\boxed{5}|$5$|5.|x = 5|答案是5|5个|{"answer": 5}|[5]|~5|\u200f5|5\u00ad|€5|5 cm|𝟓|5\n|
It is 5, as said|Q1: 5|**5|5**|**It is 5
""",
        -5.0: """
-5|－5|(-5)|-5 °C|= -5
""",
        1250.0: """
1,250|1，250|1250|1.25e3|$1,250
""",
        None: """
−5|–5|‑5|- 5|minus 5|negative 5|5 (negative)|-$5|--5|+-5|5½|½|5 ½|1_000|0x10|10²|10⁵|3k|3 K|3M|2 million|5万|3/4|
3 1/2|5 dozen|10^2|10**2|2 * 3|5×10³|5 x 10|5%|5 %|5％|5 percent|1,5|0,250|1,2345|1.000,5|1'000|1 000|1\u202f250|
12,50|[1,250]|٥|①|Ⅻ|1\ufe0f\u20e3|5\u0305|6\u200b5|\u202e56|1.2.3|1:02|5·3|3٫5|5 out of 10|5 or six|five|
at least 5|more than 5|not 5|it isn't 5|can’t be 5|up to 5|
5 or more|5th|No. 5|#5|5m|$5 m|5 min|2 hours|5!|5+|±5|>5|5-|5 apples|
\\sqrt{5}|sqrt(5)|sqrt 5|log 5|ln 5|sin 5|abs(5)|-(-5)|-(5)|- (5)|square root of 5|the square of 5|
factorial of 5|the inverse of 5|a pair of 5|one in 5|every 5|5 (k)|5 [k]|5 at most|101 in binary|10 in hex|
5 is wrong|5? no|5 is not right|几5|<s>5</s>|<del>5</del>|
5 and a half|half 5|twice 5|百分之5|第5|5个半|不到5|5倍|5 per second|1e999|Q5|Q1 5|2**5|2 **5|**5**2|5!!
""",
    }
)

LETTERS: dict[str, str | None] = meanings(
    {
        "B": """
选B|答案：B|Ｂ|（Ｂ）|**B**|(B)|B。|\\boxed{B}|$B$|_B_|「B」|{"answer": "B"}|B选项|选项B是正确的|𝐁|<b>B</b>|`B`|B\ufeff|
Not clear, B|B: not a cat|No, B|<B>|<B> a cat|The answer is <B>|Option <B>: a dog|B. It is not raining|B. no|
B, no doubt|I do not know, B
""",
        None: """
不是B|not B|It isn't B|B is wrong|B、C|Ⓑ|В|B\u0301|B\u200bat|\u202eB|B+|20 °B|neither A|B²|B1|
<s>B</s>|<del>B</del>|A or <B>|B is out|B is eliminated|B can be ruled out|B is impossible|B would be wrong|
B is the worst|B fails|B doesn't fit|B does not match|B: wrong|B (wrong)|B - incorrect|B, no|B? No|B ✗|❌ B|¬B|!B|
I reject B|other than B|besides B|apart from B|opposite of B|hardly B|unlikely: B|none (B)|B or none|B项不对|B被排除|
[B]以外|B选项 is wrong|
The wrong one is B|B can't be|cannot be B|can't be B|rule out B|anything but B|~~B~~|B以外
""",
    }
)

# What can stand around a number, by what it multiplies the value with; None where nobody can know.
AROUND: dict[str, float | None] = meanings(
    {
        1.0: """
{}| {} |**{}**|"{}"|({})|`{}`|{}.|is {}|{} in all|{} cm|\\boxed{{{}}}|约{}|{}个|~{}|<b>{}</b>|\u200b{}\u200e
""",
        1000.0: """
{}k|{} k|{} thousand|{}千|{}e3|{}×10³|{} x 10^3
""",
        0.01: """
{}%|{} %|{} percent|百分之{}|{} hundredths|{}/100
""",
        12.0: """
{} dozen|{}*12|12 * {}|{} × 12|a dozen times {}
""",
        -1.0: """
–{}|−{}|‒{}|- {}|minus {}|负{}
""",
        None: """
{}½|{} ½|{}²|{}₂|{} to 7|{}/7|7/{}|{},5|{}.5.5|{}٣|{}\u20e3|{}帧|{} frames|{}:30|{}'|{}"|not {}|> {}|{}+|
{} or so more|①{}|{}Ⅳ
""",
    }
)

# Pieces of which a long answer may consist.
RUNS = listed(
    """
 |start: 5, |1|1,|1.|1:|1 s |5 to |[|[5, |(5, 10), |(|*|**5** |"|"5|'|_|`|<b>|\\boxed{|$|$5|a|A |到|5到|秒|–|-|- |½|²|
\u200b|a\u200b|\u0301|\u202e|５|not |don't |A is |A不|5 of |~~|
{"x1": 0.1, |{"bbox": [1, 2, 3, 4]}, |[0.1, |[1, 2, 3, 4], |((1, 2, 3, 4), |00:00:05,500 |!|Q1: |**| **
"""
)
