"""Remove entries from the cache: those that a selection names and that nobody uses."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cxrbench.data.cache import is_free, writing
from cxrbench.data.contents import Entry
from cxrbench.errors import SettingsError

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
                "what to remove from the cache was not said",
                expected="KEY…, --data, --older-than and --incomplete, or --all alone",
                found="--all beside others" if self.everything else "none of them",
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
    from filelock import FileLock, Timeout

    with ExitStack() as held, writing(entry.lock.parent, 0):
        try:
            held.enter_context(FileLock(entry.lock, timeout=0))
        except Timeout:
            return False
        if not all(map(is_free, entry.files)):
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
    dataset, told = entry.purpose.dataset, entry.purpose.data
    path = str(Path(data).expanduser().absolute())
    of_path = told == path or f"path={path}" in told.removeprefix(f"{dataset}:").split(",")
    return data in (dataset, told) or of_path
