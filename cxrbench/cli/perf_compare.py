"""``cxrbench perf compare``: whether head is slower than base; exit code 1 where it is."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrbench.cli import perf_options as of
from cxrbench.cli.options import Cache, Json

if TYPE_CHECKING:
    from cxrbench.perf.gate import SpeedComparison

SIDE = (
    "A git revision, the folder or python of an environment, a folder of source (. is the work "
    "tree), or FILE\\[@COMMIT] of cxrbench perf record."
)


class ClockName(StrEnum):
    """What is compared."""

    cpu = "cpu"
    wall = "wall"
    instructions = "instructions"


class Outcome(StrEnum):
    """What a path of which nothing can be told comes to."""

    passes = "pass"
    fails = "fail"


def compare(  # noqa: PLR0913 - each argument is an option of the command
    base: Annotated[str, typer.Argument(metavar="BASE", help=SIDE)],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The same.")] = "HEAD",
    path: of.HotPaths = None,
    data: of.Films = None,
    threshold: Annotated[
        float, typer.Option(min=0.001, max=10, help="The change that matters: 0.05 is 5 %.")
    ] = 0.05,
    budget: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="When to stop asking where the answer is still open \\[default: 300]",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A budget of 60 s, and paths without Keras.")
    ] = False,
    clock: Annotated[
        ClockName,
        typer.Option(
            help="Processor time; wall time, which other processes disturb; or instructions, which "
            "valgrind counts."
        ),
    ] = ClockName.cpu,
    image_size: of.ImageSize = 64,
    batch_size: of.BatchSize = 8,
    cannot_tell: Annotated[
        Outcome, typer.Option(help="What it comes to where nothing can be told.")
    ] = Outcome.passes,
    allow_cross_machine: Annotated[
        bool,
        typer.Option(
            "--allow-cross-machine", help="Compare recordings of two machines all the same."
        ),
    ] = False,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write Markdown, for a comment.")
    ] = None,
    benchmark_json: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write pytest-benchmark's JSON, a file a side."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where everything with all samples is kept, also after an interruption "
            "\\[default: in the cache]",
            show_default=False,
        ),
    ] = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Measure two sides in turn on this machine; exit with 1 where a hot path became slower.

    Each path is slower, faster, not changed by more than --threshold, or nothing can be told.
    Exit codes: 0 pass, 1 a regression, 2 a path could not be run.
    """
    from cxrbench.output.display import RichDisplay
    from cxrbench.perf.compare import Request, compare_texts
    from cxrbench.perf.gate import BUDGET_SECONDS, QUICK_SECONDS, GateSettings
    from cxrbench.perf.workload import require_known
    from cxrbench.store.cache import cache_folder

    seconds = budget if budget is not None else QUICK_SECONDS if quick else BUDGET_SECONDS
    asked = Request(
        base=base,
        head=head,
        paths=require_known(path or ()),
        quick=quick,
        data=data,
        options=GateSettings(threshold, seconds, clock.value),
        image_size=image_size,
        batch_size=batch_size,
        cache=cache_folder(cache),
        output=output,
        allow_cross_machine=allow_cross_machine,
    )
    found = compare_texts(asked, RichDisplay())
    _tell(found, markdown, benchmark_json, as_json=as_json)
    code = 130 if found.interrupted else found.exit_code(cannot_tell_fails=cannot_tell == "fail")
    if code:
        raise typer.Exit(code)


def _tell(
    found: SpeedComparison, markdown: Path | None, benchmark_json: Path | None, *, as_json: bool
) -> None:
    from cxrbench.perf.comparison_text import comparison_markdown, outcome, print_comparison
    from cxrbench.perf.pytest_benchmark import write_benchmark_files

    print_comparison(found, as_json_text=as_json)
    if markdown is not None:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        markdown.write_text(comparison_markdown(found), encoding="utf-8")
    if benchmark_json is not None:
        write_benchmark_files(found, benchmark_json)
    if found.in_state("cannot tell"):
        print(f"cxrbench: {outcome(found)}", file=sys.stderr)
