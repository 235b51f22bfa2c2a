"""Find the dataset that ``--data`` names, or that the current folder contains."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from cxrbench.data.tables import names_in
from cxrbench.errors import CxrbenchError, DataError, PluginError, error_text
from cxrbench.interfaces import Cohort, Dataset, Display, Examination
from cxrbench.parameters import absolute_dataset, build, changed, nearest, parse_pairs
from cxrbench.registry import Registry

FALLBACK = "phantom"

Answer = TypeVar("Answer")


def find_dataset(text: str | None, registry: Registry, here: Path) -> Dataset:
    """The dataset that ``text`` names: ``NAME:option=value,…`` or a path.

    Without a text, the folder ``here`` if it has the layout of a dataset, else ``phantom``.

    Raises
    ------
    DataError : there is no such path or name, or no dataset knows the layout.
    PluginError : the plugin of this name is broken, or failed to look at the path.
    """
    if text is None:
        return _recognise(here, registry)[0] or _named(FALLBACK, registry)
    path = Path(text).expanduser()
    name, colon, options = text.partition(":")
    known = registry.parts["dataset"]
    if name.lower() in known and (colon or not path.exists()):
        return _named(name.lower(), registry, options)
    if not path.exists():
        if any(plugin.error is not None and plugin.name == name for plugin in registry.plugins):
            registry.find(name, ("dataset",))  # raises the error of the broken plugin
        names = registry.names("dataset")
        raise DataError(
            f"--data {text}: there is no such file, folder or dataset",
            expected=f"a path, or one of {', '.join(names)}",
            found="nothing of this name",
            fix=nearest(name, names) or "check the path",
        )
    dataset, failures = _recognise(path, registry)
    if dataset is None and failures:
        raise PluginError(
            f"--data {text}: a plugin failed to examine it, and no other dataset has this layout",
            found="; ".join(failures),
            fix="name the dataset: --data NAME:path=…, see `cxrbench plugins list`",
        )
    if dataset is None:
        raise DataError(
            f"--data {text}: no dataset has this layout",
            expected="a table (.csv, .tsv); for nih: a folder with Ground_Truth.csv (or "
            "Data_Entry_2017*.csv) and the images in xray_images/, images/ or images_*/images/; "
            "for dicom: DICOM files at any depth and one .csv of labels in the folder itself",
            found=_listing(path),
            fix="name the dataset: --data NAME:path=…, see `cxrbench plugins list`",
        )
    return dataset


def recorded_dataset(text: object, registry: Registry, source: str) -> Dataset:
    """The dataset that a file of a run directory names, if opening it again only reads its folder.

    A run directory may come from somebody else. ``source`` names the file in errors.

    Raises
    ------
    DataError : there are no such data, or the text sets one of the dataset's ``user_options``, or a
        path outside the folder of the data.
    PluginError : the plugin of this name is broken.
    """
    if not isinstance(text, str):
        raise _not_reopened(source, "it names no data", repr(text))
    dataset = find_dataset(text, registry, Path.cwd())
    options = changed(absolute_dataset(dataset))
    for name in dataset.user_options:
        if name in options:
            raise _not_reopened(source, f"it sets {name}, which only a user may set", text)
    where = options.get("path")
    if where is None:
        return dataset
    path = Path(str(where))
    if not (path.is_dir() or path.is_file()):  # a device or a pipe may never end
        raise _not_reopened(source, "its data are no longer there", str(path))
    folder = path if path.is_dir() else path.parent
    for name, value in options.items():
        is_path = name in dataset.path_options
        texts = (value, *(() if is_path else names_in(value))) if isinstance(value, str) else ()
        if any(_leads_out(one, folder, is_path) for one in texts):
            raise _not_reopened(source, f"{name} lies outside the folder of the data", value)
    return dataset


def _leads_out(text: str, folder: Path, is_path: bool) -> bool:
    """Whether a value names a place outside the folder; what is no path is one if it exists."""
    try:
        place = folder / Path(text).expanduser()
        present = is_path or (len(place.parts) > 1 and os.path.lexists(place))
        return present and not place.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # no such user, a circle of links, no path at all
        return is_path


def _not_reopened(source: str, problem: str, value: str) -> DataError:
    return DataError(
        f"the data of {source} are not opened again: {problem}",
        expected="data that are still where they were, and options that only read their folder",
        found=value,
        fix="name the data with --data",
    )


def describe(dataset: Dataset, text: str | None) -> str:
    """One line for the start of the output: which data, and why these."""
    where = getattr(dataset, "path", "")
    line = f"data: {dataset.name}" + (f" at {where}" if where else "")
    if text is not None:
        return line
    if dataset.name == FALLBACK:
        return f"{line}, the built-in synthetic cohort (choose another with --data)"
    return f"{line} (the current folder; choose another with --data)"


def load_cohort(dataset: Dataset, display: Display, cache: Path) -> Cohort:
    """The dataset's cohort, checked against the contract of `Cohort`, its notes shown.

    Raises
    ------
    DataError : the dataset refuses what it found.
    PluginError : its plugin failed, or returned a broken cohort.
    """
    from cxrbench.data.cohort import validate
    from cxrbench.metrics.patients import UNKNOWN_PATIENTS

    cohort = _ask(dataset, lambda: dataset.load_showing(display, cache), "load")
    validate(cohort)
    for note in cohort.notes:
        display.say(f"  {note}")
    if not cohort.patients_known:
        display.say(f"  {UNKNOWN_PATIENTS}")
    return cohort


def examine(dataset: Dataset, display: Display, cache: Path) -> Examination:
    """What the dataset's ``examine`` returns, with a cohort that keeps its contract.

    Raises
    ------
    DataError : the dataset refuses what it found as a whole.
    PluginError : ``examine`` failed, or returned a broken cohort.
    """
    from cxrbench.data.cohort import validate

    examination = _ask(dataset, lambda: dataset.examine(display, cache), "examine")
    validate(examination.cohort)
    return examination


def _ask(dataset: Dataset, question: Callable[[], Answer], what: str) -> Answer:
    try:
        return question()
    except (CxrbenchError, OSError, MemoryError):
        raise
    except Exception as error:  # a plugin's own mistake, told as one
        raise PluginError(
            f"the dataset {dataset.name!r} failed to {what}",
            found=error_text(error),
            fix=f"report it to the plugin's author; call {what}() in Python to see where",
        ) from error


def _named(name: str, registry: Registry, options: str = "") -> Dataset:
    _, part = registry.find(name, ("dataset",))
    pairs = parse_pairs(options, name) if options else {}
    return cast("Dataset", build(part, pairs, name))


def _recognise(path: Path, registry: Registry) -> tuple[Dataset | None, list[str]]:
    """The first dataset that knows the layout, and the plugins that failed to look at it."""
    failures = []
    parts = [cast("type[Dataset]", registry.parts["dataset"][n]) for n in registry.names("dataset")]
    for part in sorted(parts, key=lambda part: part.general):
        try:
            dataset = part.recognise(path)
        except Exception as error:  # a stranger's code, which this command may not have asked for
            failures.append(f"{part.name}: {error_text(error)}")
            continue
        if dataset is not None:
            return dataset, failures
    return None, failures


def _listing(path: Path) -> str:
    if not path.is_dir():
        return "a file"
    names = sorted(entry.name for entry in path.iterdir())
    if not names:
        return "an empty folder"
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
