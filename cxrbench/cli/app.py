"""The application and its commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cxrbench.cli import (
    cache_clear,
    cache_list,
    cache_verify,
    compare,
    data_check,
    data_download,
    data_prepare,
    explain,
    export,
    figures,
    leaderboard,
    localise,
    perf_compare,
    perf_history,
    perf_record,
    perf_time,
    plugins_check,
    plugins_doctor,
    plugins_list,
    plugins_new,
    plugins_show,
    predict,
    report,
    run,
    score,
    submit,
)
from cxrbench.cli.help import PlainCommand, PlainGroup
from cxrbench.cli.options import WithLiterature
from cxrbench.cli.usage import plain_errors


class Commands(PlainGroup):
    """The commands; on Ctrl-C each ends with exit code 130 and without a traceback."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Parse the command line."""
        try:
            with plain_errors():
                return super().make_context(*arguments, **settings)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    def invoke(self, ctx: Any) -> Any:
        """Call the command."""
        try:
            with plain_errors():
                result = super().invoke(ctx)
            sys.stdout.flush()  # or a failure would be shown at the end, without a reason
            return result
        except BrokenPipeError:  # typer would end silently, with a code that means something else
            discard_output()
            typer.echo("cxrbench: the output is incomplete: its reader has ended", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def discard_output() -> None:
    """Throw away what could not be written, which would be tried again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    name="cxrbench",
    cls=Commands,
    help="Benchmark backbones, hand-crafted features and their fusion on chest radiographs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", cls=PlainCommand)(run.run)
app.command("leaderboard", cls=WithLiterature)(leaderboard.leaderboard)
app.command("compare", cls=PlainCommand)(compare.compare)
app.command("score", cls=PlainCommand)(score.score)
app.command("submit", cls=PlainCommand)(submit.submit)
app.command("figures", cls=PlainCommand)(figures.figures)
app.command("explain", cls=PlainCommand)(explain.explain)
app.command("localise", cls=PlainCommand)(localise.localise)
app.command("report", cls=WithLiterature)(report.report)
app.command("predict", cls=PlainCommand)(predict.predict)
app.command("export", cls=PlainCommand)(export.export)


def _group(name: str, text: str, **commands: Callable[..., None]) -> typer.Typer:
    group = typer.Typer(help=text, no_args_is_help=True, cls=PlainGroup)
    for command, function in commands.items():
        group.command(command, cls=PlainCommand)(function)
    app.add_typer(group, name=name)
    return group


data = _group(
    "data",
    "Download, check and prepare cohorts.",
    download=data_download.download,
    check=data_check.check,
)
data.command("prepare", cls=data_prepare.SeveralRecipes)(data_prepare.prepare)
_group(
    "cache",
    "List, verify and remove entries of the cache.",
    list=cache_list.list_cache,
    verify=cache_verify.verify,
    clear=cache_clear.clear,
)
_group(
    "plugins",
    "List, show, check and create plugins.",
    list=plugins_list.list_plugins,
    show=plugins_show.show_parts,
    check=plugins_check.check,
    doctor=plugins_doctor.doctor,
    new=plugins_new.new,
)
_group(
    "perf",
    "Time the hot paths of a run, such as decoding, and detect changes that slow them down.",
    time=perf_time.time,
    compare=perf_compare.compare,
    record=perf_record.record,
    history=perf_history.history,
)


def _version(show: bool) -> None:
    if show:
        from cxrbench import __version__

        typer.echo(f"cxrbench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    strict_plugins: Annotated[
        bool, typer.Option("--strict-plugins", help="Fail if any installed plugin is broken.")
    ] = False,
) -> None:
    """Benchmark backbones, hand-crafted features and their fusion on chest radiographs."""
    if strict_plugins:
        from cxrbench.registry import load_registry, require_sound

        require_sound(load_registry())
