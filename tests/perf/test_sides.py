"""What a text names as a side: revisions, folders, environments; and what cannot be one."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack

import pytest

from cxrbench.errors import SettingsError
from cxrbench.perf.sides import find_revision, find_side

# A build that needs nothing but itself, and fails where it is told to.
BACKEND = """
import pathlib, zipfile
INFO = {
    "METADATA": "Metadata-Version: 2.1\\nName: little\\nVersion: 1.0\\n",
    "WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "RECORD": "",
}
def build_wheel(folder, config_settings=None, metadata_directory=None):
    if pathlib.Path("broken").exists():
        raise SystemExit("the compiler is not in the mood")
    name = "little-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("little.py", pathlib.Path("little.py").read_text())
        for file, text in INFO.items():
            wheel.writestr(f"little-1.0.dist-info/{file}", text)
    return name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "little"
version = "1.0"
"""


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Three commits: value 1, value 2, and one that does not build."""
    folder = tmp_path_factory.mktemp("little")
    git(folder, "init", "--initial-branch", "main")
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(PROJECT)
    for value in (1, 2):
        (folder / "little.py").write_text(f"VALUE = {value}\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-m", f"Value {value}")
    (folder / "broken").write_text("yes")
    git(folder, "add", "-A")
    git(folder, "commit", "-m", "Break the build")
    return folder


@pytest.fixture
def find(repository, tmp_path):
    with ExitStack() as stack:
        yield lambda text, where=repository: find_side(text, where, tmp_path / "cache", stack)


def value_of(side):
    code = "import little; print(little.VALUE)"
    environment = {"PYTHONPATH": str(side.environment.packages)}
    command = [side.environment.python, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip()


def test_a_revision_is_built_as_it_was_committed_and_once(find, tmp_path):
    one, two = find("HEAD~2"), find("HEAD~1")
    assert (value_of(one), value_of(two)) == ("1", "2")
    assert "Value 1" in one.description
    assert len(one.commit) == 40
    builds = tmp_path / "cache" / "perf" / "builds"
    before = {path: path.stat().st_mtime_ns for path in builds.iterdir() if path.is_dir()}
    assert find("HEAD~2").environment.packages == one.environment.packages
    assert {p: p.stat().st_mtime_ns for p in builds.iterdir() if p.is_dir()} == before


def test_a_revision_that_does_not_build_says_why_and_leaves_nothing(find, tmp_path):
    with pytest.raises(SettingsError, match="HEAD does not build") as told:
        find("HEAD")
    assert "the compiler is not in the mood" in told.value.found
    assert not [p for p in (tmp_path / "cache" / "perf" / "builds").iterdir() if p.is_dir()]


def test_a_folder_of_source_is_built_with_its_changes(find, repository, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("backend.py", "pyproject.toml"):
        (copy / name).write_text((repository / name).read_text())
    (copy / "little.py").write_text("VALUE = 'changed'\n")
    side = find(str(copy))
    assert value_of(side) == "changed"
    assert side.description == "folder copy"


def test_an_environment_is_named_by_its_python_or_its_folder(find, tmp_path):
    assert find(sys.executable).environment.python == sys.executable
    binaries = tmp_path / "venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    side = find(str(tmp_path / "venv"))
    assert side.environment.python == str(binaries / "python")
    assert side.environment.packages is None


def test_a_revision_that_does_not_exist_names_the_branches(find):
    with pytest.raises(SettingsError, match="no revision 'nowhere'") as told:
        find("nowhere")
    assert "main" in told.value.found


def test_outside_of_a_repository(find, tmp_path):
    with pytest.raises(SettingsError, match="in no git repository"):
        find("HEAD", tmp_path)


def test_a_folder_without_anything_to_run(find, tmp_path):
    with pytest.raises(SettingsError, match="nothing can be run in the folder"):
        find(str(tmp_path))


def test_changes_that_are_not_committed_are_not_forgotten(repository, tmp_path):
    clone = tmp_path / "clone"
    git(tmp_path, "clone", str(repository), str(clone))
    git(clone, "checkout", "HEAD~1")
    with ExitStack() as stack:
        assert not find_side("HEAD", clone, tmp_path / "cache", stack).note
        (clone / "little.py").write_text("VALUE = 3\n")
        assert "name . to measure them" in find_side("HEAD", clone, tmp_path / "cache", stack).note
        assert not find_side("HEAD~1", clone, tmp_path / "cache", stack).note


def test_a_tag_or_a_short_hash_is_a_revision_too(repository):
    commit = find_revision("HEAD~1", repository).commit
    assert find_revision(commit[:8], repository).commit == commit


def test_a_checkout_of_somebody_else_is_named_with_the_remedy_of_git(
    repository, tmp_path, monkeypatch
):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("HOME", str(tmp_path))  # without the user's own safe.directory
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    with pytest.raises(SettingsError) as raised:
        find_revision("HEAD", repository)
    message = str(raised.value)
    assert "dubious ownership in repository" in message
    assert f"git config --global --add safe.directory {repository}" in message
    assert "is in no git repository" not in message
