"""Checks of a feature's encoders: fitted on training images alone, saved as plain arrays."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cxrbench.errors import PluginError
from cxrbench.interfaces import Encoder, FeatureExtractor, FittedEncoder
from cxrbench.testing.check import Subject
from cxrbench.testing.samples import FILMS, difference, films, vectors_of

_SEED = 0


def encoding(subject: Subject) -> str:
    """Each encoder gives one finite vector of one length, the same for the same seed."""
    vectors = vectors_of(subject.part, films(FILMS))
    lengths = []
    for name, encoder in subject.encoders.items():
        first, second = (_fit(subject.part, encoder, vectors) for _ in range(2))
        _require_equal_arrays(
            f"{subject.text}:encoding={name} is fitted differently a second time",
            first.arrays(),
            second.arrays(),
            "use the seed that fit gets for all random numbers in it",
        )
        lengths.append(f"{name} {_encoded(subject, name, first, vectors)}")
    return "length: " + ", ".join(lengths)


def training_only(subject: Subject) -> str:
    """Images outside of training change neither the fitted encoder nor other vectors.

    The canary is a patient outside of training, extracted first: once with drawn radiographs, once
    with noise and an age above all others.
    """
    training = films(FILMS)
    noise = np.random.default_rng(1).integers(0, 256, (2, *training[0].shape)).astype(np.uint8)
    quiet, loud = (
        # The canary first: anything stored of it would show in the next vectors.
        (vectors_of(subject.part, canary, first_record=first), vectors_of(subject.part, training))
        for canary, first in ((training[:2], 0), (list(noise), 80))
    )
    for name, encoder in subject.encoders.items():
        _require_equal_arrays(
            f"{subject.text}:encoding={name} depends on a patient outside of the training split",
            _fitted_beside(subject.part, encoder, *quiet),
            _fitted_beside(subject.part, encoder, *loud),
            "fit only on the images that fit gets, change nothing in transform, and store nothing "
            "of an image in extract",
        )
    return ""


def saving(subject: Subject) -> str:
    """A fitted encoder comes back from plain arrays in a file, and encodes as before."""
    vectors = vectors_of(subject.part, films(FILMS))
    size = 0
    for name, encoder in subject.encoders.items():
        fitted = _fit(subject.part, encoder, vectors)
        arrays, stored = _through_a_file(subject, name, fitted)
        back = type(encoder).fitted.from_arrays(arrays)
        size += stored
        for one in [*vectors, vectors[0][:0]]:
            if not np.array_equal(fitted.transform(one), back.transform(one)):
                raise PluginError(
                    f"{subject.text}:encoding={name} encodes differently after it was loaded",
                    expected="the vectors of the fitted encoder",
                    found="other vectors",
                    fix="return everything that transform needs from arrays(), and restore it in "
                    "from_arrays()",
                )
    return f"{size / 1000:.0f} kB"


CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "encoding": encoding,
    "training-only": training_only,
    "saving": saving,
}


def _fit(
    extractor: FeatureExtractor, encoder: Encoder, vectors: Sequence[np.ndarray]
) -> FittedEncoder:
    return encoder.fit(iter(vectors), distance=extractor.distance, seed=_SEED)


def _fitted_beside(
    extractor: FeatureExtractor,
    encoder: Encoder,
    outside: Sequence[np.ndarray],
    training: Sequence[np.ndarray],
) -> dict[str, np.ndarray]:
    """The fitted arrays, and the vectors of the training images after those outside."""
    fitted = _fit(extractor, encoder, training)
    for one in outside:
        fitted.transform(one)
    encoded = np.stack([fitted.transform(one) for one in training])
    return {**fitted.arrays(), "vectors of the training images": encoded}


def _through_a_file(
    subject: Subject, name: str, fitted: FittedEncoder
) -> tuple[dict[str, np.ndarray], int]:
    file = io.BytesIO()
    arrays = fitted.arrays()
    wrong = [k for k, v in arrays.items() if not isinstance(v, np.ndarray) or v.dtype.hasobject]
    if wrong:
        raise PluginError(
            f"{subject.text}:encoding={name}: arrays() contains something other than plain arrays",
            expected="NumPy arrays of numbers or text",
            found=", ".join(wrong),
            fix="wrap single numbers with np.array(…), and keep no Python objects",
        )
    np.savez(file, **arrays)  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        return {key: loaded[key] for key in loaded.files}, file.getbuffer().nbytes


def _encoded(subject: Subject, name: str, fitted: FittedEncoder, vectors: list[np.ndarray]) -> int:
    """The common length of the vectors; an image without descriptors has one too."""
    length = 0
    for one in [*vectors, vectors[0][:0]]:
        vector = fitted.transform(one)
        length = length or len(vector)
        sound = vector.shape == (length,) and vector.dtype == np.float32
        if not sound or not np.isfinite(vector).all():
            raise PluginError(
                f"{subject.text}:encoding={name} gives a bad vector for {len(one)} descriptors",
                expected=f"({length},) float32, finite",
                found=f"{vector.shape} {vector.dtype}, {np.isfinite(vector).sum()} finite",
                fix="return float32 of one length, and zeros for an image without descriptors",
            )
    return length


def _require_equal_arrays(
    problem: str, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], fix: str
) -> None:
    for name in before:
        if name not in after or not np.array_equal(before[name], after[name]):
            raise PluginError(
                problem,
                expected=f"the same {name}",
                found=difference(before[name], after[name]) if name in after else "it is missing",
                fix=fix,
            )
