"""Options of commands: made from their declarations, or shared by several commands."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench.cli.help import PlainCommand
from cxrbench.options import Option
from cxrbench.request import known_options

Format = StrEnum("Format", ["table", "json", "csv", "markdown", "html", "latex"])
"""Formats of the standard output."""

_FORMAT = Annotated[
    Format,
    typer.Option("--format", "-f", metavar="|".join(Format), help="Format of the standard output."),
]
_OUTPUT = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="File to write the result to. [default: standard output]".replace("[", "\\["),
    ),
]
_AS_JSON = Annotated[bool, typer.Option("--json", help="Same as --format json.")]
_QUIET = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show only the result: no progress, no messages.")
]
_METAVARS = {bool: "", int: "N", float: "X", str: "TEXT"}


def takes(*names: str, **texts: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these names; it gets the given ones as ``**options``.

    ``texts`` are options whose help and default differ in this command. A parameter
    ``output_format: Format`` stands for ``--format``, ``--json`` and, where the command has no
    ``output`` of its own, ``--output``. All have ``--quiet``.
    """
    every = known_options()
    declared = [every[name] for name in (*names, *texts)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())
        formats = []
        if any(one.annotation is Format for one in own):
            formats += [_named("output_format", _FORMAT, Format.table)]
            formats += [_named("as_json", _AS_JSON, False)]
        has_output = formats and all(one.name != "output" for one in own)
        if has_output:
            formats.append(_named("output", _OUTPUT, None))

        def call(**values: Any) -> None:
            options = {option.name: values.pop(option.name) for option in declared}
            if formats and values.pop("as_json"):
                values["output_format"] = Format.json
            given = {n: v for n, v in options.items() if v not in (None, [], ())}
            path = values.pop("output") if has_output else None
            with _silence() if values.pop("quiet") else nullcontext():
                if path is None:
                    command(**values, **given)
                else:
                    _into_file(path, partial(command, **values, **given))

        before = [one for one in own if one.kind is one.POSITIONAL_OR_KEYWORD]
        after = [
            one for one in own if one.kind is one.KEYWORD_ONLY and one.annotation is not Format
        ]
        generated = [_parameter(option, texts.get(option.name, "")) for option in declared]
        call.__name__, call.__doc__ = command.__name__, command.__doc__
        quiet = _named("quiet", _QUIET, False)
        parameters = (*before, *generated, *formats, *after, quiet)
        named = [one.replace(kind=one.KEYWORD_ONLY) for one in parameters]
        call.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
        return call

    return decorate


def _silence() -> AbstractContextManager[None]:
    from cxrbench.output.display import silence

    return silence()


def _into_file(path: Path, command: Callable[[], None]) -> None:
    """Write what the command prints to ``path``, also where it ends with an exit code."""
    from cxrbench.output.show import standard_output_to

    ending: typer.Exit | None = None
    with standard_output_to(path):
        try:
            command()
        except typer.Exit as exit_code:  # such as that of a check with errors
            ending = exit_code
    if ending is not None:
        raise ending


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
    # Numbers are texts here: `Option.read` takes more spellings, and its errors say more.
    return (kinds[0] if kinds[0] in (bool, Path) and len(kinds) == 1 else str) | None


def _typer_option(declared: Option, text: str) -> Any:
    default = "" if bool in declared.kinds else f" [default: {declared.default_text}]"
    text = (text or declared.help + default).replace("`", "").replace("[default", "\\[default")
    about: dict[str, Any] = {
        "help": text,
        "metavar": declared.metavar
        or "|".join(declared.choices)
        or _METAVARS.get(declared.kinds[0]),
        "envvar": declared.envvar or None,
        "show_default": False,
        "callback": declared.read,
        "rich_help_panel": declared.panel or None,
        "autocompletion": _COMPLETIONS.get(declared.name) or _choices_of(declared),
    }
    if declared.positional:
        return typer.Argument(**about)
    opposite = f"/--no-{declared.flag[2:]}" if declared.switch else ""
    shorts = [f"-{declared.short}"] if declared.short else []
    return typer.Option(declared.flag + opposite, *shorts, **about)


def _choices_of(declared: Option) -> Callable[[str], list[str]] | None:
    if not declared.choices:
        return None

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in declared.choices if choice.startswith(incomplete)]

    return complete


