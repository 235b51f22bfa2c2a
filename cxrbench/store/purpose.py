"""What a thing in the cache is for, and when it was last used, kept in a small file beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.output.files import write_bytes
from cxrbench.parameters import data_text
from cxrbench.store.cache import canonical

if TYPE_CHECKING:
    from cxrbench.interfaces import Dataset

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


UNTOLD = Purpose()
"""Of what nobody told the purpose."""


def purpose_for(dataset: Dataset, what: str) -> Purpose:
    """The purpose of something that is made of this dataset's images."""
    return Purpose(what, dataset.name, data_text(dataset))


def write_purpose(path: Path, purpose: Purpose, **more: Any) -> None:
    """Write the file, unless it says the same already."""
    told = canonical({**asdict(purpose), **more}).encode()
    if not path.exists() or path.read_bytes() != told:
        write_bytes(path, told, durable=True)


def read_purpose(path: Path) -> Purpose:
    """What the file says; nothing where there is none, or none that can be understood."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return UNTOLD
    told = told if isinstance(told, Mapping) else {}
    return Purpose(*(str(told.get(name, "")) for name in Purpose.__dataclass_fields__))


def mark_used(path: Path) -> None:
    """Make now the time of the last use of what the file at ``path`` stands for."""
    # A cache that belongs to somebody else can be read all the same.
    with suppress(OSError):
        os.utime(path)
