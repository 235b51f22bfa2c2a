"""The package stays small enough to find one's way: names, files and folders."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import cxrbench

PACKAGE = Path(cxrbench.__file__).parent
FILES = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
MODULES = [path for path in FILES if path.suffix == ".py"]


def test_a_class_name_means_one_thing_in_the_whole_package():
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in MODULES)
    classes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    counts = Counter(node.name for node in classes)
    assert [name for name, count in counts.items() if count > 1] == []


def test_no_module_is_longer_than_350_lines():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 350} == {}


def test_there_are_at_most_275_modules():
    assert len(MODULES) <= 275


def test_the_root_has_at_most_12_modules_and_17_folders():
    assert len([path for path in MODULES if path.parent == PACKAGE]) <= 12
    folders = {path.relative_to(PACKAGE).parts[0] for path in FILES if path.parent != PACKAGE}
    assert len(folders) <= 17
