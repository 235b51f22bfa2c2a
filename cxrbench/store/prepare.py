"""Prepare a cohort: one pass over its images fills every store that is missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.errors import CacheError, DataError
from cxrbench.interfaces import Exclusion
from cxrbench.output.files import locked
from cxrbench.store.cache import CACHE, PURPOSE_FILE, lock_of, mark_used
from cxrbench.store.consumers import (
    Consumer,
    changed_image,
    consumers_of,
    notes_on_older,
    require_same_images,
)
from cxrbench.store.image_pass import (
    ImagesInOrder,
    Preparation,
    PreparedImage,
    in_order,
    prepare_image,
    quiet_single_threaded_libraries,
)
from cxrbench.store.journal import DamagedStore, ImageTable
from cxrbench.store.sources import can_be_read
from cxrbench.store.stores import (
    CompleteStore,
    FeatureStore,
    StoreWriter,
    cut_store,
    feature_store,
    map_array,
    open_store,
    remove_store,
)

if TYPE_CHECKING:
    from cxrbench.interfaces import Cohort, Dataset, Display, FeatureExtractor

_EXAMPLES = 3


@dataclass(frozen=True, eq=False)
class Prepared:
    """A cohort's images, ready for backbones and encoders; rows are the cohort's.

    ``usable`` (N,) bool: False for the images in ``excluded``. ``digests``: SHA-256 of each image's
    source, ``""`` where it could not be read. ``shapes`` (N, 2) int64: original height and width, 0
    for excluded images. ``pixels``: for each image size (N, S, S) uint8, read-only, zeros for
    excluded images; ``clahe_pixels`` the same after CLAHE. ``features``: for each extractor its
    local features. ``stores`` are the folders of all this; those ``made`` by this call were not, or
    not all, there before.
    """

    usable: np.ndarray
    excluded: tuple[Exclusion, ...]
    digests: tuple[str, ...]
    shapes: np.ndarray
    pixels: Mapping[int, np.ndarray]
    clahe_pixels: Mapping[int, np.ndarray]
    features: Mapping[FeatureExtractor, FeatureStore]
    stores: tuple[Path, ...]
    made: frozenset[Path]


def prepare(  # noqa: PLR0913 - what is wanted of the images, and where and by whom it is made
    dataset: Dataset,
    cohort: Cohort,
    preparation: Preparation,
    *,
    max_bad: float,
    cache: Path,
    threads: int,
    display: Display,
    images_in_order: ImagesInOrder = in_order,
) -> Prepared:
    """Read each image once and make what ``preparation`` wants and ``cache`` does not have.

    A call that was interrupted at any instant is continued by the next one, with the same bytes at
    the end; two processes at once take turns. An image that the system could not read is tried
    again by the next call, which goes on from it if it can be read now. ``images_in_order`` says
    where images are prepared: by default by threads of this process.

    Raises
    ------
    DataError
        No image at all, or a share above ``max_bad`` cannot be used.
    PluginError
        The dataset or an extractor breaks its promise.
    CacheError
        The cache cannot be written, or its stores saw different images under the same names.
    """
    if len(cohort) == 0:
        raise DataError(f"cohort {cohort.name!r} has no images")
    consumers = consumers_of(dataset, cohort, preparation, threads)
    stores = {consumer: _open_or_none(consumer, cache) for consumer in consumers}
    job = _ImagePass(dataset, cohort, preparation, threads, frozenset(), images_in_order)
    stale = _stale(stores, job, display)
    stores |= dict.fromkeys(stale)
    again = _readable_again(stores.values(), dataset, cohort, preparation.max_pixels)
    missing = [c for c, store in stores.items() if store is None or store.images.not_read & again]
    if missing:
        for note in notes_on_older(missing, cache):
            display.say(note)
        _fill(missing, replace(job, readable_again=again, stale=stale), cache, display)
        stores |= {consumer: _require_store(consumer, cache) for consumer in missing}
    opened = {consumer: store for consumer, store in stores.items() if store is not None}
    require_same_images(tuple(opened.values()), cohort)
    for store in opened.values():
        mark_used(store.folder / PURPOSE_FILE)
    try:
        prepared = _prepared(opened, cohort, missing)
    except FileNotFoundError as error:
        raise _removed(error.filename) from error
    _report(prepared, cohort, max_bad, display)
    return prepared


@dataclass(frozen=True, eq=False)
class _ImagePass:
    dataset: Dataset
    cohort: Cohort
    preparation: Preparation
    threads: int
    readable_again: frozenset[int]
    images_in_order: ImagesInOrder
    stale: frozenset[Consumer] = frozenset()


@dataclass(frozen=True, eq=False)
class _RowWork:
    """Prepares a row for the stores that do not ``have`` it yet; it can be sent to other nodes."""

    dataset: Dataset
    cohort: Cohort
    preparation: Preparation
    have: Mapping[Consumer, int]

    def __call__(self, row: int) -> PreparedImage:
        preparation = _narrowed(
            self.preparation, [c for c, rows in self.have.items() if rows <= row]
        )
        return prepare_image(self.dataset, self.cohort, row, preparation)


def _open_or_none(consumer: Consumer, cache: Path) -> CompleteStore | None:
    try:
        return open_store(consumer.spec, cache)
    except DamagedStore:
        return None  # looked at again, said and rebuilt under its lock


def _stale(
    stores: Mapping[Consumer, CompleteStore | None], job: _ImagePass, display: Display
) -> frozenset[Consumer]:
    """The stores that were made of other images, which look the same from outside: all or none."""
    complete = {consumer: store for consumer, store in stores.items() if store is not None}
    if not complete:
        return frozenset()
    stale = _is_stale(next(iter(complete.values())).images, job, display)
    return frozenset(complete) if stale else frozenset()


def _is_stale(images: ImageTable, job: _ImagePass, display: Display) -> bool:
    name = changed_image(images, job.dataset, job.cohort, job.preparation.max_pixels, job.threads)
    if name is not None:
        display.say(
            f"image {name!r} is not the one that the cache was made of, though its size, time "
            "and ends are the same: all images are prepared again"
        )
    return name is not None


def _readable_again(
    stores: Iterable[CompleteStore | None], dataset: Dataset, cohort: Cohort, max_pixels: int
) -> frozenset[int]:
    """The rows whose image could not be read when a store was made, and can be now."""
    rows = set[int]().union(*(store.images.not_read for store in stores if store is not None))
    return frozenset(row for row in rows if can_be_read(dataset, cohort, row, max_pixels))


def _require_store(consumer: Consumer, cache: Path) -> CompleteStore:
    store = open_store(consumer.spec, cache, verify=False)
    if store is None:
        raise _removed(consumer.spec.folder(cache))
    return store


def _removed(what: str | Path) -> CacheError:
    return CacheError(f"{what} was removed while it was in use", fix="run the same command again")


def _fill(consumers: Sequence[Consumer], job: _ImagePass, cache: Path, display: Display) -> None:
    with ExitStack() as stack:
        stack.enter_context(CACHE.writing(cache))
        for consumer in consumers:
            consumer.spec.folder(cache).parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked([lock_of(c.spec.folder(cache)) for c in consumers], display))
        missing = [c for c in consumers if _still_missing(c, job, cache, display)]
        writers = {c: _writer(c, job, cache, display) for c in missing}
        for writer in writers.values():
            stack.callback(writer.close)
        CACHE.require_room(cache, _bytes_left(writers))
        with CACHE.writing(cache, lambda: _bytes_left(writers)):
            _run_pass(writers, job, display)


def _bytes_left(writers: Mapping[Consumer, StoreWriter]) -> int:
    return sum(writer.bytes_left() for writer in writers.values())


def _still_missing(consumer: Consumer, job: _ImagePass, cache: Path, display: Display) -> bool:
    if consumer in job.stale:
        with suppress(FileNotFoundError):  # another process was first
            remove_store(consumer.spec.folder(cache))
        return True
    try:
        store = open_store(consumer.spec, cache)
    except DamagedStore as error:
        _discard(consumer.spec.folder(cache), error, display)
        return True
    if store is None:
        return True
    again = store.images.not_read & job.readable_again
    if again:
        display.say(f"{len(again)} images could not be read before, and can be read now")
        cut_store(consumer.spec, cache, min(again))
    return bool(again)


def _writer(consumer: Consumer, job: _ImagePass, cache: Path, display: Display) -> StoreWriter:
    try:
        writer = StoreWriter(consumer.spec, cache)
    except DamagedStore as error:
        _discard(consumer.spec.folder(cache), error, display)
        return StoreWriter(consumer.spec, cache)
    if not writer.rows or not _is_stale(writer.images, job, display):
        return writer
    writer.close()
    remove_store(consumer.spec.folder(cache))
    return StoreWriter(consumer.spec, cache)


def _discard(folder: Path, error: DamagedStore, display: Display) -> None:
    display.say(f"the store in {folder} is damaged and is built again: {error}")
    remove_store(folder)


def _run_pass(writers: Mapping[Consumer, StoreWriter], job: _ImagePass, display: Display) -> None:
    total = len(job.cohort)
    start = min((writer.rows for writer in writers.values()), default=total)
    if 0 < start < total:
        display.say(f"continuing at image {start + 1} of {total}")
    had = {consumer: writer.rows for consumer, writer in writers.items()}
    work = _RowWork(job.dataset, job.cohort, job.preparation, had)
    rows = range(start, total)
    with ExitStack() as stack:
        stack.enter_context(quiet_single_threaded_libraries())
        advance = stack.enter_context(display.task("preparing", total))
        advance(start)
        images = stack.enter_context(closing(job.images_in_order(work, rows, job.threads)))
        for row, image in zip(rows, images, strict=True):
            for consumer, writer in writers.items():
                if had[consumer] <= row:
                    consumer.add(image, writer)
            advance()
    for writer in writers.values():
        writer.finish()


def _narrowed(preparation: Preparation, consumers: Sequence[Consumer]) -> Preparation:
    return replace(
        preparation,
        image_sizes=tuple(c.size for c in consumers if c.size is not None and not c.clahe),
        clahe_sizes=tuple(c.size for c in consumers if c.size is not None and c.clahe),
        extractors=tuple(c.extractor for c in consumers if c.extractor is not None),
    )


def _prepared(
    stores: Mapping[Consumer, CompleteStore], cohort: Cohort, made: Sequence[Consumer]
) -> Prepared:
    images = next(iter(stores.values())).images
    usable = np.ones(len(images), bool)
    usable[list(images.reasons)] = False
    return Prepared(
        usable=usable,
        excluded=tuple(Exclusion(cohort.image_ids[r], why) for r, why in images.reasons.items()),
        digests=tuple(digest.decode() for digest in images.digests),
        shapes=images.shapes,
        pixels=_pixels(stores, clahe=False),
        clahe_pixels=_pixels(stores, clahe=True),
        features={
            c.extractor: feature_store(store)
            for c, store in stores.items()
            if c.extractor is not None
        },
        stores=tuple(store.folder for store in stores.values()),
        made=frozenset(stores[consumer].folder for consumer in made),
    )


def _pixels(stores: Mapping[Consumer, CompleteStore], *, clahe: bool) -> dict[int, np.ndarray]:
    return {
        c.size: map_array(
            store.folder / "pixels.bin", (len(store.images), c.size, c.size), np.dtype(np.uint8)
        )
        for c, store in stores.items()
        if c.size is not None and c.clahe == clahe
    }


def _report(prepared: Prepared, cohort: Cohort, max_bad: float, display: Display) -> None:
    """Say which images are left out and why; raise `DataError` if they are too many."""
    absent = cohort.absent
    bad, total = len(prepared.excluded) + absent, len(cohort) + absent
    if not bad:
        return
    lines = [*_reasons(prepared.excluded), *[f"{absent}: rows without a file"] * bool(absent)]
    if bad == total or bad > max_bad * total:
        raise DataError(
            f"{bad} of {total} images of {cohort.name!r} cannot be used",
            expected=f"at most {max_bad:.3g} of them (--max-bad), and at least one usable image",
            found="; ".join(lines[:_EXAMPLES]),
            fix="repair or add these images, or accept more with --max-bad",
        )
    display.say(f"{bad} of {total} images are excluded:")
    for line in lines:
        display.say(f"  {line}")


def _reasons(excluded: Sequence[Exclusion]) -> list[str]:
    """One line for each reason, the most frequent first, with a few of its images."""
    by_reason = defaultdict(list)
    for exclusion in excluded:
        by_reason[exclusion.reason].append(exclusion.image_id)
    ranked = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    return [
        f"{len(ids)}: {reason} ({', '.join(ids[:_EXAMPLES])}{', ...' * (len(ids) > _EXAMPLES)})"
        for reason, ids in ranked
    ]
