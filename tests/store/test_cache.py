"""Choices that are kept: asked once, the same for everyone, asked again when damaged."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from cxrbench.errors import CacheError
from cxrbench.store.cache import kept_choice


def test_a_choice_is_made_once_for_each_question(tmp_path, recorder):
    asked = []

    def choose(about, answer):
        def find():
            asked.append(about)
            return answer

        return kept_choice("sizes", {"about": about}, find, cache=tmp_path, display=recorder)

    assert choose("a", 32) == 32
    assert choose("a", 64) == 32
    assert choose("b", 64) == 64
    assert asked == ["a", "b"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"other": 1}', b"\xff"])
def test_a_damaged_choice_is_made_again(tmp_path, recorder, damage):
    def choose(answer):
        return kept_choice("sizes", {}, lambda: answer, cache=tmp_path, display=recorder)

    choose(32)
    (path,) = (tmp_path / "sizes").glob("*.json")
    path.write_bytes(damage)
    assert choose(64) == 64
    assert choose(128) == 64


def test_two_at_once_agree(tmp_path, recorder):
    def choose(answer):
        return kept_choice("sizes", {}, lambda: answer, cache=tmp_path, display=recorder)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(choose, range(4)))) == 1


def test_a_choice_that_cannot_be_kept_is_an_error(tmp_path, recorder):
    (tmp_path / "sizes").touch()
    with pytest.raises(CacheError, match="cannot write the cache"):
        kept_choice("sizes", {}, lambda: 1, cache=tmp_path, display=recorder)
