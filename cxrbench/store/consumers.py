"""Who wants something of each image: one consumer for each store that a preparation needs."""

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
        found = image.features.get(self.extractor)
        if found is None:
            writer.append(replace(facts, count=0), (), {})
            return
        layout = {
            "width": found.descriptors.shape[1],
            "dtype": found.descriptors.dtype.name,
            "keypoints": found.keypoints is not None,
        }
        if writer.layout and dict(writer.layout) != layout:
            raise PluginError(
                f"feature extractor {self.extractor.name!r} changes its features between images",
                expected=f"{canonical(writer.layout)} as for the images before",
                found=canonical(layout),
            )
        points = () if found.keypoints is None else (found.keypoints,)
        count = len(found.descriptors)
        writer.append(replace(facts, count=count), (found.descriptors, *points), layout)


def consumers_of(dataset: Dataset, cohort: Cohort, wanted: Preparation) -> list[Consumer]:
    """The stores that a preparation of this cohort needs; their keys cover all that shapes them."""
    import cv2

    rows = len(cohort)
    about = {
        "format": FORMAT,
        "dataset": dataset.name,
        "images": rows,
        "signatures": _signatures(dataset, cohort),
        "max_pixels": wanted.max_pixels,
    }
    if not wanted.image_sizes and not wanted.extractors:
        # Which images can be used is a question of its own: the image-blind prior asks it.
        purpose = purpose_for(dataset, "which images can be read")
        return [Consumer(StoreSpec("images", about, rows, (), purpose=purpose))]
    about |= {"fit": wanted.fit, "clahe": wanted.clahe, "opencv": cv2.__version__}

    def pixels_at(size: int, *, clahe: bool) -> StoreSpec:
        told = {**about, "clahe": clahe, "image_size": size}
        purpose = purpose_for(dataset, f"pixels {size}×{size}{_shaped(wanted, clahe=clahe)}")
        return StoreSpec("pixels", told, rows, ("pixels.bin",), size * size, purpose)

    pixels = [
        *(
            Consumer(pixels_at(size, clahe=wanted.clahe), size)
            for size in dict.fromkeys(wanted.image_sizes)
        ),
        *(
            Consumer(pixels_at(size, clahe=True), size, clahe=True)
            for size in dict.fromkeys(wanted.clahe_sizes)
        ),
    ]
    features = [
        Consumer(
            StoreSpec(
                "features",
                {**about, "extractor": {**identity_of(e), "image_size": e.image_size}},
                rows,
                ("descriptors.bin", "keypoints.bin"),
                purpose=_purpose_of(e, dataset, wanted),
            ),
            extractor=e,
        )
        for e in dict.fromkeys(wanted.extractors)
    ]
    return pixels + features


def _purpose_of(extractor: FeatureExtractor, dataset: Dataset, wanted: Preparation) -> Purpose:
    told = f"{spelt(extractor.name, changed(extractor))} descriptors"
    if extractor.image_size is not None:
        told += f" at {extractor.image_size}{_shaped(wanted, clahe=wanted.clahe)}"
    return purpose_for(dataset, told)


def _shaped(wanted: Preparation, *, clahe: bool) -> str:
    """What was done to the images, where it is not the usual."""
    return ", CLAHE" * clahe + ", padded" * (wanted.fit == "pad")


def _signatures(dataset: Dataset, cohort: Cohort) -> str:
    told = hashlib.sha256()
    for image_id, source in zip(cohort.image_ids, cohort.sources, strict=True):
        try:
            signature = dataset.signature(source)
        except (OSError, UnreadableImage):
            signature = "cannot be read"
        told.update(canonical([image_id, signature]).encode())
    return told.hexdigest()
