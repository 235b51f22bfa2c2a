"""Checks of a feature extractor; those of its encoders are in `cxrbench.testing.encoders`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from cxrbench.builtin.orb import ORB
from cxrbench.errors import PluginError
from cxrbench.interfaces import LocalFeatures
from cxrbench.parameters import changed
from cxrbench.store.decoding import Fit, fit_image
from cxrbench.testing import encoders
from cxrbench.testing.check import Subject
from cxrbench.testing.samples import (
    FILMS,
    compare_speed,
    difference,
    extract,
    extract_all,
    films,
    record,
    ugly_images,
)

_THREADS = 4

_PURE = (
    "let extract depend only on its arguments and the fields: store nothing on self, on the class "
    "or in the module, create detectors inside extract, and draw random numbers with a fixed seed"
)


def shapes(subject: Subject) -> str:
    """Films give ``LocalFeatures`` of one width; ``prepare_source`` checks types and numbers."""
    results = extract_all(subject.part, films(FILMS))
    widths = {features.descriptors.shape[1] for features in results}
    kinds = {features.descriptors.dtype.name for features in results}
    if len(widths) > 1 or len(kinds) > 1:
        raise PluginError(
            f"{subject.text} changes its descriptors from image to image",
            expected="descriptors (n, d) of one width d and one dtype",
            found=f"widths {sorted(widths)}, dtypes {sorted(kinds)}",
            fix="make d depend on the parameters alone; n may differ",
        )
    _require_inside(subject, results)
    counts = [len(features.descriptors) for features in results]
    if not any(counts):
        raise PluginError(
            f"{subject.text} finds nothing on {FILMS} drawn radiographs",
            expected="descriptors on most of them",
            found="n = 0 on each",
            fix="lower the detector's threshold: radiographs have few keypoints",
        )
    return f"n from {min(counts)} to {max(counts)}, d = {widths.pop()} {kinds.pop()}"


def determinism(subject: Subject) -> str:
    """The same image gives the same features, in another order too, and stays as it is."""
    images = films(FILMS)
    first = extract_all(subject.part, images)
    again = extract_all(subject.part, images[::-1], first_record=FILMS - 1, step=-1)[::-1]
    _require_same(subject, first, again, "a second time, in the opposite order")
    _require_untouched(subject, images[0])
    return ""


def images(subject: Subject) -> str:
    """Images unlike any radiograph give features of the same width, with both values of --fit."""
    width = extract_all(subject.part, films(1))[0].descriptors.shape[1]
    ways: tuple[Fit, ...] = ("stretch", "pad")
    for name, image in ugly_images().items():
        for fit in ways:
            image_id = f"{name} ({fit})"
            features = extract(subject.part, image, replace(record(0), image_id=image_id), fit=fit)
            if features.descriptors.shape[1] != width:
                raise PluginError(
                    f"{subject.text} gives another width for the image {image_id!r}",
                    expected=f"descriptors (n, {width}), where n may be 0",
                    found=f"an array of shape {features.descriptors.shape}",
                    fix="return np.zeros((0, d), dtype) if nothing is found",
                )
    return f"{2 * len(ugly_images())} images"


def threads(subject: Subject) -> str:
    """Several threads at once get the same features as one."""
    pictures = [*films(FILMS), *ugly_images().values()]
    alone = extract_all(subject.part, pictures)
    with ThreadPoolExecutor(_THREADS) as pool:
        numbered = pool.map(
            lambda pair: extract(subject.part, pair[1], record(pair[0])), enumerate(pictures)
        )
        together = list(numbered)
    _require_same(subject, alone, together, f"in {_THREADS} threads at once")
    return f"{len(pictures)} images in {_THREADS} threads"


def beside_keras(subject: Subject) -> str:
    """In a process with Keras' backend, as in a run, `extract` can import what it uses."""
    from cxrbench.modeling.backend import backend_name

    kind = type(subject.part)
    arguments = [kind.__module__, kind.__qualname__, json.dumps(changed(subject.part)), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", _BESIDE_KERAS, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        ended = f"exit code {done.returncode}"
        if done.returncode < 0:
            ended = f"killed by {signal.Signals(-done.returncode).name}"
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        backend = backend_name()
        raise PluginError(
            f"{subject.text} does not work in a process that has loaded {backend}",
            expected="features, as without it",
            found=f"{ended}: {last}",
            fix="libraries of PyTorch and TensorFlow can break each other: use KERAS_BACKEND=torch,"
            " or import the library at the top of the plugin's module",
        )
    return ""


_BESIDE_KERAS = """
import importlib, json, sys
module, name, fields, *sys.path[:] = sys.argv[1:]
from cxrbench.modeling.backend import load_keras
load_keras()
from cxrbench.testing.samples import extract_all, films
extract_all(getattr(importlib.import_module(module), name)(**json.loads(fields)), films(1))
"""


def quickness(subject: Subject) -> str:
    """The time of extracting, compared with the built-in ORB on the same images."""
    pictures = films(4)
    return compare_speed(
        subject.text,
        lambda: extract_all(subject.part, pictures),
        "orb",
        lambda: extract_all(ORB(), pictures),
        len(pictures),
    )


CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "shapes": shapes,
    "determinism": determinism,
    "images": images,
    "threads": threads,
    "beside-keras": beside_keras,
    **encoders.CHECKS,
    "speed": quickness,
}


def _require_inside(subject: Subject, results: Sequence[LocalFeatures]) -> None:
    side = subject.part.image_size
    for features in results:
        points = features.keypoints
        if points is None or side is None or not len(points):
            continue
        if points[:, :2].min() < 0 or points[:, :2].max() > side:
            raise PluginError(
                f"{subject.text} has keypoints outside of the image",
                expected=f"x and y from 0 to {side}, in pixels of the image given to extract",
                found=f"from {points[:, :2].min():.1f} to {points[:, :2].max():.1f}",
                fix="return keypoints as columns x, y, size, angle",
            )


def _require_same(
    subject: Subject, first: Sequence[LocalFeatures], again: Sequence[LocalFeatures], when: str
) -> None:
    for number, (one, other) in enumerate(zip(first, again, strict=True)):
        pairs = ((one.descriptors, other.descriptors), (_points(one), _points(other)))
        for name, arrays in zip(("descriptors", "keypoints"), pairs, strict=True):
            if not np.array_equal(*arrays):
                raise PluginError(
                    f"{subject.text} gives other {name} for the same image {when}",
                    expected="the same numbers to the last bit",
                    found=f"image {number}: {difference(*arrays)}",
                    fix=_PURE,
                )


def _points(features: LocalFeatures) -> np.ndarray:
    return np.zeros((0, 4)) if features.keypoints is None else features.keypoints


def _require_untouched(subject: Subject, film: np.ndarray) -> None:
    if subject.part.image_size is None:
        return
    image = fit_image(film, subject.part.image_size, "stretch")
    before = image.copy()
    subject.part.extract(image, record(0))
    if not np.array_equal(before, image):
        raise PluginError(
            f"{subject.text} changes the image that it gets",
            expected="an unchanged image, because other parts of the recipe use it too",
            found=difference(before, image),
            fix="work on a copy: image = image.copy()",
        )
