"""Encodings by visual words: a codebook of typical descriptors, then BagOfWords or VLAD."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from cxrbench import CxrbenchError, Encoder, FittedEncoder

if TYPE_CHECKING:
    import numpy as np

_SAMPLE = 100_000
"""Most vectors that a codebook is fitted on: 51 MB of SIFT, 102 MB of ORB, 390 for each of 256
words. Sampling holds three times that for a moment, whatever the number of images."""


@dataclass(frozen=True, eq=False)
class _VisualWords(FittedEncoder):
    """``words`` (W, d) float32, of which the first ``used`` are words and the rest is zeros.

    Training images with fewer vectors than W give fewer words; the feature vector keeps its
    length, and the places without a word stay 0.
    """

    words: np.ndarray
    used: int

    @property
    def word_count(self) -> int:
        """Words and places without a word."""
        return len(self.words)

    def arrays(self) -> dict[str, np.ndarray]:
        """The words, and how many of them are in use."""
        import numpy as np

        return {"words": self.words, "used": np.array(self.used)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from what ``arrays`` returned."""
        return cls(arrays["words"], int(arrays["used"]))

    def words_of(self, vectors: np.ndarray) -> np.ndarray:
        """The nearest word of each vector."""
        # argmin |x - w|² = argmax x·w - |w|²/2. Between vectors of -1 and +1, |x - w|² is four
        # times the Hamming distance, and float32 is exact: one line serves both distances.
        words = self.words[: self.used]
        nearest: np.ndarray = (vectors @ words.T - (words**2).sum(axis=1) / 2).argmax(axis=1)
        return nearest


class FittedBagOfWords(_VisualWords):
    """A codebook that counts."""

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """Square roots of the words' frequencies, (W,) float32, of length 1 or all 0."""
        import numpy as np

        counts = np.zeros(len(self.words), np.float32)
        if self.used and len(vectors):
            counts += np.bincount(self.words_of(vectors), minlength=len(counts))
        hellinger: np.ndarray = np.sqrt(counts / max(len(vectors), 1))
        return hellinger


class FittedVLAD(_VisualWords):
    """A codebook that adds up what the words leave over."""

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """Residuals to each word, normalised per word and in all, (W * d,) float32."""
        import numpy as np

        residuals = np.zeros_like(self.words)
        if self.used and len(vectors):
            members = np.zeros((len(vectors), len(self.words)), np.float32)
            members[np.arange(len(vectors)), self.words_of(vectors)] = 1
            residuals = members.T @ vectors - members.sum(axis=0)[:, None] * self.words
        residuals /= np.maximum(np.linalg.norm(residuals, axis=1, keepdims=True), 1e-12)
        unit: np.ndarray = residuals.ravel() / max(float(np.linalg.norm(residuals)), 1e-12)
        return unit


@dataclass(frozen=True)
class BagOfWords(Encoder):
    """How often each visual word is the nearest one: ``words`` numbers per image.

    Frequencies enter by their square root, so that two encodings compare by the Hellinger kernel;
    their length is then 1. On NIH films, with the same folds and words: AUROC 0.624 with ORB and
    0.638 with SIFT, against 0.619 and 0.631 for counts, and 0.620 and 0.632 for tf-idf.

    Parameters
    ----------
    words : size of the codebook.

    References
    ----------
    Csurka, Dance, Fan, Willamowski and Bray, Visual categorization with bags of keypoints,
    ECCV workshop 2004. Arandjelovic and Zisserman, CVPR 2012 (the square root).
    """

    fitted: ClassVar[type[FittedEncoder]] = FittedBagOfWords

    words: int = 256

    def __post_init__(self) -> None:
        _check(self.words, most=65_536)

    def fit(
        self, images: Iterable[np.ndarray], *, distance: Literal["l2", "hamming"], seed: int
    ) -> FittedBagOfWords:
        """Fit the codebook; the same for a seed, whatever the number of threads."""
        return FittedBagOfWords(*_codebook(images, self.words, distance, seed))


