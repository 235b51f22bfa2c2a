"""Decode each image once for all consumers, in order."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cxrbench.errors import PluginError, UnreadableImage, error_text
from cxrbench.interfaces import LocalFeatures
from cxrbench.store.decoding import Fit, clahe, fit_image
from cxrbench.store.limits import is_shortage, telling_shortage
from cxrbench.store.sources import described, digest_of_source, grey_of, read_source, reason_of

if TYPE_CHECKING:
    from cxrbench.interfaces import Cohort, Dataset, FeatureExtractor, Record

Item = TypeVar("Item")
Result = TypeVar("Result")

ImagesInOrder = Callable[
    [Callable[[int], "PreparedImage"], Iterable[int], int], Generator["PreparedImage", None, None]
]
"""From ``work``, rows and a number of threads to what ``work`` makes of each row, in order."""

# Enough that no thread waits for a slow image before it in the order; bounds the memory.
_AHEAD_PER_THREAD = 4


@dataclass(frozen=True)
class Preparation:
    """What is wanted of each image, and what shapes its pixels on the way.

    ``image_sizes`` are the sides in pixels that backbones want, ``clahe_sizes`` those at which they
    want the image with CLAHE beside it. CLAHE is applied to the whole image before it is fitted;
    ``clahe`` asks for it everywhere. More than ``max_pixels`` in an image excludes it.
    """

    image_sizes: tuple[int, ...] = ()
    clahe_sizes: tuple[int, ...] = ()
    extractors: tuple[FeatureExtractor, ...] = ()
    fit: Fit = "stretch"
    clahe: bool = False
    max_pixels: int = 100_000_000


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """One image: SHA-256 of its source (``""`` if it cannot be read), size, and what was wanted.

    ``shape`` is (height, width) of the original, (0, 0) for an image that is left out; ``reason``
    says why it is.
    """

    digest: str
    shape: tuple[int, int] = (0, 0)
    reason: str | None = None
    pixels: Mapping[int, np.ndarray] = field(default_factory=dict)
    clahe_pixels: Mapping[int, np.ndarray] = field(default_factory=dict)
    features: Mapping[FeatureExtractor, LocalFeatures] = field(default_factory=dict)


def prepare_image(
    dataset: Dataset, cohort: Cohort, row: int, preparation: Preparation
) -> PreparedImage:
    """Read and decode one image and make what is wanted of it.

    Raises
    ------
    PluginError
        The dataset or an extractor failed, or returned what its interface does not allow.
    OutOfMemory, DataError
        The machine lacks memory or file handles.
    """
    image_id, source = cohort.image_ids[row], cohort.sources[row]
    return prepare_source(
        lambda: read_source(dataset, source, image_id, preparation.max_pixels),
        cohort.record(row),
        preparation,
    )


def prepare_source(
    read: Callable[[], bytes | np.ndarray], record: Record, preparation: Preparation
) -> PreparedImage:
    """Decode what ``read`` gives, an encoded file or grey pixels, and make what is wanted of it.

    An `UnreadableImage` or `OSError` of ``read`` is the reason why the image is left out.

    Raises
    ------
    PluginError
        An extractor failed, or returned what its interface does not allow.
    OutOfMemory, DataError
        The machine lacks memory or file handles.
    """
    digest = ""
    with telling_shortage(record.image_id):
        try:
            source = read()
            digest = digest_of_source(source)
            grey = grey_of(source, preparation.max_pixels)
        except (UnreadableImage, OSError) as error:
            if is_shortage(error):
                raise
            return PreparedImage(digest, reason=reason_of(error))
        return prepare_grey(grey, record, preparation, digest)


def prepare_grey(
    grey: np.ndarray, record: Record, preparation: Preparation, digest: str = ""
) -> PreparedImage:
    """Make what is wanted of a decoded image (H, W) uint8.

    Raises
    ------
    PluginError
        An extractor failed, or returned what its interface does not allow.
    """
    equalised = clahe(grey) if preparation.clahe or preparation.clahe_sizes else grey
    enhanced = equalised if preparation.clahe else grey
    sizes = {e.image_size for e in preparation.extractors if e.image_size is not None}
    fitted = {
        s: fit_image(enhanced, s, preparation.fit) for s in {*preparation.image_sizes, *sizes}
    }
    features = {
        extractor: _extract(
            extractor,
            None if extractor.image_size is None else fitted[extractor.image_size],
            record,
        )
        for extractor in preparation.extractors
    }
    return PreparedImage(
        digest,
        grey.shape,
        pixels={size: fitted[size] for size in preparation.image_sizes},
        clahe_pixels={s: fit_image(equalised, s, preparation.fit) for s in preparation.clahe_sizes},
        features=features,
    )


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    *,
    ahead: int = _AHEAD_PER_THREAD,
) -> Generator[Result, None, None]:
    """Results of ``work`` in the order of the items, ``ahead`` of them for each thread at most.

    The first is made before the threads start: several threads that import a library at the same
    time, each by another of its modules, can see it half imported.
    """
    waiting: deque[Future[Result]] = deque()
    rest = iter(items)
    for item in islice(rest, 1):
        yield work(item)
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in rest:
                waiting.append(pool.submit(work, item))
                if len(waiting) > threads * ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def quiet_single_threaded_libraries() -> Iterator[None]:
    """OpenCV with one thread per call, since images run side by side; no warnings of decoders'."""
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(PIL|pydicom)(\.|$)")
            yield
    finally:
        cv2.setNumThreads(threads)


def _extract(
    extractor: FeatureExtractor, image: np.ndarray | None, record: Record
) -> LocalFeatures:
    try:
        features = extractor.extract(image, record)
    except Exception as error:
        if is_shortage(error):
            raise
        raise PluginError(
            f"feature extractor {extractor.name!r} failed on image {record.image_id!r}",
            expected="LocalFeatures for every image, with n = 0 where nothing is found",
            found=error_text(error),
            fix="correct extract, or report this to the plugin's author; "
            f"`cxrbench plugins check {extractor.name}` shows more",
        ) from error
    wrong = _wrong_features(features)
    if wrong is not None:
        raise PluginError(
            f"feature extractor {extractor.name!r} returned unusable features for "
            f"{record.image_id!r}",
            expected="LocalFeatures: descriptors (n, d) uint8 or float32, finite; "
            "keypoints (n, 4) float32, or None",
            found=wrong,
            fix="correct extract, or report this to the plugin's author; "
            f"`cxrbench plugins check {extractor.name}` shows more",
        )
    return features


def _wrong_features(features: object) -> str | None:
    if not isinstance(features, LocalFeatures):
        return described(features)
    vectors, points = features.descriptors, features.keypoints
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.shape[1] == 0:
        return f"descriptors: {described(vectors)}"
    if vectors.dtype not in (np.uint8, np.float32):
        return f"descriptors: {described(vectors)}"
    if vectors.dtype == np.float32 and not np.isfinite(vectors).all():
        return "descriptors that are not finite"
    if points is None:
        return None
    if not isinstance(points, np.ndarray) or points.shape != (len(vectors), 4):
        return f"keypoints: {described(points)} for {len(vectors)} descriptors"
    return None if points.dtype == np.float32 else f"keypoints: {described(points)}"
