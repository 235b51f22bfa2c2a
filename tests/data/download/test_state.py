"""Archives of images come out whole; hostile ones leave nothing outside and are explained."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from cxrbench.data.download import state as module
from cxrbench.data.download.state import Content, measure, unpack
from cxrbench.errors import DownloadError


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, **more) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    for key, value in more.items():
        setattr(info, key, value)
    return info


def pack(path, *members: tarfile.TarInfo):
    with tarfile.open(path, "w:gz") as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(b"x" * info.size) if info.isreg() else None)
    return path


GOOD = (
    member("images", tarfile.DIRTYPE, mode=0o755),
    member("images/a.png", size=10, mode=0o600),
    member("images/b.png", size=20),
)


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "images_001.tar.gz"


def test_all_files_come_out(archive, tmp_path, recorder):
    content = unpack(pack(archive, *GOOD), tmp_path / "out", files=2, display=recorder)

    assert content == Content(2, 30) == measure(tmp_path / "out")
    assert (tmp_path / "out/images/a.png").read_bytes() == b"x" * 10
    assert recorder.tasks == [("unpacking images_001.tar.gz", 2)]


def test_what_a_kill_left_is_removed_first(archive, tmp_path, recorder):
    (tmp_path / "out/images").mkdir(parents=True)
    (tmp_path / "out/images/half.png").touch()

    assert unpack(pack(archive, *GOOD), tmp_path / "out", files=2, display=recorder).files == 2


def test_a_python_without_safe_unpacking_is_refused(archive, tmp_path, recorder, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(DownloadError, match=r"3\.11\.4 or newer"):
        unpack(pack(archive, *GOOD), tmp_path / "out", files=2, display=recorder)
    assert not (tmp_path / "out").exists()


HOSTILE = {
    "parent": (member("../evil.png", size=1), "leads out"),
    "parent inside": (member("images/../../evil.png", size=1), "leads out"),
    "absolute": (member("/evil.png", size=1), "leads out"),
    "link": (member("images/c.png", tarfile.SYMTYPE, linkname="/etc/passwd"), "a link"),
    "link inside": (member("images/c.png", tarfile.SYMTYPE, linkname="a.png"), "a link"),
    "link to a folder": (member("here", tarfile.SYMTYPE, linkname=".."), "a link"),
    "hard link": (member("images/c.png", tarfile.LNKTYPE, linkname="images/a.png"), "a link"),
    "device": (member("images/c.png", tarfile.CHRTYPE, devmajor=1, devminor=5), "a device"),
    "pipe": (member("images/c.png", tarfile.FIFOTYPE), "a device"),
    "twice": (member("images/a.png", size=5), "twice"),
    "twice by another name": (member("images/./a.png", size=5), "twice"),
    "too many": (member("images/c.png", size=5), "3 files instead of 2"),
}


@pytest.mark.parametrize(("evil", "words"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_member_is_refused(archive, tmp_path, recorder, evil, words):
    (tmp_path / "deep").mkdir()
    with pytest.raises(DownloadError) as error:
        unpack(pack(archive, *GOOD, evil), tmp_path / "deep" / "out", files=2, display=recorder)

    assert words in str(error.value)
    assert "delete that file" in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"images_001.tar.gz", "deep"}
    assert not (tmp_path / "deep" / "evil.png").exists()


def test_bombs_are_refused(archive, tmp_path, recorder, monkeypatch):
    monkeypatch.setattr(module, "MAX_FILE", 100_000)
    bombs = (
        (member("big.png", size=100_001),),
        tuple(member(f"{number}.png", size=90_000) for number in range(3)),
        tuple(member(f"{number}", tarfile.DIRTYPE) for number in range(200)),
    )
    for bomb in bombs:
        with pytest.raises(DownloadError, match="far more than images"):
            unpack(pack(archive, *bomb), tmp_path / "out", files=2, display=recorder)
        assert measure(tmp_path / "out").bytes <= 200_000


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"<html>",
        lambda data: data[:40],
        lambda data: gzip.compress(gzip.decompress(data)[:1000]),
        lambda data: gzip.compress(gzip.decompress(data)[:1700]),
        lambda data: gzip.compress(b"no tar" * 1000),
        lambda data: data[:60] + b"\xff" * 20 + data[80:],
    ],
)
def test_a_damaged_archive_is_explained(archive, tmp_path, recorder, damage):
    archive.write_bytes(damage(pack(archive, *GOOD).read_bytes()))
    with pytest.raises(DownloadError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "out", files=2, display=recorder)
