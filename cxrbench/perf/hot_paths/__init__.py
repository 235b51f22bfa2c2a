"""The hot paths of a run, each set up by its name, such as ``decode`` or ``extract/orb``.

The comparison of two revisions loads this folder into environments that hold another revision of
cxrbench. So it imports its own modules and ``cxrbench``, nothing else of `cxrbench.perf`, and it
imports what is timed only where a path is set up: what a revision lacks is missing there, alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from . import arrays, images, networks
from .path import HotPath, ImageSet

FAMILIES: Mapping[str, Callable[[str, ImageSet], HotPath]] = MappingProxyType(
    {**images.FAMILIES, **arrays.FAMILIES, **networks.FAMILIES}
)
"""From the first word of a name to what sets such a path up, given the rest of the name."""


def set_up(name: str, films: ImageSet) -> HotPath:
    """The path of this name on these films, ready to be called.

    Raises
    ------
    KeyError : there is no such family of paths.
    ImportError, AttributeError : this revision of cxrbench has no such path.
    CxrbenchError : the part or recipe in the name cannot be built.
    """
    family, _, rest = name.partition("/")
    return FAMILIES[family](rest, films)


__all__ = ["FAMILIES", "HotPath", "ImageSet", "set_up"]