@dataclass(frozen=True)
class VLAD(Encoder):
    """Sums of differences to the nearest word: ``words`` times d numbers per image.

    16 words make 4096 numbers of ORB (d = 256) and 2048 of SIFT (d = 128). 32 words were no better
    on NIH films: AUROC 0.624 against 0.629 with ORB, 0.612 against 0.630 with SIFT.

    Parameters
    ----------
    words : size of the codebook.

    References
    ----------
    Jegou, Douze, Schmid and Perez, Aggregating local descriptors into a compact image
    representation, CVPR 2010. Arandjelovic and Zisserman, All about VLAD, CVPR 2013 (each word's
    sum is scaled to length 1, lest a repeated pattern outweigh the rest).
    """

    fitted: ClassVar[type[FittedEncoder]] = FittedVLAD

    words: int = 16

    def __post_init__(self) -> None:
        _check(self.words, most=1024)  # of 256 numbers each

    def fit(
        self, images: Iterable[np.ndarray], *, distance: Literal["l2", "hamming"], seed: int
    ) -> FittedVLAD:
        """Fit the codebook; the same for a seed, whatever the number of threads."""
        return FittedVLAD(*_codebook(images, self.words, distance, seed))


def _check(words: int, most: int) -> None:
    if not 1 <= words <= most:
        raise CxrbenchError(
            "the number of visual words is out of range",
            expected=f"a whole number from 1 to {most}",
            found=str(words),
            fix="write for example orb:words=256",
        )


def _codebook(
    images: Iterable[np.ndarray], size: int, distance: Literal["l2", "hamming"], seed: int
) -> tuple[np.ndarray, int]:
    import numpy as np

    vectors = sample_evenly(images, _SAMPLE, seed)
    words = np.zeros((size, vectors.shape[1]), np.float32)
    used = min(size, len(vectors))
    if used:
        words[:used] = _centres(vectors, used, seed)
    if distance == "hamming":
        # The majority of each bit is a cluster's centre under Hamming distance. Going on to
        # k-majority's end (Grana et al., 2013) brings descriptors from 52.3 to 51.9 bits of their
        # word on NIH films, and AUROC from 0.607 to 0.612 over ten fits: not worth its time.
        words[:used] = np.where(words[:used] >= 0, 1, -1)
    return words, used


def _centres(vectors: np.ndarray, size: int, seed: int) -> np.ndarray:
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    # One thread: the inertia that ends the fit is a sum over threads, and its last bits depend on
    # how many there are.
    with threadpool_limits(limits=1):
        kmeans = MiniBatchKMeans(n_clusters=size, batch_size=4096, n_init=1, random_state=seed).fit(
            vectors
        )
    centres: np.ndarray = kmeans.cluster_centers_
    return centres


def sample_evenly(images: Iterable[np.ndarray], limit: int, seed: int) -> np.ndarray:
    """At most ``limit`` vectors (m, d) float32, as many from each image as there are to have.

    Every image's vectors are put in a random order; all first ones are taken, then all second
    ones, and so on, the last round by chance. One pass; memory holds at most 1.25 times ``limit``
    vectors beside the result, however many images come.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    samples, keys, waiting, worst = [], [], 0, np.inf
    for vectors in images:
        # Smallest keys win: the round that a vector would be taken in, and a lot within it.
        key = rng.permutation(len(vectors)) + rng.random(len(vectors))
        chosen = key < worst
        samples.append(vectors[chosen])
        keys.append(key[chosen])
        waiting += len(keys[-1])
        if waiting > limit * 1.25:
            sample, ranks = _smallest(samples, keys, limit)
            samples, keys, waiting, worst = [sample], [ranks], limit, ranks.max()
    if not samples:
        raise CxrbenchError(
            "a codebook has no training images",
            expected="at least one image",
            found="none",
            fix="use a larger training split",
        )
    return _smallest(samples, keys, limit)[0]


def _smallest(
    samples: list[np.ndarray], keys: list[np.ndarray], limit: int
) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    vectors, ranks = np.concatenate(samples), np.concatenate(keys)
    if len(vectors) <= limit:
        return vectors, ranks
    chosen = np.sort(np.argpartition(ranks, limit)[:limit])
    return vectors[chosen], ranks[chosen]
