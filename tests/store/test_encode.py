"""Encoding a cohort: fitted on training images only, kept on disk, rebuilt when damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest

from cxrbench import VLAD, BagOfWords, Encoder, FeatureExtractor, FittedEncoder, LocalFeatures
from cxrbench.builtin.orb import ORB
from cxrbench.builtin.sift import SIFT
from cxrbench.errors import CacheError, PluginError
from cxrbench.output.display import SilentDisplay
from cxrbench.store.encode import EncodedFeatures, encode

TRAIN = np.array([0, 2, 3, 5, 8])


class Spoken(SilentDisplay):
    """Keeps the lines that stay."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


class Store:
    """Descriptors in memory; counts how often they are read."""

    def __init__(self, rows: int = 10, seed: int = 0, canary: Iterable[int] = ()) -> None:
        rng = np.random.default_rng(seed)
        self.descriptors = [
            rng.integers(0, 120, (rng.integers(5, 40), 128), dtype=np.uint8) for _ in range(rows)
        ]
        self.descriptors[4] = np.zeros((0, 128), np.uint8)
        for row in canary:
            self.descriptors[row] = np.full((30, 128), 255, np.uint8)
        self.reads = 0

    def __call__(self, row: int) -> np.ndarray:
        self.reads += 1
        return self.descriptors[row]


def run(cache: Path, store: Store | None = None, **changed: object) -> EncodedFeatures:
    """Encode with what matters to a test changed."""
    store = store or Store()
    settings: dict[str, object] = {
        "rows": len(store.descriptors),
        "extractor": SIFT(),
        "encoder": BagOfWords(words=6),
        "train_rows": TRAIN,
        "seed": 0,
        "store_key": "films",
        "display": SilentDisplay(),
    }
    return encode(store, cache=cache, **(settings | changed))  # type: ignore[arg-type]


def files(cache: Path, suffix: str = ".npz") -> list[Path]:
    return sorted((cache / "encodings").glob(f"*{suffix}"))


@pytest.mark.parametrize("encoder", [BagOfWords(words=6), VLAD(words=6)], ids=["bow", "vlad"])
def test_rows_are_what_fit_and_transform_give(tmp_path: Path, encoder: Encoder) -> None:
    store, extractor = Store(), SIFT()
    encoded = run(tmp_path, store, encoder=encoder)
    vectors = [extractor.vectors(descriptors) for descriptors in store.descriptors]
    fitted = encoder.fit([vectors[row] for row in TRAIN], distance="l2", seed=0)
    assert encoded.vectors.dtype == np.float32
    np.testing.assert_array_equal(
        encoded.vectors, np.stack([fitted.transform(one) for one in vectors])
    )
    assert not encoded.vectors[4].any()


def test_bits_reach_the_encoder_as_signs(tmp_path: Path) -> None:
    encoded = run(tmp_path, extractor=ORB())
    assert set(np.unique(encoded.fitted.arrays()["words"])) == {-1, 1}


def test_only_training_images_shape_the_codebook(tmp_path: Path) -> None:
    others = [row for row in range(10) if row not in TRAIN]
    clean = run(tmp_path / "clean", Store())
    marked = run(tmp_path / "marked", Store(canary=others))
    np.testing.assert_array_equal(clean.fitted.arrays()["words"], marked.fitted.arrays()["words"])
    np.testing.assert_array_equal(clean.vectors[TRAIN], marked.vectors[TRAIN])
    assert not np.array_equal(clean.vectors[others], marked.vectors[others])
    # The same mark inside the training images is seen, so the canary can sing.
    inside = run(tmp_path / "inside", Store(canary=[2]))
    assert not np.array_equal(inside.fitted.arrays()["words"], clean.fitted.arrays()["words"])


