"""The cache folder: where it is, keys of what it holds, locks, and errors in plain words."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cxrbench.errors import CacheError
from cxrbench.output.files import Destination, file_digest

CACHE = Destination(
    "the cache in", CacheError, "choose another folder with --cache or CXRBENCH_CACHE"
)


def cache_folder(folder: str | Path | None) -> Path:
    """``folder``, else ``CXRBENCH_CACHE``, else the user's cache folder."""
    from platformdirs import user_cache_dir

    chosen = folder or os.environ.get("CXRBENCH_CACHE") or user_cache_dir("cxrbench")
    return Path(chosen).expanduser()


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
