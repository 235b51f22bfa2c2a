"""A file gets its name only with the right checksum, whatever happens on the way."""

from __future__ import annotations

import hashlib

import pytest
from scripted_server import Answer, serve

from cxrbench.data.download.catalog import RemoteFile
from cxrbench.data.download.download import fetch
from cxrbench.errors import DownloadError

BODY = bytes(range(256)) * 2000
FILE = RemoteFile("a.npz", "", f"md5:{hashlib.md5(BODY).hexdigest()}", "its publisher", len(BODY))


@pytest.fixture
def bring(tmp_path, recorder):
    with serve({"a.npz": BODY}) as server:

        def run():
            return fetch(
                FILE, f"{server.url}/a.npz", tmp_path, display=recorder, pause=lambda _: None
            )

        run.server = server
        yield run


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_once_and_leaves_nothing_beside_it(bring, tmp_path, capfd):
    path = bring()
    assert path.read_bytes() == BODY
    assert names(tmp_path) == ["a.npz"]

    assert bring() == path
    assert len(bring.server.seen) == 1
    assert capfd.readouterr() == ("", "")


def test_wrong_bytes_of_the_right_size_are_refused_and_deleted(bring, tmp_path):
    bring.server.script = [Answer(body=BODY[::-1])]

    with pytest.raises(DownloadError) as error:
        bring()
    for word in (FILE.checksum, "another checksum", "by its publisher", "it was deleted"):
        assert word in str(error.value)
    assert names(tmp_path) == []

    assert bring().read_bytes() == BODY


def test_an_error_on_the_way_keeps_the_part_and_no_file(bring, tmp_path):
    bring.server.script = [Answer(drop_at=300_000), Answer(status=404)]
    with pytest.raises(DownloadError, match="404"):
        bring()
    assert names(tmp_path) == ["a.npz.part", "a.npz.part.json"]

    assert bring().read_bytes() == BODY
    assert bring.server.ranges[-1] is not None
    assert names(tmp_path) == ["a.npz"]


def test_a_kill_while_the_checksum_is_computed_loses_nothing(bring, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr("cxrbench.data.download.download.file_digest", killed)
    with pytest.raises(Killed):
        bring()
    monkeypatch.undo()
    assert "a.npz" not in names(tmp_path)

    assert bring().read_bytes() == BODY
    assert len(bring.server.seen) == 1


def test_a_damaged_file_of_that_name_is_replaced(bring, tmp_path):
    (tmp_path / "a.npz").write_bytes(BODY[:1000])
    assert bring().read_bytes() == BODY
