"""Declare options as annotated fields; command line, TOML, Python and reference use them."""

from __future__ import annotations

import inspect
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cxrbench.errors import SettingsError
from cxrbench.parameters import alternatives, nearest

_MISFIT = object()

LARGEST_SEED = 2**32 - 1
"""Of any seed: NumPy's older generators take 32 bits."""

LARGEST_BATCH = 65_536
LARGEST_SIDE = 4096
"""Of a network's images, in pixels: a batch of one then takes gigabytes in some backbones."""


@dataclass(frozen=True)
class Option:
    """The declaration of one option, in the annotation of a dataclass's field.

    Parameters
    ----------
    help : a sentence or two; values and commands stand between backticks.
    panel : the group of options that begins with this one.
    least, most : the smallest and the largest number.
    unit : what the number is, such as ``degrees``; ``expected`` replaces the whole description.
    valid : whether a value of the right type works.
    default : the default in words, for one that the field cannot say.
    otherwise : the defaults under a protocol or preset, by its name.
    metavar, envvar : as on the command line.
    switch : whether a flag has an opposite, ``--no-NAME``.
    positional : whether the command line takes it without a name.
    short : a second name of one letter, such as ``-d``.
    also : other spellings of values, by the spelling.
    hint : what to do about a value that cannot work, if no choice is near.
    name, kind, fallback : of the field; `options_of` fills them in.
    """

    help: str
    panel: str = ""
    least: float | None = None
    most: float | None = None
    unit: str = "a number"
    expected: str = ""
    valid: Callable[[Any], object] | None = None
    default: str = ""
    otherwise: Mapping[str, Any] = field(default_factory=dict)
    metavar: str = ""
    envvar: str = ""
    switch: bool = False
    positional: bool = False
    short: str = ""
    also: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""
    name: str = ""
    kind: Any = None
    fallback: Any = None

    @property
    def flag(self) -> str:
        """The name on the command line, such as ``--batch-size``."""
        return self.name if self.positional else f"--{self.name.replace('_', '-')}"

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of an option that has no others."""
        kinds = self.kinds
        return get_args(kinds[0]) if len(kinds) == 1 and get_origin(kinds[0]) is Literal else ()

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types of its values, without None, which stands for the default."""
        return tuple(kind for kind in alternatives(self.kind) if kind is not NoneType)

    @property
    def default_text(self) -> str:
        """The default as a user types it, with those under protocols and presets."""
        text = self.default or as_typed(self.fallback)
        return "; ".join([text, *(f"{name}: {as_typed(v)}" for name, v in self.otherwise.items())])

    @property
    def expected_text(self) -> str:
        """The values that work, in words."""
        return self.expected or ", or ".join(map(self._words, self.kinds))

    def check(self, value: Any) -> Any:
        """The value in its proper type.

        Raises
        ------
        SettingsError : it cannot work.
        """
        value = self.also.get(value, value) if isinstance(value, str) else value
        for kind in self.kinds:
            fit = _fit(value, kind)
            if fit is not _MISFIT and self._in_range(fit) and (not self.valid or self.valid(fit)):
                return fit
        text = as_typed(value, quote=True)
        raise SettingsError(
            f"{self.flag} cannot be {text}",
            expected=self.expected_text,
            found=text,
            fix=nearest(str(value), self.choices) or self.hint or None,
        )

    def read(self, value: Any) -> Any:
        """The value that the command line gave, checked; None if it gave none."""
        if value is None or value in ([], ()):
            return None
        return self.check(_number_from(value, self.kinds) if isinstance(value, str) else value)

    def _in_range(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        least, most = self.least, self.most
        return (least is None or least <= value) and (most is None or value <= most)

    def _words(self, kind: Any) -> str:
        if get_origin(kind) is Literal:
            *others, last = get_args(kind)
            return f"{', '.join(others)} or {last}" if others else str(last)
        if kind in (int, float):
            words = "a whole number" if kind is int else self.unit
            if self.least is None:
                return words
            return f"{words} from {self.least:g} " + (
                "up" if self.most is None else f"to {self.most:.10g}"
            )
        texts = {bool: "true or false", str: "text", Path: "a path"}
        return texts.get(kind, "text or a list of texts")


@cache
def options_of(declaration: type) -> Mapping[str, Option]:
    """The options that a dataclass declares, by name."""
    hints = get_type_hints(declaration, include_extras=True)
    options, panel = dict[str, Option](), ""
    for one in fields(declaration):
        kind, *notes = get_args(hints[one.name]) or (hints[one.name],)
        for note in notes:
            if isinstance(note, Option):
                panel = note.panel or panel
                about = {"name": one.name, "kind": kind, "fallback": one.default, "panel": panel}
                options[one.name] = replace(note, **about)
    return options


def check_options(values: Mapping[str, Any], options: Mapping[str, Option]) -> dict[str, Any]:
    """The options with a value (None: not given), each checked.

    Raises
    ------
    SettingsError : there is no such option, or its value cannot work.
    """
    for name in values:
        if name not in options:
            raise SettingsError(
                f"there is no option {name!r}",
                expected=", ".join(sorted(options)),
                found=repr(name),
                fix=nearest(name, options) or None,
            )
    return {name: options[name].check(v) for name, v in values.items() if v is not None}


def as_typed(value: Any, *, quote: bool = False) -> str:
    """A value as a user types it: ``0.7,0.1,0.2``; with ``quote``, single texts in quotes."""
    if isinstance(value, tuple | list):
        return ",".join(as_typed(item).removesuffix(".0") for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if quote else str(value)


def declare_options(function: Any, options: Iterable[Option]) -> None:
    """Give a function that takes ``**options`` their signature and their section of a docstring."""
    own = inspect.signature(function, eval_str=True)
    parameters, texts = dict(own.parameters), []
    parameters.popitem()
    for option in options:
        if option.name not in parameters:
            optional, value = option.default != "", option.fallback
            parameters[option.name] = inspect.Parameter(
                option.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None if optional else str(value) if isinstance(value, Path) else value,
                annotation=option.kind | None if optional else option.kind,
            )
        text = f"{option.name} : {option.help}"
        if not option.positional:
            text += f" By default {option.default_text}."
        texts.append(textwrap.fill(text, 98, initial_indent="    ", subsequent_indent="        "))
    heading = "Parameters\n    ----------\n"
    function.__doc__ = (function.__doc__ or "").replace(heading, heading + "\n".join(texts) + "\n")
    function.__signature__ = own.replace(parameters=list(parameters.values()))


def _fit(value: Any, kind: Any) -> Any:
    """The value as one of this type, or `_MISFIT`."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = whole or (isinstance(value, float) and math.isfinite(value))
    path = isinstance(value, str | Path)
    if get_origin(kind) is Literal:
        return value if isinstance(value, str) and value in get_args(kind) else _MISFIT
    if get_origin(kind) is tuple:
        return _fit_all(value, get_args(kind))
    if kind is Path and path:  # a shell leaves the ~ of --cache=~/there as it is
        return Path(value).expanduser()
    if kind in (str, Path):
        return kind(value) if path else _MISFIT
    return value if {bool: isinstance(value, bool), int: whole, float: number}[kind] else _MISFIT


def _fit_all(value: Any, kinds: tuple[Any, ...]) -> Any:
    if isinstance(value, str | Path):
        value = (value,)
    if not isinstance(value, tuple | list):
        return _MISFIT
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        return _MISFIT
    items = tuple(map(_fit, value, kinds))
    return _MISFIT if _MISFIT in items else items


def _share(text: str) -> float:
    """A number, also as ``5%`` of 1."""
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def _number_from(text: str, kinds: tuple[Any, ...]) -> Any:
    """The number or numbers that a text spells, if the option takes such; else the text."""
    try:
        if int in kinds:
            return int(text)
        if float in kinds:
            return _share(text)
        if any(get_origin(kind) is tuple and float in get_args(kind) for kind in kinds):
            return tuple(map(_share, text.split(",")))
    except ValueError:
        pass
    return text
