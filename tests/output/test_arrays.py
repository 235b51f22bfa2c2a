"""Arrays from files: whole, or one error whatever was done to the file."""

from __future__ import annotations

import numpy as np
import pytest

from cxrbench.output.arrays import DamagedArrays, read_arrays


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
