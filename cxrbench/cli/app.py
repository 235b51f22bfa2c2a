"""The application and its commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cxrbench.cli import (
    cache,
    compare,
    data,
    explain,
    export,
    figures,
    leaderboard,
    localise,
    perf,
    plugins,
    predict,
    report,
    run,
    score,
    submit,
)


class Commands(TyperGroup):
    """The commands; on Ctrl-C each ends with exit code 130 and without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("cxrbench: interrupted; completed work is kept", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="cxrbench",
    cls=Commands,
    help="Benchmark backbones, hand-crafted features and their fusion on chest radiographs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("compare")(compare.compare)
app.command("score")(score.score)
app.command("submit")(submit.submit)
app.command("figures")(figures.figures)
app.command("explain")(explain.explain)
app.command("localise")(localise.localise)
app.command("report")(report.report)
app.command("predict")(predict.predict)
app.command("export")(export.export)
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")
app.add_typer(plugins.app, name="plugins")
app.add_typer(perf.app, name="perf")


def _version(show: bool) -> None:
    if show:
        from cxrbench import __version__

        typer.echo(f"cxrbench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    strict_plugins: Annotated[
        bool, typer.Option("--strict-plugins", help="Fail if any installed plugin is broken.")
    ] = False,
) -> None:
    """Benchmark backbones, hand-crafted features and their fusion on chest radiographs."""
    if strict_plugins:
        from cxrbench.registry import load_registry, require_sound

        require_sound(load_registry())
