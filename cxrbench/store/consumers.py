"""Consumers of decoded images: one for each store that a preparation fills."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.errors import PluginError, UnreadableImage
from cxrbench.parameters import changed, spelt
from cxrbench.store.cache import Purpose, canonical, identity_of, purpose_for
from cxrbench.store.journal import ImageFacts
from cxrbench.store.stores import FORMAT, StoreSpec

if TYPE_CHECKING:
    from cxrbench.interfaces import Cohort, Dataset, FeatureExtractor
    from cxrbench.store.image_pass import Preparation, PreparedImage
    from cxrbench.store.stores import StoreWriter


@dataclass(frozen=True, eq=False)
class Consumer:
    """One store and what it takes of an image: pixels of a size, or an extractor's features.

    ``clahe`` says that the pixels are those with CLAHE beside the others.
    """

    spec: StoreSpec
    size: int | None = None
    clahe: bool = False
    extractor: FeatureExtractor | None = None

    def add(self, image: PreparedImage, writer: StoreWriter) -> None:
        """Append the next row to the store."""
        facts = ImageFacts(image.digest, *image.shape, image.reason)
        if self.size is not None:
            empty = np.zeros((self.size, self.size), np.uint8)
            pixels = image.clahe_pixels if self.clahe else image.pixels
            writer.append(facts, (pixels.get(self.size, empty),), {})
        elif self.extractor is not None:
            self._add_features(facts, image, writer)
        else:
            writer.append(facts, (), {})

    def _add_features(self, facts: ImageFacts, image: PreparedImage, writer: StoreWriter) -> None:
        assert self.extractor is not None
        features = image.features.get(self.extractor)
        if features is None:
            writer.append(replace(facts, count=0), (), {})
            return
        layout = {
            "width": features.descriptors.shape[1],
            "dtype": features.descriptors.dtype.name,
            "keypoints": features.keypoints is not None,
        }
        if writer.layout and dict(writer.layout) != layout:
            raise PluginError(
                f"feature extractor {self.extractor.name!r} changes its features between images",
                expected=f"{canonical(writer.layout)} as for the images before",
                found=canonical(layout),
            )
        points = () if features.keypoints is None else (features.keypoints,)
        count = len(features.descriptors)
        writer.append(replace(facts, count=count), (features.descriptors, *points), layout)


def consumers_of(dataset: Dataset, cohort: Cohort, preparation: Preparation) -> list[Consumer]:
    """The stores that a preparation of this cohort needs; their keys cover all that shapes them."""
    import cv2

    rows = len(cohort)
    about = {
        "format": FORMAT,
        "dataset": dataset.name,
        "images": rows,
        "signatures": _signatures(dataset, cohort),
        "max_pixels": preparation.max_pixels,
    }
    if not preparation.image_sizes and not preparation.extractors:
        # Which images can be used is a question of its own: the image-blind prior asks it.
        purpose = purpose_for(dataset, "which images can be read")
        return [Consumer(StoreSpec("images", about, rows, (), purpose=purpose))]
    about |= {"fit": preparation.fit, "clahe": preparation.clahe, "opencv": cv2.__version__}

    def pixels_at(size: int, *, clahe: bool) -> StoreSpec:
        described = {**about, "clahe": clahe, "image_size": size}
        purpose = purpose_for(dataset, f"pixels {size}×{size}{_shaped(preparation, clahe=clahe)}")
        return StoreSpec("pixels", described, rows, ("pixels.bin",), size * size, purpose)

    pixels = [
        *(
            Consumer(pixels_at(size, clahe=preparation.clahe), size)
            for size in dict.fromkeys(preparation.image_sizes)
        ),
        *(
            Consumer(pixels_at(size, clahe=True), size, clahe=True)
            for size in dict.fromkeys(preparation.clahe_sizes)
        ),
    ]
    features = [
        Consumer(
            StoreSpec(
                "features",
                {**about, "extractor": {**identity_of(e), "image_size": e.image_size}},
                rows,
                ("descriptors.bin", "keypoints.bin"),
                purpose=_purpose_of(e, dataset, preparation),
            ),
            extractor=e,
        )
        for e in dict.fromkeys(preparation.extractors)
    ]
    return pixels + features


def _purpose_of(extractor: FeatureExtractor, dataset: Dataset, preparation: Preparation) -> Purpose:
    text = f"{spelt(extractor.name, changed(extractor))} descriptors"
    if extractor.image_size is not None:
        text += f" at {extractor.image_size}{_shaped(preparation, clahe=preparation.clahe)}"
    return purpose_for(dataset, text)


def _shaped(preparation: Preparation, *, clahe: bool) -> str:
    """What was done to the images, where it is not the usual."""
    return ", CLAHE" * clahe + ", padded" * (preparation.fit == "pad")


def _signatures(dataset: Dataset, cohort: Cohort) -> str:
    digest = hashlib.sha256()
    for image_id, source in zip(cohort.image_ids, cohort.sources, strict=True):
        try:
            signature = dataset.signature(source)
        except (OSError, UnreadableImage):
            signature = "cannot be read"
        digest.update(canonical([image_id, signature]).encode())
    return digest.hexdigest()
