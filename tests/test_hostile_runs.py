"""Run directories from somebody else: they are read, and nothing that they say is done."""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from pathlib import Path

import pytest
import tomli_w
from dicom_files import SECRET

from cxrbench.errors import DataError

SCRIPT = "# ~/.profile\nexport PATH=/usr/bin\n"


def rewrite(run: Path, name: str, content: bytes) -> None:
    """Replace a file of a run, and its SHA-256 with it."""
    (run / name).write_bytes(content)
    about = json.loads((run / "run.json").read_text())
    about["files"][name] = hashlib.sha256(content).hexdigest()
    (run / "run.json").write_text(json.dumps(about))


def with_settings(run: Path, **options: object) -> Path:
    """The same run with other options in its settings.toml."""
    settings = tomllib.loads((run / "settings.toml").read_text())
    rewrite(run, "settings.toml", tomli_w.dumps(settings | options).encode())
    return run


@pytest.fixture
def run_of_another(grid, tmp_path) -> Path:
    """A copy of a complete run with a backbone and keypoints."""
    source = grid.run_of("tinynet+grid+rows:words=8")
    return Path(shutil.copytree(source, tmp_path / "runs" / source.name))


@pytest.fixture
def archive(tmp_path, monkeypatch) -> Path:
    """Two DICOM files, one of whose names holds a command, and a table."""
    pytest.importorskip("pydicom", reason='needs the extra "dicom"')
    from dicom_files import write

    monkeypatch.setenv("CXRBENCH_DICOM_KEY", SECRET)
    root = tmp_path / "archive"
    names = ("a.dcm", "$(touch owned).dcm")
    for number, name in enumerate(names):
        write(root / name, PatientID=str(number))
    (root / "labels.csv").write_text("image,Mass\n" + "".join(f"{name},1\n" for name in names))
    return root


def reopening(run: Path, folder: Path) -> dict[str, tuple[object, ...]]:
    """The commands that open the data of a run again."""
    places = ("--runs", run.parent, "--cache", folder / "cache")
    return {
        "report": ("report", run, *places, "--output", folder / "report.html"),
        "localise": ("localise", run, *places),
        "figures": ("figures", run, *places, "--only", "keypoints", "--output", folder / "f"),
        "run": ("run", "--config", run / "settings.toml", *places),
        "prepare": ("data", "prepare", "--config", run / "settings.toml", *places[2:]),
    }


@pytest.mark.parametrize("command", ["report", "localise", "figures", "run", "prepare"])
def test_a_run_overwrites_no_file(cli, run_of_another, archive, tmp_path, command):
    victim = tmp_path / ".profile"
    victim.write_text(SCRIPT)
    with_settings(run_of_another, data=f"dicom:path={archive},crosswalk={victim}")
    said = cli(*reopening(run_of_another, tmp_path)[command])
    assert victim.read_text() == SCRIPT
    assert "it sets crosswalk, which only a user may set" in said.err
    assert said.code == (0 if command == "report" else 2), said.err


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("dicom:path={archive},key={victim}", "it sets key"),
        ("dicom:path={archive},table={victim}", "table lies outside the folder"),
        ("csv:path={archive}/labels.csv,images=..", "images lies outside the folder"),
        ("csv:path={archive}/labels.csv,also={victim}", "also lies outside the folder"),
        ("csv:path={archive}/labels.csv,also=labels.csv+{victim}", "also lies outside the folder"),
        ("csv:path={archive}/labels.csv,also=x+ ../victim", "also lies outside the folder"),
        ("csv:path={archive}/labels.csv,images={archive}/out", "images lies outside the folder"),
        ("csv:path=/dev/zero", "no longer there"),
        ("/dev/zero", "no dataset has this layout"),
        ("nih:path={victim}/none", "no longer there"),
        ("phantom:patients=30", "is not the test data"),
        (7, "data"),
    ],
)
def test_a_run_can_only_name_data_to_read(cli, run_of_another, archive, tmp_path, data, reason):
    victim = tmp_path / "victim"
    victim.write_text(SCRIPT)
    (archive / "out").symlink_to(tmp_path)
    text = data.format(archive=archive, victim=victim) if isinstance(data, str) else data
    try:
        with_settings(run_of_another, data=text)
        said = cli(*reopening(run_of_another, tmp_path)["localise"])
    finally:
        (archive / "out").unlink()
    assert said.code == 2
    assert reason in said.err
    assert "--data" in said.err
    assert "Traceback" not in said.err
    assert victim.read_text() == SCRIPT


