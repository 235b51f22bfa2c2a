"""Features of images as a run extracts them, and how two arrays differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrbench.interfaces import FeatureExtractor, LocalFeatures, Record
from cxrbench.store.decoding import Fit
from cxrbench.store.image_pass import Preparation, prepare_source
from cxrbench.testing.samples import record

FILMS = 6
"""On how many drawn films a feature is checked."""


def extract(
    extractor: FeatureExtractor,
    image: np.ndarray,
    known: Record,
    *,
    fit: Fit = "stretch",
) -> LocalFeatures:
    """As a run does: the image fitted to the extractor's size, the features checked."""
    wanted = Preparation(extractors=(extractor,), fit=fit)
    return prepare_source(lambda: image, known, wanted).features[extractor]


def extract_all(
    extractor: FeatureExtractor,
    pictures: Sequence[np.ndarray],
    *,
    first_record: int = 0,
    step: int = 1,
) -> list[LocalFeatures]:
    """Features of each picture, whose records are numbered."""
    return [
        extract(extractor, image, record(first_record + step * number))
        for number, image in enumerate(pictures)
    ]


def vectors_of(
    extractor: FeatureExtractor, pictures: Sequence[np.ndarray], *, first_record: int = 0
) -> list[np.ndarray]:
    """What an encoder is given of each picture, (n, d) float32."""
    found = extract_all(extractor, pictures, first_record=first_record)
    return [extractor.vectors(features.descriptors) for features in found]


def difference(one: np.ndarray, other: np.ndarray) -> str:
    """How far two arrays are from each other, in words."""
    if one.shape != other.shape:
        return f"shapes {one.shape} and {other.shape}"
    worst = np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0)
    return f"a difference of up to {worst:.3g}"
