"""Files: the old one or the new one, one message for a full disk, locks, digests, arrays."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
import tracemalloc

import numpy as np
import pytest

from cxrbench.errors import RunError
from cxrbench.output.files import (
    DamagedArrays,
    Destination,
    digest_of,
    file_digest,
    is_free,
    lock_of,
    locked,
    locked_if_free,
    read_arrays,
    replacing,
    share,
    size_text,
    write_bytes,
    write_json,
)


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "some.npz"
    np.savez(path, first=np.arange(50), second=np.ones((2, 3), np.float32))
    return path


def test_what_was_written_is_read(written):
    found = read_arrays(written)
    assert list(found) == ["first", "second"]
    np.testing.assert_array_equal(found["first"], np.arange(50))


@pytest.mark.parametrize("kept", [0, 1, 100, 400])
def test_a_file_that_was_cut(written, kept):
    written.write_bytes(written.read_bytes()[:kept])
    with pytest.raises(DamagedArrays, match=r".+"):
        read_arrays(written)


def test_every_changed_byte_is_found_or_harmless(written):
    data, wanted = written.read_bytes(), read_arrays(written)
    for place in range(0, len(data), 7):
        written.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            found = read_arrays(written)
        except DamagedArrays:
            continue
        for name in wanted.keys() & found.keys():
            np.testing.assert_array_equal(found[name], wanted[name])


def test_python_objects_are_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", thing=np.array([{}], dtype=object))
    with pytest.raises(DamagedArrays, match="pickle"):
        read_arrays(tmp_path / "objects.npz")


def test_a_missing_file_and_one_that_is_no_npz(tmp_path):
    with pytest.raises(DamagedArrays, match="No such file"):
        read_arrays(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(DamagedArrays, match=r".+"):
        read_arrays(tmp_path / "text.npz")


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_kill_at_any_step_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch, step):
    path = tmp_path / "some.json"
    write_json(path, {"old": 1})
    before = path.read_bytes()

    def killed(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, step, killed)
        with pytest.raises(Killed):
            write_json(path, {"new": 2}, durable=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    write_json(path, {"new": 2})
    assert path.read_text() == '{\n  "new": 2\n}\n'


def test_what_a_kill_left_is_written_over(tmp_path):
    (tmp_path / "a.tmp").write_bytes(b"x" * 100)
    write_bytes(tmp_path / "a", b"short")
    assert (tmp_path / "a").read_bytes() == b"short"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_block_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path, shared=True) as partial:
        (partial / "below").write_text("half")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


HERE = Destination("the thing in", RunError, "choose another --thing")


def test_a_full_disk_is_one_message(tmp_path):
    with pytest.raises(RunError) as error, HERE.writing(tmp_path, lambda: 2_500_000):
        raise OSError(errno.ENOSPC, "No space left on device")
    text = str(error.value)
    assert text.startswith(f"not enough room for the thing in {tmp_path}\n")
    assert "expected: about 2.5 MB free" in text
    assert "got: No space left on device (" in text
    assert "to do: make room, or choose another --thing" in text


def test_room_is_looked_for_where_a_folder_will_be(tmp_path):
    HERE.require_room(tmp_path / "not" / "yet", 1)
    with pytest.raises(RunError, match=r"not enough room(?s:.*); or use less"):
        HERE.require_room(tmp_path / "not" / "yet", 10**18, otherwise="use less")


def test_other_failures_say_what_else_to_choose(tmp_path):
    pattern = r"cannot write the thing(?s:.*)none/file(?s:.*)to do: choose another"
    with pytest.raises(RunError, match=pattern), HERE.writing(tmp_path):
        (tmp_path / "none" / "file").write_text("")


def test_a_lock_is_taken_in_turns_and_the_wait_is_said(tmp_path, recorder):
    lock, order = lock_of(tmp_path / "thing"), []

    def other():
        with locked([lock], recorder):
            order.append("other")

    with locked([lock]):
        with locked_if_free(lock) as free:
            assert not free
        thread = threading.Thread(target=other)
        thread.start()
        while not recorder.lines:
            pass
        order.append("this")
    thread.join()
    assert order == ["this", "other"]
    assert recorder.lines == [f"waiting for another process that uses {tmp_path / 'thing'}"]
    with locked_if_free(lock) as free:
        assert free


def test_a_file_that_is_read_is_not_free(tmp_path):
    path = tmp_path / "a"
    assert is_free(path)
    path.touch()
    assert is_free(path)
    with path.open("rb") as file:
        share(file)
        assert not is_free(path)
    assert is_free(path)


def test_digests_are_those_of_hashlib(tmp_path):
    (tmp_path / "file").write_bytes(b"body")
    assert file_digest(tmp_path / "file") == hashlib.sha256(b"body").hexdigest()
    assert file_digest(tmp_path / "file", "md5") == hashlib.md5(b"body").hexdigest()
    numbers = np.arange(6, dtype="<i4").reshape(2, 3)
    expected = hashlib.sha256(b'{"a":1,"b":[2]}' + numbers.tobytes()).hexdigest()
    assert digest_of({"b": [2], "a": 1}, numbers) == expected


def test_sizes_are_powers_of_ten():
    assert [size_text(n) for n in (999, 1500, 2_500_000, 1_234_000_000_000)] == [
        *("999 bytes", "1.5 kB", "2.5 MB", "1,234.0 GB"),
    ]


def test_an_archive_that_belies_the_size_of_its_members_takes_no_memory(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(100_000, dtype=np.float32))
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02") + 20  # the packed size, in the central directory
    data[place : place + 4] = (10**9).to_bytes(4, "little")
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with contextlib.suppress(DamagedArrays):
            read_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()
