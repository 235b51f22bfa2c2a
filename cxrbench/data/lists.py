"""Published lists of training, validation and test images: read, recognised, put on a cohort."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from types import MappingProxyType

from cxrbench.data.files import image_stem, read_text
from cxrbench.data.image_paths import ids_meant_by, image_id
from cxrbench.data.tables import shortened
from cxrbench.errors import DataError
from cxrbench.interfaces import Cohort
from cxrbench.output.files import digest_of

_FILE = re.compile(
    r"(train_?val|train|valid(?:ation)?|val|test)(?:_list)?(?:_nih)?(?:\.(?:txt|csv|tsv))?(?:\.gz)?",
    re.IGNORECASE,
)
_NAMES = MappingProxyType({"train": "training", "val": "validation", "test": "test"})
_TOKEN = re.compile(r'\s*(?:"([^"]*)"|([^\s,;"]+))')
_HEADING = re.compile(r"(images?|img|file)?(index|id|names?|path)?|images?|img|file|dicomid")
_SHOWN = 3

NIH_OFFICIAL, NIH_22433 = "nih-official", "nih-22433"
_TEST_22433 = "15283f2c1eb223ef2db670338bf0b00bb9f081e12b0266eca6f7d1e6ed560deb"
_KNOWN: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        (
            "fca4cd4573c29743082e7921f2a314fa1edf6803241ffd00b07dedf10848e983",
            "259764ec94c2ac814502f4efcc42fe224bda5e7520d804d7969a4b3166340e7b",
        ): NIH_OFFICIAL,
        (
            _TEST_22433,
            "e6c06b21506f3a339757948952ab549e1f1f4f4a2b92364dd32a0f4a9c0454d3",
        ): NIH_22433,
        (
            _TEST_22433,
            "2795edd69442a572ff74dece46d289aed1a2f7f5690c613dc00bc276c300ee51",
        ): f"{NIH_22433}-train-1",
        (
            _TEST_22433,
            "46c090afe048a8ab22d93408b6e403cb145c7f36cac7e1589803663f402d5ddb",
        ): f"{NIH_22433}-train-10",
    }
)
"""Well-known lists by the digests of their test images and of all their other images.

