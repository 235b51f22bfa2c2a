"""How long a part takes beside the built-in one of its kind."""

from __future__ import annotations

import time
from collections.abc import Callable

from cxrbench.errors import PluginError

LIMIT = 50
"""A part that takes so many times as long as the built-in one is taken for a mistake."""

_REPEATS = 3


def compare(
    name: str,
    work: Callable[[], object],
    rival: str,
    rivals_work: Callable[[], object],
    images: int,
) -> str:
    """Tell the time an image takes, and how that compares; the fastest of three tries each.

    Raises
    ------
    PluginError : it takes more than `LIMIT` times as long.
    """
    own, other = _fastest(work), _fastest(rivals_work)
    told = f"{1000 * own / images:.3g} ms an image, {own / other:.2g} times {rival}"
    if own > LIMIT * other:
        raise PluginError(
            f"{name} is slow",
            expected=f"at most {LIMIT} times as long as the built-in {rival}: "
            f"{1000 * other / images:.3g} ms an image",
            found=told,
            fix="make what depends on parameters alone once, not for each image; "
            "use NumPy, OpenCV or Keras operations instead of loops over pixels",
        )
    return told


def _fastest(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
