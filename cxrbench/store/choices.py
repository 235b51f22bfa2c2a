"""Choices that were made by measuring, kept so that the same question has the same answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from cxrbench.interfaces import Display
from cxrbench.output.files import locked, write_bytes
from cxrbench.store.cache import CACHE, canonical, key_of, lock_of
from cxrbench.store.purpose import mark_used

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
        found: Choice | None = _read(path)
        if found is not None:
            mark_used(path)
            return found
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
