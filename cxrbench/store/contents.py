"""List and remove the entries of the cache folder."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from cxrbench.errors import CacheError, SettingsError
from cxrbench.output.files import is_free, locked_if_free
from cxrbench.store.cache import (
    CACHE,
    NO_PURPOSE,
    PURPOSE_FILE,
    Purpose,
    key_of,
    lock_of,
    read_purpose,
)
from cxrbench.store.journal import DamagedStore, read_journal, verify_stretches
from cxrbench.store.stores import complete_journal

State = Literal["complete", "interrupted", "damaged"]

STORES = ("pixels", "features", "images", "embeddings")
ENCODINGS = "encodings"
CHOICES = ("engines", "batch-sizes")
HEADERS = "headers"
KINDS = (*STORES, ENCODINGS, *CHOICES, HEADERS)

_KEY = "[0-9a-f]{32}"
# Whatever else lies in the cache folder is somebody's: only these names are ever removed. The
# first of them marks an entry as complete.
_IN_STORE = re.compile(r"(complete|journal|about|purpose)\.jsonl?(\.tmp)?|[a-z]+\.bin")
_ENCODING = re.compile(rf"({_KEY})\.(npz|npy|json)(\.tmp)?")
_CHOICE = re.compile(rf"({_KEY})\.json(\.tmp)?")
_MEMORY = re.compile(r"([0-9a-f]{20})\.jsonl")


@dataclass(frozen=True)
class Entry:
    """One thing in the cache.

    ``size`` in bytes, ``last_used`` in seconds since 1970. ``in_use`` says that a process makes or
    reads it now. ``files`` are all that belongs to it, what marks it as complete first; ``lock`` is
    what a process that makes it holds.
    """

    kind: str
    key: str
    purpose: Purpose
    size: int
    last_used: float
    state: State
    in_use: bool
    files: tuple[Path, ...]
    lock: Path

    @property
    def name(self) -> str:
        """Kind and key."""
        return f"{self.kind}/{self.key}"

    @property
    def path(self) -> Path:
        """Its folder, or where the names of its files begin."""
        return self.lock.parent / self.key

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "kind": self.kind,
            "key": self.key,
            **asdict(self.purpose),
            "size": self.size,
            "last_used": datetime.fromtimestamp(self.last_used, UTC).isoformat(timespec="seconds"),
            "state": self.state,
            "path": str(self.path),
        }


def entries(cache: Path) -> tuple[Entry, ...]:
    """Everything in this folder that cxrbench keeps there, by kind and key.

    What is complete is not read through: damage is seen as it is when the entry is opened, by
    checksums of its journal and by the sizes of its files.
    """
    return tuple(entry for kind in KINDS for entry in _entries(cache / kind))


def entry_of_store(folder: Path) -> Entry:
    """The entry of one store."""
    return _store(folder, _files_of_store(folder))


def _entries(folder: Path) -> Iterator[Entry]:
    if not folder.is_dir():
        return
    children = sorted(folder.iterdir())
    if folder.name in STORES:
        for child in children:
            if re.fullmatch(_KEY, child.name) and child.is_dir() and not child.is_symlink():
                files = _files_of_store(child)
                if files:
                    yield _store(child, files)
        return
    form, entry = _FORMS.get(folder.name, (_CHOICE, _choice))
    for key, files in _by_key(children, form).items():
        yield entry(folder, key, files)


def _files_of_store(folder: Path) -> tuple[Path, ...]:
    files = []
    # A copy that was being made when its process was killed belongs to the store too.
    for place in (folder, folder.with_name(folder.name + ".tmp")):
        if place.is_dir() and not place.is_symlink():
            files += [p for p in place.iterdir() if _IN_STORE.fullmatch(p.name) and p.is_file()]
    return tuple(sorted(files, key=lambda path: (path.name != "complete.json", path)))


def _by_key(children: Iterable[Path], form: re.Pattern[str]) -> Mapping[str, tuple[Path, ...]]:
    files_of = defaultdict[str, list[Path]](list)
    for child in children:
        match = form.fullmatch(child.name)
        if match and child.is_file():
            files_of[match[1]].append(child)
    return {
        key: tuple(sorted(files, key=lambda path: (path.suffix != ".npz", path)))
        for key, files in files_of.items()
    }


def _store(folder: Path, files: Sequence[Path]) -> Entry:
    purpose = folder / PURPOSE_FILE
    return _entry(
        folder, files, read_purpose(purpose), used=purpose, state=_state_of_store, locked=folder
    )


def _state_of_store(folder: Path) -> State:
    try:
        return "interrupted" if complete_journal(folder) is None else "complete"
    except DamagedStore:
        return "damaged"


def _encoding(folder: Path, key: str, files: Sequence[Path]) -> Entry:
    used = folder / f"{key}.json"
    vectors = folder / f"{key}.npy"
    return _entry(
        folder / key, files, read_purpose(used), used=used, state=_state_of_encoding, locked=vectors
    )


def _state_of_encoding(path: Path) -> State:
    from cxrbench.store.encode import map_vectors

    try:
        if not path.with_suffix(".npz").exists():
            return "interrupted"
        map_vectors(path.with_suffix(".npy"))
    except (OSError, ValueError):
        return "damaged"
    return "complete"


def _choice(folder: Path, key: str, files: Sequence[Path]) -> Entry:
    path = folder / f"{key}.json"
    try:
        values = json.loads(path.read_bytes())
        about, chosen = values["about"], values["chosen"]
        state: State = "complete" if key_of(about) == key else "damaged"
        purpose = Purpose(" for ".join([str(chosen), *filter(None, [about.get("recipe")])]))
    except FileNotFoundError:
        state, purpose = "interrupted", NO_PURPOSE
    except (ValueError, KeyError, TypeError, AttributeError):
        state, purpose = "damaged", NO_PURPOSE
    return _entry(folder / key, files, purpose, used=path, state=lambda _: state, locked=path)


def _memory(folder: Path, key: str, files: Sequence[Path]) -> Entry:
    """What a dataset remembers of an archive's files, line by line; the first names the archive."""
    path = folder / f"{key}.jsonl"
    purpose = Purpose("headers of DICOM files", *_dataset_and_data(path))
    # Lines that are damaged or missing are read anew: there is no other state.
    return _entry(folder / key, files, purpose, used=path, state=lambda _: "complete", locked=path)


