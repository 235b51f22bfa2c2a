"""BagOfWords and VLAD, against plain loops and scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from cxrbench import VLAD, BagOfWords, CxrbenchError, Encoder
from cxrbench.encoders.visual_words import sample_evenly

ENCODERS = [BagOfWords(words=8), VLAD(words=8)]


def images(seed: int = 0, count: int = 30, d: int = 16) -> list[np.ndarray]:
    """Vectors around eight centres, a varying number per image, none in the first."""
    rng = np.random.default_rng(seed)
    centres = 5 * rng.standard_normal((8, d))
    sizes = rng.integers(1, 60, count)
    sizes[0] = 0
    return [
        (centres[rng.integers(0, 8, n)] + rng.standard_normal((n, d))).astype(np.float32)
        for n in sizes
    ]


def signs(seed: int = 0) -> list[np.ndarray]:
    """The same as bits: -1 and +1."""
    return [np.where(vectors > 0, 1, -1).astype(np.float32) for vectors in images(seed)]


def loop_nearest(vectors: np.ndarray, words: np.ndarray, hamming: bool) -> list[int]:
    """One vector at a time, with the distance written out."""
    if hamming:
        return [int(np.argmin([(v != w).sum() for w in words])) for v in vectors]
    return [int(np.argmin([((v - w) ** 2).sum() for w in words])) for v in vectors]


@pytest.mark.parametrize("distance", ["l2", "hamming"])
def test_bag_of_words_counts_the_nearest_words(distance: str) -> None:
    data = signs() if distance == "hamming" else images()
    fitted = BagOfWords(words=8).fit(data, distance=distance, seed=1)  # type: ignore[arg-type]
    words = fitted.arrays()["words"]
    for vectors in data:
        expected = np.zeros(8)
        for word in loop_nearest(vectors, words, distance == "hamming"):
            expected[word] += 1
        expected = np.sqrt(expected / max(len(vectors), 1))
        np.testing.assert_allclose(fitted.transform(vectors), expected, rtol=1e-6)


@pytest.mark.parametrize("distance", ["l2", "hamming"])
def test_vlad_adds_residuals(distance: str) -> None:
    data = signs() if distance == "hamming" else images()
    fitted = VLAD(words=8).fit(data, distance=distance, seed=1)  # type: ignore[arg-type]
    words = fitted.arrays()["words"]
    for vectors in data[1:]:
        expected = np.zeros(words.shape)
        for word, vector in zip(
            loop_nearest(vectors, words, distance == "hamming"), vectors, strict=True
        ):
            expected[word] += vector - words[word]
        for row in expected:
            row /= np.linalg.norm(row) or 1
        expected /= np.linalg.norm(expected) or 1
        np.testing.assert_allclose(fitted.transform(vectors), expected.ravel(), atol=2e-6)


def test_the_words_are_the_centres_of_the_data() -> None:
    from sklearn.cluster import KMeans

    data = images()
    ours = BagOfWords(words=8).fit(data, distance="l2", seed=0).arrays()["words"]
    theirs = KMeans(8, n_init=10, random_state=0).fit(np.concatenate(data)).cluster_centers_
    nearest = np.linalg.norm(ours[:, None] - theirs[None], axis=2).min(axis=0)
    assert nearest.max() < 1.5  # the noise around a centre is 4 long (16 dimensions)


def test_words_of_bits_are_bits() -> None:
    fitted = BagOfWords(words=8).fit(signs(), distance="hamming", seed=0)
    assert set(np.unique(fitted.arrays()["words"])) == {-1, 1}


@pytest.mark.parametrize("encoder", ENCODERS, ids=["bow", "vlad"])
def test_encodings_have_length_one(encoder: Encoder) -> None:
    fitted = encoder.fit(images(), distance="l2", seed=0)
    for vectors in images(seed=5)[1:]:
        encoded = fitted.transform(vectors)
        assert encoded.dtype == np.float32
        assert np.linalg.norm(encoded) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS, ids=["bow", "vlad"])
def test_an_image_without_keypoints_is_zeros(encoder: Encoder) -> None:
    data = images()
    fitted = encoder.fit(data, distance="l2", seed=0)
    encoded = fitted.transform(data[0])
    assert encoded.shape == fitted.transform(data[1]).shape
    assert not encoded.any()


@pytest.mark.parametrize("distance", ["l2", "hamming"])
@pytest.mark.parametrize(("encoder", "length"), [(ENCODERS[0], 8), (ENCODERS[1], 8 * 16)])
def test_training_images_that_are_all_blank(encoder: Encoder, length: int, distance: str) -> None:
    blank = [np.zeros((0, 16), np.float32)] * 4
    fitted = encoder.fit(blank, distance=distance, seed=0)  # type: ignore[arg-type]
    for vectors in (blank[0], np.ones((5, 16), np.float32)):
        encoded = fitted.transform(vectors)
        assert encoded.shape == (length,)
        assert not encoded.any()


@pytest.mark.parametrize(("encoder", "length"), [(ENCODERS[0], 8), (ENCODERS[1], 8 * 16)])
def test_fewer_vectors_than_words(encoder: Encoder, length: int) -> None:
    few = np.eye(3, 16, dtype=np.float32)
    fitted = encoder.fit([few], distance="l2", seed=0)
    encoded = fitted.transform(np.full((4, 16), 0.3, np.float32))
    assert encoded.shape == (length,)
    assert not encoded[length * 3 // 8 :].any()  # places without a word
    assert np.linalg.norm(encoded) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS, ids=["bow", "vlad"])
def test_vectors_that_are_all_the_same(encoder: Encoder) -> None:
    same = np.ones((50, 16), np.float32)
    encoded = encoder.fit([same], distance="l2", seed=0).transform(same)
    assert np.isfinite(encoded).all()


@pytest.mark.parametrize("encoder", ENCODERS, ids=["bow", "vlad"])
def test_round_trip_through_arrays_is_exact(encoder: Encoder) -> None:
    fitted = encoder.fit(images(), distance="l2", seed=0)
    again = encoder.fitted.from_arrays(fitted.arrays())
    for vectors in images(seed=2):
        np.testing.assert_array_equal(again.transform(vectors), fitted.transform(vectors))


def test_a_seed_decides_whatever_the_number_of_threads() -> None:
    data = images(count=400)
    fits = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads):
            fits.append(BagOfWords(words=32).fit(iter(data), distance="l2", seed=3).arrays())
    np.testing.assert_array_equal(fits[0]["words"], fits[1]["words"])
    np.testing.assert_array_equal(fits[0]["words"], fits[2]["words"])
    other = BagOfWords(words=32).fit(data, distance="l2", seed=4).arrays()
    assert not np.array_equal(fits[0]["words"], other["words"])


def test_no_training_image_is_refused() -> None:
    with pytest.raises(CxrbenchError, match="no training images"):
        BagOfWords().fit([], distance="l2", seed=0)


@pytest.mark.parametrize("words", [0, -3, 10**9])
@pytest.mark.parametrize("kind", [BagOfWords, VLAD])
def test_a_number_of_words_that_cannot_work(kind: type[BagOfWords | VLAD], words: int) -> None:
    with pytest.raises(CxrbenchError, match=f"got: {words}"):
        kind(words=words)


def test_the_sample_has_as_many_of_each_image_as_there_are() -> None:
    # 100 images with up to 100 vectors, each vector marked with its image; two have very few.
    sizes = np.full(100, 100)
    sizes[[7, 50]] = [1, 0]
    data = [np.full((n, 3), image, np.float32) for image, n in enumerate(sizes)]
    sample = sample_evenly(data, 1000, seed=0)
    counts = np.bincount(sample[:, 0].astype(int), minlength=100)
    assert counts.sum() == len(sample) == 1000
    assert (counts[7], counts[50]) == (1, 0)
    others = np.delete(counts, [7, 50])
    assert others.min() >= 10
    assert others.max() <= 11


def test_a_small_cohort_is_sampled_whole() -> None:
    data = images()
    np.testing.assert_array_equal(sample_evenly(data, 10_000, seed=0), np.concatenate(data))


def test_the_sample_does_not_hold_all_images() -> None:
    import tracemalloc

    def stream() -> Iterator[np.ndarray]:
        for image in range(400):
            yield np.full((500, 32), image, np.float32)  # 64 kB each, 25.6 MB in all

    tracemalloc.start()
    sample = sample_evenly(stream(), 2000, seed=0)  # 0.26 MB
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(sample) == 2000
    assert peak < 1_500_000
