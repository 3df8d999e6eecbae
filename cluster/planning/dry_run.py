"""What `--dry-run` prints: the configuration, the placement and the memory plan. Needs no Ray or GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from cluster.config import RunConfig
from cluster.config.checks import most_video_tokens
from cluster.config.fields import all_fields, shown
from cluster.config.loading import LoadedConfig
from cluster.planning.existence import missing_things
from cluster.planning.gpu_fit import RANK
from cluster.planning.memory_plan import memory_plan
from cluster.planning.memory_tables import fit_lines, fit_table, gpu_sizes, memory_table, plan_table
from cluster.planning.model_geometry import find_geometry
from cluster.planning.placement import Role, placement
from cluster.planning.unused import unused
from rewards.terminal import Terminal

# Wide enough for every table when the output is not a terminal.
PLAIN_WIDTH = 120


def print_plan(
    loaded: LoadedConfig,
    gpu_gib: float | None = None,
    evaluates: bool = False,
    console: Terminal | None = None,
) -> None:
    """Print what a run with this configuration would be, and nothing that it has no use for.

    Args:
        gpu_gib: Memory of each of its GPUs, GiB; None looks at this machine's, or at common sizes.
        evaluates: Of an evaluation, which has no learner, in place of a run.
    """
    config = loaded.config
    console = console or Terminal()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    without = unused(config, evaluates)
    console.print(config_table(loaded, without))
    if without:
        console.print(f"Not shown, for it has no use for them: {', '.join(without)}.", soft_wrap=True)
    console.print(facts_table(config, evaluates))
    roles = placement(config)
    console.print(placement_table([role for role in roles if not (evaluates and role.name == RANK)]))
    _print_memory(config, gpu_gib, evaluates, console)
    shares: list[str] = []
    warnings = loaded.lines(list(missing_things(config, only_look=True, said=shares)))
    if shares:
        console.print("Which share of the data is used, by its annotations (no clip was decoded):")
        console.print("\n".join(f"  {share}" for share in shares), soft_wrap=True)
    if config.evaluates_on_synthetic and not (config.trains_on_synthetic or evaluates):
        console.print(
            "The policy is evaluated on synthetic clips, not on data of yours: data.eval_datasets or data.eval_source "
            "names held-out prompts.",
            soft_wrap=True,
        )
    if warnings:
        console.print("Not there yet; a real start would need:", style="yellow")
        console.print("\n".join(warnings), soft_wrap=True)
    console.print("Dry run: nothing was started.")


def config_table(loaded: LoadedConfig, without: Sequence[str] = ()) -> Table:
    """Every key but those in sections or keys left out, its value, and where that was given."""
    table = plan_table(f"Configuration {loaded.source}", "key", "value", "from")
    values = loaded.config.model_dump(mode="json")
    for key, field in all_fields().items():
        section, name = key.split(".")
        if section in without or key in without:
            continue
        given = {key: values[section][name]}
        if field.entries and given[key]:
            given = {f"{key}[{index}]": _given(entry) for index, entry in enumerate(given[key])}
        for place, value in given.items():
            origin = loaded.origins.places.get(place, "")
            table.add_row(place, shown(value), origin)
    return table


def _given(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a list without what it leaves open."""
    return {name: value for name, value in entry.items() if value not in (None, {})}


def facts_table(config: RunConfig, evaluates: bool = False) -> Table:
    """What follows from the configuration."""
    table = plan_table("What follows", "", "")
    model = find_geometry(config.model.path)
    facts: dict[str, Any] = {
        "run folder": config.run_dir.absolute(),
        "stages": "greedy answers to the held-out prompts" if evaluates else " then ".join(_stages(config)),
        "policy": f"{model.parameters / 1e6:,.1f} M parameters" if model else "of unknown size",
        **({} if evaluates else _learning_facts(config)),
        "tokens of a clip": f"up to {most_video_tokens(config)}",
        "tokens of prompt and response": f"up to {config.max_model_tokens}",
        **({} if evaluates else {"weights travel by": config.sync_backend}),
    }
    for name, value in facts.items():
        table.add_row(name, str(value))
    return table


def _learning_facts(config: RunConfig) -> dict[str, str]:
    facts = {}
    if config.has_cold_start:
        facts["demonstrations per supervised step"] = f"{config.cold_start.batch_size}"
    if config.run.algorithm == "grpo":
        per_step = config.grpo.prompts_per_step * config.rollout.group_size
        facts["reference policy"] = "loaded" if config.needs_reference else "not loaded"
        facts["responses per step"] = f"{per_step}, {config.rollout.group_size} to each prompt"
    return facts


def placement_table(roles: Sequence[Role]) -> Table:
    """What every kind of actor reserves, and the sum that the cluster must have."""
    table = plan_table(
        "Placement", "actor", "count", "CPUs each", "GPUs each", "threads each", "CPUs", "GPUs"
    )
    for role in roles:
        each = (role.count, role.cpus, role.gpus, role.threads, role.total("CPU"), role.total("GPU"))
        table.add_row(role.name, *(f"{value:g}" for value in each))
    sums = (sum(role.total(resource) for role in roles) for resource in ("CPU", "GPU"))
    table.add_row("the cluster must have", "", "", "", "", *(f"{value:g}" for value in sums), style="bold")
    return table


def _print_memory(config: RunConfig, gpu_gib: float | None, evaluates: bool, console: Terminal) -> None:
    geometry = find_geometry(config.model.path)
    if geometry is None:
        console.print(f"Memory plan: the size of {config.model.path} is not known on this machine.")
        return
    plan = memory_plan(config, geometry, learns=not evaluates)
    console.print(memory_table(plan))
    if any(process.where == "GPU" for process in plan):
        sizes, known = gpu_sizes(gpu_gib, config)
        console.print(fit_table(config, geometry, sizes))
        console.print("\n".join(fit_lines(config, geometry, sizes, known)), soft_wrap=True)


def _stages(config: RunConfig) -> list[str]:
    cold_start = [f"supervised, at most {config.cold_start.max_steps} steps"] if config.has_cold_start else []
    grpo = [f"GRPO, {config.grpo.steps} steps"] if config.run.algorithm == "grpo" else []
    return cold_start + grpo
