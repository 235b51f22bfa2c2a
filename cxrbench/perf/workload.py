"""The workload: the hot paths to time, and the images to time them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cxrbench.errors import DataError, SettingsError, UnreadableImage
from cxrbench.parameters import nearest
from cxrbench.perf.hot_paths import FAMILIES
from cxrbench.store.sources import read_source

if TYPE_CHECKING:
    from cxrbench.interfaces import Cohort, Dataset, Display


COUNT = 4
DRAWN_SIDE = 1024
_MAX_PIXELS = 100_000_000


def write_films(dataset: Dataset, cohort: Cohort, folder: Path, *, count: int = COUNT) -> None:
    """Write images spread over the cohort, as they are stored; decoded ones as PNG.

    Raises
    ------
    DataError : none of the images that were tried can be read.
    """
    written = 0
    for row in np.linspace(0, len(cohort) - 1, 4 * count).astype(int).tolist():
        try:
            source = read_source(dataset, cohort.sources[row], cohort.image_ids[row], _MAX_PIXELS)
        except (UnreadableImage, OSError):
            continue  # reported by `cxrbench data check`; here any image will do
        (folder / f"film-{written}").write_bytes(_encoded(source))
        written += 1
        if written == count:
            return
    if not written:
        raise DataError(
            f"no image of {dataset.name} can be read",
            expected="images to time on",
            found=f"{4 * count} unreadable images",
            fix="check them with cxrbench data check",
        )


def write_films_of(data: str | None, folder: Path, cache: Path, display: Display) -> None:
    """Write images of the data that ``--data`` names; without it, drawn ones.

    Raises
    ------
    DataError : it is no cohort, or no image of it can be read.
    """
    if data is None:
        write_drawn_films(folder)
        return
    from cxrbench.data.datasets import find_dataset, load_cohort
    from cxrbench.registry import load_registry

    dataset = find_dataset(data, load_registry(), Path.cwd())
    write_films(dataset, load_cohort(dataset, display, cache), folder)


def write_drawn_films(folder: Path, *, count: int = COUNT) -> None:
    """Write drawn radiographs of NIH's size, 1024 x 1024 pixels, as PNG."""
    drawn = drawn_dataset()
    write_films(drawn, drawn.load(), folder, count=count)


def drawn_dataset() -> Dataset:
    """A few drawn radiographs of NIH's size, without the phantom's settings for short runs."""
    from cxrbench.builtin.phantom import Phantom

    class Drawn(Phantom):
        defaults: ClassVar[Mapping[str, object]] = MappingProxyType({})

    return Drawn(patients=20, size=DRAWN_SIDE)


def _encoded(source: bytes | np.ndarray) -> bytes:
    if isinstance(source, bytes):
        return source
    import cv2

    done, encoded = cv2.imencode(".png", source)
    assert done
    return bytes(encoded.tobytes())


QUICK_PATHS = (
    *("decode", "resize", "clahe", "extract/orb", "extract/sift"),
    *("encode/orb", "encode/sift", "gather", "bootstrap"),
)
"""Paths that do not start Keras, which takes longer than all of these together."""

DEFAULT_PATHS = (*QUICK_PATHS, "augment/medical", "train-step/orb")
"""Also paths that cxrbench adds to Keras: the augmentation, and a training step of a head."""


def require_known(named: Sequence[str]) -> tuple[str, ...]:
    """The names, once each.

    Raises
    ------
    SettingsError : no family of paths has the name.
    """
    for path in named:
        if path.partition("/")[0] not in FAMILIES:
            raise SettingsError(
                f"there is no hot path {path!r}",
                expected=f"a name that begins with {', '.join(FAMILIES)}",
                found=path,
                fix=nearest(path.partition("/")[0], FAMILIES)
                or "such as decode, extract/orb or forward/resnet50",
            )
    return tuple(dict.fromkeys(named))


def chosen_paths(named: Sequence[str], *, quick: bool) -> tuple[str, ...]:
    """The named paths, else the default ones; raises like `require_known`."""
    return require_known(named) or (QUICK_PATHS if quick else DEFAULT_PATHS)
