"""The structure of the package in figures: size, files, names, direction of imports, files at work.

``python benchmarks/structure.py`` prints the figures of the package that it imports, as JSON.
``--executed`` also runs ``cxrbench run resnet+orb --protocol probe`` on a small drawn cohort and
counts the files of the package in which a function was called; ``--package FOLDER`` names the
package of another checkout, for all figures but that one and the seconds of ``--help``.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
RECIPE = ("run", "resnet+orb", "--protocol", "probe", "--weights", "none", "--epochs", "2")
DATA = ("--data", "phantom:patients=80")
PARTICIPLES = frozenset(
    {"asked", "chosen", "done", "drawn", "found", "given", "held", "kept", "known", "made"}
    | {"needed", "read", "said", "shown", "spelt", "taken", "told", "wanted", "written"}
)
"""Names that do not say what a thing is."""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", type=Path, default=ROOT / "cxrbench")
    parser.add_argument("--executed", action="store_true")
    given = parser.parse_args()
    figures = sizes(given.package)
    if given.package == ROOT / "cxrbench":
        figures |= arrows()
        figures["help_seconds"] = help_seconds()
    if given.executed:
        figures["files_executed"] = len(executed_files())
    print(json.dumps(figures, indent=2))


def sizes(package: Path) -> dict[str, Any]:
    """Lines (with comments, docstrings and blank lines), files, folders and repeated names."""
    files = sorted(package.rglob("*.py"))
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    longest = max(files, key=lambda file: lines[file])
    classes = Counter(
        node.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    folders = {file.parent for file in files} - {package}
    names = [name for file in files for name in bound_names(file)]
    participles = sum(name.lstrip("_") in PARTICIPLES for name in names)
    return {
        "lines": sum(lines.values()),
        "python_files": len(files),
        "files": sum(
            file.is_file() and "__pycache__" not in file.parts for file in package.rglob("*")
        ),
        "root_modules": sum(file.parent == package for file in files),
        "top_folders": sum(folder.parent == package for folder in folders),
        "folders": len(folders),
        "longest_file": [str(longest.relative_to(package)), lines[longest]],
        "files_over_350_lines": sum(count > 350 for count in lines.values()),
        "classes": sum(classes.values()),
        "class_names_defined_twice": sorted(name for name, count in classes.items() if count > 1),
        "participles_percent_of_names": round(100 * participles / len(names), 2),
    }


def bound_names(file: Path) -> list[str]:
    """The names of all variables, parameters, functions and classes that a file binds."""
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        elif isinstance(node, ast.arg):
            names.append(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
    return names


def arrows() -> dict[str, int]:
    """Imports between the folders (and root modules) of the package, and those that run upwards."""
    import grimp

    layers = contract()["layers"]
    floor = {
        name.strip(): number for number, layer in enumerate(layers) for name in layer.split("|")
    }
    graph = grimp.build_graph("cxrbench")
    between = upwards = 0
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            rooms = [module.split(".")[1] for module in (importer, imported) if "." in module]
            if len(rooms) < 2 or rooms[0] == rooms[1]:
                continue
            between += 1
            upwards += floor[rooms[0]] >= floor[rooms[1]]
    return {"imports_between_folders": between, "imports_against_the_contract": upwards}


def contract() -> dict[str, Any]:
    """The layers contract of ``pyproject.toml``."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return next(
        contract
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )


def help_seconds(times: int = 7) -> float:
    """The median wall time of ``cxrbench --help``."""
    seconds = []
    for _ in range(times):
        since = time.perf_counter()
        command = [sys.executable, "-c", "from cxrbench.cli import main; main()", "--help"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - since)
    return round(statistics.median(seconds), 3)


def executed_files() -> set[str]:
    """The files of cxrbench in which a function was called during a small run."""
    import cxrbench
    from cxrbench.cli import main as command_line

    package = str(Path(cxrbench.__file__).parent)
    files = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        # Not modules and class bodies, which run when they are imported: they are not optimised.
        if code.co_flags & inspect.CO_OPTIMIZED and code.co_filename.startswith(package):
            files.add(code.co_filename)

    with tempfile.TemporaryDirectory() as folder:
        places = ("--runs", f"{folder}/runs", "--cache", f"{folder}/cache")
        sys.argv = ["cxrbench", *RECIPE, *DATA, *places, "--json"]
        output = sys.stdout
        sys.stdout = sys.stderr
        threading.settrace(note)
        sys.settrace(note)
        try:
            command_line()
        except SystemExit as end:
            if end.code:
                raise
        finally:
            sys.settrace(None)
            threading.settrace(None)
            sys.stdout = output
    return files


if __name__ == "__main__":
    main()
