"""From descriptors to one feature vector per image: fit on the training images, encode all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.errors import CacheError, PluginError
from cxrbench.output.files import (
    DamagedArrays,
    file_digest,
    locked,
    read_arrays,
    replacing,
    write_arrays,
)
from cxrbench.store.cache import (
    CACHE,
    NO_PURPOSE,
    Purpose,
    identity_of,
    key_of,
    lock_of,
    mark_used,
    write_purpose,
)
from cxrbench.store.stores import map_array

if TYPE_CHECKING:
    import numpy as np

    from cxrbench.interfaces import Advance, Display, Encoder, FeatureExtractor, FittedEncoder

ENCODING_VERSION = 2
"""Part of every key; raised when the same inputs would give other vectors."""

_DIGEST = "vectors_sha256"
_FITTED = "fitted."  # before the names of the encoder's arrays in the file


@dataclass(frozen=True, eq=False)
class EncodedFeatures:
    """``vectors`` (N, D) float32, memory-mapped, one row per image in the caller's order.

    ``fitted`` is what made them.
    """

    vectors: np.ndarray
    fitted: FittedEncoder


def encode(  # noqa: PLR0913
    descriptors_of: Callable[[int], np.ndarray],
    rows: int,
    extractor: FeatureExtractor,
    encoder: Encoder,
    train_rows: np.ndarray,
    *,
    seed: int,
    store_key: str,
    cache: Path,
    display: Display,
    purpose: Purpose = NO_PURPOSE,
) -> EncodedFeatures:
    """Fit the encoder on the training rows and encode every row, or take both from the cache.

    Parameters
    ----------
    descriptors_of : gives the stored descriptors (n, d) of the image in a row.
    rows : number of images; rows are 0 to ``rows - 1``.
    extractor, encoder : the extractor turns descriptors into vectors, the encoder joins them.
    train_rows : (T,) rows of the training split, in the order in which they are fitted.
    seed : for the encoder's fit.
    store_key : stands for the descriptors: where it is equal, they are.
    cache : the result is kept in ``encodings/`` of this folder, and computed again if damaged.
    purpose : for people.

    Raises
    ------
    PluginError
        The encoder's vectors differ in length, are not finite, or its arrays are no plain numbers.
    CacheError
        The result cannot be written.
    """
    about = {
        "version": ENCODING_VERSION,
        "store": store_key,
        "rows": rows,
        "train": _digest(train_rows),
        "seed": seed,
        "extractor": identity_of(extractor),
        "encoder": identity_of(encoder),
    }
    path = cache / "encodings" / f"{key_of(about)}.npy"
    job = _EncodingJob(descriptors_of, rows, extractor, encoder, train_rows, seed)
    with ExitStack() as held:
        with CACHE.writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked([lock_of(path)], display))
        encoded = _cached(path, job, display)
        if encoded is None:
            with CACHE.writing(path.parent):
                write_purpose(path.with_suffix(".json"), purpose, about=about)
            _compute(path, job, display)
            encoded = _cached(path, job, display)
    if encoded is None:
        raise CacheError(
            f"the encoding in {path} cannot be read right after it was written",
            fix="check the disk, or choose another folder with --cache",
        )
    return encoded


@dataclass(frozen=True, eq=False)
class _EncodingJob:
    descriptors_of: Callable[[int], np.ndarray]
    rows: int
    extractor: FeatureExtractor
    encoder: Encoder
    train_rows: np.ndarray
    seed: int

    def vectors(self, row: int) -> np.ndarray:
        return self.extractor.vectors(self.descriptors_of(row))


def _compute(path: Path, job: _EncodingJob, display: Display) -> None:
    """Write the vectors, and last the fitted arrays with the digest of the vectors."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    name, method = job.extractor.name, type(job.encoder).__name__
    with display.task(f"fitting {method} for {name}", len(job.train_rows)) as advance:
        fitted = job.encoder.fit(
            _train_vectors(job, advance), distance=job.extractor.distance, seed=job.seed
        )
    first = fitted.transform(job.vectors(0))
    needed = 4 * len(first) * job.rows
    CACHE.require_room(path.parent, needed)
    with (
        CACHE.writing(path.parent, needed),
        display.task(f"encoding images with {name}", job.rows) as advance,
        # One image is too small a product to share out: on a busy machine the threads of the
        # linear algebra wait for each other seven times as long as they work.
        threadpool_limits(1),
    ):
        # Row by row into a file: VLAD vectors of a large cohort do not fit into memory.
        with replacing(path, durable=True) as partial, partial.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (job.rows, len(first))}
            np.lib.format.write_array_header_1_0(file, header)
            for row in range(job.rows):
                vector = _checked(fitted.transform(job.vectors(row)), first.shape, job)
                file.write(vector.astype("<f4").tobytes())
                advance()
        _save_fitted(path, fitted)


def _train_vectors(job: _EncodingJob, advance: Advance) -> Iterator[np.ndarray]:
    for row in job.train_rows:
        yield job.vectors(int(row))
        advance()


def _checked(vector: np.ndarray, shape: tuple[int, ...], job: _EncodingJob) -> np.ndarray:
    import numpy as np

    if vector.shape == shape and np.isfinite(vector).all():
        return vector
    raise PluginError(
        f"the encoder {type(job.encoder).__name__} of {job.extractor.name!r} gave a bad vector",
        expected=f"finite numbers of shape {shape}, as for the first image",
        found=f"shape {vector.shape}, {np.isfinite(vector).sum()} of its numbers finite",
        fix="check transform for an image without keypoints, and for one with a single keypoint",
    )


def _cached(path: Path, job: _EncodingJob, display: Display) -> EncodedFeatures | None:
    fitted_path = path.with_suffix(".npz")
    if not fitted_path.exists():
        return None
    try:
        file = read_arrays(fitted_path)
        digest = str(file[_DIGEST])
        names = [name for name in file if name.startswith(_FITTED)]
        arrays = {name.removeprefix(_FITTED): file[name] for name in names}
        require_written_vectors(path, digest)
        fitted = job.encoder.fitted.from_arrays(arrays)
        encoded = EncodedFeatures(map_vectors(path), fitted)
    except (DamagedArrays, OSError, ValueError, KeyError) as error:
        display.say(f"the cached encoding {path} is damaged ({error}): computing it again")
        return None
    mark_used(path.with_suffix(".json"))
    return encoded


def require_written_vectors(path: Path, digest: str = "") -> None:
    """Raise ValueError unless the vectors have this digest, by default that beside them."""
    if not digest:
        try:
            digest = str(read_arrays(path.with_suffix(".npz"), [_DIGEST])[_DIGEST])
        except DamagedArrays as error:
            raise ValueError(str(error)) from error
    if digest != file_digest(path):
        raise ValueError("the vectors are not those that were written")


def map_vectors(path: Path) -> np.ndarray:
    """A read-only memory map (N, D) float32 of encoded vectors.

    Raises
    ------
    ValueError : the file is not what was written.
    """
    import numpy as np

    with path.open("rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("it is no array of this version")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return map_array(path, shape, dtype, offset=file.tell())


def _save_fitted(path: Path, fitted: FittedEncoder) -> None:
    import numpy as np

    arrays: dict[str, Any] = {_FITTED + name: array for name, array in fitted.arrays().items()}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise PluginError(
                f"{type(fitted).__name__}.arrays() holds Python objects in {name!r}",
                expected="plain numbers or text, which load without pickle",
            )
    arrays[_DIGEST] = np.array(file_digest(path))
    write_arrays(path.with_suffix(".npz"), arrays, durable=True)


def _digest(rows: np.ndarray) -> str:
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
