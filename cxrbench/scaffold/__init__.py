"""Write the package of a new plugin from templates."""

from __future__ import annotations

import keyword
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cxrbench import __version__
from cxrbench.errors import PluginError, SettingsError
from cxrbench.registry import HOOKS, Registry

_NAME = re.compile(r"[a-z][a-z0-9_]*")

# The first run: the new part, and something to compare it with.
_COMMANDS = {
    "backbone": "cxrbench run {name} orb --data phantom:patients=200 --image-size 64",
    "feature": "cxrbench run {name} orb orb+{name} --data phantom:patients=200",
    "fusion": "cxrbench run orb+sift orb+sift@{name} --data phantom:patients=200",
    "dataset": "cxrbench run orb --data {name}",
}


@dataclass(frozen=True)
class NewPlugin:
    """A new package: its folder, its files, and the command of its first run."""

    folder: Path
    files: tuple[str, ...]
    command: str


def write_plugin(kind: str, name: str, registry: Registry, output: Path | None = None) -> NewPlugin:
    """Write a package with a working part.

    Parameters
    ----------
    kind : ``"backbone"``, ``"feature"``, ``"fusion"`` or ``"dataset"``.
    name : of the part, and in the names of the package and its module.
    registry : names in it are refused.
    output : the folder to write, which must not exist; by default ``cxrbench-NAME``.

    Raises
    ------
    PluginError : the name is not allowed, or exists.
    SettingsError : the folder exists, or cannot be written.
    """
    _check_name(kind, name, registry)
    folder = Path(f"cxrbench-{name.replace('_', '-')}") if output is None else output
    texts = render(kind, name)
    try:
        _write_whole(folder, texts)
    except OSError as error:
        raise SettingsError(
            f"cannot write the plugin to {folder}",
            found=os.strerror(error.errno) if error.errno else str(error),
            fix="choose another folder with --output",
        ) from error
    return NewPlugin(folder, tuple(texts), _COMMANDS[kind].format(name=name))


def _write_whole(folder: Path, texts: Mapping[str, str]) -> None:
    """Write all files or none: the folder takes its name when they are all there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
        whole = Path(place, folder.name)
        for file, text in texts.items():
            (whole / file).parent.mkdir(parents=True, exist_ok=True)
            (whole / file).write_text(text, encoding="utf-8")
        if os.path.lexists(folder):
            raise SettingsError(
                f"{folder} already exists and is not overwritten",
                fix="choose another folder with --output, or remove it",
            )
        whole.rename(folder)


def _check_name(kind: str, name: str, registry: Registry) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or name == "prior":
        raise PluginError(
            f"a part cannot be called {name!r}",
            expected="lower-case letters, digits and _, beginning with a letter; not 'prior' or a "
            "keyword of Python",
            found=name,
        )
    taken = {
        called: f"the {other} {part.name!r}"
        for other in HOOKS
        for called, part in registry.parts[other].items()
    }
    taken |= {plugin.name: f"the plugin {plugin.name!r}" for plugin in registry.plugins}
    if name in taken:
        raise PluginError(
            f"{taken[name]} already exists",
            expected=f"a new name for the {kind}",
            found=name,
            fix="choose another name; `cxrbench plugins list` shows the names in use",
        )


def render(kind: str, name: str) -> dict[str, str]:
    """The texts of a new plugin's files, by their paths in its folder."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("cxrbench.scaffold"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,
    )
    major, minor = __version__.split(".")[:2]
    known = {
        "kind": kind,
        "name": name,
        "package": f"cxrbench-{name.replace('_', '-')}",
        "module": f"cxrbench_{name}",
        "class_name": "".join(word.capitalize() for word in name.split("_")),
        "command": _COMMANDS[kind].format(name=name),
        "oldest": f"{major}.{minor}",
        "next": f"{major}.{int(minor) + 1}",
    }
    sources = {
        "pyproject.toml": "pyproject.toml.jinja",
        "README.md": "README.md.jinja",
        f"cxrbench_{name}.py": f"{kind}.py.jinja",
        f"tests/test_{name}.py": "test_plugin.py.jinja",
    }
    return {file: templates.get_template(source).render(known) for file, source in sources.items()}