``-train-1`` and ``-train-10`` have 1 % and 10 % of the training images, and all others.
"""


@dataclass(frozen=True, eq=False)
class PublishedLists:
    """The images of each split as the files of a folder name them.

    ``files`` and ``images`` have the keys ``train`` and ``test``, and ``val`` if there is such a
    list. ``name`` and ``sha256`` are as in `identify_lists`.
    """

    folder: Path
    files: Mapping[str, Path]
    images: Mapping[str, tuple[str, ...]]
    name: str
    sha256: str

    @property
    def is_well_known(self) -> bool:
        """Whether the content is that of a list with a name of its own."""
        return ":" not in self.name


def read_list(path: Path) -> tuple[str, ...]:
    """The image names in a list: the first word or cell of each line, in the file's order.

    Empty lines, lines that begin with ``#`` and a heading such as ``Image Index`` are left out.
    Names with spaces or commas need double quotes.

    Raises
    ------
    DataError : the file cannot be read, is too large, or is no text.
    """
    text, _ = read_text(path)
    lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#"]
    tokens = map(_TOKEN.match, lines)
    names = [(token[1] or token[2] or "").strip() if token else "" for token in tokens]
    if names and _HEADING.fullmatch(re.sub(r"[\W_]+", "", names[0].lower())):
        del names[0]
    return tuple(name for name in names if name)


def identify_lists(images: Mapping[str, Iterable[str]], place: str) -> tuple[str, str]:
    """The name of lists, and the SHA-256 (hex) of the image names in each of them.

    Only the content counts: not the order of the names, their folders or endings, or the format of
    the files. Lists without a name of their own get ``place`` with the start of the SHA-256.
    A name does not depend on which of the training images are for validation.

    Parameters
    ----------
    images : image names by ``train``, ``val`` and ``test``.
    place : where the lists are, such as the name of their folder.
    """
    stems = {part: sorted(map(image_stem, names)) for part, names in images.items()}
    if any(len(set(names)) < len(names) for names in stems.values()):  # folders tell them apart
        stems = {part: sorted(map(image_id, images[part])) for part in images}
    sha256 = digest_of(stems)
    others = sorted(name for part, names in stems.items() if part != "test" for name in names)
    key = digest_of(stems.get("test", [])), digest_of(others)
    return _KNOWN.get(key) or f"{place.replace(':', '_') or 'lists'}:{sha256[:8]}", sha256


def read_lists(folder: Path) -> PublishedLists:
    """The lists ``train``, ``test`` and perhaps ``val`` in a folder, by the names of their files.

    ``train_val`` is ``train``. A name may go on with ``_list``, and ends with ``.txt``, ``.csv``,
    ``.tsv`` or nothing, each also with ``.gz``.

    Raises
    ------
    DataError : names all faults at once: no folder, a list is missing, there twice, empty or
        unreadable, or has an image twice.
    """
    try:
        entries = sorted(os.listdir(folder))
    except (OSError, ValueError) as error:
        raise _unusable(folder, [getattr(error, "strerror", None) or str(error)]) from error
    places: dict[str, list[Path]] = {}
    for path in map(folder.joinpath, entries):
        match = _FILE.fullmatch(path.name)
        if match and not os.path.isdir(path):
            part = {"v": "val", "t": "train"}[match[1][0].lower()]
            places.setdefault("test" if match[1].lower() == "test" else part, []).append(path)
    missing = [part for part in ("train", "test") if part not in places]
    faults = [f"no list of {_NAMES[part]} images" for part in missing]
    for part, paths in places.items():
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            faults.append(f"{len(paths)} lists of {_NAMES[part]} images: {names}")
    if faults:
        raise _unusable(folder, faults)
    files = {part: places[part][0] for part in _NAMES if part in places}
    images: dict[str, tuple[str, ...]] = {}
    for part, path in files.items():
        try:
            images[part] = read_list(path)
        except DataError as error:
            faults.append(f"{error.problem} ({error.found})")
            continue
        faults += [] if images[part] else [f"{path.name} names no image"]
        faults += _repeated(path.name, images[part])
    if faults:
        raise _unusable(folder, faults)
    name, sha256 = identify_lists(images, folder.resolve().name)
    return PublishedLists(folder, files, images, name, sha256)


def assign_parts(cohort: Cohort, lists: PublishedLists) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Each image's list (N,), ``train``, ``val``, ``test`` or ``""``, and notes with all counts.

    An image is named by its id, or by a path or file name with or without its ending.

    Raises
    ------
    DataError : names all faults at once: an image is in two lists or twice in one, none of the
        images of a list is in the cohort, or names are unknown. A well-known list may name images
        that the cohort lacks.
    """
    names = [name for part in lists.images.values() for name in part]
    ids = ids_meant_by(names, [*cohort.image_ids, *(one.image_id for one in cohort.excluded)])
    meant: dict[str, list[str]] = {}
    for part, written in lists.images.items():
        meant[part], ids = ids[: len(written)], ids[len(written) :]
    usable, left_out = set(cohort.image_ids), {one.image_id for one in cohort.excluded}
    faults, absent = list[str](), 0
    for part, images in meant.items():
        file = lists.files[part].name
        strange = [name for name in images if name not in usable and name not in left_out]
        absent += sum(name not in usable for name in images)
        if not any(name in usable for name in images):
            faults.append(f"{file} names none of the images of the data ({_some(images)})")
        elif strange and not lists.is_well_known:
            faults.append(f"{file} names {len(strange):,} unknown images ({_some(strange)})")
        faults += _repeated(file, images)
    faults += _in_two(meant, lists.files)
    if faults:
        raise DataError(
            f"--split lists:{lists.folder}: the lists do not fit the data",
            expected=f"image names such as {_some(cohort.image_ids)}, each once",
            found="; ".join(faults),
            fix="correct the lists, or use those that belong to these data",
        )
    part_of = {name: part for part, images in meant.items() for name in images}
    parts = tuple(part_of.get(image, "") for image in cohort.image_ids)
    sizes = ", ".join(f"{len(images):,} {_NAMES[part]}" for part, images in meant.items())
    notes = [f"lists: {lists.name} ({sizes} images; SHA-256 {lists.sha256[:8]})"]
    if absent:
        notes.append(f"{absent:,} images of the lists are not in the data")
    return parts, tuple(notes)


def _repeated(file: str, names: Sequence[str]) -> list[str]:
    if len(set(names)) == len(names):
        return []
    twice = [name for name, count in Counter(names).items() if count > 1]
    return [f"{file} names {len(twice):,} images more than once ({_some(twice)})"]


def _in_two(meant: Mapping[str, Sequence[str]], files: Mapping[str, Path]) -> list[str]:
    faults = []
    for one, other in combinations(meant, 2):
        both = sorted(set(meant[one]) & set(meant[other]))
        if both:
            pair = f"{files[one].name} and {files[other].name}"
            faults.append(f"{pair} both name {len(both):,} images ({_some(both)})")
    return faults


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(shortened, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")


def _unusable(folder: Path, faults: Sequence[str]) -> DataError:
    return DataError(
        f"the lists in {folder} cannot be used",
        expected="a folder with the files train, test and perhaps val (.txt or .csv, plain or .gz; "
        "with or without _list), each with one image name at the start of a line",
        found="; ".join(faults),
        fix="correct or rename the files; check the folder after --split lists:",
    )
