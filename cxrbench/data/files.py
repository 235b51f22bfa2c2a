"""Files of a cohort: texts, plain or ``.gz``, and the images in a folder."""

from __future__ import annotations

import codecs
import errno
import filecmp
import gzip
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrbench.errors import DataError

MAX_BYTES = 256 * 2**20
"""A text file larger than this (unpacked) is refused; NIH's whole table has 8 MB."""

_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CONTROL = bytes(set(range(32)) - set(b"\t\n\f\r\x1a"))


@dataclass(frozen=True)
class Encoded:
    """A file's bytes, the encoding that they are text in, and notes on how they were read."""

    data: bytes
    encoding: str
    notes: tuple[str, ...]


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of ``names`` that is in the folder, as it is or with ``.gz``."""
    for name in names:
        for candidate in (folder / name, folder / f"{name}.gz"):
            if os.path.exists(candidate):  # Path.exists raises where the folder is locked
                return candidate
    return None


def read_text(path: Path) -> tuple[str, tuple[str, ...]]:
    """A text file's content and notes on how it was read.

    A name that ends in ``.gz`` is unpacked. UTF-8 (with or without a byte order mark) and UTF-16
    with one are read as such; other bytes are taken as Windows-1252, a superset of Latin-1, and
    noted.

    Raises
    ------
    DataError : the file cannot be opened, is too large, or holds no text.
    """
    encoded = read_encoded(path)
    return encoded.data.decode(encoded.encoding, errors="replace"), encoded.notes


def read_encoded(path: Path) -> Encoded:
    """As `read_text`, before the bytes are decoded; UTF-16 comes as UTF-8."""
    data = _read_bytes(path)
    if data.startswith(_WIDE):
        try:
            data = data.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise _not_text(path, data, str(error)) from error
    control = _first_control(data)
    if control is not None:
        raise _not_text(path, data, f"byte {control} is {data[control]:#04x}")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        note = f"{path.name} is not UTF-8; it was read as Windows-1252 (Latin-1)"
        return Encoded(data, "cp1252", (note,))
    return Encoded(data, "utf-8-sig", ())


def _read_bytes(path: Path) -> bytes:
    packed = path.suffix.lower() == ".gz"
    opener = gzip.open if packed else open
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError("not a file")  # a pipe would be waited for, a device never ends
        with opener(path, "rb") as file:
            data: bytes = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read",
            expected="a file that this user may read" + (", packed by gzip" * packed),
            found=f"{type(error).__name__}: {error}",
            fix="check the path and its permissions (chmod u+r), or download it again if it is "
            "damaged",
        ) from error
    if len(data) > MAX_BYTES:
        raise DataError(
            f"{path} is too large",
            expected=f"at most {MAX_BYTES // 2**20} MiB of text",
            found="more than that" + (" once unpacked" * packed),
            fix="check that this is the right file; NIH's whole table has 8 MB",
        )
    return data


def _first_control(data: bytes) -> int | None:
    """The place of the first byte that no text has."""
    if len(data.translate(None, _CONTROL)) == len(data):
        return None
    return min(place for byte in _CONTROL if (place := data.find(byte)) >= 0)


def _not_text(path: Path, data: bytes, why: str) -> DataError:
    return DataError(
        f"{path} is not a text file",
        expected="text, one row per line",
        found=f"binary data that begins with {data[:8]!r}; {why}",
        fix="export the table as CSV (a spreadsheet saved as .xlsx and renamed is not one)",
    )


SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".jp2", ".j2k", ".webp")
"""The endings of what `cxrbench.store.decoding.decode` takes, in small letters."""


def image_stem(name: str) -> str:
    """A file's name without folder and without the extension of an image.

    >>> image_stem("images_001/images/00000013_005.PNG")
    '00000013_005'
    """
    base = name.replace("\\", "/").rpartition("/")[2]
    stem, dot, extension = base.rpartition(".")
    return stem if dot + extension.lower() in SUFFIXES else base


def has_dicom_mark(path: Path) -> bool:
    """Whether a file begins as DICOM files do, which often have no ending; False if unreadable."""
    try:
        if not os.path.isfile(path):  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:  # whoever reads all of it says why
        return False


def list_images(folder: Path) -> Mapping[str, Sequence[str]]:
    """Paths of the image files in a folder, sorted, by their names without extension.

    Empty where there is no such folder. Links that lead nowhere or in a circle and hidden files are
    no images.

    Raises
    ------
    DataError : the folder cannot be listed.
    """
    images: dict[str, tuple[str, ...]] = {}
    for name in _image_names(folder):
        stem = image_stem(name)
        images[stem] = (*images.get(stem, ()), f"{folder}{os.sep}{name}")
    return images


def choose_image(name: str, candidates: Sequence[str]) -> str | None:
    """The one path among those of one stem that a table means by ``name``.

    It is the only one, or the only one that has exactly this name, or the first of several in
    several folders that have this name and the same content; else None.
    """
    if len(candidates) == 1:
        return candidates[0]
    base = name.replace("\\", "/").rpartition("/")[2]
    named = [path for path in candidates if os.path.basename(path) == base]
    return named[0] if named and all(_same(named[0], path) for path in named[1:]) else None


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other) or filecmp.cmp(one, other, shallow=False)
    except OSError:  # nobody can tell, so no choice is made
        return False


def _image_names(folder: Path) -> list[str]:
    if not os.path.isdir(folder):  # Path.is_dir raises where the folder above is locked
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.name.lower().endswith(SUFFIXES)
                and not entry.name.startswith(".")
                and _is_file(entry)
            )
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed",
            expected="a folder that this user may read",
            found=f"{type(error).__name__}: {error}",
            fix="check its permissions (chmod u+rx)",
        ) from error


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError as error:  # a link: in a circle, or to where only an attempt to read tells more
        return error.errno == errno.EACCES
