"""Images that could not be read for the moment: tried again, with the same bytes in the end."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from prepared_films import (
    Folder,
    ListDisplay,
    bytes_of,
    forget_counts,
    make_cohort,
    prepared,
)

from cxrbench.errors import CacheError


@pytest.fixture(autouse=True)
def _fresh_counts():
    forget_counts()


@dataclass(frozen=True)
class Flaky(Folder):
    """A disk that cannot read some images at the moment."""

    broken: ClassVar[set[str]] = set()

    def read(self, source, *, max_pixels):
        if Path(source).name in self.broken:
            self.counts[source] += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(source, max_pixels=max_pixels)


@pytest.fixture
def flaky():
    Flaky.broken |= {"0200.png"}
    yield Flaky()
    Flaky.broken.clear()


def test_an_image_that_could_not_be_read_is_tried_again_by_the_next_call(flaky, tmp_path):
    cohort, display, cache = make_cohort(tmp_path / "films", 300), ListDisplay(), tmp_path / "cache"
    prepared(cohort, tmp_path / "whole")
    first = prepared(cohort, cache, dataset=flaky, max_bad=0.01)
    assert [(e.image_id, e.reason) for e in first.excluded] == [
        ("0200.png", "cannot be read: Input/output error")
    ]
    pixels, before = first.pixels[32], first.pixels[32].copy()
    Folder.counts.clear()
    still = prepared(cohort, cache, dataset=flaky, max_bad=0.01)
    assert still.made == frozenset()
    assert Folder.counts == {cohort.sources[200]: 1}  # tried, and nothing else was read
    Flaky.broken.clear()
    Folder.counts.clear()
    healed = prepared(cohort, cache, dataset=flaky, display=display)
    assert healed.usable.all()
    assert display.said[-1] == "continuing at image 129 of 300"
    assert cohort.sources[127] not in Folder.counts
    assert bytes_of(cache) == bytes_of(tmp_path / "whole")
    np.testing.assert_array_equal(pixels, before)  # a reader's pages were not cut off


def test_an_image_that_only_one_store_could_not_read_does_not_stop_the_next_call(flaky, tmp_path):
    cohort, cache = make_cohort(tmp_path / "films", 300), tmp_path / "cache"
    prepared(cohort, cache, dataset=flaky, max_bad=0.01, extractors=())
    Flaky.broken.clear()
    result = prepared(cohort, cache, dataset=flaky)
    assert result.usable.all()
    prepared(cohort, tmp_path / "whole")
    assert bytes_of(cache) == bytes_of(tmp_path / "whole")
    Flaky.broken |= {"0010.png"}
    with pytest.raises(CacheError, match=r"two versions of image '0010\.png'"):
        prepared(cohort, cache, dataset=flaky, image_sizes=(16,), max_bad=0.01)
    Flaky.broken.clear()
    assert prepared(cohort, cache, dataset=flaky, image_sizes=(16,)).usable.all()


@pytest.mark.parametrize("step", ["copy", "remove", "rename"])
def test_killed_while_a_store_is_cut_it_ends_with_the_same_bytes(
    step, flaky, tmp_path, monkeypatch
):
    cohort, cache = make_cohort(tmp_path / "films", 300), tmp_path / "cache"
    prepared(cohort, tmp_path / "whole")
    prepared(cohort, cache, dataset=flaky, max_bad=0.01)
    Flaky.broken.clear()

    def killed(*arguments, **more):
        raise KeyboardInterrupt

    place = {
        "copy": "cxrbench.store.stores._copy_bytes",
        "remove": "cxrbench.store.stores.remove_store",
        "rename": "pathlib.Path.rename",
    }[step]
    with monkeypatch.context() as patch:
        patch.setattr(place, killed)
        with pytest.raises(KeyboardInterrupt):
            prepared(cohort, cache, dataset=flaky)
    prepared(cohort, cache, dataset=flaky)
    remains = {name for name in bytes_of(cache) if ".tmp/" in name}
    assert {n: d for n, d in bytes_of(cache).items() if n not in remains} == bytes_of(
        tmp_path / "whole"
    )
