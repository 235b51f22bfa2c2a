"""How to repeat the runs of a report: software, data, commands and settings as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.metadata import packages_distributions
from shlex import quote

from cxrbench.boards.figures.rows import row_names
from cxrbench.runs.conditions import Conditions
from cxrbench.runs.run import Run
from cxrbench.runs.selection import Seeds
from cxrbench.runs.settings_file import CONFIG_FILE, read_config


def commands(rows: Sequence[Seeds]) -> str:
    """The software, the data and a command for each run, then the settings of the rows."""
    conditions = [run.conditions for row in rows for run in row]
    versions = dict(sorted({item for one in conditions for item in one.versions.items()}))
    files = {one.weights: one.weights_sha256 for one in conditions if one.weights_sha256}
    lines = [
        _comment(f"cxrbench {', '.join(sorted({one.version for one in conditions}))}"),
        *(_comment(f"{name} {version}") for name, version in versions.items()),
        *(_comment(f"{name}: made the parts {parts}") for name, parts in _packages(conditions)),
        _comment(f"data: {conditions[0].dataset}, fingerprint {conditions[0].fingerprint}"),
        *(_comment(f"weights: {name}, SHA-256 {digest}") for name, digest in files.items()),
        "",
    ]
    for name, row in zip(row_names(rows), rows, strict=True):
        lines += [_comment(name), *map(_command, row), ""]
    for text, names in _settings(rows).items():
        lines += [_comment(f"Settings of {', '.join(names)}"), text, ""]
    return "\n".join(lines).rstrip()


def _comment(text: str) -> str:
    """One line that a shell ignores: a run directory from somebody else may hold other lines."""
    return f"# {' '.join(text.split())}"


def _packages(conditions: Sequence[Conditions]) -> Iterator[tuple[str, str]]:
    """Each package of a plugin with its parts."""
    classes = {str(part.get("class")) for one in conditions for part in one.parts}
    by_module: dict[str, set[str]] = {}
    for module, _, name in (text.rpartition(".") for text in classes):
        by_module.setdefault(module.partition(".")[0], set()).add(name)
    known = packages_distributions()
    for module, names in sorted(by_module.items()):
        if module != "cxrbench":
            yield ", ".join(known.get(module, [module])), ", ".join(sorted(names))


def _command(run: Run) -> str:
    submitted = run.conditions.submitted
    if submitted is not None:
        return _comment(f"submitted: {submitted.get('table')}, SHA-256 {submitted.get('sha256')}")
    return f"cxrbench run --config {quote(str(run.path / CONFIG_FILE))}"


def _settings(rows: Sequence[Seeds]) -> dict[str, list[str]]:
    """The settings of the rows that have a file of them, with the rows that share them."""
    texts: dict[str, list[str]] = {}
    for name, row in zip(row_names(rows), rows, strict=True):
        if CONFIG_FILE in row[0].files:
            values = read_config(row[0].require_unchanged(CONFIG_FILE))
            lines = [
                f"{key} = {json.dumps(value)}"
                for key, value in values.items()
                if key not in ("recipes", "seed", "data", "weights")
            ]
            texts.setdefault("\n".join(lines), []).append(name)
    return texts