def _dataset_and_data(path: Path) -> tuple[str, str]:
    with path.open("rb") as file:
        first = file.readline(2**16)
    try:
        values = json.loads(first)
        return str(values["dataset"]), str(values["data"])
    except (ValueError, KeyError, TypeError):
        return "", ""


_FORMS = MappingProxyType({ENCODINGS: (_ENCODING, _encoding), HEADERS: (_MEMORY, _memory)})


def _entry(
    path: Path,
    files: Sequence[Path],
    purpose: Purpose,
    *,
    used: Path,
    state: Callable[[Path], State],
    locked: Path,
) -> Entry:
    stats = [file.stat() for file in files]
    last = used.stat().st_mtime if used.exists() else max(stat.st_mtime for stat in stats)
    return Entry(
        kind=path.parent.name,
        key=path.name,
        purpose=purpose,
        size=sum(stat.st_size for stat in stats),
        last_used=last,
        state=state(path),
        in_use=not all(map(is_free, (lock_of(locked), *files))),
        files=tuple(files),
        lock=lock_of(locked),
    )


def verification_of(entry: Entry) -> str:
    """``sound``, or why the entry is not: all its bytes are compared with their checksums.

    ``no checksums`` stands for a store of an older version and for headers, of which a damaged
    line is read anew.
    """
    if entry.state != "complete":
        return entry.state
    try:
        if entry.kind in STORES:
            text = complete_journal(entry.path)
            stretches = read_journal(text or b"", ()).stretches
            verify_stretches(entry.path, stretches, most=None)
            return "sound" if stretches or entry.kind == "images" else "no checksums"
        if entry.kind == ENCODINGS:
            from cxrbench.store.encode import require_written_vectors

            require_written_vectors(entry.path.with_suffix(".npy"))
        return "no checksums" if entry.kind == HEADERS else "sound"
    except (CacheError, OSError, ValueError) as error:
        return f"damaged: {' '.join(str(error).split())}"


_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True)
class Selection:
    """Which entries: those that all of what is given fits; at least one has to be given.

    ``keys`` are beginnings of a key, or of kind and key (``embeddings/``). ``data`` is a dataset's
    name, its text for ``--data``, or a path. ``older_than`` is an age since the last use, such as
    ``30d``. ``incomplete`` fits what is interrupted or damaged, ``everything`` all entries.
    """

    keys: tuple[str, ...] = ()
    data: str | None = None
    older_than: str | None = None
    incomplete: bool = False
    everything: bool = False

    def of(self, entries: Iterable[Entry]) -> tuple[Entry, ...]:
        """The entries that are selected.

        Raises
        ------
        SettingsError : nothing is given, ``everything`` beside something else, or no age.
        """
        narrowing = (self.keys, self.data, self.older_than, self.incomplete)
        if self.everything == any(narrowing):
            raise SettingsError(
                "cannot select entries of the cache",
                expected="KEY…, --data, --older-than or --incomplete; or --all alone",
                found="--all with other conditions" if self.everything else "no condition",
            )
        oldest = time.time() - _age(self.older_than) if self.older_than else None
        return tuple(
            entry
            for entry in entries
            if (not self.keys or _starts(entry, self.keys))
            and (self.data is None or _is_of(entry, self.data))
            and (oldest is None or entry.last_used < oldest)
            and (not self.incomplete or entry.state != "complete")
        )


def remove(entry: Entry) -> bool:
    """Remove the files of an entry unless a process makes or reads it; whether it did.

    Other files beside them stay. Killed in between, it leaves an entry that is not complete.

    Raises
    ------
    CacheError : the system does not allow it.
    """
    with CACHE.writing(entry.lock.parent), locked_if_free(entry.lock) as free:
        if not free or not all(map(is_free, entry.files)):
            return False
        for path in entry.files:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in entry.files} - {entry.lock.parent}:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return True


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d+)([mhdw])", text.strip())
    if match is None:
        raise SettingsError(
            f"--older-than cannot be {text!r}",
            expected="a number with m, h, d or w (minutes, hours, days, weeks), such as 30d",
            found=repr(text),
        )
    return int(match[1]) * _SECONDS[match[2]]


def _starts(entry: Entry, keys: Iterable[str]) -> bool:
    return any(entry.key.startswith(key) or entry.name.startswith(key) for key in keys)


def _is_of(entry: Entry, data: str) -> bool:
    """By text, not by looking at the data: they may be gone, which is why their cache should go."""
    dataset, text = entry.purpose.dataset, entry.purpose.data
    path = str(Path(data).expanduser().absolute())
    of_path = text == path or f"path={path}" in text.removeprefix(f"{dataset}:").split(",")
    return data in (dataset, text) or of_path
