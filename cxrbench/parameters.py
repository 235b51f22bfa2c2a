"""Set the fields of a part from text such as ``nfeatures=1000``; propose names for typos."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from cxrbench.errors import CxrbenchError, PluginError, RecipeError, error_text

if TYPE_CHECKING:
    from cxrbench.interfaces import Dataset

_PLAIN = (int, float, bool, str)
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


PACKAGES: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("attention", "gated"), "cxrbench-attention")
    | dict.fromkeys(("convnexttiny", "convnext"), "cxrbench-convnext")
    | dict.fromkeys(("densenet121", "densenet"), "cxrbench-densenet")
    | dict.fromkeys(("efficientnetb0", "efficientnet"), "cxrbench-efficientnet")
    | dict.fromkeys(("efficientnetv2b0", "efficientnetv2"), "cxrbench-efficientnet")
    | dict.fromkeys(("metadata",), "cxrbench-metadata")
    | dict.fromkeys(("mobilenet",), "cxrbench-mobilenet")
    | dict.fromkeys(("hog", "lbp", "glcm", "texture"), "cxrbench-texture")
)
"""The packages of cxrbench's repository by the parts that they provide."""


def nearest(name: str, names: Iterable[str]) -> str:
    """A question that proposes the closest of ``names``, or an empty text when none is close.

    Case, hyphens, underscores and spaces do not matter. Two names that differ in their digits
    alone, such as resnet18 and resnet50, are no typo of each other, and the text says so.
    """
    other = _closest(name, names)
    if not other:
        return ""
    (stem, digits), (other_stem, _) = _stem(_key(name)), _stem(_key(other))
    if digits and stem == other_stem and _key(name) != _key(other):
        return f"The nearest is {other!r}."
    return f"Did you mean {other!r}?"


def _closest(name: str, names: Iterable[str]) -> str:
    by_key = {_key(other): other for other in sorted(names, key=len, reverse=True)}
    key = _key(name)
    if key in by_key:
        return by_key[key]
    stem, digits = _stem(key)
    keys = [
        *([other for other in by_key if _stem(other)[0] == stem] if digits else []),
        *get_close_matches(key, by_key, n=1, cutoff=0.7),
        *(other for other in by_key if len(key) > 2 and sorted(other) == sorted(key)),
        *(other for other in by_key if len(key) > 2 and other.startswith(key)),
    ]
    return by_key[keys[0]] if keys else ""


def _key(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())


def _stem(key: str) -> tuple[str, str]:
    stem = key.rstrip("0123456789")
    return stem, key[len(stem) :]


def advice_on_part(name: str, kinds: Collection[str], known: Mapping[str, Collection[str]]) -> str:
    """What to do about a name that none of ``kinds`` has; ``known`` are all names by kind."""
    pieces = [piece for piece in re.split(r"[\s,;/&|]+", name) if piece]
    parts = {*known.get("backbone", ()), *known.get("feature", ())}
    if len(pieces) > 1 and parts.issuperset(pieces):
        return f"Join parts by +: {'+'.join(pieces)}"
    for kind, names in known.items():
        if name in names and kind == "fusion":
            return f"{name} is a fusion: write it after @, as in resnet+orb@{name}"
        if name in names and kind == "dataset":
            return f"{name} is a dataset: use --data {name}"
        if name in names:
            return f"{name} is a {kind}: join it to the other parts by +"
    own = [other for kind in kinds for other in known[kind]]
    proposal, meant = nearest(name, [*own, *PACKAGES]), _closest(name, [*own, *PACKAGES])
    if meant in PACKAGES and meant not in own:
        package = PACKAGES[meant]
        question = "" if meant == name else f"{proposal} "
        return f"{question}Install {package}, which provides it: pip install ./plugins/{package}"
    return proposal or "Install a plugin that provides it; `cxrbench plugins list` shows all parts"


def field_types(part: type) -> dict[str, Any]:
    """The parameters that a part declares, by name, with their types.

    Raises
    ------
    PluginError : the part is no frozen dataclass, or a field has no default or another type
        than int, float, bool, str, ``Literal`` of those, or one of them ``| None``.
    """
    if not is_dataclass(part) or not part.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise PluginError(
            f"{part.__qualname__} is not a frozen dataclass",
            fix="put @dataclass(frozen=True) above the class",
        )
    try:
        hints = get_type_hints(part)
    except NameError as error:
        raise PluginError(
            f"{part.__qualname__}: the type of a field cannot be resolved",
            found=str(error),
            fix="use int, float, bool, str or Literal, imported at the top of the module",
        ) from error
    settable = [field for field in fields(part) if field.init]
    for field in settable:
        _check_field(part, field, hints[field.name])
    return {field.name: hints[field.name] for field in settable}


