"""Options of commands: made from their declarations, or shared by several commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench.options import Option
from cxrbench.request import known_options

Format = StrEnum("Format", ["table", "json", "csv", "markdown", "html", "latex"])
"""Formats of the standard output."""

_FORMAT = Annotated[
    Format,
    typer.Option("--format", metavar="|".join(Format), help="Format of the standard output."),
]
_AS_JSON = Annotated[bool, typer.Option("--json", help="Same as --format json.")]


def takes(*names: str, **texts: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these names; it gets the given ones as ``**options``.

    ``texts`` are options whose help and default differ in this command. A parameter
    ``output_format: Format`` stands for ``--format`` and ``--json``.
    """
    every = known_options()
    declared = [every[name] for name in (*names, *texts)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())
        formats = (
            (_named("output_format", _FORMAT, Format.table), _named("as_json", _AS_JSON, False))
            if any(one.annotation is Format for one in own)
            else ()
        )

        def call(**values: Any) -> None:
            options = {option.name: values.pop(option.name) for option in declared}
            if formats and values.pop("as_json"):
                values["output_format"] = Format.json
            command(**values, **{n: v for n, v in options.items() if v not in (None, [], ())})

        before = [one for one in own if one.kind is one.POSITIONAL_OR_KEYWORD]
        after = [
            one for one in own if one.kind is one.KEYWORD_ONLY and one.annotation is not Format
        ]
        generated = [_parameter(option, texts.get(option.name, "")) for option in declared]
        call.__name__, call.__doc__ = command.__name__, command.__doc__
        parameters = (*before, *generated, *formats, *after)
        named = [one.replace(kind=one.KEYWORD_ONLY) for one in parameters]
        call.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
        return call

    return decorate


def _parameter(declared: Option, text: str) -> inspect.Parameter:
    annotation: Any = Annotated[_typer_type(declared), _typer_option(declared, text)]
    return _named(declared.name, annotation, None)


def _named(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


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


def with_config(config: Path | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options in the file of ``--config``, if one is given, and those given beside it."""
    if config is None:
        return dict(options)
    from cxrbench.runs.settings_file import read_config, require_repeatable

    values = read_config(config)
    require_repeatable(config, {n: v for n, v in values.items() if n not in options})
    return {**values, **options}


Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="TOML file of recipes and options, such as a run's settings.toml. Command-line "
        "options override the file.",
    ),
]
OneRun = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="The directory of a complete run, or a recipe that has only one run."
    ),
]
SEED_OF_RUN = "The seed of the run, if RUN is a recipe."
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
BoardRows = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN…]",
        help="Run directories or recipes. A recipe stands for all its seeds. "
        "\\[default: all rows of the largest leaderboard]",
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
