"""Options of commands: made from their declarations, or shared by several commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench.options import Option
from cxrbench.request import known_options


class Format(StrEnum):
    """Formats of the standard output."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"
    html = "html"
    latex = "latex"


def option(name: str) -> Any:
    """The typer option that the declaration of this name makes."""
    return _typer_option(known_options()[name], "")


def takes(*names: str, **texts: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these names, or all; it gets the given ones as ``**options``.

    ``texts`` are options whose help and default differ in this command.
    """
    known = known_options()
    declared = [known[name] for name in (*names, *texts) or known]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def call(**values: Any) -> None:
            options = {option.name: values.pop(option.name) for option in declared}
            command(**values, **{n: v for n, v in options.items() if v not in (None, [], ())})

        own = list(inspect.signature(command, eval_str=True).parameters.values())
        generated = [_parameter(option, texts.get(option.name, "")) for option in declared]
        before = [one for one in own if one.kind is one.POSITIONAL_OR_KEYWORD]
        after = [one for one in own if one.kind is one.KEYWORD_ONLY]
        call.__name__, call.__doc__ = command.__name__, command.__doc__
        every = [one.replace(kind=one.KEYWORD_ONLY) for one in (*before, *generated, *after)]
        call.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        return call

    return decorate


def _parameter(declared: Option, text: str) -> inspect.Parameter:
    annotation: Any = Annotated[_typer_type(declared), _typer_option(declared, text)]
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(declared.name, kind, default=None, annotation=annotation)


def _typer_type(declared: Option) -> Any:
    kinds = declared.kinds
    if kinds == (tuple[str, ...],):
        return list[str] | None
    return (kinds[0] if kinds[0] in (bool, int, float, Path) and len(kinds) == 1 else str) | None


def _typer_option(declared: Option, text: str) -> Any:
    default = "" if bool in declared.kinds else f" [default: {declared.default_text}]"
    text = (text or declared.help + default).replace("`", "").replace("[default", "\\[default")
    about: dict[str, Any] = {
        "help": text,
        "metavar": declared.metavar or "|".join(declared.choices) or None,
        "envvar": declared.envvar or None,
        "show_default": False,
        "callback": declared.read,
        "rich_help_panel": declared.panel or None,
    }
    if declared.positional:
        return typer.Argument(**about)
    opposite = f"/--no-{declared.flag[2:]}" if declared.switch else ""
    return typer.Option(declared.flag + opposite, **about)


def config_options(config: Path | None) -> dict[str, Any]:
    """The options in the file of ``--config``, if one is given."""
    if config is None:
        return {}
    from cxrbench.runs.settings_file import read_config

    return read_config(config)


Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="TOML file of recipes and options, such as a run's settings.toml. Command-line "
        "options override the file.",
    ),
]
Runs = Annotated[Path, option("runs")]
OneRun = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="The directory of a complete run, or a recipe that has only one run.",
    ),
]
RunSeed = Annotated[
    int | None,
    typer.Option(min=0, help="The seed of the run, if RUN is a recipe.", show_default=False),
]
Cache = Annotated[Path | None, option("cache")]
Threads = Annotated[int | None, option("threads")]
OutputFormat = Annotated[
    Format,
    typer.Option("--format", metavar="|".join(Format), help="Format of the standard output."),
]
Json = Annotated[bool, typer.Option("--json", help="Same as --format json.")]
Ablation = Annotated[bool, typer.Option("--ablation", help="Also show what each part adds.")]
BoardRows = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN…]",
        help="Run directories or recipes. A recipe stands for all its seeds. "
        "\\[default: all rows of the largest leaderboard]",
        show_default=False,
    ),
]
Literature = Annotated[
    bool,
    typer.Option("--literature", help="Also show published results on NIH images, not ranked."),
]
PerLabel = Annotated[
    bool,
    typer.Option(
        "--per-label", help="Also show the scores of each label. In csv, show only these."
    ),
]


def chosen_format(output: Format, as_json: bool) -> Format:
    """The format of ``--format``, unless ``--json`` overrides it."""
    return Format.json if as_json else output
