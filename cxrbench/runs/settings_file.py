"""Options of a run in a TOML file: read for ``--config``, written into every run directory."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from cxrbench.errors import SettingsError
from cxrbench.experiment.plans import Plan
from cxrbench.interfaces import Dataset
from cxrbench.parameters import data_text, nearest
from cxrbench.settings import Settings, split_weights

CONFIG_FILE = "settings.toml"

_HEAD = "# What this run was made with. To repeat it: cxrbench run --config {path}\n\n"
# What `cxrbench.benchmark.run` takes besides the settings, and as what.
_REQUEST: Mapping[str, tuple[type, ...]] = {
    "recipes": (str, list),
    "data": (str,),
    "runs": (str,),
    "cache": (str,),
    "threads": (int,),
    "seed": (int,),
    "seeds": (int,),
    "force": (bool,),
    "ablation": (bool,),
    "executor": (str,),
    "ray_address": (str,),
    "saliency": (bool,),
    "latency": (bool,),
    "calibration": (str,),
    "thresholds": (str,),
}


def read_config(path: Path) -> dict[str, Any]:
    """The options in a TOML file, with underscores in their names.

    The values of settings are checked where those of the command line are.

    Raises
    ------
    SettingsError : the file cannot be read, is no TOML, or has an option that there is not.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"--config {path} cannot be read",
            expected="a TOML file of options, such as the settings.toml of a run directory",
            found=error.strerror or str(error),
        ) from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise SettingsError(
            f"--config {path} is no TOML file",
            expected='lines such as epochs = 5 or weights = ["none"]',
            found=str(error),
        ) from error
    options = {name.replace("-", "_"): value for name, value in told.items()}
    known = {*_REQUEST, *(field.name for field in fields(Settings))}
    for name, value in options.items():
        if name not in known:
            raise SettingsError(
                f"--config {path}: there is no option {name!r}",
                expected=", ".join(sorted(known)),
                found=repr(name),
                fix=nearest(name, known) or None,
            )
        kinds = _REQUEST.get(name)
        if kinds and (type(value) not in kinds or not _all_text(value)):
            raise SettingsError(
                f"--config {path}: {name} cannot be {value!r}",
                expected=" or ".join(_WORDS[kind] for kind in kinds),
                found=repr(value),
            )
    return options


_WORDS: Mapping[type, str] = {
    str: "text",
    list: "a list of texts",
    int: "a whole number",
    bool: "true or false",
}


def _all_text(value: Any) -> bool:
    return not isinstance(value, list) or all(isinstance(item, str) for item in value)


def write_config(
    path: Path, plan: Plan, seed: int, dataset: Dataset, scoring: Mapping[str, str]
) -> None:
    """Write what repeats one run, ``auto`` replaced by what it came to."""
    import tomli_w

    settings = absolute_plan(plan).settings.as_dict()
    told = {
        "recipes": [plan.recipe.text],
        "data": data_text(dataset),
        "seed": seed,
        **scoring,
        **{name: value for name, value in settings.items() if value is not None},
    }
    text = _HEAD.format(path=path.name) + tomli_w.dumps(told)
    path.write_text(text, encoding="utf-8")


def absolute_plan(plan: Plan) -> Plan:
    """The same plan, with weights that are found from any folder."""
    weights = tuple(map(_absolute, plan.settings.weights))
    return replace(plan, settings=replace(plan.settings, weights=weights))


def _absolute(text: str) -> str:
    backbone, value = split_weights(text)
    if value not in ("imagenet", "none"):
        value = str(Path(value).expanduser().absolute())
    return value if backbone is None else f"{backbone}={value}"