def complete_recipes(incomplete: str) -> list[str]:
    """Recipes that go on as the last part of this text: parts, their parameters, fusions."""
    from cxrbench.parameters import field_types
    from cxrbench.recipe_text import PERMUTED
    from cxrbench.registry import load_registry

    registry = load_registry()
    head, mark, last = _last_piece(incomplete, "+@")
    kinds = ("fusion",) if mark == "@" else ("backbone", "feature")
    name, colon, parameters = last.partition(":")
    if not colon:
        names = sorted({n for kind in kinds for n in registry.parts[kind]})
        others = [] if head else ["prior"]
        return [head + mark + n for n in (*names, *others) if n.startswith(last)]
    part = next(
        (registry.parts[kind][name] for kind in kinds if name in registry.parts[kind]), None
    )
    if part is None:
        return []
    fields = [*field_types(part), *([] if mark == "@" else [PERMUTED])]
    encodings = getattr(part, "encodings", {})
    fields += [field for encoder in encodings.values() for field in field_types(encoder)]
    fields += ["encoding"] if len(encodings) > 1 else []
    before, comma, field = _last_piece(parameters, ",")
    start = f"{head}{mark}{name}:{before}{comma}"
    return [f"{start}{one}=" for one in dict.fromkeys(sorted(fields)) if one.startswith(field)]


def _last_piece(text: str, marks: str) -> tuple[str, str, str]:
    at = max(map(text.rfind, marks))
    return (text[:at], text[at], text[at + 1 :]) if at >= 0 else ("", "", text)


def complete_parts(incomplete: str) -> list[str]:
    """Names of parts of every kind."""
    from cxrbench.registry import load_registry

    names = {name for parts in load_registry().parts.values() for name in parts}
    return sorted(name for name in names if name.startswith(incomplete))


def complete_data(incomplete: str) -> list[str]:
    """Names of datasets; a shell completes paths where none fits."""
    from cxrbench.registry import load_registry

    names = load_registry().parts["dataset"]
    return sorted(name for name in names if name.startswith(incomplete))


def complete_weights(incomplete: str) -> list[str]:
    """The names that ``--weights`` knows; a shell completes paths where none fits."""
    return [name for name in ("imagenet", "none") if name.startswith(incomplete)]


def complete_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Recipes of complete runs and paths of their directories."""
    runs = list(_runs_of(ctx))
    texts = [*(values["recipe"] for _, values in runs), *(str(path) for path, _ in runs)]
    return sorted({text for text in texts if text.startswith(incomplete)})


def complete_labels(ctx: typer.Context, incomplete: str) -> list[str]:
    """Labels of complete runs."""
    labels = {label for _, values in _runs_of(ctx) for label in values["labels"]}
    return sorted(label for label in labels if label.lower().startswith(incomplete.lower()))


def _runs_of(ctx: typer.Context) -> Iterator[tuple[Path, Any]]:
    """The directories of complete runs, with their ``run.json``; nothing heavy is imported."""
    for path in sorted(Path(ctx.params.get("runs") or "runs").glob("*/run.json")):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # a run that cannot be read cannot be named either
            continue
        if isinstance(values, dict) and {"recipe", "labels"} <= set(values):
            yield path.parent, values


_COMPLETIONS: dict[str, Callable[..., list[str]]] = {
    "recipes": complete_recipes,
    "data": complete_data,
    "weights": complete_weights,
}


def with_config(
    config: Path | None, options: Mapping[str, Any], *, unused: Sequence[str] = ()
) -> dict[str, Any]:
    """The options in the file of ``--config``, if one is given, and those given beside it.

    ``unused`` are options of the file that the command does not look at.
    """
    if config is None:
        return dict(options)
    from cxrbench.runs.settings_file import read_config, require_repeatable

    values = read_config(config)
    require_repeatable(config, values, replaced={*options, *unused})
    return {**values, **options}


Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="TOML file of recipes and options, such as a run's settings.toml. Command-line "
        "options override the file.",
    ),
]
RunOrRecipe = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="The directory of a complete run, or a recipe, which stands for all its seeds.",
        autocompletion=complete_runs,
    ),
]
AcceptUnknown = Annotated[
    bool,
    typer.Option(
        "--accept-unknown",
        help="Also read DICOM files that do not state modality, body part or view; treat them as "
        "frontal chest radiographs.",
    ),
]
SEED_OF_RUN = "If RUN is a recipe, use this seed only."
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
BoardRows = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN…]",
        help="Run directories or recipes. A recipe stands for all its seeds. "
        "\\[default: all rows of the largest leaderboard]",
        autocompletion=complete_runs,
    ),
]
_Results = StrEnum("_Results", ["same", "all"])
Literature = Annotated[
    _Results | None,
    typer.Option(
        "--literature",
        metavar="[same|all]",
        help="Also show published results on NIH images, not ranked: those on the same list and "
        "number of labels (same, also without a value), or all.",
        show_default=False,
    ),
]


class WithLiterature(PlainCommand):
    """A command whose ``--literature`` can stand without a value, which then is ``same``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spread = list[str]()
        for place, arg in enumerate(args):
            following = args[place + 1] if place + 1 < len(args) else ""
            bare = arg == "--literature" and following not in list(_Results)
            spread += [arg, _Results.same.value] if bare else [arg]
        return super().parse_args(ctx, spread)


PerLabel = Annotated[
    bool,
    typer.Option(
        "--per-label", help="Also show the scores of each label. In csv, show only these."
    ),
]
