"""New plugins: what is written, which names are refused, and that all of it works as it comes."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest
from conftest import environment, install

from cxrbench.errors import PluginError, SettingsError
from cxrbench.registry import HOOKS
from cxrbench.scaffold import render, write_plugin


@pytest.mark.parametrize("kind", HOOKS)
def test_the_files_of_a_package_are_written(registry, tmp_path, kind):
    written = write_plugin(kind, "new_part", registry, tmp_path / "made" / "here")
    found = {
        path.relative_to(written.folder).as_posix()
        for path in written.folder.rglob("*")
        if path.is_file()
    }
    assert found == set(written.files)
    assert found == {
        "pyproject.toml",
        "README.md",
        "cxrbench_new_part.py",
        "tests/test_new_part.py",
    }
    project = tomllib.loads((written.folder / "pyproject.toml").read_text())
    assert project["project"]["name"] == "cxrbench-new-part"
    assert project["project"]["entry-points"]["cxrbench"] == {"new_part": "cxrbench_new_part"}
    assert "new_part" in written.command


@pytest.mark.parametrize("kind", HOOKS)
def test_the_code_is_short_formatted_and_needs_public_names_alone(kind):
    texts = render(kind, "new_part")
    module = texts["cxrbench_new_part.py"]
    compile(module, "module", "exec")
    compile(texts["tests/test_new_part.py"], "test", "exec")
    assert len(module.splitlines()) <= 90
    assert "{{" not in "".join(texts.values())
    imported = [line for line in module.splitlines() if line.startswith(("from cx", "import cx"))]
    assert all(line.startswith("from cxrbench import ") for line in imported)
    for text in texts.values():
        assert text.endswith("\n")
        assert not any(line != line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("name", ["Big", "two words", "1st", "a-b", "class", "prior", "", "ä"])
def test_names_that_cannot_be_are_refused(registry, tmp_path, name):
    with pytest.raises(PluginError, match="cannot be called"):
        write_plugin("feature", name, registry, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["orb", "resnet", "concat", "phantom", "tinynet", "tiny_parts"])
def test_names_that_are_taken_are_refused(registry, tmp_path, name):
    with pytest.raises(PluginError, match="already") as error:
        write_plugin("fusion", name, registry, tmp_path / "new")
    assert error.value.fix
    assert not (tmp_path / "new").exists()


def test_nothing_is_overwritten(registry, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "README.md").write_text("mine")
    with pytest.raises(SettingsError, match="already exists"):
        write_plugin("feature", "fresh", registry, tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["README.md"]
    with pytest.raises(SettingsError, match="cannot write"):
        write_plugin("feature", "fresh", registry, tmp_path / "new" / "README.md" / "deeper")


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOOKS)
def test_its_own_tests_pass_as_it_comes(registry, tmp_path, kind):
    """Conformance, and a row on the board; installed as pip would, without its network."""
    folder = write_plugin(kind, "new_part", registry, tmp_path / "new").folder
    install(folder, "cxrbench-new-part", "cxrbench_new_part", plugin="new_part")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=folder, env=environment(folder), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
