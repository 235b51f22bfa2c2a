"""A cohort from a mirror to a folder that ``nih`` reads; again, it verifies; nothing is half."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from itertools import count
from pathlib import Path
from pkgutil import resolve_name

import pytest
from scripted_server import Answer, serve
from small_cohort import CONTENT, STEMS, SmallCohort

from cxrbench.builtin.nih import NIH
from cxrbench.data.download.download import DownloadOptions, download, look
from cxrbench.errors import DownloadError


@pytest.fixture
def mirror():
    with serve(CONTENT) as server:
        yield server


@pytest.fixture
def bring(mirror, tmp_path, recorder):
    def run(**options) -> bool:
        chosen = DownloadOptions(base_url=mirror.url + "/", pause=lambda _: None, **options)
        return download(SmallCohort(), tmp_path / "cohort", chosen, recorder)

    return run


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


WHOLE = {
    "download.json",
    "Data_Entry_2017_v2020.csv",
    "test_list.txt",
    *(f"images_001/images/{stem}.png" for stem in STEMS[:3]),
    *(f"images_002/images/{stem}.png" for stem in STEMS[3:]),
}


def explained(call, *words: str, **options) -> None:
    with pytest.raises(DownloadError) as error:
        call(**options)
    for word in words:
        assert word in str(error.value)


def test_a_folder_is_filled_and_nih_reads_it(bring, tmp_path):
    assert bring()
    folder = tmp_path / "cohort"
    assert files(folder) - {".downloads.lock"} == WHOLE

    dataset = NIH.recognise(folder)
    assert dataset is not None
    cohort = dataset.load()
    assert cohort.image_ids == STEMS
    assert cohort.excluded == cohort.notes == ()
    told = json.loads((folder / "download.json").read_text())["files"]
    for name, data in CONTENT.items():
        assert told[name]["sha256"] == hashlib.sha256(data).hexdigest()
        assert told[name]["size"] == len(data)


def test_the_same_again_asks_for_nothing_and_reads_no_archive(bring, mirror, tmp_path):
    bring()
    asked = len(mirror.seen)

    assert not bring()
    assert len(mirror.seen) == asked == len(CONTENT)
    assert all(state.there for state in look(SmallCohort(), tmp_path / "cohort", None))


def test_archives_can_be_kept(bring, tmp_path):
    bring(keep_archives=True)
    kept = tmp_path / "cohort" / "downloads"
    assert {path.name for path in kept.iterdir()} == {"images_001.tar.gz", "images_002.tar.gz"}

    assert not bring()
    assert len(list(kept.iterdir())) == 2

    shutil.rmtree(tmp_path / "cohort" / "images_001")
    assert bring()
    assert not (kept / "images_001.tar.gz").exists()


def test_the_table_has_its_place_only_when_all_images_are_there(bring, mirror, tmp_path):
    mirror.script = [Answer()] * 3 + [Answer(drop_at=50_000), Answer(status=404)]

    explained(bring, "images_002.tar.gz cannot be fetched", "404")
    folder = tmp_path / "cohort"
    assert (folder / "images_001" / "images").is_dir()
    assert not (folder / "images_002").exists()
    assert NIH.recognise(folder) is None

    before = len(mirror.seen)
    assert bring()
    assert [path for path, _ in mirror.seen[before:]] == ["/images_002.tar.gz"]
    assert mirror.ranges[-1] is not None
    assert len(NIH(path=str(folder)).load()) == len(STEMS)


def test_wrong_addresses_show_before_anything_large_is_fetched(bring, mirror):
    del mirror.files["test_list.txt"]
    explained(bring, "test_list.txt", "404")
    assert not any("tar.gz" in path for path, _ in mirror.seen)


@pytest.mark.parametrize(
    ("step", "times"),
    [("download.unpack", 2), ("download.add_to_record", 4), ("download.os.replace", 12)],
)
def test_a_kill_before_any_step_leaves_nothing_half(bring, tmp_path, monkeypatch, step, times):
    class Killed(BaseException):
        pass

    where = f"cxrbench.data.download.{step}"
    step_itself = resolve_name(where)
    folder = tmp_path / "cohort"
    for kill_at in range(times):
        shutil.rmtree(folder, ignore_errors=True)
        numbers = count()

        def killed(*args, _numbers=numbers, _kill_at=kill_at, **kwargs):
            if next(_numbers) == _kill_at:
                raise Killed
            return step_itself(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(where, killed)
            with pytest.raises(Killed):
                bring()
        # Whatever has its final name is whole: else this would be an error.
        assert not all(state.there for state in look(SmallCohort(), folder, None))
        bring()
        assert files(folder) >= WHOLE
        assert len(NIH(path=str(folder)).load()) == len(STEMS)


def test_what_is_missing_later_is_fetched_again(bring, mirror, tmp_path):
    bring()
    shutil.rmtree(tmp_path / "cohort" / "images_001")
    (tmp_path / "cohort" / "test_list.txt").unlink()
    before = len(mirror.seen)

    assert bring()
    assert sorted(path for path, _ in mirror.seen[before:]) == [
        "/images_001.tar.gz",
        "/test_list.txt",
    ]


def test_images_that_were_lost_or_cut_are_found(bring, tmp_path):
    bring()
    image = tmp_path / "cohort" / "images_002" / "images" / f"{STEMS[4]}.png"
    image.write_bytes(image.read_bytes()[:-1])
    explained(bring, "images_002 differs from the downloaded files", "5 files", "move or delete it")
    image.unlink()
    explained(bring, "4 files")


def test_a_changed_table_is_found_and_left_alone(bring, tmp_path):
    bring()
    table = tmp_path / "cohort" / "Data_Entry_2017_v2020.csv"
    table.write_text("mine")
    explained(bring, "is not the published file", "md5:", "move or delete it")
    assert table.read_text() == "mine"


def test_a_touched_table_is_read_again_and_accepted(bring, tmp_path):
    bring()
    os.utime(tmp_path / "cohort" / "test_list.txt", (0, 0))
    assert not bring()


def test_what_a_user_had_already_is_used_if_it_is_right(bring, mirror, tmp_path):
    bring()
    (tmp_path / "cohort" / "download.json").unlink()
    before = len(mirror.seen)
    assert not bring()
    assert len(mirror.seen) == before

    (tmp_path / "cohort" / "images_001" / "images" / "mine.png").touch()
    explained(bring, "images_001 differs from the downloaded files", "3 files", "4 files")


@pytest.mark.parametrize("name", ["images_001", "test_list.txt"])
def test_something_else_of_that_name_is_explained(bring, tmp_path, name):
    place = tmp_path / "cohort" / name
    place.parent.mkdir()
    place.touch() if name == "images_001" else place.mkdir()
    explained(bring, f"{name} ")


def test_room_for_archives_and_images_is_asked_for_first(bring, mirror, tmp_path, monkeypatch):
    sizes = {name: len(data) for name, data in CONTENT.items()}
    needed = sum(sizes.values()) + sizes["images_002.tar.gz"]
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    explained(bring, "not enough room", "--into")
    assert mirror.seen == []

    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed))
    explained(bring, "leave out --keep-archives", keep_archives=True)
    assert bring()


def test_a_disk_that_fills_up_is_explained(bring, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cxrbench.data.download.transfer._copy", full)
    explained(bring, "not enough room", "No space left on device")


def test_a_folder_that_cannot_be_used_is_explained(mirror, tmp_path, recorder):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DownloadError, match="cannot write the download in"):
            download(SmallCohort(), folder, DownloadOptions(mirror.url), recorder)
        with pytest.raises(DownloadError, match="cannot write the download in"):
            look(SmallCohort(), folder, None)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": {"a": {}}}', '{"files": 3}'])
def test_a_damaged_record_is_explained(bring, tmp_path, text):
    bring()
    (tmp_path / "cohort" / "download.json").write_text(text)
    explained(bring, "download.json is damaged", "delete that file")


def test_official_addresses_are_used_without_a_mirror(tmp_path):
    states = look(SmallCohort(), tmp_path, None)
    assert {state.url for state in states} == {
        f"https://official.invalid/{name}" for name in CONTENT
    }
    assert not any(state.there for state in states)
    assert list(tmp_path.iterdir()) == []
