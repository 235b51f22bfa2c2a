"""Options of a run in a TOML file: read for ``--config``, written into every run directory."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cxrbench.data.datasets import recorded_dataset
from cxrbench.data.lists import read_lists
from cxrbench.errors import DataError, SettingsError
from cxrbench.options import check_options, options_of
from cxrbench.output.files import write_text
from cxrbench.registry import load_registry
from cxrbench.request import known_options
from cxrbench.runs.conditions import EXTERNAL
from cxrbench.runs.run import RUN_FILE, read_run_file
from cxrbench.settings import Settings

CONFIG_FILE = "settings.toml"

_HEAD = "# The options of this run. To repeat it: cxrbench run --config {path}\n\n"


def read_config(path: Path) -> dict[str, Any]:
    """The options in a TOML file, checked, with underscores in their names.

    Raises
    ------
    SettingsError : the file cannot be read, is no TOML, or has an option that cannot work.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"--config {path} cannot be read",
            expected="a TOML file of options, such as the settings.toml of a run directory",
            found=error.strerror or str(error),
            fix=_why_none(path),
        ) from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise SettingsError(
            f"--config {path} is not a TOML file",
            expected='lines such as epochs = 5 or weights = ["none"]',
            found=str(error),
        ) from error
    try:
        options = {name.replace("-", "_"): value for name, value in values.items()}
        return check_options(options, known_options())
    except SettingsError as error:
        raise SettingsError(
            f"--config {path}: {error.problem}",
            expected=error.expected,
            found=error.found,
            fix=error.fix,
        ) from None


def require_repeatable(
    path: Path, options: Mapping[str, Any], *, replaced: Collection[str] = ()
) -> None:
    """Raise if a file in a run directory has options that do more than repeat the run.

    A run directory may come from somebody else: it cannot choose where results are written, on
    which machines they are computed, or what a dataset writes. Data and a split that the user
    ``replaced`` are not looked at; any other forbidden option is an error, also where the user
    has set it.

    Raises
    ------
    SettingsError : the file has another option.
    DataError : the data or lists cannot be opened again without the user's word.
    """
    if not (path.parent / RUN_FILE).is_file():
        return
    allowed = {"recipes", "data", "seed", "calibration", "thresholds", *options_of(Settings)}
    others = sorted(options.keys() - allowed)
    if others:
        raise SettingsError(
            f"--config {path} has options that a run directory does not set",
            expected=f"only options that a run writes into its {CONFIG_FILE}",
            found=", ".join(others),
            fix="set these options on the command line, or copy the file to another folder",
        )
    if "data" in options and "data" not in replaced:
        recorded_dataset(options["data"], load_registry(), f"{path.parent.name}/{path.name}")
    if "split" not in replaced:
        _require_recorded_lists(path, str(options.get("split", "")))


def _require_recorded_lists(path: Path, split: str) -> None:
    """Raise unless the lists of a run's split have the content that the run recorded.

    Whoever wrote the run then knows the content already, so nothing of any other file is shown.
    """
    _, colon, folder = split.partition(":")
    if not colon:
        return
    recorded = read_run_file(path.parent).get("list_sha256")
    try:
        same = read_lists(Path(folder).expanduser()).sha256 == recorded
    except (DataError, RuntimeError):  # their messages show names, or there is no such user
        same = False
    if not same:
        raise DataError(
            f"the lists of {path.parent.name}/{path.name} are not opened again",
            expected="lists with the SHA-256 that the run recorded",
            found=f"{split}, where there are no such lists",
            fix=f"name the lists with --split {split.partition(':')[0]}:DIR",
        )


def _why_none(path: Path) -> str | None:
    """Why a run directory has no such file; None if the folder is none."""
    if path.name != CONFIG_FILE or not (path.parent / RUN_FILE).is_file():
        return None
    if read_run_file(path.parent).get("origin") == EXTERNAL:
        return (
            "its predictions were submitted, and no run of cxrbench repeats them: repeat the "
            "program that made them, then `cxrbench submit`"
        )
    return "the run directory is damaged: copy it again"


def write_config(path: Path, options: Mapping[str, Any]) -> None:
    """Write the options that repeat a run; None is left out."""
    import tomli_w

    values = {name: value for name, value in options.items() if value is not None}
    write_text(path, _HEAD.format(path=path.name) + tomli_w.dumps(values))
