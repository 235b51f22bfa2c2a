"""Prepare a cohort for recipes that are run later: what their run would do to the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrbench.data.datasets import describe, find_dataset, load_cohort
from cxrbench.experiment.plans import make_plans, preparation_for
from cxrbench.interfaces import Display, Exclusion
from cxrbench.parameters import data_text
from cxrbench.registry import load_registry
from cxrbench.settings import thread_count
from cxrbench.store.cache import cache_folder
from cxrbench.store.contents import Entry, entry_of_store
from cxrbench.store.prepare import prepare


@dataclass(frozen=True)
class Ahead:
    """What is ready for later runs.

    ``data`` is what ``--data`` names the cohort by, ``excluded`` are the rows and images that are
    not used, ``stores`` what the runs will read, ``made`` the keys of those that this call made.
    """

    data: str
    images: int
    usable: int
    excluded: tuple[Exclusion, ...]
    stores: tuple[Entry, ...]
    made: frozenset[str]


def prepare_ahead(
    recipes: Sequence[str] = (),
    *,
    data: str | None = None,
    cache: str | Path | None = None,
    threads: int | None = None,
    display: Display,
    **settings: Any,
) -> Ahead:
    """Make what ``cxrbench run`` with these arguments would make of the images.

    Raises
    ------
    CxrbenchError : for everything that the caller can mend, as `cxrbench.run` does.
    """
    registry = load_registry()
    dataset = find_dataset(data, registry, Path.cwd())
    plans = make_plans(recipes, registry, settings, dataset)
    display.say(describe(dataset, data))
    kept = cache_folder(cache)
    cohort = load_cohort(dataset, display, kept)
    prepared = prepare(
        dataset,
        cohort,
        preparation_for(plans),
        max_bad=plans[0].settings.max_bad,
        cache=kept,
        threads=thread_count(threads),
        display=display,
    )
    return Ahead(
        data=data_text(dataset),
        images=len(cohort),
        usable=int(prepared.usable.sum()),
        excluded=(*cohort.excluded, *prepared.excluded),
        stores=tuple(map(entry_of_store, prepared.stores)),
        made=frozenset(folder.name for folder in prepared.made),
    )
