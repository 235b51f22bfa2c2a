"""Where a revision of cxrbench keeps a function that hot paths call: such functions moved."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

HOMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("decode", "fit_image", "clahe"), ("cxrbench.store.decoding", "cxrbench.data.images")
        ),
        "bootstrap": ("cxrbench.metrics.bootstrap", "cxrbench.evaluation.bootstrap"),
    }
)
"""Modules by the name of the function, today's first. A move adds one in front."""


def load(name: str) -> Any:
    """The function ``name`` of this revision.

    Raises
    ------
    ImportError : no module that it was ever in has it.
    """
    for module in HOMES[name]:
        try:
            return getattr(import_module(module), name)
        except (ModuleNotFoundError, AttributeError):
            continue
    raise ImportError(f"cannot import {name} from any of {', '.join(HOMES[name])}")
