"""The outputs of a frozen network, computed once: embeddings or activations."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import RunError
from cxrbench.interfaces import Display
from cxrbench.modeling.backend import load_keras
from cxrbench.modeling.batch_size import memory_advice
from cxrbench.modeling.engines import predictor
from cxrbench.modeling.inputs import Inputs, feed
from cxrbench.modeling.predict import Predict, by_name, keras_predictor, padded_batches
from cxrbench.output.files import locked
from cxrbench.store.cache import CACHE, NO_PURPOSE, PURPOSE_FILE, Purpose, lock_of, mark_used
from cxrbench.store.journal import DamagedStore, ImageFacts
from cxrbench.store.stores import StoreSpec, StoreWriter, map_array, open_store, remove_store

EMBEDDING_VERSION = 1
"""Part of every key; raised when the same pixels and weights would give other embeddings."""

# A divisor of the rows of a journal line: after an interruption, the batches are the same as
# without it, and so are the last bits of the result.
BATCH = 32

_FILE = "embeddings.bin"
_LESS = "use --activations recompute, which keeps nothing"


def network_digest(model: Any, *, weights: bool = True) -> str:
    """SHA-256 over a model's layers and their settings, and over its weights and their shapes."""
    digest = hashlib.sha256(_without_names(model).encode())
    for value in model.get_weights() if weights else ():
        digest.update(f"{value.shape}:{value.dtype}".encode())
        digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()


def _without_names(model: Any) -> str:
    # Keras numbers layers without names, so the same network built later has other names.
    text: str = model.to_json()
    for number, name in enumerate(_names(json.loads(text))):
        text = text.replace(json.dumps(name), f'"#{number}"')
    return text


def _names(config: Any) -> Iterator[str]:
    """The names of all layers in a configuration, outer ones first."""
    if isinstance(config, dict):
        if "name" in config.get("config", {}) and config["class_name"] != "DTypePolicy":
            yield config["config"]["name"]
        config = list(config.values())
    if isinstance(config, list):
        for part in config:
            yield from _names(part)


def embedding_predictor(embedder: Any, pixels: np.ndarray, engine: str) -> Predict:
    """Return a function of a batch of stored pixels, ``{"image": (BATCH, S, S) uint8}``.

    Raises
    ------
    DeviceError : the engine cannot compute this network, or does not agree with Keras on it.
    """
    if engine != "keras":
        example = _floats(pixels[np.resize(np.arange(len(pixels)), BATCH)])
        fast = predictor(embedder, engine, example)
        return lambda batch: fast(_floats(by_name(batch)["image"]))
    image = load_keras().Input(embedder.input_shape[1:], name="image")
    model = load_keras().Model({"image": image}, embedder(image))
    return keras_predictor(model, _inputs(pixels))


def _floats(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., None].astype(np.float32)


def _inputs(pixels: np.ndarray) -> Inputs:
    return Inputs(pixels, {}, np.zeros((len(pixels), 0), np.float32))


def embed(  # noqa: PLR0913
    make_predictor: Callable[[], Predict],
    pixels: np.ndarray,
    *,
    output_shape: tuple[int, ...],
    about: Mapping[str, Any],
    cache: Path,
    display: Display,
    dtype: type[np.floating[Any]] = np.float32,
    purpose: Purpose = NO_PURPOSE,
) -> np.ndarray:
    """Return a network's outputs for ``pixels`` (N, S, S) uint8: (N, *output_shape), memory-mapped.

    ``make_predictor`` is called only if something is left to compute; the predictor is called with
    `BATCH` images. ``about`` (plain values) must contain everything that determines pixels and
    network: a second call with the same values reads the store in ``embeddings/`` of the cache. The
    next call continues an interrupted one, two calls at the same time take turns, and a damaged
    store is built again. ``purpose`` is for people.

    Raises
    ------
    CacheError : the store cannot be written.
    OutOfMemory : a batch does not fit.
    RunError : a value is too large for half precision.
    """
    row_bytes = np.dtype(dtype).itemsize * math.prod(output_shape)
    key = {"version": EMBEDDING_VERSION, "dtype": np.dtype(dtype).name, **about}
    spec = StoreSpec("embeddings", key, len(pixels), (_FILE,), row_bytes, purpose)
    folder = spec.folder(cache)
    with ExitStack() as stack:
        with CACHE.writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked([lock_of(folder)], display))
        writer = _unfinished(spec, cache, display)
        if writer is not None:
            stack.callback(writer.close)
            if dtype == np.float16:
                display.say(
                    f"  storing {' × '.join(map(str, output_shape))} activations of each of "
                    f"{len(pixels):,} images: {row_bytes * len(pixels) / 1e6:,.1f} MB in the cache"
                )
            less = _LESS if dtype == np.float16 else None
            CACHE.require_room(folder, writer.bytes_left(), otherwise=less)
            with CACHE.writing(folder, writer.bytes_left):
                _compute(make_predictor(), pixels, writer, dtype, display)
        # Under the lock, so that nobody removes it before it is mapped.
        mark_used(folder / PURPOSE_FILE)
        return map_array(folder / _FILE, (len(pixels), *output_shape), np.dtype(dtype))


def _unfinished(spec: StoreSpec, cache: Path, display: Display) -> StoreWriter | None:
    folder = spec.folder(cache)
    try:
        if open_store(spec, cache) is not None:
            return None
        with CACHE.writing(folder):
            return StoreWriter(spec, cache)
    except DamagedStore as error:
        display.say(f"The embeddings in {folder} are damaged and computed again: {error}")
    with CACHE.writing(folder):
        remove_store(folder)
        return StoreWriter(spec, cache)


def _compute(
    predict: Predict,
    pixels: np.ndarray,
    writer: StoreWriter,
    dtype: type[np.floating[Any]],
    display: Display,
) -> None:
    batches = list(padded_batches(np.arange(writer.rows, len(pixels)), BATCH))
    with (
        memory_advice(f"embedding in batches of {BATCH}"),
        display.task("embedding", len(pixels)) as advance,
        closing(feed(_inputs(pixels), (rows for rows, _ in batches))) as ready,
    ):
        advance(writer.rows)
        for (inputs, _), (_, count) in zip(ready, batches, strict=True):
            for row in _cast(dtype, np.asarray(predict(inputs))[:count]):
                writer.append(ImageFacts(""), (row,), {})
            advance(count)
        writer.finish()


def _cast(dtype: type[np.floating[Any]], values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        numbers = values.astype(dtype)
    if np.isinf(numbers).any() and not np.isinf(values).any():
        raise RunError(
            "the activations of the frozen layers are too large for half precision",
            expected=f"values up to {np.finfo(dtype).max:,.0f}",
            found=f"{np.abs(values).max():,.0f}",
            fix="use --activations recompute",
        )
    return numbers
