"""Copies are found however they were saved, other films are not, and the search misses no pair."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrbench.builtin.phantom import Phantom
from cxrbench.checks.likeness import film_detail, film_hash, near_pairs, same_films
from cxrbench.store.decoding import fit_image


@pytest.fixture(scope="module")
def films() -> list[np.ndarray]:
    phantom = Phantom(patients=20, size=256)
    return [phantom.read(source, max_pixels=10**6) for source in phantom.load().sources]


def pairs_of(films) -> list[tuple[int, int]]:
    small = [fit_image(film, 128, "stretch") for film in films]
    found = same_films(
        np.array([film_hash(film) for film in small]),
        np.array([film_detail(film) for film in small]),
    )
    return [tuple(pair) for pair in found.tolist()]


def jpeg(film: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", film, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], 0)


COPIES = {
    "jpeg": jpeg,
    "smaller": lambda film: cv2.resize(film, (128, 128), interpolation=cv2.INTER_AREA),
    "brighter": lambda film: (255 * (film / 255.0) ** 0.8).astype(np.uint8),
    "the same": lambda film: film,
}


def test_films_of_other_patients_and_visits_are_not_the_same(films):
    assert pairs_of(films) == []


@pytest.mark.parametrize("name", COPIES)
def test_a_changed_copy_is_found_and_nothing_else(films, name):
    assert pairs_of([*films, COPIES[name](films[3])]) == [(3, len(films))]


@pytest.mark.parametrize("count", [0, 1, 700])
def test_near_pairs_are_those_that_a_comparison_one_by_one_finds(count, monkeypatch):
    monkeypatch.setattr("cxrbench.checks.likeness._BLOCK", (64, 128))
    rng = np.random.default_rng(1)
    centres = rng.integers(0, 256, (20, 32), dtype=np.uint8)
    noise = np.packbits(rng.random((count, 256)) < 0.07, axis=1)
    hashes = centres[rng.integers(0, 20, count)] ^ noise
    told = {
        (one, other)
        for one, other in combinations(range(count), 2)
        if int(np.bitwise_count(hashes[one] ^ hashes[other]).sum()) <= 32
    }
    assert (count < 2) == (not told)
    assert {tuple(pair) for pair in near_pairs(hashes, 32).tolist()} == told


def test_many_pairs_are_compared_a_block_at_a_time(monkeypatch):
    rng = np.random.default_rng(0)
    one, other = rng.integers(-100, 100, (2, 1024)).astype(np.int8)
    hashes, details = np.zeros((7, 32), np.uint8), np.array([one, other, one, one, other, one, one])
    whole = same_films(hashes, details).tolist()
    assert len(whole) == 10 + 1  # of five equal images and of two
    monkeypatch.setattr("cxrbench.checks.likeness._PAIRS", 4)
    assert same_films(hashes, details).tolist() == whole


def test_an_image_without_detail_is_like_nothing():
    flat = np.full((128, 128), 90, np.uint8)
    assert not film_detail(flat).any()
    assert pairs_of([flat, flat]) == []


def test_real_films_are_all_different_but_for_their_copies():
    root = os.environ.get("CXRBENCH_REAL_DATA")
    if not root or not (Path(root) / "nih-mini").is_dir():
        pytest.skip("CXRBENCH_REAL_DATA names no folder with nih-mini/")
    paths = sorted((Path(root) / "nih-mini" / "xray_images").iterdir())[::4]
    films = [fit_image(cv2.imread(str(path), 0), 256, "stretch") for path in paths]
    copies = [jpeg(film) for film in films[::16]]
    expected = [(16 * number, len(films) + number) for number in range(len(copies))]
    assert pairs_of(films + copies) == expected


# Of drawings in integers, by imagehash.phash(image, hash_size=16) of imagehash 4.3.2.
HASHES_OF_IMAGEHASH = (
    ((64, 64, 3, 5, 1), "b26b4c2b97d6925fc209925b240196fe90760009b25b40abf7f69efe924b92ef"),
    ((200, 180, 7, 13, 97), "81e301e301e301e701e303c703c703c707860f8eff0eff1efe1cfc3cf83cf079"),
    ((333, 127, 2, 9, 251), "a8272ba92a3e2bf92aa62a192ae66b8b4e32d5ccd433d5c49479b5c52a5e2ab3"),
    ((5, 300, 1, 40, 3), "808000107ffffc12034f8fefecb003ff7fef78927b4a00937fc000977f6440b7"),
    ((40, 50, 0, 0, 1), "0000000000000000000000000000000000000000000000000000000000000000"),
)


@pytest.mark.parametrize(("drawing", "expected"), HASHES_OF_IMAGEHASH)
def test_hashes_are_those_of_imagehash(drawing, expected):
    height, width, across, down, period = drawing
    y, x = np.mgrid[:height, :width]
    image = ((across * x * x + down * y * y) // period % 256).astype(np.uint8)
    assert film_hash(image).tobytes().hex() == expected
