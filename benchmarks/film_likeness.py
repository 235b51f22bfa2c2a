"""What tells two films apart, and a film from its negative, measured on a folder of real ones.

    python benchmarks/film_likeness.py nih-mini/ [--hashes 112120]

Prints how near films of different patients come to each other by `cxrbench.checks.likeness`, how
near changed copies stay to theirs, and how often `cxrbench.checks.images` is wrong. ``--hashes``
also times the search for near pairs among so many random hashes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from cxrbench.checks.images import upright_score
from cxrbench.checks.likeness import (
    MAX_BITS,
    MIN_DETAIL,
    film_detail,
    film_hash,
    near_pairs,
    same_films,
)
from cxrbench.data.datasets import find_dataset, load_cohort
from cxrbench.output.display import RichDisplay
from cxrbench.registry import load_registry
from cxrbench.store.cache import cache_folder
from cxrbench.store.decoding import decode, fit_image

SIDE = 128  # what the checks look at


def _jpeg(image: np.ndarray) -> np.ndarray:
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    return decode(coded.tobytes(), max_pixels=10**8)


def _rotated(image: np.ndarray) -> np.ndarray:
    size = image.shape[::-1]
    turn = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), 1, 1)
    return cv2.warpAffine(image, turn, size)


def _cropped(image: np.ndarray) -> np.ndarray:
    edge = len(image) // 50
    return image[edge:-edge, edge:-edge]


def _noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 8, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _marked(image: np.ndarray) -> np.ndarray:
    scale = len(image) / 512
    place = (int(20 * scale), int(60 * scale))
    font, width = cv2.FONT_HERSHEY_SIMPLEX, int(3 * scale)
    return cv2.putText(image.copy(), "L PORTABLE", place, font, 1.2 * scale, (255,), width)


CHANGES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG at quality 50": _jpeg,
    "half the size": lambda x: cv2.resize(x, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "noise of 8 grey levels": _noisy,
    "gamma 0.7": lambda x: (255 * (x / 255.0) ** 0.7).astype(np.uint8),
    "contrast 1.3": lambda x: np.clip((x - 128.0) * 1.3 + 138, 0, 255).astype(np.uint8),
    "CLAHE": lambda x: cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(x),
    "equalised": cv2.equalizeHist,
    "turned by 1 degree": _rotated,
    "2 % cropped": _cropped,
    "a burnt-in mark": _marked,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="as --data of cxrbench run")
    parser.add_argument("--every", type=int, default=1, help="change each N-th film only")
    parser.add_argument("--hashes", type=int, default=0)
    given = parser.parse_args()
    dataset = find_dataset(given.data, load_registry(), Path.cwd())
    cohort = load_cohort(dataset, RichDisplay(), cache_folder(None))
    hashes, details, scores = [], [], []
    changed: dict[str, list[tuple[int, float]]] = {name: [] for name in CHANGES}
    for number, source in enumerate(cohort.sources):
        read = dataset.read(source, max_pixels=10**8)
        film = decode(read, max_pixels=10**8) if isinstance(read, bytes) else read
        seen = _looks(film)
        hashes.append(seen[0])
        details.append(seen[1])
        scores.append(upright_score(fit_image(film, SIDE, "stretch")))
        for name, change in CHANGES.items() if number % given.every == 0 else ():
            changed[name].append(_apart(seen, _looks(change(film))))
    _tell_pairs(np.array(hashes), np.array(details), np.array(cohort.patient_ids))
    for name, apart in changed.items():
        bits, alike = np.array(apart).T
        found = ((bits <= MAX_BITS) & (alike > MIN_DETAIL)).mean()
        print(
            f"{name:24} bits at most {bits.max():.0f} (95 %: {np.quantile(bits, 0.95):.0f}), "
            f"detail at least {alike.min():.3f}, found {found:.1%}"
        )
    print(
        f"upright: {(np.array(scores) <= 0).sum()} wrong of {len(scores)}, least {min(scores):.3f}"
    )
    if given.hashes:
        _time_search(given.hashes)


def _looks(film: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    small = fit_image(film, SIDE, "stretch")
    return film_hash(small), film_detail(small)


def _apart(
    one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> tuple[int, float]:
    bits = int(np.bitwise_count(one[0] ^ other[0]).sum())
    return bits, float(np.corrcoef(one[1], other[1])[0, 1])


def _tell_pairs(hashes: np.ndarray, details: np.ndarray, patients: np.ndarray) -> None:
    one, other = np.triu_indices(len(hashes), 1)
    strangers = patients[one] != patients[other]
    bits = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2)[one, other]
    alike = np.asarray(np.corrcoef(details.astype(np.float32)))[one, other]
    for name, of in (("different patients", strangers), ("the same patient", ~strangers)):
        print(
            f"{of.sum():,} pairs of {name}: bits at least {bits[of].min()}, "
            f"detail at most {alike[of].max():.3f}"
        )
    pairs = same_films(hashes, details)
    wrong = (patients[pairs[:, 0]] != patients[pairs[:, 1]]).sum()
    print(f"{len(pairs)} pairs are taken for the same film, {wrong} of different patients")


def _time_search(count: int) -> None:
    hashes = np.random.default_rng(0).integers(0, 256, (count, 32), dtype=np.uint8)
    start, used = time.perf_counter(), time.process_time()
    found = near_pairs(hashes, MAX_BITS)
    took, used = time.perf_counter() - start, time.process_time() - used
    print(
        f"{count:,} random hashes: {took:.1f} s, {used:.1f} s of processor time, "
        f"{len(found)} near pairs"
    )


if __name__ == "__main__":
    main()