@pytest.mark.parametrize("variable", ["set", "not set"])
@pytest.mark.parametrize(
    "options", [{"runs": "elsewhere"}, {"cache": "elsewhere"}, {"executor": "ray"}]
)
def test_the_settings_of_a_run_choose_no_place(
    cli, run_of_another, tmp_path, monkeypatch, options, variable
):
    if variable == "set":
        monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / "cache"))
    else:
        monkeypatch.delenv("CXRBENCH_CACHE", raising=False)
    with_settings(run_of_another, **options)
    said = cli("run", "--config", run_of_another / "settings.toml", "--epochs", 1)
    assert said.code == 2
    assert f"got: {next(iter(options))}" in " ".join(said.err.split())
    copy = Path(shutil.copy(run_of_another / "settings.toml", tmp_path / "mine.toml"))
    from cxrbench.runs.settings_file import read_config, require_repeatable

    require_repeatable(copy, read_config(copy))  # the user's own file may


def test_the_user_may_name_the_data_of_a_run(cli, run_of_another, grid, tmp_path):
    with_settings(run_of_another, data="dicom:crosswalk=x")
    report = (*reopening(run_of_another, tmp_path)["report"], "--data", "drawn")
    said = cli(*report)
    assert (said.code, "no single images" in said.err) == (0, False), said.err


def test_options_of_the_user_alone_are_not_recorded(archive, tmp_path):
    from cxrbench.builtin.dicom import DICOM
    from cxrbench.parameters import data_text

    dataset = DICOM(path=str(archive), key="key", crosswalk="c.csv", unknown="accept")
    assert data_text(dataset) == f"dicom:path={archive},unknown=accept"


@pytest.mark.parametrize("content", [SCRIPT, "", "id,file\n", None])
def test_only_a_crosswalk_is_replaced_by_a_crosswalk(archive, tmp_path, content):
    from cxrbench.builtin.dicom import DICOM
    from cxrbench.errors import DataError

    path, other = tmp_path / "crosswalk.csv", tmp_path / "other"
    dataset = DICOM(path=str(archive), crosswalk=str(path))
    dataset.load()
    whole = path.read_text()
    if content is None:
        path.rename(other)
        path.symlink_to(other)
    else:
        path.write_text(content)
    with pytest.raises(DataError, match="is not a crosswalk, so it is not replaced"):
        dataset.load()
    assert path.read_text() == (whole if content is None else content)
    path.unlink()
    dataset.load()
    dataset.load()
    assert path.read_text() == whole


@pytest.mark.parametrize("kind", ["lists", "official"])
def test_lists_of_a_run_are_read_only_with_the_content_that_it_recorded(
    cli, run_of_another, tmp_path, kind
):
    """Otherwise an error about unknown images would show what a file of the user contains."""
    folder = tmp_path / "private"
    folder.mkdir()
    (folder / "train.txt").write_text("password-1\n")
    (folder / "test.txt").write_text("password-2\npassword-2\n")
    with_settings(run_of_another, split=f"{kind}:{folder}")
    run = reopening(run_of_another, tmp_path)["run"]

    said = cli(*run)

    assert said.code == 2
    assert "are not opened again" in said.err
    assert f"--split {kind}:DIR" in said.err
    assert "password" not in said.err + said.out
    said = cli(*run, "--split", f"lists:{folder}")  # the user may
    assert "test.txt names 1 images more than once (password-2)" in " ".join(said.err.split())


def test_lists_that_a_run_recorded_are_opened_again(run_of_another, tmp_path):
    from cxrbench.data.lists import read_lists
    from cxrbench.runs.settings_file import read_config, require_repeatable

    folder = tmp_path / "lists"
    folder.mkdir()
    for part in ("train", "test"):
        (folder / f"{part}.txt").write_text(f"{part}\n")
    path = with_settings(run_of_another, split=f"lists:{folder}") / "settings.toml"
    about = json.loads((run_of_another / "run.json").read_text())
    about["list_sha256"] = read_lists(folder).sha256
    (run_of_another / "run.json").write_text(json.dumps(about))
    require_repeatable(path, read_config(path))

    (folder / "test.txt").write_text("other\n")
    with pytest.raises(DataError, match="not opened again"):
        require_repeatable(path, read_config(path))
    require_repeatable(path, read_config(path), replaced={"split"})
