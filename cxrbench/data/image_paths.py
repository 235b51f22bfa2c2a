"""Find the image files that a table names, also where its paths are those of another machine."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cxrbench.data.files import choose_image, image_stem, list_images

NO_FILE = "the table has a row, but there is no image file"
_RUN_FILE = "run.json"
"""A folder with this file is a run directory, whose figures are called like images."""

_ENDING = re.compile(r"(?<=.)\.[A-Za-z][A-Za-z0-9]{0,5}$")


@dataclass(frozen=True)
class LocatedImages:
    """``ids`` (N,) are the table's texts, written in one way.

    ``paths`` (N,) are those of files, ``""`` where there is none, ``reasons`` (N,) say why.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()


def image_id(text: str) -> str:
    """The table's own text for an image, written in one way.

    >>> image_id("C:\\\\cxr\\\\.\\\\a.png")
    'C:/cxr/a.png'
    """
    return posixpath.normpath(text.replace("\\", "/"))


def ids_meant_by(names: Sequence[str], image_ids: Sequence[str]) -> list[str]:
    """The image that each of the names of another program means; the name itself if there is none.

    An image is named by its id, or by a path or file name with or without its ending, where only
    one image can be meant. Two images of one name in different folders need a folder in the name.
    """
    own = {known: _plain_path(known) for known in image_ids}
    meant: dict[str, str | None] = {}
    for known, path in own.items():
        for text in dict.fromkeys((*_endings(path), _bare(path))):
            meant[text] = None if text in meant else known
    paths = [_plain_path(name) for name in names]
    of_names, of_ids = (len(_common_folders(some or ("",))) for some in (paths, own.values()))
    ids = []
    for name, path in zip(names, paths, strict=True):
        one = name if name in own else _meant_by(path, meant)
        # Folders that differ between images have to agree: another patient may have such a file.
        fits = one is None or _agree(path, own[one], of_names, of_ids)
        ids.append(one if one is not None and fits else name)
    return ids


def _plain_path(name: str) -> str:
    if name.isascii() and "/" not in name and "\\" not in name:
        return name
    return unicodedata.normalize("NFC", image_id(name))


def _endings(path: str) -> list[str]:
    """The path, and it without its first folders, the longest first."""
    if "/" not in path:
        return [path]
    parts = path.split("/")
    return ["/".join(parts[number:]) for number in range(len(parts))]


def _meant_by(path: str, meant: Mapping[str, str | None]) -> str | None:
    endings = (meant[text] for text in _endings(path) if text in meant)
    return next(endings, None) or meant.get(_bare(path))


def _bare(path: str) -> str:
    """The file name without its ending; the last number of a DICOM UID is none."""
    return _ENDING.sub("", path.rpartition("/")[2])


def _agree(path: str, other: str, common: int, other_common: int) -> bool:
    """Whether the last folders are the same, as far as both have some that are not in all paths."""
    one, two = path.split("/")[common:-1], other.split("/")[other_common:-1]
    shared = min(len(one), len(two))
    return not shared or one[-shared:] == two[-shared:]


def locate(folder: Path, texts: Sequence[str], *, also: Path | None = None) -> LocatedImages:
    """The file of each text of a table, whose paths start in ``folder``.

    The first of these that exists is used:

    1. the path itself, in ``folder``; or there the only image of this name with another extension;
    2. the path in the folder ``images`` beside it, or without its first folders, as far as these
       are the same in all rows (the root of another machine or archive);
    3. at any depth below ``folder``, then below the folder ``also``, the file of this name, with as
       many of the path's last folders as any. The folders that differ between rows have to be
       there, unless the table has the name once only. Capital letters and Unicode forms make a
       difference only between several files.

    Raises
    ------
    DataError : a folder cannot be listed.
    """
    names = tuple(map(image_id, texts))
    places = [os.path.join(folder, name) for name in names]
    paths = [path if os.path.isfile(path) else "" for path in places]
    elsewhere = dict.fromkeys(name for name, path in zip(names, paths, strict=True) if not path)
    if not elsewhere:
        return LocatedImages(names, tuple(paths), ("",) * len(paths))
    search = _Search(str(folder), _common_folders(names))
    files = {name: search.beside(name) for name in elsewhere}
    absent = {name for name, (_, reason) in files.items() if reason == NO_FILE}
    times = Counter(map(_key, dict.fromkeys(names))) if absent else Counter()
    for root in dict.fromkeys((folder, also or folder)):
        lost = [name for name, (_, reason) in files.items() if reason == NO_FILE]
        files |= _below(str(root), lost, times, len(search.common)) if lost else {}
    owners = {*paths, *(path for name, (path, _) in files.items() if name not in absent)}
    for name in absent:
        path, _ = files[name]
        if path and path in owners:
            files[name] = "", f"the only file of this name belongs to another row: {path}"
    results = [(path, "") if path else files[name] for name, path in zip(names, paths, strict=True)]
    notes = _notes(folder, [(name, files[name][0]) for name in files if name in absent])
    return LocatedImages(
        names,
        tuple(path for path, _ in results),
        tuple(reason for _, reason in results),
        (*search.notes(), *notes),
    )


