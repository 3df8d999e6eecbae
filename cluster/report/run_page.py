"""`report.html`: what a run did and learned, on one page that needs nothing but itself.

`python -m cluster.report runs/local` writes it anew from the files in the run's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path

import yaml

from cluster.config.stored import CONFIG_FILE, read_stored, stored_text
from cluster.errors import ConfigError
from cluster.inputs.prompts import prompt_style_of
from cluster.progress.state import spoken
from cluster.records.eval_records import EvalSample, eval_path, read_eval_samples
from cluster.records.json_lines import read_records
from cluster.records.metrics import StepRecord
from cluster.records.results import RESULTS_FILE, compute_results, read_results
from cluster.records.run_facts import RunFacts, read_facts
from cluster.records.run_log import COLD_START_FILE, STEPS_FILE
from cluster.report.charts import Chart, draw_chart
from cluster.report.clips import RULE, choose_clips, clip_cards
from cluster.report.curves import health_charts, loss_charts, task_charts
from cluster.report.page import REPORT_FILE, page_html, write_html
from cluster.report.results import result_section
from data.prompts import PromptStyle
from data.yaml_text import read_value
from rewards import Mode

# A folder with none of these is not that of a run.
LEFT_FIRST = (CONFIG_FILE, COLD_START_FILE, STEPS_FILE)


def write_report(run_dir: Path) -> Path:
    """Write `report.html` from what the run left so far; parts whose files are missing are left out.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: the folder does not exist, or holds nothing of a run.
        ValueError: a file of the run is damaged; the message names it.
        ConfigError: its configuration cannot be read.
    """
    if not run_dir.is_dir():
        raise FileNotFoundError(f"{run_dir}: no such run folder")
    if not any((run_dir / name).exists() for name in LEFT_FIRST):
        raise FileNotFoundError(f"{run_dir} holds nothing of a run, neither {' nor '.join(LEFT_FIRST)}")
    return write_html(run_dir / REPORT_FILE, report_html(run_dir))


def report_html(run_dir: Path) -> str:
    """The whole page."""
    facts = read_facts(run_dir)
    results = read_results(run_dir) if (run_dir / RESULTS_FILE).exists() else None
    steps = list(read_records(run_dir / STEPS_FILE, StepRecord))
    cold_steps = list(read_records(run_dir / COLD_START_FILE, StepRecord))
    before, after = _samples(run_dir, "cold_start"), _samples(run_dir, "grpo")
    # A run that has not ended has an evaluation of its start, which the levels to beat are taken from.
    known = results or (compute_results(before, before, _mode(run_dir)) if before else None)
    sections = [
        _header(facts, run_dir),
        result_section(results) if results else "",
        _charts("Learning curves", CURVES_NOTE, task_charts(steps, known, ended=results is not None)),
        _charts("Health of the run", "", health_charts(steps) + loss_charts(cold_steps)),
        _clips(before, after or before, _style(run_dir)),
        _footer(facts, run_dir),
    ]
    return page_html(facts.name if facts else run_dir.name, "".join(sections))


CURVES_NOTE = (
    "Rewards of the sampled training responses: faint per step, bold as a rolling mean. Dashed, what needs "
    "no learning: the best constant answer, and the cold start's greedy score on held-out clips. The point "
    "at the right, once the run has ended, is the greedy held-out score after GRPO with its 95% interval."
)


def _header(facts: RunFacts | None, run_dir: Path) -> str:
    if facts is None:
        return f"<header class='top'><p class='brand'>zoetrope</p><h1>{escape(run_dir.name)}</h1></header>"
    started = datetime.fromisoformat(facts.started).strftime("%d %B %Y, %H:%M")
    rows = {
        "model": facts.model,
        "algorithm": facts.algorithm,
        "steps": f"{facts.steps}",
        "time": spoken(facts.seconds),
        "seed": f"{facts.seed}",
        "started": started,
        "machine": facts.machine,
    }
    cells = "".join(f"<div><dt>{key}</dt><dd>{escape(value)}</dd></div>" for key, value in rows.items())
    return (
        f'<header class="top"><p class="brand">zoetrope</p><h1>{escape(facts.name)}</h1><dl>{cells}</dl>'
        f'<pre class="command">{escape(facts.command)}</pre></header>'
    )


def _charts(heading: str, note: str, charts: Sequence[Chart]) -> str:
    if not charts:
        return ""
    drawn = "".join(draw_chart(chart) for chart in charts)
    return f'<section><h2>{heading}</h2><p class="note">{note}</p><div class="charts">{drawn}</div></section>'


def _style(run_dir: Path) -> PromptStyle | None:
    """How the run asked; None where it keeps no configuration."""
    path = run_dir / CONFIG_FILE
    return prompt_style_of(read_stored(path)) if path.exists() else None


def _clips(before: Sequence[EvalSample], after: Sequence[EvalSample], style: PromptStyle | None) -> str:
    chosen = choose_clips(before, after, style)
    if not chosen:
        return ""
    cards = f"{clip_cards(chosen)}{_failed(after)}"
    return f'<section><h2>Held-out clips</h2><p class="note">{RULE}</p>{cards}</section>'


def _failed(samples: Sequence[EvalSample]) -> str:
    failed = [sample for sample in samples if sample.score is None]
    if not failed:
        return ""
    items = "".join(f"<li><code>{escape(s.prompt.id)}</code> {escape(s.problem or '')}</li>" for s in failed)
    return (
        f"<details class='failed'><summary>{len(failed)} held-out prompts could not be evaluated and count 0"
        f"</summary><ul>{items}</ul></details>"
    )


def _footer(facts: RunFacts | None, run_dir: Path) -> str:
    parts = []
    if facts and facts.warnings:
        items = "".join(f"<li>{escape(warning)}</li>" for warning in facts.warnings)
        parts.append(f"<details><summary>{len(facts.warnings)} warnings</summary><ul>{items}</ul></details>")
    config = run_dir / CONFIG_FILE
    if config.exists():
        text = escape(stored_text(config))
        parts.append(f"<details><summary>resolved configuration</summary><pre>{text}</pre></details>")
    if facts:
        versions = " · ".join(f"{escape(name)} {escape(number)}" for name, number in facts.versions.items())
        parts.append(f'<p class="quiet">{versions}</p>')
    return f"<footer>{''.join(parts)}</footer>" if parts else ""


def _mode(run_dir: Path) -> Mode:
    """How the run's samples were scored; its configuration may be of another version, so only this is read of it."""
    config = run_dir / CONFIG_FILE
    try:
        fields = read_value(stored_text(config)) if config.exists() else {}
        return "paper" if fields.get("reward", {}).get("mode") == "paper" else "strict"
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
        raise ConfigError(f"{config} is not a configuration: {error}") from error


def _samples(run_dir: Path, stage: str) -> list[EvalSample]:
    return read_eval_samples(run_dir, stage) if eval_path(run_dir, stage).exists() else []
