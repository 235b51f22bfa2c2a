"""Generated radiographs: a store of uint8 pixels on disk, labels, and PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cxrbench.store.decoding import clahe
from cxrbench.store.stores import map_array

LABELS = 15
# From NIH's rarest finding to "No Finding".
PREVALENCE = np.append(np.geomspace(0.002, 0.2, LABELS - 1), 0.54)
_PICTURES = 64
_CHUNK = 1024


def picture(rng: np.random.Generator, side: int) -> np.ndarray:
    """(side, side) uint8: soft shapes under fine grain, which a PNG packs about as a film's."""
    import cv2

    soft = cv2.resize(rng.random((8, 8), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(scale=1.5, size=(side, side))
    return np.clip(255 * soft + grain, 0, 255).astype(np.uint8)


def write_pixels(folder: Path, images: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Two memory maps (images, side, side) uint8: pixels, and the same after CLAHE.

    A few pictures, each time shifted by another distance.
    """
    rng = np.random.default_rng(0)
    plain = [picture(rng, side) for _ in range(min(_PICTURES, images))]
    maps = []
    for name, pictures in (("pixels", plain), ("clahe", [clahe(one) for one in plain])):
        path = folder / f"{name}-{side}.bin"
        with path.open("wb") as file:
            for start in range(0, images, _CHUNK):
                rows = range(start, min(start + _CHUNK, images))
                file.write(b"".join(_shifted(pictures, row).tobytes() for row in rows))
        maps.append(map_array(path, (images, side, side), np.dtype(np.uint8)))
    return maps[0], maps[1]


def _shifted(pictures: list[np.ndarray], row: int) -> np.ndarray:
    repeat, number = divmod(row, len(pictures))
    chosen = pictures[number]
    return np.roll(chosen, (37 * repeat, 11 * repeat), axis=(0, 1))


def random_labels(images: int) -> np.ndarray:
    """(images, LABELS) float32, as frequent as NIH's and without any relation to the pixels."""
    rng = np.random.default_rng(1)
    return (rng.random((images, LABELS)) < PREVALENCE).astype(np.float32)


def write_pngs(folder: Path, files: int, side: int) -> list[Path]:
    """So many different grey PNG files."""
    import cv2

    rng = np.random.default_rng(2)
    paths = [folder / f"{number:05d}.png" for number in range(files)]
    for path in paths:
        if not cv2.imwrite(str(path), picture(rng, side)):
            raise SystemExit(f"cannot write {path}")
    return paths
