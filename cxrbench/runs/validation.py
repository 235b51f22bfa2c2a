"""Check the JSON of a run directory before anything is computed from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cxrbench.errors import RunError
from cxrbench.metrics.measures import MEASURES

_LARGEST = 2.0**53
_DEEPEST = 20
_LONGEST = 5000

Place = tuple[str | int, ...]
"""The keys to a value in a tree; ``()`` is the whole tree."""

Check = Callable[[Any], Place | None]
"""None for a valid value, else the place of the first invalid one in it."""


def damaged(name: str, expected: str, value: object) -> RunError:
    """The error for a file of a run, ``RUN/FILE``, that has no valid content."""
    text = " ".join(str(value).split())
    return RunError(
        f"{name} is damaged: {expected}",
        found=text if len(text) <= 200 else f"{text[:200]}…",
        fix="copy the run directory again, or run the same command with --force",
    )


def require(value: Any, check: Check, name: str) -> Any:
    """The value, if it is valid; ``name`` is the file's, ``RUN/FILE``.

    Raises
    ------
    RunError : it is not; the error names the first invalid place.
    """
    place = check(value)
    if place is None:
        return value
    for step in place:
        value = value.get(step) if isinstance(value, dict) else value[step]
    what = f"{'.'.join(map(str, place))!r} has" if place else "it has"
    raise damaged(name, f"{what} no valid value", repr(value))


def _of_kind(*kinds: type) -> Check:
    return lambda value: None if type(value) in kinds else ()


def text(value: Any) -> Place | None:
    """A text that a table or a figure can show."""
    return None if type(value) is str and len(value) <= _LONGEST else ()


flag = _of_kind(bool)


def number(value: Any) -> Place | None:
    """A finite number that a float holds."""
    valid = type(value) in (int, float) and abs(value) <= _LARGEST
    return None if valid else ()


def count(value: Any) -> Place | None:
    """A whole number from 0 up."""
    return None if type(value) is int and 0 <= value <= _LARGEST else ()


def one_of(*texts: str) -> Check:
    """One of these texts."""
    return lambda value: None if type(value) is str and value in texts else ()


def optional(check: Check) -> Check:
    """The same, or null."""
    return lambda value: None if value is None else check(value)


def list_of(check: Check, length: int | None = None) -> Check:
    """A list whose items are all valid."""

    def whole(value: Any) -> Place | None:
        if type(value) is not list or length not in (None, len(value)):
            return ()
        return _first_invalid(enumerate(value), check)

    return whole


def mapping_of(check: Check) -> Check:
    """An object whose values are all valid."""

    def whole(value: Any) -> Place | None:
        return _first_invalid(value.items(), check) if type(value) is dict else ()

    return whole


def _first_invalid(items: Iterable[tuple[str | int, Any]], check: Check) -> Place | None:
    places = ((key, check(item)) for key, item in items)
    return next(((key, *place) for key, place in places if place is not None), None)


def record(required: Mapping[str, Check], others: Mapping[str, Check] | None = None) -> Check:
    """An object with these keys, and with valid values of the ``others`` that it has."""
    checks = {**required, **(others or {})}

    def whole(value: Any) -> Place | None:
        if type(value) is not dict:
            return ()
        for key, check in checks.items():
            if key in value:
                place = check(value[key])
                if place is not None:
                    return (key, *place)
            elif key in required:
                return (key,)
        return None

    return whole


def shallow(value: Any) -> Place | None:
    """Anything that is not nested deeply."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            return ()
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return None


def _estimates(*names: str) -> dict[str, Check]:
    """Values of these names, each with its interval."""
    interval = optional(list_of(number, 2))
    return {
        **dict.fromkeys(names, optional(number)),
        **{f"{name}_interval": interval for name in names},
    }


_PATIENTS = record({"positive": number, "negative": number, "known": number})
_BOOTSTRAP = {"replicates": count}
_METHOD = {"method": text}
_TABLE = record({"temperature": optional(number), "x": list_of(number), "y": list_of(number)})


def _label_calibration(value: Any) -> Place | None:
    place = _TABLE(value)
    if place is not None:
        return place
    temperature = value["temperature"]
    positive = temperature is None or temperature > 0
    return None if positive and len(value["x"]) == len(value["y"]) else ()


_CALIBRATION = record({"method": text, "labels": list_of(_label_calibration)})
_ESTIMATE = record(dict.fromkeys(("value", "low", "high"), optional(number)))
_MACRO = tuple(f"{kind}_{name}" for kind in ("macro", "micro") for name in MEASURES)

METRICS = record(
    {"images": count, "patients": optional(count), "macro_auroc": optional(number)},
    {
        **_estimates(*_MACRO, "macro_auroc_findings"),
        "effective_patients": record({"macro": _PATIENTS, "micro": _PATIENTS}),
        "bootstrap": record({}, _BOOTSTRAP | _METHOD),
        "calibration": _CALIBRATION,
    },
)
"""``metrics.json``."""

_LABEL = record(
    {
        **dict.fromkeys(MEASURES, optional(number)),
        **{"label": text, "counted": flag, "threshold": optional(number)},
        **{"positives": count, "known": count},
    },
    {**_estimates(*MEASURES), "effective_patients": _PATIENTS},
)


def labels_check(count_of_labels: int) -> Check:
    """``labels.json`` of a run with so many labels."""
    return list_of(_LABEL, count_of_labels)


_GROUP = record(
    {
        **{"name": text, "images": count, "patients": count},
        **dict.fromkeys(("macro", "micro"), record(dict.fromkeys(MEASURES, _ESTIMATE))),
        "labels": mapping_of(mapping_of(_ESTIMATE)),
    }
)
SUBGROUPS = list_of(
    record(
        {
            **{"attribute": text, "groups": list_of(_GROUP), "counted": list_of(text)},
            **{"too_small": list_of(text), "unknown": count},
            "gaps": mapping_of(record({"higher": text, "lower": text, "difference": _ESTIMATE})),
        }
    )
)
"""``subgroups.json``."""

_MAPS = ("hit_rate", "energy", "iou")
_SOURCES = ("map", "random", "centre")
SALIENCY = record(
    {
        **{"run": text, "recipe": text, "iou_threshold": number, "centre_sigma": number},
        "method": one_of("gradcam", "gradcam++", "occlusion"),
        "occlusion": optional(record({"cells": count, "patch": count})),
        **{"images": count, "boxes": count, "patients": optional(count), "flat_maps": count},
        "macro": record(dict.fromkeys(_SOURCES, record({}, _estimates(*_MAPS)))),
        "labels": list_of(
            record(
                {
                    **{"label": text, "counted": flag},
                    **dict.fromkeys(("images", "patients", "boxes", "flat"), count),
                    **dict.fromkeys(_SOURCES, record({}, _estimates(*_MAPS))),
                }
            )
        ),
        "bootstrap": record({}, {**_BOOTSTRAP, **_METHOD, "effective_patients": number}),
    },
)
"""``saliency.json``."""

LATENCY = record({"latency_seconds": number})
"""``latency.json``."""
