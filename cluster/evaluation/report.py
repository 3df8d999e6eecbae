"""The page of an evaluation: its tables, and clips of every dataset with their frames, answers and reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from cluster.config import RunConfig
from cluster.evaluation.records import EvaluationResults
from cluster.evaluation.settings import ANSWERS
from cluster.evaluation.tables import (
    COLUMNS,
    FAILURE_COLUMNS,
    NOTE,
    TEXTS,
    failure_rows,
    remarks,
    result_rows,
)
from cluster.inputs.prompts import prompt_style_of
from cluster.records.eval_records import EvalSample
from cluster.report.clips import ShownClip, choose_clips, clip_cards
from cluster.report.page import REPORT_FILE, page_html, write_html

RULE = (
    "The best, the median and the worst answer of each task of a dataset, by total reward, then by prompt id; what was "
    "not answered stands above, by reason."
)


def write_page(
    config: RunConfig, results: EvaluationResults, samples: Mapping[str, Sequence[EvalSample]]
) -> Path:
    """Write `report.html` and return its path.

    Args:
        samples: Those of each dataset.
    """
    is_asked = any(key == f"{ANSWERS}model" for key in results.settings)
    shown = {name: _shown(config, its, is_asked) for name, its in samples.items()}
    sections = [
        _header(results),
        _section("Results", NOTE, _table(COLUMNS, list(result_rows(results))) + _listed(remarks(results))),
        _section("Not answered, or not readably", "", _table(FAILURE_COLUMNS, list(failure_rows(results)))),
        _section("Clips", RULE, "".join(_dataset(name, clips) for name, clips in shown.items())),
        _footer(results),
    ]
    return write_html(config.run_dir / REPORT_FILE, page_html(results.name, "".join(sections)))


def _shown(config: RunConfig, samples: Sequence[EvalSample], is_asked: bool) -> list[ShownClip]:
    style = prompt_style_of(config) if is_asked else None
    return [replace(clip, before_name=None, after_name="answer") for clip in choose_clips([], samples, style)]


def _header(results: EvaluationResults) -> str:
    rows = {key: value for key, value in results.settings.items() if value is not None}
    answers = {key: value for key, value in rows.items() if key.startswith(ANSWERS)}
    cells = "".join(
        f"<div><dt>{escape(key.removeprefix(ANSWERS))}</dt><dd>{escape(str(value))}</dd></div>"
        for key, value in answers.items()
    )
    return (
        f'<header class="top"><p class="brand">zoetrope</p><h1>{escape(results.name)}</h1><dl>{cells}</dl>'
        f'<pre class="command">{escape(results.command)}</pre></header>'
    )


def _section(heading: str, note: str, content: str) -> str:
    if not content:
        return ""
    return f'<section><h2>{heading}</h2><p class="note">{note}</p>{content}</section>'


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a heading for each dataset and task, which their first cells name; intervals below their figures."""
    if not rows:
        return ""
    kinds = ["" if column in TEXTS else ' class="n"' for column in columns[1:]]
    head = "".join(f"<th{kind}>{column}</th>" for kind, column in zip(kinds, columns[1:], strict=True))
    groups = groupby(rows, key=itemgetter(0))
    body = "".join(
        f'<tr><th class="group" colspan="{len(kinds)}">{_breakable(name)}</th></tr>'
        + "".join(_row(kinds, row[1:]) for row in own)
        for name, own in groups
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(kinds: Sequence[str], cells: Sequence[str]) -> str:
    shown = [_figure(cell) if kind else _breakable(cell) for kind, cell in zip(kinds, cells, strict=True)]
    return f"<tr>{''.join(f'<td{kind}>{cell}</td>' for kind, cell in zip(kinds, shown, strict=True))}</tr>"


def _figure(cell: str) -> str:
    """`26.99 [26.41, 27.58]` on two lines."""
    value, bracket, bounds = cell.partition(" [")
    return f'{escape(value)}<small class="range">[{escape(bounds)}</small>' if bracket else escape(cell)


def _breakable(text: str) -> str:
    """Names of parts may be long and hold no space."""
    return escape(text).replace("_", "_<wbr>")


def _listed(lines: Sequence[str]) -> str:
    return f"<ul class='quiet'>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _dataset(name: str, clips: Sequence[ShownClip]) -> str:
    return f"<h3>{escape(name)}</h3>{clip_cards(clips)}" if clips else ""


def _footer(results: EvaluationResults) -> str:
    settings = "\n".join(f"{key}: {value}" for key, value in results.settings.items())
    versions = " · ".join(f"{escape(name)} {escape(number)}" for name, number in results.versions.items())
    return (
        f"<footer><details><summary>what the figures depend on</summary><pre>{escape(settings)}</pre></details>"
        f'<p class="quiet">{versions}</p></footer>'
    )
