"""Which hot paths are compared where none are named, and what the texts of options come to."""

from __future__ import annotations

from collections.abc import Sequence

from cxrbench.errors import SettingsError
from cxrbench.perf.hot_paths import FAMILIES

QUICK_PATHS = (
    *("decode", "resize", "clahe", "extract/orb", "extract/sift"),
    *("encode/orb", "encode/sift", "gather", "bootstrap"),
)
"""Those that start no Keras, which takes longer than all of these together."""

DEFAULT_PATHS = (*QUICK_PATHS, "augment/medical", "train-step/orb")
"""And what cxrbench itself adds to Keras: the augmentation, and a training step of a head."""


def require_known(named: Sequence[str]) -> tuple[str, ...]:
    """The names, once each.

    Raises
    ------
    SettingsError : a name that no family of paths has.
    """
    for path in named:
        if path.partition("/")[0] not in FAMILIES:
            raise SettingsError(
                f"there is no hot path {path!r}",
                expected=f"a name that begins with {', '.join(FAMILIES)}",
                found=path,
                fix="such as decode, extract/orb or forward/resnet50",
            )
    return tuple(dict.fromkeys(named))


def chosen_paths(named: Sequence[str], *, quick: bool) -> tuple[str, ...]:
    """Those that are named; else the default ones. Raises what `require_known` does."""
    return require_known(named) or (QUICK_PATHS if quick else DEFAULT_PATHS)
