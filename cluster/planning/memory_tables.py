"""The memory plan for people: what each process holds, whether that fits the GPUs, and what to change if not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from cluster.config import RunConfig
from cluster.planning.gpu_fit import COMMON_GIB, ENGINE, Fit, gpu_fits, gpu_here, sequences_at_a_time
from cluster.planning.gpu_remedies import remedies
from cluster.planning.memory_plan import ProcessMemory
from cluster.planning.model_geometry import ModelGeometry

NOTE = (
    "An estimate of the parts above. A rollout worker takes its share of a GPU (rollout.gpu_memory_utilization), which "
    "must hold the weights and one sequence of full length. Not in it: fragmentation, and what vLLM sets aside for the "
    "vision tower and CUDA graphs. With less than a tenth to spare it is called tight."
)


def plan_table(title: str, *columns: str) -> Table:
    """An empty table of the dry run."""
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def memory_table(plan: Sequence[ProcessMemory]) -> Table:
    """GiB of every process, part by part."""
    table = plan_table(
        "Memory plan (estimate)", "process", "count", "on each", "parts, GiB", "GiB each", "GiB in all"
    )
    for process in plan:
        parts = ", ".join(f"{name} {gib:.3g}" for name, gib in process.gib.items())
        each = process.total_gib
        table.add_row(
            process.process,
            str(process.count),
            process.where,
            parts,
            f"{each:.3g}",
            f"{process.count * each:.3g}",
        )
    return table


def gpu_sizes(stated: float | None, config: RunConfig) -> tuple[dict[float, str], bool]:
    """Memory of the GPUs to look at with a heading for each, GiB, and whether it is known which the run gets.

    Args:
        stated: As the user says; otherwise this machine's GPU counts, unless the run joins a cluster.
    """
    if stated is not None:
        return {stated: f"a GPU of {stated:g} GiB"}, True
    here = None if config.ray.address else gpu_here()
    if here is not None:
        return {here: f"this machine's GPU, {here:.3g} GiB"}, True
    return {gib: f"{gib:g} GiB" for gib in COMMON_GIB}, False


def fit_table(config: RunConfig, geometry: ModelGeometry, sizes: dict[float, str]) -> Table:
    """Every kind of process that has GPUs against each size: what it needs of what it may take."""
    table = plan_table("Does it fit a GPU? (estimate, GiB)", "process", *sizes.values())
    found = [gpu_fits(config, geometry, gib) for gib in sizes]
    for process in found[0]:
        table.add_row(process, *(fits[process].verdict for fits in found))
    return table


def fit_lines(
    config: RunConfig, geometry: ModelGeometry, sizes: dict[float, str], known: bool
) -> Iterator[str]:
    """What follows from that table: which GPUs are large enough, what to change, and what the estimate holds."""
    fitting = [gib for gib in sizes if all(fit.fits for fit in gpu_fits(config, geometry, gib).values())]
    if not known:
        yield _which_fit(fitting)
    elif not fitting:
        yield "This plan does NOT fit by the estimate: expect it to run out of GPU memory."
    if fitting:
        yield from _cache_lines(config, geometry, min(fitting))
    else:
        for fit in gpu_fits(config, geometry, max(sizes)).values():
            yield from _remedy_lines(config, geometry, max(sizes), fit)
    yield NOTE


def _which_fit(fitting: Sequence[float]) -> str:
    if not fitting:
        return (
            f"This plan does NOT fit a GPU of any of these sizes. What to change for {max(COMMON_GIB):g} GiB:"
        )
    named = ", ".join(f"{gib:g}" for gib in fitting)
    return f"The plan fits GPUs of {named} GiB; what to change for a smaller one: --gpu-gib and its size."


def _cache_lines(config: RunConfig, geometry: ModelGeometry, gpu_gib: float) -> Iterator[str]:
    if ENGINE in gpu_fits(config, geometry, gpu_gib):
        most = config.rollout.max_concurrent
        number = min(most, sequences_at_a_time(config, geometry, gpu_gib))
        yield (
            f"On {gpu_gib:.3g} GiB an engine's KV cache holds {number} sequences of full length of the {most} that "
            "rollout.max_concurrent allows; vLLM makes the rest wait."
        )


def _remedy_lines(config: RunConfig, geometry: ModelGeometry, gpu_gib: float, fit: Fit) -> Iterator[str]:
    if fit.fits:
        return
    yield f"A {fit.process} {fit.verdict} GiB. To change in the YAML, each with those above it:"
    found = remedies(config, geometry, gpu_gib, fit.process)
    for remedy in found:
        altering = " (changes what is learned)" if remedy.alters_learning else ""
        yield f"  {remedy.changes}{altering} -> {remedy.then.verdict}"
    if not found or not found[-1].then.fits:
        yield (
            "  This is not enough: it takes more learner ranks under ZeRO stage 3, larger GPUs, shorter prompts and "
            "responses, or a smaller policy."
        )
