"""Consumers of decoded images: one for each store that a preparation fills."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.errors import CacheError, PluginError
from cxrbench.parameters import changed, spelt
from cxrbench.store.cache import Purpose, canonical, identity_of, purpose_for
from cxrbench.store.image_pass import in_order, quiet_single_threaded_libraries
from cxrbench.store.journal import ImageFacts, ImageTable
from cxrbench.store.sources import is_the_same, signatures
from cxrbench.store.stores import FORMAT, CompleteStore, StoreSpec

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


def consumers_of(
    dataset: Dataset, cohort: Cohort, preparation: Preparation, threads: int = 1
) -> list[Consumer]:
    """The stores that a preparation of this cohort needs; their keys cover all that shapes them.

    ``threads`` compute the signatures of the images.
    """
    import cv2

    rows = len(cohort)
    about = {
        "format": FORMAT,
        "dataset": dataset.name,
        "images": rows,
        "signatures": _signatures(dataset, cohort, threads),
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


def notes_on_older(consumers: Iterable[Consumer], cache: Path) -> tuple[str, ...]:
    """A note on stores in older formats for the same dataset and number of images, if any."""
    keys = []
    for kind in dict.fromkeys(consumer.spec.kind for consumer in consumers):
        wanted = {(c.spec.about["dataset"], c.spec.rows) for c in consumers}
        for path in (cache / kind).glob("*/about.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):  # damaged: no older entry
                about = json.loads(path.read_bytes())
                if about["format"] < FORMAT and (about["dataset"], about["images"]) in wanted:
                    keys.append(path.parent.name)
    if not keys:
        return ()
    shown = " ".join(sorted(keys)[:3]) + " …" * (len(keys) > 3)
    return (
        f"the cache has {len(keys)} entries of an older version, which are not used: the images "
        f"are prepared again. To remove the entries: cxrbench cache clear {shown}",
    )


_MOST_COMPARED = 32
"""Images, and at most one of a hundred: far below 2 % of what preparing them takes."""


def changed_image(
    images: ImageTable, dataset: Dataset, cohort: Cohort, max_pixels: int, threads: int
) -> str | None:
    """Compare a random sample of the images with their digests in a store; the first that differs.

    Signatures are of the ends of a file, so that a change between them alone could escape.
    """
    digests = images.digests.tolist()
    rows = [row for row, digest in enumerate(digests) if digest]
    count = min(len(rows), _MOST_COMPARED, 1 + len(rows) // 100)
    chosen = sorted(random.SystemRandom().sample(rows, count))
    compare = partial(is_the_same, dataset, cohort, max_pixels, digests)
    with quiet_single_threaded_libraries(), closing(in_order(compare, chosen, threads)) as same:
        changed = [row for row, is_same in zip(chosen, same, strict=True) if not is_same]
    return cohort.image_ids[changed[0]] if changed else None


def require_same_images(stores: Sequence[CompleteStore], cohort: Cohort) -> None:
    """An image that changed without a change of its signature must not be mixed with itself.

    Raises
    ------
    CacheError
        Two stores saw different images.
    """
    first = stores[0]
    for other in stores[1:]:
        row = first.images.different_row(other.images)
        if row is not None:
            raise CacheError(
                f"the cache holds two versions of image {cohort.image_ids[row]!r}",
                expected="images that do not change while their size, time and ends stay the same",
                found=f"{first.folder} and {other.folder} differ",
                fix="run the same command again; if the error returns, remove both with "
                f"`cxrbench cache clear {first.folder.name} {other.folder.name}`",
            )


_CHUNK = 256


def _signatures(dataset: Dataset, cohort: Cohort, threads: int) -> str:
    pairs = list(zip(cohort.image_ids, cohort.sources, strict=True))
    chunks = (pairs[start : start + _CHUNK] for start in range(0, len(pairs), _CHUNK))
    digest = hashlib.sha256()
    for part in in_order(partial(signatures, dataset), chunks, threads):
        digest.update(part)
    return digest.hexdigest()
