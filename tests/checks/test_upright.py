"""Negatives are told from films, drawn or real."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrbench.builtin.phantom import Phantom
from cxrbench.checks.images import upright_score


def test_drawn_films_are_upright_and_their_negatives_are_not():
    phantom = Phantom(patients=30, size=64)
    for source in phantom.load().sources:
        film = phantom.read(source, max_pixels=10**6)
        assert upright_score(film) > 0.3
        assert upright_score(255 - film) == pytest.approx(-upright_score(film), abs=1e-3)


def test_grey_levels_and_shape_make_no_difference():
    phantom = Phantom(patients=20, size=64)
    film = phantom.read(phantom.load().sources[0], max_pixels=10**6)
    score = upright_score(film)
    assert upright_score(film // 2 + 60) == pytest.approx(score, abs=0.01)
    assert upright_score(cv2.resize(film, (100, 64))) == pytest.approx(score, abs=0.05)


def test_an_image_that_is_all_the_same_is_neither():
    assert upright_score(np.full((64, 64), 7, np.uint8)) == 0


def test_of_real_films_none_is_taken_for_a_negative():
    root = os.environ.get("CXRBENCH_REAL_DATA")
    if not root or not (Path(root) / "nih-mini").is_dir():
        pytest.skip("CXRBENCH_REAL_DATA names no folder with nih-mini/")
    paths = sorted((Path(root) / "nih-mini" / "xray_images").iterdir())[::4]
    scores = [upright_score(cv2.imread(str(path), 0)) for path in paths]
    assert min(scores) > 0.15