@pytest.mark.parametrize("encoder", [BagOfWords(words=6), VLAD(words=6)], ids=["bow", "vlad"])
def test_the_second_time_nothing_is_computed(tmp_path: Path, encoder: Encoder) -> None:
    first = run(tmp_path, encoder=encoder)
    store, display = Store(), Spoken()
    again = run(tmp_path, store, encoder=encoder, display=display)
    assert store.reads == 0
    assert display.lines == []
    np.testing.assert_array_equal(again.vectors, first.vectors)
    probe = SIFT().vectors(store.descriptors[1])
    np.testing.assert_array_equal(again.fitted.transform(probe), first.fitted.transform(probe))


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"store_key": "other films"},
        {"train_rows": TRAIN[:-1]},
        {"encoder": BagOfWords(words=7)},
        {"encoder": VLAD(words=6)},
        {"extractor": SIFT(nfeatures=499)},
        {"extractor": ORB()},
        {"rows": 9},
    ],
    ids=lambda changed: ",".join(changed),
)
def test_everything_that_shapes_the_result_is_in_the_key(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    run(tmp_path)
    store = Store()
    run(tmp_path, store, **changed)
    assert store.reads > 0
    assert len(files(tmp_path)) == 2


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def empty(data: bytes) -> bytes:
    return b""


def flip_in_the_numbers(data: bytes) -> bytes:
    middle = data.index(b"\x93NUMPY") + 200
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def another_format(data: bytes) -> bytes:
    return b"not a zip file at all"


@pytest.mark.parametrize("suffix", [".npy", ".npz"], ids=["vectors", "fitted"])
@pytest.mark.parametrize("damage", [cut, empty, flip_in_the_numbers, another_format])
def test_a_damaged_file_is_said_and_computed_again(
    tmp_path: Path, damage: Callable[[bytes], bytes], suffix: str
) -> None:
    first = run(tmp_path)
    first = replace(first, vectors=np.array(first.vectors))  # the file below them is damaged
    (path,) = files(tmp_path, suffix)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    display = Spoken()
    again = run(tmp_path, display=display)
    np.testing.assert_array_equal(again.vectors, first.vectors)
    (line,) = display.lines
    assert path.stem in line
    assert "damaged" in line
    assert run(tmp_path, display=display).vectors.shape == first.vectors.shape
    assert len(display.lines) == 1  # the file is whole again


def test_no_single_changed_byte_goes_unnoticed_or_stops_the_program(tmp_path: Path) -> None:
    first = run(tmp_path)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(whole), 150, replace=False):
        changed = bytearray(whole)
        changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        again = run(tmp_path)
        np.testing.assert_array_equal(again.vectors, first.vectors, err_msg=f"byte {place}")


def test_a_write_that_dies_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(file: object, **arrays: object) -> None:
        file.write(b"PK\x03\x04 half")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert files(tmp_path) == []
    monkeypatch.undo()
    display = Spoken()
    run(tmp_path, display=display)
    assert display.lines == []
    assert len(files(tmp_path)) == 1


def test_a_cache_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "encodings").write_text("a file where the folder should be")
    with pytest.raises(CacheError, match="cannot write the cache"):
        run(tmp_path)


@dataclass(frozen=True, eq=False)
class FittedOdd(FittedEncoder):
    """Does what ``fault`` says with the image of row 4, which has no keypoints."""

    fault: str

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        if self.fault == "mean":
            with np.errstate(invalid="ignore"):
                return vectors.sum(axis=0) / np.float32(len(vectors))
        return vectors[:3].ravel()

    def arrays(self) -> dict[str, np.ndarray]:
        return {"fault": np.array([self], dtype=object)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        raise AssertionError("never written")


@dataclass(frozen=True)
class Odd(Encoder):
    """An encoder with a mistake."""

    fitted: ClassVar[type[FittedEncoder]] = FittedOdd
    fault: str = "mean"

    def fit(self, images: Iterable[np.ndarray], *, distance: str, seed: int) -> FittedOdd:
        return FittedOdd(self.fault)


@pytest.mark.parametrize(
    ("fault", "told"),
    [("mean", r"shape \(128,\), 0 of its numbers finite"), ("ragged", r"got: shape \(0,\)")],
)
def test_a_vector_that_cannot_be_used_names_the_encoder(
    tmp_path: Path, fault: str, told: str
) -> None:
    with pytest.raises(PluginError, match=told):
        run(tmp_path, encoder=Odd(fault=fault))
    assert files(tmp_path) == []


def test_python_objects_are_not_written(tmp_path: Path) -> None:
    store = Store()
    store.descriptors[4] = store.descriptors[3]
    with pytest.raises(PluginError, match="Python objects"):
        run(tmp_path, store, encoder=Odd())
    assert files(tmp_path) == []


@dataclass(frozen=True)
class Metadata(FeatureExtractor):
    """One vector per image, without pixels."""

    name = "metadata"
    encodings: ClassVar[Mapping[str, type[Encoder]]] = {}
    image_size: int | None = None

    def extract(self, image: np.ndarray | None, record: object) -> LocalFeatures:
        raise AssertionError("encode reads what is stored")


def test_an_extractor_of_whole_images(tmp_path: Path) -> None:
    from cxrbench import Identity

    store = Store()
    store.descriptors = [np.full((1, 4), row / 2, np.float32) for row in range(10)]
    encoded = run(tmp_path, store, extractor=Metadata(), encoder=Identity())
    np.testing.assert_array_equal(encoded.vectors[:, 0], np.arange(10) / 2)