def _check_field(part: type, field: Field[Any], annotation: Any) -> None:
    if field.default is MISSING and field.default_factory is MISSING:
        raise PluginError(
            f"{part.__qualname__}.{field.name} has no default",
            fix="give every field a default, so that the part can be named without parameters",
        )
    for kind in alternatives(annotation):
        if kind is not NoneType and get_origin(kind) is not Literal and kind not in _PLAIN:
            raise PluginError(
                f"{part.__qualname__}.{field.name} has the type {annotation}",
                expected="int, float, bool, str, Literal[...], or one of them | None",
                fix="use a type that a recipe can write as text",
            )


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type that an annotation is."""
    if get_origin(annotation) in (Union, UnionType):
        return get_args(annotation)
    return (annotation,)


def parse_pairs(text: str, where: str) -> dict[str, str]:
    """Split ``a=1,b=2`` into names and texts; ``where`` names the part in errors."""
    pairs: dict[str, str] = {}
    for item in text.split(","):
        name, equals, value = item.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name or not value:
            raise RecipeError(
                f"{where} has a parameter that cannot be read",
                expected="name=value, several separated by commas; parts are joined by +",
                found=repr(item),
            )
        if name in pairs:
            raise RecipeError(f"{where} sets {name!r} twice", fix="leave one of the two out")
        pairs[name] = value
    return pairs


def convert(where: str, name: str, text: str, annotation: Any) -> Any:
    """The value of one parameter from its text; raises `RecipeError` when it does not fit."""
    kinds = alternatives(annotation)
    if NoneType in kinds and text.lower() == "none":
        return None
    for kind in kinds:
        try:
            return _converted(text, kind)
        except ValueError:
            continue
    raise RecipeError(
        f"{where}: {name} cannot be {text!r}", expected=describe_type(annotation), found=repr(text)
    )


def _converted(text: str, kind: Any) -> Any:
    if get_origin(kind) is Literal:
        choices = {str(choice): choice for choice in get_args(kind)}
    elif kind is bool:
        choices, text = _BOOLEANS, text.lower()
    elif kind is NoneType:
        choices = {}
    else:
        value = kind(text)
        if value != value:  # NaN would be a recipe that differs from itself
            raise ValueError("not a number")
        return value
    if text not in choices:
        raise ValueError(text)
    return choices[text]


def describe_type(annotation: Any) -> str:
    """How a user would say the type: ``a whole number``, ``one of 'bow', 'vlad'``."""
    words = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        NoneType: "none",
    }
    texts = []
    for kind in alternatives(annotation):
        if get_origin(kind) is Literal:
            texts.append("one of " + ", ".join(repr(choice) for choice in get_args(kind)))
        else:
            texts.append(words[kind])
    return " or ".join(texts)


def unknown_parameter(where: str, name: str, names: Iterable[str]) -> RecipeError:
    """The error for a parameter that a part does not have."""
    names = sorted(names)
    return RecipeError(
        f"{where} has no parameter {name!r}",
        expected=", ".join(names) if names else "no parameters at all",
        found=repr(name),
        fix=f"{nearest(name, names)} See `cxrbench plugins show {where}`.".strip(),
    )


def build(part: type, pairs: Mapping[str, str], where: str) -> Any:
    """An instance of ``part`` with the parameters that the texts in ``pairs`` give."""
    types = field_types(part)
    values = {}
    for name, text in pairs.items():
        if name not in types:
            raise unknown_parameter(where, name, types)
        values[name] = convert(where, name, text, types[name])
    try:
        return part(**values)
    except CxrbenchError:
        raise
    except Exception as error:  # a plugin's own check of its fields may raise anything
        raise RecipeError(
            f"{where} cannot be made with these parameters",
            found=error_text(error),
            fix=f"change the parameters; `cxrbench plugins show {where}` lists them",
        ) from error


def changed(part: Any) -> dict[str, Any]:
    """The parameters of an instance that differ from their defaults, sorted by name."""
    return {
        field.name: getattr(part, field.name)
        for field in sorted(fields(part), key=lambda field: field.name)
        if field.init and getattr(part, field.name) != _default(field)
    }


def spelt(name: str, parameters: Mapping[str, Any]) -> str:
    """``NAME:parameter=value,…`` as a recipe writes a part, its parameters sorted."""
    pairs = ",".join(
        f"{parameter}={_text(parameters[parameter])}" for parameter in sorted(parameters)
    )
    return f"{name}:{pairs}" if pairs else name


def _text(value: Any) -> str:
    # A float's exponent may carry a plus sign, which separates parts: 1e+20 is written 1e20.
    return str(value).replace("e+", "e").lower() if isinstance(value, bool | float) else str(value)


def data_text(dataset: Dataset) -> str:
    """What ``--data`` takes for this dataset, from any folder, without its ``user_options``."""
    options = changed(absolute_dataset(dataset))
    options = {name: v for name, v in options.items() if name not in dataset.user_options}
    if "," in options.get("path", ""):  # separates options; the layout is recognised too
        return str(options["path"])
    return spelt(dataset.name, options)


def absolute_dataset(dataset: Dataset) -> Dataset:
    """The same dataset, from any folder."""
    parameters = changed(dataset)
    paths = {name: parameters[name] for name in dataset.path_options if name in parameters}
    absolute = {name: str(Path(text).expanduser().absolute()) for name, text in paths.items()}
    return replace(dataset, **absolute)  # type: ignore[type-var]


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
