"""Checks of one image at a time: unreadable, tiny, constant, inverted, in colour."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cxrbench.checks.films import Films
from cxrbench.checks.finding import Finding, Item, finding
from cxrbench.interfaces import Cohort

TINY_SIDE = 128
"""Pixels; about half of what backbones look at, so that most of such an image would be made up."""

CONSTANT_SPREAD = 2.0
"""Standard deviation in grey levels; the least of nih-mini's films has 28."""


def check_images(cohort: Cohort, films: Films, max_bad: float) -> tuple[Finding, ...]:
    """Everything that an image alone can have; ``max_bad`` is the share at which a run stops."""

    def found(check: str, mask: np.ndarray, detail: Callable[[int], str]) -> tuple[Finding, ...]:
        places = np.flatnonzero(mask).tolist()
        ids = [cohort.image_ids[films.rows[place]] for place in places]
        items = (Item((name,), detail(at)) for name, at in zip(ids, places, strict=True))
        return finding(check, items)

    files, shows = films.files, shows_something(films)
    tiny = [0 < min(file.width, file.height) < TINY_SIDE for file in files]
    coloured = [file.coloured for file in files]
    return (
        *_too_many_unreadable(films, max_bad),
        *found("unreadable", ~films.usable, lambda at: str(files[at].reason)),
        *found("tiny", np.array(tiny, bool), lambda at: f"{files[at].width}×{files[at].height}"),
        *found("constant", films.usable & ~shows, lambda at: _spread(films, at)),
        *found(
            "inverted", shows & (films.upright < 0), lambda at: f"likeness {films.upright[at]:.2f}"
        ),
        *found("colour", np.array(coloured, bool), lambda at: files[at].kind),
    )


def shows_something(films: Films) -> np.ndarray:
    """(n,) bool: the image can be used and is not all the same."""
    shows: np.ndarray = films.usable & (films.spread >= CONSTANT_SPREAD)
    return shows


def _spread(films: Films, at: int) -> str:
    return f"standard deviation of {films.spread[at]:.1f} grey levels"


def _too_many_unreadable(films: Films, max_bad: float) -> tuple[Finding, ...]:
    bad, total = int((~films.usable).sum()), len(films)
    if not bad or (bad < total and bad <= max_bad * total):
        return ()
    told = f"{bad:,} of {total:,} images, more than {max_bad:.3g} of them (--max-bad)"
    return finding("too-many-unreadable", [Item((), told)], f"a run would stop: {told}")
