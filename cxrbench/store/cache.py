"""The cache folder: keys, locks, descriptions of entries, and measured choices."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cxrbench.errors import CacheError
from cxrbench.interfaces import Display
from cxrbench.output.files import Destination, file_digest, locked, write_bytes
from cxrbench.parameters import data_text

if TYPE_CHECKING:
    from cxrbench.interfaces import Dataset


CACHE = Destination(
    "the cache in", CacheError, "choose another folder with --cache or CXRBENCH_CACHE"
)


def cache_folder(folder: str | Path | None) -> Path:
    """``folder``, else ``CXRBENCH_CACHE``, else the user's cache folder.

    Raises
    ------
    CacheError : the user has no home folder, and none of these is named.
    """
    from platformdirs import user_cache_dir

    try:
        chosen = folder or os.environ.get("CXRBENCH_CACHE") or user_cache_dir("cxrbench")
        return Path(chosen).expanduser()
    except RuntimeError as error:
        raise CacheError(
            "the home folder, which contains the cache, is unknown",
            expected="HOME to be set, or a user with an entry in /etc/passwd",
            found=f"neither, for user id {os.getuid()}",
            fix="choose the cache with --cache or CXRBENCH_CACHE",
        ) from error


def canonical(value: object) -> str:
    """JSON text that is the same for the same value, whatever the order of its keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def key_of(about: Mapping[str, Any]) -> str:
    """The name of the folder for what ``about`` describes: 32 hex digits of its SHA-256."""
    return hashlib.sha256(canonical(about).encode()).hexdigest()[:32]


def identity_of(part: Any) -> dict[str, Any]:
    """What the results of a part depend on: its class, its module's code, its parameters."""
    kind = type(part)
    code = getattr(sys.modules[kind.__module__], "__file__", None)
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        # So that an author who edits a part does not get yesterday's results.
        "code": file_digest(Path(code)) if code else None,
        "parameters": asdict(part),
    }


def lock_of(path: Path) -> Path:
    """The lock file of what the cache holds at ``path``; it is never removed."""
    # Not `output.files.lock_of`: other versions of cxrbench may use the same cache now.
    return path.with_name(path.name + ".lock")


PURPOSE_FILE = "purpose.json"


@dataclass(frozen=True)
class Purpose:
    """In words ``what`` it is, the ``dataset``'s name, and what ``--data`` names it by.

    It shapes nothing and is no part of a key. It tells of whoever made the thing: another path to
    the same images uses it too.
    """

    what: str = ""
    dataset: str = ""
    data: str = ""


NO_PURPOSE = Purpose()
"""The purpose of an entry where it is unknown."""


def purpose_for(dataset: Dataset, what: str) -> Purpose:
    """The purpose of something that is made of this dataset's images."""
    return Purpose(what, dataset.name, data_text(dataset))


def write_purpose(path: Path, purpose: Purpose, **more: Any) -> None:
    """Write the file, unless it says the same already."""
    content = canonical({**asdict(purpose), **more}).encode()
    if not path.exists() or path.read_bytes() != content:
        write_bytes(path, content, durable=True)


def read_purpose(path: Path) -> Purpose:
    """What the file says; nothing where there is none, or none that can be understood."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return NO_PURPOSE
    values = values if isinstance(values, Mapping) else {}
    return Purpose(*(str(values.get(name, "")) for name in Purpose.__dataclass_fields__))


def mark_used(path: Path) -> None:
    """Make now the time of the last use of what the file at ``path`` stands for."""
    # A cache that belongs to somebody else can be read all the same.
    with suppress(OSError):
        os.utime(path)


Choice = TypeVar("Choice", int, str)


def kept_choice(
    kind: str,
    about: Mapping[str, Any],
    find: Callable[[], Choice],
    *,
    cache: Path,
    display: Display,
) -> Choice:
    """What was chosen before where ``about`` (plain values) is the same, else what ``find`` finds.

    Choices are in the folder ``kind`` of the cache; two processes at once take turns.

    Raises
    ------
    CacheError : the choice cannot be written.
    """
    folder = cache / kind
    path = folder / f"{key_of(about)}.json"
    with ExitStack() as held:
        with CACHE.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked([lock_of(path)], display))
        choice: Choice | None = _read(path)
        if choice is not None:
            mark_used(path)
            return choice
        chosen = find()
        with CACHE.writing(folder):
            write_bytes(path, canonical({"about": about, "chosen": chosen}).encode(), durable=True)
        return chosen


def _read(path: Path) -> Any:
    """What was chosen; None where nothing was, or the file is damaged and is written again."""
    try:
        return json.loads(path.read_bytes())["chosen"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
