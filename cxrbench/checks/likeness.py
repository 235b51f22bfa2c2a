"""Whether two images are copies: a perceptual hash finds pairs, their detail confirms them.

Chest films look alike, so neither alone is enough. Measured by benchmarks/film_likeness.py on
nih-mini (640 films, 204,146 pairs of different patients) and on changed copies of 80 of them:

======================  ======================  ====================  ===========
pairs                   bits of 256 that differ correlation of detail taken as one
======================  ======================  ====================  ===========
different patients      58 or more              0.87 or less          0
JPEG at quality 50      6 or less               0.99 or more          100 %
half the size           4 or less               0.99 or more          100 %
noise of 8 grey levels  6 or less               0.99 or more          100 %
gamma 0.7               26 or less              0.96 or more          99 %
contrast 1.3            26 or less              0.97 or more          99 %
turned by 1 degree      42 or less              0.77 or more          71 %
CLAHE                   40 or less              0.91 or more          48 %
equalised               66 or less              0.67 or more          48 %
a large burnt-in mark   44 or less              0.52 or more          30 %
2 % cropped             60 or less              0.45 or more          0 %
======================  ======================  ====================  ===========

The phantom's 1,349 drawn films are more alike: 62 of their 909,226 pairs come to 32 bits, one of
them with a detail of 0.91; 5 come to 24 bits, with 0.86 at most. Hence the limit of 24. With
OpenCV's 64-bit pHash, tried first, real films of different patients come to 2 bits, as near as
copies do.
"""

from __future__ import annotations

import numpy as np

MAX_BITS = 24
MIN_DETAIL = 0.9

HASH_SIDE = 16
HASH_BYTES = HASH_SIDE**2 // 8
DETAIL_SIDE = 32

_BLOCK = (1024, 8192)  # pairs of hashes compared at once: 32 MB as float32
_PAIRS = 8192  # of details compared at once: 64 MB as float32


def film_hash(image: np.ndarray) -> np.ndarray:
    """The perceptual hash (32,) uint8 of a film (H, W) uint8: 256 bits of its low frequencies.

    C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010. The bits
    are those of ``phash`` in the package imagehash.
    """
    from PIL import Image
    from scipy.fft import dctn

    small = Image.fromarray(image).resize((4 * HASH_SIDE, 4 * HASH_SIDE), Image.Resampling.LANCZOS)
    low = dctn(np.asarray(small))[:HASH_SIDE, :HASH_SIDE]
    return np.packbits(low > np.median(low))


def film_detail(image: np.ndarray) -> np.ndarray:
    """What a film (H, W) uint8 has that its surroundings have not, (1024,) int8 from 32 x 32."""
    import cv2

    small = cv2.resize(image, (DETAIL_SIDE, DETAIL_SIDE), interpolation=cv2.INTER_AREA)
    small = small.astype(np.float32)
    detail = small - cv2.GaussianBlur(small, (0, 0), 1.0)
    detail -= detail.mean()
    largest = np.abs(detail).max()
    return np.rint(detail * (127 / largest) if largest else detail).astype(np.int8).ravel()


def same_films(hashes: np.ndarray, details: np.ndarray) -> np.ndarray:
    """Pairs (m, 2) of rows, the first one lower, whose hash and detail say that they are one film.

    Parameters
    ----------
    hashes : (n, 32) uint8, of `film_hash`.
    details : (n, 1024) int8, of `film_detail`.
    """
    pairs = near_pairs(hashes, MAX_BITS)
    alike = [np.zeros(0, bool)]
    # Thousands of nearly black images are millions of pairs.
    for start in range(0, len(pairs), _PAIRS):
        block = pairs[start : start + _PAIRS]
        one, other = (details[block[:, side]].astype(np.float32) for side in (0, 1))
        product = (one * other).sum(axis=1)
        sizes = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        alike.append(product > MIN_DETAIL * sizes)
    same: np.ndarray = pairs[np.concatenate(alike)]
    return same


def near_pairs(hashes: np.ndarray, max_bits: int) -> np.ndarray:
    """All pairs (m, 2) of rows, the first one lower, whose hashes differ in ``max_bits`` at most.

    Exact, and compares all with all: the product of two vectors of -1 and +1 is the number of bits
    less twice those that differ, and matrix products are what a processor does best. 112,120 hashes
    take 97 s of processor time (two cores, AVX-512), which the cores share.
    """
    count, bits = len(hashes), hashes.shape[1] * 8
    tall, wide = _BLOCK
    found = [np.zeros((0, 2), np.int64)]
    for top in range(0, count, tall):
        rows = _signs(hashes[top : top + tall])
        for left in range(top, count, wide):
            product = rows @ _signs(hashes[left : left + wide]).T
            near = np.argwhere(product >= bits - 2 * max_bits) + np.array([top, left])
            found.append(near[near[:, 0] < near[:, 1]])
    return np.concatenate(found)


def _signs(hashes: np.ndarray) -> np.ndarray:
    signs: np.ndarray = np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1
    return signs