@dataclass
class _Search:
    """Looks for names below ``root``, whose first ``common`` folders are the same in all rows."""

    root: str
    common: tuple[str, ...]
    listed: dict[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    folders: dict[str, bool] = field(default_factory=dict)
    cut: Counter[str] = field(default_factory=Counter)

    def beside(self, name: str) -> tuple[str, str]:
        """The image with another extension at this path, or where the path starts elsewhere."""
        path = os.path.join(self.root, name)
        where = os.path.dirname(path)
        if where not in self.listed:
            self.listed[where] = list_images(Path(where))
        candidates = self.listed[where].get(image_stem(path), ())
        chosen = choose_image(path, candidates)
        if chosen is not None:
            return chosen, ""
        if candidates:
            return "", _several(candidates)
        for base, rest in self._other_starts(name):
            path = os.path.join(base, rest)
            if os.path.isfile(path):
                prefix = name.removesuffix(rest)
                instead = f", not in {prefix}" if prefix else ""
                self.cut[f"{base}{os.sep}{instead}"] += 1
                return path, ""
        return "", NO_FILE

    def _other_starts(self, name: str) -> Iterator[tuple[str, str]]:
        parts = name.split("/")
        for base in (self.root, os.path.join(self.root, "images")):
            for number in range(len(self.common) + 1):
                rest = "/".join(parts[number:])
                if (base != self.root or number) and self._exists(base, parts[number:]):
                    yield base, rest

    def _exists(self, base: str, parts: Sequence[str]) -> bool:
        """Whether the folder that a path starts with is there, so that few files are looked for."""
        where = os.path.join(base, parts[0]) if len(parts) > 1 else base
        if where not in self.folders:
            self.folders[where] = os.path.isdir(where)
        return self.folders[where]

    def notes(self) -> tuple[str, ...]:
        """Where paths started elsewhere than the table says."""
        return tuple(
            f"{count:,} paths start in {where}" for where, count in self.cut.most_common(3)
        )


def _below(
    root: str, names: Sequence[str], times: Mapping[str, int], common: int
) -> dict[str, tuple[str, str]]:
    """The files at any depth, and why there is none.

    ``times`` counts the names of the table by their keys; the first ``common`` folders are the same
    in all of them.
    """
    files = _files_below(root, frozenset(map(_key, names)))
    located = {}
    for name in names:
        least = 0 if times[_key(name)] == 1 else name.count("/") - common
        located[name] = _best(name, files.get(_key(name), ()), least)
    return located


def _common_folders(names: Iterable[str]) -> tuple[str, ...]:
    """The first folders that all names share."""
    folders = {name.rpartition("/")[0] for name in names}
    split = [tuple(folder.split("/")) if folder else () for folder in folders]
    first, last = min(split), max(split)
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    return first[: min(len(first), len(last)) if shared is None else shared]


def _key(name: str) -> str:
    return _folded(image_stem(name))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _files_below(root: str, keys: frozenset[str]) -> Mapping[str, Sequence[str]]:
    """Paths of the images of these names at any depth, without run directories; sorted."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    for folder in folders_below(root):
        for stem, paths in list_images(Path(folder)).items():
            if (key := _folded(stem)) in keys:
                files[key].extend(paths)
    return {key: sorted(paths) for key, paths in files.items()}


def folders_below(root: str) -> Iterator[str]:
    """The folder and those in it at any depth; each once, though links may lead in circles."""
    waiting, visited = [root], set()
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            with os.scandir(folder) as entries:
                inner = [e.path for e in entries if not e.name.startswith(".") and e.is_dir()]
        except OSError:  # one that this user may not enter holds none of their images
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in visited or os.path.exists(os.path.join(folder, _RUN_FILE)):
            continue
        visited.add(identity)
        yield folder
        waiting.extend(sorted(inner, reverse=True))


def _best(name: str, candidates: Sequence[str], least: int) -> tuple[str, str]:
    """The candidate whose name and last folders are most like those of ``name``."""
    ranked = defaultdict(list)
    for path in candidates:
        length = _same_folders(name, path)
        if length >= least:
            ranked[_unlikeness(name, path), -length].append(path)
    if not ranked:
        return "", NO_FILE
    best = ranked[min(ranked)]
    chosen = choose_image(name, best)
    return ("", _several(best)) if chosen is None else (chosen, "")


def _unlikeness(name: str, path: str) -> int:
    """0 for the same name, 1 for another extension, 2 for other capitals."""
    one, other = (unicodedata.normalize("NFC", posixpath.basename(n)) for n in (name, path))
    if one == other:
        return 0
    return 1 if image_stem(one) == image_stem(other) else 2


def _same_folders(name: str, path: str) -> int:
    """How many of the last folders are the same, in any capitals."""
    one, other = (_folded(n.replace(os.sep, "/")).split("/")[-2::-1] for n in (name, path))
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _several(candidates: Sequence[str]) -> str:
    some = ", ".join(candidates[:5]) + (", ..." if len(candidates) > 5 else "")
    return f"several image files, and the table does not say which: {some}"


def _notes(folder: Path, pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    pairs = [(name, path) for name, path in pairs if path]
    if not pairs:
        return ()
    name, path = pairs[0]
    notes = [
        f"found {len(pairs):,} images by name at another place below {folder}, such as "
        f"{os.path.relpath(path, folder)} for {name}"
    ]
    capitals = sum(_unlikeness(name, path) == 2 for name, path in pairs)
    if capitals:
        notes.append(f"{capitals:,} of them have other capital letters than in the table")
    return tuple(notes)
