"""``cxrbench perf compare``: compare the speed of two versions of the code."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrbench.cli import perf_options as of
from cxrbench.cli.options import Format, takes

if TYPE_CHECKING:
    from cxrbench.perf.comparison import SpeedComparison

SIDE = (
    "A git revision, a source folder (. is the work tree), an environment (its folder or its "
    "python), or a recording of cxrbench perf record (FILE or FILE@COMMIT)."
)


ClockName = StrEnum("ClockName", ["cpu", "wall", "instructions"])


class Outcome(StrEnum):
    """The exit code of an inconclusive result."""

    passes = "pass"
    fails = "fail"


@takes("cache", data=of.IMAGES_OF)
def compare(  # noqa: PLR0913 - each argument is an option of the command
    base: Annotated[
        str, typer.Argument(metavar="BASE", help=f"{SIDE} BASE..HEAD names two revisions.")
    ],
    head: Annotated[
        str,
        typer.Argument(
            metavar="HEAD", help="The version to compare with BASE, in any of these forms."
        ),
    ] = "HEAD",
    path: of.HotPaths = None,
    threshold: Annotated[
        str,
        typer.Option(
            metavar="SHARE", help="Report changes that exceed this share, such as 0.05 or 5%."
        ),
    ] = "0.05",
    budget: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=10**6,
            metavar="SECONDS",
            help="Time limit for undecided paths. \\[default: 300]",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Set the time limit to 60 s, and time only paths without Keras."
        ),
    ] = False,
    clock: Annotated[
        ClockName,
        typer.Option(
            metavar="|".join(ClockName),
            help="Quantity to compare. cpu: processor time. wall: wall time, which other processes "
            "disturb. instructions: instructions counted by valgrind.",
        ),
    ] = ClockName.cpu,
    image_size: of.ImageSize = 64,
    batch_size: of.BatchSize = 8,
    inconclusive: Annotated[
        Outcome,
        typer.Option(
            metavar="|".join(Outcome),
            help="Exit code when the result is inconclusive: pass (0) or fail (1).",
        ),
    ] = Outcome.passes,
    cannot_tell: Annotated[Outcome | None, typer.Option(hidden=True)] = None,
    allow_cross_machine: Annotated[
        bool,
        typer.Option("--allow-cross-machine", help="Allow recordings of two different machines."),
    ] = False,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the result as Markdown.")
    ] = None,
    benchmark_json: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write pytest-benchmark's JSON, one file per side."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File for the result with all samples, also after an interruption. "
            "\\[default: in the cache]",
        ),
    ] = None,
    *,
    output_format: Format,
    **options: Any,
) -> None:
    """Compare the speed of two versions of the code; exit with 1 if a hot path became slower.

    Both sides, BASE and HEAD, are measured in turn on this machine. The verdict on each path is
    slower, faster, no change beyond --threshold, or inconclusive. Exit codes: 0 pass, 1 a path is
    slower, 2 a path could not be run.
    """
    from cxrbench.options import Option
    from cxrbench.output.display import new_display
    from cxrbench.perf.comparison import BUDGET_SECONDS, GateSettings
    from cxrbench.perf.gate import QUICK_SECONDS, ComparisonRequest
    from cxrbench.perf.gate import compare as compared
    from cxrbench.perf.workload import require_known
    from cxrbench.request import request_of

    seconds = budget if budget is not None else QUICK_SECONDS if quick else BUDGET_SECONDS
    request = request_of(options)
    least = Option("", name="threshold", kind=float, least=0.001, most=10, unit="a share").read(
        threshold
    )
    if ".." in base and not Path(base).exists():  # git's and asv's way to write two revisions
        base, _, head = base.replace("...", "..").partition("..")
    comparing = ComparisonRequest(
        base=base,
        head=head or "HEAD",
        paths=require_known(path or ()),
        quick=quick,
        data=request.data,
        settings=GateSettings(least, seconds, clock.value),
        image_size=image_size,
        batch_size=batch_size,
        cache=request.cache,
        output=output,
        allow_cross_machine=allow_cross_machine,
    )
    comparison = compared(comparing, new_display())
    _show(comparison, output_format, markdown, benchmark_json)
    fails = (cannot_tell or inconclusive) is Outcome.fails
    code = 130 if comparison.interrupted else comparison.exit_code(inconclusive_fails=fails)
    if code:
        raise typer.Exit(code)


def _show(
    comparison: SpeedComparison,
    output: str,
    markdown: Path | None,
    benchmark_json: Path | None,
) -> None:
    from cxrbench.output.files import write_text
    from cxrbench.output.formats import markdown_text
    from cxrbench.output.show import show
    from cxrbench.perf.pytest_benchmark import write_benchmark_files
    from cxrbench.perf.verdict import INCONCLUSIVE

    show(comparison, output)
    if markdown is not None:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        write_text(markdown, markdown_text(comparison.sections()))
    if benchmark_json is not None:
        write_benchmark_files(comparison, benchmark_json)
    if comparison.in_state(INCONCLUSIVE):
        typer.echo(f"cxrbench: {comparison.outcome}", err=True)
